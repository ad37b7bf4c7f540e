"""The reference store: a list of events and scans. Slow and obvious, it is what the other stores are held to.

It answers by the definition (`latewood.graph_schema.resolution.holder`) at every read and keeps nothing that could be
wrong: no stretches, no stamps, no index that decides anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from latewood.graph_schema.clock import NOW, AsOf, Clock, Micros, SystemClock, from_micros, to_micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import ConflictError, LimitError, RefusedError, UnavailableError
from latewood.graph_schema.events import LedgerEntry, Receipt
from latewood.graph_schema.ids import IdSource, RandomIds
from latewood.graph_schema.ledger import GENESIS, Verdict, Verifier
from latewood.graph_schema.model import LEDGERS, Fact, LedgerName, Node, NodeKind, Predicate
from latewood.graph_schema.packs.loader import Vocabulary, vocabulary
from latewood.graph_schema.values import normal_key
from latewood.storage.bounds import check_count
from latewood.storage.cursors import check_first, near, read_cursor, write_cursor
from latewood.storage.erasing import check_alone
from latewood.storage.fences import LeaseRow, check_lease
from latewood.storage.heads import wait_past
from latewood.storage.names import check_space_name, unknown_space
from latewood.storage.port import (
    PAGE_MAX,
    Axis,
    Change,
    Committed,
    FactQuery,
    Hit,
    Lease,
    NodeQuery,
    Page,
    Point,
    Refusal,
    Scrub,
    Space,
    StoreInfo,
)
from latewood.storage.rebuilding import STEP_ROWS, RebuildStep, check_limit, check_sound, read_place
from latewood.storage.receipts import no_receipt
from latewood.storage.reference_erasing import forget
from latewood.storage.reference_handing import Handing
from latewood.storage.reference_listing import HIDDEN, changes, facts, search_text
from latewood.storage.reference_rebuilding import rebuild
from latewood.storage.reference_replaying import adopted, image_of, replayed, rows_of
from latewood.storage.reference_searching import MemorySearch, forget_vectors, keep_unit
from latewood.storage.reference_space import NO_BOUND, SpaceLog
from latewood.storage.replaying import LedgerRow, SpaceImage, written_payload
from latewood.storage.rows import NodeRow, SpaceRow, as_known

__all__ = ["ReferenceStore"]

SPACES_MAX: Final = 1_000
REFUSALS_MAX: Final = 10_000
_POLL_S: Final = 0.01
_NEAR: Final = (NodeKind.ENTITY, NodeKind.DECISION, NodeKind.ACTOR, NodeKind.SESSION)


class _Data:
    """Everything kept, of all tenants."""

    def __init__(self) -> None:
        self.spaces: dict[tuple[str, str], SpaceLog] = {}
        self.receipts: dict[tuple[str, str], Receipt] = {}
        self.refusals: dict[str, tuple[str, Refusal, Micros]] = {}


class _Door:
    """What handles of one opening share: whether it is closed."""

    def __init__(self) -> None:
        self.closed = False


class ReferenceStore(MemorySearch, Handing):
    """A graph store in plain lists."""

    def __init__(
        self, *, tenant: str = "local", clock: Clock | None = None, ids: IdSource | None = None,
        words: Vocabulary | None = None,
    ) -> None:  # fmt: skip
        """Start empty, with the space `default`."""
        self._tenant = tenant
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._words = words or vocabulary()
        self._data = _Data()
        self._door = _Door()
        self._ensure_default()

    @property
    def tenant(self) -> str:
        """Whose data this handle reaches."""
        return self._tenant

    def _bound(self, tenant: str, door: _Door, clock: Clock, ids: IdSource, words: Vocabulary) -> ReferenceStore:
        other = object.__new__(ReferenceStore)
        other._tenant, other._clock, other._ids, other._words = tenant, clock, ids, words
        other._data, other._door = self._data, door
        return other

    def for_tenant(self, tenant: str) -> ReferenceStore:
        """Return a handle on another tenant's data over the same engine."""
        return self._bound(tenant, self._door, self._clock, self._ids, self._words)

    def opened_again(
        self, *, clock: Clock | None = None, ids: IdSource | None = None, words: Vocabulary | None = None
    ) -> ReferenceStore:
        """Open the same data a second time, as another process would a file; closing one leaves the other open."""
        return self._bound(self._tenant, _Door(), clock or self._clock, ids or self._ids, words or self._words)

    def _check_open(self) -> None:
        if self._door.closed:
            raise UnavailableError("the store is closed; open it again", code="store.closed")

    def _ensure_default(self) -> None:
        if (self._tenant, "default") not in self._data.spaces:
            self._make_space("default", strict=False)

    def _make_space(self, name: str, *, strict: bool) -> SpaceLog:
        row = SpaceRow(self._ids.new(), name, os.urandom(32), strict, "empty", None)
        made = self._data.spaces[self._tenant, name] = SpaceLog(row)
        return made

    def _space(self, name: str) -> SpaceLog:
        self._check_open()
        self._ensure_default()
        found = self._data.spaces.get((self._tenant, name))
        if found is None:
            raise unknown_space(name, sorted(own for tenant, own in self._data.spaces if tenant == self._tenant))
        return found

    def _now(self, log: SpaceLog) -> Micros:
        return max(self._clock.now(), *(log.head(ledger) for ledger in LEDGERS))

    def _instants(self, log: SpaceLog, at: AsOf) -> tuple[Micros, Micros]:
        """Return (valid, known) for a read: now is max(clock, head), and no bound on what is known."""
        valid_at = self._now(log) if at.valid_at is None else to_micros(at.valid_at)
        return valid_at, NO_BOUND if at.known_at is None else to_micros(at.known_at)

    async def info(self) -> StoreInfo:
        """Describe the store."""
        self._check_open()
        return StoreInfo("reference", "memory", 1, read_only=False, details={"spaces": len(self._data.spaces)})

    async def spaces(self) -> tuple[Space, ...]:
        """List the tenant's spaces by name."""
        self._check_open()
        self._ensure_default()
        own = sorted((name, log) for (tenant, name), log in self._data.spaces.items() if tenant == self._tenant)
        return tuple(self._show(log) for _, log in own)

    def _show(self, log: SpaceLog) -> Space:
        row = log.row
        seqs: dict[LedgerName, int] = {name: len(entries) for name, entries in log.ledgers.items()}
        return Space(row.id, row.name, row.state, row.filling, row.strict, len(log.nodes), seqs)

    async def create_space(self, name: str, *, strict: bool = False) -> Space:
        """Make a space."""
        self._check_open()
        self._ensure_default()
        check_space_name(name)
        if (self._tenant, name) in self._data.spaces:
            raise ConflictError(f"the space {name!r} exists already", code="space.exists", space=name)
        if len(self._data.spaces) >= SPACES_MAX:
            msg = f"the store has {SPACES_MAX:,} spaces, the most it may"
            raise LimitError(msg, limit="SPACES_MAX", maximum=SPACES_MAX)
        return self._show(self._make_space(name, strict=strict))

    async def finish_fill(self, space: str, origin: str) -> None:
        """End the filling of *space* by the history *origin*."""
        log = self._space(space)
        if log.row.state == "filling" and log.row.filling == origin:
            log.row = replace(log.row, state="live", filling=None)

    async def commit(self, units: Sequence[Unit]) -> tuple[Committed, ...]:
        """Keep each unit whole or not at all."""
        self._check_open()
        answers: list[Committed] = []
        check_alone(units)
        for unit in units:
            try:
                log = self._space(unit.space)
                keep_unit(log, unit, checking=True)
                repeated = (self._tenant, unit.id) in self._data.receipts
                receipt = log.write(unit, self._words, self._clock, self._ids, repeated=repeated)
            except RefusedError as error:
                answers.append(error)
                continue
            if not receipt.replayed:
                keep_unit(log, unit, checking=False)
            if log.taken:
                receipt = replace(receipt, erased=self._forget(log))
                log.amend([receipt])
            self._data.receipts.setdefault((self._tenant, receipt.id), replace(receipt, replayed=False))
            answers.append(receipt)
        return tuple(answers)

    def _forget(self, log: SpaceLog) -> Mapping[str, int]:
        """Take the words of what was erased out of everything beside the log; return the counts of the last."""
        counts: Mapping[str, int] = {}
        forget_vectors(log)
        for taken in log.taken:
            counts = forget(taken, log.row.name, self._tenant, self._data.receipts, self._data.refusals)
        log.taken = []
        log.amend(self._data.receipts.values())
        return counts

    async def now(self, space: str) -> Micros:
        """Return max(clock, head)."""
        return self._now(self._space(space))

    async def nodes(
        self, space: str, *, ids: Sequence[str] = (), keys: Sequence[str] = (), at: AsOf = NOW
    ) -> dict[str, Node]:
        """Return the nodes that exist at `known_at`, by the id or key as asked."""
        log = self._space(space)
        check_count(len(ids) + len(keys))
        _, known_at = self._instants(log, at)
        asked = {one: one for one in ids} | {key: log.by_key.get(normal_key(key), "") for key in keys}
        rows = {name: log.nodes[one] for name, one in asked.items() if one in log.nodes}
        return {name: as_known(log.node(row), at) for name, row in rows.items() if row.recorded_at <= known_at}

    async def near_keys(self, space: str, key: str, limit: int = 5) -> tuple[str, ...]:
        """Return keys of the space that resemble *key*."""
        rows = self._space(space).nodes.values()
        return near([row.key for row in rows if row.key is not None and row.kind in _NEAR], key, limit)

    async def list_nodes(self, space: str, query: NodeQuery, at: AsOf = NOW) -> Page[Node]:
        """List nodes in the order of their first declaration."""
        log = self._space(space)
        check_first(query.first)
        kind = "m" if query.newest else "n"
        (after,) = read_cursor(query.after, kind, 1) or (2**62 if query.newest else 0,)
        valid_at, known_at = self._instants(log, at)
        places = [
            place
            for place, row in enumerate(log.nodes.values(), 1)
            if (place < after if query.newest else place > after)
            and row.recorded_at <= known_at
            and self._wanted(log, row, query, valid_at, known_at)
        ]
        if query.newest:
            places.reverse()
        shown = places[: query.first]
        rows = list(log.nodes.values())
        more = write_cursor(kind, shown[-1]) if len(places) > query.first else None
        return Page(tuple(as_known(log.node(rows[place - 1]), at) for place in shown), more)

    def _wanted(self, log: SpaceLog, row: NodeRow, query: NodeQuery, valid_at: Micros, known_at: Micros) -> bool:
        if (row.kind is not query.kind) if query.kind is not None else (row.kind in HIDDEN):
            return False
        if query.type is not None and row.type != query.type:
            return False
        if query.where is None and query.about is None:
            return True
        facts = [log.fact(entry, known_at) for entry, _ in log.holding([row.id], valid_at, known_at)]
        if query.about is not None and not any(f.predicate == "about" and f.object_id == query.about for f in facts):
            return False
        return all(
            any(fact.predicate == predicate and _matches(fact, texts) for fact in facts)
            for predicate, texts in (query.where or {}).items()
        )

    async def predicates(self, space: str) -> Mapping[str, Predicate]:
        """Return the predicates in use in the space, by name."""
        return dict(self._space(space).predicates)

    async def facts(self, space: str, query: FactQuery, at: AsOf = NOW) -> tuple[Fact, ...]:
        """Return the facts that hold at *at*."""
        log = self._space(space)
        check_count(len(query.subjects if query.subjects is not None else query.objects or ()))
        valid_at, known_at = self._instants(log, at)
        return facts(log, query, self._words, valid_at, known_at)

    async def facts_by_id(self, space: str, ids: Sequence[str], *, known_at: Micros | None = None) -> dict[str, Fact]:
        """Return assertions by id."""
        log = self._space(space)
        check_count(len(ids))
        known = NO_BOUND if known_at is None else known_at
        entries = (log.log[log.places[one]] for one in ids if one in log.places)
        return {entry.event.id: log.fact(entry, known) for entry in entries if entry.recorded_at <= known}

    async def held(self, space: str, points: Sequence[Point]) -> tuple[Fact | None, ...]:
        """Return, for each point, the fact that holds for its key."""
        log = self._space(space)
        check_count(len(points))
        return tuple(self._held(log, point) for point in points)

    def _held(self, log: SpaceLog, point: Point) -> Fact | None:
        if point.fact not in log.places:
            return None
        known_at = NO_BOUND if point.known_at is None else point.known_at
        valid_at = self._now(log) if point.valid_at is None else point.valid_at
        best = log.holder_id(log.key_of(point.fact), valid_at, known_at)
        return None if best is None else log.fact(log.log[log.places[best]], known_at)

    async def timeline(
        self, space: str, subjects: Sequence[str], predicates: Sequence[str] | None = None, *,
        known_at: Micros | None = None, first: int = 100, after: str | None = None,
    ) -> Page[Fact]:  # fmt: skip
        """Return every assertion about *subjects* that was known at *known_at*."""
        log = self._space(space)
        check_first(first)
        check_count(len(subjects))
        place = read_cursor(after, "t", 4)
        known = NO_BOUND if known_at is None else known_at
        claims = [
            claim for one in dict.fromkeys(subjects) for key in log.keys_of.get(one, ()) for claim in log.claims[key]
        ]
        found = sorted(
            (claim.valid_from, claim.recorded_at, claim.ordinal, claim.fact)
            for claim in claims
            if claim.recorded_at <= known
            and (predicates is None or log.predicate(log.log[claim.fact].event) in predicates)
        )
        found = [one for one in found if place is None or one > place]
        shown = found[:first]
        more = write_cursor("t", *shown[-1]) if len(found) > first else None
        return Page(tuple(log.fact(log.log[one[3]], known) for one in shown), more)

    async def changes(
        self, space: str, since: Micros, until: Micros, *, axis: Axis = "known", subjects: Sequence[str] | None = None,
        first: int = 100, after: str | None = None,
    ) -> Page[Change]:  # fmt: skip
        """Return what was asserted, ended and retracted in (since, until]."""
        check_count(len(subjects or ()))
        return changes(self._space(space), since, until, axis, subjects, first, after)

    async def search_text(
        self, space: str, text: str, *, kinds: Sequence[NodeKind] | None = None, at: AsOf = NOW, first: int = 20
    ) -> tuple[Hit, ...]:
        """Return nodes whose names, keys or holding texts have any of the words, most distinct words first."""
        log = self._space(space)
        return search_text(log, text, kinds, *self._instants(log, at), at, first)

    async def feed(self, space: str, ledger: LedgerName, after_seq: int, limit: int = 100) -> tuple[LedgerEntry, ...]:
        """Return the ledger's rows after *after_seq*."""
        entries = self._space(space).ledgers[ledger]
        check_first(limit)
        start = max(0, after_seq)
        return tuple(entries[start : start + limit])

    async def wait(self, space: str, ledger: LedgerName, after_seq: int, seconds_max: float) -> bool:
        """Return True as soon as the ledger has rows after *after_seq*."""

        async def head() -> int:
            return len(self._space(space).ledgers[ledger])

        return await wait_past(head, after_seq, seconds_max, poll_s=_POLL_S)

    async def receipt(self, receipt_id: str) -> Receipt:
        """Return a receipt, of a refused write too."""
        self._check_open()
        found = self._data.receipts.get((self._tenant, receipt_id))
        if found is not None:
            return found
        tenant, refusal, at = self._data.refusals.get(receipt_id, ("", None, 0))
        if refusal is None or tenant != self._tenant:
            raise no_receipt(receipt_id, REFUSALS_MAX)
        return Receipt(
            receipt_id, refusal.space, "failed", "knowledge", 0, from_micros(at), code=refusal.code,
            message=refusal.message,
        )  # fmt: skip

    async def refuse(self, refusal: Refusal) -> None:
        """Keep a refusal; the oldest make room."""
        self._check_open()
        self._data.refusals.setdefault(refusal.id, (self._tenant, refusal, self._clock.now()))
        while len(self._data.refusals) > REFUSALS_MAX:
            del self._data.refusals[next(iter(self._data.refusals))]

    async def scrub(self) -> Scrub:
        """Nothing is left to do: there are no files."""
        self._check_open()
        return Scrub("done", "it is kept in memory alone")

    async def verify(self, space: str, ledger: LedgerName) -> Verdict:
        """Check the chain from its first row to its head."""
        log = self._space(space)
        entries = log.ledgers[ledger]
        verifier = Verifier(log.row.id, ledger)
        for entry in entries:
            payload = written_payload(entry)
            if not verifier.take(entry, None if payload is None else payload.encode()):
                break
        return verifier.verdict(len(entries), entries[-1].hash if entries else GENESIS)

    def _grant(self, space: str, name: str, owner: str, fence: int, ttl_s: float) -> Lease:
        lease = Lease(space, name, owner, fence, self._clock.now() + round(ttl_s * 1_000_000))
        self._space(space).leases[name] = LeaseRow(owner, fence, lease.until)
        return lease

    async def image(self, space: str) -> SpaceImage:
        """Return what *space* is beside its ledgers."""
        return image_of(self._space(space))

    async def ledger_rows(
        self, space: str, ledger: LedgerName, after_seq: int, limit: int = PAGE_MAX
    ) -> tuple[LedgerRow, ...]:
        """Return rows after *after_seq* with the receipts of their units."""
        own = {one: receipt for (tenant, one), receipt in self._data.receipts.items() if tenant == self._tenant}
        return rows_of(self._space(space), ledger, after_seq, check_first(limit), own)

    async def restore(self, image: SpaceImage) -> Space:
        """Make the space of *image*, or return it when it is there already."""
        self._check_open()
        check_space_name(image.name)
        self._ensure_default()
        own = {name: log for (tenant, name), log in self._data.spaces.items() if tenant == self._tenant}
        log = adopted(own, image)
        if log is None:
            row = SpaceRow(image.id, image.name, image.secret, image.strict, image.state, image.filling)
            log = self._data.spaces[self._tenant, image.name] = SpaceLog(row)
        return self._show(log)

    async def replay(self, space: str, rows: Sequence[LedgerRow]) -> int:
        """Append ledger rows verbatim."""
        log = self._space(space)
        count, receipts = replayed(log, rows) if rows else (0, [])
        for receipt in receipts:
            self._data.receipts.setdefault((self._tenant, receipt.id), receipt)
        self._forget(log)
        return count

    async def rebuild(
        self, space: str, *, after: str | None = None, limit: int = STEP_ROWS, repair: bool = True
    ) -> RebuildStep:
        """Hold every view of the space against its ledgers, in one step."""
        place = read_place(after, ("views",))
        check_limit(limit)
        check_sound(space, [await self.verify(space, name) for name in LEDGERS])
        found = rebuild(self._space(space), self._data.receipts, self._tenant, repair=repair)
        return found.step(place.phase, None)

    async def acquire(self, space: str, name: str, owner: str, ttl_s: float) -> Lease | None:
        """Take a lease, or renew one's own; None when another has it."""
        row = self._space(space).leases.get(name, LeaseRow())
        if not row.live(self._clock.now()):
            return self._grant(space, name, owner, row.fence + 1, ttl_s)
        return self._grant(space, name, owner, row.fence, ttl_s) if row.owner == owner else None

    def _check(self, lease: Lease) -> None:
        row = self._space(lease.space).leases.get(lease.name, LeaseRow())
        check_lease(row, lease.name, lease.owner, lease.fence, self._clock.now())

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Prolong a lease."""
        self._check(lease)
        return self._grant(lease.space, lease.name, lease.owner, lease.fence, ttl_s)

    async def release(self, lease: Lease) -> bool:
        """Give a lease back; its fence stays, so that it can only grow."""
        try:
            self._check(lease)
        except ConflictError:
            return False
        # The fence stays, so that it can only grow.
        self._space(lease.space).leases[lease.name] = LeaseRow(fence=lease.fence)
        return True

    async def close(self) -> None:
        """Let go of the store."""
        self._door.closed = True


def _matches(fact: Fact, texts: Sequence[str]) -> bool:
    said = None if fact.value is None else fact.value.text()
    return any(fact.as_written == text[1:] if text.startswith("=") else said == text for text in texts)
