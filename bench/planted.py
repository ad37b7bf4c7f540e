"""Find planted patterns through the product: keep the events, look, and write what was found.

    uv run python bench/planted.py EVENTS.jsonl --out FINDINGS.jsonl [--db URL] [--looks last|each] [--json]

An event is {"id", "entity", "attribute", "value", "time", "session"}: numbers and decisions are single-valued, incidents are not.
With --looks each the product looks after every session, as a nightly job would; otherwise once at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# One core: on a busy machine the threads of a matrix product wait for each other, and their waiting counts as CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from latewood.graph_schema.clock import parse_instant, to_micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.packs.loader import load_pack
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.memory.patterns import detect, explain, patterns

PACK = """
name = "planted"
version = "1"
title = "Planted"
description = "Incidents happen side by side."
[predicates.incident]
cardinality = "multi"
description = "What happened at a site."
"""
UNIT = 900
QUARTER = 13


async def keep(memory: Memory, events: list[dict[str, Any]], of: dict[str, dict[str, Any]]) -> None:
    units = []
    for start in range(0, len(events), UNIT):
        commands = []
        for event in events[start : start + UNIT]:
            fact = memory.ids.new()
            of[fact] = event
            value = Value.of(event["value"])
            commands.append(
                Assert(
                    fact,
                    Ref(key=event["entity"]),
                    event["attribute"],
                    value,
                    valid_from=to_micros(parse_instant(event["time"])),
                )
            )
        units.append(memory.unit(commands, [start, commands[0].id]))
    await memory.submit_many(units)


async def findings(memory: Memory, of: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    found, after = [], None
    while True:
        page = await patterns(memory, first=500, after=after)
        for listed in page.items:
            one = await explain(memory, listed.id)
            told = sorted((of[fact] for fact in one.evidence), key=lambda event: (event["session"], event["id"]))
            row: dict[str, Any] = {"kind": {"recurrence": "recurring"}.get(one.kind.value, one.kind.value)}
            if one.kind.value == "rule":
                row |= {name: one.detail[name] for name in ("cause", "effect", "lag")}
            else:
                row |= {"entity": told[0]["entity"], "attribute": one.predicate}
            if one.kind.value == "trend":
                row["direction"] = one.detail["direction"]
            if one.kind.value in ("shift", "anomaly"):
                since = one.since.date().isoformat()
                row["at"] = next(event["session"] for event in told if event["time"] >= since)
            if one.kind.value == "recurrence":
                row |= {"from": told[0]["session"] // QUARTER, "to": told[-1]["session"] // QUARTER}
            row |= {"q": one.q, "statement": one.statement, "evidence": [event["id"] for event in told]}
            found.append(row)
        after = page.next
        if after is None:
            return found


async def ever_open(memory: Memory) -> dict[str, int]:
    """Count the patterns of each kind that were open at any look."""
    counts: dict[str, int] = {}
    after = None
    while True:
        page = await patterns(memory, status=(), first=500, after=after)
        for one in page.items:
            counts[one.kind.value] = counts.get(one.kind.value, 0) + 1
        after = page.next
        if after is None:
            return counts


async def run(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    events = [json.loads(line) for line in args.events.read_text().splitlines() if line.strip()]
    of: dict[str, dict[str, Any]] = {}
    pack = load_pack(PACK)
    async with Memory.open(
        args.db or f"{folder}/planted.db", by="agent:planted", packs=[pack], embedder="none"
    ) as memory:
        start = time.process_time()
        looks = 0
        if args.looks == "each":
            for session in sorted({event["session"] for event in events}):
                await keep(memory, [event for event in events if event["session"] == session], of)
                await detect(memory)
                looks += 1
            kept = looked = time.process_time()
        else:
            await keep(memory, events, of)
            kept = time.process_time()
            await detect(memory)
            looks, looked = 1, time.process_time()
        found = await findings(memory, of)
        ever = await ever_open(memory)
        again = await detect(memory)
        end = time.process_time()
    args.out.write_text("".join(json.dumps(one) + "\n" for one in found))
    by_kind: dict[str, int] = {}
    for one in found:
        by_kind[one["kind"]] = by_kind.get(one["kind"], 0) + 1
    return {
        "events": len(events), "looks": looks, "findings": len(found), "by_kind": by_kind, "ever_by_kind": ever,
        "keep_cpu_s": round(kept - start, 2),
        "look_cpu_s": round(looked - kept, 2), "again_cpu_s": round(end - looked, 2), "again_wrote": again.facts,
        "failed": [one.reason for one in again.failed],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--db")
    parser.add_argument("--looks", choices=["last", "each"], default="last")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run(args, folder))
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
