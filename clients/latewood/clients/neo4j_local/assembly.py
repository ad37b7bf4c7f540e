"""Putting a release together from Maven Central: whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from latewood.clients.neo4j_local.java import Java, find_maven
from latewood.clients.neo4j_local.locks import locked
from latewood.clients.neo4j_local.releases import Release
from latewood.graph_schema.errors import UnavailableError

__all__ = ["assemble", "library"]

_MAVEN_S_MAX: Final = 1_800.0
_TAIL_BYTES: Final = 4_000
_PART: Final = ".part-"


def library(jars: Path, wanted: Release) -> Path | None:
    """Return the folder with the jars of *wanted*, None where it is not assembled."""
    folder = jars / wanted.version
    return folder if (folder / wanted.mark).is_file() else None


def assemble(jars: Path, wanted: Release, java: Java) -> Path:
    """Return the folder with the jars of *wanted*; what is missing is fetched, which takes Maven and the network.

    The jars are gathered under another name and renamed when they are whole, so that an interruption leaves no half.

    Raises:
        UnavailableError: code ``maven.missing``, ``neo4j.assembly_failed``, ``disk.full``, or ``store.busy`` while
            another process is at it for too long.
    """
    if (found := library(jars, wanted)) is not None:
        return found
    maven = find_maven()
    try:
        jars.mkdir(parents=True, exist_ok=True)
        with locked(jars / f".{wanted.version}.lock", seconds=_MAVEN_S_MAX):
            if (found := library(jars, wanted)) is not None:
                return found
            # Whoever made these held the lock, and has it no more.
            for left in jars.glob(f"{_PART}{wanted.version}-*"):
                shutil.rmtree(left, ignore_errors=True)
            part = Path(tempfile.mkdtemp(prefix=f"{_PART}{wanted.version}-", dir=jars))
            try:
                _fetch(maven, java, wanted, part)
                part.chmod(0o755)
                shutil.rmtree(jars / wanted.version, ignore_errors=True)
                part.rename(jars / wanted.version)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        code = "disk.full" if error.errno == errno.ENOSPC else "neo4j.assembly_failed"
        msg = f"the jars of Neo4j {wanted.version} cannot be put into {jars}: {error}"
        raise UnavailableError(msg, code=code, path=str(jars)) from error
    return jars / wanted.version


def _fetch(maven: Path, java: Java, wanted: Release, into: Path) -> None:
    # Strict checksums: a jar that came broken must stop the assembly, not the database.
    words = [
        str(maven), "--batch-mode", "--quiet", "--strict-checksums", "--file", str(wanted.pom),
        "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as output:
        # In a session of its own: the launcher is a script, and all of it has to go when time is up.
        with subprocess.Popen(  # noqa: S603 - the Maven of the user's own PATH
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=into,
            env={**os.environ, "JAVA_HOME": str(java.home)}, start_new_session=True,
        ) as running:  # fmt: skip
            try:
                status = running.wait(_MAVEN_S_MAX)
            except BaseException as stopped:
                with suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                if isinstance(stopped, subprocess.TimeoutExpired):
                    msg = f"Maven did not fetch Neo4j {wanted.version} within {_MAVEN_S_MAX:.0f} s; try again"
                    raise UnavailableError(msg, code="neo4j.assembly_failed") from stopped
                raise
        if status == 0 and (into / wanted.mark).is_file():
            return
        output.seek(max(output.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
        said = output.read(_TAIL_BYTES).decode(errors="replace").strip()
    msg = (
        f"Maven could not fetch Neo4j {wanted.version} (exit code {status}); it needs Maven Central or a mirror named "
        f"in ~/.m2/settings.xml. It said: {said or 'nothing'}"
    )
    raise UnavailableError(msg, code="neo4j.assembly_failed", exit_code=status)
