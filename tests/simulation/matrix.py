"""The crash points with what must be found behind each; the tests run this list and the published page is made of it.

`python tests/simulation/matrix.py --write` writes docs/guide/crash-matrix.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[1]))
from simulation.deaths import DEATHS_OF_MESSAGES, DEATHS_OF_RUNS, Death
from simulation.faults import FAULTS

from latewood.execution.messages import points as of_messages
from latewood.execution.points import POINTS as POINTS_OF_RUNS
from latewood.storage.crashpoints import POINTS

__all__ = ["CRASHES", "PAGE", "Crash", "Found", "page"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "guide" / "crash-matrix.md"
Found: TypeAlias = Literal["nothing", "everything"]
_BOTH: Final = ("sqlite", "neo4j")


@dataclass(frozen=True, slots=True)
class Crash:
    """A process killed at *point* while it did *task*: when it was reached for the time numbered *hit* in the second group.

    Attributes:
        found: how much of what was being written, and not acknowledged, is there afterwards.
    """

    point: str
    task: str
    hit: int
    found: Found
    stores: tuple[str, ...] = _BOTH


CRASHES: Final = (
    Crash("journal.taken", "write_waves", 1, "nothing"),
    Crash("group.begin", "write_waves", 1, "nothing"),
    Crash("group.heads_read", "write_waves", 1, "nothing"),
    # Neo4j writes the ledger and the views of a group in one statement, so there is no such place.
    Crash("group.half_written", "write_waves", 1, "nothing", ("sqlite",)),
    Crash("unit.written", "write_waves", 4, "nothing"),
    Crash("group.written", "write_waves", 1, "nothing"),
    Crash("group.committed", "write_waves", 1, "everything"),
    Crash("journal.answered", "write_waves", 1, "everything"),
    Crash("group.begin", "fill_space", 1, "nothing"),
    Crash("unit.written", "fill_space", 3, "nothing"),
    Crash("group.written", "fill_space", 1, "nothing"),
    Crash("group.committed", "fill_space", 1, "everything"),
    Crash("fill.ended", "fill_space", 1, "nothing"),
    Crash("fill.committed", "fill_space", 1, "everything"),
    Crash("group.heads_read", "import_records", 1, "nothing"),
    Crash("unit.written", "import_records", 5, "nothing"),
    Crash("group.written", "import_records", 1, "nothing"),
    Crash("group.committed", "import_records", 1, "everything"),
    Crash("space.numbered", "make_space", 1, "nothing", ("neo4j",)),
    Crash("space.indexed", "make_space", 1, "nothing", ("neo4j",)),
    Crash("space.written", "make_space", 1, "nothing"),
    Crash("space.made", "make_space", 1, "everything"),
    Crash("restore.adopted", "import_exports", 1, "nothing"),
    Crash("replay.unit", "import_exports", 2, "nothing"),
    Crash("replay.written", "import_exports", 1, "nothing"),
    Crash("replay.committed", "import_exports", 1, "everything"),
    Crash("erase.marked", "import_erasure", 1, "nothing", ("sqlite",)),
    Crash("erase.taken", "import_erasure", 1, "nothing"),
    Crash("replay.written", "import_erasure", 1, "nothing"),
    Crash("replay.committed", "import_erasure", 1, "everything"),
    Crash("scrub.cut", "import_erasure", 1, "everything", ("sqlite",)),
    Crash("group.begin", "erase_words", 1, "nothing"),
    Crash("erase.taken", "erase_words", 1, "nothing"),
    Crash("erase.marked", "erase_words", 1, "nothing", ("sqlite",)),
    Crash("group.written", "erase_words", 1, "nothing"),
    Crash("group.committed", "erase_words", 1, "everything"),
    Crash("scrub.cut", "erase_words", 1, "everything", ("sqlite",)),
    Crash("lease.taken", "take_lease", 1, "nothing"),
    Crash("lease.renewed", "take_lease", 1, "nothing"),
    Crash("migration.backed_up", "upgrade_file", 1, "nothing", ("sqlite",)),
    Crash("migration.step", "upgrade_file", 1, "nothing", ("sqlite",)),
    Crash("migration.step", "upgrade_file", 2, "nothing", ("sqlite",)),
)

_TASKS: Final = {
    "write_waves": "groups of writes",
    "fill_space": "an imported history",
    "import_records": "an import of decision records",
    "make_space": "a new space",
    "import_exports": "an import of an export, in parts",
    "import_erasure": "an import that erases what an earlier one brought",
    "erase_words": "an erasure",
    "take_lease": "a lease",
    "upgrade_file": "an upgrade of the file",
}
_FOUND: Final = {
    "nothing": "none of it was there",
    "everything": "all of it was there",
}
_HEAD: Final = """# What was seen after a crash

<!-- Written by tests/simulation/matrix.py; do not edit. -->

A process is killed (SIGKILL, from inside, so that not one more instruction runs) at each named place of its write path.
Then the store is opened again and looked at. Every row below is a test, and every one asserts the same five things:

1. **Acknowledged is found**: each receipt that the dead process had handed out is there, under the same id.
2. **Once**: no idempotency key and no unit is in the ledger twice.
3. **Whole**: of each unit every event is there, with its receipt. Of the group that was being written when the process
   died there is all or nothing, as the table says.
4. **The chain verifies**, in both ledgers.
5. **The views equal the ledger**: every kind of read (facts as of several instants, timelines, changes on both axes,
   nodes, predicates, holders, search) answers what a reference store answers that was rebuilt from the ledger alone.

Then the dead process's work is repeated with the same idempotency keys and the five are asserted again: nothing is
missing and nothing is doubled. (A lease has nothing to repeat: another takes it, once the time that was acknowledged is
over.) "None of it" and "all of it" mean what was being written when the process died, beside what it had acknowledged:
of an import the part that was being taken, of a new space the space with its text index.

Of an erasure it is asserted besides that the erased words are in no row, and in SQLite in no byte of the file and its log
once it was opened again; that the views answer what a reference store answers that replayed the ledger; and that the same
erasure, asked for again, gives one proof.

| killed when | while writing | seen in SQLite | seen in Neo4j |
| --- | --- | --- | --- |
"""
_RUNS: Final = """
Beside the named places, both stores are killed at random: three hundred times in `just ci` (`LATEWOOD_KILLS` for more), half of them by SIGKILL from
outside at a random instant, half at a random named place reached for a random time, each process carrying on with the
unfinished work of the dead one. Twenty kills run in `just test`.

## Runs of workflows

A worker with several runs in hand, among them steps with branches, a sleep, a question, a child workflow, an effect outside
and a step that fails at first, is killed at each named place; another one takes its lease over and goes on. Every row is a
test, on both stores, and every one asserts:

1. **No run is lost**: each ended *done*, with the output that it would have had.
2. **No effect is doubled**: an effect outside happened once, as its own record outside of the store says.
3. **No step is paid for twice**: of each step one try is completed, and a call is made again only when its result was not kept.
4. **The chain verifies**.

| killed when | and the next worker | seen in SQLite | seen in Neo4j |
| --- | --- | --- | --- |
"""
_MESSAGES: Final = """
## Messages

A process that publishes under idempotency keys, receives and settles is killed at each named place, and the next one goes on.
Every row asserts that each message is there once and settled once, that what its consumer wrote with the settlement is there
once, that each dead letter is there once, that nothing waits any more, and that the queues are what the ledger says.

| killed when | and the next process | seen in SQLite | seen in Neo4j |
| --- | --- | --- | --- |
"""
_TAIL: Final = """
Workers are killed at random besides: by SIGKILL, at a random instant, each next one going on (`LATEWOOD_KILLS`).

## Faults of the disk and of the server

Where a fault ends, the process goes on by itself: nothing has to be started or opened again.

| store | fault | what was seen |
| --- | --- | --- |
"""


def page() -> str:
    """Write the page."""
    rows = ""
    for one in CRASHES:
        seen = [_FOUND[one.found] if store in one.stores else "there is no such place" for store in _BOTH]
        times = "" if one.hit == 1 else f" ({one.hit} times)"
        rows += f"| `{one.point}`{times}: {POINTS[one.point]} | {_TASKS[one.task]} | {seen[0]} | {seen[1]} |\n"
    runs = _deaths(DEATHS_OF_RUNS, POINTS_OF_RUNS, "every run was ended")
    messages = _deaths(DEATHS_OF_MESSAGES, of_messages.POINTS, "every message was settled")
    faults = "".join(f"| {fault.store} | {fault.what} | {fault.seen} |\n" for fault in FAULTS)
    return f"{_HEAD}{rows}{_RUNS}{runs}{_MESSAGES}{messages}{_TAIL}{faults}"


def _deaths(deaths: Sequence[Death], points: Mapping[str, str], seen: str) -> str:
    rows = ""
    for one in deaths:
        found = [seen if store in one.stores else "there is no such place" for store in _BOTH]
        where = points.get(one.point) or POINTS[one.point]
        rows += f"| `{one.point}`: {where} | {one.then} | {found[0]} | {found[1]} |\n"
    return rows


def main() -> None:
    """Write the page where --write is given, else print it."""
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()
