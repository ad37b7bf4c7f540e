"""A store to crash: a new file, or an emptied database; and a server that only these tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.stores import empty_neo4j
from simulation.server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Neo4j that may be stopped, killed and started: never the one that other tests share."""
    server = Server(tmp_path_factory.mktemp("neo4j"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of the kind that the test asks for."""
    if request.param == "sqlite":
        return str(tmp_path / "crashed.db")
    shared: str = request.getfixturevalue("neo4j_url")
    empty_neo4j(shared)
    return shared
