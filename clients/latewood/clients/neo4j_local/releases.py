"""The releases of Neo4j Community that can be assembled here, each from its own pinned pom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from latewood.graph_schema.errors import ConflictError, InvalidError

__all__ = ["DEFAULT_VERSION", "RELEASES", "Release", "release", "release_for"]


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
    def line(self) -> str:
        """Versions of one line open each other's data, newer ones that of older ones."""
        return _line(self.version)

    @property
    def mark(self) -> str:
        """A jar without which an assembly is none."""
        return f"neo4j-server-{self.version}.jar"


def _line(version: str) -> str:
    first, _, rest = version.partition(".")
    # 5.26.30 is of the line 5.26; 2026.08.1 is named by its month, and a year's months follow each other.
    return first if len(first) == len("2026") else f"{first}.{rest.partition('.')[0]}"


DEFAULT_VERSION: Final = "5.26.30"
RELEASES: Final = {one.version: one for one in (Release("5.26.30", 17, 21), Release("2026.08.1", 21, 25))}


def release(version: str) -> Release:
    """Find a release by its version. Raises InvalidError (``setting.invalid``)."""
    if version not in RELEASES:
        msg = f"Neo4j {version!r} is none that is pinned here; name one of {', '.join(RELEASES)}, or use Docker"
        raise InvalidError(msg, code="setting.invalid", version=version, known=list(RELEASES))
    return RELEASES[version]


def release_for(asked: str | None, kept: str | None) -> Release:
    """Choose the release for a home: the one *asked* for, else of the line of *kept*, whose data the home holds.

    Raises:
        InvalidError: code ``setting.invalid`` for a version that is not pinned.
        ConflictError: code ``neo4j.other_version`` where it could not open the data, or would turn it for good.
    """
    if kept is None:
        return release(DEFAULT_VERSION if asked is None else asked)
    same = (one.version for one in RELEASES.values() if one.line == _line(kept))
    which = release(next(same, DEFAULT_VERSION) if asked is None else asked)
    if which.line != _line(kept) or _numbers(which.version) < _numbers(kept):
        msg = (
            f"the home holds the data of Neo4j {kept}, which {which.version} would not open or would change for good; "
            "name another --home, and take the data over with an export and an import"
        )
        raise ConflictError(msg, code="neo4j.other_version", kept=kept, asked=which.version)
    return which


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
