"""The blocking memory: the same verbs, the same signatures, no event loop in sight."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import InvalidError, NotFoundError, UnavailableError
from latewood.graph_schema.ids import SequentialIds
from latewood.memory import Alternative, BlockingMemory, Memory
from latewood.memory.json import as_json

NOT_BLOCKING = {
    "embed",
    "ids",
    "store",
    "unit",
    "submit",
    "submit_many",
    "space",
    "waiting",
    "default_actor",
    "names_actor",
    "views",
}
"""What ingestion and `doctor` need of Memory, and what never waits."""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[BlockingMemory]:
    with BlockingMemory.open(str(tmp_path / "t.db"), by="human:ada", sync="normal") as opened:
        yield opened


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_every_verb_is_there() -> None:
    assert public(Memory) - public(BlockingMemory) <= NOT_BLOCKING
    assert public(BlockingMemory) <= public(Memory)


@pytest.mark.parametrize("name", sorted(public(Memory) & public(BlockingMemory) - NOT_BLOCKING - {"close"}))
def test_signatures_and_documentation_are_those_of_memory(name: str) -> None:
    ours, theirs = getattr(BlockingMemory, name), getattr(Memory, name)

    assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters
    assert ours.__doc__ == theirs.__doc__
    assert not inspect.iscoroutinefunction(ours)


async def test_it_does_what_memory_does(tmp_path: Path) -> None:
    def blocking() -> object:
        with BlockingMemory.open("reference:", by="agent:a", clock=ManualClock(), ids=SequentialIds()) as memory:
            late = memory.observe("carrier:A", "rate", 0.81)
            choice = memory.decide(
                "B", because="late", about=["carrier:A"], evidence=[late], alternatives=[Alternative("A", "late")]
            )
            memory.correct(late, 0.9, because="miscounted")
            return as_json([memory.why(choice), memory.timeline("carrier:A"), memory.spaces()])

    async with Memory.open("reference:", by="agent:a", clock=ManualClock(), ids=SequentialIds()) as memory:
        late = await memory.observe("carrier:A", "rate", 0.81)
        choice = await memory.decide(
            "B", because="late", about=["carrier:A"], evidence=[late], alternatives=[Alternative("A", "late")]
        )
        await memory.correct(late, 0.9, because="miscounted")
        awaited = [await memory.why(choice), await memory.timeline("carrier:A"), await memory.spaces()]

    assert await asyncio.to_thread(blocking) == as_json(awaited)


def test_errors_come_through_as_they_are(memory: BlockingMemory, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as missing:
        memory.entity("carrier:A")
    assert missing.value.code == "node.not_found"

    (tmp_path / "diary").write_text("dear diary " * 500)
    before = threading.active_count()
    with pytest.raises(InvalidError):
        BlockingMemory.open(str(tmp_path / "diary"))
    assert threading.active_count() == before


def test_watch_yields_each_row_once_and_waits_for_the_next(memory: BlockingMemory) -> None:
    memory.observe("a:1", "p", 1)
    rows = memory.watch()
    seen = [next(rows).seq for _ in range(memory.spaces()[0].seq["knowledge"])]
    later = threading.Timer(0.2, lambda: memory.observe("a:1", "p", 2))
    later.start()
    following = next(rows)
    later.join()
    rows.close()

    assert seen == list(range(1, len(seen) + 1))
    assert following.seq == len(seen) + 1


def test_threads_may_share_it(memory: BlockingMemory) -> None:
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda number: memory.observe(f"a:{number}", "p", number).id, range(40)))

    assert len(set(written)) == 40
    assert len(memory.nodes(type_="a", first=100).items) == 40


def test_handles_share_one_engine(memory: BlockingMemory) -> None:
    memory.create_space("team")
    team = memory.within(space="team", by="agent:b")
    team.observe("a:1", "p", 1)

    assert (memory.space, team.space) == ("default", "team")
    assert team.default_actor() == "agent:b"
    with pytest.raises(NotFoundError):
        memory.entity("a:1")


def test_closing_ends_the_thread_and_what_comes_after_is_refused(tmp_path: Path) -> None:
    before = threading.active_count()
    memory = BlockingMemory.open(str(tmp_path / "t.db"), by="human:ada", sync="normal")
    memory.observe("a:1", "p", 1)
    rows = memory.watch()
    next(rows)
    memory.close()
    memory.close()

    assert threading.active_count() == before
    with pytest.raises(UnavailableError) as closed:
        memory.entity("a:1")
    assert closed.value.code == "store.closed"
    with pytest.raises(UnavailableError):
        next(rows)


def test_another_thread_waiting_is_told_when_it_is_closed(tmp_path: Path) -> None:
    memory = BlockingMemory.open(str(tmp_path / "t.db"), by="human:ada", sync="normal")
    failures: list[BaseException] = []

    def follow() -> None:
        try:
            for _ in memory.watch():
                pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test judges it
            failures.append(error)

    waiting = threading.Thread(target=follow)
    waiting.start()
    memory.observe("a:1", "p", 1)
    memory.close()
    waiting.join(10)

    assert not waiting.is_alive()
    assert len(failures) == 1
    assert isinstance(failures[0], UnavailableError)
