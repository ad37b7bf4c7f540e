from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from latewood.ingestion.asking import Patience
from latewood.ingestion.embedding.endpoint import EndpointEmbedder
from latewood.ingestion.embedding.light import LightEmbedder

sys.path.insert(0, str(Path(__file__).parent))

QUICK = Patience(total_s=20.0, tries=3, pause_s=0.01)


@pytest.fixture(scope="session")
def light() -> LightEmbedder:
    return LightEmbedder()


@pytest.fixture
def endpoint() -> Iterator[Callable[..., EndpointEmbedder]]:
    """Makes embedders whose connections are closed when the test ends."""
    made: list[EndpointEmbedder] = []

    def make(url: str, **given: object) -> EndpointEmbedder:
        made.append(EndpointEmbedder("m", url, **{"patience": QUICK, **given}))
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()
