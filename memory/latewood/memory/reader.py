"""The verbs that read: each as of the two clocks, current by default."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from latewood.graph_schema.clock import NOW, AsOf, from_micros, iso, to_micros
from latewood.graph_schema.decisions import ABOUT, STATUS
from latewood.graph_schema.errors import ConflictError, InvalidError, NotFoundError
from latewood.graph_schema.events import LedgerEntry, Receipt
from latewood.graph_schema.given import checked
from latewood.graph_schema.ids import is_id, normal_id
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import Decision, DecisionStatus, Fact, LedgerName, Node, NodeKind, Trust
from latewood.graph_schema.patterns import PatternKind, PatternStatus
from latewood.graph_schema.values import normal_key
from latewood.memory.rebuilding import RebuildReport, rebuild
from latewood.memory.spans import spanned
from latewood.reasoning.brief import Brief, brief
from latewood.reasoning.changes import Axis, Difference, difference
from latewood.reasoning.conflicts import Disputed, conflicts
from latewood.reasoning.decisions import decisions_by_id
from latewood.reasoning.identity import absorbed_by, merged_away, standing
from latewood.reasoning.missing import MissingDecision, missing_decisions
from latewood.reasoning.precedents import Precedent, precedents
from latewood.reasoning.recall import LIMIT_DEFAULT, Embed, Question, recall
from latewood.reasoning.recalled import Recall
from latewood.reasoning.stale import Stale, stale_decisions
from latewood.reasoning.why import Why, why_decision
from latewood.storage.names import session_key
from latewood.storage.port import FactQuery, GraphStore, Hit, NodeQuery, Page, Scope, Space, StoreInfo

if TYPE_CHECKING:
    from latewood.memory.patterns import Pattern

__all__ = ["Entity", "Identified", "Reader", "Written", "micros_or_none", "said"]

_WATCH_WAIT_S: Final = 5.0
_ABOUT_MATCHES_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Written:
    """What a verb wrote: the *id* of the new decision or fact, and the receipt."""

    id: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Entity:
    """A node and the facts that hold of it, as of the two clocks it was read at."""

    node: Node
    facts: tuple[Fact, ...]


class HasId(Protocol):
    """A node, a fact, a decision, what a verb wrote: whatever is told by its id."""

    @property
    def id(self) -> str:
        """A UUID."""
        raise NotImplementedError


Identified: TypeAlias = str | HasId
"""Whatever names a thing: an id, a key such as ``carrier:A``, or what a verb returned."""


def said(thing: Identified) -> str:
    """Return the id or key that *thing* goes by."""
    return normal_id(thing) if isinstance(thing, str) else thing.id


@checked
class Reader:
    """Reads one space of a tenant."""

    def __init__(self, store: GraphStore, space: str, embed: Embed | None = None) -> None:
        """Read *space* through *store*; with *embed*, recall finds by meaning too."""
        self._store = store
        self._space = space
        self._embed = embed

    @property
    def space(self) -> str:
        """The space that this handle reads and writes."""
        return self._space

    @property
    def store(self) -> GraphStore:
        """The store behind the door, for `doctor` and tests."""
        return self._store

    @property
    def embed(self) -> Embed | None:
        """What makes the vector of a text, where there is an embedder."""
        return self._embed

    async def now(self) -> datetime:
        """Return the instant that a read without `valid_at` takes for now: the clock, or the head if that is later."""
        return from_micros(await self._store.now(self._space))

    async def node(self, thing: Identified, at: AsOf = NOW) -> Node:
        """Return the node with this id or key; where it was merged into another, as known then, that one.

        Raises:
            NotFoundError: with near keys as suggestions.
            ConflictError: code ``key.ambiguous`` when the key is that of several, with their full keys.
        """
        found = await self.node_itself(thing, at)
        return (await standing(self._store, self._space, [found], at))[found.id]

    async def node_itself(self, thing: Identified, at: AsOf = NOW) -> Node:
        """Return the very node with this id or key, though it may be merged into another. Raises as `node` does."""
        name = said(thing)
        found = await self._store.nodes(
            self._space, ids=[name] if is_id(name) else (), keys=() if is_id(name) else [name], at=at
        )
        if name in found:
            return found[name]
        if at.known_at is not None and await self._exists(name):
            msg = f"{name!r} was not known yet at {iso(at.known_at)}; ask with a later known_at, or without one"
            raise NotFoundError(msg, key=name)
        near = () if is_id(name) else await self._store.near_keys(self._space, name)
        repeats = [key for key in near if normal_key(key).startswith(normal_key(name) + "~")]
        if repeats:
            msg = f"the key {name!r} is that of several records: {', '.join(repeats)}; name one of them"
            raise ConflictError(msg, code="key.ambiguous", key=name, keys=repeats)
        hint = f"; near: {', '.join(near)}" if near else "; things go by id or key: `find` looks for words"
        raise NotFoundError(f"nothing in space {self._space!r} is {name!r}{hint}", key=name, suggestions=list(near))

    async def _exists(self, name: str) -> bool:
        """Tell whether a node of this id or key is there now."""
        ids, keys = ([name], []) if is_id(name) else ([], [name])
        return bool(await self._store.nodes(self._space, ids=ids, keys=keys))

    async def decision_id(self, thing: Identified) -> str:
        """Return the id of the decision that *thing* names. Raises as `node` does, and for what is no decision."""
        node = await self.node(thing)
        if node.kind is not NodeKind.DECISION:
            raise NotFoundError(f"{said(thing)!r} is of kind {node.kind.value}, not a decision", id=node.id)
        return node.id

    async def matching(self, about: str, at: AsOf = NOW) -> tuple[Node, ...]:
        """Return what *about* means: the node of that id or key, else the nodes that its words find, best first."""
        try:
            return (await self.node(about, at),)
        except NotFoundError:
            if is_id(about):
                raise
        hits = await self._store.search_text(self._space, about, at=at, first=_ABOUT_MATCHES_MAX)
        found = await standing(self._store, self._space, [hit.node for hit in hits], at)
        return tuple({node.id: node for node in found.values()}.values())

    async def decision(self, thing: Identified, at: AsOf = NOW) -> Decision:
        """Return a decision by id or key as of *at*. Raises as `node` does."""
        node = await self.node(thing, at)
        found = await decisions_by_id(self._store, self._space, [node.id], at)
        if node.erased:
            msg = f"the decision {node.id} was erased; `timeline` shows what is left of it"
            raise NotFoundError(msg, code="content.erased", id=node.id)
        if node.id not in found:
            way = "" if node.kind is NodeKind.DECISION else "; ask about it: why, or decisions, with `about`"
            raise NotFoundError(f"{said(thing)!r} is no decision that was known then{way}", id=node.id)
        return found[node.id]

    async def decisions_by_id(self, ids: Sequence[str], at: AsOf = NOW) -> dict[str, Decision]:
        """Return many decisions in a fixed number of reads; what is none is left out."""
        return await decisions_by_id(self._store, self._space, ids, at)

    async def decisions(
        self, *, status: Sequence[DecisionStatus] = (), source_status: Sequence[str] = (),
        about: Identified | None = None, first: int = 50, after: str | None = None, newest: bool = False,
        at: AsOf = NOW,
    ) -> Page[Decision]:  # fmt: skip
        """List decisions by status and by what they are about, as they were recorded or the *newest* first."""
        wanted = [*(one.value for one in status), *("=" + word for word in source_status)]
        query = NodeQuery(
            NodeKind.DECISION, where={STATUS: wanted} if wanted else None,
            about=(await self.node(about, at)).id if about is not None else None, first=first, after=after,
            newest=newest,
        )  # fmt: skip
        page = await self._store.list_nodes(self._space, query, at)
        found = await decisions_by_id(self._store, self._space, [node.id for node in page.items], at)
        return Page(tuple(found[node.id] for node in page.items if node.id in found), page.next)

    async def entity(self, thing: Identified, predicates: Sequence[str] | None = None, at: AsOf = NOW) -> Entity:
        """Return a node with the facts that hold of it. Raises as `node` does."""
        node = await self.node(thing, at)
        facts = await self._store.facts(self._space, FactQuery(subjects=[node.id], predicates=predicates), at)
        return Entity(node, facts)

    async def fact(self, fact_id: str, *, known_at: datetime | None = None) -> Fact:
        """Return one assertion by id, retracted or not. Raises NotFoundError."""
        fact_id = normal_id(fact_id)
        found = await self._store.facts_by_id(self._space, [fact_id], known_at=micros_or_none(known_at))
        if fact_id not in found:
            msg = f"nothing in space {self._space!r} has the fact id {fact_id!r}; `timeline` lists them"
            raise NotFoundError(msg, id=fact_id)
        return found[fact_id]

    async def nodes_by_id(self, ids: Sequence[str], at: AsOf = NOW) -> dict[str, Node]:
        """Return many nodes in one read; what is none, or was not known then, is left out."""
        return await self._store.nodes(self._space, ids=ids, at=at)

    async def facts_by_id(self, ids: Sequence[str], *, known_at: datetime | None = None) -> dict[str, Fact]:
        """Return many assertions in one read, retracted or not; what is none is left out."""
        return await self._store.facts_by_id(self._space, ids, known_at=micros_or_none(known_at))

    async def facts_of(
        self, ids: Sequence[str], predicates: Sequence[str] | None = None, at: AsOf = NOW
    ) -> tuple[Fact, ...]:
        """Return the facts that hold of many nodes, in one read."""
        return await self._store.facts(self._space, FactQuery(subjects=ids, predicates=predicates), at)

    async def timeline_of(
        self, ids: Sequence[str], predicates: Sequence[str] | None = None, *, known_at: datetime | None = None,
        first: int = 100, after: str | None = None,
    ) -> Page[Fact]:  # fmt: skip
        """Return the timelines of many nodes, by id, as one page in valid order."""
        return await self._store.timeline(
            self._space, ids, predicates, known_at=micros_or_none(known_at), first=first, after=after
        )

    async def why(self, thing: Identified, at: AsOf = NOW) -> Why:
        """Return the whole chain behind a decision: trigger, evidence as known then, rationale, alternatives, who,
        session, what followed. Raises as `decision` does.
        """
        return await why_decision(self._store, self._space, await self.decision(thing, at), at)

    async def why_about(self, about: str, at: AsOf = NOW, *, first: int = 5) -> tuple[Why, ...]:
        """Return the chains behind the decisions about an entity (by id or key) or found by words: those in force
        first, then the latest.
        """
        found = await self._decisions_about(about, at)
        ranked = sorted(found, key=lambda one: (bool(one.superseded_by), -to_micros(one.decided_at)))
        return tuple([await why_decision(self._store, self._space, one, at) for one in ranked[:first]])

    @spanned("search_memory")
    async def recall(
        self, query: str, *, limit: int = LIMIT_DEFAULT, budget_tokens: int | None = None,
        kinds: Sequence[NodeKind] | None = None, types: Sequence[str] | None = None,
        predicates: Sequence[str] | None = None, about: Sequence[Identified] = (), session: str | None = None,
        actor: Identified | None = None, trust_min: Trust | None = None, since: datetime | None = None,
        until: datetime | None = None, past: bool = False, at: AsOf = NOW,
    ) -> Recall:  # fmt: skip
        """Return the memories that answer *query*, the best first, each with why it was found.

        Found are facts that carry text: what was said, notes, the words of decisions. Times that the question names
        ("in May", "last week", as of `valid_at`) are preferred; filters leave out everything else before ranking.

        Args:
            budget_tokens: what the answer's text may cost a model; what found no room is counted.
            kinds, types: of what the memories are about.
            about: entities, decisions or sessions, by id or key: theirs and those of what points at them.
            session, actor: in which session, or by whom, it was written down.
            since, until: when it became true, *until* not included.
            past: decisions that are superseded, reversed or deprecated, too.

        Raises:
            NotFoundError: for an unknown node, with near keys as suggestions.
            InvalidError: code ``query.invalid``.
        """
        scope = Scope(
            kinds=kinds, types=types, predicates=predicates,
            about=[(await self.node(one, at)).id for one in about] or None,
            sessions=None if session is None else [(await self.node(_session_name(session), at)).id],
            actors=None if actor is None else [(await self.node(actor, at)).id],
            trust_min=trust_min, since=micros_or_none(since), until=micros_or_none(until),
        )  # fmt: skip
        question = Question(query, scope, limit, budget_tokens, past)
        return await recall(self._store, self._space, question, at, self._embed)

    @spanned("search_memory")
    async def precedents(self, text: str, *, first: int = 5, at: AsOf = NOW) -> tuple[Precedent, ...]:
        """Return the decisions most like the one that *text* describes, those whose outcome is known first.

        Raises:
            InvalidError: code ``query.invalid``.
        """
        return await precedents(self._store, self._space, text, at, self._embed, first=first)

    async def stale(self, *, first: int = 50, after: str | None = None, at: AsOf = NOW) -> Page[Stale]:
        """List the decisions that stand while their evidence was corrected, retracted, ended or superseded since, the
        latest first. A page may hold fewer than *first* while `next` goes on.
        """
        return await stale_decisions(self._store, self._space, first=first, after=after, at=at)

    async def conflicts(self, *, first: int = 50, after: str | None = None, at: AsOf = NOW) -> Page[Disputed]:
        """List the entities of which sources disagree, the latest recorded first. A page may hold fewer than *first*
        while `next` goes on.
        """
        return await conflicts(self._store, self._space, first=first, after=after, at=at)

    async def patterns(
        self, *, status: Sequence[PatternStatus] | None = None, kind: PatternKind | None = None,
        about: Identified | None = None, hidden: bool = False, first: int = 50, after: str | None = None,
        at: AsOf = NOW,
    ) -> Page[Pattern]:  # fmt: skip
        """List what recurs, drifts, shifts, flips back or follows, the latest first: open and fading ones, or *status*.

        `latewood.memory.patterns` has the rest: `detect`, `explain` and `review`.

        Args:
            about: only those about this entity.
            hidden: those too that a person muted or rejected.
        """
        from latewood.memory.patterns import HOLDING, patterns  # which itself builds on what is here

        wanted = HOLDING if status is None else status
        return await patterns(
            self, status=wanted, kind=kind, about=about, hidden=hidden, first=first, after=after, at=at
        )

    async def missing_decisions(
        self, session: str | None = None, *, first: int = 20, after: str | None = None, at: AsOf = NOW
    ) -> Page[MissingDecision]:
        """List turns in which something was decided and no decision was recorded, of one session or of *first*
        sessions, the latest first. A page may hold none while `next` goes on. Raises as `node` does.
        """
        one = None if session is None else await self.node(session, at)
        return await missing_decisions(self._store, self._space, session=one, first=first, after=after, at=at)

    async def brief(
        self, about: str | None = None, *, since: datetime | None = None, budget_tokens: int = 800, at: AsOf = NOW
    ) -> Brief:
        """Return what to know before going on, within *budget_tokens*: first which messages wait for the reader, then
        what is open, disputed and stale, messages that nobody could settle, precedents, what is no longer in force
        since the last visit (*since*; a week ago when left out), and what is in force.

        *about* is an id, a key, or words that find nodes; left out, the whole space. About a person: what waits for
        them.

        Raises:
            InvalidError: code ``query.invalid`` for a budget out of bounds.
        """
        now = await self.now() if at.valid_at is None else at.valid_at
        fixed = AsOf(valid_at=now, known_at=at.known_at)
        nodes = None if about is None else await self.matching(about, fixed)
        return await brief(
            self._store, self._space, fixed, now=now, about=about, nodes=nodes, since=since,
            budget_tokens=budget_tokens, reader=self._reads_as(),
        )  # fmt: skip

    def _reads_as(self) -> str | None:
        """Return the key of who reads, where anybody said."""
        return None

    async def _decisions_about(self, about: str, at: AsOf) -> list[Decision]:
        nodes = await self.matching(about, at)
        ids = [node.id for node in nodes if node.kind is NodeKind.DECISION]
        entities = [node.id for node in nodes if node.kind is not NodeKind.DECISION]
        if entities:
            facts = await self._store.facts(self._space, FactQuery(objects=entities, predicates=[ABOUT]), at)
            ids += [fact.subject_id for fact in facts]
        found = await decisions_by_id(self._store, self._space, list(dict.fromkeys(ids)), at)
        return list(found.values())

    async def timeline(
        self, thing: Identified, *, predicates: Sequence[str] | None = None, known_at: datetime | None = None,
        first: int = 100, after: str | None = None,
    ) -> Page[Fact]:  # fmt: skip
        """Return everything that was ever asserted of a node, retracted assertions marked, in valid order.

        Of one that was merged into another, its own history.
        """
        node = await self.node_itself(thing)
        return await self._store.timeline(
            self._space, [node.id], predicates, known_at=micros_or_none(known_at), first=first, after=after
        )

    async def diff(
        self, since: datetime, until: datetime, *, about: str | None = None, axis: Axis = Axis.KNOWN,
        first: int = 100, after: str | None = None,
    ) -> Page[Difference]:  # fmt: skip
        """Return what changed in (since, until]: on the axis known what was learned, on valid what became true.

        *about* is an id, a key, or words that find nodes.

        Raises:
            InvalidError: code ``period.empty`` when *until* is not after *since*.
        """
        if until <= since:
            raise InvalidError("a diff must end after it starts; swap since and until", code="period.empty")
        subjects = [node.id for node in await self.matching(about)] if about is not None else None
        if subjects is not None and not subjects:
            return Page(())
        return await difference(
            self._store, self._space, since, until, axis=axis, subjects=subjects, first=first, after=after
        )

    @spanned("search_memory")
    async def find(
        self, text: str, *, kinds: Sequence[NodeKind] | None = None, first: int = 20, at: AsOf = NOW
    ) -> tuple[Hit, ...]:
        """Return nodes whose names, keys or texts match the words of *text*, best first.

        A node that was merged into another is found as that one.
        """
        hits = await self._store.search_text(self._space, text, kinds=kinds, at=at, first=first)
        known = await standing(self._store, self._space, [hit.node for hit in hits], at)
        found: dict[str, Hit] = {}
        for hit in hits:
            node = known[hit.node.id]
            found.setdefault(node.id, replace(hit, node=node))
        return tuple(found.values())

    async def nodes(
        self, *, kind: NodeKind | None = None, type_: str | None = None, first: int = 50, after: str | None = None,
        newest: bool = False, merged: bool = False, at: AsOf = NOW,
    ) -> Page[Node]:  # fmt: skip
        """List nodes in the order they were recorded, or the *newest* first.

        Those that were merged into others are left out unless *merged*, so a page may hold fewer than *first* while
        `next` goes on.
        """
        query = NodeQuery(kind, type_, first=first, after=after, newest=newest)
        page = await self._store.list_nodes(self._space, query, at)
        if merged:
            return page
        gone = await merged_away(self._store, self._space, page.items, at)
        return Page(tuple(node for node in page.items if node.id not in gone), page.next)

    async def absorbed(self, thing: Identified, at: AsOf = NOW) -> tuple[Node, ...]:
        """Return the nodes that were merged into this one: what else it is called. Raises as `node` does."""
        node = await self.node(thing, at)
        return (await self.absorbed_of([node.id], at))[node.id]

    async def absorbed_of(self, ids: Sequence[str], at: AsOf = NOW) -> Mapping[str, tuple[Node, ...]]:
        """Return what was merged into each of many nodes, by id, in few reads."""
        return await absorbed_by(self._store, self._space, ids, at)

    async def watch(self, after_seq: int = 0, *, ledger: LedgerName = "knowledge") -> AsyncIterator[LedgerEntry]:
        """Yield the ledger's rows after *after_seq* as they come, for ever: each once, none missed."""
        while True:
            entries = await self._store.feed(self._space, ledger, after_seq)
            for entry in entries:
                after_seq = entry.seq
                yield entry
            if not entries:
                await self._store.wait(self._space, ledger, after_seq, _WATCH_WAIT_S)

    async def receipt(self, receipt_id: str) -> Receipt:
        """Return what became of a write: stored, or failed with its class. Raises NotFoundError."""
        return await self._store.receipt(normal_id(receipt_id))

    async def spaces(self) -> tuple[Space, ...]:
        """List the tenant's spaces."""
        return await self._store.spaces()

    async def create_space(self, name: str, *, strict: bool = False) -> Space:
        """Make a space. Raises ConflictError (``space.exists``) or InvalidError (``space.name_invalid``)."""
        return await self._store.create_space(name, strict=strict)

    async def verify(self, ledger: LedgerName = "knowledge") -> Verdict:
        """Check the ledger's chain, naming the first bad row."""
        return await self._store.verify(self._space, ledger)

    async def rebuild(
        self, *, dry_run: bool = False, after: str | None = None, read_max: int | None = None,
        progress: Callable[[int, int, str | None], None] | None = None,
    ) -> RebuildReport:  # fmt: skip
        """Make the space's views again from its ledgers where they differ, while others go on reading and writing.

        Answers about the past are those of before whatever was lost or changed. It may be stopped at any time.

        Args:
            dry_run: only say what differs.
            after: go on from `RebuildReport.next`, or from the cursor that *progress* was last given.
            read_max: stop after about so many rows.
            progress: called after each step with (rows read, rows to read, cursor).

        Raises:
            CorruptError: code ``ledger.corrupt``, with the first bad row; nothing was touched.
        """
        return await rebuild(
            self._store, self._space, dry_run=dry_run, after=after, read_max=read_max, progress=progress
        )

    async def info(self) -> StoreInfo:
        """Describe the store."""
        return await self._store.info()


def _session_name(session: str) -> str:
    return session if is_id(normal_id(session)) else session_key(session)


def micros_or_none(instant: datetime | None) -> int | None:
    """Convert an instant where there is one."""
    return None if instant is None else to_micros(instant)
