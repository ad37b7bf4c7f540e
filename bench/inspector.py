"""Measure MCP calls a second with the official inspector's own load test, beside a bare `mcp` server in the same run.

    uv run python bench/inspector.py [--seconds 2] [--clients 10] [--rounds 8] [--protocol-era legacy|modern] [--json]

Both servers answer the tool `get`: ours looks an entity and its facts up in a file, the bare one returns what it was asked.
They are loaded in turn, so that whatever else the machine does slows both; `ratio` is of the medians. The inspector is
installed from npm once, into the user's cache, by the same code as the tests of the protocol use.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from latewood.memory import Memory
from server import BARE, COMMAND, running

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from e2e.protocol.installed import command_line, npm

INSPECTOR: Final = "@modelcontextprotocol/inspector@2.12.0"
KEY: Final = "carrier:A"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def fill(path: Path) -> None:
    async with Memory.open(str(path), by="agent:bench", sync="normal", embedder="none") as memory:
        for predicate, value in (("on_time_rate", 0.81), ("status", "probation"), ("fleet", 12)):
            await memory.observe(KEY, predicate, value)


def load(command: list[str], url: str, given: argparse.Namespace) -> dict[str, Any]:
    """Load a server once; return what the inspector says of it."""
    words = [
        *command, "--cli", f"{url}/mcp", "--transport", "http", "--protocol-era", given.protocol_era, "--method", "tools/call",
        "--tool-name", "get", "--tool-arg", f"thing={KEY}", "--load", "--load-duration", str(given.seconds),
        "--load-concurrency", str(given.clients), "--format", "json",
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=60 + 3 * given.seconds, check=False)
    if done.returncode:
        raise RuntimeError(f"the inspector ended with {done.returncode}: {done.stdout[-2_000:]} {done.stderr[-2_000:]}")
    found = json.loads(done.stdout[done.stdout.index("{") :])["result"]
    if found["errorRate"] or not found["ok"]:
        raise RuntimeError(f"calls failed: {found}")
    return found


def spread(rounds: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "calls_a_second": round(statistics.median(one["throughput"] for one in rounds), 1),
        "p50_ms": round(statistics.median(one["latencyMs"]["p50"] for one in rounds), 2),
        "p99_ms": round(statistics.median(one["latencyMs"]["p99"] for one in rounds), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2, metavar="N")
    parser.add_argument("--clients", type=int, default=10, metavar="N")
    parser.add_argument("--rounds", type=int, default=8, metavar="N")
    parser.add_argument("--protocol-era", choices=("legacy", "modern", "auto"), default="legacy")
    parser.add_argument("--json", action="store_true", help="print nothing but the result, which is JSON in any case")
    given = parser.parse_args()
    package = npm("inspector", INSPECTOR)
    bin_of = json.loads((package / "node_modules/@modelcontextprotocol/inspector/package.json").read_text())["bin"]
    script = bin_of if isinstance(bin_of, str) else bin_of["mcp-inspector"]
    command = command_line(package, f"@modelcontextprotocol/inspector/{script}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder)
        asyncio.run(fill(path / "t.db"))
        serve = [*COMMAND, "serve", "--db", "t.db", "--port", "0", "--json"]
        ours, _ = stack.enter_context(running(serve, path))
        bare, _ = stack.enter_context(running([sys.executable, "-c", BARE], path))
        said: dict[str, list[dict[str, Any]]] = {"latewood": [], "bare": []}
        for number in range(given.rounds):
            # Who is first changes from round to round: a machine gets busier or quieter meanwhile.
            for name, url in [("bare", bare), ("latewood", ours)][:: -1 if number % 2 else 1]:
                said[name].append(load(command, url, given))
                if not given.json:
                    say(f"round {number + 1}, {name}: {said[name][-1]['throughput']} calls a second")
    shown = {name: spread(rounds) for name, rounds in said.items()}
    ratio = shown["latewood"]["calls_a_second"] / shown["bare"]["calls_a_second"]
    print(json.dumps({"era": given.protocol_era, "clients": given.clients, **shown, "ratio": round(ratio, 2)}))


if __name__ == "__main__":
    main()
