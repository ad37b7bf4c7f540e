"""What channels, messages, deliveries and dead letters are in the graph: the commands that write each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from latewood.execution.faults import keepable
from latewood.execution.writing import Writing
from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Assert, Command, Declare, Ref
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Json
from latewood.storage.queueing import QUEUED, SETTLED_FOR

__all__ = ["CAUSED_BY", "CONFIG", "DEAD_LETTER_OF", "HAS_DELIVERY", "HAS_GROUP", "SENT_TO", "Writer", "cut"]

CONFIG: Final = "channel.config"
HAS_GROUP: Final = "has_group"
SENT_TO: Final = "sent_to"
CAUSED_BY: Final = "caused_by"
HAS_DELIVERY: Final = "has_delivery"
DEAD_LETTER_OF: Final = "dead_letter_of"
_NAME_CHARS_MAX: Final = 200
_WORDS_CHARS_MAX: Final = 500
_TRACE_CHARS_MAX: Final = 8_000


def cut(text: str, most: int = _WORDS_CHARS_MAX) -> str:
    """Return *text* as far as it is kept, without what cannot be stored."""
    plain = keepable(text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


@dataclass(frozen=True, slots=True)
class Writer(Writing):
    """Makes the commands; *ids* are fresh each time."""

    def channel(self, channel_id: str, name: str, config: Mapping[str, Json]) -> list[Command]:
        """Declare a channel."""
        return [
            Declare(channel_id, NodeKind.CHANNEL, "channel", f"channel:{name}", name),
            self.config(channel_id, config),
        ]

    def config(self, channel_id: str, config: Mapping[str, Json]) -> Assert:
        """Say what a channel takes from here on; what it took before stays in its history."""
        return self.fact(channel_id, CONFIG, dict[str, object](config))

    def group(self, channel_id: str, channel: str, name: str, reads: int) -> list[Command]:
        """Declare a group of consumers."""
        group_id = self.ids.new()
        spec: dict[str, Json] = {"channel": channel, "group": name, "reads": reads}
        declared = Declare(group_id, NodeKind.GROUP, "group", f"group:{channel}/{name}", f"{channel}/{name}", spec)
        return [declared, self.edge(channel_id, HAS_GROUP, group_id)]

    def message(
        self, message_id: str, channel_id: str, spec: Mapping[str, Json], caused_by: Iterable[Ref]
    ) -> list[Command]:  # fmt: skip
        """Declare a message: what it says is fixed, so all of it are its attributes."""
        title = str(spec.get("subject") or spec["type"])
        declared = Declare(
            message_id, NodeKind.MESSAGE, str(spec["type"])[:_NAME_CHARS_MAX], f"message:{message_id}",
            title[:_NAME_CHARS_MAX], dict(spec),
        )  # fmt: skip
        made: list[Command] = [declared, self.edge(message_id, SENT_TO, channel_id)]
        own = Ref(id=message_id)
        made += [Assert(self.ids.new(), own, CAUSED_BY, object=cause, relation=True) for cause in caused_by]
        return made

    def delivery(
        self, message_id: str, group_id: str, number: int, outcome: str, consumer: str, **more: Json
    ) -> list[Command]:  # fmt: skip
        """Keep a try at a message; one of which *told* says something is found by its group too."""
        delivery_id = self.ids.new()
        spec: dict[str, Json] = {
            "message": message_id, "group": group_id, "number": number, "outcome": outcome, "consumer": consumer,
            **{name: value for name, value in more.items() if value is not None},
        }  # fmt: skip
        title = f"{outcome}, try {number}"
        made: list[Command] = [
            Declare(delivery_id, NodeKind.DELIVERY, outcome, None, title, spec),
            self.edge(message_id, HAS_DELIVERY, delivery_id),
        ]
        return [*made, self.edge(delivery_id, "about", group_id)] if "told" in spec else made

    def settled(self, message_id: str, group_id: str) -> Assert:
        """Say that a group is done with a message."""
        return self.edge(message_id, SETTLED_FOR, group_id)

    def again(self, message_id: str, group_id: str, ready_at: Micros, failures: int) -> Assert:
        """Say that a try failed, and from when on the message is handed out again."""
        said: dict[str, object] = {"group": group_id, "ready_at": ready_at, "failures": failures}
        return self.fact(message_id, QUEUED, said)

    def anew(
        self, message_id: str, group_id: str, *, priority: int, size: int, ordering_key: str | None
    ) -> Assert:  # fmt: skip
        """Say that a group gets a message as if it came for the first time."""
        said: dict[str, object] = {
            "group": group_id, "anew": True, "ready_at": 0, "priority": priority, "size": size,
        }  # fmt: skip
        if ordering_key is not None:
            said["orderingkey"] = ordering_key
        return self.fact(message_id, QUEUED, said)

    def dead_letter(
        self, message_id: str, *, channel: str, group: str, group_id: str, owner: str | None, fault: str, reason: str,
        trace: str | None, tries: int,
    ) -> tuple[str, list[Command]]:  # fmt: skip
        """Declare a dead letter; it has no schema, and whatever is too long is cut, so that nothing can refuse it."""
        one = self.ids.new()
        spec: dict[str, Json] = {
            "channel": channel, "group": group, "group_id": group_id, "class": fault, "reason": cut(reason),
            "tries": tries,
        }  # fmt: skip
        if owner is not None:
            spec["owner"] = owner
        if trace is not None:
            spec["trace"] = cut(trace, _TRACE_CHARS_MAX)
        declared = Declare(one, NodeKind.DEADLETTER, fault, f"dead-letter:{one}", f"{channel}: {fault}", spec)
        return one, [
            declared, self.edge(one, DEAD_LETTER_OF, message_id), self.fact(one, "status", "open"),
            self.settled(message_id, group_id),
        ]  # fmt: skip
