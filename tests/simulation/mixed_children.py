"""Processes that do all kinds of things to one store at once, and write down what was acknowledged."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from latewood.execution import step, workflow
from latewood.execution.worker import Worker
from latewood.graph_schema.errors import RefusedError
from latewood.memory import Memory
from latewood.memory.runs import worker_of

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["latewood.memory.runs", "latewood.storage.sqlite.store", "simulation.mixed_children"])
_WRITERS: Final = 3
_THINGS: Final = 8


@dataclass(frozen=True, slots=True)
class Bustle:
    """What a child does: *deeds* things by each of its writers, drawn from *seed*, and a line a receipt to *told*."""

    url: str
    told: str
    seed: int
    deeds: int


@step()
async def doubled(number: int) -> int:
    return 2 * number


@workflow()
async def doubling(number: int) -> int:
    """Double twice."""
    return await doubled(await doubled(number))


async def _deed(memory: Memory, worker: Worker, chance: random.Random, facts: list[str]) -> Sequence[str]:
    """Do one thing and return the ids of its receipts."""
    thing, other = f"thing:{chance.randrange(_THINGS)}", f"thing:{chance.randrange(_THINGS)}"
    what = chance.randrange(10) if facts else 0
    if what <= 2:
        value = chance.random() if what else f"word {chance.randrange(9)}"
        made = await memory.observe(thing, "speed" if what else "note", value)
        facts.append(made.id)
    elif what == 3:
        made = await memory.decide("keep it", because="it holds", about=[thing], evidence=facts[-1:])
    elif what == 4:
        made = await memory.correct(chance.choice(facts), chance.random(), because="misread")
    elif what == 5:
        made = await memory.retract(chance.choice(facts), because="never true")
    elif what == 6:
        return [one.id for one in (await memory.merge(thing, other, reason="one thing")).receipts]
    elif what == 7:
        report = await memory.erase(chance.choice(facts), reason="asked for", by="human:ada")
        return [report.receipt.id]
    else:
        number = chance.randrange(9)
        assert (await worker.run(doubling, number)).output == 4 * number
        return []
    return [made.receipt.id]


async def _bustle(bustle: Bustle) -> None:
    async with (
        Memory.open(bustle.url, by=f"agent:{bustle.seed}", embedder="none") as memory,
        worker_of(memory, doubling, lease_s=120) as worker,
    ):

        async def write(chance: random.Random) -> list[str]:
            facts: list[str] = []
            receipts: list[str] = []
            for _ in range(bustle.deeds):
                try:
                    receipts += await _deed(memory, worker, chance, facts)
                except RefusedError:
                    # Merged with itself, retracted before, erased before.
                    continue
            return receipts

        found = await asyncio.gather(*(write(random.Random(f"{bustle.seed} {n}")) for n in range(_WRITERS)))
    Path(bustle.told).write_text(  # noqa: ASYNC240 - nothing else runs
        "\n".join(one for receipts in found for one in receipts), encoding="utf-8"
    )


def _run(bustle: Bustle) -> None:
    asyncio.run(_bustle(bustle))


def begin(bustle: Bustle) -> BaseProcess:
    """Start a child."""
    child = _CONTEXT.Process(target=_run, args=(bustle,), daemon=True)
    child.start()
    return child
