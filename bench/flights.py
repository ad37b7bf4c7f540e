"""Which carriers truly got worse in 2013: weekly on-time shares through the product, as they are and against all others.

    uv run python bench/flights.py WEEKLY.csv [--truth TRUTH.json] [--db URL] [--json]

WEEKLY.csv has carrier, week and on_time. A verdict is deteriorates, improves or none, by the direction of the trend or shift that
is open; the last line is one JSON object with the verdicts and, given the truth, how many of the undisputed ones agree.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.memory.patterns import detect, patterns

FIRST = datetime(2013, 1, 1, tzinfo=UTC)


async def run(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    with args.weekly.open() as lines:
        rows = list(csv.DictReader(lines))
    verdicts: dict[str, str] = {}
    for row in rows:
        verdicts.setdefault(f"{row['carrier']} raw", "none")
        verdicts.setdefault(f"{row['carrier']} vs_all", "none")
    start = time.process_time()
    async with Memory.open(args.db or f"{folder}/flights.db", by="agent:flights", embedder="none") as memory:
        commands = [
            Assert(
                memory.ids.new(), Ref(key=f"carrier:{row['carrier']}"), "on_time", Value.of(float(row["on_time"])),
                valid_from=to_micros(FIRST + timedelta(weeks=int(row["week"]))),
            )
            for row in rows
        ]  # fmt: skip
        await memory.write(commands, ["flights", len(commands)])
        await detect(memory)
        told = []
        for one in (await patterns(memory, first=200)).items:
            if one.kind.value not in ("trend", "shift"):
                continue
            entity = (await memory.node(one.about[0])).key or ""
            name = f"{entity.partition(':')[2].upper()} {'vs_all' if one.detail['against'] else 'raw'}"
            verdicts[name] = "improves" if one.detail["direction"] == 1 else "deteriorates"
            told.append(one.statement)
    report: dict[str, Any] = {"verdicts": verdicts, "statements": told, "cpu_s": round(time.process_time() - start, 2)}
    if args.truth:
        table = json.loads(args.truth.read_text())["table"]
        wrong, right = [], 0
        for row in table:
            name = f"{row['carrier']} {'raw' if row['series'] == 'on_time' else 'vs_all'}"
            if row["verdict"] == "disputed":
                continue
            if verdicts[name] == row["verdict"]:
                right += 1
            else:
                wrong.append({"series": name, "truth": row["verdict"], "verdict": verdicts[name]})
        report |= {"right": right, "of": right + len(wrong), "wrong": wrong}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weekly", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--db")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(run(args, folder))))


if __name__ == "__main__":
    main()
