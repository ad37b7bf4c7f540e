from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from servers import embedding_server, in_turn, plainly, vectors
from structlog.testing import capture_logs

from latewood.ingestion.asking import Patience
from latewood.ingestion.embedding.endpoint import EndpointEmbedder
from latewood.ingestion.embedding.light import LightEmbedder
from latewood.ingestion.embedding.port import Embedder, Vector
from latewood.ingestion.embedding.tolerant import TolerantEmbedder

ONCE = Patience(total_s=20.0, tries=1)


class Hand:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_is_opened_when_it_is_first_needed(light: LightEmbedder) -> None:
    opened: list[Embedder] = []

    def opener() -> Embedder:
        opened.append(light)
        return light

    tolerant = TolerantEmbedder(opener)
    assert tolerant.embed([]) == []
    assert opened == []
    assert tolerant.health.model is None

    assert tolerant.embed(["a", "b"]) == light.embed(["a", "b"])
    tolerant.embed(["c"])
    assert opened == [light]
    assert (tolerant.health.model, tolerant.health.embedded, tolerant.health.left_out) == (light.model, 3, 0)


def test_a_failure_is_said_once_counted_and_waited_out(endpoint: Callable[..., EndpointEmbedder]) -> None:
    clock = Hand()
    with embedding_server(in_turn(plainly(500, b""), plainly(500, b""), vectors())) as server:
        tolerant = TolerantEmbedder(lambda: endpoint(server.url, patience=ONCE), rest_s=30.0, now=clock)
        with capture_logs() as logs:
            assert tolerant.embed(["a", "b"]) is None
            assert tolerant.embed(["c"]) is None
            assert len(server.asked) == 1

            clock.now += 30.0
            assert tolerant.embed(["d"]) is None
            assert len(server.asked) == 2

            health = tolerant.health
            assert (health.embedded, health.left_out) == (0, 4)
            assert health.error is not None
            assert health.error.code == "embedder.unavailable"

            clock.now += 30.0
            assert tolerant.embed(["e"]) is not None
            assert tolerant.embed(["f"]) is not None
    assert [entry["event"] for entry in logs] == ["embedder_failed", "embedder_back"]
    assert logs[0]["code"] == "embedder.unavailable"
    assert (tolerant.health.embedded, tolerant.health.left_out, tolerant.health.error) == (2, 4, None)


def test_an_embedder_that_cannot_be_opened_does_not_raise(tmp_path: Path) -> None:
    tolerant = TolerantEmbedder(lambda: LightEmbedder(file=tmp_path / "gone.onnx"))

    assert tolerant.embed(["a"]) is None
    assert tolerant.health.error is not None
    assert tolerant.health.error.code == "embedder.missing"


def test_whatever_a_runtime_raises_is_held_back() -> None:
    class Broken:
        model = "broken"
        dimensions = 3

        def embed(self, texts: Sequence[str]) -> list[Vector]:
            raise MemoryError("the  graph\nis too large")

    tolerant = TolerantEmbedder(Broken)
    assert tolerant.embed(["a"]) is None
    assert tolerant.health.error is not None
    assert tolerant.health.error.code == "embedder.failed"
    assert "MemoryError: the graph is too large" in tolerant.health.error.message


def test_an_interrupt_is_not_held_back() -> None:
    class Interrupted:
        model = "interrupted"
        dimensions = 3

        def embed(self, texts: Sequence[str]) -> list[Vector]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TolerantEmbedder(Interrupted).embed(["a"])
