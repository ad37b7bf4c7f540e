"""Writers in processes of their own, which die where and when a test says.

Children are forked from a server process that has everything loaded and no threads, so that one costs milliseconds:
a thousand kills are a matter of minutes. What a child was told is kept, it writes to a file with one system call,
which outlives the child however it ends.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import apsw
from simulation.synthetic import ADDING

from latewood.graph_schema.commands import Assert, History, Ref
from latewood.graph_schema.errors import ConflictError, LatewoodError, UnavailableError
from latewood.graph_schema.values import Value
from latewood.memory import Memory, portability
from latewood.memory.imports import ingest_adr
from latewood.memory.portability import import_space
from latewood.memory.reader import Written
from latewood.storage.crashpoints import install
from latewood.storage.sqlite import migrations
from latewood.storage.sqlite.store import SqliteStore

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([
    "latewood.memory.imports", "latewood.storage.sqlite.store", "latewood.storage.neo4j.store",
])  # fmt: skip
ORIGIN: Final = "import:past"
FILLED: Final = "past"
RECORDS: Final = "records"
MADE: Final = "made"
TAKEN: Final = "taken"
SECRET: Final = "feldspar"  # noqa: S105 - a word to be erased
WAVE: Final = 6
_END_S_MAX: Final = 60.0
_NEWEST: Final = 8
_NOBODY: Final = 65_534


@dataclass(frozen=True, slots=True)
class Death:
    """Where a child kills itself: when *point* is reached for the time numbered *hit*, from 1.

    Attributes:
        after: how much must be acknowledged before hits are counted.
    """

    point: str
    hit: int = 1
    after: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """What a child does. *task* is one of `TASKS`; *numbers* are what it writes, ever on from the last if *endless*."""

    task: str
    url: str
    log: str
    numbers: Sequence[int] = ()
    endless: bool = False
    death: Death | None = None
    folder: str = ""


@dataclass(slots=True)
class Log:
    """What a child said: ``open``, ``op`` with what was acknowledged under it, ``at`` a point where it died."""

    opened: bool = False
    died_at: str | None = None
    failed: str | None = None
    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    """Idempotency key to the id of its receipt."""

    @classmethod
    def read(cls, path: Path) -> Log:
        log = cls()
        if not path.exists():
            return log
        # A line is written by one call, so it is whole or not there.
        for line in path.read_text().splitlines():
            what, *said = json.loads(line)
            if what == "open":
                log.opened = True
            elif what == "at":
                log.died_at = said[0]
            elif what == "failed":
                log.failed = said[0]
            else:
                op, receipt = said
                assert log.acknowledged.setdefault(op, receipt) == receipt, f"{op} has two receipts"
        return log


class _Voice:
    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.acknowledged = 0
        self.said = set[str]()

    def say(self, *words: str) -> None:
        self.acknowledged += words[0] == "op"
        self.said |= {*words[1:2]}
        os.write(self._file, (json.dumps(words) + "\n").encode())


def _die_at(death: Death, voice: _Voice) -> Callable[[str], None]:
    hits = itertools.count(1)

    def hook(point: str) -> None:
        if point == death.point and voice.acknowledged >= death.after and next(hits) == death.hit:
            voice.say("at", point)
            os.kill(os.getpid(), signal.SIGKILL)
            # The signal is for the whole process; this thread must not go on until it is delivered.
            time.sleep(_END_S_MAX)

    return hook


async def _write(memory: Memory, voice: _Voice, number: int) -> None:
    """Write what belongs to *number*: a fact, a decision on it, one more of a key that others share, and mendings."""

    async def ask(op: str, written: Awaitable[Written]) -> str:
        answer = await written
        voice.say("op", op, answer.receipt.id)
        return answer.id

    item, shared = f"item:{number}", f"shared:{number // 40}"
    see, decide, share, mend, undo = (f"{what}-{number}" for what in ("see", "decide", "share", "mend", "undo"))
    fact, _ = await asyncio.gather(
        ask(see, memory.observe(item, "note", f"basalt {number}", idempotency_key=see)),
        ask(share, memory.observe(shared, "level", number, idempotency_key=share)),
    )
    await ask(decide, memory.decide(
        f"Decision {number}", because="a test says so", about=[item], evidence=[fact], key=f"d:{number}",
        idempotency_key=decide))  # fmt: skip
    if number % 3 == 0:
        await ask(mend, memory.correct(fact, f"granite {number}", idempotency_key=mend))
    elif number % 3 == 1:
        await ask(undo, memory.retract(fact, because="never so", idempotency_key=undo))


async def write_on(memory: Memory, voice: _Voice, job: Job) -> None:
    """Write number after number, several at once."""
    after = itertools.count(max(job.numbers, default=0) + 1)
    waiting = list(job.numbers)
    while waiting:
        await asyncio.gather(*(_write(memory, voice, number) for number in waiting[:_NEWEST]))
        del waiting[:_NEWEST]
        if job.endless:
            waiting += itertools.islice(after, _NEWEST - len(waiting)) if len(waiting) < _NEWEST else ()


async def write_waves(memory: Memory, voice: _Voice, job: Job) -> None:
    """Write each number as one wave of facts, all handed in at once, so that they make one group."""

    async def one(number: int, place: int) -> None:
        op = f"wave-{number}-{place}"
        told = await memory.observe(f"item:{place}", "note", f"basalt {number}", idempotency_key=op)
        voice.say("op", op, told.receipt.id)

    for number in job.numbers:
        await asyncio.gather(*(one(number, place) for place in range(WAVE)))


async def fill_space(memory: Memory, voice: _Voice, job: Job) -> None:
    """Import a past into an empty space, unit by unit with its own recorded time, and end the filling."""
    filled = memory.within(space=FILLED)
    units = [
        filled.unit(
            [Assert(filled.ids.new(), Ref(key=f"item:{n % 3}"), "note", Value.of(f"basalt {n}"), valid_from=n)], n,
            idempotency_key=f"past-{n}", history=History(ORIGIN, n * 1_000_000),
        )
        for n in job.numbers
    ]  # fmt: skip
    for start in range(0, len(units), WAVE):
        receipts = await filled.submit_many(units[start : start + WAVE])
        for n, receipt in zip(job.numbers[start : start + WAVE], receipts, strict=True):
            voice.say("op", f"past-{n}", receipt.id)
    await filled.store.finish_fill(FILLED, ORIGIN)
    voice.say("op", "filled", "")


async def import_records(memory: Memory, voice: _Voice, job: Job) -> None:
    """Import a folder of decision records."""
    report = await ingest_adr(memory.within(space=RECORDS), Path(job.folder), history=False)
    voice.say("op", "imported", str(report.decisions))


async def make_space(memory: Memory, voice: _Voice, job: Job) -> None:
    """Make a space, or find it made."""
    voice.say("op", "began", "")
    try:
        made = await memory.create_space(MADE)
    except ConflictError as error:
        voice.say("op", "made", error.code)
    else:
        voice.say("op", "made", made.id)


async def import_exports(memory: Memory, voice: _Voice, job: Job) -> None:
    """Import the exports of a folder, the first in many parts and each later one in one."""
    for path in sorted(Path(job.folder).glob("*.jsonl")):  # noqa: ASYNC240 - nothing else runs
        portability._BATCH_ROWS = 10_000 if "first" in voice.said else 12  # type: ignore[misc]
        report = await import_space(memory, path, name=TAKEN)
        voice.say("op", path.stem, str(report.rows))


async def erase_words(memory: Memory, voice: _Voice, job: Job) -> None:
    """Write of somebody and erase it, with the proof."""
    told = await memory.observe("person:jane", "note", SECRET, idempotency_key="tell")
    voice.say("op", "tell", told.receipt.id)
    report = await memory.erase("person:jane", reason="she asked", by="human:ada", idempotency_key="forget")
    proof = [
        report.target, report.kind, report.reason, report.receipt.id, [(row.seq, row.digest) for row in report.rows],
        dict(sorted(report.places.items())), report.scrub.state, report.verdict.ok, report.verdict.rows,
    ]  # fmt: skip
    voice.say("op", "forget", json.dumps(proof))


async def take_lease(memory: Memory, voice: _Voice, job: Job) -> None:
    """Take a lease and prolong it."""
    lease = await memory.store.acquire("default", "job", "the dead", 60)
    assert lease is not None
    voice.say("op", "taken", str(lease.fence))
    renewed = await memory.store.renew(lease, 3_600)
    voice.say("op", "renewed", str(renewed.fence))


async def write_to_the_limit(memory: Memory, voice: _Voice, job: Job) -> None:
    """Write until the file may grow no further, lift the limit, and write once more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    for number in itertools.count():
        op = f"fits-{number}"
        try:
            written = await memory.observe(f"item:{number}", "note", "basalt " * 2_000, idempotency_key=op)
        except UnavailableError as error:
            voice.say("op", "met", error.code)
            break
        voice.say("op", op, written.receipt.id)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    written = await memory.observe(f"item:{number}", "note", "basalt " * 2_000, idempotency_key=op)
    voice.say("op", "after", written.receipt.id)


async def read_as_another(memory: Memory, voice: _Voice, job: Job) -> None:
    """Read and try to write without the right to."""
    entity = await memory.entity("item:1")
    voice.say("op", "read", ", ".join(str(fact.value.data) for fact in entity.facts if fact.value is not None))
    try:
        await memory.observe("item:1", "note", "basalt 2")
    except LatewoodError as error:
        voice.say("op", "write", error.code)
    else:
        voice.say("op", "write", "kept")


async def hold_the_lock(memory: Memory, voice: _Voice, job: Job) -> None:
    """Take SQLite's lock for writing and never give it back."""
    other = apsw.Connection(job.url)
    other.execute("begin immediate")
    voice.say("open")
    await asyncio.sleep(_END_S_MAX)


async def upgrade_file(url: str) -> None:
    """Open a file with the schema of a Latewood to come."""
    migrations.CURRENT = ADDING  # type: ignore[misc]
    await (await SqliteStore.open(url)).close()


TASKS: Final = {
    one.__name__: one
    for one in (
        write_on, write_waves, fill_space, import_records, make_space, import_exports, erase_words, take_lease,
        write_to_the_limit, read_as_another, hold_the_lock,
    )
}  # fmt: skip


async def _run(job: Job, voice: _Voice) -> None:
    if job.task == upgrade_file.__name__:
        await upgrade_file(job.url)
        return
    if job.task == read_as_another.__name__ and os.geteuid() == 0:
        # What is imported at first use is imported now: that user may not read where Python is.
        async with Memory.open(job.log + ".db", by="agent:writer") as scratch:
            await scratch.observe("item:1", "note", "basalt 1")
            await scratch.entity("item:1")
        os.setuid(_NOBODY)
    async with Memory.open(job.url, by="agent:writer") as memory:
        if job.task != hold_the_lock.__name__:
            voice.say("open")
        await TASKS[job.task](memory, voice, job)


def _main(job: Job) -> None:
    voice = _Voice(job.log)
    if job.death is not None:
        install(_die_at(job.death, voice))
    try:
        asyncio.run(_run(job, voice))
    except BaseException as error:
        voice.say("failed", repr(error))
        raise


def begin(job: Job) -> BaseProcess:
    """Start a child on *job*."""
    child = _CONTEXT.Process(target=_main, args=(job,), daemon=True)
    child.start()
    return child


def finish(child: BaseProcess) -> int:
    """Wait for the end of a child; return its exit code, negative for a signal."""
    child.join(_END_S_MAX)
    assert child.exitcode is not None, f"child {child.pid} did not end"
    code = child.exitcode
    child.close()
    return code


def run(job: Job) -> Log:
    """Run a child to its end: killed at the point that was asked for, or else without a fault."""
    code = finish(begin(job))
    log = Log.read(Path(job.log))
    if job.death is None:
        assert (code, log.failed) == (0, None), f"the child ended with {code}: {log.failed}"
    else:
        assert code == -signal.SIGKILL, f"the child did not reach {job.death} and ended with {code}: {log.failed}"
        assert log.died_at == job.death.point
    return log
