"""From a recording to a report: nothing is paid for twice, every sentence leads to its seconds, a correction goes through."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.execution.acting import ended
from integration.execution.recording_child import die_after
from simulation.run_children import Ahead

from latewood.execution import DEFAULT, Action, Endpoint, FaultClass, ModelPolicy, Rule, Run, RunStatus
from latewood.graph_schema.clock import AsOf, iso
from latewood.graph_schema.errors import ConflictError, InvalidError
from latewood.memory import Memory
from latewood.memory.examples.recording import (
    POLICY,
    amended,
    begin_recording,
    main,
    pipeline,
    report_of,
    sources_of,
)
from latewood.memory.examples.stand_in import StandIn, stand_in
from latewood.memory.runs import runs_of, worker_of

RECORDING = "recording:visit-1"
QUICK = DEFAULT.changed("quick-1", {FaultClass.TRANSIENT: Rule(2, Action.ESCALATE, first_s=0.001)})


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as opened:
        yield opened


async def _begun(memory: Memory) -> None:
    await runs_of(memory.within(by="human:clinic")).set_policy(ModelPolicy.of(POLICY))
    await begin_recording(memory, RECORDING)


@pytest.fixture
async def clinic(tmp_path: Path) -> AsyncIterator[Memory]:
    async with Memory.open(str(tmp_path / "c.db"), by="agent:scribe", embedder="none", sync="normal") as memory:
        await _begun(memory)
        yield memory


async def _report(memory: Memory, server: StandIn, **more: Any) -> Run:
    flow = pipeline(memory, Endpoint(server.url), policy=QUICK, **more)
    async with worker_of(memory, flow, poll_s=60) as worker:
        return await worker.run(flow, RECORDING, iso(await memory.now()))


def _stages(server: StandIn) -> list[str]:
    """Tell of each question whether it was about a slice or about the report."""
    return ["report" if one["messages"][-1]["content"].startswith("[") else "slice" for one in server.asked]


async def test_a_report_cites_its_slices_and_leads_to_their_seconds(clinic: Memory, server: StandIn) -> None:
    run = await _report(clinic, server)

    slices = [f"slice:visit-1/{n}" for n in range(1, 11)]
    assert isinstance(run.output, dict)
    assert (run.status, run.output["head"], run.output["cites"]) == (RunStatus.DONE, "complete", slices)
    found = await sources_of(clinic, str(run.output["report"]))
    assert found == [(one, 60 * n, 60 * n + 60) for n, one in enumerate(slices)]
    # The graph leads from the step that wrote the report to its facts, and from them to what they rested on.
    last = (await runs_of(clinic).show(run.id)).steps[-1]
    edges = await clinic.store.facts(clinic.space, _of(last.id))
    assert {fact.predicate for fact in edges} >= {"step.used", "step.wrote", "has_attempt"}
    written = [fact.object_id for fact in edges if fact.predicate == "step.wrote"]
    facts = await clinic.facts_by_id([one for one in written if one is not None])
    assert len(facts) == 11


def _of(subject: str) -> Any:
    from latewood.storage.port import FactQuery

    return FactQuery(subjects=[subject])


async def test_tokens_stand_by_stage_and_are_those_that_the_provider_counted(clinic: Memory, server: StandIn) -> None:
    turned: list[str] = []

    def status(asked: dict[str, Any]) -> int:
        words = asked["messages"][-1]["content"]
        if "fall" in words and not words.startswith("[") and not turned:
            turned.append(words)
            return 503
        return 200

    server.status = status
    run = await _report(clinic, server)

    shown = await runs_of(clinic).show(run.id)
    stages = {one.stage: one for one in shown.stages}
    assert [(name, stages[name].steps, stages[name].calls) for name in ("slice", "summarise", "report")] == [
        ("slice", 1, 0), ("summarise", 10, 11), ("report", 1, 1),
    ]  # fmt: skip
    assert sum(one.tokens or 0 for one in shown.stages) == server.used == shown.tokens
    assert sum(one.cost or 0 for one in shown.stages) == sum(one.cost or 0 for one in shown.calls) > 0
    assert [one.outcome for one in shown.calls if one.place == shown.calls[4].place] == ["failed", "completed"]


@pytest.mark.slow
async def test_a_worker_that_dies_after_seven_slices_leaves_three_and_the_report(
    tmp_path: Path, server: StandIn
) -> None:
    db = str(tmp_path / "c.db")
    async with Memory.open(db, by="agent:scribe", embedder="none", sync="normal") as memory:
        await _begun(memory)
    # The slices are cut, and seven of them summed up and kept.
    code = await asyncio.to_thread(die_after, 15, db, server.url)
    before = len(server.asked)

    async with Memory.open(db, by="agent:scribe", embedder="none", clock=Ahead(3_600), sync="normal") as memory:
        flow = pipeline(memory, Endpoint(server.url), at_most=1)
        async with worker_of(memory, flow, poll_s=0.05):
            run = await ended(memory, (await runs_of(memory).list()).items[0].id)
        whole = await _report(memory, server)

    assert (code, before) == (-signal.SIGKILL, 7)
    assert _stages(server)[7:11] == ["slice"] * 3 + ["report"]
    assert isinstance(run.output, dict)
    assert isinstance(whole.output, dict)
    assert (run.status, run.output["text"]) == (RunStatus.DONE, whole.output["text"])


async def test_a_corrected_slice_is_summed_up_and_reported_again_and_nothing_else_is(
    clinic: Memory, server: StandIn
) -> None:
    flow = pipeline(clinic, Endpoint(server.url), policy=QUICK)
    async with worker_of(clinic, flow, poll_s=0.02) as worker:
        first = await worker.run(flow, RECORDING, iso(await clinic.now()))
        told_at, old = await clinic.now(), await report_of(clinic, RECORDING)
        calls = len(server.asked)
        (fact,) = (await clinic.entity("slice:visit-1/4", ["text"])).facts
        await clinic.within(by="human:clinic").correct(fact.id, "They speak of the stairs at work. Two flights.")
        second = await ended(clinic, (await amended(clinic, first.id, flow)).id)

    assert _stages(server)[calls:] == ["slice", "report"]
    assert (second.status, second.amends, second.result["replayed"]) == (RunStatus.DONE, first.id, 18)
    new = await report_of(clinic, RECORDING)
    assert new != old
    assert await report_of(clinic, RECORDING, known_at=told_at) == old
    now, then = await clinic.entity(str(old)), await clinic.entity(str(old), None, AsOf(known_at=told_at))
    said = {fact.predicate: str(fact.value.data) for fact in now.facts if fact.value is not None}
    assert said["status"] == "superseded"
    assert "stairs at home" in said["text"]
    assert "status" not in {fact.predicate for fact in then.facts}
    (fresh,) = (await clinic.entity(str(new), ["text"])).facts
    assert "stairs at work" in str(fresh.value and fresh.value.data)
    assert [fact.predicate for fact in (await clinic.entity(str(new), ["supersedes"])).facts] == ["supersedes"]
    (was,) = (await clinic.entity("summary:visit-1/4", ["summary"], AsOf(known_at=told_at))).facts
    assert "stairs at home" in str(was.value and was.value.data)
    assert (await clinic.store.verify(clinic.space, "execution")).ok


async def test_an_amended_run_that_is_interrupted_goes_on_with_what_it_took_over(
    clinic: Memory, server: StandIn
) -> None:
    flow = pipeline(clinic, Endpoint(server.url), policy=QUICK, fallback=None)
    async with worker_of(clinic, flow, poll_s=0.02) as worker:
        first = await worker.run(flow, RECORDING, iso(await clinic.now()))
        (fact,) = (await clinic.entity("slice:visit-1/4", ["text"])).facts
        await clinic.within(by="human:clinic").correct(fact.id, "They speak of work. Two flights.")
        server.status = lambda asked: 503 if asked["messages"][-1]["content"].startswith("[") else 200
        broken = await ended(clinic, (await amended(clinic, first.id, flow)).id)
        server.status = lambda _: 200
        calls = len(server.asked)
        await runs_of(clinic).resume(broken.id)
        over = await ended(clinic, broken.id)

    assert (broken.status, over.status) == (RunStatus.ESCALATED, RunStatus.DONE)
    assert _stages(server)[calls:] == ["report"]
    with pytest.raises(ConflictError, match="has not ended"):
        await runs_of(clinic).amend((await runs_of(clinic).start(flow, RECORDING, "x")).id, flow, RECORDING, "x")
    other = pipeline(clinic, Endpoint(server.url))
    renamed = type(other)(other.function, "another")
    with pytest.raises(InvalidError, match="not of 'another'"):
        await runs_of(clinic).amend(first.id, renamed, RECORDING, "x")


async def test_another_model_without_approval_is_never_asked(clinic: Memory, server: StandIn) -> None:
    run = await _report(clinic, server, model="scribe-2")

    assert (run.status, run.result["class"], server.asked) == (RunStatus.REFUSED, "permanent", [])
    assert "policy clinic-1 does not allow model 'scribe-2' at stage 'summarise'" in str(run.result["message"])


async def test_what_is_missing_and_who_stood_in_is_said_at_the_head(clinic: Memory, server: StandIn) -> None:
    def status(asked: dict[str, Any]) -> int:
        words = asked["messages"][-1]["content"]
        report = words.startswith("[")
        return 503 if (report and asked["model"] == "scribe-1") or (not report and "night" in words) else 200

    server.status = status
    run = await _report(clinic, server)

    assert isinstance(run.output, dict)
    assert run.status is RunStatus.DEGRADED
    assert run.output["head"] == "degraded: model scribe-0, section 3 missing"
    assert "slice:visit-1/3" not in str(run.output["cites"])
    (head,) = (await clinic.entity(str(run.output["report"]), ["head"])).facts
    assert "complete" not in str(head.value and head.value.data)


async def test_the_example_runs_as_it_is_and_goes_on_with_what_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept = str(tmp_path / "clinic.db")
    async with Memory.open(kept, by="agent:scribe", embedder="none") as memory:
        await begin_recording(memory)
        flow = pipeline(memory, Endpoint("http://127.0.0.1:9/v1"))
        begun = await runs_of(memory).start(flow, RECORDING, iso(await memory.now()))
    await main([kept])

    said = capsys.readouterr().out
    assert f"goes on with run {begun.id}: 0 steps" in said
    assert "11 calls" in said
    assert "13 calls" in said
    assert "rests on slice:visit-1/10, seconds 540 to 600" in said
