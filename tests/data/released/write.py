"""Writes a small database as the Latewood that runs this writes it, and beside it what it answers.

`python tests/data/released/write.py FILE.db` is run once at each release, with the code of that release; what it wrote
is kept for ever, and every later Latewood must open it and give the same answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from latewood.graph_schema.clock import AsOf, ManualClock
from latewood.graph_schema.commands import Assert, History, Ref
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.model import Alternative
from latewood.graph_schema.values import Json, Value
from latewood.memory import Axis, Memory
from latewood.memory.json import as_json

START = datetime(2026, 1, 1, tzinfo=UTC)


async def write(path: Path) -> dict[str, str]:
    """Use every verb; return what its questions need to know."""
    clock = ManualClock(START)
    async with Memory.open(str(path), by="agent:planner", session="s-1", clock=clock, ids=SequentialIds(3)) as memory:
        await memory.relate("carrier:A", "serves", "lane:lyon")
        rate = await memory.observe("carrier:A", "on_time_rate", 0.97, unit="ratio", valid_from=START, quote="97 %")
        clock.advance(days=10)
        late = await memory.observe("carrier:A", "on_time_rate", 0.81, unit="ratio", source="https://tms.example/w2")
        other = await memory.observe("carrier:A", "on_time_rate", 0.9, unit="ratio", by="human:ada")
        clock.advance(days=1)
        first = await memory.decide(
            "Keep carrier A", because="it is cheap", about=["carrier:A"], evidence=[rate], key="d:1",
            alternatives=[Alternative("Move to B", "too dear")],
        )  # fmt: skip
        clock.advance(days=9)
        moved = await memory.decide(
            "Move the Lyon lane to carrier B", because="A has been late three weeks running", about=["carrier:A"],
            evidence=[late], supersedes=[first], key="d:2", confidence=0.8, by="human:ada",
            idempotency_key="move-once",
        )  # fmt: skip
        clock.advance(days=5)
        mended = await memory.correct(other, 0.91, because="two trucks were counted twice", by="human:ada")
        gone = await memory.observe("carrier:A", "note", "perhaps bankrupt")
        clock.advance(days=1)
        await memory.retract(gone, because="a rumour")
        status = await memory.observe("lane:lyon", "operator", "carrier A", valid_from=START)
        clock.advance(days=1)
        await memory.end(status, at=datetime(2026, 1, 25, tzinfo=UTC), because="the contract ended")
        try:
            await memory.observe("carrier:A", "on_time_rate", 1, expected_version=1)
        except LatewoodError as error:
            refused = str(error.details["receipt"])
        else:
            raise AssertionError("a stale version was taken")
        await memory.create_space("past")
        past = memory.within(space="past")
        for day in range(3):
            said = Assert(past.ids.new(), Ref(key="item:1"), "level", Value.of(day), valid_from=day * 86_400_000_000)
            unit = past.unit([said], day, idempotency_key=f"past-{day}", history=History("import:past", day * 10**12))
            await past.submit_many([unit])
        lease = await memory.store.acquire("default", "nightly", "worker", 3_600)
        assert lease is not None
    return {
        "late": late.id, "mended": mended.id, "gone": gone.id, "first": first.id, "moved": moved.id,
        "receipt": moved.receipt.id, "refused": refused,
    }  # fmt: skip


async def ask(memory: Memory, known: dict[str, str]) -> dict[str, Json]:
    """Ask every question whose answer must never change."""
    answers: dict[str, object] = {}
    instants = [datetime(2026, 1, day, tzinfo=UTC) for day in (11, 13, 22, 28)]
    for valid_at in instants:
        for known_at in instants:
            at, when = AsOf(valid_at, known_at), f"valid {valid_at:%m-%d}, known {known_at:%m-%d}"
            for key in ("carrier:A", "lane:lyon"):
                try:
                    answers[f"entity {key}, {when}"] = await memory.entity(key, at=at)
                except LatewoodError as error:
                    answers[f"entity {key}, {when}"] = error.code
            answers[f"decisions, {when}"] = await memory.decisions(at=at)
    end = AsOf(instants[-1], instants[-1])
    answers["why"] = await memory.why(known["moved"], at=end)
    answers["decision by key"] = await memory.decision("d:1", at=end)
    answers["diff known"] = await memory.diff(START, instants[-1])
    answers["diff valid"] = await memory.diff(START, instants[-1], axis=Axis.VALID)
    answers["find"] = sorted({hit.node.id for hit in await memory.find("Lyon late", at=end)})
    for name in ("late", "mended", "gone"):
        answers[f"fact {name}"] = await memory.fact(known[name])
    for name in ("receipt", "refused"):
        answers[f"receipt {name}"] = await memory.receipt(known[name])
    for key in ("carrier:A", "lane:lyon"):
        answers[f"timeline {key}"] = await memory.timeline(key)
    past = memory.within(space="past")
    answers["past"] = await past.timeline("item:1")
    answers["spaces"] = await memory.spaces()
    answers["verify"] = [await memory.verify(), await past.verify(), await memory.verify("execution")]
    return {question: as_json(answer) for question, answer in answers.items()}


async def main(path: Path) -> None:
    """Write the database and, beside it, its answers."""
    known = await write(path)
    async with Memory.open(str(path), clock=ManualClock(datetime(2026, 2, 1, tzinfo=UTC))) as memory:
        document = {"known": known, "answers": await ask(memory, known)}
    path.with_suffix(".json").write_text(json.dumps(document, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    file = Path(sys.argv[1])
    if file.exists():
        sys.exit(f"{file} is there already; what was released is not written again")
    asyncio.run(main(file))
