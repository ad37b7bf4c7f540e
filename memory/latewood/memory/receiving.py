"""What is sent rather than fetched: batches of spans, one after another, into the spaces that they are for."""

from __future__ import annotations

import asyncio
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Final

from latewood.ingestion.sources.loading import SourceReport
from latewood.ingestion.sources.traces import Followed, receive_traces
from latewood.memory.api import Memory

__all__ = ["TraceReceiver"]

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
                return await receive_traces(memory, path, origin, followed)
