"""What steps take in and return is kept once, however often it is handed on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from integration.execution.acting import worker_of

from latewood.execution import RunStatus, Transcript, conversation, step, workflow
from latewood.execution.blobs import INLINE_BYTES_MAX, items_of
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import ForbiddenError, InvalidError, LimitError, NotFoundError
from latewood.memory import Memory, NodeKind
from latewood.memory.runs import runs_of
from latewood.storage.port import PAGE_MAX, FactQuery, NodeQuery

LONG = "o" * (2 * INLINE_BYTES_MAX)


@step()
async def echo(text: str) -> str:
    return text


@step()
async def answer(so_far: Transcript, size: int) -> dict[str, str]:
    return {"role": "tool", "content": f"{so_far.length} " + "words of a tool " * (size // 16)}


@workflow()
async def long_chat(calls: int, size: int) -> int:
    said = conversation({"role": "user", "content": "begin"})
    for _ in range(calls):
        said = said.more(await answer(said, size))
    return said.length


@workflow()
async def twice(text: str) -> bool:
    return await echo(text) == await echo(text)


async def _blobs(memory: Memory, sort: str) -> list[str]:
    page = await memory.store.list_nodes(memory.space, NodeQuery(NodeKind.BLOB, type=sort, first=PAGE_MAX))
    return [node.id for node in page.items]


async def test_a_long_input_and_output_are_one_blob_each_however_often_they_are_met(near: Memory) -> None:
    async with worker_of(near, poll_s=60) as worker:
        run, short = await worker.run(twice, LONG), await worker.run(twice, "short")

    assert (run.output, short.output) == (True, True)
    long_steps, short_steps = (await runs_of(near).show(run.id)).steps, (await runs_of(near).show(short.id)).steps
    assert [one.output for one in long_steps] == [LONG, LONG]
    assert [one.input for one in short_steps] == [{"args": ["short"], "kwargs": {}}] * 2
    blobs = await _blobs(near, "content")
    assert len(blobs) == 2
    (read,) = {one.reads for one in long_steps}
    book = runs_of(near).book
    assert (await book.contents(read))[read[0]] == {"args": [LONG], "kwargs": {}}
    uses = await near.store.facts(near.space, FactQuery(objects=blobs))
    assert sorted(fact.predicate for fact in uses) == ["step.input"] * 2 + ["step.returned"] * 2
    assert (await near.store.verify(near.space, "execution")).ok


async def test_a_resumed_run_reads_its_conversation_back_and_adds_only_what_is_new(memory: Memory) -> None:
    async with worker_of(memory, poll_s=60) as worker:
        first = await worker.run(long_chat, 5, 2 * INLINE_BYTES_MAX)
        before = await _blobs(memory, "item")
        again = await worker.run(long_chat, 6, 2 * INLINE_BYTES_MAX)

    assert (first.output, again.output) == (6, 7)
    # The last answer of each is nobody's input; so the second run adds one item to the first one's five.
    assert (len(before), len(await _blobs(memory, "item"))) == (5, 6)
    steps = (await runs_of(memory).show(again.id)).steps
    said = await items_of(runs_of(memory).book, steps[-1].reads[0])
    assert said[0] == {"role": "user", "content": "begin"}
    assert said[1:] == [one.output for one in steps[:-1]]


async def test_two_runs_at_once_that_keep_the_same_words_keep_them_once(near: Memory) -> None:
    async with worker_of(near, poll_s=60) as worker:
        runs = await asyncio.gather(*(worker.run(twice, LONG) for _ in range(6)))

    assert {run.status for run in runs} == {RunStatus.DONE}
    assert len(await _blobs(near, "content")) == 2


def _bytes_in(folder: Path) -> int:
    return sum(part.stat().st_size for part in folder.iterdir())


async def test_a_hundred_tool_calls_on_a_growing_conversation_keep_the_journal_small(
    tmp_path: Path, clock: ManualClock
) -> None:  # fmt: skip
    # 100 answers of 8,000 characters are about 200,000 tokens; handed on whole they would be 40 MB.
    file = tmp_path / "chat.db"
    async with Memory.open(str(file), by="agent:worker", sync="normal", clock=clock, embedder="none") as memory:
        async with worker_of(memory, poll_s=60) as worker:
            run = await worker.run(long_chat, 100, 8_000)
        assert (run.status, run.output) == (RunStatus.DONE, 101)
        rows, after = 0, 0
        while page := await memory.store.feed(memory.space, "execution", after, 1_000):
            rows += sum(len(json.dumps(dict(row.event.payload or {}))) for row in page)
            after = page[-1].seq

    assert 800_000 < rows < 2_000_000
    assert _bytes_in(tmp_path) < 5_000_000


async def test_a_conversation_that_begins_long_is_kept_in_parts(near: Memory) -> None:
    @workflow()
    async def recount(items: int) -> dict[str, str]:
        return await answer(conversation("0", *(str(number) for number in range(1, items))), 0)

    async with worker_of(near, poll_s=60) as worker:
        run = await worker.run(recount, 400)

    assert run.output == {"role": "tool", "content": "400 "}
    (only,) = (await runs_of(near).show(run.id)).steps
    assert await items_of(runs_of(near).book, only.reads[0]) == [str(number) for number in range(400)]


async def test_erasing_a_run_takes_its_words_but_not_those_that_another_run_has(memory: Memory) -> None:
    async with worker_of(memory, poll_s=60) as worker:
        first = await worker.run(long_chat, 3, 2 * INLINE_BYTES_MAX)
        other = await worker.run(long_chat, 2, 2 * INLINE_BYTES_MAX)
        people = runs_of(memory.within(by="human:ada"))
        with pytest.raises(ForbiddenError):
            await runs_of(memory).erase(first.id, "the caller asked for it")
        went = await people.erase(first.id, "the caller asked for it")

        left = (await people.show(other.id)).steps
        assert [one.output for one in left] == [
            {"role": "tool", "content": f"{n} " + "words of a tool " * 500} for n in (1, 2)
        ]
        assert (went.runs, went.steps, went.attempts, went.shared) == (1, 3, 3, 0)
        # Both have the first question and two answers; only the first one has a third and was given the second.
        assert (went.blobs, went.kept) == (2, 4)
        with pytest.raises(NotFoundError):
            await people.run(first.id)
        words = [str(row.event.payload) for row in await memory.store.feed(memory.space, "execution", 0, 1_000)]
        assert not any("3 words of a tool" in text for text in words)
        await people.erase(other.id, "and this one")
        again = await worker.run(long_chat, 3, 2 * INLINE_BYTES_MAX)

    words = [str(row.event.payload) for row in await memory.store.feed(memory.space, "execution", 0, 1_000)]
    assert sum("1 words of a tool" in text for text in words) == 1
    assert again.status is RunStatus.DONE
    assert (await memory.store.verify(memory.space, "execution")).ok


async def test_what_nobody_could_keep_is_refused_with_the_way_out(near: Memory) -> None:
    with pytest.raises(LimitError, match="keep it in a file"):
        conversation("o" * 300_000)
    with pytest.raises(InvalidError, match="cannot be kept"):
        conversation({"role": {1}})  # pyright: ignore[reportArgumentType]
    async with worker_of(near, poll_s=60) as worker:
        with pytest.raises(InvalidError, match="cannot be kept"):
            await worker.run(echo_all, conversation("a"))


@workflow()
async def echo_all(said: object) -> str:
    return str(said)
