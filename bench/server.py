"""What the server adds: GraphQL over the Python API beside plain strawberry, MCP beside a bare server, and 50 clients.

    uv run python bench/server.py --json [--seconds 60] [--clients 50]

Everything runs on this machine, client and server on the same cores. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import strawberry

from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.memory.keys import Keys
from latewood.server.graphql.context import Context
from latewood.server.graphql.schema import schema

ROWS = 1_000
PAGE = 100
IN_FLIGHT = 10
COMMAND = [sys.executable, "-c", "from latewood.clients.cli import main; main()"]
BARE = """
import sys, socket, uvicorn
from mcp.server import MCPServer
server = MCPServer("bare", log_level="WARNING")
@server.tool(structured_output=True)
async def get(thing: str) -> dict[str, str]:
    return {"thing": thing}
listener = socket.socket(); listener.bind(("127.0.0.1", 0))
print("http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="warning", access_log=False)).run(sockets=[listener])
"""
ENTITIES = (
    "query($first: Int!) { entities(first: $first, kind: ENTITY) { edges { node { id key name type recordedAt } } } }"
)
OBSERVE = """mutation($subject: String!, $value: JSON!, $key: String!) {
  observe(input: {subject: $subject, predicate: "seen", value: $value, idempotencyKey: $key}) { id }
}"""
READ = "query($key: String!) { entity(key: $key) { id facts { id value { data } } } }"


async def timed(work: Callable[[], Awaitable[object]], times: int = 15) -> float:
    """Return the median milliseconds of *work*."""
    taken: list[float] = []
    for number in range(times + 2):
        begun = time.perf_counter()
        await work()
        if number > 1:
            taken.append((time.perf_counter() - begun) * 1_000)
    return round(statistics.median(taken), 2)


async def fill(memory: Memory) -> None:
    commands = [
        Assert(memory.ids.new(), Ref(key=f"carrier:{number}"), "rate", Value.of(number, None, where="a rate"))
        for number in range(ROWS)
    ]
    for begin in range(0, ROWS, 200):
        await memory.write(commands[begin : begin + 200], ["fill", begin])


@strawberry.type
class Row:
    id: str
    key: str
    name: str
    type: str
    recorded_at: str


@strawberry.type
class Rows:
    @strawberry.field
    async def rows(self) -> list[Row]:
        return PLAIN


PLAIN = [
    Row(id=str(one), key=f"carrier:{one}", name=f"carrier:{one}", type="carrier", recorded_at="2026")
    for one in range(ROWS)
]


async def in_process(path: Path) -> dict[str, float]:
    plain = strawberry.Schema(Rows)
    async with Memory.open(str(path), by="agent:bench", sync="normal", embedder="none") as memory:
        await fill(memory)
        keys = Keys(memory)

        async def graphql(first: int) -> None:
            found = await schema.execute(ENTITIES, {"first": first}, context_value=Context(memory, keys))
            assert found.errors is None, found.errors
            assert len(found.data["entities"]["edges"]) == first  # type: ignore[index]

        async def plainly() -> None:
            found = await plain.execute("{ rows { id key name type recordedAt } }")
            assert found.errors is None, found.errors

        small, large = await timed(lambda: memory.nodes(first=PAGE)), await timed(lambda: memory.nodes(first=ROWS))
        page, whole = await timed(lambda: graphql(PAGE)), await timed(lambda: graphql(ROWS))
        bare = await timed(plainly)
    return {
        "python_100_ms": small, "graphql_100_ms": page, "python_1000_ms": large, "graphql_1000x5_ms": whole,
        "plain_strawberry_1000x5_ms": bare, "over_plain": round((whole - large) / bare, 2),
    }  # fmt: skip


@contextlib.contextmanager
def running(words: list[str], cwd: Path) -> Iterator[tuple[str, int]]:
    with subprocess.Popen(words, cwd=cwd, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        if first.startswith("{"):
            text = first
            while not text.endswith("}\n") or text == "{\n":
                text += process.stdout.readline()
            first = json.loads(text)["url"]
        try:
            yield first.strip(), process.pid
        finally:
            process.terminate()
            process.wait(30)


@contextlib.asynccontextmanager
async def speaking(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, str]]]:
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    limits = httpx.Limits(max_connections=IN_FLIGHT)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "0"}}
        began = await client.post(
            "/mcp", json={"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}, headers=headers
        )
        began.raise_for_status()
        headers["mcp-protocol-version"] = "2025-11-25"
        if "mcp-session-id" in began.headers:
            headers["mcp-session-id"] = began.headers["mcp-session-id"]
        await client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
        yield client, headers


async def calls_a_second(url: str, seconds: float) -> float:
    done = 0
    async with speaking(url) as (client, headers):
        until = time.perf_counter() + seconds

        async def ask(name: int) -> None:
            nonlocal done
            number = 0
            while time.perf_counter() < until:
                number += 1
                params = {"name": "get", "arguments": {"thing": f"carrier:{number % ROWS}"}}
                body = {"jsonrpc": "2.0", "id": name * 1_000_000 + number, "method": "tools/call", "params": params}
                answer = await client.post("/mcp", json=body, headers=headers)
                assert '"isError":true' not in answer.text, answer.text
                answer.raise_for_status()
                done += 1

        begun = time.perf_counter()
        await asyncio.gather(*(ask(name) for name in range(IN_FLIGHT)))
        return round(done / (time.perf_counter() - begun), 1)


def memory_mb(pid: int) -> float:
    (line,) = (one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1_024, 1)


async def crowd(url: str, pid: int, clients: int, seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Let *clients* write and read by turns; return what was seen, and the fact that each key was answered with."""
    taken: dict[str, list[float]] = {"write": [], "read": []}
    errors: list[str] = []
    kept: dict[str, str] = {}
    sizes: list[float] = []
    until = time.perf_counter() + seconds

    async def one(name: int) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            number = 0
            while time.perf_counter() < until:
                number += 1
                key = f"{name}-{number}"
                write = number % 2 == 1
                variables = (
                    {"subject": f"client:{name}", "value": number, "key": key}
                    if write
                    else {"key": f"carrier:{number % ROWS}"}
                )
                begun = time.perf_counter()
                answer = (
                    await client.post("/graphql", json={"query": OBSERVE if write else READ, "variables": variables})
                ).json()
                taken["write" if write else "read"].append((time.perf_counter() - begun) * 1_000)
                if "errors" in answer:
                    errors.append(str(answer["errors"])[:200])
                elif write:
                    kept[key] = answer["data"]["observe"]["id"]

    async def watch() -> None:
        while time.perf_counter() < until:
            sizes.append(memory_mb(pid))
            await asyncio.sleep(seconds / 10)

    await asyncio.gather(watch(), *(one(name) for name in range(clients)))
    found: dict[str, Any] = {"clients": clients, "seconds": seconds, "errors": len(errors), "first_error": errors[:1]}
    for sort, times in taken.items():
        ordered = sorted(times)
        found[f"{sort}s"] = len(ordered)
        found[f"{sort}_p50_ms"] = round(ordered[len(ordered) // 2], 1)
        found[f"{sort}_p99_ms"] = round(ordered[int(len(ordered) * 0.99)], 1)
    found["server_mb"] = {"first": sizes[0], "half": sizes[len(sizes) // 2], "last": sizes[-1]}
    return found, kept


async def lost(path: Path, kept: dict[str, str]) -> tuple[int, bool]:
    async with Memory.open(str(path), embedder="none") as memory:
        ids = list(kept.values())
        found: set[str] = set()
        for begin in range(0, len(ids), 1_000):
            found |= set(await memory.facts_by_id(ids[begin : begin + 1_000]))
        return len(set(ids) - found) + len(ids) - len(set(ids)), (await memory.verify()).ok


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        found: dict[str, Any] = {"graphql": await in_process(path)}
        served = [*COMMAND, "serve", "--db", str(path), "--by", "agent:bench", "--port", "0", "--json"]
        with running([sys.executable, "-c", BARE], path.parent) as (url, _):
            bare = await calls_a_second(url, given.seconds / 6)
        with running(served, path.parent) as (url, pid):
            ours = await calls_a_second(url, given.seconds / 6)
            found["mcp"] = {
                "bare_calls_s": bare,
                "get_calls_s": ours,
                "in_flight": IN_FLIGHT,
                "ratio": round(ours / bare, 2),
            }
            found["crowd"], kept = await crowd(url, pid, given.clients, given.seconds)
        found["crowd"]["lost_writes"], found["crowd"]["ledger_verifies"] = await lost(path, kept)
    if not given.json:
        for name, part in found.items():
            print(name, *(f"  {one}: {value}" for one, value in part.items()), sep="\n")
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
