"""What `latewood doctor` looks at. Each check says what it found and, when that is wrong, how to mend it.

The last check is the deepest: the dry run of a rebuild, which works out from the ledgers what every row of every view
should be.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Final

from latewood.clients.cli.call import EXIT_CORRUPT, EXIT_OK, EXIT_REFUSED, EXIT_UNAVAILABLE, Call
from latewood.clients.cli.rebuilding import describe
from latewood.graph_schema.errors import CODES, LatewoodError
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import LEDGERS
from latewood.ingestion.embedding.tolerant import EmbedderHealth, TolerantEmbedder
from latewood.memory import Memory
from latewood.memory.credentials import SYSTEM_TENANT
from latewood.memory.keys import system_verdicts
from latewood.memory.opening import file_of
from latewood.storage.port import Space

__all__ = ["ROWS_MAX", "Check", "Health", "State", "examine", "show_health"]

ROWS_MAX: Final = 400_000
"""Ledger rows that are read to check the views of a space; what a longer one has beyond them is not looked at."""
_FREE_BYTES_MIN: Final = 200_000_000
_DIFFERENCES_MAX: Final = 5
_PYTHON_MIN: Final = (3, 11)


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was found, and the fix when it is not as it should be; *code* is an error's, if one was met."""

    name: str
    state: State
    found: str
    fix: str | None = None
    code: str | None = None


@dataclass(slots=True)
class Health:
    """All checks, and the exit code they come to: that of the worst."""

    ok: bool = True
    exit_code: int = EXIT_OK
    checks: list[Check] = field(default_factory=list[Check])

    def add(self, name: str, state: State, found: str, fix: str | None = None) -> None:
        """Note a check; a failed one is a matter of the user's input or settings."""
        self.checks.append(Check(name, state, found, fix))
        if state is State.FAILED:
            self.ok, self.exit_code = False, max(self.exit_code, EXIT_REFUSED)

    def fail(self, name: str, error: LatewoodError) -> None:
        """Note a check that an error ended."""
        self.checks.append(Check(name, State.FAILED, error.message, CODES[error.code], error.code))
        worth = {"unavailable": EXIT_UNAVAILABLE, "corrupt": EXIT_CORRUPT}.get(error.branch, EXIT_REFUSED)
        self.ok, self.exit_code = False, max(self.exit_code, worth)

    def corrupt(self, name: str, found: str, fix: str) -> None:
        """Note a check that found stored things to contradict each other."""
        self.checks.append(Check(name, State.FAILED, found, fix, "ledger.corrupt"))
        self.ok, self.exit_code = False, EXIT_CORRUPT


async def examine(call: Call, port: int) -> Health:
    """Make every check that can be made; none stops the others. Makes no file and writes nothing, but that
    it finishes scrubbing a file of what was erased.
    """
    health = Health()
    _versions(health)
    try:
        db = call.db
        health.add("settings", State.OK, f"store {db}, space {call.space}")
    except LatewoodError as error:
        health.fail("settings", error)
        db = call.given["db"]
    if db is None:
        health.add("store", State.SKIPPED, "the settings do not say which one")
    else:
        await _store(health, call, db)
    await _embedder(health, call)
    _port(health, port)
    return health


async def _embedder(health: Health, call: Call) -> None:
    """Try the embedder on a word. A failing one is no failure of the store: words are found without vectors."""
    try:
        choice = call.settings.embedder
    except LatewoodError:
        return  # the settings' own check says it
    if choice.kind == "none":
        health.add("embedder", State.OK, "none is wanted: recall finds by words and by the graph")
        return

    def tried() -> EmbedderHealth:
        embedder = TolerantEmbedder(choice.open)
        embedder.embed(["latewood"])
        found = embedder.health
        embedder.close()
        return found

    found = await asyncio.to_thread(tried)
    if found.error is None:
        health.add("embedder", State.OK, f"{choice.label} answers; its vectors are {found.model}'s")
        return
    fix = f"{CODES[found.error.code]} Then run `latewood reindex`: it makes the vectors that are missing"
    health.checks.append(Check("embedder", State.WARNING, found.error.message, fix, found.error.code))


async def _vectors(health: Health, memory: Memory, call: Call, space: str) -> None:
    """Say what of a space can be found by its meaning."""
    label = f"vectors {space}"
    there = await memory.store.generations(space)
    current = next((one for one in there if one.state == "current"), None)
    if current is None:
        health.add(label, State.OK, "none were made yet; the next write makes the first")
        return
    has = f"{current.filled:,} memories have theirs by {current.model}"
    model = call.settings.embedder.model
    if current.missing:
        fix = f"`latewood reindex --space {space}` makes them, or a running server; until then words find these"
        health.add(label, State.WARNING, f"{has}, {current.missing:,} have none", fix)
    elif model is not None and model != current.model:
        fix = f"set LATEWOOD_EMBEDDER to what made them, or run `latewood reindex --space {space}`"
        health.add(label, State.WARNING, f"{has}; the embedder now is {model}", fix)
    else:
        health.add(label, State.OK, has)


def _versions(health: Health) -> None:
    found = f"Python {platform.python_version()}, Latewood {version('latewood')}"
    if sys.version_info >= _PYTHON_MIN:
        health.add("python", State.OK, found)
    else:  # pragma: no cover - such a Python refuses to install it
        health.add("python", State.FAILED, found, "use Python 3.11 or newer")


def _port(health: Health, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            fix = "name another with `latewood serve --port`; perhaps a server runs there already"
            health.add("port", State.WARNING, f"{port} of 127.0.0.1 cannot be bound: {error}", fix)
            return
    health.add("port", State.OK, f"{port} of 127.0.0.1 is free")


async def _store(health: Health, call: Call, db: str) -> None:
    try:
        file = file_of(db)
    except LatewoodError as error:
        health.fail("store", error)
        return
    if file is not None:
        _disk(health, file)
        if not file.exists():
            fix = "nothing to mend if it is new: the first write makes it; else name the right file with --db"
            health.add("store", State.WARNING, f"there is no database at {file} yet", fix)
            return
    try:
        async with Memory.open(db, embedder="none") as memory:
            info = await memory.info()
            engine = f"{info.engine} {info.details.get(info.engine, '')}".strip()
            health.add("store", State.OK, f"{info.location} opens; {engine}, schema {info.schema_version}")
            if info.read_only:
                health.add("writable", State.WARNING, "the database is read-only here", CODES["store.read_only"])
            else:
                health.add("writable", State.OK, "the database can be written")
            scrub = await memory.store.scrub()
            if scrub.state == "pending":
                fix = "close the other programs that read it, then run `latewood doctor` again"
                health.add("erasures", State.WARNING, scrub.detail, fix)
            else:
                health.add("erasures", State.OK, scrub.detail)
            await _spaces(health, memory, call)
    except LatewoodError as error:
        health.fail("store", error)


def _disk(health: Health, file: Path) -> None:
    folder = file.absolute().parent
    if not folder.is_dir():
        health.add("disk", State.FAILED, f"the folder {folder} is not there", "make it, or name another with --db")
        return
    if not os.access(folder, os.W_OK):
        # SQLite writes its journal beside the file.
        fix = "give this user the right to write it, or name another file with --db; reads work"
        health.add("folder", State.WARNING, f"the folder {folder} cannot be written", fix)
    free = shutil.disk_usage(folder).free
    size = file.stat().st_size if file.exists() else 0
    if free < max(_FREE_BYTES_MIN, size):
        health.add("disk", State.WARNING, f"{free:,} bytes are free, the database has {size:,}", CODES["disk.full"])
    else:
        health.add("disk", State.OK, f"{free / 1e9:.1f} GB free, the database has {size / 1e6:.1f} MB")


async def _spaces(health: Health, memory: Memory, call: Call) -> None:
    spaces = await memory.spaces()
    if all(space.name != call.space for space in spaces):
        names = ", ".join(space.name for space in spaces)
        health.add(
            "space", State.FAILED, f"there is no space {call.space!r}; there are {names}", CODES["space.unknown"]
        )
    for space in spaces:
        heads = ", ".join(f"{name} {space.seq.get(name, 0)}" for name in LEDGERS)
        name = f"space {space.name}"
        if space.filling is not None:
            fix = "run the same ingest again: it goes on where it stopped"
            health.add(name, State.WARNING, f"{heads}; half filled by {space.filling}", fix)
        else:
            health.add(name, State.OK, f"{space.state}, {space.nodes} nodes, heads {heads}")
        await _ledgers(health, memory.within(space=space.name), space)
        try:
            await _vectors(health, memory, call, space.name)
        except LatewoodError as error:
            health.fail(f"vectors {space.name}", error)
    try:
        for verdict in await system_verdicts(memory):
            _judge(health, f"ledger {SYSTEM_TENANT}/{verdict.ledger}", verdict)
    except LatewoodError as error:
        health.fail(f"ledger {SYSTEM_TENANT}", error)


def _judge(health: Health, label: str, verdict: Verdict) -> bool:
    if verdict.ok:
        health.add(label, State.OK, f"{verdict.rows} rows verify, head {verdict.head[:16]}")
    else:
        fix = "stop writing to it, keep a copy, and go back to a backup"
        health.corrupt(label, f"row {verdict.bad_seq}: {verdict.reason}", fix)
    return verdict.ok


async def _ledgers(health: Health, memory: Memory, space: Space) -> None:
    sound = True
    for name in LEDGERS:
        label = f"ledger {space.name}/{name}"
        try:
            verdict = await memory.verify(name)
        except LatewoodError as error:
            health.fail(label, error)
            sound = False
            continue
        sound = _judge(health, label, verdict) and sound
    label = f"views {space.name}"
    if not sound:
        health.add(label, State.SKIPPED, "a ledger that does not verify cannot judge the views")
        return
    try:
        report = await memory.rebuild(dry_run=True, read_max=ROWS_MAX)
    except LatewoodError as error:
        health.fail(label, error)
        return
    looked = f"{report.compared:,} rows of views held against {report.rows:,} rows of the ledgers"
    if report.next is not None:
        looked += f", stopped after reading {report.read:,}; `latewood rebuild --dry-run` looks at all"
    if report.differences:
        shown = "; ".join(describe(one) for one in report.found[:_DIFFERENCES_MAX])
        found = f"{report.differences:,} differ from the ledgers: {shown}; {looked}"
        health.corrupt(label, found, f"`latewood rebuild --space {space.name}` makes them again from the ledgers")
    else:
        health.add(label, State.OK, f"they are what the ledgers say: {looked}")


_STYLES: Final = {
    State.OK: "green", State.WARNING: "bold yellow", State.FAILED: "bold red", State.SKIPPED: "dim"
}  # fmt: skip


def show_health(call: Call, health: Health) -> None:
    """Print the checks in words."""
    for check in health.checks:
        call.screen.say(f"{check.state.value:8}{check.name}: {check.found}", style=_STYLES[check.state])
        if check.fix is not None:
            call.screen.say(f"fix: {check.fix}", indent=8)
    call.screen.say("all is well" if health.ok else "something failed; see above", style="bold")
