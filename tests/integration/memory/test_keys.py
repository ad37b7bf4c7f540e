"""API keys on every store: a key counts exactly while its grant holds, and nothing keeps its secret."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conformance.stores import empty_neo4j

from latewood.graph_schema.clock import Micros, from_micros, to_micros
from latewood.graph_schema.errors import ForbiddenError, InvalidError, NotFoundError
from latewood.graph_schema.model import Trust
from latewood.memory import Memory
from latewood.memory.credentials import METHOD_SCOPES, SYSTEM_TENANT, BoundMemory, Credential, Scope, check_tenant
from latewood.memory.keys import CACHE_S, Keys, KeyState
from latewood.storage.port import GraphStore
from latewood.storage.queueing import MessageQueue

START = datetime(2026, 3, 1, tzinfo=UTC)


class Hands:
    """A clock that is set by hand, and moves by itself only so far that no two events are one."""

    def __init__(self) -> None:
        self.at = to_micros(START)

    def now(self) -> Micros:
        self.at += 1
        return self.at

    def wait(self, **gone: float) -> None:
        self.at += int(timedelta(**gone).total_seconds() * 1_000_000)


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture(params=["reference", "sqlite", "neo4j"])
async def memory(request: pytest.FixtureRequest, tmp_path: Path, clock: Hands) -> AsyncIterator[Memory]:
    if request.param == "neo4j":
        url: str = request.getfixturevalue("neo4j_url")
        empty_neo4j(url)
    else:
        url = "reference:" if request.param == "reference" else str(tmp_path / "t.db")
    async with Memory.open(url, by="human:root", sync="normal", clock=clock, embedder="none") as opened:
        yield opened


async def refused(keys: Keys, token: str) -> str:
    with pytest.raises(ForbiddenError) as caught:
        await keys.verify(token)
    return caught.value.code


async def test_a_key_is_what_it_was_made_to_be(memory: Memory) -> None:
    keys = Keys(memory)
    made = await keys.create(
        "ci", tenant="acme", actor="agent:planner", scopes=["write", "read"], by="human:root",
        on_behalf_of="human:ada", trust=Trust.UNTRUSTED, expires_at=START + timedelta(days=30),
    )  # fmt: skip

    assert re.fullmatch(r"lw_[a-z2-7]{12}_[A-Za-z0-9_-]{43}", made.secret)
    for asked in (keys, Keys(memory)):
        assert await asked.verify(made.secret) == Credential(
            f"key:{made.key.id}", "acme", "agent:planner", frozenset({Scope.READ, Scope.WRITE}), "human:ada",
            Trust.UNTRUSTED, START + timedelta(days=30),
        )  # fmt: skip
    (listed,) = await keys.list("acme")
    assert (listed.id, listed.name, listed.state) == (made.key.id, "ci", KeyState.ACTIVE)
    assert await keys.list("other") == ()
    assert await keys.verify("eyJhbGciOiJub25lIn0.e30.") is None


async def test_a_forged_key_is_refused_and_says_nothing_of_which_half_is_wrong(memory: Memory) -> None:
    keys = Keys(memory)
    made = await keys.create("a", tenant="acme", actor="agent:a", scopes=["read"], by="human:root")
    other = await keys.create("b", tenant="acme", actor="agent:b", scopes=["read"], by="human:root")
    words = set[str]()
    for token in (f"lw_{'a' * 12}_{'A' * 43}", made.secret[:16] + other.secret[16:], made.secret[:-1] + "!"):
        found = None
        try:
            found = await keys.verify(token)
        except ForbiddenError as error:
            words.add(error.message)
        assert found is None
    assert len(words) == 1


async def test_a_key_ends_with_its_time(memory: Memory, clock: Hands) -> None:
    keys = Keys(memory)
    made = await keys.create(
        "a", tenant="acme", actor="agent:a", scopes=["read"], by="human:root", expires_at=START + timedelta(hours=1)
    )
    assert await keys.verify(made.secret) is not None
    clock.wait(hours=1)

    assert await refused(keys, made.secret) == "credential.expired"
    assert [one.state for one in await keys.list("acme")] == [KeyState.EXPIRED]


async def test_a_revoked_key_counts_no_more_at_once_here_and_soon_elsewhere(memory: Memory, clock: Hands) -> None:
    keys, elsewhere = Keys(memory), Keys(memory)
    made = await keys.create("a", tenant="acme", actor="agent:a", scopes=["read"], by="human:root")
    assert await elsewhere.verify(made.secret) is not None
    shown = await keys.revoke(made.key.id, "acme", by="human:root", because="leaked")

    assert shown.state is KeyState.REVOKED
    assert await refused(keys, made.secret) == "credential.expired"
    clock.wait(seconds=CACHE_S)
    assert await refused(elsewhere, made.secret) == "credential.expired"
    assert (await keys.revoke(made.key.id, "acme", by="human:root")).ends_at == shown.ends_at


async def test_a_rotated_key_counts_on_for_its_grace(memory: Memory, clock: Hands) -> None:
    keys = Keys(memory)
    old = await keys.create("a", tenant="acme", actor="agent:a", scopes=["read"], by="human:root", expires_at=START + timedelta(days=9))  # fmt: skip
    new = await keys.rotate(old.key.id, "acme", by="human:root", grace=timedelta(hours=2))

    assert new.key.id != old.key.id
    assert await keys.verify(old.secret) is not None
    assert await keys.verify(new.secret) is not None
    clock.wait(hours=2)
    assert await refused(keys, old.secret) == "credential.expired"
    found = await keys.verify(new.secret)
    assert found is not None
    assert found.expires_at is not None
    assert found.expires_at > START + timedelta(days=8, hours=23)
    with pytest.raises(InvalidError):
        await keys.rotate(old.key.id, "acme", by="human:root")
    clock.wait(days=10)
    assert await refused(keys, new.secret) == "credential.expired"


async def test_a_key_of_another_tenant_is_none(memory: Memory) -> None:
    keys = Keys(memory)
    made = await keys.create("a", tenant="acme", actor="agent:a", scopes=["read"], by="human:root")
    said: list[str] = []
    for key_id in (made.key.id, "a" * 12, "key:" + made.key.id, "x y"):
        with pytest.raises(NotFoundError) as caught:
            await keys.revoke(key_id, "other", by="human:root")
        assert caught.value.code == "credential.unknown"
        said.append(caught.value.message.replace(key_id, "-"))
    assert len(set(said)) == 1
    assert await keys.verify(made.secret) is not None


async def test_no_secret_is_kept_and_the_ledger_says_who_made_it(memory: Memory) -> None:
    keys = Keys(memory)
    made = await keys.create("a", tenant="acme", actor="agent:a", scopes=["read"], by="human:root")
    system = memory.within(tenant=SYSTEM_TENANT)
    rows = await system.store.feed("default", "knowledge", 0)

    assert rows
    assert made.secret[16:] not in repr(rows)
    assert (await system.node("human:root")).key == "human:root"
    assert (await system.verify()).ok
    assert (await memory.nodes()).items == ()


@pytest.mark.parametrize(
    "wrong",
    [{"name": " "}, {"tenant": "_system"}, {"tenant": "A"}, {"tenant": ""}, {"actor": "planner"}, {"actor": "agent: "}, {"scopes": []},
     {"scopes": ["root"]}, {"on_behalf_of": "ada"}, {"expires_at": START}],
)  # fmt: skip
async def test_a_key_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"name": "a", "tenant": "acme", "actor": "agent:a", "scopes": ["read"], "by": "human:a"}
    async with Memory.open("reference:", embedder="none") as memory:
        with pytest.raises(InvalidError) as caught:
            await Keys(memory).create(**{**right, **wrong})  # type: ignore[arg-type]
    assert caught.value.code == "credential.malformed"


def bound(memory: Memory, *scopes: Scope, tenant: str = "acme", actor: str = "agent:a") -> BoundMemory:
    return BoundMemory(memory, Credential("key:x", tenant, actor, frozenset(scopes)))


async def test_a_handle_does_what_its_scopes_say_and_nothing_else() -> None:
    async with Memory.open("reference:", by="human:root", embedder="none") as memory:
        writer, reader = bound(memory, Scope.WRITE), bound(memory, Scope.READ)
        fact = await writer.observe("carrier:A", "rate", 1)
        assert (await writer.receipt(fact.receipt.id)).id == fact.receipt.id
        assert (await reader.entity("carrier:A")).facts[0].id == fact.id
        for work in (
            writer.entity("carrier:A"), writer.why_about("carrier:A"), reader.observe("carrier:A", "rate", 2),
            reader.create_space("x"), reader.rebuild(), bound(memory, Scope.ERASE).erase(fact.id, reason="r"),
            bound(memory, Scope.READ, Scope.WRITE).erase(fact.id, reason="r"),
        ):  # fmt: skip
            with pytest.raises(ForbiddenError) as caught:
                await work
            assert caught.value.code in ("credential.scope", "erase.forbidden")
        assert (await bound(memory, Scope.ADMIN).create_space("x")).name == "x"
        with pytest.raises(AttributeError):
            _ = reader.store.commit


async def test_what_a_credential_does_not_allow_leaves_a_refusal_to_ask_after() -> None:
    async with Memory.open("reference:", by="human:root", embedder="none") as memory:
        reader, writer = bound(memory, Scope.READ), bound(memory, Scope.WRITE)
        for handle, by, code in ((reader, None, "credential.scope"), (writer, "human:root", "credential.actor")):
            with pytest.raises(ForbiddenError) as caught:
                await handle.observe("carrier:A", "rate", 1, by=by)
            kept = await handle.receipt(str(caught.value.details["receipt"]))
            assert (kept.state, kept.code) == ("failed", code)
        with pytest.raises(NotFoundError):
            await bound(memory, Scope.READ, tenant="blue").receipt(kept.id)


async def test_a_handle_writes_as_its_actor_for_its_tenant_only() -> None:
    async with Memory.open("reference:", by="human:root", embedder="none") as memory:
        one = BoundMemory(
            memory, Credential("key:x", "acme", "agent:a", frozenset({Scope.READ, Scope.WRITE}), "human:ada")
        )
        with pytest.raises(ForbiddenError) as caught:
            one.within(tenant="local")
        assert caught.value.code == "credential.actor"
        with pytest.raises(ForbiddenError) as caught:
            await one.within(by="human:root").observe("carrier:A", "rate", 1)
        assert caught.value.code == "credential.actor"
        with pytest.raises(ForbiddenError):
            await one.observe("carrier:A", "rate", 1, by="human:root")
        with pytest.raises(ForbiddenError):
            await one.submit(memory.unit([], []))
        await one.within(by="agent:a", space="default").observe("carrier:A", "rate", 1)
        assert {node.key for node in (await one.nodes()).items} >= {"agent:a", "carrier:A"}
        assert (await memory.nodes()).items == ()


def test_every_method_of_a_store_is_allowed_on_purpose() -> None:
    public = {name for port in (GraphStore, MessageQueue) for name in vars(port) if not name.startswith("_")}
    assert public - set(METHOD_SCOPES) == {"for_tenant", "commit", "refuse", "close"}
    assert set(METHOD_SCOPES) <= public


def test_no_tenant_has_the_systems_name() -> None:
    with pytest.raises(InvalidError):
        check_tenant(SYSTEM_TENANT)
    assert from_micros(to_micros(START)) == START
