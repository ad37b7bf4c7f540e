"""The embedded store: the port over one SQLite file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar, cast

import apsw

from latewood.graph_schema.clock import NOW, AsOf, Clock, Micros, SystemClock, from_micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import ConflictError, LimitError, NotFoundError
from latewood.graph_schema.events import EventKind, LedgerEntry, Receipt
from latewood.graph_schema.ids import IdSource, RandomIds, id_bytes, is_id
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import LEDGERS, Fact, LedgerName, Node, NodeKind, Predicate
from latewood.graph_schema.packs.loader import Vocabulary, vocabulary
from latewood.storage.crashpoints import reach
from latewood.storage.erasing import check_alone, erases
from latewood.storage.heads import wait_past
from latewood.storage.names import check_space_name, forget_names
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
from latewood.storage.rows import SpaceRow, as_known
from latewood.storage.sqlite import erasing, leases, ledgers, listing, rebuilding, replaying
from latewood.storage.sqlite.database import Database, number
from latewood.storage.sqlite.engine import Engine
from latewood.storage.sqlite.handing import Handing
from latewood.storage.sqlite.migrations import SCHEMA_VERSION
from latewood.storage.sqlite.reading import NO_BOUND, Reading
from latewood.storage.sqlite.rebuilding import PHASES, Rebuilder
from latewood.storage.sqlite.records import LEDGER_NUMBER, attributes_of, find_space, space_row
from latewood.storage.sqlite.replaying import Replayer
from latewood.storage.sqlite.searching import MemorySearch
from latewood.storage.sqlite.writing import GroupWriter

__all__ = ["SqliteStore"]

SPACES_MAX: Final = 1_000
REFUSALS_MAX: Final = 10_000
_POLL_S: Final = 0.1

T = TypeVar("T")


def _forget() -> None:
    """Drop what this process holds of erased words for speed alone."""
    attributes_of.cache_clear()
    forget_names()


class SqliteStore(MemorySearch, Handing):
    """A graph store in one file. Make it with `open`."""

    def __init__(self, engine: Engine, *, tenant: str, clock: Clock, ids: IdSource, words: Vocabulary) -> None:
        """Bind *engine* to a tenant; use `open`."""
        self._engine = engine
        self._tenant = tenant
        self._clock = clock
        self._ids = ids
        self._words = words

    @classmethod
    async def open(
        cls, path: Path | str, *, tenant: str = "local", clock: Clock | None = None, ids: IdSource | None = None,
        words: Vocabulary | None = None, sync: Literal["full", "normal"] = "full",
    ) -> SqliteStore:  # fmt: skip
        """Open or create the file, with the space `default`.

        Raises:
            InvalidError: code ``file.not_a_store``.
            UnavailableError: codes ``schema.newer``, ``schema.older``, ``file.unreadable``.
        """
        engine = Engine(Path(path), sync=sync, prepare=listing.register_functions)
        await engine.start()
        store = cls(
            engine, tenant=tenant, clock=clock or SystemClock(), ids=ids or RandomIds(), words=words or vocabulary()
        )
        try:
            await store._ensure_default()
        except BaseException:
            await engine.close()
            raise
        return store

    @property
    def tenant(self) -> str:
        """Whose data this handle reaches."""
        return self._tenant

    def for_tenant(self, tenant: str) -> SqliteStore:
        """Return a handle on another tenant's data over the same file."""
        return SqliteStore(self._engine, tenant=tenant, clock=self._clock, ids=self._ids, words=self._words)

    def _reading(self, connection: Database, space: str) -> Reading:
        return Reading(connection, self._engine.sql, self._tenant, space, self._clock, self._words)

    async def _read(self, space: str, work: Callable[[Reading], T]) -> T:
        engine = self._engine

        def run(connection: Database) -> T:
            return work(self._reading(connection, space))

        try:
            return await engine.read(run)
        except NotFoundError as error:
            # Every tenant has the space `default`; it is made when it is first looked at.
            if error.code == "space.unknown" and space == "default" and not engine.read_only:
                await self._ensure_default()
                return await engine.read(run)
            raise

    async def info(self) -> StoreInfo:
        """Describe the store."""
        engine = self._engine

        def work(connection: Database) -> StoreInfo:
            size = sum(
                part.stat().st_size
                for part in (engine.path, engine.path.with_name(engine.path.name + "-wal"))
                if part.exists()
            )
            return StoreInfo(
                "sqlite", str(engine.path), SCHEMA_VERSION, engine.read_only,
                {
                    "sqlite": apsw.sqlite_lib_version(), "bytes": size, "sync": engine.sync,
                    "journal": str(connection.pragma("journal_mode")),
                },
            )  # fmt: skip

        return await engine.read(work)

    async def spaces(self) -> tuple[Space, ...]:
        """List the tenant's spaces by name."""
        if not self._engine.read_only:
            await self._ensure_default()

        def work(connection: Database) -> tuple[Space, ...]:
            rows = connection.execute(self._engine.sql["spaces"], (self._tenant,)).fetchall()
            return tuple(self._space(connection, *space_row(row)) for row in rows)

        return await self._engine.read(work)

    def _space(self, connection: Database, n: int, row: SpaceRow) -> Space:
        nodes = number(connection.execute("select count(*) from node where space = ?", (n,)))
        heads = {
            cast("int", one[0]): cast("int", one[1]) for one in connection.execute(self._engine.sql["heads"], (n,))
        }
        seqs: dict[LedgerName, int] = {name: heads.get(LEDGER_NUMBER[name], 0) for name in LEDGERS}
        return Space(row.id, row.name, row.state, row.filling, row.strict, nodes, seqs)

    async def _ensure_default(self) -> None:
        """Make the space that every tenant has; asked once a tenant, since a space never goes away."""
        engine = self._engine

        def known(connection: Database) -> bool:
            return connection.execute(engine.sql["space"], (self._tenant, "default")).fetchone() is not None

        if engine.read_only or self._tenant in engine.tenants_met:
            return
        if not await engine.read(known):
            with contextlib.suppress(ConflictError):
                await self.create_space("default")
        engine.tenants_met.add(self._tenant)

    async def create_space(self, name: str, *, strict: bool = False) -> Space:
        """Make a space."""
        check_space_name(name)
        return await self._make_space(SpaceImage(self._ids.new(), name, os.urandom(32), strict, "empty", None, {}))

    async def _make_space(self, image: SpaceImage) -> Space:
        name = image.name

        def work(connection: Database) -> Space:
            if connection.execute(self._engine.sql["space"], (self._tenant, name)).fetchone() is not None:
                raise ConflictError(f"the space {name!r} exists already", code="space.exists", space=name)
            if number(connection.execute("select count(*) from space")) >= SPACES_MAX:
                msg = f"the store has {SPACES_MAX:,} spaces, the most it may"
                raise LimitError(msg, limit="SPACES_MAX", maximum=SPACES_MAX)
            connection.execute(
                "insert into space(tenant, name, id, secret, strict, state, filling, created_at) "
                "values(?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._tenant, name, id_bytes(image.id), image.secret, int(image.strict), image.state,
                    image.filling, self._clock.now(),
                ),
            )  # fmt: skip
            n = connection.last_insert_rowid()
            connection.execute(
                f"create virtual table text_{n} using fts5(body, tokenize='porter unicode61 remove_diacritics 2')"
            )
            connection.execute(f"insert into text_{n}(text_{n}, rank) values('secure-delete', 1)")
            reach("space.written")
            return self._space(connection, *find_space(connection, self._engine.sql, self._tenant, name))

        made = await self._engine.write(work)
        reach("space.made")
        return made

    async def finish_fill(self, space: str, origin: str) -> None:
        """End the filling of *space* by the history *origin*."""
        await self._ensure_default()

        def work(connection: Database) -> None:
            n, row = find_space(connection, self._engine.sql, self._tenant, space)
            if row.state == "filling" and row.filling == origin:
                connection.execute("update space set state = 'live', filling = null where n = ?", (n,))
                self._engine.cache.clear()
                reach("fill.ended")

        await self._engine.write(work)
        reach("fill.committed")

    async def commit(self, units: Sequence[Unit]) -> tuple[Committed, ...]:
        """Keep each unit whole or not at all."""
        if any(unit.space == "default" for unit in units):
            await self._ensure_default()

        check_alone(units)
        erasure = any(erases(unit) for unit in units)

        def work(connection: Database) -> tuple[Committed, ...]:
            engine = self._engine
            writer = GroupWriter(
                connection, engine.sql, engine.cache, self._tenant, self._clock, self._ids, self._words
            )
            answers = writer.commit(units)
            if erasure and isinstance(answers[0], Receipt):
                erasing.mark(engine.path)
            return answers

        reach("group.begin")
        answers = await self._engine.write(work)
        reach("group.committed")
        if erasure:
            self._engine.vectors.clear()
            _forget()
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
        page = await self._read(space, lambda one: listing.list_nodes(one, query, *one.instants(at), now=at == NOW))
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
        known = NO_BOUND if known_at is None else known_at
        return await self._read(space, lambda one: one.facts_by_id(ids, known))

    async def held(self, space: str, points: Sequence[Point]) -> tuple[Fact | None, ...]:
        """Return, for each point, the fact that holds for its key."""
        return await self._read(space, lambda one: one.held(points))

    async def timeline(
        self, space: str, subjects: Sequence[str], predicates: Sequence[str] | None = None, *,
        known_at: Micros | None = None, first: int = 100, after: str | None = None,
    ) -> Page[Fact]:  # fmt: skip
        """Return every assertion about *subjects* that was known at *known_at*."""
        known = NO_BOUND if known_at is None else known_at
        return await self._read(space, lambda one: listing.timeline(one, subjects, predicates, known, first, after))

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
        return await self._read(space, lambda one: ledgers.feed(one, ledger, after_seq, limit))

    async def wait(self, space: str, ledger: LedgerName, after_seq: int, seconds_max: float) -> bool:
        """Return True as soon as the ledger has rows after *after_seq*."""
        head = partial(self._read, space, lambda one: ledgers.head_seq(one, ledger))
        return await wait_past(head, after_seq, seconds_max, poll_s=_POLL_S)

    async def receipt(self, receipt_id: str) -> Receipt:
        """Return a receipt, of a refused write too."""

        def work(connection: Database) -> Receipt | None:
            if not is_id(receipt_id):
                return None
            raw = id_bytes(receipt_id)
            stored = connection.execute(self._engine.sql["stored_receipt"], (raw, self._tenant)).fetchone()
            if stored is not None:
                return receipt_from_json(cast("str", stored[0]))
            refused = connection.execute(self._engine.sql["refusal"], (raw, self._tenant)).fetchone()
            if refused is None:
                return None
            space, code, message, at = refused
            return Receipt(
                receipt_id, cast("str", space), "failed", "knowledge", 0, from_micros(cast("int", at)),
                code=cast("str", code), message=cast("str", message),
            )  # fmt: skip

        found = await self._engine.read(work)
        if found is None:
            raise no_receipt(receipt_id, REFUSALS_MAX)
        return found

    async def refuse(self, refusal: Refusal) -> None:
        """Keep a refusal."""

        def work(connection: Database) -> None:
            connection.execute(
                "insert or ignore into refusal(id, tenant, space, code, actor, body, message, at) "
                "values(?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    id_bytes(refusal.id), self._tenant, refusal.space, refusal.code, refusal.actor, refusal.body,
                    refusal.message, self._clock.now(),
                ),
            )  # fmt: skip
            connection.execute(self._engine.sql["evict_refusals"], (self._tenant, REFUSALS_MAX))

        await self._engine.write(work)

    async def scrub(self) -> Scrub:
        """Cut off the log, which has pages as they were before an erasure."""
        return await self._engine.scrub()

    async def verify(self, space: str, ledger: LedgerName) -> Verdict:
        """Check the chain from its first row to its head."""
        return await self._read(space, lambda one: ledgers.verify(one, ledger))

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
        engine = self._engine

        def work(connection: Database) -> bool:
            engine.cache.clear()
            return replaying.adopt(connection, engine.sql, self._tenant, image)

        if not await engine.write(work):
            await self._make_space(image)
        return next(space for space in await self.spaces() if space.name == image.name)

    async def replay(self, space: str, rows: Sequence[LedgerRow]) -> int:
        """Append ledger rows verbatim, and build every view."""
        if not rows:
            return 0

        def work(connection: Database) -> int:
            engine = self._engine
            writer = Replayer(connection, engine.sql, engine.cache, self._tenant, self._clock, self._ids, self._words)
            if erasure:
                erasing.mark(engine.path)
            return writer.replay(space, rows[0].entry.ledger, rows)

        # Rows that came with their words in an earlier import may lose them now.
        erasure = any(row.entry.event.kind is EventKind.ERASED for row in rows)
        count = await self._engine.write(work)
        reach("replay.committed")
        if erasure:
            self._engine.vectors.clear()
            _forget()
            await self._engine.scrub()
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
        last = place.phase == PHASES[-1]
        if not (repair and looked.count) and (not last or self._engine.read_only):
            return looked.step(place.phase, write_place(following))

        def mend(connection: Database) -> Rebuilder:
            # What the writer remembers may have been read from rows that are put right now.
            self._engine.cache.clear()
            self._engine.vectors.clear()
            one = Rebuilder(connection, *find_space(connection, self._engine.sql, self._tenant, space), repair=repair)
            return one.mend(place, limit, looked.suspects)

        mended = await self._engine.write(mend)
        # A kind of stray that met the limit may have more.
        following = place if repair and mended.more else following
        return mended.found.step(place.phase, write_place(following), looked)

    async def acquire(self, space: str, name: str, owner: str, ttl_s: float) -> Lease | None:
        """Take a lease, or renew one's own; None when another has it."""
        await self._ensure_default()
        return await self._engine.write(
            lambda connection: leases.acquire(connection, self._number(connection, space), space, name, owner,
                                              self._clock.now(), ttl_s)
        )  # fmt: skip

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Prolong a lease."""
        await self._ensure_default()
        return await self._engine.write(
            lambda connection: leases.renew(connection, self._number(connection, lease.space), lease,
                                            self._clock.now(), ttl_s)
        )  # fmt: skip

    async def release(self, lease: Lease) -> bool:
        """Give a lease back."""
        await self._ensure_default()
        return await self._engine.write(
            lambda connection: leases.release(
                connection, self._number(connection, lease.space), lease, self._clock.now()
            )
        )

    def _number(self, connection: Database, space: str) -> int:
        return find_space(connection, self._engine.sql, self._tenant, space)[0]

    async def close(self) -> None:
        """Finish what runs and let go of the file."""
        await self._engine.close()
