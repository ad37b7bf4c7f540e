"""Where messages are written and read: nodes and facts of the execution ledger, and the store's queue view."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from latewood.execution.logbook import Logbook
from latewood.execution.messages.routing import routes_from
from latewood.execution.messages.words import Channel, DeadLetter, Delivery, Group, Limits, Message, policy_from
from latewood.execution.messages.writing import (
    CONFIG,
    DEAD_LETTER_OF,
    HAS_DELIVERY,
    HAS_GROUP,
    Writer,
)
from latewood.graph_schema.clock import AsOf, from_micros
from latewood.graph_schema.commands import ActorSpec, Command, Expect, Guard, Hold, Room, Unit
from latewood.graph_schema.errors import InvalidError, NotFoundError, UnavailableError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import is_id, normal_id
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Fact, Node, NodeKind
from latewood.graph_schema.values import Json
from latewood.storage.port import FactQuery
from latewood.storage.queueing import SETTLED_FOR, MessageQueue, queue_of

__all__ = ["Post", "delivery_of", "message_of"]

# What was written last holds, whatever the clock of the process that reads it says.
_LATEST: Final = AsOf(valid_at=datetime(9999, 1, 1, tzinfo=UTC))
_READ_AT_ONCE: Final = 1_000
_KEEP_TRIES_MAX: Final = 6
_KEEP_WAIT_FIRST_S: Final = 0.05


@dataclass(slots=True)
class Post:
    """The messages of one space, and who writes them.

    Attributes:
        met: channels by name, as they were when they were last looked at; a publisher's unit expects them to be so.
    """

    book: Logbook
    met: dict[str, Channel] = field(default_factory=dict[str, Channel])

    @property
    def write(self) -> Writer:
        """What makes commands."""
        return Writer(self.book.ids)

    @property
    def queue(self) -> MessageQueue:
        """What hands messages out."""
        return queue_of(self.book.store)

    def unit(
        self, commands: Sequence[Command], *, body: Json, op: str | None = None, expects: Sequence[Expect] = (),
        holds: Sequence[Hold] = (), rooms: Sequence[Room] = (), guard: Guard | None = None,
    ) -> Unit:  # fmt: skip
        """Make a unit of the execution ledger. Raises InvalidError (``actor.missing``)."""
        book = self.book
        if not book.actor:
            msg = "a write needs an actor: say `by` whom, such as human:you"
            raise InvalidError(msg, code="actor.missing")
        unit_id = book.ids.new()
        return Unit(
            id=unit_id, space=book.space, actor=ActorSpec(book.actor, book.on_behalf_of), trust=book.trust,
            body=body_digest(body), commands=tuple(commands), ledger="execution",
            op=op or f"latewood.messages:{unit_id}", session=book.session, expects=tuple(expects),
            guard=guard, holds=tuple(holds), rooms=tuple(rooms),
        )  # fmt: skip

    async def submit(self, unit: Unit) -> Receipt:
        """Keep *unit*, once: a store that is gone for a moment is asked again with the same key.

        Raises:
            RefusedError: it cannot be kept.
            UnavailableError: the store stayed away.
        """
        wait_s = _KEEP_WAIT_FIRST_S
        for _ in range(_KEEP_TRIES_MAX - 1):
            try:
                return await self.book.journal.submit(self.book.store, unit)
            except UnavailableError as error:
                if error.code == "store.closed":
                    raise
            await asyncio.sleep(wait_s)
            wait_s *= 2
        return await self.book.journal.submit(self.book.store, unit)

    async def facts(self, subjects: Sequence[str], predicates: Sequence[str]) -> dict[str, list[Fact]]:
        """Return what holds of each of *subjects*."""
        found: dict[str, list[Fact]] = {}
        for begin in range(0, len(subjects), _READ_AT_ONCE):
            query = FactQuery(subjects=subjects[begin : begin + _READ_AT_ONCE], predicates=predicates)
            for fact in await self.book.store.facts(self.book.space, query, _LATEST):
                found.setdefault(fact.subject_id, []).append(fact)
        return found

    async def channel(self, name: str, *, fresh: bool = False) -> Channel:
        """Return a channel by its name. Raises NotFoundError (``channel.unknown``)."""
        found = None if fresh else self.met.get(name)
        if found is None:
            nodes = await self.book.store.nodes(self.book.space, keys=[f"channel:{name}"])
            listed = await self.channels_of([node for node in nodes.values() if node.kind is NodeKind.CHANNEL])
            if not listed:
                msg = f"space {self.book.space!r} has no channel {name[:80]!r}; `channels` lists them"
                raise NotFoundError(msg, code="channel.unknown", channel=name[:80])
            found = self.met[name] = listed[0]
        return found

    async def channels_of(self, nodes: Sequence[Node]) -> list[Channel]:
        """Return the channels that *nodes* are.

        Their versions are read before what they say: who expects a version is told of what came since.
        """
        said = await self.facts([node.id for node in nodes], [CONFIG, HAS_GROUP])
        groups = [fact.object_id for facts in said.values() for fact in facts if fact.object_id is not None]
        known = await self.nodes(groups)
        return [_channel(node, said.get(node.id, []), known) for node in nodes]

    async def nodes(self, ids: Sequence[str]) -> dict[str, Node]:
        """Return those of the nodes *ids* that are there."""
        found: dict[str, Node] = {}
        for begin in range(0, len(ids), _READ_AT_ONCE):
            found |= await self.book.store.nodes(self.book.space, ids=ids[begin : begin + _READ_AT_ONCE])
        return found

    async def group(self, channel: Channel, name: str) -> Group:
        """Return a group of a channel. Raises NotFoundError (``channel.unknown``)."""
        found = channel.group(name)
        if found is None:
            # It may have come since the channel was looked at.
            found = (await self.channel(channel.name, fresh=True)).group(name)
        if found is None:
            names = ", ".join(group.name for group in channel.groups)
            msg = f"channel {channel.name!r} has no group {name[:80]!r}, but {names}; make it with `subscribe`"
            raise NotFoundError(msg, code="channel.unknown", channel=channel.name, group=name[:80])
        return found

    async def messages(self, ids: Sequence[str]) -> dict[str, Message]:
        """Return those of the messages *ids* that are there and not erased."""
        read = {one: message_of(node) for one, node in (await self.nodes(ids)).items()}
        return {one: message for one, message in read.items() if message is not None}

    async def message(self, name: str) -> Message:
        """Return a message by its id or key. Raises NotFoundError (``message.unknown``)."""
        one = normal_id(name.removeprefix("message:"))
        found = await self.messages([one]) if is_id(one) else {}
        if one not in found:
            raise self.unknown(name)
        return found[one]

    def unknown(self, name: str) -> NotFoundError:
        """Say that there is no such message or dead letter."""
        msg = f"space {self.book.space!r} has no message or dead letter {name[:80]!r}; `messages` lists them"
        return NotFoundError(msg, code="message.unknown", message_id=name[:80])

    async def settled_groups(self, message_id: str) -> set[str]:
        """Return the ids of the groups that are done with a message."""
        facts = (await self.facts([message_id], [SETTLED_FOR])).get(message_id, [])
        return {fact.object_id for fact in facts if fact.object_id is not None}

    async def deliveries(self, message_id: str) -> tuple[Delivery, ...]:
        """Return the tries that a message has had, in the order in which they were kept."""
        facts = (await self.facts([message_id], [HAS_DELIVERY])).get(message_id, [])
        nodes = await self.nodes([fact.object_id for fact in facts if fact.object_id is not None])
        listed = [delivery_of(node) for node in nodes.values() if "outcome" in node.attributes]
        return tuple(sorted(listed, key=lambda one: (one.recorded_at, one.id)))

    async def dead_letters(self, nodes: Sequence[Node]) -> list[DeadLetter]:
        """Return the dead letters that *nodes* are, with their messages."""
        said = await self.facts([node.id for node in nodes], ["status", DEAD_LETTER_OF])
        wanted = [fact.object_id for facts in said.values() for fact in facts if fact.object_id is not None]
        messages = await self.messages(wanted)
        return [_dead_letter(node, said.get(node.id, []), messages) for node in nodes]


def _int(value: Json, otherwise: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _channel(node: Node, facts: Sequence[Fact], groups: Mapping[str, Node]) -> Channel:
    config: dict[str, Json] = {}
    own: list[Group] = []
    for fact in facts:
        if fact.predicate == CONFIG and fact.value is not None:
            config = _object(fact.value.data)
        elif fact.object_id is not None and fact.object_id in groups:
            own.append(_group(groups[fact.object_id]))
    schema, limits = config.get("schema"), _object(config.get("limits"))
    return Channel(
        node.id, node.name, schema if isinstance(schema, dict) else None, _int(config.get("version"), 1),
        _text(config.get("owner")),
        Limits(_int(limits.get("pending_max"), Limits.pending_max), _int(limits.get("bytes_max"), Limits.bytes_max)),
        policy_from(config.get("policy")), tuple(sorted(own, key=lambda one: one.name)), node.version,
        routes_from(config.get("routes")),
    )  # fmt: skip


def _group(node: Node) -> Group:
    said = node.attributes
    policy = policy_from(said["policy"]) if "policy" in said else None
    name = str(said.get("group", node.name))
    return Group(node.id, name, _int(said.get("reads"), 1), _text(said.get("owner")), policy)


def message_of(node: Node) -> Message | None:
    """Return the message that *node* is, None for what is none or was erased."""
    said = node.attributes
    if node.kind is not NodeKind.MESSAGE or "channel" not in said:
        return None
    expires = said.get("expires_at")
    return Message(
        id=node.id, channel=str(said["channel"]), type=node.type, source=str(said.get("source", "")),
        event_id=str(said.get("id", node.id)), time=str(said.get("time", "")), data=said.get("data"),
        version=_int(said.get("schema_version"), 1), recorded_at=node.recorded_at, subject=_text(said.get("subject")),
        ordering_key=_text(said.get("orderingkey")), priority=_int(said.get("priority")),
        expires_at=from_micros(expires) if isinstance(expires, int) else None, rule=_text(said.get("rule")),
        size=_int(_object(said.get("queue")).get("size")), extensions=_object(said.get("extensions")),
    )  # fmt: skip


def delivery_of(node: Node) -> Delivery:
    """Return the try at a message that *node* is."""
    said = node.attributes
    return Delivery(
        node.id, str(said.get("message", "")), str(said.get("group", "")), _int(said.get("number"), 1), node.type,
        str(said.get("consumer", "")), node.recorded_at, _text(said.get("class")), _text(said.get("words")),
        _object(said.get("told")),
    )  # fmt: skip


def _dead_letter(node: Node, facts: Sequence[Fact], messages: Mapping[str, Message]) -> DeadLetter:
    said, status, message = node.attributes, "open", None
    for fact in facts:
        if fact.predicate == "status" and fact.value is not None:
            status = str(fact.value.data)
        elif fact.object_id is not None:
            message = messages.get(fact.object_id)
    return DeadLetter(
        node.id, str(said.get("channel", "")), str(said.get("group", "")), str(said.get("class", "")),
        str(said.get("reason", "")), _text(said.get("trace")), _int(said.get("tries"), 1), _text(said.get("owner")),
        status, node.recorded_at, message,
    )  # fmt: skip
