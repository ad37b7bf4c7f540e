"""Publishing: one commit a message, once, whole, and only what fits its channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from latewood.execution.messages.post import Post
from latewood.execution.messages.schemas import check_data
from latewood.execution.messages.words import PAYLOAD_BYTES_MAX, Channel, Published
from latewood.graph_schema.clock import Micros, from_micros, iso, parse_instant
from latewood.graph_schema.commands import Command, Expect, Guard, Ref, Room
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError
from latewood.graph_schema.given import checked
from latewood.graph_schema.ids import is_id
from latewood.graph_schema.values import Json, Value, canonical_json, check_text
from latewood.storage.crashpoints import reach
from latewood.storage.queueing import PRIORITY_MAX

__all__ = ["CAUSES_MAX", "DELAY_S_MAX", "Sending", "plain_json"]

CAUSES_MAX: Final = 50
"""Most things that one message names as its causes."""
DELAY_S_MAX: Final = 366 * 86_400
"""Longest delay of a message, in seconds."""
_ATTRIBUTE_BYTES_MAX: Final = 1_000
_EXTENSIONS_MAX: Final = 20
_TRIES_MAX: Final = 5
_ENVELOPE: Final = frozenset({"specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data",
                              "dataschema", "data_base64"})  # fmt: skip


def plain_json(given: object, where: str, bytes_max: int = PAYLOAD_BYTES_MAX) -> tuple[Json, int]:
    """Return *given* as it will be read again, and its bytes. Raises InvalidError, LimitError."""
    document = Value.of({"value": given}, where=where).data
    assert isinstance(document, dict)  # noqa: S101 - it was one two lines ago
    size = len(canonical_json(document["value"]).encode())
    if size > bytes_max:
        msg = f"{where} has {size:,} bytes, more than {bytes_max:,}; keep it elsewhere and send its address"
        raise LimitError(msg, code="text.too_long", maximum=bytes_max, size=size)
    return document["value"], size


@checked
class Sending:
    """How messages are published; a part of `Messages`."""

    _post: Post

    async def publish(
        self, channel: str, data: object, *, type: str | None = None, subject: str | None = None,  # noqa: A002
        source: str | None = None, event_id: str | None = None, time: datetime | None = None,
        extensions: Mapping[str, Json] | None = None, idempotency_key: str | None = None,
        ordering_key: str | None = None, priority: int = 0, delay_s: float = 0.0, expires_s: float | None = None,
        caused_by: Sequence[str] = (), also: Sequence[Command] = (),
        message_id: str | None = None, guard: Guard | None = None,
    ) -> Published:  # fmt: skip
        """Publish a message and return when it is durable: one commit, shared with whoever writes at the same time.

        Args:
            data: anything that JSON has, at most `PAYLOAD_BYTES_MAX` bytes, fitting the channel's schema.
            type: of the CloudEvent; the channel's name unless said. *source* is the actor unless said.
            event_id: of the CloudEvent; with it, source and id are the idempotency key, as CloudEvents has it.
            idempotency_key: the same key with the same data is kept once, across restarts and processes.
            ordering_key: no later message of this key is handed out while an earlier one is not settled.
            priority: 0 to 9; higher ones are handed out first.
            delay_s: how long nobody gets it. *expires_s*: after how long it becomes a dead letter.
            caused_by: ids or keys of the run, decision, fact or message that it follows from.
            also: further commands of the execution ledger that are kept with it or not at all.
            message_id: its id, where the caller must know it before; *guard*: a lease that the unit is under.

        Raises:
            InvalidError: it does not fit the schema (``message.refused``, with its path); nothing was enqueued.
            NotFoundError: code ``channel.unknown``.
            LimitError: codes ``channel.full`` (come back later), ``text.too_long``.
            ConflictError: the idempotency key came before with other data (``idempotency.conflict``).
        """
        post = self._post
        message_id, now = message_id or post.book.ids.new(), post.book.clock.now()
        payload, size = plain_json(data, f"the data of a message to {channel[:80]!r}")
        spec = self._spec(
            channel, payload, message_id, now, type=type, subject=subject, source=source, event_id=event_id, time=time,
            extensions=extensions, ordering_key=ordering_key, priority=priority,
        )  # fmt: skip
        _dated(spec, now, delay_s, expires_s)
        body: dict[str, Json] = {
            name: value for name, value in spec.items() if name not in ("id", "time", "expires_at")
        }
        body |= {"delay_s": delay_s, "expires_s": expires_s, "caused_by": list(caused_by), "id": event_id}
        op = idempotency_key if event_id is None or idempotency_key else f"{spec['source']} {event_id}"
        ready_at = now + round(delay_s * 1_000_000) if delay_s else 0
        for left in reversed(range(_TRIES_MAX)):
            known, expects = await self._target(channel, payload, spec, fresh=left < _TRIES_MAX - 1)
            groups = [group.id for group in known.groups]
            queue: dict[str, Json] = {"groups": cast("Json", groups), "size": size, "ready_at": ready_at}
            spec |= {"channel": known.name, "schema_version": known.version, "queue": queue}
            commands = [*post.write.message(message_id, known.id, spec, _causes(caused_by)), *also]
            unit = post.unit(
                commands, body=body, op=None if op is None else f"publish:{channel}:{op}", expects=expects,
                rooms=_rooms(known), guard=guard,
            )  # fmt: skip
            try:
                receipt = await post.submit(unit)
            except ConflictError as error:
                # A group or a schema came between: it is read again, so that the message misses neither.
                if error.code != "version.conflict" or not left:
                    raise
                continue
            reach("message.published")
            kept = next((one for key, one in receipt.nodes.items() if key.startswith("message:")), message_id)
            return Published(kept, receipt.id, duplicate=receipt.replayed)
        raise AssertionError

    async def _target(
        self, channel: str, data: Json, spec: dict[str, Json], *, fresh: bool
    ) -> tuple[Channel, list[Expect]]:  # fmt: skip
        """Return the channel that a message goes to, by the rules of the one that it is sent to, and what is expected.

        What a message says must fit both.
        """
        known = await self._post.channel(channel, fresh=fresh)
        if known.schema is not None:
            check_data(known.schema, data, known.name)
        expects = [Expect(Ref(id=known.id), known.node_version)]
        if known.routes is None:
            return known, expects
        rule = known.routes.goes(data)
        spec["rule"] = f"{channel}@{known.routes.version}" + ("" if rule is None else f"/{rule.name}")
        if rule is None:
            return known, expects
        target = await self._post.channel(rule.to, fresh=fresh)
        if target.schema is not None:
            check_data(target.schema, data, target.name)
        return target, [*expects, Expect(Ref(id=target.id), target.node_version)]

    def _spec(
        self, channel: str, data: Json, message_id: str, now: Micros, *, type: str | None, subject: str | None,  # noqa: A002
        source: str | None, event_id: str | None, time: datetime | None, extensions: Mapping[str, Json] | None,
        ordering_key: str | None, priority: int,
    ) -> dict[str, Json]:  # fmt: skip
        """Put the envelope together, with what is asked of the channel."""
        if not 0 <= priority <= PRIORITY_MAX:
            raise InvalidError(f"a priority is 0 to {PRIORITY_MAX}, not {priority}")
        further = dict(extensions or {})
        taken = sorted(further.keys() & _ENVELOPE)
        if taken or len(further) > _EXTENSIONS_MAX:
            what = f"not {', '.join(taken)}" if taken else f"at most {_EXTENSIONS_MAX}"
            raise InvalidError(f"extensions are further attributes of the envelope, {what}", code="event.malformed")
        spec: dict[str, Json] = {
            "specversion": "1.0", "id": event_id or message_id, "type": type or channel,
            "source": source or self._post.book.actor, "channel": channel,
            "time": iso(from_micros(now) if time is None else time), "data": data,
            "priority": priority,
        }  # fmt: skip
        named = {"subject": subject, "orderingkey": ordering_key}
        spec |= {name: value for name, value in named.items() if value is not None}
        for name in ("id", "type", "source", "subject", "orderingkey"):
            value = spec.get(name)
            if value == "":
                raise InvalidError(f"the {name} of a message is empty; leave it out", code="event.malformed")
            if isinstance(value, str):
                check_text(value, f"the {name} of a message", bytes_max=_ATTRIBUTE_BYTES_MAX)
        if further:
            spec["extensions"], _ = plain_json(further, "the further attributes of an envelope", 16_000)
        return spec

    async def publish_event(
        self, channel: str, event: Mapping[str, object], *, ordering_key: str | None = None, priority: int = 0,
        delay_s: float = 0.0, expires_s: float | None = None, caused_by: Sequence[str] = (),
    ) -> Published:  # fmt: skip
        """Publish a CloudEvent 1.0 as it came, in JSON; its id and source are the idempotency key.

        Raises InvalidError (``event.malformed``), and as `publish` does.
        """
        named = all(isinstance(event.get(one), str) for one in ("id", "source", "type"))
        if event.get("specversion") != "1.0" or not named:
            msg = "this is no CloudEvent 1.0 in JSON: specversion '1.0', id, source and type are wanted"
            raise InvalidError(msg, code="event.malformed")
        if "data_base64" in event:
            msg = "the event's data are bytes (data_base64); a channel takes JSON: send them as text"
            raise InvalidError(msg, code="event.malformed")
        subject, time = event.get("subject"), event.get("time")
        extensions = {name: cast("Json", value) for name, value in event.items() if name not in _ENVELOPE}
        return await self.publish(
            channel, event.get("data"), type=str(event["type"]), source=str(event["source"]),
            event_id=str(event["id"]), subject=subject if isinstance(subject, str) else None,
            time=parse_instant(time) if isinstance(time, str) else None, extensions=extensions,
            ordering_key=ordering_key, priority=priority, delay_s=delay_s, expires_s=expires_s, caused_by=caused_by,
        )  # fmt: skip


def _dated(spec: dict[str, Json], now: Micros, delay_s: float, expires_s: float | None) -> None:
    if not 0 <= delay_s <= DELAY_S_MAX:
        raise InvalidError(f"a message waits 0 to {DELAY_S_MAX:,} seconds, not {delay_s}")
    if expires_s is None:
        return
    if not delay_s < expires_s <= DELAY_S_MAX:
        msg = f"a message that expires after {expires_s} s, and that nobody gets before {delay_s} s, is never received"
        raise InvalidError(msg, code="message.expired")
    spec["expires_at"] = now + timedelta(seconds=expires_s) // timedelta(microseconds=1)


def _causes(named: Sequence[str]) -> list[Ref]:
    if len(named) > CAUSES_MAX:
        msg = f"{len(named)} causes of one message, more than {CAUSES_MAX}; name those that matter"
        raise LimitError(msg, limit="CAUSES_MAX", maximum=CAUSES_MAX)
    return [Ref(id=one) if is_id(one) else Ref(key=one, create=False) for one in dict.fromkeys(named)]


def _rooms(channel: Channel) -> list[Room]:
    limits = channel.limits
    return [Room(group.id, limits.pending_max, limits.bytes_max) for group in channel.groups]
