"""The shared store: the port over one Neo4j database."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from latewood.graph_schema.clock import NOW, AsOf, Clock, Micros, SystemClock, from_micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import ConflictError, LimitError, NotFoundError, UnavailableError
from latewood.graph_schema.events import LedgerEntry, Receipt
from latewood.graph_schema.ids import IdSource, RandomIds, is_id, normal_id
from latewood.graph_schema.ledger import GENESIS, Verdict
from latewood.graph_schema.model import LEDGERS, Fact, LedgerName, Node, NodeKind, Predicate
from latewood.graph_schema.packs.loader import Vocabulary, vocabulary
from latewood.storage.crashpoints import reach
from latewood.storage.erasing import check_alone
from latewood.storage.names import check_space_name, unknown_space
from latewood.storage.neo4j import leases, listing, rebuilding, replaying, verifying
from latewood.storage.neo4j.database import Address, Engine, Head, LostReplyError, Query
from latewood.storage.neo4j.erasing import BEYOND
from latewood.storage.neo4j.gathering import Cache, locked_heads, space_row
from latewood.storage.neo4j.handing import Handing
from latewood.storage.neo4j.migrations import SCHEMA_VERSION, drop_words_index, ensure_words_index, prepare
from latewood.storage.neo4j.reading import Reading
from latewood.storage.neo4j.rebuilding import PHASES, Rebuilder
from latewood.storage.neo4j.replaying import Replayer
from latewood.storage.neo4j.searching import MemorySearch
from latewood.storage.neo4j.writing import GroupWriter
from latewood.storage.plans import predicate_of
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
from latewood.storage.rebuilding import STEP_ROWS, RebuildStep, check_limit, check_sound, read_place, write_place
from latewood.storage.receipts import no_receipt, receipt_from_json
from latewood.storage.replaying import LedgerRow, SpaceImage
from latewood.storage.rows import as_known

__all__ = ["REFUSALS_MAX", "SPACES_MAX", "Neo4jStore"]

SPACES_MAX: Final = 500
"""Most spaces of a database: each has a full-text index of its own."""
REFUSALS_MAX: Final = 10_000
_TRIES: Final = 4
_REJOIN_S: Final = 15.0

T = TypeVar("T")


class Neo4jStore(MemorySearch, Handing):
    """A graph store over one Neo4j database, which several processes may share; made by `open`."""

    def __init__(
        self, engine: Engine, cache: Cache, *, tenant: str, clock: Clock, ids: IdSource, words: Vocabulary
    ) -> None:
        """Bind *engine* to a tenant; use `open`."""
        self._engine = engine
        self._cache = cache
        self._tenant = tenant
        self._clock = clock
        self._ids = ids
        self._words = words

    @classmethod
    async def open(
        cls, url: str, *, tenant: str = "local", clock: Clock | None = None, ids: IdSource | None = None,
        words: Vocabulary | None = None,
    ) -> Neo4jStore:  # fmt: skip
        """Open ``neo4j://user:password@host:7687/database``, bringing it to this schema.

        Raises:
            InvalidError: code ``store.url_invalid``.
            UnavailableError: codes ``store.unavailable``, ``store.login``, ``schema.newer``.
        """
        engine = Engine(Address.parse(url))
        store = cls(
            engine, Cache(), tenant=tenant, clock=clock or SystemClock(), ids=ids or RandomIds(),
            words=words or vocabulary(),
        )  # fmt: skip
        try:
            await engine.call(lambda: prepare(engine))
            await store._ensure_default()
        except BaseException:
            await engine.close()
            raise
        return store

    @property
    def tenant(self) -> str:
        """Whose data this handle reaches."""
        return self._tenant

    def for_tenant(self, tenant: str) -> Neo4jStore:
        """Return a handle on another tenant's data over the same database."""
        return Neo4jStore(self._engine, self._cache, tenant=tenant, clock=self._clock, ids=self._ids, words=self._words)

    async def _read(self, space: str, work: Callable[[Reading], T]) -> T:
        def run(query: Query) -> T:
            return work(Reading(query, self._engine, self._tenant, space, self._clock, self._words))

        try:
            return await self._engine.read(run)
        except NotFoundError as error:
            # Every tenant has the space `default`; it is made when it is first looked at.
            if error.code == "space.unknown" and space == "default":
                self._engine.tenants_met.discard(self._tenant)
                await self._ensure_default()
                return await self._engine.read(run)
            raise

    async def info(self) -> StoreInfo:
        """Describe the store."""
        engine = self._engine
        components = await engine.call(
            lambda: engine.once("CALL dbms.components() YIELD name, versions, edition RETURN name, versions, edition")
        )
        name, versions, edition = next(row for row in components if row[0] == "Neo4j Kernel")
        return StoreInfo(
            "neo4j", engine.address.shown, SCHEMA_VERSION, engine.read_only,
            {
                "neo4j": str(versions[0]), "edition": str(edition), "component": str(name), "retries": engine.retries,
                "lost_replies": engine.lost_replies,
            },
        )  # fmt: skip

    async def spaces(self) -> tuple[Space, ...]:
        """List the tenant's spaces by name."""
        await self._ensure_default()
        rows = await self._engine.read(lambda query: query("spaces", tenant=self._tenant))
        found: list[Space] = []
        for row in rows:
            _, space = space_row(row)
            seqs: dict[LedgerName, int] = dict.fromkeys(LEDGERS, 0) | dict(row[8])
            found.append(Space(space.id, space.name, space.state, space.filling, space.strict, row[7], seqs))
        return tuple(found)

    async def _ensure_default(self) -> None:
        """Make the space that every tenant has; asked once a tenant, since a space never goes away."""
        if self._tenant in self._engine.tenants_met:
            return
        if not await self._engine.read(lambda query: query("space", tenant=self._tenant, name="default")):
            with contextlib.suppress(ConflictError):
                await self.create_space("default")
        self._engine.tenants_met.add(self._tenant)

    async def create_space(self, name: str, *, strict: bool = False) -> Space:
        """Make a space."""
        check_space_name(name)
        image = SpaceImage(self._ids.new(), name, os.urandom(32), strict, "empty", None, {})
        return await self._engine.call(lambda: self._make_space(image))

    def _make_space(self, image: SpaceImage) -> Space:
        engine, name = self._engine, image.name
        if self._exists(name):
            raise ConflictError(f"the space {name!r} exists already", code="space.exists", space=name)
        number: int = engine.run(lambda query: query("next_space")[0][0], write=True)
        if number > SPACES_MAX:
            msg = f"the database has had {SPACES_MAX:,} spaces, the most it may"
            raise LimitError(msg, limit="SPACES_MAX", maximum=SPACES_MAX)
        reach("space.numbered")
        # The index comes first: a space without it could not be searched, an index without a space harms nobody.
        ensure_words_index(engine, number)
        reach("space.indexed")
        properties = {
            "space": number, "id": image.id, "tenant": self._tenant, "name": name, "secret": image.secret,
            "strict": image.strict, "state": image.state, "filling": image.filling,
            "created_at": from_micros(self._clock.now()),
        }  # fmt: skip

        def work(query: Query) -> None:
            query("create_space", space=properties, ledgers=list(LEDGERS), genesis=GENESIS, never=-(2**63))
            reach("space.written")

        try:
            engine.run(work, write=True)
        except UnavailableError as error:
            if error.code == "store.busy" and self._exists(name):
                drop_words_index(engine, number)
                raise ConflictError(f"the space {name!r} exists already", code="space.exists", space=name) from error
            raise
        reach("space.made")
        return Space(image.id, name, image.state, image.filling, image.strict, 0, dict.fromkeys(LEDGERS, 0))

    def _exists(self, name: str) -> bool:
        return bool(self._engine.run(lambda query: query("space", tenant=self._tenant, name=name), write=False))

    async def finish_fill(self, space: str, origin: str) -> None:
        """End the filling of *space* by the history *origin*."""
        await self._ensure_default()

        def work(query: Query) -> None:
            rows = locked_heads(query, self._tenant, space)
            if not rows:
                raise unknown_space(space, [row[2] for row in query("spaces", tenant=self._tenant)])
            number, row = space_row(rows[0])
            if row.state == "filling" and row.filling == origin:
                query("set_state", space=number, state="live", filling=None)
                reach("fill.ended")

        await self._engine.write(work)
        reach("fill.committed")

    async def commit(self, units: Sequence[Unit]) -> tuple[Committed, ...]:
        """Keep each unit whole or not at all."""
        check_alone(units)
        if any(unit.space == "default" for unit in units):
            await self._ensure_default()
        reach("group.begin")
        answers = await self._engine.call(lambda: self._commit(units))
        reach("group.committed")
        for space in {unit.space for unit in units}:
            self._engine.lookout.ring(self._tenant, space)
        return answers

    def _commit(self, units: Sequence[Unit]) -> tuple[Committed, ...]:
        """Commit, again when nothing was kept for a passing reason, or to learn what a lost reply said."""
        lost, tries, give_up = False, 0, 0.0
        while True:
            tries += 1
            try:
                return self._write(units, resumed=lost)
            except BaseException as error:
                # What the cache learned in this transaction is undone with it.
                self._cache.clear()
                if isinstance(error, LostReplyError):
                    self._engine.lost_replies += 1
                    lost, give_up = True, give_up or time.monotonic() + _REJOIN_S
                busy = isinstance(error, UnavailableError) and error.code == "store.busy"
                again = time.monotonic() < give_up if lost else busy and tries < _TRIES
                if lost and (not again or not isinstance(error, UnavailableError)):
                    msg = (
                        f"{self._engine.address.shown} was lost while it kept this write: it may or may not have been "
                        "kept. Ask for its receipt, or repeat it with the same idempotency key"
                    )
                    raise UnavailableError(msg, code="store.outcome_unknown", receipts=[u.id for u in units]) from error
                if not again:
                    raise
                self._engine.retries += busy
            time.sleep(min(1.0, 0.05 * 2**tries))

    def _write(self, units: Sequence[Unit], *, resumed: bool) -> tuple[Committed, ...]:
        heads: list[tuple[int, LedgerName, Head]] = []

        def work(query: Query) -> tuple[Committed, ...]:
            writer = GroupWriter(
                query, self._engine, self._cache, self._tenant, self._clock, self._ids, self._words, resumed=resumed
            )
            answers = writer.commit(units)
            heads.extend(writer.heads())
            return answers

        answers = self._engine.run(work, write=True)
        for space, ledger, head in heads:
            self._engine.whole(space, ledger, head)
        return answers

    async def now(self, space: str) -> Micros:
        """Return max(clock, head)."""
        return await self._read(space, lambda one: one.now())

    async def nodes(
        self, space: str, *, ids: Sequence[str] = (), keys: Sequence[str] = (), at: AsOf = NOW
    ) -> dict[str, Node]:
        """Return the nodes that exist at `known_at`, by the id or key as asked."""
        found = await self._read(space, lambda one: one.nodes(ids=ids, keys=keys, known_at=one.instants(at)[1]))
        return {asked: as_known(node, at) for asked, node in found.items()}

    async def near_keys(self, space: str, key: str, limit: int = 5) -> tuple[str, ...]:
        """Return keys of the space that resemble *key*."""
        return await self._read(space, lambda one: listing.near_keys(one, key, limit))

    async def list_nodes(self, space: str, query: NodeQuery, at: AsOf = NOW) -> Page[Node]:
        """List nodes."""
        compose, now = self._engine.composed, at == NOW
        page = await self._read(space, lambda one: listing.list_nodes(one, compose, query, *one.instants(at), now=now))
        return Page(tuple(as_known(node, at) for node in page.items), page.next)

    async def predicates(self, space: str) -> Mapping[str, Predicate]:
        """Return the predicates in use in the space, by name."""
        found: dict[str, Predicate] = {}
        after: str | None = None
        while True:
            page = await self.list_nodes(space, NodeQuery(NodeKind.PREDICATE, first=PAGE_MAX, after=after))
            found.update({one.name: one for one in (predicate_of(node.attributes) for node in page.items)})
            if page.next is None:
                return found
            after = page.next

    async def facts(self, space: str, query: FactQuery, at: AsOf = NOW) -> tuple[Fact, ...]:
        """Return the facts that hold at *at*."""
        return await self._read(space, lambda one: one.facts(query, at))

    async def facts_by_id(self, space: str, ids: Sequence[str], *, known_at: Micros | None = None) -> dict[str, Fact]:
        """Return assertions by id."""
        return await self._read(space, lambda one: one.facts_by_id(ids, known_at))

    async def held(self, space: str, points: Sequence[Point]) -> tuple[Fact | None, ...]:
        """Return, for each point, the fact that holds for its key."""
        return await self._read(space, lambda one: one.held(points))

    async def timeline(
        self, space: str, subjects: Sequence[str], predicates: Sequence[str] | None = None, *,
        known_at: Micros | None = None, first: int = 100, after: str | None = None,
    ) -> Page[Fact]:  # fmt: skip
        """Return every assertion about *subjects* that was known at *known_at*."""
        return await self._read(space, lambda one: listing.timeline(one, subjects, predicates, known_at, first, after))

    async def changes(
        self, space: str, since: Micros, until: Micros, *, axis: Axis = "known", subjects: Sequence[str] | None = None,
        first: int = 100, after: str | None = None,
    ) -> Page[Change]:  # fmt: skip
        """Return what was asserted, ended and retracted in (since, until]."""
        return await self._read(space, lambda one: listing.changes(one, since, until, axis, subjects, first, after))

    async def search_text(
        self, space: str, text: str, *, kinds: Sequence[NodeKind] | None = None, at: AsOf = NOW, first: int = 20
    ) -> tuple[Hit, ...]:
        """Return nodes whose names, keys or holding texts match."""
        hits = await self._read(space, lambda one: listing.search_text(one, text, kinds, *one.instants(at), first))
        return tuple(replace(hit, node=as_known(hit.node, at)) for hit in hits)

    async def feed(self, space: str, ledger: LedgerName, after_seq: int, limit: int = 100) -> tuple[LedgerEntry, ...]:
        """Return the ledger's rows after *after_seq*."""
        return await self._read(space, lambda one: listing.feed(one, ledger, after_seq, limit))

    async def wait(self, space: str, ledger: LedgerName, after_seq: int, seconds_max: float) -> bool:
        """Return True as soon as the ledger has rows after *after_seq*."""
        look = partial(self._read, space, Reading.seqs)
        return await self._engine.lookout.past(self._tenant, space, look, ledger, after_seq, seconds_max)

    async def receipt(self, receipt_id: str) -> Receipt:
        """Return a receipt, of a refused write too."""

        def work(query: Query) -> Receipt | None:
            if not is_id(receipt_id):
                return None
            stored = query("receipt", tenant=self._tenant, id=normal_id(receipt_id))
            if stored:
                return receipt_from_json(stored[0][0])
            for space, code, message, at in query("refusal", tenant=self._tenant, id=normal_id(receipt_id)):
                return Receipt(receipt_id, space, "failed", "knowledge", 0, from_micros(at), code=code, message=message)
            return None

        found = await self._engine.read(work)
        if found is None:
            raise no_receipt(receipt_id, REFUSALS_MAX)
        return found

    async def refuse(self, refusal: Refusal) -> None:
        """Keep a refusal."""
        row = {
            "id": normal_id(refusal.id), "space": refusal.space, "code": refusal.code, "actor": refusal.actor,
            "body": refusal.body, "message": refusal.message, "at": self._clock.now(), "name": refusal.code,
        }  # fmt: skip
        await self._engine.write(lambda query: query("refuse", tenant=self._tenant, refusal=row, most=REFUSALS_MAX))

    async def scrub(self) -> Scrub:
        """Say what of an erasure a server's files still keep; no command reaches into them."""
        return BEYOND

    async def verify(self, space: str, ledger: LedgerName) -> Verdict:
        """Check the chain from its first row to its head."""
        return await verifying.verify(partial(self._read, space), ledger)

    async def image(self, space: str) -> SpaceImage:
        """Return what *space* is beside its ledgers."""
        return await self._read(space, replaying.image)

    async def ledger_rows(
        self, space: str, ledger: LedgerName, after_seq: int, limit: int = PAGE_MAX
    ) -> tuple[LedgerRow, ...]:
        """Return rows after *after_seq* with the receipts of their units."""
        return await self._read(space, lambda one: replaying.ledger_rows(one, ledger, after_seq, limit))

    async def restore(self, image: SpaceImage) -> Space:
        """Make the space of *image*, or return it when it is there already."""
        check_space_name(image.name)
        await self._ensure_default()
        self._cache.clear()
        if not await self._engine.write(lambda query: replaying.adopt(query, self._tenant, image)):
            return await self._engine.call(lambda: self._make_space(image))
        return next(space for space in await self.spaces() if space.name == image.name)

    async def replay(self, space: str, rows: Sequence[LedgerRow]) -> int:
        """Append ledger rows verbatim, and build every view."""
        if not rows:
            return 0

        heads: list[tuple[int, LedgerName, Head]] = []

        def work(query: Query) -> int:
            # Whatever an attempt before this one learned is undone with it.
            self._cache.clear()
            heads.clear()
            writer = Replayer(query, self._engine, self._cache, self._tenant, self._clock, self._ids, self._words)
            count = writer.replay(space, rows)
            heads.extend(writer.heads())
            return count

        try:
            count = await self._engine.write(work)
        finally:
            self._cache.clear()
        for number, ledger, head in heads:
            self._engine.whole(number, ledger, head)
        reach("replay.committed")
        return count

    async def rebuild(
        self, space: str, *, after: str | None = None, limit: int = STEP_ROWS, repair: bool = True
    ) -> RebuildStep:
        """Hold some of the space's views against its ledgers, and with *repair* put right what differs."""
        place = read_place(after, PHASES)
        check_limit(limit)
        if after is None:
            check_sound(space, [await self.verify(space, name) for name in LEDGERS])
        looked, following = await self._read(space, lambda one: rebuilding.look(one, place, limit))
        if not looked.count:
            return looked.step(place.phase, write_place(following))

        def mend(query: Query) -> Rebuilder:
            number, row = space_row(locked_heads(query, self._tenant, space)[0])
            return Rebuilder(query, number, row, repair=repair).mend(place, limit, looked.suspects)

        mended = await self._engine.write(mend)
        # A kind of stray that met the limit may have more.
        following = place if repair and mended.more else following
        return mended.found.step(place.phase, write_place(following), looked)

    async def acquire(self, space: str, name: str, owner: str, ttl_s: float) -> Lease | None:
        """Take a lease, or renew one's own; None when another has it."""
        await self._ensure_default()
        return await self._engine.write(
            lambda query: leases.acquire(
                query, self._number(query, space), space, name, owner, self._clock.now(), ttl_s
            )
        )

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Prolong a lease."""
        await self._ensure_default()
        return await self._engine.write(
            lambda query: leases.renew(query, self._number(query, lease.space), lease, self._clock.now(), ttl_s)
        )

    async def release(self, lease: Lease) -> bool:
        """Give a lease back."""
        await self._ensure_default()
        return await self._engine.write(
            lambda query: leases.release(query, self._number(query, lease.space), lease, self._clock.now())
        )

    def _number(self, query: Query, space: str) -> int:
        return Reading(query, self._engine, self._tenant, space, self._clock, self._words).n

    async def close(self) -> None:
        """Finish what runs and let go of the database."""
        await self._engine.close()
