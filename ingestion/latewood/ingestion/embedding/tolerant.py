"""An embedder that may be missing or fail without failing the write beside it.

Words are found by their letters whether or not they have a vector; a vector that could not be made now is made later.
So a failure is said once, counted, and waited out: every write trying a dead server anew would make each as slow as
the server's silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, TypeVar

import structlog

from latewood.graph_schema.errors import LatewoodError, UnavailableError
from latewood.ingestion.embedding.port import Embedder, Vector

__all__ = ["REST_S", "EmbedderHealth", "TolerantEmbedder"]

REST_S: Final = 30.0
"""Seconds after a failure in which nothing is asked."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EmbedderHealth:
    """How an embedder fared since it was opened."""

    model: str | None
    """None as long as it was never needed, or could not be opened."""
    embedded: int
    """Texts that got their vector."""
    left_out: int
    """Texts that did not."""
    error: LatewoodError | None
    """Why the last call failed; None when it did not."""


class TolerantEmbedder:
    """Opens an embedder when it is first needed, and answers None instead of failing. May be used by many threads."""

    def __init__(
        self, opener: Callable[[], Embedder], *, rest_s: float = REST_S, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Take how to open the embedder; it is not opened yet."""
        self._opener = opener
        self._rest_s = rest_s
        self._now = now
        self._lock = Lock()
        # A lock of its own: opening takes long, and nobody who only asks how it fares waits for that.
        self._opening = Lock()
        self._embedder: Embedder | None = None
        self._described: tuple[str, int] | None = None
        self._embedded = 0
        self._left_out = 0
        self._error: LatewoodError | None = None
        self._again_at = 0.0

    @property
    def health(self) -> EmbedderHealth:
        """How it fared so far."""
        embedder = self._embedder
        with self._lock:
            model = embedder.model if embedder is not None else None
            return EmbedderHealth(model, self._embedded, self._left_out, self._error)

    def describe(self) -> tuple[str, int] | None:
        """Return the embedder's model and the length of its vectors, or None when they cannot be had now. Blocks."""
        with self._lock:
            described = self._described
        if described is None:
            described = self._attempt(lambda embedder: (embedder.model, embedder.dimensions), 0)
            with self._lock:
                self._described = described
        return described

    def embed(self, texts: Sequence[str]) -> list[Vector] | None:
        """Return the vector of each text, or None when they cannot be made now. Never raises; blocks."""
        if not texts:
            return []
        vectors = self._attempt(lambda embedder: embedder.embed(texts), len(texts))
        if vectors is None:
            return None
        with self._lock:
            back, self._error = self._error is not None, None
            self._embedded += len(vectors)
        if back:
            _log.info("embedder_back", left_out=self._left_out)
        return vectors

    def passed_over(self, count: int) -> None:
        """Count texts that were not even given to it, because it could not be opened."""
        with self._lock:
            self._left_out += count

    def close(self) -> None:
        """Let go of the embedder's connections, if it has any."""
        with self._opening:
            close = getattr(self._embedder, "close", None)
            self._embedder = None
        if callable(close):
            close()

    def _attempt(self, call: Callable[[Embedder], T], count: int) -> T | None:
        """Do *call* with the embedder, opened now if it was not yet; hold back whatever it raises."""
        with self._lock:
            if self._error is not None and self._now() < self._again_at:
                self._left_out += count
                return None
        try:
            return call(self.opened())
        except LatewoodError as error:
            self._failed(error, count)
        # Runtimes of models raise whatever they like, and none of it may end a write.
        except Exception as error:  # noqa: BLE001
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self._failed(UnavailableError(f"the embedder failed: {reason}", code="embedder.failed"), count)
        return None

    def opened(self) -> Embedder:
        """Return the embedder itself, which raises when it fails; opened now if it was not yet.

        Raises:
            LatewoodError: code ``embedder.*``: it cannot be opened.
        """
        with self._opening:
            if self._embedder is None:
                self._embedder = self._opener()
            return self._embedder

    def _failed(self, error: LatewoodError, count: int) -> None:
        with self._lock:
            # Said once a spell, not once a write.
            first, self._error = self._error is None, error
            self._again_at = self._now() + self._rest_s
            self._left_out += count
        if first:
            _log.warning("embedder_failed", code=error.code, reason=error.message, meanwhile="texts get no vectors")
