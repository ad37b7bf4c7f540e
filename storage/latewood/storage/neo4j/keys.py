"""What the writer holds of keys while it settles them: all of a short key, of a long one the windows it asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from latewood.graph_schema.clock import FOREVER, Micros, from_micros
from latewood.graph_schema.resolution import Claim, Repair, Stretch, Window
from latewood.storage.neo4j.database import Query, Row
from latewood.storage.settling import KeyState, claim_class, open_end

__all__ = ["IMAGE_CLAIMS_MAX", "FactRef", "ImageRows", "KeyImage", "WindowRows", "claim_of", "load_images", "tail_row"]

IMAGE_CLAIMS_MAX: Final = 1_000
"""Most claims of a key that are held in memory; a longer key is read window by window."""
_PART: Final = 100
_PART_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class FactRef:
    """Where the rows of a fact hang in the graph: its id, and of a relation the object's."""

    id: str
    object: str | None


@dataclass(slots=True)
class KeyImage:
    """One key as the writer knows it.

    Attributes:
        claims: those that count; None when not read. *rows*: the live stretches, with them.
        facts: place of a fact to where its rows hang, of every fact met.
        long: it has too many claims to be held; its windows are read from the database.
        dirty: the group changed it, and the database does not know yet.
    """

    space: int
    id: str
    subject: str
    predicate: str
    state: KeyState
    claims: list[Claim] | None = None
    rows: list[Stretch] = field(default_factory=list[Stretch])
    facts: dict[int, FactRef] = field(default_factory=dict[int, FactRef])
    long: bool = False
    dirty: bool = False

    def apply(self, added: Iterable[Claim], removed: Iterable[Claim], repair: Repair, recorded_at: Micros) -> None:
        """Bring the image up to date with what a unit did."""
        if self.claims is None:
            return
        gone = {claim.fact for claim in removed}
        if gone:
            self.claims = [claim for claim in self.claims if claim.fact not in gone]
        self.claims.extend(added)
        changed = {_place(row) for row, _ in repair.closes} | {_place(row) for row in repair.retires}
        rows = [row for row in self.rows if _place(row) not in changed]
        for row, end in repair.closes:
            rows.append(Stretch(row.fact, row.valid_from, end, row.recorded_at, recorded_at))
        self.rows = [*rows, *repair.inserts]
        if len(self.claims) > IMAGE_CLAIMS_MAX:
            self.claims, self.rows, self.long = None, [], True

    def tail_properties(self) -> tuple[list[int] | None, list[str] | None]:
        """Write the tail as properties of the key's node: numbers, and the ids of the fact and its object."""
        tail = self.state.tail
        if tail is None:
            return None, None
        claim, row = tail
        ref = self.facts[claim.fact]
        numbers = [claim.fact, claim.valid_from, claim.tier, claim.known, claim.trust, claim.recorded_at, claim.ordinal]
        numbers += [int(claim.absent)]
        if row is not None:
            numbers += [row.valid_from, row.recorded_at]
        return numbers, [ref.id] if ref.object is None else [ref.id, ref.object]


def _place(row: Stretch) -> tuple[int, Micros, Micros]:
    return row.fact, row.valid_from, row.recorded_at


def claim_of(row: Row) -> tuple[Claim, FactRef]:
    """Read a row of the queries' `claim` columns."""
    place, valid_from, valid_to, tier, known, trust, recorded_at, ordinal, absent, fact_id, target = row
    end = FOREVER if valid_to is None else valid_to
    claim = Claim(place, valid_from, end, tier, int(known), trust, recorded_at, ordinal, bool(absent))
    return claim, FactRef(fact_id, target)


def tail_row(numbers: Sequence[int] | None, ids: Sequence[str] | None) -> tuple[Claim, Stretch | None, FactRef] | None:
    """Read a key's tail from its node."""
    if not numbers or not ids:
        return None
    place, valid_from, tier, known, trust, recorded_at, ordinal, absent, *row = numbers
    claim = Claim(place, valid_from, FOREVER, tier, known, trust, recorded_at, ordinal, bool(absent))
    stretch = Stretch(place, row[0], FOREVER, row[1]) if row else None
    return claim, stretch, FactRef(ids[0], ids[1] if len(ids) > 1 else None)


def _stretch(row: Row) -> tuple[Stretch, FactRef]:
    place, valid_from, valid_to, recorded_at, closed_at, fact_id, target = row
    end, closed = (FOREVER if one is None else one for one in (valid_to, closed_at))
    return Stretch(place, valid_from, end, recorded_at, closed), FactRef(fact_id, target)


def load_images(query: Query, images: Sequence[KeyImage]) -> None:
    """Read claims and live rows of keys; a key with too many is marked long instead."""
    by_key = {(one.space, one.id): one for one in images}
    named = [list(one) for one in sorted(by_key)]
    if not named:
        return
    for space, key, claims in query("key_claims", keys=named, most=IMAGE_CLAIMS_MAX + 1):
        image = by_key[space, key]
        if len(claims) > IMAGE_CLAIMS_MAX:
            image.long = True
            continue
        image.claims = []
        for row in claims:
            claim, ref = claim_of(row)
            image.claims.append(claim)
            image.facts[claim.fact] = ref
    short = [list(place) for place, image in sorted(by_key.items()) if image.claims is not None]
    for space, key, *row in query("key_rows", keys=short):
        image = by_key[space, key]
        stretch, ref = _stretch(row)
        image.rows.append(stretch)
        image.facts[stretch.fact] = ref


class ImageRows:
    """The rows of a key that is held in memory."""

    def __init__(self, image: KeyImage) -> None:
        """Read *image*, whose claims were loaded."""
        self._claims = image.claims or []
        self._rows = image.rows

    def covering(self, instant: Micros) -> Iterator[Claim]:
        """Return the claims whose period covers *instant*, the latest start first."""
        found = (claim for claim in self._claims if claim.valid_from <= instant < claim.valid_to)
        yield from sorted(found, key=lambda claim: -claim.valid_from)

    def starting(self, window: Window, least: int) -> Iterator[Claim]:
        """Return the claims of class *least* or higher that start inside the window, earliest first."""
        start, end = window
        found = (
            claim for claim in self._claims
            if start < claim.valid_from < end and claim_class(claim.tier, claim.known) >= least
        )  # fmt: skip
        yield from sorted(found, key=lambda claim: claim.valid_from)

    def live(self, window: Window) -> Iterable[Stretch]:
        """Return the live rows."""
        del window
        return self._rows


class WindowRows:
    """The rows of a long key, read as far as settling asks."""

    def __init__(self, query: Query, image: KeyImage) -> None:
        """Read the key of *image* through *query*; nothing of it may wait to be written."""
        self._query = query
        self._image = image

    def _claims(self, name: str, **parameters: object) -> Iterator[Claim]:
        skip, part = 0, _PART
        while True:
            rows = self._query(
                name, space=self._image.space, key=self._image.id, skip=skip, part=part, **parameters
            )  # fmt: skip
            for (row,) in rows:
                claim, ref = claim_of(row)
                self._image.facts[claim.fact] = ref
                yield claim
            if len(rows) < part:
                return
            skip, part = skip + part, min(4 * part, _PART_MAX)

    def covering(self, instant: Micros) -> Iterator[Claim]:
        """Return the claims whose period covers *instant*, the latest start first."""
        return self._claims("covering", at=from_micros(instant))

    def starting(self, window: Window, least: int) -> Iterator[Claim]:
        """Return the claims of class *least* or higher that start inside the window, earliest first."""
        return self._claims("starting", least=least, **bounds(window))

    def live(self, window: Window) -> Iterator[Stretch]:
        """Return the live rows that overlap the window."""
        for name in ("live_values", "live_relations"):
            for row in self._query(name, space=self._image.space, key=self._image.id, **bounds(window)):
                stretch, ref = _stretch(row)
                self._image.facts[stretch.fact] = ref
                yield stretch


def bounds(window: Window) -> Mapping[str, Any]:
    """Write a window as the parameters of a query; an open end is None."""
    end = open_end(window[1])
    return {"start": from_micros(window[0]), "end": None if end is None else from_micros(end)}
