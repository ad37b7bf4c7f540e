"""Any server that speaks OpenAI's `/v1/embeddings`. The texts leave this machine, if the server is on another.

What it answers is not trusted: every answer is bounded in bytes and in time, and each vector is checked.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from latewood.graph_schema.errors import LatewoodError, RefusedError, UnavailableError
from latewood.ingestion.embedding.port import DIMENSIONS_MAX, Vector, cut, packed

if TYPE_CHECKING:  # loaded when an endpoint is really used
    import httpx

__all__ = ["ANSWER_BYTES_MAX", "EndpointEmbedder", "Patience", "named"]

ANSWER_BYTES_MAX: Final = 32_000_000
"""Bytes of one answer at most: a full batch of the widest vectors, written out, takes less."""
_BATCH_TEXTS_MAX: Final = 64
_BATCH_BYTES_MAX: Final = 200_000
_SHOWN_CHARS_MAX: Final = 200
_OK: Final = 200
_BUSY: Final = frozenset({408, 409, 425, 429})
_FAULT_MIN: Final = 500


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint is waited for, and how often asked."""

    total_s: float = 30.0
    """For one batch, all tries and pauses together."""
    tries: int = 4
    pause_s: float = 0.5
    """Before the second try; doubled before each further one, less a random part."""


class _TryAgainError(Exception):
    """This try failed in a way that the next may not."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class EndpointEmbedder:
    """A model behind an OpenAI-compatible address."""

    def __init__(
        self, model: str, base_url: str, *, key: str | None = None, dimensions: int | None = None,
        patience: Patience | None = None,
    ) -> None:  # fmt: skip
        """Prepare; nothing is asked of the server yet.

        Args:
            model: the model's name at the server.
            base_url: the address up to and with ``/v1``.
            key: sent as a bearer token when given; never logged.
            dimensions: asked of the server when given, else found out from its first answer.
            patience: the bounds on its answers.
        """
        import httpx

        self._name = model
        self._asked = dimensions
        self._found = dimensions
        self._patience = patience or Patience()
        self._url = f"{base_url.rstrip('/')}/embeddings"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A redirect is not followed: it would take the texts, and the key, to a place nobody named.
        self._client = httpx.Client(headers=headers, follow_redirects=False)

    @property
    def model(self) -> str:
        """The model's name, with the dimensions if they were asked for: those are other vectors."""
        return named(self._name, self._asked)

    @property
    def dimensions(self) -> int:
        """How many numbers each vector has; asks the server if no answer told yet. Raises as `embed` does."""
        if self._found is None:
            self.embed(["latewood"])
        return cast("int", self._found)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vector of each text. Raises as `Embedder.embed` does."""
        return [vector for batch in _batches(cut(texts)) for vector in self._batch(batch)]

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _batch(self, texts: Sequence[str]) -> list[Vector]:
        patience, reason = self._patience, "no try was made"
        end = time.monotonic() + patience.total_s
        tried = 0
        while tried < patience.tries and time.monotonic() < end:
            tried += 1
            try:
                return self._vectors(self._ask(texts, end), len(texts))
            except _TryAgainError as error:
                reason = str(error)
                # Never more than all of it: many clients that were turned away together must not come back together.
                pause = patience.pause_s * 2 ** (tried - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
                pause = max(pause, error.pause_s or 0.0)
                if tried < patience.tries and time.monotonic() + pause < end:
                    time.sleep(pause)
                else:
                    break
        msg = f"{self._url} gave no vectors in {tried} tries and at most {patience.total_s:g} s: {reason}; try later"
        raise UnavailableError(msg, code="embedder.unavailable", url=self._url, tries=tried)

    def _ask(self, texts: Sequence[str], end: float) -> bytes:
        import httpx

        asked: dict[str, object] = {"model": self._name, "input": list(texts)}
        if self._asked is not None:
            asked["dimensions"] = self._asked
        left = max(end - time.monotonic(), 0.001)
        try:
            with self._client.stream("POST", self._url, json=asked, timeout=left) as answer:
                if answer.status_code in _BUSY or answer.status_code >= _FAULT_MIN:
                    raise _TryAgainError(f"it answered {answer.status_code}", _asked_pause(answer))
                body = self._body(answer, end)
                if answer.status_code != _OK:
                    raise self._refusal(answer.status_code, body)
                return body
        except httpx.TimeoutException as error:
            raise _TryAgainError("it did not answer in time") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            msg = f"{self._url} cannot be asked: {error}; give LATEWOOD_EMBEDDER an address such as http://host:8080/v1"
            raise RefusedError(msg, code="setting.invalid") from error
        except httpx.HTTPError as error:
            raise _TryAgainError(f"{type(error).__name__}: {error}") from error

    def _body(self, answer: httpx.Response, end: float) -> bytes:
        """Read an answer piece by piece: a server that sends a byte now and then never runs into a timeout of reads."""
        body = bytearray()
        for part in answer.iter_bytes():
            body += part
            if len(body) > ANSWER_BYTES_MAX:
                raise self._nonsense(f"more than {ANSWER_BYTES_MAX:,} bytes")
            if time.monotonic() > end:
                raise _TryAgainError("its answer did not end in time")
        return bytes(body)

    def _vectors(self, body: bytes, expected: int) -> list[Vector]:
        rows = self._rows(body, expected)
        if self._found is None:
            self._found = len(rows[0])
        vectors: list[Vector] = []
        for row in rows:
            if len(row) != self._found:
                raise self._nonsense(f"a vector of {len(row)} numbers where {self._found} were expected")
            vector = packed(row)
            if vector is None:
                raise self._nonsense("a vector without a direction")
            vectors.append(vector)
        return vectors

    def _rows(self, body: bytes, expected: int) -> list[list[float]]:
        """Return the vectors by their places, as numbers."""
        try:
            read: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._nonsense("something that is not JSON") from error
        data = cast("Mapping[str, Any]", read).get("data") if isinstance(read, dict) else None
        if not isinstance(data, list) or len(cast("list[Any]", data)) != expected:
            raise self._nonsense(f"no list `data` of {expected} entries")
        rows: dict[int, list[float]] = {}
        for entry in cast("list[Any]", data):
            item: Mapping[str, Any] = cast("Mapping[str, Any]", entry) if isinstance(entry, dict) else {}
            row, place = item.get("embedding"), item.get("index")
            if not isinstance(row, list) or not 0 < len(cast("list[Any]", row)) <= DIMENSIONS_MAX:
                raise self._nonsense(f"an entry without a list `embedding` of 1 to {DIMENSIONS_MAX} numbers")
            values = cast("list[Any]", row)
            if any(type(value) not in (int, float) for value in values):
                raise self._nonsense("an `embedding` with something that is no number")
            if type(place) is not int or not 0 <= place < expected or place in rows:
                raise self._nonsense(f"an `index` {place!r} that is not one of 0 to {expected - 1}, each once")
            try:
                rows[place] = [float(value) for value in values]
            except OverflowError as error:
                raise self._nonsense("a number that is too large") from error
        return [rows[place] for place in range(expected)]

    def _nonsense(self, what: str) -> LatewoodError:
        msg = f"{self._url} answered with {what}; check that it serves embeddings of the model {self._name!r}"
        return RefusedError(msg, code="embedder.answer_invalid", url=self._url)

    def _refusal(self, status: int, body: bytes) -> LatewoodError:
        said = " ".join(body[: 4 * _SHOWN_CHARS_MAX].decode("utf-8", "replace").split())[:_SHOWN_CHARS_MAX]
        msg = (
            f"{self._url} refused with {status}: {said}; check the model {self._name!r}, the address and "
            "LATEWOOD_EMBEDDER_KEY"
        )
        return RefusedError(msg, code="embedder.refused", url=self._url, status=status)


def named(model: str, dimensions: int | None) -> str:
    """Return what vectors of *model* are told apart by, cut to *dimensions* by the server or not."""
    return model if dimensions is None else f"{model}/{dimensions}"


def _asked_pause(answer: httpx.Response) -> float | None:
    given = answer.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else None


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode("utf-8", "replace"))
        if batch and (len(batch) == _BATCH_TEXTS_MAX or size + length > _BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += length
    if batch:
        yield batch
