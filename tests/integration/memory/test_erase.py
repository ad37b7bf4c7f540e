"""Erasing through the one door, beside the verbs that keep the past."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError, LatewoodError, NotFoundError
from latewood.graph_schema.model import LEDGERS, NodeKind
from latewood.graph_schema.values import Value
from latewood.memory import BlockingMemory, Memory, Trust
from latewood.memory.imports import ingest_adr
from latewood.memory.json import as_json


@pytest.fixture(params=["sqlite", "reference"])
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Memory]:
    url = "reference:" if request.param == "reference" else str(tmp_path / "t.db")
    async with Memory.open(url, by="human:ada", sync="normal") as opened:
        yield opened


async def test_the_report_proves_what_went(memory: Memory) -> None:
    note = await memory.observe("person:jane", "note", "loves chess", source="hr.pdf")
    rows = {row.seq: row for row in await memory.store.feed("default", "knowledge", 0, 100)}
    report = await memory.erase("person:jane", reason="ticket 481")

    assert (report.kind, report.reason, report.scrub.state) == ("entity", "ticket 481", "done")
    assert report.places["ledger"] == len(report.rows) == report.verdict.erased == 3
    assert [row.digest for row in report.rows] == [rows[row.seq].digest.hex() for row in report.rows]
    assert report.verdict.ok
    assert report.verdict.rows == report.receipt.seq
    assert report.receipt.erased == report.places
    assert "chess" not in str(as_json(report))
    assert (await memory.fact(note.id)).erased
    with pytest.raises(NotFoundError):
        await memory.node("person:jane")
    assert (await memory.node(report.target)).erased


async def test_retract_and_end_keep_the_past_and_erase_does_not(memory: Memory) -> None:
    facts = [await memory.observe(f"a:{name}", "note", name) for name in ("retracted", "ended", "erased")]
    known = (await memory.fact(facts[2].id)).recorded_at
    await memory.retract(facts[0].id)
    await memory.end(facts[1].id)
    await memory.erase(facts[2].id, reason="asked for")

    before = [await memory.fact(one.id, known_at=known) for one in facts]
    assert [None if one.value is None else one.value.data for one in before] == ["retracted", "ended", None]
    held = [
        [fact.erased for fact in (await memory.entity(f"a:{one}")).facts] for one in ("retracted", "ended", "erased")
    ]
    assert held == [[], [], [True]]


async def test_an_agent_may_not_erase(memory: Memory) -> None:
    note = await memory.observe("a:1", "note", "x")
    for handle in (memory.within(by="agent:x"), memory.within(trust=Trust.AGENT)):
        with pytest.raises(ForbiddenError) as caught:
            await handle.erase(note.id, reason="r")
        assert caught.value.code == "erase.forbidden"
    assert not (await memory.fact(note.id)).erased


async def test_a_repeated_call_gives_the_first_proof(memory: Memory) -> None:
    await memory.observe("person:jane", "note", "x")
    first = await memory.erase("person:jane", reason="r", idempotency_key="e-1")
    again = await memory.erase("person:jane", reason="r", idempotency_key="e-1")
    with pytest.raises(ConflictError) as twice:
        await memory.erase(first.target, reason="r")
    with pytest.raises(NotFoundError):
        await memory.erase("person:jane", reason="r")
    with pytest.raises(ConflictError):
        await memory.erase("person:jane", reason="another", idempotency_key="e-1")

    assert again.receipt.replayed
    assert (again.target, again.rows, again.places) == (first.target, first.rows, first.places)
    assert twice.value.code == "content.erased"
    with pytest.raises(InvalidError):
        await memory.erase((await memory.node("human:ada")).id, reason="r")


async def test_an_erased_decision_is_no_decision_any_more(memory: Memory) -> None:
    old = await memory.decide("Keep carrier A", because="cheap", key="lane:d1", about=["carrier:A"])
    new = await memory.decide("Move to carrier B", because="A is late", supersedes=[old.id], evidence=[old.id])
    await memory.erase(old.id, reason="asked for")
    why = await memory.why(new.id)

    with pytest.raises(NotFoundError) as caught:
        await memory.decision(old.id)
    assert caught.value.code == "content.erased"
    assert why.decision.supersedes == ()
    assert "Keep" not in str(as_json(why))
    assert [one.id for one in (await memory.decisions()).items] == [new.id]


async def test_writers_beside_it_are_not_held_up_or_mixed_in(memory: Memory) -> None:
    await memory.observe("person:jane", "note", "x")
    target = (await memory.node("person:jane")).id
    answers = await asyncio.gather(
        *(memory.observe(f"a:{n}", "note", n) for n in range(20)), memory.erase(target, reason="r"),
        *(memory.observe(f"b:{n}", "note", n) for n in range(20)),
    )  # fmt: skip

    assert len(answers) == 41
    assert (await memory.node(target)).erased
    assert (await memory.verify()).ok


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=folder, check=True)


def put(folder: Path, number: int, word: str) -> None:
    text = (
        f"# {number}. Use the {word} one\n\nDate: 2026-01-0{number}\n\n## Status\n\nAccepted\n\n## Decision\n\n{word}\n"
    )
    (folder / f"000{number}-use.md").write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a record")


async def test_what_is_imported_again_stays_erased(memory: Memory, tmp_path: Path) -> None:
    folder = tmp_path / "adr"
    folder.mkdir()
    git(folder, "init", "-q")
    put(folder, 1, "quixotic")
    put(folder, 2, "plain")
    await ingest_adr(memory, folder)
    await memory.erase("adr:1", reason="asked for")
    again = await ingest_adr(memory, folder)
    put(folder, 1, "quixotic and later")
    put(folder, 3, "third")
    changed = await ingest_adr(memory, folder)

    assert (again.written, again.erased) == (0, 1)
    assert changed.erased == 1
    assert await memory.find("quixotic") == ()
    assert [one.key for one in (await memory.decisions()).items] == ["adr:2", "adr:3"]
    assert (await memory.verify()).ok


def test_blocking_has_it_too(tmp_path: Path) -> None:
    with BlockingMemory.open(str(tmp_path / "t.db"), by="human:ada") as blocking:
        note = blocking.observe("a:1", "note", "quixotic")
        report = blocking.erase(note, reason="asked for")

        assert (report.kind, report.target) == ("fact", note.id)
        with pytest.raises(LatewoodError):
            blocking.erase(note, reason=" ")


async def test_words_go_from_the_execution_ledger_too(memory: Memory) -> None:
    note = await memory.observe("person:jane", "note", "loves chess")
    said = Assert(memory.ids.new(), Ref(key="person:jane"), "seen", Value.of("plays chess", None))
    await memory.submit(replace(memory.unit([said], ["seen"]), ledger="execution"))
    with pytest.raises(ForbiddenError):
        await memory.within(by="agent:x").erase("person:jane", reason="asked for")
    asked = [await memory.erase("person:jane", reason="ticket 481", idempotency_key="k") for _ in range(2)]

    report = asked[0]
    assert report.also is not None
    assert (report.receipt.ledger, report.also.receipt.ledger) == ("knowledge", "execution")
    assert report.places["ledger"] == report.verdict.erased + report.also.verdict.erased == 3
    assert (report.verdict.ok, report.also.verdict.ok) == (True, True)
    assert [fact.erased for fact in (await memory.facts_by_id([note.id, said.id])).values()] == [True, True]
    assert "chess" not in repr([await memory.store.feed("default", name, 0, 100) for name in LEDGERS])
    assert (await memory.rebuild(dry_run=True)).differences == 0
    assert asked[1].target == report.target
    assert asked[1].receipt.replayed
    with pytest.raises(ConflictError):
        await memory.erase(report.target, reason="again")


async def test_what_is_only_in_the_execution_ledger_is_erased_there(memory: Memory) -> None:
    said = Assert(memory.ids.new(), Ref(key="step:1", kind=NodeKind.STEP), "output", Value.of("a password", None))
    await memory.submit(replace(memory.unit([said], ["step"]), ledger="execution"))
    report = await memory.erase("step:1", reason="holds a password")

    assert (report.kind, report.receipt.ledger, report.also, report.verdict.ok) == ("step", "execution", None, True)
    assert (await memory.fact(said.id)).erased
