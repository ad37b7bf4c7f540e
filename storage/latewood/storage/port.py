"""The port: everything a backend must do. Adapters pass `latewood.storage.conformance` unchanged.

A store is opened for one tenant (`for_tenant`), so that no query can forget the filter. A read or a commit names
exactly one space. Times are microseconds (`Micros`) in queries and aware datetimes in what is returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, Protocol, TypeAlias, TypeVar

from latewood.graph_schema.clock import NOW, AsOf, Micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.events import EventKind, LedgerEntry, Receipt
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import Fact, LedgerName, Node, NodeKind, Predicate
from latewood.graph_schema.values import Json
from latewood.storage.rebuilding import STEP_ROWS, RebuildStep
from latewood.storage.replaying import LedgerRow, SpaceImage
from latewood.storage.searching import EVERYTHING, Generation, Match, Matches, Scope

__all__ = [
    "EVERYTHING",
    "FACTS_MAX",
    "IDS_MAX",
    "PAGE_MAX",
    "Axis",
    "Change",
    "Committed",
    "FactQuery",
    "Generation",
    "GraphStore",
    "Hit",
    "Lease",
    "Match",
    "Matches",
    "NodeQuery",
    "Page",
    "Point",
    "Refusal",
    "Scope",
    "Scrub",
    "Space",
    "StoreInfo",
]

PAGE_MAX: Final = 1_000
"""Most rows of a page."""
IDS_MAX: Final = 10_000
"""Most ids or keys of one read."""
FACTS_MAX: Final = 50_000
"""Most facts that one many-ids read returns; above it `limit.exceeded` asks for fewer ids."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A bounded part of a list; `next` continues it and is None at its end."""

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """A named part of a tenant's data.

    Attributes:
        state: ``empty``, ``filling`` (a history runs in; *filling* says whose) or ``live``.
        strict: takes only predicates of packs.
    """

    id: str
    name: str
    state: str
    filling: str | None
    strict: bool
    nodes: int
    seq: Mapping[LedgerName, int]


@dataclass(frozen=True, slots=True)
class NodeQuery:
    """Which nodes to list, in the order they were recorded, or with *newest* the other way round.

    Attributes:
        where: predicate to the texts of which one must hold (status to accepted, say); a status is matched by its
            `as_written` word too when the text starts with ``=``.
        about: nodes with an `about` edge to this node id.
    """

    kind: NodeKind | None = None
    type: str | None = None
    where: Mapping[str, Sequence[str]] | None = None
    about: str | None = None
    first: int = 50
    after: str | None = None
    newest: bool = False


@dataclass(frozen=True, slots=True)
class FactQuery:
    """Which facts to read: of these *subjects*, or pointing at these *objects* (node or fact ids); exactly one.

    Attributes:
        standing: not those that hold at an instant but every one that was made and not taken back, whatever its period
            and whether another holds in its place; absences of subjects too. They come without conflicts.
    """

    subjects: Sequence[str] | None = None
    objects: Sequence[str] | None = None
    predicates: Sequence[str] | None = None
    standing: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A question for `held`: what holds for the key of *fact* at an instant. None: now, or the head."""

    fact: str
    valid_at: Micros | None = None
    known_at: Micros | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a diff: *fact* is what was asserted, or, of a retraction, what was taken back.

    `replaced_by` is the fact that took its place when the retraction was half of a correction.
    """

    seq: int
    kind: EventKind
    fact: Fact
    recorded_at: Micros
    reason: str | None = None
    replaced_by: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A node found by its words: by those of *fact*, or by its own name and key when *fact* is None."""

    node: Node
    fact: Fact | None
    score: float


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act under *name* until it runs out; *fence* grows with each change of owner."""

    space: str
    name: str
    owner: str
    fence: int
    until: Micros


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that was not taken, kept best effort in a bounded table."""

    id: str
    space: str
    code: str
    actor: str
    body: bytes
    message: str


@dataclass(frozen=True, slots=True)
class Scrub:
    """Whether erased words are gone from the files under a store too, and if not, what keeps them and until when.

    Attributes:
        state: ``done``; ``pending`` while another process keeps them there: ask again later; ``beyond`` where the
            files are a database server's, which no command reaches into.
    """

    state: Literal["done", "pending", "beyond"]
    detail: str


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store says of itself, for `doctor` and `/health`."""

    engine: str
    location: str
    schema_version: int
    read_only: bool
    details: Mapping[str, Json]


Committed: TypeAlias = "Receipt | LatewoodError"
Axis: TypeAlias = Literal["known", "valid"]


class GraphStore(Protocol):
    """A bitemporal graph store, bound to one tenant.

    Every method may raise UnavailableError (``store.*``), and NotFoundError (``space.unknown``) where it names a space.
    """

    @property
    def tenant(self) -> str:
        """Whose data this handle reaches."""
        ...

    def for_tenant(self, tenant: str) -> GraphStore:
        """Return a handle on another tenant's data over the same engine."""
        ...

    async def info(self) -> StoreInfo:
        """Describe the store."""
        ...

    async def spaces(self) -> tuple[Space, ...]:
        """List the tenant's spaces by name."""
        ...

    async def create_space(self, name: str, *, strict: bool = False) -> Space:
        """Make a space. Raises ConflictError (``space.exists``) or InvalidError (``space.name_invalid``)."""
        ...

    async def finish_fill(self, space: str, origin: str) -> None:
        """End the filling of *space* by the history *origin*: it is live from here on. A no-op when none runs."""
        ...

    async def commit(self, units: Sequence[Unit]) -> tuple[Committed, ...]:
        """Keep each unit whole or not at all, all that can be kept in one transaction; answers in order.

        A refused unit does not fail its neighbours: its place holds the error. What is returned as a receipt is durable
        and visible to every reader. A unit that erases comes alone, and once its receipt is there no read, of the past
        neither, returns the words; `Receipt.erased` counts where they stood. Raises UnavailableError when nothing could
        be kept, InvalidError for an erasure among others.
        """
        ...

    async def now(self, space: str) -> Micros:
        """Return what a read that names no `valid_at` takes for it: max(clock, heads)."""
        ...

    async def nodes(
        self, space: str, *, ids: Sequence[str] = (), keys: Sequence[str] = (), at: AsOf = NOW
    ) -> dict[str, Node]:
        """Return the nodes that exist at `known_at`, by the id or key as asked. Missing ones are left out."""
        ...

    async def near_keys(self, space: str, key: str, limit: int = 5) -> tuple[str, ...]:
        """Return keys of the space that resemble *key*, for a suggestion; a key's repeats (``adr:12~a``) come first."""
        ...

    async def list_nodes(self, space: str, query: NodeQuery, at: AsOf = NOW) -> Page[Node]:
        """List nodes. Raises InvalidError (``cursor.invalid``)."""
        ...

    async def predicates(self, space: str) -> Mapping[str, Predicate]:
        """Return the predicates in use in the space, by name."""
        ...

    async def facts(self, space: str, query: FactQuery, at: AsOf = NOW) -> tuple[Fact, ...]:
        """Return the facts that hold at *at*, with their conflicts, by subject, predicate, start, recording and
        ordinal.

        Raises LimitError above `IDS_MAX` ids or `FACTS_MAX` facts.
        """
        ...

    async def facts_by_id(self, space: str, ids: Sequence[str], *, known_at: Micros | None = None) -> dict[str, Fact]:
        """Return assertions (values, objects and absences), retracted ones too, as known at *known_at*."""
        ...

    async def held(self, space: str, points: Sequence[Point]) -> tuple[Fact | None, ...]:
        """Return, for each point, the fact that holds for its key; an absence counts as the fact that holds."""
        ...

    async def timeline(
        self, space: str, subjects: Sequence[str], predicates: Sequence[str] | None = None, *,
        known_at: Micros | None = None, first: int = 100, after: str | None = None,
    ) -> Page[Fact]:  # fmt: skip
        """Return every assertion about *subjects* that was known at *known_at*, retracted ones marked, by asserted
        start, recording and ordinal.
        """
        ...

    async def changes(
        self, space: str, since: Micros, until: Micros, *, axis: Axis = "known", subjects: Sequence[str] | None = None,
        first: int = 100, after: str | None = None,
    ) -> Page[Change]:  # fmt: skip
        """Return what was asserted, ended and retracted in (since, until].

        On the axis ``known`` by recorded time; on ``valid`` the assertions not retracted by now whose start lies there.
        """
        ...

    async def search_text(
        self, space: str, text: str, *, kinds: Sequence[NodeKind] | None = None, at: AsOf = NOW, first: int = 20
    ) -> tuple[Hit, ...]:
        """Return nodes whose names, keys or holding texts match, best first, one hit a node. Never raises on syntax."""
        ...

    async def match_text(
        self, space: str, text: str, *, scope: Scope = EVERYTHING, at: AsOf = NOW, first: int = 100
    ) -> Matches:
        """Return memories (facts that carry text) with any of the words, best first. Never raises on syntax.

        The scope's filters hold before ranking: what lies outside of it takes nobody's place. Raises LimitError.
        """
        ...

    async def match_vector(
        self, space: str, vector: bytes, generation: str, *, scope: Scope = EVERYTHING, at: AsOf = NOW, first: int = 100
    ) -> Matches:
        """Return the memories whose vectors of *generation* are nearest, best first; the score is the cosine.

        Raises NotFoundError (``generation.unknown``), InvalidError (``vector.invalid``), LimitError.
        """
        ...

    async def around(
        self, space: str, facts: Sequence[str], *, each_side: int, at: AsOf = NOW
    ) -> Mapping[str, tuple[Match, ...]]:
        """Return the neighbours in time of memories: what holds of the same subject and predicate, by `valid_from`.

        Those before come first, then those after, each side nearest first with the score 1/1, 1/2, ... What is no
        memory of the space has no entry; at most `AROUND_LOOKED_AT_MAX` are looked at on each side. Raises LimitError.
        """
        ...

    async def generations(self, space: str) -> tuple[Generation, ...]:
        """Return the space's generations of vectors, in the order in which they were begun."""
        ...

    async def begin_generation(self, space: str, name: str, *, model: str, dimensions: int) -> Generation:
        """Make a generation, or return it when it is there already. The first of a space is current at once.

        Raises ConflictError (``generation.exists``) when the name stands for another model or length, LimitError,
        InvalidError.
        """
        ...

    async def switch_generation(self, space: str, name: str) -> Generation:
        """Make a generation the one that new facts are written with; the one before becomes old.

        Raises NotFoundError (``generation.unknown``).
        """
        ...

    async def drop_generation(self, space: str, name: str) -> None:
        """Throw a generation and its vectors away.

        Raises NotFoundError (``generation.unknown``), ConflictError (``generation.current``).
        """
        ...

    async def unembedded(
        self, space: str, generation: str, *, after: str | None = None, limit: int = PAGE_MAX
    ) -> Page[tuple[str, str]]:
        """Return memories that have no vector in *generation* yet, with their text, in the order of recording.

        Those that no longer hold are among them: a read of the past finds them. Raises as `match_vector` does, and
        InvalidError (``cursor.invalid``).
        """
        ...

    async def keep_vectors(self, space: str, generation: str, vectors: Mapping[str, bytes]) -> int:
        """Keep vectors of memories, all or none; return how many had none before. At most `VECTORS_MAX`.

        A memory that has its vector keeps it, and what is no memory, or not any more, is passed over. Raises as
        `match_vector` does.
        """
        ...

    async def feed(self, space: str, ledger: LedgerName, after_seq: int, limit: int = 100) -> tuple[LedgerEntry, ...]:
        """Return the ledger's rows after *after_seq*, in order."""
        ...

    async def wait(self, space: str, ledger: LedgerName, after_seq: int, seconds_max: float) -> bool:
        """Return True as soon as the ledger has rows after *after_seq*, False when *seconds_max* have passed."""
        ...

    async def receipt(self, receipt_id: str) -> Receipt:
        """Return a receipt of any space of the tenant, of a refused write too. Raises NotFoundError."""
        ...

    async def refuse(self, refusal: Refusal) -> None:
        """Keep a refusal, best effort."""
        ...

    async def scrub(self) -> Scrub:
        """Rid the store's files of what was erased: logs, free pages. Safe to call at any time, and again."""
        ...

    async def verify(self, space: str, ledger: LedgerName) -> Verdict:
        """Check the chain from its first row to its head."""
        ...

    async def image(self, space: str) -> SpaceImage:
        """Return what *space* is beside its ledgers: what an export begins with."""
        ...

    async def ledger_rows(
        self, space: str, ledger: LedgerName, after_seq: int, limit: int = PAGE_MAX
    ) -> tuple[LedgerRow, ...]:
        """Return rows after *after_seq* with the receipts of their units, at most *limit*."""
        ...

    async def restore(self, image: SpaceImage) -> Space:
        """Make the space of *image*, with its id and secret and no rows, or return it when it is there already.

        Raises ConflictError: ``space.exists`` when another space has the name, or the id under another name.
        """
        ...

    async def replay(self, space: str, rows: Sequence[LedgerRow]) -> int:
        """Append ledger rows of one ledger verbatim, and build every view as the first write did; return how many.

        Rows that the space has already are passed over. Only whole units; at most `PAGE_MAX` rows but for the last
        unit. Raises InvalidError (``import.malformed``) with the first row that does not fit, CorruptError
        (``ledger.corrupt``) when the space has another history.
        """
        ...

    async def rebuild(
        self, space: str, *, after: str | None = None, limit: int = STEP_ROWS, repair: bool = True
    ) -> RebuildStep:
        """Hold some of the space's views against its ledgers, from the cursor *after* on; `RebuildStep.next` goes on.

        Each step looks at about *limit* ledger rows while others go on writing. With *repair* what differs is put right
        in one transaction, under the writers' lock, with the stamps of the first write; without, nothing is written.

        Raises CorruptError (``ledger.corrupt``) with the first bad row when a ledger does not verify, before the first
        step touches anything; InvalidError (``cursor.invalid``).
        """
        ...

    async def acquire(self, space: str, name: str, owner: str, ttl_s: float) -> Lease | None:
        """Take the lease when it is free, run out or already *owner*'s (which renews it); None when another has it."""
        ...

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Prolong a lease. Raises ConflictError (``lease.lost``) once it ran out or went to another owner."""
        ...

    async def release(self, lease: Lease) -> bool:
        """Give a lease back; False when it was lost already."""
        ...

    async def close(self) -> None:
        """Finish what runs and let go of the store; further calls raise UnavailableError (``store.closed``)."""
        ...
