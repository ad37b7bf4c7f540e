"""What `latewood doctor` looks at. Each check says what it found and, when that is wrong, how to mend it.

The last check is the deepest: it asks the ledger, by the definition of which fact holds, what every key should answer,
and compares that with what the store's views do answer.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Final

from latewood.clients.cli.call import EXIT_CORRUPT, EXIT_OK, EXIT_REFUSED, EXIT_UNAVAILABLE, Call
from latewood.graph_schema.clock import FOREVER, Micros
from latewood.graph_schema.errors import CODES, LatewoodError
from latewood.graph_schema.events import Event, EventKind, LedgerEntry
from latewood.graph_schema.model import LEDGERS
from latewood.graph_schema.resolution import Claim, holder
from latewood.memory import Memory
from latewood.memory.opening import file_of
from latewood.storage.port import PAGE_MAX, Point, Space

__all__ = ["ROWS_MAX", "Check", "Health", "State", "examine", "show_health"]

ROWS_MAX: Final = 200_000
"""Rows of a ledger whose views are asked for again; of a longer one the first so many, as known then."""
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
    _port(health, port)
    return health


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
        async with Memory.open(db) as memory:
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


async def _ledgers(health: Health, memory: Memory, space: Space) -> None:
    restore = "stop writing to it, keep a copy, and go back to a backup"
    sound = True
    for name in LEDGERS:
        label = f"ledger {space.name}/{name}"
        try:
            verdict = await memory.verify(name)
        except LatewoodError as error:
            health.fail(label, error)
            sound = False
            continue
        if verdict.ok:
            health.add(label, State.OK, f"{verdict.rows} rows verify, head {verdict.head[:16]}")
        else:
            health.corrupt(label, f"row {verdict.bad_seq}: {verdict.reason}", restore)
            sound = False
    label = f"views {space.name}"
    if not sound:
        health.add(label, State.SKIPPED, "a ledger that does not verify cannot judge the views")
        return
    try:
        keys, differences, rows = await _compare(memory)
    except LatewoodError as error:
        health.fail(label, error)
        return
    whole = "" if rows < ROWS_MAX else f", as of its first {rows} rows"
    if differences:
        shown = "; ".join(differences[:_DIFFERENCES_MAX])
        health.corrupt(label, f"{len(differences)} of {keys} keys differ from the ledger{whole}: {shown}", restore)
    else:
        health.add(label, State.OK, f"{keys} keys answer as the ledger says{whole}")


@dataclass(slots=True)
class _Key:
    """The claims of one key, with the fact that each stands for."""

    facts: list[str] = field(default_factory=list[str])
    events: list[tuple[Event, Micros]] = field(default_factory=list[tuple[Event, Micros]])

    def holds(self, at: Micros, retracted: Mapping[str, Micros]) -> str | None:
        """Return the fact that the definition lets hold at *at*, on both clocks."""
        claims = [
            Claim(
                place, event.valid_from if event.valid_from is not None else recorded_at,
                FOREVER if event.valid_to is None else event.valid_to, event.tier, int(event.known), event.trust,
                recorded_at, event.ordinal, event.kind is EventKind.ABSENT, retracted.get(event.id, FOREVER),
            )
            for place, (event, recorded_at) in enumerate(self.events)
        ]  # fmt: skip
        best = holder(claims, at, at)
        return None if best is None else self.facts[best.fact]


async def _rows(memory: Memory) -> AsyncIterator[LedgerEntry]:
    """Read the knowledge ledger from its first row, up to `ROWS_MAX`."""
    seq = 0
    while seq < ROWS_MAX:
        page = await memory.store.feed(memory.space, "knowledge", seq, min(PAGE_MAX, ROWS_MAX - seq))
        for entry in page:
            yield entry
        if not page:
            return
        seq = page[-1].seq


async def _compare(memory: Memory) -> tuple[int, list[str], int]:
    """Return how many keys there are, what differs, and how many rows were read."""
    keys: dict[bytes, _Key] = {}
    retracted: dict[str, Micros] = {}
    head, rows = 0, 0
    async for entry in _rows(memory):
        head, rows, event = entry.recorded_at, rows + 1, entry.event
        if event.kind is EventKind.RETRACTED and event.target is not None:
            retracted[event.target] = entry.recorded_at
        elif event.kind in (EventKind.ASSERTED, EventKind.ABSENT) and event.key is not None:
            key = keys.setdefault(event.key, _Key())
            key.facts.append(event.id)
            key.events.append((event, entry.recorded_at))
    differences: list[str] = []
    listed = list(keys.values())
    for start in range(0, len(listed), PAGE_MAX):
        batch = listed[start : start + PAGE_MAX]
        held = await memory.store.held(memory.space, [Point(key.facts[0], head, head) for key in batch])
        for key, found in zip(batch, held, strict=True):
            expected = key.holds(head, retracted)
            if (found.id if found is not None else None) != expected:
                answer = "nothing" if found is None else found.id
                differences.append(f"fact {expected or 'none'} should hold, the view answers {answer}")
    return len(keys), differences, rows


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
