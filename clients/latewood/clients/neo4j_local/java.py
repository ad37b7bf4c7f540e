"""Finding the Java that a release runs on, and Maven."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from latewood.clients.neo4j_local.releases import Release
from latewood.graph_schema.errors import UnavailableError

__all__ = ["MACHINES", "Java", "find_java", "find_maven", "java_version"]

MACHINES: Final = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))
"""Where Linux distributions and macOS keep their Javas."""
_MACHINES_MAX: Final = 64
_ASK_S_MAX: Final = 20.0


@dataclass(frozen=True, slots=True)
class Java:
    """One Java: its home, which programs take as JAVA_HOME, and its major version."""

    home: Path
    version: int

    @property
    def program(self) -> Path:
        """The launcher."""
        return self.home / "bin" / "java"


def java_version(said: str) -> int | None:
    """Read the major version out of what ``java -version`` prints; None where there is none."""
    found = re.search(r'version "(\d+)(?:\.(\d+))?', said)
    if found is None:
        return None
    # Java 8 and before call themselves 1.8.
    return int(found[2] or 1) if found[1] == "1" else int(found[1])


def _homes(environment: Mapping[str, str], machines: tuple[Path, ...]) -> Iterator[Path]:
    if home := environment.get("JAVA_HOME"):
        yield Path(home)
    if program := shutil.which("java", path=environment.get("PATH", os.defpath)):
        yield Path(program).resolve().parents[1]
    for folder in machines:
        for found in sorted(folder.glob("*"))[:_MACHINES_MAX] if folder.is_dir() else ():
            yield found / "Contents" / "Home" if (found / "Contents").is_dir() else found


def _ask(home: Path) -> Java | None:
    try:
        done = subprocess.run(  # noqa: S603 - a Java of the user's own machine
            [str(home / "bin" / "java"), "-version"], capture_output=True, text=True, timeout=_ASK_S_MAX, check=False,
            stdin=subprocess.DEVNULL, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = java_version(done.stderr + done.stdout)
    return None if version is None else Java(home, version)


def find_java(
    wanted: Release, environment: Mapping[str, str] | None = None, machines: tuple[Path, ...] = MACHINES
) -> Java:
    """Find a Java for *wanted*: in JAVA_HOME, on the PATH, then where the system keeps them.

    One that the release is supported on goes first; a newer one is taken where there is no other.

    Raises:
        UnavailableError: code ``java.missing``, with the Javas that were found and are too old.
    """
    seen: dict[Path, Java] = {}
    newer: Java | None = None
    for home in _homes(os.environ if environment is None else environment, machines):
        place = home.resolve()
        if place in seen or (java := _ask(place)) is None:
            continue
        if wanted.java_min <= java.version <= wanted.java_max:
            return java
        seen[place] = java
        if java.version > wanted.java_max and newer is None:
            newer = java
    if newer is not None:
        return newer
    old = [f"Java {java.version} in {java.home}" for java in seen.values()]
    found = f"only {', '.join(old)} was found" if old else "none was found"
    msg = (
        f"Neo4j {wanted.version} needs Java {wanted.java_min} or later and {found} (JAVA_HOME, PATH, /usr/lib/jvm); "
        f"on Debian or Ubuntu: apt-get install openjdk-{wanted.java_min}-jre-headless maven"
    )
    raise UnavailableError(msg, code="java.missing", needed=wanted.java_min, found=old)


def find_maven(environment: Mapping[str, str] | None = None) -> Path:
    """Find Maven on the PATH. Raises UnavailableError (``maven.missing``)."""
    given = os.environ if environment is None else environment
    if program := shutil.which("mvn", path=given.get("PATH", os.defpath)):
        return Path(program)
    msg = (
        "Maven (mvn) is not on the PATH, and Neo4j is assembled with it, once; "
        "on Debian or Ubuntu: apt-get install openjdk-17-jre-headless maven"
    )
    raise UnavailableError(msg, code="maven.missing")
