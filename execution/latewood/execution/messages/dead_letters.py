"""What nobody could settle, how it is tried again, and how the past is handed out once more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from latewood.execution.messages.post import Post
from latewood.execution.messages.words import DeadLetter, Delivery, Message
from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Command, Expect, Ref
from latewood.graph_schema.errors import ConflictError, NotFoundError
from latewood.graph_schema.given import checked
from latewood.graph_schema.ids import is_id, normal_id
from latewood.graph_schema.model import NodeKind
from latewood.storage.port import PAGE_MAX, NodeQuery, Page

__all__ = ["REPLAYED_AT_ONCE", "DeadLetters"]

REPLAYED_AT_ONCE: Final = 200
"""Messages of one unit of a replay."""


@checked
class DeadLetters:
    """Dead letters, replays, and what is listed; a part of `Messages`."""

    _post: Post

    async def message(self, name: str) -> Message:
        """Return a message by its id or key. Raises NotFoundError (``message.unknown``)."""
        return await self._post.message(name)

    async def deliveries(self, message: str) -> tuple[Delivery, ...]:
        """Return every try at a message, or at that of a dead letter, the first first.

        Raises NotFoundError (``message.unknown``).
        """
        try:
            found = await self._post.message(message)
        except NotFoundError:
            found = (await self.dead_letter(message)).message
            if found is None:
                raise
        return await self._post.deliveries(found.id)

    async def messages(self, *, first: int = 50, after: str | None = None) -> Page[Message]:
        """List messages of all channels, the newest first, settled ones too."""
        book = self._post.book
        query = NodeQuery(NodeKind.MESSAGE, first=first, after=after, newest=True)
        page = await book.store.list_nodes(book.space, query)
        found = await self._post.messages([node.id for node in page.items])
        return Page(tuple(found[node.id] for node in page.items if node.id in found), page.next)

    async def pending(
        self, channel: str, *, group: str = "default", first: int = 50, after: str | None = None
    ) -> Page[tuple[Message, str]]:  # fmt: skip
        """List what a group has not settled, in the order in which it was put there, and how each stands.

        Ready, ``later`` (put off, or not due yet), ``leased``, or ``blocked`` behind another of its ordering key.
        """
        post = self._post
        own = await post.group(await post.channel(channel), group)
        page = await post.queue.queued(post.book.space, own.id, first=first, after=after)
        messages = await post.messages([row.message for row in page.items])
        shown = [(messages[row.message], row.state) for row in page.items if row.message in messages]
        return Page(tuple(shown), page.next)

    async def waiting(self, channel: str) -> dict[str, int]:
        """Return how many messages each group of a channel has not settled, by its name."""
        post = self._post
        known = await post.channel(channel, fresh=True)
        lanes = await post.queue.lanes(post.book.space, [group.id for group in known.groups])
        return {group.name: lanes[group.id].pending for group in known.groups}

    async def dead_letters(
        self, *, status: str | None = "open", fault: str | None = None, first: int = 50, after: str | None = None
    ) -> Page[DeadLetter]:  # fmt: skip
        """List dead letters, the newest first: those with this *status* (None: any), of this class."""
        book = self._post.book
        where = None if status is None else {"status": [status]}
        query = NodeQuery(NodeKind.DEADLETTER, type=fault, where=where, first=first, after=after, newest=True)
        page = await book.store.list_nodes(book.space, query)
        return Page(tuple(await self._post.dead_letters(page.items)), page.next)

    async def dead_letter(self, name: str) -> DeadLetter:
        """Return a dead letter by its id or key. Raises NotFoundError (``message.unknown``)."""
        return (await self._dead_letter(name))[0]

    async def _dead_letter(self, name: str) -> tuple[DeadLetter, int]:
        one = normal_id(name.removeprefix("dead-letter:"))
        nodes = await self._post.nodes([one]) if is_id(one) else {}
        node = nodes.get(one)
        if node is None or node.kind is not NodeKind.DEADLETTER:
            raise self._post.unknown(name)
        return (await self._post.dead_letters([node]))[0], node.version

    async def redrive(self, name: str) -> DeadLetter:
        """Let the group of a dead letter have its message again, as if for the first time; its history stays.

        Raises:
            NotFoundError: there is no such dead letter, or its channel or message is gone.
            ConflictError: it was redriven before (``version.conflict``).
        """
        post = self._post
        letter, version = await self._dead_letter(name)
        if letter.status != "open":
            msg = f"the dead letter {letter.id} is {letter.status} already; its message's tries show what came of it"
            raise ConflictError(msg)
        if letter.message is None:
            raise post.unknown(name)
        message = letter.message
        group = await post.group(await post.channel(letter.channel), letter.group)
        commands: list[Command] = [
            post.write.fact(letter.id, "status", "redriven"),
            *post.write.delivery(message.id, group.id, letter.tries, "redriven", post.book.actor),
            post.write.anew(
                message.id, group.id, priority=message.priority, size=message.size, ordering_key=message.ordering_key
            ),
        ]
        expects = [Expect(Ref(id=letter.id), version)]
        await post.submit(post.unit(commands, body=["redrive", letter.id], expects=expects))
        return await self.dead_letter(letter.id)

    async def replay(
        self, channel: str, *, since: datetime, until: datetime | None = None, group: str = "default",
        idempotency_key: str | None = None,
    ) -> int:  # fmt: skip
        """Let a group have every message of a channel once more that was recorded from *since* on, the oldest first.

        It looks at the messages of the space from *since* on. A replay that was interrupted goes on with the same
        *idempotency_key* and *until*. Returns how many there were.

        Raises NotFoundError (``channel.unknown``).
        """
        post = self._post
        known = await post.channel(channel, fresh=True)
        own = await post.group(known, group)
        end = await post.book.store.now(post.book.space) if until is None else to_micros(until)
        wanted = [one async for one in self._recorded(known.name, to_micros(since), end)]
        wanted.reverse()
        run = idempotency_key or post.book.ids.new()
        for begin in range(0, len(wanted), REPLAYED_AT_ONCE):
            part = wanted[begin : begin + REPLAYED_AT_ONCE]
            commands = [
                post.write.anew(one.id, own.id, priority=one.priority, size=one.size, ordering_key=one.ordering_key)
                for one in part
            ]
            op = f"replay:{own.id}:{run}:{begin}"
            await post.submit(post.unit(commands, body=["replay", own.id, [one.id for one in part]], op=op))
        return len(wanted)

    async def _recorded(self, channel: str, since: int, until: int) -> AsyncIterator[Message]:
        """Yield the messages of a channel that were recorded in [since, until], the newest first."""
        after: str | None = None
        while True:
            page = await self.messages(first=PAGE_MAX, after=after)
            for one in page.items:
                if to_micros(one.recorded_at) < since:
                    return
                if one.channel == channel and to_micros(one.recorded_at) <= until:
                    yield one
            after = page.next
            if after is None:
                return
