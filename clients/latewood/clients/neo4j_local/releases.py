"""The releases of Neo4j Community that can be assembled here, each from its own pinned pom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from latewood.graph_schema.errors import InvalidError

__all__ = ["DEFAULT_VERSION", "RELEASES", "Release", "release"]


@dataclass(frozen=True, slots=True)
class Release:
    """One release: the Java it needs at least, and the newest that its makers support it on."""

    version: str
    java_min: int
    java_max: int

    @property
    def pom(self) -> Path:
        """The file that Maven reads."""
        return Path(__file__).with_name(f"pom-{self.version}.xml")

    @property
    def mark(self) -> str:
        """A jar without which an assembly is none."""
        return f"neo4j-server-{self.version}.jar"


DEFAULT_VERSION: Final = "5.26.30"
RELEASES: Final = {one.version: one for one in (Release("5.26.30", 17, 21), Release("2026.08.1", 21, 25))}


def release(version: str) -> Release:
    """Find a release by its version. Raises InvalidError (``setting.invalid``)."""
    if version not in RELEASES:
        msg = f"Neo4j {version!r} is none that is pinned here; name one of {', '.join(RELEASES)}, or use Docker"
        raise InvalidError(msg, code="setting.invalid", version=version, known=list(RELEASES))
    return RELEASES[version]
