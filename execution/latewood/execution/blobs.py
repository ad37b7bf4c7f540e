"""What steps take in and return, kept once: blobs are nodes of the execution ledger, addressed by what they hold.

A blob's key is an HMAC of its content under the secret of its space, so that equal contents are one node and nobody can
tell from a key what it stands for. What refers to it are edges: they are its count. A conversation that grows is a
chain: each item points to the one before it, so that a step that is given all of it adds only what is new. A blob is
erased, exported, verified and rebuilt as every node is.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from latewood.execution.logbook import Logbook
from latewood.execution.writing import checked_json
from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.commands import Assert, Command, Declare, Ref
from latewood.graph_schema.errors import ConflictError, LimitError
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Json, canonical_json
from latewood.storage.port import FactQuery

__all__ = ["INLINE_BYTES_MAX", "ITEMS_MAX", "Blobs", "Transcript", "conversation", "items_of"]

INLINE_BYTES_MAX: Final = 4_000
"""Most bytes of JSON that are kept with the step itself; what is longer becomes a blob."""
ITEMS_MAX: Final = 10_000
"""Most items of one conversation."""
_PART_ITEMS: Final = 150
_PART_BYTES: Final = 1_000_000
_AGAIN_MAX: Final = 8
_READ_AT_ONCE: Final = 1_000
_NAME_CHARS: Final = 12
_NOW: Final = AsOf()


@dataclass(frozen=True, slots=True, eq=False)
class Transcript:
    """A conversation that grows: never changed, only made longer. Made by `conversation`.

    Handed to a step it stands for all of its items, and what is kept of it is the items that were not kept before.

    Attributes:
        address: stands for this item and all before it.
        length: how many items there are.
    """

    item: Json
    before: Transcript | None
    length: int
    address: str

    def more(self, *items: Json | Mapping[str, Json]) -> Transcript:
        """Return the conversation with *items* after it.

        Raises:
            LimitError: an item is too long, or there are more than `ITEMS_MAX`.
        """
        return _longer(self, items) or self

    def items(self) -> list[Json]:
        """Return all of it, in order."""
        found: list[Json] = []
        here: Transcript | None = self
        while here is not None:
            found.append(here.item)
            here = here.before
        return found[::-1]


def conversation(first: Json | Mapping[str, Json], *more: Json | Mapping[str, Json]) -> Transcript:
    """Begin a conversation. Raises LimitError as `Transcript.more` does."""
    made = _longer(None, (first, *more))
    assert made is not None  # noqa: S101 - there is a first item
    return made


def _longer(before: Transcript | None, items: Sequence[object]) -> Transcript | None:
    made = before
    for given in items:
        item = checked_json(given, "an item of a conversation")
        length = 1 if made is None else made.length + 1
        if length > ITEMS_MAX:
            msg = f"a conversation has at most {ITEMS_MAX:,} items; sum up its first part and begin another"
            raise LimitError(msg, limit="ITEMS_MAX", maximum=ITEMS_MAX)
        head = "" if made is None else made.address
        address = sha256(f"{head}\n{canonical_json(item)}".encode()).hexdigest()
        made = Transcript(item, made, length, address)
    return made


@dataclass(slots=True)
class Blobs:
    """The blobs that one go at a run writes.

    Attributes:
        known: keys of blobs that are kept.
    """

    book: Logbook
    known: set[str] = field(default_factory=set[str])
    secret: bytes = b""

    async def output_of(self, step_id: str, output: Json) -> list[Command]:
        """Return what keeps *output* as a blob that the step returned; nothing when it is short enough without."""
        text = canonical_json(output)
        if len(text) <= INLINE_BYTES_MAX and len(text.encode()) <= INLINE_BYTES_MAX:
            return []
        key, commands = await self._content(output, text)
        return [*commands, self._edge(step_id, "step.returned", key)]

    async def input_of(
        self, step_id: str, given: Json, transcripts: Sequence[Transcript],
        keep: Callable[[Sequence[Command]], Awaitable[None]],
    ) -> tuple[dict[str, Json], list[Command]]:  # fmt: skip
        """Return how a step keeps what it is given: attributes of its node, and commands beside it.

        Args:
            keep: keeps commands at once: the first items of a conversation that is too long for one unit.
        """
        text = canonical_json(given)
        spec: dict[str, Json] = {}
        commands: list[Command] = []
        if len(text) <= INLINE_BYTES_MAX and len(text.encode()) <= INLINE_BYTES_MAX:
            spec["input"] = given
        else:
            key, commands = await self._content(given, text)
            commands.append(self._edge(step_id, "step.input", key))
        for one in transcripts:
            key, chain = await self._chain(one, keep)
            commands += [*chain, self._edge(step_id, "step.read", key)]
        return spec, commands

    async def settled(
        self, commands: Sequence[Command], keep: Callable[[Sequence[Command]], Awaitable[object]]
    ) -> None:
        """Keep *commands*, and of their blobs those that are not there; another run may keep the same ones meanwhile.

        Raises:
            ConflictError: whatever else the store refuses.
        """
        declared = [one.key for one in commands if isinstance(one, Declare) and one.kind is NodeKind.BLOB and one.key]
        if not declared:
            await keep(commands)
            return
        for tried in range(_AGAIN_MAX):
            await self._look([key for key in declared if key not in self.known])
            there = self.known.intersection(declared)
            left = _without(commands, there)
            try:
                if left:
                    await keep(left)
            except ConflictError as error:
                if error.code != "key.taken" or error.details.get("key") not in declared or tried == _AGAIN_MAX - 1:
                    raise
                continue
            self.known.update(declared)
            return

    async def _look(self, keys: Sequence[str]) -> None:
        for begin in range(0, len(keys), _READ_AT_ONCE):
            found = await self.book.store.nodes(self.book.space, keys=keys[begin : begin + _READ_AT_ONCE])
            self.known.update(found)

    async def _key(self, sort: str, text: str) -> str:
        if not self.secret:
            self.secret = (await self.book.store.image(self.book.space)).secret
        return f"blob:{hmac.digest(self.secret, f'{sort} {text}'.encode(), 'sha256').hex()}"

    async def _content(self, content: Json, text: str) -> tuple[str, list[Command]]:
        key = await self._key("content", text)
        return key, [self._declare("content", key, {"content": content, "bytes": len(text.encode())})]

    def _declare(self, sort: str, key: str, spec: dict[str, Json]) -> Declare:
        name = f"{sort} {key.removeprefix('blob:')[:_NAME_CHARS]}"
        return Declare(self.book.ids.new(), NodeKind.BLOB, sort, key, name, spec)

    def _edge(self, subject: str | Ref, predicate: str, key: str) -> Assert:
        of = Ref(id=subject) if isinstance(subject, str) else subject
        target = Ref(key=key, kind=NodeKind.BLOB, create=False)
        return Assert(self.book.ids.new(), of, predicate, object=target, relation=True)

    async def _chain(
        self, head: Transcript, keep: Callable[[Sequence[Command]], Awaitable[None]]
    ) -> tuple[str, list[Command]]:  # fmt: skip
        """Return the key of a conversation, and what keeps those of its items that are new."""
        fresh: list[tuple[str, Transcript]] = []
        here: Transcript | None = head
        below: str | None = None
        while here is not None:
            below = await self._key("item", here.address)
            if below not in self.known and len(fresh) % _PART_ITEMS == 0:
                await self._look([below])
            if below in self.known:
                break
            fresh.append((below, here))
            here, below = here.before, None
        commands: list[Command] = []
        count = size = 0
        for key, one in reversed(fresh):
            text = canonical_json(one.item)
            commands += await self._item(key, one, text, below)
            below, count, size = key, count + 1, size + len(text)
            if key != fresh[0][0] and (count % _PART_ITEMS == 0 or size > _PART_BYTES):
                await keep(commands)
                commands, size = [], 0
        return await self._key("item", head.address), commands

    async def _item(self, key: str, one: Transcript, text: str, before: str | None) -> list[Command]:
        spec: dict[str, Json] = {"place": one.length}
        commands: list[Command] = []
        content_key = None
        if len(text.encode()) <= INLINE_BYTES_MAX:
            spec["content"] = one.item
        else:
            content_key, commands = await self._content(one.item, text)
        declared = self._declare("item", key, spec)
        commands.append(declared)
        if content_key is not None:
            commands.append(self._edge(declared.id, "blob.content", content_key))
        if before is not None:
            commands.append(self._edge(declared.id, "blob.before", before))
        return commands


def _without(commands: Sequence[Command], there: set[str]) -> list[Command]:
    """Leave out blobs that are there, and what would be said of them again."""
    gone = {one.id for one in commands if isinstance(one, Declare) and one.key in there}
    return [
        one for one in commands if one.id not in gone and not (isinstance(one, Assert) and one.subject.id in gone)
    ]  # fmt: skip


async def items_of(book: Logbook, head: str, *, items_max: int = ITEMS_MAX) -> list[Json]:
    """Return the items of the conversation that ends with the blob *head*; None in the place of an erased one."""
    found: list[Json] = []
    here: str | None = head
    while here is not None and len(found) < items_max:
        query = FactQuery(subjects=[here], predicates=["blob.content", "blob.before"])
        edges = {fact.predicate: fact.object_id for fact in await book.store.facts(book.space, query, _NOW)}
        content = edges.get("blob.content") or here
        found.append((await book.contents([content])).get(content))
        here = edges.get("blob.before")
    return found[::-1]
