"""Taking back all that one actor, session or source said, such as what a poisoned page or a broken agent wrote.

Each fact is retracted as by `retract`: it was never true, what it displaced holds again, what was known stays known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Command, Retract, Unit
from latewood.graph_schema.errors import InvalidError, RefusedError
from latewood.graph_schema.events import EventKind, Receipt
from latewood.graph_schema.model import Fact, Predicate, Source
from latewood.memory.identity import Writer
from latewood.memory.reader import Identified
from latewood.storage.port import PAGE_MAX

__all__ = ["LISTED_MAX", "LOOKED_AT_MAX", "Retraction", "Unretracted", "retract_all"]

LOOKED_AT_MAX: Final = 100_000
"""Most rows of the ledger that one call looks at; `Retraction.next` goes on behind them."""
LISTED_MAX: Final = 100
"""Most facts that a report lists; its numbers count all."""
_RETRACTED_A_UNIT: Final = 100


class Retractor(Writer, Protocol):
    """A handle that may write: what this verb needs of `Memory`."""

    def unit(
        self, commands: Sequence[Command], body: object, *, by: str | None = None, session: str | None = None
    ) -> Unit:
        """Make the unit that `write` would keep."""
        ...


@dataclass(frozen=True, slots=True)
class Unretracted:
    """A fact that could not be taken back, and why."""

    fact: Fact
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Retraction:
    """What was taken back, or of a dry run would be.

    Attributes:
        retracted: how many facts; *facts* lists the first `LISTED_MAX`, in the order in which they were recorded.
        left: the first `LISTED_MAX` that stay, of *left_count*: those of a higher tier than the writer's trust.
        next: where another call goes on; None when everything was looked at.
        receipts: of the units written; none in a dry run.
    """

    retracted: int
    facts: tuple[Fact, ...]
    left: tuple[Unretracted, ...]
    left_count: int
    dry_run: bool
    next: str | None
    receipts: tuple[Receipt, ...] = ()


async def retract_all(
    self: Retractor, *, because: str, said_by: Identified | None = None, said_in: Identified | None = None,
    read_from: str | None = None, since: datetime | None = None, until: datetime | None = None, dry_run: bool = False,
    after: str | None = None, by: str | None = None, session: str | None = None,
) -> Retraction:  # fmt: skip
    """Say that nothing an actor, a session or a source said was ever true: what it displaced holds again.

    Taking the same back again writes nothing, so whoever is stopped in between calls it again.

    Args:
        said_by: the actor who wrote it, by id or key, such as ``agent:scraper``.
        said_in: the session in which it was written.
        read_from: the origin that was given as its source: a URL, a path. Of several filters all must hold.
        since: only what was recorded after this instant, and up to *until* (now).
        dry_run: only say what would be taken back.
        after: `Retraction.next` of the call before.

    Raises:
        InvalidError: code ``query.invalid`` when nothing says whose facts, ``period.empty``.
        NotFoundError: no such actor or session.
    """
    if said_by is None and said_in is None and not read_from:
        msg = "say whose facts are to go: said_by an actor, said_in a session, or read_from a source"
        raise InvalidError(msg, code="query.invalid")
    now = await self.store.now(self.space)
    begin, end = 0 if since is None else to_micros(since), now if until is None else min(now, to_micros(until))
    if begin > end:
        raise InvalidError("the period must end after it starts; swap since and until", code="period.empty")
    actor = None if said_by is None else (await self.node(said_by)).id
    spoken_in = None if said_in is None else (await self.node(said_in)).id

    def theirs(source: Source | None) -> bool:
        return (
            source is not None
            and (actor is None or source.actor_id == actor)
            and (spoken_in is None or source.session_id == spoken_in)
            and (not read_from or source.origin == read_from)
        )

    predicates = await self.store.predicates(self.space)
    sweep, looked_at = _Sweep(self, predicates, because, by, session, dry_run=dry_run), 0
    while True:
        page = await self.store.changes(self.space, begin, end, first=PAGE_MAX, after=after)
        asserted = [one.fact for one in page.items if one.kind is not EventKind.RETRACTED]
        await sweep.take([fact for fact in asserted if fact.retired_at is None and theirs(fact.source)])
        looked_at, after = looked_at + len(page.items), page.next
        if after is None or looked_at >= LOOKED_AT_MAX:
            return sweep.report(after)


class _Sweep:
    """Takes facts back, some at a time, and counts them."""

    def __init__(
        self, writer: Retractor, predicates: Mapping[str, Predicate], because: str, by: str | None,
        session: str | None, *, dry_run: bool,
    ) -> None:  # fmt: skip
        self._writer, self._predicates, self._because, self._dry_run = writer, predicates, because, dry_run
        self._by, self._session = by, session
        # The handle knows how far the actor's word goes; without one it may not write.
        self._trust = writer.unit([], "retract_all", by=by, session=session).trust
        self._retracted, self._left_count = 0, 0
        self._facts: list[Fact] = []
        self._left: list[Unretracted] = []
        self._receipts: list[Receipt] = []

    async def take(self, facts: Sequence[Fact]) -> None:
        """Take back those of *facts* that the writer may."""
        may = [fact for fact in facts if not self._is_above(fact)]
        for begin in range(0, len(may), _RETRACTED_A_UNIT):
            part = may[begin : begin + _RETRACTED_A_UNIT]
            try:
                await self._retract(part)
            except RefusedError:
                # One of them stays, or somebody else was first: alone each says so for itself.
                for fact in part:
                    await self._retract_one(fact)

    def report(self, after: str | None) -> Retraction:
        """Say what was done; *after* is where it goes on."""
        return Retraction(
            self._retracted, tuple(self._facts), tuple(self._left), self._left_count, self._dry_run, after,
            tuple(self._receipts),
        )  # fmt: skip

    def _is_above(self, fact: Fact) -> bool:
        known = self._predicates.get(fact.predicate)
        above = known is not None and fact.trust.level >= known.authority.level > self._trust.level
        if above:
            words = f"it is of a higher tier than {self._trust.value!r} may undo"
            self._leave(Unretracted(fact, "trust.too_low", words))
        return above

    async def _retract(self, facts: Sequence[Fact]) -> None:
        if not self._dry_run:
            ids, because = self._writer.ids, self._because
            body = ["retract_all", because, [fact.id for fact in facts]]
            commands = [Retract(ids.new(), fact.id, because) for fact in facts]
            self._receipts.append(await self._writer.write(commands, body, by=self._by, session=self._session))
        self._retracted += len(facts)
        self._facts += facts[: LISTED_MAX - len(self._facts)]

    async def _retract_one(self, fact: Fact) -> None:
        try:
            await self._retract([fact])
        except RefusedError as error:
            if error.code != "fact.retracted":
                self._leave(Unretracted(fact, error.code, error.message))

    def _leave(self, one: Unretracted) -> None:
        self._left_count += 1
        if len(self._left) < LISTED_MAX:
            self._left.append(one)
