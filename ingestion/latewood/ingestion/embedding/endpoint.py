"""Any server that speaks OpenAI's `/v1/embeddings`. The texts leave this machine, if the server is on another.

What it answers is not trusted: every answer is bounded in bytes and in time, and each vector is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from latewood.ingestion.asking import Endpoint, Patience
from latewood.ingestion.embedding.port import DIMENSIONS_MAX, Vector, cut, packed

__all__ = ["ANSWER_BYTES_MAX", "EndpointEmbedder", "named"]

ANSWER_BYTES_MAX: Final = 32_000_000
"""Bytes of one answer at most: a full batch of the widest vectors, written out, takes less."""
_BATCH_TEXTS_MAX: Final = 64
_BATCH_BYTES_MAX: Final = 200_000


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
        self._name = model
        self._asked = dimensions
        self._found = dimensions
        self._endpoint = Endpoint(
            f"{base_url.rstrip('/')}/embeddings", kind="embedder", about=f"embeddings of the model {model!r}", key=key,
            patience=patience or Patience(), answer_bytes_max=ANSWER_BYTES_MAX,
            cure="check LATEWOOD_EMBEDDER, an address such as http://host:8080/v1, and LATEWOOD_EMBEDDER_KEY",
        )  # fmt: skip

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
        self._endpoint.close()

    def _batch(self, texts: Sequence[str]) -> list[Vector]:
        asked: dict[str, object] = {"model": self._name, "input": list(texts)}
        if self._asked is not None:
            asked["dimensions"] = self._asked
        rows = self._rows(self._endpoint.post(asked), len(texts))
        if self._found is None:
            self._found = len(rows[0])
        vectors: list[Vector] = []
        for row in rows:
            if len(row) != self._found:
                raise self._endpoint.nonsense(f"a vector of {len(row)} numbers where {self._found} were expected")
            vector = packed(row)
            if vector is None:
                raise self._endpoint.nonsense("a vector without a direction")
            vectors.append(vector)
        return vectors

    def _rows(self, answer: Mapping[str, Any], expected: int) -> list[list[float]]:
        """Return the vectors by their places, as numbers."""
        data = answer.get("data")
        if not isinstance(data, list) or len(cast("list[Any]", data)) != expected:
            raise self._endpoint.nonsense(f"no list `data` of {expected} entries")
        rows: dict[int, list[float]] = {}
        for entry in cast("list[Any]", data):
            item: Mapping[str, Any] = cast("Mapping[str, Any]", entry) if isinstance(entry, dict) else {}
            row, place = item.get("embedding"), item.get("index")
            if not isinstance(row, list) or not 0 < len(cast("list[Any]", row)) <= DIMENSIONS_MAX:
                raise self._endpoint.nonsense(f"an entry without a list `embedding` of 1 to {DIMENSIONS_MAX} numbers")
            values = cast("list[Any]", row)
            if any(type(value) not in (int, float) for value in values):
                raise self._endpoint.nonsense("an `embedding` with something that is no number")
            if type(place) is not int or not 0 <= place < expected or place in rows:
                raise self._endpoint.nonsense(f"an `index` {place!r} that is not one of 0 to {expected - 1}, each once")
            try:
                rows[place] = [float(value) for value in values]
            except OverflowError as error:
                raise self._endpoint.nonsense("a number that is too large") from error
        return [rows[place] for place in range(expected)]


def named(model: str, dimensions: int | None) -> str:
    """Return what vectors of *model* are told apart by, cut to *dimensions* by the server or not."""
    return model if dimensions is None else f"{model}/{dimensions}"


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
