"""Merge, split and aliases through the one door, on a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from latewood.graph_schema.clock import AsOf, ManualClock
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from latewood.graph_schema.identity import MOVED_REASON
from latewood.graph_schema.model import DecisionStatus, NodeKind, Trust
from latewood.memory import Memory
from latewood.memory import identity as verbs
from latewood.memory.json import as_json
from latewood.memory.portability import export_space, import_space
from latewood.memory.proposals import ProposalRule, accept, accept_by_rule, proposals, reject
from latewood.storage.port import PAGE_MAX

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def memory(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Memory]:
    async with Memory.open(str(tmp_path / "m.db"), by="human:ada", clock=clock, embedder="none") as opened:
        yield opened


async def two_carriers(memory: Memory, clock: ManualClock) -> datetime:
    """Say things of two keys of one carrier; return an instant before they are merged."""
    await memory.observe("carrier:ACME Inc.", "rate", 1, valid_from=START - timedelta(days=9))
    await memory.observe("carrier:acme", "seat", "Lyon")
    await memory.relate("lane:12", "served_by", "carrier:ACME Inc.")
    await memory.decide("Keep ACME", because="it is cheap", about=["carrier:ACME Inc."], key="adr:1")
    clock.advance(days=1)
    known = await memory.now()
    clock.advance(days=1)
    return known


async def test_a_merged_key_means_the_other_from_then_on(memory: Memory, clock: ManualClock) -> None:
    known = await two_carriers(memory, clock)
    done = await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")
    clock.advance(days=1)

    assert (done.absorbed.key, done.into.key, done.moved, done.before) == (
        "carrier:ACME Inc.",
        "carrier:acme",
        3,
        False,
    )
    found = await memory.entity("carrier:acme inc.")
    assert found.node.key == "carrier:acme"
    assert {fact.predicate for fact in found.facts} == {"rate", "seat"}
    by_id = await memory.entity(done.absorbed.id)
    assert by_id.node.id == found.node.id
    assert [node.key for node in await memory.absorbed("carrier:acme")] == ["carrier:ACME Inc."]
    listed = await memory.nodes(kind=NodeKind.ENTITY, type_="carrier")
    assert [node.key for node in listed.items] == ["carrier:acme"]
    everything = await memory.nodes(kind=NodeKind.ENTITY, type_="carrier", merged=True)
    assert len(everything.items) == 2
    (about,) = (await memory.decisions(about="carrier:ACME Inc.")).items
    assert [node.key for node in about.about] == ["carrier:acme"]
    assert {hit.node.key for hit in await memory.find("ACME")} >= {"carrier:acme"}
    assert "carrier:ACME Inc." not in {hit.node.key for hit in await memory.find("ACME")}
    then = AsOf(None, known)
    assert (await memory.entity("carrier:ACME Inc.", at=then)).node.key == "carrier:ACME Inc."
    assert await memory.absorbed("carrier:acme", then) == ()
    assert len((await memory.nodes(kind=NodeKind.ENTITY, type_="carrier", at=then)).items) == 2
    past = await memory.entity("carrier:ACME Inc.", at=AsOf(START - timedelta(days=5)))
    assert (past.node.key, [fact.predicate for fact in past.facts]) == ("carrier:acme", ["rate"])


async def test_what_was_merged_in_a_row_is_told_of_each(memory: Memory) -> None:
    for key in ("a:1", "a:2", "a:3"):
        await memory.observe(key, "rate", 1)
    await memory.merge("a:1", "a:2", reason="one")
    await memory.merge("a:2", "a:3", reason="one")
    ids = [(await memory.node_itself(key)).id for key in ("a:1", "a:2", "a:3")]
    found = await memory.absorbed_of(ids)

    assert [[node.key for node in found[one]] for one in ids] == [[], ["a:1"], ["a:2", "a:1"]]
    assert (await memory.node("a:1")).key == "a:3"


async def test_its_own_history_is_still_told(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")

    own = await memory.timeline("carrier:ACME Inc.")
    assert [(fact.predicate, fact.retired_reason) for fact in own.items] == [
        ("merged_into", None), ("rate", MOVED_REASON)
    ]  # fmt: skip


async def test_merging_again_writes_nothing(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    first = await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")
    head = (await memory.spaces())[0].seq
    again = await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")

    assert (again.before, again.moved, again.receipts, again.fact_id) == (True, 0, (), first.fact_id)
    assert (await memory.spaces())[0].seq == head


async def test_a_dry_run_says_what_would_move_and_writes_nothing(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    await memory.observe("carrier:acme", "rate", 2)
    head = (await memory.spaces())[0].seq
    shown = await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company", dry_run=True)

    assert (shown.moved, shown.meets, shown.fact_id, shown.receipts) == (3, ("rate",), None, ())
    assert (await memory.spaces())[0].seq == head


async def test_a_split_gives_back_what_moved_and_lists_what_stays(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")
    clock.advance(days=1)
    together = await memory.now()
    clock.advance(days=1)
    later = await memory.observe("carrier:ACME Inc.", "fleet", 40)
    shown = await memory.split("carrier:ACME Inc.", reason="two companies", dry_run=True)
    assert (shown.moved, shown.receipts) == (3, ())
    done = await memory.split("carrier:ACME Inc.", reason="two companies")

    assert (done.moved, done.stays, done.into.key) == (3, (later.id,), "carrier:acme")
    assert [fact.predicate for fact in (await memory.entity("carrier:ACME Inc.")).facts] == ["rate"]
    assert {fact.predicate for fact in (await memory.entity("carrier:acme")).facts} == {"seat", "fleet"}
    (about,) = (await memory.decisions(about="carrier:ACME Inc.")).items
    assert about.key == "adr:1"
    assert (await memory.entity("carrier:ACME Inc.", at=AsOf(None, together))).node.key == "carrier:acme"
    assert await memory.absorbed("carrier:acme") == ()
    with pytest.raises(InvalidError, match="not merged") as error:
        await memory.split("carrier:ACME Inc.", reason="again")
    assert error.value.code == "merge.invalid"
    again = await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one after all")
    assert again.moved == 3


async def test_an_alias_is_a_key_that_means_the_other(memory: Memory, clock: ManualClock) -> None:
    await memory.observe("carrier:acme", "rate", 1)
    done = await memory.alias("carrier:acme", "ACME Incorporated")
    await memory.observe("acme  incorporated", "rate", 2)

    assert (done.absorbed.key, done.moved) == ("ACME Incorporated", 0)
    assert [fact.value.data for fact in (await memory.entity("ACME INCORPORATED")).facts if fact.value] == [2]
    assert (await memory.entity("carrier:acme")).facts[0].value is not None
    again = await memory.alias("carrier:acme", "ACME Incorporated")
    assert (again.before, again.receipts) == (True, ())
    await memory.split("ACME Incorporated", reason="wrong name")
    assert (await memory.entity("ACME Incorporated")).facts == ()
    with pytest.raises(NotFoundError):
        await memory.alias("carrier:nobody", "x:y")


async def test_what_no_unit_holds_moves_in_several(
    memory: Memory, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "MOVED_A_UNIT", 4)
    for place in range(11):
        await memory.observe("carrier:ACME Inc.", f"p{place}", place)
    await memory.observe("carrier:acme", "seat", "Lyon")
    done = await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")

    assert (done.moved, len(done.receipts)) == (11, 3)
    assert len((await memory.entity("carrier:acme")).facts) == 12
    back = await memory.split("carrier:ACME Inc.", reason="two")
    assert (back.moved, len(back.receipts)) == (11, 3)
    assert len((await memory.entity("carrier:ACME Inc.")).facts) == 11
    assert (await memory.rebuild(dry_run=True)).found == ()


async def test_a_merge_that_was_interrupted_goes_on(
    memory: Memory, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "MOVED_A_UNIT", 3)
    monkeypatch.setattr(verbs, "_SWEEPS_MAX", 0)
    for place in range(7):
        await memory.observe("carrier:ACME Inc.", f"p{place}", place)
    await memory.observe("carrier:acme", "seat", "Lyon")
    with pytest.raises(Exception, match="go on"):
        await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")
    assert len((await memory.entity("carrier:acme")).facts) == 4
    monkeypatch.setattr(verbs, "_SWEEPS_MAX", 9)
    done = await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")
    assert (done.before, done.moved) == (True, 4)
    assert len((await memory.entity("carrier:acme")).facts) == 8
    monkeypatch.setattr(verbs, "_SWEEPS_MAX", 0)
    with pytest.raises(Exception, match="go on"):
        await memory.split("carrier:ACME Inc.", reason="two")
    monkeypatch.setattr(verbs, "_SWEEPS_MAX", 9)
    back = await memory.split("carrier:ACME Inc.", reason="two")
    assert len((await memory.entity("carrier:ACME Inc.")).facts) == 7
    assert back.moved == 4


async def test_what_may_not_be_merged_is_refused_with_its_code(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    await memory.observe("carrier:other", "rate", 3)
    await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")
    with pytest.raises(ConflictError) as taken:
        await memory.merge("carrier:ACME Inc.", "carrier:other", reason="no")
    assert taken.value.code == "merge.exists"
    for one, other in (("carrier:acme", "carrier:ACME Inc."), ("adr:1", "carrier:acme"), ("carrier:acme", "human:ada")):
        with pytest.raises(InvalidError) as wrong:
            await memory.merge(one, other, reason="no")
        assert wrong.value.code == "merge.invalid"
    with pytest.raises(InvalidError) as silent:
        await memory.merge("carrier:other", "carrier:acme", reason=" ")
    assert silent.value.code == "query.invalid"
    agent = memory.within(by="agent:x", trust=Trust.EXTRACTED)
    with pytest.raises(ForbiddenError):
        await agent.merge("carrier:other", "carrier:acme", reason="no")


async def test_evidence_that_moved_with_a_merge_is_not_stale(memory: Memory, clock: ManualClock) -> None:
    late = await memory.observe("carrier:ACME Inc.", "rate", 1, valid_from=START)
    await memory.decide("Leave", because="late", evidence=[late], key="adr:2")
    clock.advance(days=1)
    await memory.observe("carrier:acme", "seat", "Lyon")
    await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")

    assert (await memory.stale()).items == ()
    (piece,) = (await memory.decision("adr:2")).evidence
    assert (piece.moved, piece.id) == (None, late.id)
    clock.advance(days=1)
    await memory.observe("carrier:acme", "rate", 5)
    (stale,) = (await memory.stale()).items
    (moved,) = stale.moved
    assert moved.how == "superseded"
    assert moved.now is not None
    assert moved.now.value is not None
    assert moved.now.value.data == 5
    await memory.split("carrier:ACME Inc.", reason="two")
    assert (await memory.stale()).items == ()


async def test_erasing_a_merged_key_erases_that_one(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")
    report = await memory.within(by="human:bea").erase("carrier:ACME Inc.", reason="asked for")

    assert report.kind == "entity"
    assert report.verdict.ok
    assert [fact.predicate for fact in (await memory.entity("carrier:acme")).facts if not fact.erased] == ["seat"]
    everything = await memory.timeline(report.target, first=PAGE_MAX)
    assert all(fact.erased for fact in everything.items)


async def test_entities_that_look_alike_are_found_proposed_and_merged(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    await memory.observe("carrier:Nordic Rail", "rate", 4)
    await memory.observe("product:acme", "price", 4)
    found = await memory.duplicates()

    assert [(one.absorbed.key, one.into.key, one.signal) for one in found.items] == [
        ("carrier:acme", "carrier:ACME Inc.", "words")
    ]  # fmt: skip
    assert (found.total, found.bounded) == (1, False)
    (key,) = await memory.propose_merges(found.items)
    assert await memory.propose_merges(found.items) == ()
    (waiting,) = (await proposals(memory)).items
    assert (waiting.key, waiting.kind, waiting.confidence) == (key, "merge", 1.0)
    assert len((await memory.duplicates()).items) == 1
    rule = ProposalRule("dedupe", kinds=["merge"], signals=["name"])
    assert await accept_by_rule(memory, rule) == ()
    (done,) = await accept_by_rule(memory, ProposalRule("dedupe", kinds=["merge"], signals=["words"]))
    assert done.key == key
    assert (await memory.entity("carrier:acme")).node.key == "carrier:ACME Inc."
    (settled,) = (await proposals(memory, status=DecisionStatus.ACCEPTED)).items
    assert settled.accepted_as == (await memory.facts_of([(await memory.node_itself("carrier:acme")).id]))[0].id
    assert (await memory.duplicates()).items == ()


async def test_a_rejected_pair_is_not_proposed_again(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    found = await memory.duplicates()
    (key,) = await memory.propose_merges(found.items)
    await reject(memory, key, because="two companies")

    assert await memory.propose_merges((await memory.duplicates()).items) == ()
    assert (await memory.entity("carrier:acme")).node.key == "carrier:acme"


async def test_a_proposal_of_what_was_merged_meanwhile_is_settled(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    (key,) = await memory.propose_merges((await memory.duplicates()).items)
    done = await memory.merge("carrier:acme", "carrier:ACME Inc.", reason="seen by hand")

    assert (await accept(memory, key)).id == done.fact_id
    (settled,) = (await proposals(memory, status=DecisionStatus.ACCEPTED)).items
    assert settled.accepted_as == done.fact_id


async def test_names_of_one_meaning_are_found_where_there_is_an_embedder(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "v.db"), by="human:ada", embedder="light") as memory:
        for key in ("topic:car repair", "topic:automobile repair", "topic:quarterly budget"):
            await memory.observe(key, "weight", 1)
        found = await memory.duplicates(signals=["meaning"])

        assert [{one.absorbed.key, one.into.key} for one in found.items] == [
            {"topic:car repair", "topic:automobile repair"}
        ]  # fmt: skip


async def test_questions_about_duplicates_that_make_no_sense_are_refused(memory: Memory) -> None:
    for signals, score_min, first in ((["smell"], 0.0, 9), ([], 2.0, 9), ([], 0.0, 0)):
        with pytest.raises(InvalidError) as error:
            await memory.duplicates(signals=signals, score_min=score_min, first=first)
        assert error.value.code == "query.invalid"


async def test_what_is_written_while_it_is_merged_comes_along(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)

    async def write(place: int) -> None:
        await memory.observe("carrier:ACME Inc.", f"p{place}", place)
        await memory.relate(f"lane:{place}", "served_by", "carrier:ACME Inc.")

    merging = asyncio.create_task(memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company"))
    await asyncio.gather(*(write(n) for n in range(40)))
    done = await merging
    again = await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")

    assert (again.before, again.moved) == (True, 0)
    found = await memory.entity("carrier:acme")
    assert {f"p{place}" for place in range(40)} <= {fact.predicate for fact in found.facts}
    lanes = [fact.object_id for fact in await memory.facts_of([(await memory.node("lane:7")).id])]
    assert lanes == [done.into.id]


async def test_a_merged_space_is_exported_and_imported(memory: Memory, clock: ManualClock, tmp_path: Path) -> None:
    known = await two_carriers(memory, clock)
    await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")
    await memory.alias("carrier:acme", "the acme people")
    out = await export_space(memory, tmp_path / "out.jsonl")
    async with Memory.open(str(tmp_path / "to.db"), by="human:ada", clock=clock, embedder="none") as other:
        done = await import_space(other, tmp_path / "out.jsonl")
        assert done.rows == out.rows
        for at in (AsOf(), AsOf(None, known)):
            for key in ("carrier:ACME Inc.", "carrier:acme", "lane:12"):
                assert as_json(await other.entity(key, at=at)) == as_json(await memory.entity(key, at=at))
        assert await other.absorbed("the acme people") == await memory.absorbed("the acme people")
        again = await export_space(other, tmp_path / "again.jsonl")
        assert again.fingerprint == out.fingerprint
        await other.split("carrier:ACME Inc.", reason="two")
        assert (await other.rebuild(dry_run=True)).found == ()


async def test_a_diff_shows_a_merge_and_once_what_it_moved(memory: Memory, clock: ManualClock) -> None:
    known = await two_carriers(memory, clock)
    await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")
    page = await memory.diff(known, await memory.now())

    shown = [(one.kind.value, one.subject.key, one.predicate) for one in page.items]
    assert shown[0] == ("appeared", "carrier:ACME Inc.", "merged_into")
    assert sorted(shown[1:]) == [
        ("moved", "adr:1", "about"), ("moved", "carrier:acme", "rate"), ("moved", "lane:12", "served_by")
    ]  # fmt: skip


async def test_an_idempotency_key_of_before_moves_nothing(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    one, other = "carrier:ACME Inc.", "carrier:acme"
    first = await memory.merge(one, other, reason="one", idempotency_key="m-1")
    undone = await memory.split(one, reason="two", idempotency_key="s-1")
    again = await memory.merge(one, other, reason="one", idempotency_key="m-1")

    assert (again.moved, again.receipts[0].replayed, again.receipts[0].id) == (0, True, first.receipts[0].id)
    assert (await memory.entity(one)).node.key == one
    assert [fact.predicate for fact in (await memory.entity(one)).facts] == ["rate"]
    await memory.merge(one, other, reason="one", idempotency_key="m-2")
    late = await memory.split(one, reason="two", idempotency_key="s-1")
    assert (late.moved, late.receipts[0].id) == (0, undone.receipts[0].id)
    assert (await memory.entity(one)).node.key == other


async def test_what_cannot_be_moved_is_listed(memory: Memory, clock: ManualClock) -> None:
    await two_carriers(memory, clock)
    note = await memory.observe("carrier:ACME Inc.", "note", "secret")
    await memory.within(by="human:bea").erase(note, reason="asked for")
    done = await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")

    assert done.left == (note.id,)
    assert done.moved == 3
    assert (await memory.merge("carrier:ACME Inc.", "carrier:acme", reason="one company")).receipts == ()


async def test_words_that_moved_are_recalled_by_meaning_at_once(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "v.db"), by="human:ada", embedder="light") as memory:
        await memory.observe("carrier:A", "note", "the trucks are always late in winter")
        await memory.observe("carrier:B", "note", "paid by bank transfer")
        done = await memory.merge("carrier:A", "carrier:B", reason="one")
        (generation,) = await memory.store.generations("default")
        missing = await memory.store.unembedded("default", generation.name)

        assert missing.items == ()
        found = await memory.recall("lorry delays in cold months", about=["carrier:A"])
        assert {hit.fact.subject_id for hit in found.hits} == {done.into.id}
