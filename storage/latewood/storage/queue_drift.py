"""How a store's queue view differs from what the ledger says of the same messages; the same for every store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from latewood.storage.deriving import Row
from latewood.storage.queueing import QueueChange, Queued, derive
from latewood.storage.rebuilding import Findings

__all__ = ["STRAYS_MAX", "by_message", "drift"]

STRAYS_MAX: Final = 1_000
"""Most rows of messages that are no node, of one look."""


def by_message(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the ledger's rows that may be about messages, by what they are about."""
    about: dict[str, list[Row]] = {}
    for row in rows:
        if row.ledger == "execution":
            about.setdefault(row.event.subject, []).append(row)
    return about


def drift(
    secret: bytes, about: Mapping[str, Sequence[Row]], stored: Iterable[Queued], found: Findings, change: QueueChange
) -> list[Queued]:  # fmt: skip
    """Note in *found* how the *stored* rows differ, and in *change* which of them to put and to drop.

    Returns those that are there and that the ledger words otherwise. A message of which words were erased is only
    looked for: what its rows said is not known any more.
    """
    mine = {(row.group, row.message): row for row in stored}
    wanted: dict[tuple[str, str], Queued] = {}
    for own in about.values():
        wanted |= derive(secret, ((row.seq, row.event) for row in sorted(own, key=lambda row: row.seq)))
    unsure = {subject for subject, own in about.items() if any(row.erased for row in own)}
    otherwise: list[Queued] = []
    for place in {**mine, **wanted}:
        found.compared += 1
        kept, said = mine.get(place), wanted.get(place)
        if kept is not None and said is not None and (place[1] in unsure or kept.stated == said.stated):
            continue
        what = "missing" if kept is None else "extra" if said is None else "different"
        found.add("queued", what, place[1], place[1])
        if said is None:
            change.drops[place] = None
        elif kept is None:
            change.puts[place] = said
        else:
            otherwise.append(said)
    return otherwise
