"""One Neo4j for a run of tests: with fresh data, started by the code of `latewood neo4j up`, stopped at the end.

The jars stay in the user's cache from run to run. A server is held by a lock that the system lets go of when its run
dies, so that the next run finds those that were left behind, and stops them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

import pytest

from latewood.clients.neo4j_local import Running, Wanted, down, up
from latewood.clients.neo4j_local.locks import locked
from latewood.graph_schema.errors import LatewoodError

__all__ = ["JARS", "NEO4J", "Neo4jForTests", "up_for_tests", "wants_neo4j"]

URL: Final = "LATEWOOD_NEO4J_URL"
VERSION: Final = "LATEWOOD_NEO4J_VERSION"
_LOCK_S_MAX: Final = 180.0
_JAVA_OPTIONS: Final = "JDK_JAVA_OPTIONS"
_SHORT_LIVED: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""A server that lives for minutes is stopped before what Java compiles at length, on the cores of the tests, pays."""


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".cache") / "latewood" / "tests"


JARS: Final = _cache() / "jars"


class Neo4jForTests:
    """A server that is started once, when it is first wanted."""

    def __init__(self, servers: Path) -> None:
        self._servers = servers
        self._held = ExitStack()
        self._home: Path | None = None
        self._url: str | None = None
        self._reason: str | None = None

    def start(self) -> None:
        """Start it, or keep the reason why it cannot be; neither is tried twice."""
        if self._url is not None or self._reason is not None:
            return
        try:
            self._url = self._given() or self._own()
        except (LatewoodError, OSError) as error:
            self._reason = f"this test needs a Neo4j, and there is none: {error}"

    def url(self) -> str:
        """The address of a database that tests may empty; without one the test fails, and says why."""
        self.start()
        if self._url is None:
            pytest.fail(self._reason or "no Neo4j", pytrace=False)
        return self._url

    def stop(self) -> None:
        """Stop what was started, and leave only the jars."""
        if self._home is not None:
            down(self._home)
            shutil.rmtree(self._home.parent, ignore_errors=True)
        self._held.close()
        self._home = self._url = None

    def _given(self) -> str | None:
        given = os.environ.get(URL)
        if given and int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
            msg = (
                f"{URL} names one database, which several workers would empty under each other; leave out -n, or {URL}"
            )
            raise OSError(msg)
        return given

    def _own(self) -> str:
        self._servers.mkdir(parents=True, exist_ok=True)
        # Under a lock, so that no other run takes the new folder for one that was left behind.
        with locked(self._servers.with_suffix(".lock"), seconds=_LOCK_S_MAX):
            self._stop_left_behind()
            folder = Path(tempfile.mkdtemp(dir=self._servers))
            self._held.enter_context(_held(folder))
        self._home = folder / "home"
        # As much heap as people get: with half of it the longest texts that are allowed do not fit a transaction.
        wanted = Wanted(
            self._home, version=os.environ.get(VERSION) or None, bolt_port=0, http_port=0, heap="1g",
            page_cache="128m", jars=JARS,
        )  # fmt: skip
        found = up_for_tests(wanted)
        assert found.url is not None
        return found.url

    def _stop_left_behind(self) -> None:
        for folder in self._servers.iterdir():
            try:
                with _held(folder):
                    down(folder / "home")
                    shutil.rmtree(folder, ignore_errors=True)
            except OSError:
                # Another run holds it.
                continue


def up_for_tests(wanted: Wanted) -> Running:
    """Start a server that is ready soon rather than fast in the end."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(_JAVA_OPTIONS, _SHORT_LIVED, prepend=" ")
        return up(wanted)


def _held(folder: Path) -> IO[bytes]:
    """Hold *folder* until what is returned is closed. Raises OSError when another process does."""
    file = os.fdopen(os.open(folder / "held", os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


NEO4J: Final = Neo4jForTests(_cache() / "servers")


def wants_neo4j(item: pytest.Item) -> bool:
    """Whether a test asks for the server, by the fixture or as one of the stores that it is run against."""
    spec = getattr(item, "callspec", None)
    named = spec is not None and "neo4j" in [one for one in spec.params.values() if isinstance(one, str)]
    return named or "neo4j_url" in getattr(item, "fixturenames", ())
