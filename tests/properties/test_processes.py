"""Several processes write one file at once: both chains stay whole and no update is lost."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latewood.graph_schema.commands import ActorSpec, Assert, Ref, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import LEDGERS, Trust
from latewood.graph_schema.values import Value
from latewood.storage.port import FactQuery
from latewood.storage.sqlite.store import SqliteStore

PROCESSES, WRITES = 3, 40

WRITER = """
import asyncio, json, sys
from latewood.graph_schema.commands import ActorSpec, Assert, Expect, Ref, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Trust
from latewood.graph_schema.values import Value
from latewood.storage.port import FactQuery
from latewood.storage.sqlite.store import SqliteStore

async def main(path, name, writes):
    store, ids, lost, fences = await SqliteStore.open(path, sync="normal"), RandomIds(), 0, []
    def unit(*commands, ledger="knowledge", expects=(), op=None):
        return Unit(ids.new(), "default", ActorSpec(f"agent:{name}"), Trust.AGENT, body_digest(op), commands,
                    ledger=ledger, expects=expects, op=op)
    def say(key, value):
        return Assert(ids.new(), Ref(key=key), "count", Value.of(value))
    done = 0
    while done < writes:
        node = (await store.nodes("default", keys=["thing:shared"]))["thing:shared"]
        (fact,) = await store.facts("default", FactQuery(subjects=[node.id]))
        expects = (Expect(Ref(key="thing:shared"), node.version),)
        answers = await store.commit([
            unit(say("thing:shared", fact.value.data + 1), expects=expects),
            unit(say(f"thing:{name}", done)),
            unit(say(f"run:{name}", done), ledger="execution"),
            unit(say("thing:once", 1), op=f"once-{done}"),
        ])
        kept = isinstance(answers[0], Receipt)
        assert all(isinstance(one, Receipt) for one in answers[1:]), answers
        assert kept or answers[0].code == "version.conflict", answers[0]
        done, lost = done + kept, lost + (not kept)
        lease = await store.acquire("default", "turn", name, 30)
        if lease is not None:
            fences.append(lease.fence)
            assert await store.release(lease)
    await store.close()
    print(json.dumps({"kept": done, "lost": lost, "fences": fences}))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.mark.timeout(120)
async def test_processes_on_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    store = await SqliteStore.open(path)
    ids = RandomIds()
    first = Assert(ids.new(), Ref(key="thing:shared"), "count", Value.of(0))
    (answer,) = await store.commit([Unit(ids.new(), "default", ActorSpec("agent:x"), Trust.AGENT, b"x", (first,))])
    assert isinstance(answer, Receipt)
    command = [sys.executable, "-c", WRITER, str(path)]
    running = [
        await asyncio.create_subprocess_exec(
            *command, f"w{n}", str(WRITES), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for n in range(PROCESSES)
    ]
    reports: list[dict[str, Any]] = []
    for process in running:
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        reports.append(json.loads(out))

    nodes = await store.nodes("default", keys=["thing:shared", "thing:once"])
    query = FactQuery(subjects=[nodes["thing:shared"].id])
    (count,) = await store.facts("default", query)
    assert count.value is not None
    assert count.value.data == PROCESSES * WRITES
    assert [report["kept"] for report in reports] == [WRITES] * PROCESSES
    page = await store.timeline("default", [nodes["thing:shared"].id], first=1000)
    assert len(page.items) == PROCESSES * WRITES + 1
    times = [fact.recorded_at for fact in page.items]
    assert times == sorted(set(times))
    once = await store.timeline("default", [nodes["thing:once"].id], first=1000)
    attempts = max(WRITES + report["lost"] for report in reports)
    assert WRITES <= len(once.items) <= attempts
    fences = [fence for report in reports for fence in report["fences"]]
    assert len(fences) == len(set(fences)), "two processes held the lease under one fence"
    (space,) = await store.spaces()
    for ledger in LEDGERS:
        verdict = await store.verify("default", ledger)
        assert verdict.ok, verdict
        assert verdict.rows == space.seq[ledger] > 0
    await store.close()
