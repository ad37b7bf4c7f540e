"""The queue view: which messages wait for which consumer group, and who has them.

Messages are events of the execution ledger; what is to be handed out next must not be found by reading them all. So
each store keeps a row for each message that a consumer group has not settled, in the transaction of the event, and can
derive them again from the ledger. What the ledger does not know is operational and lost in a rebuild without harm: who
has a message until when, and how often it was handed out.

Three kinds of events move the view, all about a message, all in the execution ledger:

- the declaration of a message, whose attribute `queue` names its groups, puts it before each;
- the relation `settled_for` from a message to a group takes it away there;
- the fact `queued` of a message says that a group gets it again: after a failed try, from an instant on, or anew.

Messages of one ordering key are handed out one at a time: those behind are *blocked* until the first is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias, cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Hold, Room
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError
from latewood.graph_schema.events import Event, EventKind
from latewood.graph_schema.ledger import key_id
from latewood.graph_schema.model import Node, NodeKind
from latewood.graph_schema.values import Json, canonical_json
from latewood.storage.erasing import erasure_of
from latewood.storage.port import Page

__all__ = [
    "PRIORITY_MAX",
    "PROMOTED_MAX",
    "QUEUED",
    "SETTLED_FOR",
    "TAKEN_MAX",
    "Gone",
    "Lane",
    "Later",
    "MessageQueue",
    "Put",
    "QueueChange",
    "Queued",
    "Settle",
    "Taken",
    "Want",
    "as_of",
    "changes_of",
    "check_hold",
    "check_room",
    "check_wants",
    "derive",
    "queue_of",
    "settle_key",
]

SETTLED_FOR: Final = "settled_for"
"""The relation from a message to the consumer group that is done with it."""
QUEUED: Final = "queued"
"""The fact that says from when on a consumer group gets a message again."""
PRIORITY_MAX: Final = 9
TAKEN_MAX: Final = 1_000
"""Most messages that one take hands out."""
PROMOTED_MAX: Final = 1_000
"""Most messages that become due within one take; the next take goes on."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that a consumer group has not settled.

    Attributes:
        seq: the row of the ledger that put it there: its place among those of one priority.
        ordering: which messages wait for each other, as an HMAC; None for one that waits for nobody.
        ready_at: from when on it is handed out.
        failures: tries that failed.
        state: ``ready``, ``later`` (from `ready_at` on), ``leased``, or ``blocked`` behind one of its ordering key.
        taken: how often it was handed out.
    """

    group: str
    message: str
    seq: int
    priority: int
    ordering: bytes | None
    size: int
    ready_at: Micros
    failures: int
    state: str = "ready"
    owner: str | None = None
    fence: int = 0
    until: Micros = 0
    taken: int = 0

    @property
    def stated(self) -> tuple[object, ...]:
        """What the ledger knows of it."""
        return self.seq, self.priority, self.ordering, self.size, self.ready_at, self.failures


@dataclass(frozen=True, slots=True)
class Want:
    """How many messages of a consumer group *owner* wants, and for how long each is to be its own."""

    group: str
    owner: str
    most: int
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was handed out: `fence` grows with each time, and only its owner may settle it until `until`.

    Attributes:
        node: what it says; None when that is not there any more.
    """

    group: str
    message: str
    owner: str
    fence: int
    until: Micros
    failures: int
    taken: int
    node: Node | None = None

    @property
    def hold(self) -> Hold:
        """What a unit that settles it is guarded by."""
        return Hold(self.group, self.message, self.owner, self.fence)


@dataclass(frozen=True, slots=True)
class Lane:
    """How much waits for a consumer group, and when the next message is due that is not ready yet."""

    group: str
    pending: int = 0
    bytes: int = 0
    next_at: Micros | None = None


class MessageQueue(Protocol):
    """What a store that hands out messages does beside `GraphStore`; `conformance.queueing` holds it to that.

    Every method may raise UnavailableError (``store.*``), and NotFoundError (``space.unknown``).
    """

    async def take(self, space: str, wants: Sequence[Want]) -> tuple[tuple[Taken, ...], ...]:
        """Hand out messages that are due, the highest priority first and the oldest of it, to each of *wants*.

        No message is handed out to two: whoever has it owns it until its time is over. It costs no more where many
        wait. Raises LimitError above `TAKEN_MAX`.
        """
        ...

    async def extend(self, space: str, hold: Hold, ttl_s: float) -> Micros:
        """Let a message be its owner's for *ttl_s* from now; return until when.

        Raises ConflictError (``lease.lost``).
        """
        ...

    async def hand_back(self, space: str, holds: Sequence[Hold]) -> int:
        """Let others have messages at once that are still their owners'; return how many were."""
        ...

    async def lanes(self, space: str, groups: Sequence[str]) -> Mapping[str, Lane]:
        """Return how much waits for each of *groups*, without counting."""
        ...

    async def queued(self, space: str, group: str, *, first: int = 100, after: str | None = None) -> Page[Queued]:
        """List what waits for a consumer group, in the order in which it was put there.

        Raises InvalidError (``cursor.invalid``).
        """
        ...


@dataclass(frozen=True, slots=True)
class Put:
    """A message is put before a group; *anew* when it may have been there before."""

    row: Queued
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """A try at a message failed: its group gets it again from *ready_at* on."""

    group: str
    message: str
    ready_at: Micros
    failures: int


@dataclass(frozen=True, slots=True)
class Settle:
    """A group is done with a message.

    Attributes:
        group: None when the row that says so was erased: it is the one whose `settle_key` is *key*.
    """

    message: str
    group: str | None
    key: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """A message was erased: no group gets it."""

    message: str


Step: TypeAlias = Put | Later | Settle | Gone


def queue_of(store: object) -> MessageQueue:
    """Return *store* as what hands out messages. Raises InvalidError when it does not."""
    kind = type(store)
    # One that passes on what it is asked for has no methods of its own.
    if not hasattr(kind, "take") and not hasattr(kind, "__getattr__"):
        msg = f"{type(store).__name__} hands out no messages; open a SQLite file, a Neo4j or the reference store"
        raise InvalidError(msg, code="store.url_invalid")
    return cast("MessageQueue", store)


def as_of(row: Queued, now: Micros) -> Queued:
    """Return a stored row as it stands at *now*: what was put off or handed out may be due."""
    due = {"leased": row.until, "later": row.ready_at}.get(row.state)
    return row if due is None or due > now else replace(row, state="ready")


def settle_key(secret: bytes, message: str, group: str) -> bytes:
    """Return the key of the fact that *group* is done with *message*; what is left of an erased one still has it."""
    return key_id(secret, canonical_json([message, SETTLED_FOR, f"@{group}"]))


def _ordering(secret: bytes, text: Json) -> bytes | None:
    return key_id(secret, canonical_json(["ordering", text])) if isinstance(text, str) else None


def _int(value: Json, otherwise: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def changes_of(event: Event, seq: int, secret: bytes) -> list[Step]:
    """Return how an event of the execution ledger at *seq* moves the queue view."""
    if event.kind is EventKind.ERASED:
        return [Gone(one) for one, kind in erasure_of(event).nodes.items() if kind is NodeKind.MESSAGE]
    payload = event.payload
    if event.kind is EventKind.DECLARED and payload.get("kind") == NodeKind.MESSAGE.value:
        return _put(event, seq, secret)
    if event.kind is not EventKind.ASSERTED:
        return []
    predicate = payload.get("predicate")
    if predicate == SETTLED_FOR or not payload:
        target = payload.get("object")
        return [Settle(event.subject, target if isinstance(target, str) else None, event.key or b"")]
    return _again(event, seq, secret) if predicate == QUEUED else []


def _put(event: Event, seq: int, secret: bytes) -> list[Step]:
    said = event.payload.get("attributes")
    queue = said.get("queue") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(queue, dict):
        return []
    groups = queue.get("groups")
    ordering = _ordering(secret, said.get("orderingkey"))
    return [
        Put(Queued(
            group, event.subject, seq, _int(said.get("priority")), ordering, _int(queue.get("size")),
            _int(queue.get("ready_at")), 0,
        ))
        for group in (groups if isinstance(groups, list) else []) if isinstance(group, str)
    ]  # fmt: skip


def _again(event: Event, seq: int, secret: bytes) -> list[Step]:
    value = event.payload.get("value")
    said = value.get("data") if isinstance(value, dict) else None
    group = said.get("group") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(group, str):
        return []
    ready_at = _int(said.get("ready_at"))
    if said.get("anew") is not True:
        return [Later(group, event.subject, ready_at, _int(said.get("failures")))]
    ordering = _ordering(secret, said.get("orderingkey"))
    row = Queued(
        group, event.subject, seq, _int(said.get("priority")), ordering, _int(said.get("size")), ready_at, 0
    )  # fmt: skip
    return [Put(row, anew=True)]


@dataclass(slots=True)
class QueueChange:
    """What a group of units does to the queue view of one space, collapsed: take away, put, put off.

    What is to be written: `drops` first, then `puts`, then `laters`; and nothing is left of messages that are `gone`.

    Attributes:
        again: what is put may stand there already.
    """

    puts: dict[tuple[str, str], Queued] = field(default_factory=dict[tuple[str, str], Queued])
    drops: dict[tuple[str, str], None] = field(default_factory=dict[tuple[str, str], None])
    blind: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    laters: dict[tuple[str, str], Later] = field(default_factory=dict[tuple[str, str], Later])
    gone: dict[str, None] = field(default_factory=dict[str, None])
    again: bool = False

    @property
    def any(self) -> bool:
        """Whether there is something to write."""
        return bool(self.puts or self.drops or self.laters or self.gone or self.blind)

    def follow(self, steps: Iterable[Step]) -> None:
        """Take *steps* in, in their order."""
        for step in steps:
            if isinstance(step, Put):
                self.again = self.again or step.anew
                self.puts[step.row.group, step.row.message] = step.row
            elif isinstance(step, Later):
                self._put_off(step)
            elif isinstance(step, Gone):
                self.gone[step.message] = None
                for one in [one for one in self.puts if one[1] == step.message]:
                    del self.puts[one]
            elif step.group is None:
                self.blind.append((step.message, step.key))
            else:
                self._drop((step.group, step.message))

    def _drop(self, one: tuple[str, str]) -> None:
        self.puts.pop(one, None)
        self.laters.pop(one, None)
        # What the group of units found there goes in any case: it was settled, or is put anew.
        self.drops[one] = None

    def _put_off(self, step: Later) -> None:
        one = (step.group, step.message)
        row = self.puts.get(one)
        if row is not None:
            self.puts[one] = replace(row, ready_at=step.ready_at, failures=step.failures)
        elif one not in self.drops:
            self.laters[one] = step

    def resolve(self, secret: bytes, groups_of: Callable[[str], Iterable[str]]) -> None:
        """Find out which groups erased rows settled, among those that *groups_of* a message are stored."""
        for message, key in self.blind:
            groups = {*groups_of(message), *(group for group, one in self.puts if one == message)}
            for group in sorted(groups):
                if settle_key(secret, message, group) == key:
                    self._drop((group, message))
        self.blind.clear()

    def settled(self, group: str, message: str) -> bool:
        """Whether an earlier unit of the group took the message away or put it off."""
        one = (group, message)
        return one in self.drops or one in self.laters or message in self.gone

    def added(self, group: str) -> tuple[int, int]:
        """Return how many messages, and bytes, earlier units of the group put before *group*."""
        rows = [row for (one, _), row in self.puts.items() if one == group]
        return len(rows), sum(row.size for row in rows)


def derive(secret: bytes, events: Iterable[tuple[int, Event]]) -> dict[tuple[str, str], Queued]:
    """Return what the execution ledger's *events* about some messages, in their order, leave before each group."""
    change = QueueChange()
    for seq, event in events:
        change.follow(changes_of(event, seq, secret))
        change.resolve(secret, lambda _: ())
        for one in [one for one in change.puts if one[1] in change.gone]:
            del change.puts[one]
        change.drops.clear()
        change.laters.clear()
    return dict(change.puts)


def check_hold(hold: Hold, row: Queued | None, now: Micros, *, settled: bool) -> None:
    """Refuse whoever acts on a message that is no longer theirs. Raises ConflictError (``lease.lost``)."""
    if row is not None and not settled:
        if (row.owner, row.fence) == (hold.owner, hold.fence) and row.until > now:
            return
        what = f"stale fence {hold.fence} < {row.fence}" if row.fence > hold.fence else "its time ran out"
        current = row.fence
    else:
        what, current = "it is settled, or was never handed out", hold.fence
    msg = f"the message {hold.message} is not yours any more: {what}; receive again before you act on it"
    raise ConflictError(msg, code="lease.lost", message_id=hold.message, fence=hold.fence, current=current)


def check_wants(wants: Sequence[Want]) -> None:
    """Refuse to hand out more at once than may be. Raises LimitError."""
    for want in wants:
        if not 1 <= want.most <= TAKEN_MAX:
            msg = f"{want.most} messages at once; 1 to {TAKEN_MAX:,} are handed out"
            raise LimitError(msg, limit="TAKEN_MAX", maximum=TAKEN_MAX)


def check_room(room: Room, lane: Lane, added: tuple[int, int]) -> None:
    """Refuse a message for which there is no room. Raises LimitError (``channel.full``)."""
    pending, size = lane.pending + added[0], lane.bytes + added[1]
    if pending >= room.pending_max:
        limit, met, maximum = "pending_max", pending, room.pending_max
    elif size >= room.bytes_max:
        limit, met, maximum = "bytes_max", size, room.bytes_max
    else:
        return
    msg = f"{met:,} wait for the consumer group {room.group}, its channel's {limit} is {maximum:,}; try again later"
    raise LimitError(msg, code="channel.full", limit=limit, maximum=maximum, group=room.group, retry_after_s=1)
