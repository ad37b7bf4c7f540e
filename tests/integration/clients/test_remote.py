"""The remote client against a server as users run it: typed answers, the same errors, and calls made again in safety."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from latewood.clients.remote import BlockingRemoteMemory, Patience, RemoteMemory, answers, found
from latewood.clients.remote.calls import Call
from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.errors import (
    CODES,
    ConflictError,
    CorruptError,
    ForbiddenError,
    InvalidError,
    LatewoodError,
    LimitError,
    NotFoundError,
    UnavailableError,
)
from latewood.graph_schema.model import Alternative, DecisionStatus, NodeKind
from latewood.graph_schema.patterns import PatternKind, PatternReview, PatternStatus
from latewood.memory import Memory, duplicates, identity, reindexing
from latewood.memory import patterns as kept_patterns
from latewood.memory.json import as_json
from latewood.memory.keys import Keys
from latewood.reasoning import brief, changes, conflicts, fusion, missing, precedents, recalled, stale, why
from latewood.server.app import create_app
from latewood.server.options import ServerOptions
from latewood.server.serve import bind
from latewood.storage import port

DAY = datetime(2026, 3, 1, tzinfo=UTC)
SOON = Patience(timeout_s=10, tries=4)


class Lossy:
    """Runs every request, and loses the first few answers on the way back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.loses = 0
        self.seen = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.seen += 1
        if not self.loses:
            await self._app(scope, receive, send)
            return
        self.loses -= 1

        async def nowhere(_message: Any) -> None:
            pass

        await self._app(scope, receive, nowhere)
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>bad gateway</html>"})


class Server:
    """A running server, its memory, and what loses its answers."""

    def __init__(self, memory: Memory, lossy: Lossy, url: str) -> None:
        self.memory = memory
        self.lossy = lossy
        self.url = url


@asynccontextmanager
async def running(memory: Memory, listener: Any = None, options: ServerOptions | None = None) -> AsyncIterator[Server]:
    lossy = Lossy(create_app(memory, options=options))
    listener = listener or bind("127.0.0.1", 0)
    config = uvicorn.Config(lossy, log_level="critical", access_log=False, timeout_graceful_shutdown=1, lifespan="on")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve(sockets=[listener]))
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
    try:
        yield Server(memory, lossy, f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.should_exit = True
        await task
        listener.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Memory.open(str(tmp_path / "t.db"), by="agent:server", sync="normal") as memory, running(memory) as up:
        yield up


@pytest.fixture
async def remote(server: Server) -> AsyncIterator[RemoteMemory]:
    async with RemoteMemory.open(server.url, by="agent:planner", session="s-1", patience=SOON) as opened:
        yield opened


async def test_answers_are_the_same_objects_that_python_gives(server: Server, remote: RemoteMemory) -> None:
    rate = await remote.observe("carrier:A", "rate", Decimal("0.810"), unit="%", valid_from=DAY, source="x.csv")
    when = await remote.observe("carrier:A", "due", datetime(2026, 5, 1, 12, tzinfo=UTC))
    await remote.observe("carrier:A", "fleet", {"vans": 3, "in_use": [1, None]}, as_written="three")
    chosen = await remote.decide(
        "Move to B", because="late", about=["carrier:A"], evidence=[rate], key="adr:1", decided_at=DAY,
        alternatives=[Alternative("stay", rejected_because="late"), Alternative("rail")], confidence=0.8,
    )  # fmt: skip
    memory = server.memory

    assert await remote.decision(chosen) == await memory.decision(chosen.id)
    assert await remote.decision("adr:1", AsOf(known_at=datetime(2100, 1, 1, tzinfo=UTC))) is not None
    assert await remote.node("carrier:A") == await memory.node("carrier:A")
    assert await remote.fact(rate.id) == await memory.fact(rate.id)
    assert await remote.receipt(rate.receipt.id) == rate.receipt == await memory.receipt(rate.receipt.id)
    assert (await remote.fact(rate.id)).value.python == Decimal("0.810")  # type: ignore[union-attr]
    assert (await remote.fact(when.id)).value.python == datetime(2026, 5, 1, 12, tzinfo=UTC)  # type: ignore[union-attr]
    assert (await remote.decision(chosen)).decided_by[0].key == "agent:planner"
    assert (await remote.decision(chosen)).session.key == "session:s-1"  # type: ignore[union-attr]
    assert await remote.verify() == await memory.verify()
    assert as_json(await remote.entity("carrier:A", ["rate"])) == as_json(await memory.entity("carrier:A", ["rate"]))
    assert as_json(await remote.proposals(status=None)) == {"items": [], "next": None}


async def test_pages_go_on_to_the_end(server: Server, remote: RemoteMemory) -> None:
    for number in range(7):
        await server.memory.observe("carrier:A", "note", f"note {number}", valid_from=DAY)
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await remote.timeline("carrier:A", first=3, after=after)
        seen += [fact.id for fact in page.items]
        after = page.next
        if after is None:
            break

    assert seen == [fact.id for fact in (await server.memory.timeline("carrier:A")).items]


async def test_errors_are_those_that_python_raises(remote: RemoteMemory) -> None:
    await remote.observe("carrier:A", "rate", 1, idempotency_key="k")
    calls: list[tuple[type[LatewoodError], str, Any]] = [
        (NotFoundError, "node.not_found", lambda: remote.decision("adr:9")),
        (NotFoundError, "node.not_found", lambda: remote.why("adr:9")),
        (NotFoundError, "node.not_found", lambda: remote.timeline("carrier:nobody")),
        (NotFoundError, "space.unknown", lambda: remote.within(space="nowhere").decisions()),
        (NotFoundError, "node.not_found", lambda: remote.receipt("01900000-0000-7000-8000-000000000000")),
        (ConflictError, "idempotency.conflict", lambda: remote.observe("carrier:A", "rate", 2, idempotency_key="k")),
        (ConflictError, "version.conflict", lambda: remote.observe("carrier:A", "rate", 2, expected_version=0)),
        (InvalidError, "time.naive", lambda: remote.observe("a:1", "p", 1, valid_from=datetime(2026, 1, 1))),  # noqa: DTZ001
        (InvalidError, "cursor.invalid", lambda: remote.decisions(after="nonsense")),
        (ForbiddenError, "erase.forbidden", lambda: remote.erase("carrier:A", reason="asked to")),
        (InvalidError, "query.invalid", lambda: remote.recall("")),
        (InvalidError, "value.invalid", lambda: remote.observe("a:1", "p", float("nan"))),
    ]
    for kind, code, work in calls:
        with pytest.raises(LatewoodError) as raised:
            await work()
        assert (type(raised.value), raised.value.code) == (kind, code), raised.value


async def test_merging_and_splitting(server: Server, remote: RemoteMemory) -> None:
    await remote.observe("carrier:Acme", "rate", 0.8, valid_from=DAY)
    await remote.observe("carrier:ACME Ltd", "fleet", 3, valid_from=DAY)
    memory = server.memory
    assert as_json(await remote.duplicates()) == as_json(await memory.duplicates())
    trial = await remote.merge("carrier:ACME Ltd", "carrier:Acme", reason="one firm", dry_run=True)
    server.lossy.loses = 1
    merged = await remote.merge("carrier:ACME Ltd", "carrier:Acme", reason="one firm")
    one = await remote.absorbed("carrier:Acme")
    split = await remote.split("carrier:ACME Ltd", reason="two firms")

    assert (trial.dry_run, trial.moved, trial.receipts) == (True, 1, ())
    assert merged.into.key == "carrier:Acme"
    assert [node.key for node in one] == ["carrier:ACME Ltd"]
    assert (split.moved, split.node.key) == (1, "carrier:ACME Ltd")
    assert await remote.absorbed("carrier:Acme") == await memory.absorbed("carrier:Acme") == ()
    with pytest.raises(InvalidError) as not_merged:
        await remote.split("carrier:ACME Ltd", reason="again")
    assert not_merged.value.code == "merge.invalid"


async def test_looking_after_a_memory(server: Server, remote: RemoteMemory) -> None:
    await remote.observe("carrier:Acme", "rate", 0.8)
    server.lossy.loses = 1
    first, again = [await remote.alias("carrier:Acme", "carrier:ACME Ltd") for _ in range(2)]
    item = json.dumps({"type": "message", "role": "user", "content": "We decided to use rail."})
    server.lossy.loses = 1
    sent = await remote.ingest("transcript", {"talk.jsonl": f"{item}\n{{"}, form="responses", session="s-1")
    found = await remote.missing_decisions("session:s-1")

    assert (first.absorbed.key, first.into.key, again.before, again.receipts) == (
        "carrier:ACME Ltd",
        "carrier:Acme",
        True,
        (),
    )
    assert (sent.path, sent.lines, sent.rejected, sent.rejects[0].line) == ("upload:upload/talk.jsonl", 2, 1, 2)
    assert sent.replayed > 0 == sent.written
    assert as_json(found.items) == as_json((await server.memory.missing_decisions("session:s-1")).items)
    assert [one.sentence for one in found.items] == ["We decided to use rail."]
    with pytest.raises(InvalidError) as raised:
        await remote.reindex()
    assert raised.value.code == "setting.invalid"


async def test_what_a_page_said_is_taken_back(server: Server, remote: RemoteMemory) -> None:
    for value in range(3):
        await remote.observe(f"lane:{value}", "rate", value, source="https://evil.example" if value else None)
    trial = await remote.retract_all(because="poisoned", read_from="https://evil.example", dry_run=True)
    server.lossy.loses = 1
    again = await remote.retract_all(because="poisoned", read_from="https://evil.example")

    assert [one.value.data for one in trial.facts if one.value is not None] == [1, 2]
    assert (trial.retracted, again.retracted, again.left, again.next) == (2, 0, (), None)
    assert (await remote.entity("lane:0")).facts
    assert not (await remote.entity("lane:1")).facts


async def test_patterns_are_found_read_and_reviewed(server: Server, remote: RemoteMemory) -> None:
    for month in range(1, 6):
        await remote.observe("a:1", "vendor", "AB"[month % 2], valid_from=datetime(2026, month, 1, tzinfo=UTC))
    server.lossy.loses = 1
    again = await remote.detect_patterns()
    assert (again.looked, again.failed, len(again.kept)) == (1, (), 1)
    listed = (await remote.patterns(kind=PatternKind.REVERSAL, about="a:1")).items
    assert as_json(listed) == as_json((await kept_patterns.patterns(server.memory)).items)
    whole = await remote.explain_pattern(listed[0].key)
    assert as_json(whole) == as_json(await kept_patterns.explain(server.memory, whole.id))
    assert len(whole.evidence) == 5
    written = await remote.review_pattern(whole.key, PatternReview.MUTED, because="on purpose", by="human:ada")
    assert written.receipt.state == "stored"
    assert (await remote.patterns()).items == ()
    (hidden,) = (await remote.patterns(status=[PatternStatus.OPEN], hidden=True)).items
    assert (hidden.review, hidden.reason) == (PatternReview.MUTED, "on purpose")
    with pytest.raises(NotFoundError):
        await remote.explain_pattern("a:1")


async def test_a_write_whose_answer_was_lost_is_written_once(server: Server, remote: RemoteMemory) -> None:
    server.lossy.loses = 2
    written = await remote.observe("carrier:A", "rate", 0.8)

    assert server.lossy.seen == 3
    assert written.receipt.replayed
    assert len((await server.memory.timeline("carrier:A")).items) == 1


async def test_what_has_no_key_is_not_sent_twice(server: Server, remote: RemoteMemory) -> None:
    server.lossy.loses = 1
    with pytest.raises(UnavailableError) as lost:
        await remote.create_space("team")

    assert lost.value.code == "remote.malformed"
    assert server.lossy.seen == 1
    assert "team" in [space.name for space in await remote.spaces()]


async def test_patience_ends(server: Server, remote: RemoteMemory) -> None:
    server.lossy.loses = 100
    with pytest.raises(UnavailableError):
        await remote.decisions()

    assert server.lossy.seen == SOON.tries


async def test_a_credential_says_who_writes(tmp_path: Path) -> None:
    options = ServerOptions(auth=True)
    async with (
        Memory.open(str(tmp_path / "t.db"), sync="normal") as memory, running(memory, options=options) as up,
        RemoteMemory.open(up.url, patience=SOON) as stranger,
    ):  # fmt: skip
        keys = Keys(memory)
        writes = await keys.create("w", tenant="acme", actor="agent:w", scopes=["read", "write"], by="human:root")
        reads = await keys.create("r", tenant="acme", actor="agent:r", scopes=["read"], by="human:root")
        async with RemoteMemory.open(up.url, token=writes.secret, patience=SOON) as writer:
            rate = await writer.observe("carrier:A", "rate", 1)
            mine = (await writer.fact(rate.id)).source
            codes = [await refusal(stranger.decisions()), await refusal(writer.erase(rate, reason="x"))]
            assert mine is not None
            assert (await writer.node(mine.actor_id)).key == "agent:w"
        async with RemoteMemory.open(up.url, token=reads.secret, patience=SOON) as reader:
            assert (await reader.fact(rate.id)).id == rate.id
            codes.append(await refusal(reader.observe("carrier:A", "rate", 2)))
        async with RemoteMemory.open(up.url, token="lw_wrong", patience=SOON) as forged:  # noqa: S106
            codes.append(await refusal(forged.decisions()))

    assert codes == ["credential.missing", "credential.scope", "credential.scope", "credential.invalid"]


async def refusal(work: Any) -> str:
    with pytest.raises(ForbiddenError) as refused:
        await work
    return refused.value.code


async def test_nobody_there_is_said_so() -> None:
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    quick = Patience(timeout_s=1, tries=2)
    async with RemoteMemory.open(url, patience=quick) as remote:
        with pytest.raises(UnavailableError) as away:
            await remote.observe("a:1", "p", 1)
    with BlockingRemoteMemory.open(url, patience=quick) as blocking, pytest.raises(UnavailableError) as gone:
        blocking.decisions()

    assert away.value.code == gone.value.code == "remote.unreachable"


@pytest.mark.parametrize(
    "url", ["", "latewood.db", "ftp://x", "http://", "http://user:pw@host", "http://x/?a=1", "http://x:bad"]
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidError) as refused:
        RemoteMemory.open(url)
    assert refused.value.code == "setting.invalid"
    assert "pw" not in refused.value.message


async def test_a_server_that_is_none_of_ours_is_told_apart() -> None:
    async def other(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"data": {"answer": {"edges": 7}}}'})

    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(other, log_level="critical", access_log=False, lifespan="off"))
    task = asyncio.create_task(server._serve(sockets=[listener]))
    async with RemoteMemory.open(f"http://127.0.0.1:{listener.getsockname()[1]}", patience=SOON) as remote:
        with pytest.raises(CorruptError) as strange:
            await remote.decisions()
    server.should_exit = True
    await task
    listener.close()
    assert strange.value.code == "remote.malformed"


async def test_watching_goes_on_over_a_restart_and_misses_nothing(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "t.db"), by="agent:server", sync="normal") as memory:
        listener = bind("127.0.0.1", 0)
        address = listener.getsockname()
        async with running(memory, listener) as up:
            remote = RemoteMemory.open(up.url, patience=Patience(timeout_s=5, tries=8))
            await memory.observe("a:1", "p", 1)
            watched = remote.watch()
            first = [await anext(watched) for _ in range((await memory.spaces())[0].seq["knowledge"])]
        await memory.observe("a:1", "p", 2)
        async with running(memory, bind("127.0.0.1", address[1])):
            rest = [await anext(watched)]
            await memory.observe("a:1", "p", 3)
            while rest[-1].seq < (await memory.spaces())[0].seq["knowledge"]:
                rest.append(await anext(watched))
            await watched.aclose()
            await remote.close()

    seqs = [entry.seq for entry in [*first, *rest]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert [entry.event.kind.value for entry in rest] == ["asserted", "asserted"]


@pytest.fixture
def blocking(tmp_path: Path) -> Iterator[BlockingRemoteMemory]:
    """A client without a loop, and a server in a thread that has one."""
    ready, stop = threading.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        async with (
            Memory.open(str(tmp_path / "b.db"), by="agent:server", sync="normal") as memory,
            running(memory) as up,
        ):
            found.append(up.url)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        with BlockingRemoteMemory.open(found[0], by="agent:planner") as opened:
            yield opened
    finally:
        stop.set()
        thread.join(20)


def test_the_blocking_client_needs_no_loop(blocking: BlockingRemoteMemory) -> None:
    written = blocking.observe("carrier:A", "rate", 0.8)
    chosen = blocking.within(session="s-2").decide("Go", because="so", evidence=[written])
    rows = []
    for entry in blocking.watch():
        rows.append(entry.seq)
        if entry.unit == chosen.receipt.id:
            break

    assert blocking.decision(chosen).session.key == "session:s-2"  # type: ignore[union-attr]
    assert blocking.decisions(status=[DecisionStatus.ACCEPTED]).items[0].id == chosen.id
    assert [node.key for node in blocking.nodes(kind=NodeKind.ENTITY).items] == ["carrier:A"]
    assert rows == list(range(1, len(rows) + 1))
    with pytest.raises(NotFoundError):
        blocking.decision("adr:9")


def test_every_verb_is_there_without_await_too() -> None:
    verbs = {name for name in vars(RemoteMemory) if not name.startswith("_")} | {
        name for name in dir(RemoteMemory) if not name.startswith("_")
    }
    assert verbs <= {name for name in dir(BlockingRemoteMemory) if not name.startswith("_")}


SAME: list[tuple[type, type]] = [
    (answers.Brief, brief.Brief), (answers.BriefLine, brief.BriefLine), (answers.Clue, fusion.Clue),
    (answers.Difference, changes.Difference), (answers.Disputed, conflicts.Disputed), (answers.Hit, port.Hit),
    (answers.Line, why.Line), (answers.Moved, stale.Moved), (answers.Precedent, precedents.Precedent),
    (answers.Recall, recalled.Recall), (answers.Recalled, recalled.Recalled), (answers.Space, port.Space),
    (answers.MissingDecision, missing.MissingDecision), (answers.ReindexReport, reindexing.ReindexReport),
    (found.Pattern, kept_patterns.Pattern), (found.DetectReport, kept_patterns.DetectReport),
    (answers.Merge, identity.Merge), (answers.Split, identity.Split), (answers.Duplicate, duplicates.Duplicate),
    (answers.Duplicates, duplicates.Duplicates), (answers.Stale, stale.Stale), (answers.Why, why.Why), (answers.Page, port.Page), (answers.Scrub, port.Scrub),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), SAME, ids=[ours.__name__ for ours, _ in SAME])
def test_the_answers_have_the_fields_of_those_in_python(ours: type, theirs: type) -> None:
    assert [one.name for one in fields(ours)] == [one.name for one in fields(theirs)]


def test_no_variable_of_a_write_is_lost_in_translation() -> None:
    body = Call("observe", answers.Written, {"input": ("ObserveInput!", {"valid_from": DAY, "value": None})}).body()
    assert body["variables"] == {"input": {"validFrom": "2026-03-01T00:00:00Z"}}
    assert is_dataclass(answers.Written)


def test_its_codes_are_known() -> None:
    assert {"remote.unreachable", "remote.malformed"} <= set(CODES)


def test_an_answer_too_large_is_refused(blocking: BlockingRemoteMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latewood.clients.remote.transport.ANSWER_BYTES_MAX", 100)
    with pytest.raises(LimitError):
        blocking.spaces()
