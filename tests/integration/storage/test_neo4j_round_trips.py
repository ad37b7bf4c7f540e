"""How often the writer asks the server, and that what it asks ahead is asked again when it guessed wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import neo4j
import pytest
from conformance.stores import empty_neo4j

from latewood.graph_schema.commands import ActorSpec, Assert, Declare, Guard, Ref, Unit
from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import NodeKind, Trust
from latewood.storage.neo4j.beginning import begin
from latewood.storage.neo4j.database import Address
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.port import Lease

_IDS = RandomIds()


@pytest.fixture
async def store(neo4j_url: str) -> AsyncIterator[Neo4jStore]:
    empty_neo4j(neo4j_url)
    opened = await Neo4jStore.open(neo4j_url)
    yield opened
    await opened.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What the server is asked inside of transactions: texts, and the names of what comes with each."""
    found: list[tuple[str, list[str]]] = []
    run = neo4j.Transaction.run

    def noted(self: neo4j.Transaction, query: Any, parameters: Any = None, **more: Any) -> neo4j.Result:
        found.append((query, [*parameters, *more]))
        return run(self, query, parameters, **more)

    monkeypatch.setattr(neo4j.Transaction, "run", noted)
    return found


def _unit(*commands: Any, lease: Lease | None = None, op: str | None = None) -> Unit:
    guard = None if lease is None else Guard(lease.name, lease.owner, lease.fence)
    return Unit(
        _IDS.new(), "default", ActorSpec("agent:a"), Trust.AGENT, b"", commands, ledger="execution", guard=guard, op=op
    )  # fmt: skip


def _run(name: str) -> Declare:
    return Declare(_IDS.new(), NodeKind.RUN, "flow", f"run:{name}", name, {})


def _steps(run: Declare, lease: Lease, count: int) -> Unit:
    commands: list[Any] = []
    for _ in range(count):
        step = _IDS.new()
        commands += [
            Declare(step, NodeKind.STEP, "step", f"step:{step}", "step", {}),
            Assert(_IDS.new(), Ref(id=run.id), "has_step", object=Ref(id=step), relation=True),
        ]
    return _unit(*commands, lease=lease)


async def _lease(store: Neo4jStore, name: str) -> Lease:
    lease = await store.acquire("default", name, "worker", 60)
    assert lease is not None
    return lease


async def test_a_group_of_steps_takes_two_queries_of_one_text_however_many_they_are(
    store: Neo4jStore, asked: list[tuple[str, list[str]]]
) -> None:
    runs = [(_run(f"{n}"), await _lease(store, f"run {n}")) for n in range(8)]
    answers = await store.commit([_unit(run, lease=lease) for run, lease in runs])
    await store.commit([_steps(*runs[0], 1)])
    asked.clear()

    groups = [[_steps(*runs[n], count) for n in range(many)] for many, count in ((1, 1), (8, 1), (3, 4), (2, 60))]
    for group in groups:
        answers += await store.commit(group)

    assert all(isinstance(answer, Receipt) for answer in answers)
    assert len(asked) == 2 * len(groups)
    # The server plans anew for another text, and for another size of a list that is a parameter by itself.
    assert len({text for text, _ in asked}) == 2
    assert all(names == ["asked"] for _, names in asked)


async def test_what_was_asked_ahead_is_asked_again_when_another_wrote(
    store: Neo4jStore, neo4j_url: str, asked: list[tuple[str, list[str]]]
) -> None:
    other = await Neo4jStore.open(neo4j_url)
    try:
        lease = await _lease(store, "job")
        mine, theirs = _unit(_run("one"), lease=lease, op="one"), _unit(_run("two"), op="two")
        await store.commit([mine])
        (kept,) = await other.commit([theirs])
        asked.clear()
        replayed, taken = await store.commit([theirs, _unit(_run("two"), lease=lease)])
        queries = len(asked)
        assert await store.release(lease)
        late, fresh = await other.commit([_unit(_run("three"), lease=lease), _unit(_run("four"))])
    finally:
        await other.close()

    assert isinstance(kept, Receipt) and isinstance(replayed, Receipt)  # noqa: PT018 - one question
    assert (replayed.id, replayed.seq) == (kept.id, kept.seq)
    assert isinstance(taken, ConflictError)
    # Once ahead of the lock and once under it; of a unit that was kept before and one that is refused nothing is written.
    assert queries == 2
    assert isinstance(late, ConflictError)
    assert late.code == "lease.lost"
    assert isinstance(fresh, Receipt)


async def test_a_lease_that_never_was_is_lost_and_leaves_none_behind(store: Neo4jStore) -> None:
    refused, kept = await store.commit([
        _unit(_run("one"), lease=Lease("default", "never", "worker", 1, 0)), _unit(_run("two"))
    ])  # fmt: skip
    first = await _lease(store, "never")

    assert isinstance(refused, ConflictError)
    assert refused.code == "lease.lost"
    assert isinstance(kept, Receipt)
    assert first.fence == 1


def test_a_transaction_begins_with_its_first_query(neo4j_url: str) -> None:
    address = Address.parse(neo4j_url)
    driver = neo4j.GraphDatabase.driver(  # pyright: ignore[reportUnknownMemberType]
        address.uri.replace("neo4j", "bolt"), auth=(address.user, address.password)
    )
    with driver, driver.session(database="absent") as session:  # pyright: ignore[reportUnknownMemberType]
        transaction = begin(session, timeout_s=5)

        with pytest.raises(neo4j.exceptions.ClientError, match="DatabaseNotFound"):
            transaction.run("RETURN 1")
