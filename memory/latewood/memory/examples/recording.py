"""From a recording to a report: slices of a conversation, a summary of each, and a report that cites them.

``python -m latewood.memory.examples.recording`` runs it on a made-up recording with a stand-in for the model. What the
steps write are facts of the graph: a report rests on summaries, a summary on a slice, and a slice has its place in the
recording. When a slice is corrected, `amended` does again what rested on it and nothing else; the report of before
stays readable as it was known, and is marked as superseded.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from latewood.execution import (
    Endpoint,
    Model,
    ModelPolicy,
    Policy,
    Prices,
    Run,
    StepFailedError,
    StepOf,
    Worker,
    Workflow,
    gather,
    model_step,
    trying,
    workflow,
)
from latewood.execution.faults import DEFAULT, Fault
from latewood.graph_schema.clock import AsOf, iso, parse_instant
from latewood.graph_schema.values import Json, canonical_json
from latewood.memory.api import Memory
from latewood.memory.examples.stand_in import stand_in
from latewood.memory.runs import runs_of, worker_of

__all__ = ["POLICY", "PRICES", "amended", "begin_recording", "main", "pipeline", "report_of", "sources_of"]

SLICES: Final = 10
SLICE_S: Final = 60
_MODEL: Final = "scribe-1"
_LEASE_S: Final = 3.0
_LOOK_S: Final = 0.05
PRICES: Final = Prices.of({
    "version": "example-1",
    "models": {
        _MODEL: {"input": "0.15", "output": "0.60"}, "scribe-0": {"input": "0.05", "output": "0.20"},
    },
})  # fmt: skip
POLICY: Final[Mapping[str, Any]] = {
    "version": "clinic-1",
    "models": [{"stage": "summarise", "data": "phi", "models": [_MODEL]},
               {"stage": "report", "data": "phi", "models": [_MODEL, "scribe-0"]}],
    "budgets": [{"scope": "run", "tokens": 200_000}],
}  # fmt: skip
_TOPICS: Final = (
    "the pain in the left knee", "what was taken against it", "how the night was", "the stairs at home",
    "an earlier fall", "allergies", "the work in the garden", "what the examination showed", "the exercises",
    "when to come back",
)  # fmt: skip
_SUMMARY: Final = {"type": "object", "properties": {"summary": {"type": "string"}}, "required": ["summary"]}
_REPORT: Final = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "cites": {"type": "array", "items": {"type": "string"}}},
    "required": ["text", "cites"],
}


async def begin_recording(memory: Memory, recording: str = "recording:visit-1") -> None:
    """Write a made-up recording into the graph: ten slices of a minute, each with its words and its place."""
    for number, topic in enumerate(_TOPICS, 1):
        one = f"{recording.replace('recording', 'slice', 1)}/{number}"
        await memory.relate(recording, "has_slice", one)
        await memory.observe(one, "number", number)
        await memory.observe(one, "from_s", (number - 1) * SLICE_S, unit="s")
        await memory.observe(one, "to_s", number * SLICE_S, unit="s")
        await memory.observe(one, "text", f"They speak of {topic}. The doctor asks twice. The patient answers.")


@dataclass(frozen=True, slots=True)
class _Hand:
    """What the steps of a pipeline write and read with."""

    memory: Memory

    async def slices(self, recording: str, known_at: str) -> list[dict[str, Json]]:
        """Return the slices as they were known then, in order."""
        at = AsOf(known_at=parse_instant(known_at))
        found: list[dict[str, Json]] = []
        for one in await _objects(self.memory, recording, "has_slice", at):
            entity = await self.memory.entity(one, ["number", "text"], at)
            said = {fact.predicate: fact for fact in entity.facts}
            number, text = said["number"].value, said["text"].value
            assert number is not None  # noqa: S101 - `begin_recording` wrote it
            assert text is not None  # noqa: S101 - as above
            found.append({
                "slice": str(entity.node.key), "number": number.data, "text": text.data, "fact": said["text"].id,
            })  # fmt: skip
        _used(*(str(one["fact"]) for one in found))
        return sorted(found, key=lambda one: cast("int", one["number"]))

    async def keep_summary(self, of: dict[str, Json], summary: str) -> dict[str, Json]:
        """Write the summary of a slice, resting on the words that it sums up."""
        key = _key()
        name = str(of["slice"]).replace("slice", "summary", 1)
        said = await self.memory.observe(name, "summary", summary, idempotency_key=f"{key} says")
        rests = await self.memory.relate(name, "based_on", str(of["slice"]), idempotency_key=f"{key} rests")
        _used(str(of["fact"]))
        _wrote(said.id, rests.id)
        return {"slice": str(of["slice"]), "name": name, "summary": summary, "fact": said.id}

    async def keep_report(self, recording: str, head: str, text: str, parts: list[dict[str, Json]]) -> str:
        """Write a report, resting on its summaries; the one before it is superseded. Returns its key."""
        key, memory = _key(), self.memory
        name = f"report:{recording.partition(':')[2]}/{key}"
        written = [await memory.observe(name, "text", text, idempotency_key=f"{key} says")]
        await memory.observe(name, "head", head, idempotency_key=f"{key} head")
        for one in parts:
            link = await memory.relate(
                name, "based_on", str(one["name"]), idempotency_key=f"{key} {one['name']}"
            )  # fmt: skip
            written.append(link)
        before = await report_of(memory, recording)
        if before is not None and before != name:
            await memory.relate(name, "supersedes", before, idempotency_key=f"{key} supersedes")
            await memory.observe(before, "status", "superseded", idempotency_key=f"{key} superseded")
        # Last: until it is said, a step that is tried again still finds the report of before.
        await memory.observe(recording, "report", name, idempotency_key=f"{key} current")
        _used(*(str(one["fact"]) for one in parts))
        _wrote(*(one.id for one in written))
        return name


def _key() -> str:
    here = trying()
    assert here is not None  # noqa: S101 - only steps ask
    return here.key


def _used(*ids: str) -> None:
    here = trying()
    if here is not None:
        here.used(*ids)


def _wrote(*ids: str) -> None:
    here = trying()
    if here is not None:
        here.wrote(*ids)


def _cites_slices(content: Json) -> None:
    """Let no report through that cites what is not there."""
    said = cast("dict[str, Any]", content)
    if not said["cites"] or not all(str(one).startswith("slice:") for one in said["cites"]):
        raise Fault("ambiguous", f"the report cites {said['cites']!r:.80}, which are no slices")


def pipeline(
    memory: Memory, endpoint: Endpoint, *, model: str = _MODEL, fallback: str | None = "scribe-0", at_most: int = 4,
    policy: Policy = DEFAULT,
) -> Workflow[[str, str], dict[str, Any]]:  # fmt: skip
    """Return the workflow: a recording's key, and as known at which instant, to its report.

    Args:
        fallback: asked for the report when *model* does not answer; the report then says so in its head.
    """
    hand, chosen = _Hand(memory), Model(model, endpoint, output_tokens_max=500)
    other = None if fallback is None else Model(fallback, endpoint, output_tokens_max=500)
    cut: StepOf[[str, str], list[dict[str, Json]]] = StepOf(hand.slices, "slice")
    keep_summary: StepOf[[dict[str, Json], str], dict[str, Json]] = StepOf(hand.keep_summary, "keep summary")
    keep_report: StepOf[[str, str, str, list[dict[str, Json]]], str] = StepOf(hand.keep_report, "keep report")
    summarise = model_step("summarise", chosen, data="phi", schema=_SUMMARY, prices=PRICES)
    report = model_step(
        "report", chosen, data="phi", schema=_REPORT, prices=PRICES, check=_cites_slices, fallback=other
    )  # fmt: skip

    async def section(one: dict[str, Json]) -> dict[str, Json] | None:
        try:
            said = await summarise([
                {"role": "system", "content": "Sum up in one sentence what is said."},
                {"role": "user", "content": one["text"]},
            ])  # fmt: skip
        except StepFailedError as error:
            if str(error.fault.kind) != "transient":
                raise
            return None
        return await keep_summary(one, str(cast("dict[str, Json]", said["content"])["summary"]))

    @workflow(name="recording to report", version="1", owner="human:clinic", policy=policy)
    async def to_report(recording: str, known_at: str) -> dict[str, Any]:
        slices = await cut(recording, known_at)
        sections = await gather(*(section(one) for one in slices), at_most=at_most)
        parts = [one for one in sections if one is not None]
        missing = [str(one["number"]) for one, made in zip(slices, sections, strict=True) if made is None]
        listed = [{"slice": one["slice"], "summary": one["summary"]} for one in parts]
        said = await report([
            {"role": "system", "content": "Write the report; cite the slice behind each sentence."},
            {"role": "user", "content": canonical_json(listed)},
        ])  # fmt: skip
        troubles = [f"model {said['model']}"] if said.get("degraded") else []
        troubles += [f"section {one} missing" for one in missing]
        head = f"degraded: {', '.join(troubles)}" if troubles else "complete"
        content = cast("dict[str, Any]", said["content"])
        name = await keep_report(recording, head, str(content["text"]), parts)
        return {"report": name, "head": head, "text": content["text"], "cites": content["cites"]}

    return to_report


async def amended(memory: Memory, run: str, flow: Workflow[[str, str], dict[str, Any]]) -> Run:
    """Start a run again as of now: what rested on words that were corrected is done again, and nothing else."""
    before = await runs_of(memory).run(run)
    recording = cast("list[str]", before.input["args"])[0]
    return await runs_of(memory).amend(run, flow, recording, iso(await memory.now()))


async def report_of(memory: Memory, recording: str, *, known_at: datetime | None = None) -> str | None:
    """Return the key of a recording's report, as known then."""
    entity = await memory.entity(recording, ["report"], AsOf(known_at=known_at))
    value = next((fact.value for fact in entity.facts if fact.value is not None), None)
    return None if value is None else str(value.data)


async def sources_of(memory: Memory, report: str, *, known_at: datetime | None = None) -> list[tuple[str, int, int]]:
    """Return what a report rests on in the end: slices, and from which second of the recording to which."""
    at = AsOf(known_at=known_at)
    found: list[tuple[str, int, int]] = []
    for summary in await _objects(memory, report, "based_on", at):
        for one in await _objects(memory, summary, "based_on", at):
            entity = await memory.entity(one, ["from_s", "to_s"], at)
            said = {fact.predicate: fact.value.data for fact in entity.facts if fact.value is not None}
            found.append((str(entity.node.key), cast("int", said["from_s"]), cast("int", said["to_s"])))
    return sorted(found, key=lambda one: one[1])


async def _objects(memory: Memory, thing: str, predicate: str, at: AsOf) -> list[str]:
    entity = await memory.entity(thing, [predicate], at)
    return [fact.object_id for fact in entity.facts if fact.object_id is not None]


async def _first(memory: Memory, worker: Worker, flow: Workflow[[str, str], dict[str, Any]]) -> Run | None:
    """Return the run of the first report, ended: an interrupted one goes on; None where it had ended before."""
    runs = runs_of(memory)
    before = (await runs.list(workflow=flow.name, first=1)).items
    if not before:
        return await worker.run(flow, "recording:visit-1", iso(await memory.now()))
    if before[0].ended:
        return None
    shown = await runs.show(before[0].id)
    _say(f"goes on with run {shown.run.id}: {shown.saves} steps and {shown.tokens} tokens are not paid for again")
    return await _ended(memory, shown.run)


async def _ended(memory: Memory, run: Run) -> Run:
    while not run.ended:
        await asyncio.sleep(_LOOK_S)
        run = await runs_of(memory).run(run.id)
    return run


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(words: Sequence[str] = ()) -> None:
    """Make a report, correct a slice, and make the report again.

    Args:
        words: of the command line: a file to keep it in, so that one that was killed goes on, and how long the
            stand-in takes.
    """
    parser = argparse.ArgumentParser(prog="python -m latewood.memory.examples.recording", description=main.__doc__)
    parser.add_argument("file", nargs="?", help="where it is kept, to be killed and gone on with; else nowhere")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="how long the model takes to answer")
    told = parser.parse_args(list(words))
    with tempfile.TemporaryDirectory() as folder, stand_in() as server:
        server.before = lambda _: time.sleep(told.wait)
        address = told.file or str(Path(folder) / "clinic.db")
        async with Memory.open(address, by="agent:scribe", embedder="none") as memory:
            people = memory.within(by="human:clinic")
            await runs_of(people).set_policy(ModelPolicy.of(POLICY))
            await begin_recording(memory)
            flow = pipeline(memory, Endpoint(server.url))
            async with worker_of(memory, flow, poll_s=0.05, lease_s=_LEASE_S) as worker:
                first = await _first(memory, worker, flow)
                if first is None:
                    _say(f"{address} has its report already: `latewood runs --db {address}`")
                    return
                _say(f"{first.status}: {first.output}\n{len(server.asked)} calls")
                fact = (await memory.entity("slice:visit-1/4", ["text"])).facts[0]
                await people.correct(fact.id, "They speak of the stairs at work. There are two flights.")
                second = await _ended(memory, await amended(memory, first.id, flow))
                _say(f"{second.status}: {second.output}\n{len(server.asked)} calls")
            for one in (await runs_of(memory).show(second.id)).stages:
                _say(f"{one.stage}: {one.steps} steps, {one.calls} calls, {one.tokens} tokens, {one.cost} USD")
            report = await report_of(memory, "recording:visit-1")
            for slice_key, from_s, to_s in await sources_of(memory, str(report)):
                _say(f"rests on {slice_key}, seconds {from_s} to {to_s}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
