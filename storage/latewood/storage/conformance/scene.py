"""What every check stands on: a fresh store, a clock and ids set by hand, and short words for writing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

from latewood.graph_schema.clock import AsOf, Clock, ManualClock, Micros, from_micros, to_micros
from latewood.graph_schema.commands import (
    ActorSpec,
    Assert,
    Command,
    Declare,
    End,
    Expect,
    Guard,
    History,
    Ref,
    Retract,
    SourceSpec,
    Unit,
)
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import IdSource, SequentialIds
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Fact, LedgerName, NodeKind, Trust
from latewood.graph_schema.packs.loader import Vocabulary, load_pack, vocabulary
from latewood.graph_schema.values import Json, Scalar, Value
from latewood.storage.port import FactQuery, GraphStore

__all__ = ["WORDS", "MakeStore", "Scene", "at", "day", "opened", "raised"]

_PACK: Final = """
name = "conformance"
version = "1"
[predicates.limit]
cardinality = "single"
authority = "human"
[predicates.delay]
cardinality = "single"
unit = "min"
[predicates.mirror]
cardinality = "multi"
"""
WORDS: Final[Vocabulary] = vocabulary([load_pack(_PACK)])
"""The core pack, and predicates with an authority, a unit and several values."""

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


E = TypeVar("E", bound=LatewoodError)


class MakeStore(Protocol):
    """How the kit gets stores from an adapter under test."""

    async def fresh(self, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        """Return a store with no data but the space `default`, for the tenant `local`."""
        ...

    async def again(self, store: GraphStore, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        """Open the data of *store* (closed or not) once more, as another process would."""
        ...


def day(number: float) -> Micros:
    """Return the instant *number* days after the scene's clock starts, 2026-01-01."""
    return to_micros(_START + timedelta(days=number))


def at(valid_at: Micros | None = None, known_at: Micros | None = None) -> AsOf:
    """Ask as of two instants."""
    return AsOf(
        None if valid_at is None else from_micros(valid_at), None if known_at is None else from_micros(known_at)
    )


async def raised(kind: type[E], call: Awaitable[object]) -> E:
    """Await *call* and return the error of this *kind* that it must raise."""
    try:
        answer = await call
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got {answer!r:.200}")


@dataclass(slots=True)
class Scene:
    """A store and the means to write to it."""

    make: MakeStore
    store: GraphStore
    clock: ManualClock
    ids: SequentialIds
    words: Vocabulary
    names: SequentialIds = field(default_factory=lambda: SequentialIds(salt=7))

    def new_id(self) -> str:
        """Return an id that the store did not make."""
        return self.names.new()

    def say(
        self, subject: str | Ref, predicate: str, given: Scalar, *, start: Micros | None = None,
        end: Micros | None = None, unit: str | None = None, known: bool = True, as_written: str | None = None,
        quote: str | None = None, locator: str | None = None, replaces: str | None = None,
    ) -> Assert:  # fmt: skip
        """Assert a value."""
        ref = Ref(key=subject) if isinstance(subject, str) else subject
        return Assert(
            self.new_id(), ref, predicate, Value.of(given, unit), valid_from=start, valid_to=end, known=known,
            as_written=as_written, quote=quote, locator=locator, replaces=replaces,
        )  # fmt: skip

    def link(
        self, subject: str | Ref, predicate: str, target: str | Ref, *, start: Micros | None = None,
        end: Micros | None = None,
    ) -> Assert:  # fmt: skip
        """Assert a relation."""
        ref = Ref(key=subject) if isinstance(subject, str) else subject
        to = Ref(key=target) if isinstance(target, str) else target
        return Assert(self.new_id(), ref, predicate, object=to, relation=True, valid_from=start, valid_to=end)

    def end(self, target: str, when: Micros | None = None, reason: str | None = None) -> End:
        """End a fact."""
        return End(self.new_id(), target, when, reason)

    def retract(self, target: str, reason: str | None = None) -> Retract:
        """Take a fact back."""
        return Retract(self.new_id(), target, reason)

    def declare(
        self, key: str | None, kind: NodeKind = NodeKind.ENTITY, node_type: str = "thing",
        attributes: Mapping[str, Json] | None = None,
    ) -> Declare:  # fmt: skip
        """Declare a node."""
        return Declare(self.new_id(), kind, node_type, key, key or "unnamed", attributes or {})

    def unit(
        self, *commands: Command, op: str | None = None, body: object = None, by: str = "agent:writer",
        trust: Trust = Trust.AGENT, origin: str | None = None, session: str | None = None,
        expects: tuple[Expect, ...] = (), space: str = "default", ledger: LedgerName = "knowledge",
        history: History | None = None, on_behalf_of: str | None = None, guard: Guard | None = None,
    ) -> Unit:  # fmt: skip
        """Gather commands into a unit."""
        return Unit(
            self.new_id(), space, ActorSpec(by, on_behalf_of), trust, body_digest(body), commands, ledger, op, session,
            SourceSpec(origin), expects, history, guard,
        )  # fmt: skip

    async def commit(self, unit: Unit) -> Receipt:
        """Keep a unit, or raise its error."""
        (answer,) = await self.store.commit([unit])
        if isinstance(answer, LatewoodError):
            raise answer
        return answer

    async def write(
        self, *commands: Command, by: str = "agent:writer", trust: Trust = Trust.AGENT, origin: str | None = None,
        space: str = "default", ledger: LedgerName = "knowledge",
    ) -> Receipt:  # fmt: skip
        """Write commands as one unit, a day after the last."""
        self.clock.advance(days=1)
        return await self.commit(self.unit(*commands, by=by, trust=trust, origin=origin, space=space, ledger=ledger))

    async def refusal(self, unit: Unit) -> LatewoodError:
        """Return the error with which a unit is refused in its place."""
        (answer,) = await self.store.commit([unit])
        assert isinstance(answer, LatewoodError), f"expected a refusal, got {answer}"
        return answer

    async def node_id(self, key: str) -> str:
        """Return the id of the node with a key."""
        return (await self.store.nodes("default", keys=[key]))[key].id

    async def facts(
        self, key: str, predicate: str | None = None, valid_at: Micros | None = None, known_at: Micros | None = None
    ) -> tuple[Fact, ...]:
        """Return the facts that hold of the node with a key."""
        found = await self.store.nodes("default", keys=[key])
        query = FactQuery(subjects=[found[key].id], predicates=None if predicate is None else [predicate])
        return await self.store.facts("default", query, at(valid_at, known_at))

    async def value(
        self, key: str, predicate: str, valid_at: Micros | None = None, known_at: Micros | None = None
    ) -> Json:
        """Return what a single-valued predicate says, None when nothing holds."""
        found = await self.facts(key, predicate, valid_at, known_at)
        assert len(found) <= 1, f"{len(found)} facts hold for one single-valued key: {found}"
        return found[0].value.data if found and found[0].value is not None else None


@asynccontextmanager
async def opened(make: MakeStore, *, words: Vocabulary = WORDS) -> AsyncGenerator[Scene]:
    """Set a scene, and close its store afterwards."""
    clock, ids = ManualClock(_START), SequentialIds(salt=1)
    scene = Scene(make, await make.fresh(clock=clock, ids=ids, words=words), clock, ids, words)
    try:
        yield scene
    finally:
        # The check may have closed the first one and opened its data again.
        await scene.store.close()
