"""The verbs that read, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias, TypeVar

from latewood.clients.remote.answers import (
    Absorbed,
    Axis,
    Brief,
    Difference,
    Disputed,
    Duplicates,
    Entity,
    Entry,
    Hit,
    MissingDecision,
    Page,
    Precedent,
    Proposal,
    Recall,
    Space,
    Stale,
    Why,
)
from latewood.clients.remote.calling import Given, RemoteCaller
from latewood.clients.remote.calls import Verbatim, instants
from latewood.clients.remote.found import Pattern
from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.errors import NotFoundError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.given import checked
from latewood.graph_schema.ids import is_id
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import Decision, DecisionStatus, Fact, LedgerName, Node, NodeKind, Trust
from latewood.graph_schema.patterns import PatternKind, PatternStatus

__all__ = ["Identified", "Named", "RemoteReader", "said"]

T = TypeVar("T")


class Named(Protocol):
    """A thing that a verb returned."""

    @property
    def id(self) -> str:
        """Its id."""
        ...


Identified: TypeAlias = str | Named
"""Whatever names a thing: an id, a key such as ``carrier:A``, or what a verb returned."""


def said(thing: Identified) -> str:
    """Return the id or key that *thing* goes by."""
    return thing if isinstance(thing, str) else thing.id


@checked
class RemoteReader(RemoteCaller):
    """Reads one space of a server."""

    async def _found(self, thing: Identified, name: str, answer: type[T], **given: tuple[str, object]) -> T:
        found = await self._or_none(name, answer, **given)
        if found is None:
            where = f"space {self._space!r}" if self._space is not None else "the server's default space"
            raise NotFoundError(f"nothing in {where} is {said(thing)!r}, as of then", key=said(thing))
        return found

    async def decision(self, thing: Identified, at: AsOf = NOW) -> Decision:
        """Return a decision by id or key. Raises NotFoundError."""
        name = said(thing)
        by: dict[str, tuple[str, object]] = {"id": ("ID", name)} if is_id(name) else {"key": ("String", name)}
        return await self._found(thing, "decision", Decision, **by, asOf=("AsOf", instants(at)))

    async def decisions(
        self, *, status: Sequence[DecisionStatus] = (), source_status: Sequence[str] = (),
        about: Identified | None = None, first: int = 50, after: str | None = None, newest: bool = False,
        at: AsOf = NOW,
    ) -> Page[Decision]:  # fmt: skip
        """List decisions in the order they were recorded, or the *newest* first."""
        return await self._ask(
            "decisions", Page[Decision], status=("[DecisionStatus!]", list(status) or None),
            sourceStatus=("[String!]", list(source_status) or None),
            about=("String", None if about is None else said(about)), first=("Int", first), after=("String", after),
            newest=("Boolean!", newest), asOf=("AsOf", instants(at)),
        )  # fmt: skip

    async def entity(
        self, thing: Identified, predicates: Sequence[str] | None = None, at: AsOf = NOW
    ) -> Entity:  # fmt: skip
        """Return a node and the facts that hold of it, all or those of *predicates*. Raises NotFoundError."""
        found = await self._found(thing, "entity", Entity, key=("String!", said(thing)), asOf=("AsOf", instants(at)))
        if predicates is None:
            return found
        return Entity(found.node, tuple(fact for fact in found.facts if fact.predicate in predicates))

    async def node(self, thing: Identified, at: AsOf = NOW) -> Node:
        """Return the node with this id or key. Raises NotFoundError."""
        return await self._found(thing, "entity", Node, key=("String!", said(thing)), asOf=("AsOf", instants(at)))

    async def nodes(
        self, *, kind: NodeKind | None = None, type_: str | None = None, first: int = 50, after: str | None = None,
        newest: bool = False, at: AsOf = NOW,
    ) -> Page[Node]:  # fmt: skip
        """List nodes in the order they were recorded, or the *newest* first."""
        return await self._ask(
            "entities", Page[Node], kind=("NodeKind", kind), type=("String", type_), first=("Int", first),
            after=("String", after), newest=("Boolean!", newest), asOf=("AsOf", instants(at)),
        )  # fmt: skip

    async def absorbed(self, thing: Identified, at: AsOf = NOW) -> tuple[Node, ...]:
        """Return the nodes that were merged into this one. Raises NotFoundError."""
        given = {"key": ("String!", said(thing)), "asOf": ("AsOf", instants(at))}
        return (await self._found(thing, "entity", Absorbed, **given)).absorbed

    async def duplicates(
        self, *, type_: str | None = None, signals: Sequence[str] = (), score_min: float = 0.0, first: int = 100
    ) -> Duplicates:
        """List pairs of entities that may be one, of one type each, the surest first."""
        return await self._ask(
            "duplicates", Duplicates, type=("String", type_), signals=("[String!]", list(signals) or None),
            scoreMin=("Float", score_min), first=("Int", first),
        )  # fmt: skip

    async def fact(self, fact_id: str, *, known_at: datetime | None = None) -> Fact:
        """Return a fact by id. Raises NotFoundError."""
        at = instants(AsOf(known_at=known_at))
        return await self._found(fact_id, "fact", Fact, id=("ID!", fact_id), asOf=("AsOf", at))

    async def why(self, thing: Identified, at: AsOf = NOW) -> Why:
        """Return the chain behind a decision. Raises NotFoundError."""
        chosen = await self.decision_id(thing, at)
        found = await self._ask("why", tuple[Why, ...], id=("ID", chosen),
                                asOf=("AsOf", instants(at)))  # fmt: skip
        if not found:
            raise NotFoundError(f"nothing is known of the decision {said(thing)!r}, as of then", key=said(thing))
        return found[0]

    async def decision_id(self, thing: Identified, at: AsOf = NOW) -> str:
        """Return the id of the decision that *thing* names. Raises NotFoundError."""
        name = said(thing)
        return name if is_id(name) else (await self.decision(name, at)).id

    async def why_about(self, about: str, at: AsOf = NOW) -> tuple[Why, ...]:
        """Return the chains behind the decisions about an entity (by id or key) or found by words."""
        return await self._ask("why", tuple[Why, ...], about=("String", about),
                               asOf=("AsOf", instants(at)))  # fmt: skip

    async def recall(
        self, query: str, *, limit: int = 20, budget_tokens: int | None = None,
        kinds: Sequence[NodeKind] | None = None, types: Sequence[str] | None = None,
        predicates: Sequence[str] | None = None, about: Sequence[Identified] = (), session: str | None = None,
        actor: Identified | None = None, trust_min: Trust | None = None, since: datetime | None = None,
        until: datetime | None = None, past: bool = False, at: AsOf = NOW,
    ) -> Recall:  # fmt: skip
        """Return the memories that answer *query*, the best first, each with why it was found."""
        chosen: dict[str, object] = {
            "kinds": kinds, "types": types, "predicates": predicates, "about": [said(one) for one in about] or None,
            "session": session, "actor": None if actor is None else said(actor), "trust_min": trust_min,
            "since": since, "until": until, "past": past or None,
        }  # fmt: skip
        chosen = {name: value for name, value in chosen.items() if value is not None}
        return await self._ask(
            "recall", Recall, query=("String!", query), limit=("Int", limit), budgetTokens=("Int", budget_tokens),
            filter=("RecallFilter", chosen or None), asOf=("AsOf", instants(at)),
        )  # fmt: skip

    async def precedents(self, text: str, *, first: int = 5, at: AsOf = NOW) -> tuple[Precedent, ...]:
        """Return the decisions most like the one that *text* describes."""
        kind = tuple[Precedent, ...]
        return await self._ask("precedents", kind, text=("String!", text), first=("Int", first),
                               asOf=("AsOf", instants(at)))  # fmt: skip

    async def brief(
        self, about: str | None = None, *, since: datetime | None = None, budget_tokens: int = 800, at: AsOf = NOW
    ) -> Brief:
        """Return what to know before going on."""
        return await self._ask(
            "brief", Brief, about=("String", about), since=("DateTime", since), budgetTokens=("Int!", budget_tokens),
            asOf=("AsOf", instants(at)),
        )  # fmt: skip

    async def stale(self, *, first: int = 50, after: str | None = None, at: AsOf = NOW) -> Page[Stale]:
        """List the decisions that stand while their evidence moved."""
        return await self._paged("stale", Page[Stale], first, after, at)

    async def patterns(
        self, *, status: Sequence[PatternStatus] | None = None, kind: PatternKind | None = None,
        about: Identified | None = None, hidden: bool = False, first: int = 50, after: str | None = None,
        at: AsOf = NOW,
    ) -> Page[Pattern]:  # fmt: skip
        """List patterns, the latest first: those that hold, or of any *status*."""
        return await self._paged(
            "patterns", Page[Pattern], first, after, at,
            status=("[PatternStatus!]", None if status is None else list(status)), kind=("PatternKind", kind),
            about=("String", None if about is None else said(about)), hidden=("Boolean", hidden),
        )  # fmt: skip

    async def explain_pattern(self, thing: Identified, *, at: AsOf = NOW) -> Pattern:
        """Return one pattern with the ids of its evidence. Raises NotFoundError."""
        return await self._found(thing, "pattern", Pattern, id=("String!", said(thing)), asOf=("AsOf", instants(at)))

    async def conflicts(self, *, first: int = 50, after: str | None = None, at: AsOf = NOW) -> Page[Disputed]:
        """List the entities of which sources disagree."""
        return await self._paged("conflicts", Page[Disputed], first, after, at)

    async def proposals(
        self, *, status: DecisionStatus | None = DecisionStatus.PROPOSED, first: int = 50, after: str | None = None,
        at: AsOf = NOW,
    ) -> Page[Proposal]:  # fmt: skip
        """List what models proposed: what waits, what has another *status*, or all."""
        # Left out is what waits; null is all.
        wanted = ("DecisionStatus", Verbatim(None) if status is None else status)
        return await self._paged("proposals", Page[Proposal], first, after, at, status=wanted)

    async def missing_decisions(
        self, session: Identified | None = None, *, first: int = 20, after: str | None = None, at: AsOf = NOW
    ) -> Page[MissingDecision]:
        """List turns that sound like decisions that nobody recorded, of one session or of *first*, the latest first."""
        of = ("String", None if session is None else said(session))
        return await self._paged("missingDecisions", Page[MissingDecision], first, after, at, session=of)

    async def timeline(
        self, thing: Identified, *, predicates: Sequence[str] | None = None, known_at: datetime | None = None,
        first: int = 100, after: str | None = None,
    ) -> Page[Fact]:  # fmt: skip
        """Return everything that was ever asserted of a node, retracted assertions marked, in valid order."""
        at = AsOf(known_at=known_at)
        return await self._paged(
            "timeline", Page[Fact], first, after, at, key=("String!", said(thing)),
            predicates=("[String!]", predicates),
        )  # fmt: skip

    async def diff(
        self, since: datetime, until: datetime, *, about: str | None = None, axis: Axis = Axis.KNOWN,
        first: int = 100, after: str | None = None,
    ) -> Page[Difference]:  # fmt: skip
        """Return what changed in (since, until]: what was learned, or on the axis valid what became true."""
        return await self._ask(
            "diff", Page[Difference], since=("DateTime!", since), until=("DateTime!", until), about=("String", about),
            axis=("Axis", axis), first=("Int", first), after=("String", after),
        )  # fmt: skip

    async def find(
        self, text: str, *, kinds: Sequence[NodeKind] | None = None, first: int = 20, at: AsOf = NOW
    ) -> tuple[Hit, ...]:
        """Return nodes whose names, keys or texts match the words of *text*, best first."""
        return await self._ask(
            "find", tuple[Hit, ...], text=("String!", text),
            kinds=("[NodeKind!]", kinds), first=("Int", first), asOf=("AsOf", instants(at)),
        )  # fmt: skip

    async def receipt(self, receipt_id: str) -> Receipt:
        """Return what became of a write: stored, or failed with its class. Raises NotFoundError."""
        found = await self._or_none("receipt", Receipt, id=("ID!", receipt_id))
        if found is None:
            raise NotFoundError(f"no receipt {receipt_id!r} is known", id=receipt_id)
        return found

    async def spaces(self) -> tuple[Space, ...]:
        """List the tenant's spaces."""
        return await self._ask("spaces", tuple[Space, ...])

    async def verify(self, ledger: LedgerName = "knowledge") -> Verdict:
        """Check a ledger's chain."""
        return await self._ask("verifyLedger", Verdict, ledger=("Ledger", ledger.upper()))

    async def watch(self, after_seq: int = 0, *, ledger: LedgerName = "knowledge") -> AsyncGenerator[Entry]:
        """Yield the ledger's rows after *after_seq* as they come, for ever: each once, none missed, though the
        connection drops.

        Raises:
            UnavailableError: code ``remote.unreachable``, when it does not come back.
        """
        given: Given = {"ledger": ("Ledger", ledger.upper())}
        async for entry in self._follow("changes", Entry, given, after_seq):
            yield entry

    async def _paged(
        self, name: str, answer: type[T], first: int, after: str | None, at: AsOf, **more: tuple[str, object]
    ) -> T:
        given: dict[str, tuple[str, object]] = {
            **more,
            "first": ("Int", first),
            "after": ("String", after),
            "asOf": ("AsOf", instants(at)),
        }
        return await self._ask(name, answer, **given)
