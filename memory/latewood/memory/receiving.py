"""What is sent rather than fetched: batches of spans, one after another, and changes of entities."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.commands import Assert, Command, End, Ref, SourceSpec
from latewood.graph_schema.errors import ConflictError, InvalidError, LatewoodError, LimitError, NotFoundError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import is_id
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.values import Json, Scalar, Value
from latewood.ingestion.sources.loading import SourceReport
from latewood.ingestion.sources.traces import Followed, receive_traces
from latewood.memory.api import Memory
from latewood.memory.counting import COUNTS
from latewood.memory.credentials import BoundMemory
from latewood.memory.reader import micros_or_none
from latewood.storage.port import Refusal

__all__ = ["VALUES_MAX", "EntityChange", "TraceReceiver", "note_refusal", "receive_change"]

VALUES_MAX: Final = 100
"""Most values of one change."""

_STREAMS_MAX: Final = 256
"""Spaces whose spans are kept an eye on."""


class TraceReceiver:
    """Takes batches of OpenTelemetry spans; one for a server."""

    def __init__(self) -> None:
        """Begin with none."""
        self._streams: OrderedDict[tuple[str, str], tuple[Followed, asyncio.Lock]] = OrderedDict()

    def _stream(self, key: tuple[str, str]) -> tuple[Followed, asyncio.Lock]:
        found = self._streams.setdefault(key, (Followed(), asyncio.Lock()))
        self._streams.move_to_end(key)
        while len(self._streams) > _STREAMS_MAX:
            self._streams.popitem(last=False)
        return found

    async def receive(self, memory: Memory, body: bytes, origin: str) -> SourceReport:
        """Keep a batch, OTLP as JSON or protobuf, and return what came of it; the same batch again writes nothing.

        Raises:
            UnavailableError: nothing, or not all of it, was kept: send it again.
            ForbiddenError: code ``credential.scope``.
        """
        followed, lock = self._stream((memory.store.tenant, memory.space))
        async with lock:
            # The reader wants a file, since most traces are one; a batch is small.
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "batch"
                await asyncio.to_thread(path.write_bytes, body)
                report = await receive_traces(memory, path, origin, followed)
        if report.rejected and report.refusal is None:
            first = report.rejects[0]
            msg = f"{report.rejected:,} of {report.lines:,} spans were not taken; the first: {first.reason}"
            report.refusal = await note_refusal(memory, InvalidError(msg, code=first.code), body)
        return report


async def note_refusal(memory: Memory, error: LatewoodError, body: bytes) -> str:
    """Try to keep that *body* was not taken, for the reason that *error* says, and return the receipt to ask after.

    What the store refused itself was kept by it already.
    """
    if "receipt" not in error.details:
        digest = body_digest(sha256(body).hexdigest())
        if isinstance(memory, BoundMemory):
            await memory.note_refusal(error, digest)
        else:
            COUNTS.refused(error.code)
            made = error.details["receipt"] = memory.ids.new()
            tried = Refusal(made, memory.space, error.code, memory.default_actor(), digest, error.message)
            with contextlib.suppress(LatewoodError):
                await memory.store.refuse(tried)
    return str(error.details["receipt"])


@dataclass(frozen=True, slots=True)
class EntityChange:
    """What a system of record says became so of an entity.

    Attributes:
        id: of the change, unique for its *source*.
        source: the URL or name of the system.
        kind: the sort of change, as the system calls it.
        subject: the entity's key, or its id.
        at: since when it is so; None: since it was received.
        values: what each predicate has become; None for one of which nothing holds any more.
    """

    id: str
    source: str
    kind: str
    subject: str
    at: datetime | None
    values: Mapping[str, Json]


async def receive_change(memory: Memory, change: EntityChange, *, by: str | None = None) -> Receipt:
    """Keep a change as one unit; the same change again is answered with the receipt of the first time.

    What a None ends is what holds when the change becomes so. Where nothing holds, nothing is ended, and the receipt of
    the change names no fact of it.

    Raises:
        ForbiddenError: code ``credential.scope``; to end what holds, it has to be read.
        InvalidError: code ``value.invalid`` for what is no value.
        ConflictError: code ``idempotency.conflict`` when its id was used for another change.
        RefusedError: as `Memory.observe` does.
    """
    if len(change.values) > VALUES_MAX:
        msg = f"the event has {len(change.values):,} values, more than {VALUES_MAX}; send several"
        raise LimitError(msg, limit="VALUES_MAX", maximum=VALUES_MAX)
    subject = Ref(id=change.subject) if is_id(change.subject) else Ref(key=change.subject)
    commands: list[Command] = list(await _ends(memory, change))
    for predicate, value in change.values.items():
        if value is None:
            continue
        commands.append(
            Assert(
                memory.ids.new(),
                subject,
                predicate,
                Value.of(cast("Scalar", value), None, where=f"{predicate!r}"),
                valid_from=micros_or_none(change.at),
                locator=change.kind,
            )
        )
    body = ["change", change.subject, change.kind, micros_or_none(change.at), dict(change.values)]
    try:
        return await memory.write(
            commands, body, by=by, source=SourceSpec(change.source, "imported"),
            idempotency_key=f"change\0{change.source}\0{change.id}",
        )  # fmt: skip
    except ConflictError as error:
        if error.code != "idempotency.conflict":
            raise
        # Whoever sent it never met the key that was made of these two.
        msg = f"the event {change.id!r} of {change.source!r} came before with other data; give each change its own id"
        raise ConflictError(msg, code=error.code, **error.details) from error


async def _ends(memory: Memory, change: EntityChange) -> list[End]:
    """Return what ends the facts that hold of the predicates that *change* has no value for."""
    gone = [predicate for predicate, value in change.values.items() if value is None]
    if not gone:
        return []
    try:
        found = await memory.entity(change.subject, gone, AsOf(valid_at=change.at))
    except NotFoundError as error:
        if error.code != "node.not_found":
            raise
        return []
    at = micros_or_none(change.at)
    return [End(memory.ids.new(), fact.id, at, reason=change.kind) for fact in found.facts]
