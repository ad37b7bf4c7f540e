"""Merging two nodes that are one, and splitting them again: verbs of `Memory`, in one or a few units.

The first unit has the merge itself and as much of what moves as a unit holds. From then on nothing new can be written
of the merged node, so what is left is bounded, and goes in the units that follow. Whoever is stopped in between calls
the same verb again: it finds what is left and moves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.commands import Absorb, Carry, Command, Expect, Ref, Release, SourceSpec
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError, NotFoundError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.identity import MERGED_INTO
from latewood.graph_schema.ids import IdSource, is_id
from latewood.graph_schema.model import Fact, Node, NodeKind, Trust
from latewood.memory.reader import Identified, said
from latewood.storage.moving import MOVED_A_UNIT, Claims, carries_back, carries_to, claims_of
from latewood.storage.port import PAGE_MAX, FactQuery, GraphStore

__all__ = ["Merge", "Split", "Writer", "alias", "merge", "merge_with", "split"]

_TRIES_MAX: Final = 8
_SWEEPS_MAX: Final = 100
_LISTED_MAX: Final = 100
_AGAIN: Final = ("version.conflict", "fact.retracted")
"""Refusals of a unit for what was written since its facts were read."""


class Writer(Protocol):
    """A handle that may write: what these verbs need of `Memory`."""

    @property
    def store(self) -> GraphStore:
        """The store behind the door."""
        ...

    @property
    def space(self) -> str:
        """The space that the handle writes."""
        ...

    @property
    def ids(self) -> IdSource:
        """Where new ids come from."""
        ...

    async def node(self, thing: Identified, at: AsOf = NOW) -> Node:
        """Return the node that a key or an id means."""
        ...

    async def node_itself(self, thing: Identified, at: AsOf = NOW) -> Node:
        """Return the very node of a key or an id."""
        ...

    async def write(
        self, commands: Sequence[Command], body: object, *, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, expects: Sequence[Expect] = (),
        idempotency_key: str | None = None,
    ) -> Receipt:  # fmt: skip
        """Keep commands as one unit."""
        ...


@dataclass(frozen=True, slots=True)
class Merge:
    """What a merge did, or of a dry run would do.

    Attributes:
        absorbed: the node whose key and id mean *into* from now on.
        fact_id: the fact `merged_into`; None in a dry run.
        moved: how many facts are said of *into* now that were said of *absorbed*, or point at it.
        meets: single-valued predicates of which something counts of both: their facts compete from now on.
        left: facts that stay where they are: erased, or an end of which nobody can tell any more what ended.
        before: it was merged already; *moved* is what was still left of it.
        receipts: of the units written; none in a dry run.
    """

    absorbed: Node
    into: Node
    fact_id: str | None
    moved: int
    meets: tuple[str, ...]
    left: tuple[str, ...]
    dry_run: bool
    before: bool
    receipts: tuple[Receipt, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """What a split did, or of a dry run would do.

    Attributes:
        node: the node that is one of its own again; *into* is what it had been merged into.
        moved: how many facts went back to it.
        stays: facts that were written of *into* while the two were one, the first `_LISTED_MAX`; whose they are nobody
            can tell but whoever wrote them. *stays_count* counts them all.
    """

    node: Node
    into: Node
    moved: int
    stays: tuple[str, ...]
    stays_count: int
    dry_run: bool
    receipts: tuple[Receipt, ...] = ()


async def merge(
    self: Writer, absorbed: Identified, into: Identified, *, reason: str, dry_run: bool = False,
    by: str | None = None, session: str | None = None, idempotency_key: str | None = None,
) -> Merge:  # fmt: skip
    """Say that *absorbed* is *into* under another name: its facts move there, its key and id mean it from now on.

    As known before, each is what it was. Merging the same again writes nothing. `split` undoes it.

    Args:
        absorbed: the one that is left out of lists from then on; *into* goes on.
        dry_run: only say what would move.

    Raises:
        InvalidError: code ``merge.invalid``: no two entities.
        ConflictError: code ``merge.exists`` when it was merged into another.
        ForbiddenError: code ``trust.too_low`` where a fact is of a higher tier than the writer.
        LimitError: it has more facts than are moved at once.
    """
    return await merge_with(
        self, absorbed, into, reason=reason, dry_run=dry_run, by=by, session=session, idempotency_key=idempotency_key
    )


async def merge_with(
    self: Writer, absorbed: Identified, into: Identified, *, reason: str, dry_run: bool = False,
    by: str | None = None, session: str | None = None, idempotency_key: str | None = None,
    settles: Callable[[str], Sequence[Command]] | None = None, expects: Sequence[Expect] = (),
) -> Merge:  # fmt: skip
    """Merge, and keep what *settles* makes of the new fact's id in the same unit, if *expects* are met.

    Raises as `merge` does.
    """
    if not reason.strip():
        raise InvalidError("a merge needs a reason: say why the two are one", code="query.invalid")
    for _ in range(_TRIES_MAX):
        one, other = await self.node_itself(absorbed), await self.node(into)
        _check(one, other)
        now = await self.node(one.id)
        before = now.id != one.id
        if before and now.id != other.id:
            msg = f"{said_of(one)} was merged into {said_of(now)} already; split it first, or merge that one"
            raise ConflictError(msg, code="merge.exists", id=one.id, into=now.id)
        claims = await claims_of(self.store, self.space, one.id)
        meets = await _meets(self, claims, one.id, other.id)
        if dry_run:
            return Merge(one, other, None, len(claims.facts), meets, claims.left, dry_run=True, before=before)
        if before:
            moved, receipts = await _sweep_to(self, one, other, by, session)
            fact = await _merged(self, one.id)
            return Merge(one, other, fact, moved, meets, claims.left, dry_run=False, before=True, receipts=receipts)
        moves = carries_to(claims, one.id, other.id, self.ids, MOVED_A_UNIT)
        said_so = Absorb(self.ids.new(), Ref(id=one.id), Ref(id=other.id), reason)
        also = settles(said_so.id) if settles is not None else ()
        try:
            first = await self.write(
                [said_so, *moves, *also], ["merge", one.id, other.id, reason], by=by, session=session,
                expects=(Expect(Ref(id=one.id), one.version), *expects), idempotency_key=idempotency_key,
            )  # fmt: skip
        except ConflictError as error:
            if error.code not in _AGAIN or any(error.details.get("node") == one.node.id for one in expects):
                raise
            continue
        moved, rest = await _sweep_to(self, one, other, by, session)
        moved += 0 if first.replayed else len(moves)
        return Merge(
            await self.node_itself(one.id), await self.node(other.id), first.facts[0], moved, meets,
            claims.left, dry_run=False, before=False, receipts=(first, *rest),
        )  # fmt: skip
    msg = f"{said(absorbed)} was written to {_TRIES_MAX} times while it was read; merge it when it is quieter"
    raise ConflictError(msg, node=said(absorbed))


def said_of(node: Node) -> str:
    """Return what to call *node* in a message."""
    return node.key or node.id


def _check(one: Node, other: Node) -> None:
    for node in (one, other):
        if node.kind is not NodeKind.ENTITY:
            msg = f"{said_of(node)} is of kind {node.kind.value}; only entities are merged"
            raise InvalidError(msg, code="merge.invalid", id=node.id, kind=node.kind.value)
        if node.erased:
            msg = f"the node {node.id} was erased; nothing is left to merge"
            raise ConflictError(msg, code="content.erased", id=node.id)
    if one.id == other.id:
        msg = f"{said_of(one)} and what it is to be merged into are one and the same; name two"
        raise InvalidError(msg, code="merge.invalid", id=one.id)


async def _meets(self: Writer, claims: Claims, one: str, other: str) -> tuple[str, ...]:
    """Return the single-valued predicates of which something counts of both nodes."""
    own = {fact.predicate for fact in claims.facts if fact.subject_id == one}
    rules = await self.store.predicates(self.space)
    single = sorted(name for name in own if name in rules and rules[name].cardinality.value == "single")
    if not single:
        return ()
    theirs = await self.store.facts(self.space, FactQuery(subjects=[other], predicates=single, standing=True))
    return tuple(sorted({fact.predicate for fact in theirs}))


async def _is_merged(self: Writer, one: Node) -> bool:
    return isinstance((await self.node_itself(one.id)).attributes.get(MERGED_INTO), str)


async def _merged(self: Writer, node: str) -> str | None:
    facts = await self.store.facts(self.space, FactQuery(subjects=[node], predicates=[MERGED_INTO]))
    return facts[0].id if facts else None


async def _sweep_to(
    self: Writer, one: Node, other: Node, by: str | None, session: str | None
) -> tuple[int, tuple[Receipt, ...]]:  # fmt: skip
    """Move what still counts of a merged node: what no longer fitted in a unit, or came in between."""
    moved, receipts = 0, list[Receipt]()
    for _ in range(_SWEEPS_MAX):
        if not await _is_merged(self, one):
            # The merge is undone: somebody split the two meanwhile, or its idempotency key is of an earlier one.
            return moved, tuple(receipts)
        claims = await claims_of(self.store, self.space, one.id)
        moves = carries_to(claims, one.id, other.id, self.ids, MOVED_A_UNIT)
        if not moves:
            return moved, tuple(receipts)
        receipt = await _moved(self, moves, ["merge", one.id, other.id], by, session)
        if receipt is not None:
            moved += len(moves)
            receipts.append(receipt)
    raise LimitError(
        f"{said_of(one)} still has facts after {_SWEEPS_MAX} units; merge again to go on",
        limit="SWEEPS_MAX", maximum=_SWEEPS_MAX,
    )  # fmt: skip


async def _moved(
    self: Writer, moves: Sequence[Carry], body: object, by: str | None, session: str | None
) -> Receipt | None:
    """Keep a unit of what moves; None when something of it was taken back since it was read."""
    try:
        return await self.write(moves, body, by=by, session=session)
    except ConflictError as error:
        if error.code not in _AGAIN:
            raise
        return None


async def split(
    self: Writer, absorbed: Identified, *, reason: str, dry_run: bool = False, by: str | None = None,
    session: str | None = None, idempotency_key: str | None = None,
) -> Split:  # fmt: skip
    """Undo a merge: *absorbed* is one of its own again, with the facts that moved from it and still count.

    What was written or corrected while the two were one stays where it is, and is listed. As known before, each is
    what it was.

    Raises:
        InvalidError: code ``merge.invalid``: it was not merged.
        ForbiddenError: code ``trust.too_low`` where a fact is of a higher tier than the writer.
    """
    if not reason.strip():
        raise InvalidError("a split needs a reason: say why the two are not one", code="query.invalid")
    for _ in range(_TRIES_MAX):
        one = await self.node_itself(absorbed)
        fact = await _last_merge(self, one)
        # What goes back is found where the merged node went on, which may have been merged itself.
        other = await self.node(fact.object_id or "")
        claims = await claims_of(self.store, self.space, other.id)
        moves = await carries_back(self.store, self.space, one.id, claims, fact.recorded_at, self.ids)
        stays = _stays(claims, {move.target for move in moves}, other.id, fact)
        ended = fact.retired_at is not None
        if ended and not moves:
            msg = f"{said_of(one)} is not merged into anything; `timeline` shows what it was"
            raise InvalidError(msg, code="merge.invalid", id=one.id)
        if dry_run:
            return Split(one, other, len(moves), stays[:_LISTED_MAX], len(stays), dry_run=True)
        commands: list[Command] = [] if ended else [Release(self.ids.new(), one.id, fact.id, reason)]
        if len(moves) > MOVED_A_UNIT:
            moves = await carries_back(self.store, self.space, one.id, claims, fact.recorded_at, self.ids, MOVED_A_UNIT)
        try:
            first = await self.write(
                [*commands, *moves], ["split", one.id, reason], by=by, session=session,
                idempotency_key=idempotency_key,
            )  # fmt: skip
        except ConflictError as error:
            if error.code not in _AGAIN:
                raise
            continue
        moved, rest = await _sweep_back(self, one, other, fact, by, session)
        moved += 0 if first.replayed else len(moves)
        return Split(
            await self.node_itself(one.id), await self.node(other.id), moved, stays[:_LISTED_MAX],
            len(stays), dry_run=False, receipts=(first, *rest),
        )  # fmt: skip
    msg = f"what {said(absorbed)} was merged into was written to {_TRIES_MAX} times meanwhile; try when it is quieter"
    raise ConflictError(msg, node=said(absorbed))


async def _last_merge(self: Writer, one: Node) -> Fact:
    """Return the fact of the merge that stands, or of the last that was undone: some of it may not be back yet."""
    after: str | None = None
    found: list[Fact] = []
    while True:
        page = await self.store.timeline(self.space, [one.id], [MERGED_INTO], first=PAGE_MAX, after=after)
        found += [fact for fact in page.items if not fact.erased and fact.object_id is not None]
        after = page.next
        if after is None:
            break
    if not found:
        msg = f"{said_of(one)} is not merged into anything"
        raise InvalidError(msg, code="merge.invalid", id=one.id)
    return max(found, key=lambda fact: fact.recorded_at)


def _stays(claims: Claims, moving: set[str], other: str, merged: Fact) -> tuple[str, ...]:
    """Return what was first said of the other while the two were one."""
    return tuple(
        fact.id for fact in claims.facts
        if fact.subject_id == other and fact.id not in moving and fact.carried is None
        and fact.recorded_at >= merged.recorded_at
    )  # fmt: skip


async def _sweep_back(
    self: Writer, one: Node, other: Node, merged: Fact, by: str | None, session: str | None
) -> tuple[int, tuple[Receipt, ...]]:  # fmt: skip
    """Move back what no longer fitted in a unit."""
    moved, receipts = 0, list[Receipt]()
    for _ in range(_SWEEPS_MAX):
        if await _is_merged(self, one):
            # Merged again meanwhile, or the idempotency key is of an earlier split.
            return moved, tuple(receipts)
        claims = await claims_of(self.store, self.space, other.id)
        moves = await carries_back(
            self.store, self.space, one.id, claims, merged.recorded_at, self.ids, MOVED_A_UNIT
        )  # fmt: skip
        if not moves:
            return moved, tuple(receipts)
        receipt = await _moved(self, moves, ["split", one.id], by, session)
        if receipt is not None:
            moved += len(moves)
            receipts.append(receipt)
    raise LimitError(
        f"{said_of(other)} still has facts of {said_of(one)} after {_SWEEPS_MAX} units; split again to go on",
        limit="SWEEPS_MAX", maximum=_SWEEPS_MAX,
    )  # fmt: skip


async def alias(
    self: Writer, thing: Identified, key: str, *, reason: str = "an alias", by: str | None = None,
    session: str | None = None,
) -> Merge:  # fmt: skip
    """Give *thing* another key: a node of that key is declared, or the one that is there is merged. Raises as `merge`.

    An alias is a merge like any other: `split` takes it back.
    """
    if is_id(key):
        raise InvalidError(f"{key!r} is an id, and an alias is a key that people use", code="query.invalid")
    other = await self.node(thing)
    try:
        await self.node_itself(key)
    except NotFoundError:
        _check_entity(other)
        commands = [Absorb(self.ids.new(), Ref(key=key, type=other.type), Ref(id=other.id), reason)]
        receipt = await self.write(commands, ["alias", other.id, key, reason], by=by, session=session)
        return Merge(
            await self.node_itself(key), await self.node(other.id), receipt.facts[0], 0, (), (), dry_run=False,
            before=False, receipts=(receipt,),
        )  # fmt: skip
    return await merge_with(self, key, other.id, reason=reason, by=by, session=session)


def _check_entity(node: Node) -> None:
    if node.kind is not NodeKind.ENTITY:
        msg = f"{said_of(node)} is of kind {node.kind.value}; only entities have aliases"
        raise InvalidError(msg, code="merge.invalid", id=node.id, kind=node.kind.value)
