"""Git as a bounded child process: no shell, no pager, no configuration of the repository that could run a program."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.ingestion.records.model import Problem

__all__ = ["BlobReader", "Git", "find_git"]

GIT_SECONDS_MAX: Final = 300
"""How long one git command may take."""
OUTPUT_BYTES_MAX: Final = 512 * 1024 * 1024
"""How much one git command may say."""
_STDERR_BYTES_MAX: Final = 64 * 1024

# A cloned repository is not trusted: none of its settings may start a program or reach the network.
_SAFE: Final = (
    "--no-pager", "--literal-pathspecs", "--no-optional-locks", "-c", "core.fsmonitor=false",
    "-c", "core.quotePath=false", "-c", "diff.external=", "-c", "log.showSignature=false",
    "-c", "core.hooksPath=/dev/null",
    "-c", "protocol.allow=never", "-c", "core.attributesFile=/dev/null", "-c", "log.mailmap=false",
)  # fmt: skip


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_NO_REPLACE_OBJECTS": "1"}


class Git:
    """Runs git in the work tree *top*."""

    def __init__(self, top: Path) -> None:
        """Take the root of a work tree."""
        self.top = top

    def run(self, *arguments: str, stdin: bytes = b"", ok: Sequence[int] = (0,)) -> tuple[bytes, str]:
        """Return what a command prints and what it complains of.

        Raises:
            InvalidError: code ``file.unreadable`` when git fails or takes too long.
            LimitError: code ``limit.exceeded`` when it says more than `OUTPUT_BYTES_MAX`.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
            command = ["git", *_SAFE, "-C", str(self.top), *arguments]
            try:
                done = subprocess.run(  # noqa: S603 - a fixed program, no shell
                    command, input=stdin, stdout=out, stderr=complaints, env=_environment(),
                    timeout=GIT_SECONDS_MAX, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired as error:
                msg = f"git {arguments[0]} took longer than {GIT_SECONDS_MAX} s in {self.top}"
                raise InvalidError(msg, code="file.unreadable", path=str(self.top)) from error
            said = _tail(complaints)
            if done.returncode not in ok:
                msg = f"git {arguments[0]} failed in {self.top}: {said[:500].strip()}"
                raise InvalidError(msg, code="file.unreadable", path=str(self.top))
            size = out.seek(0, os.SEEK_END)
            if size > OUTPUT_BYTES_MAX:
                msg = f"git {arguments[0]} said {size} bytes, more than {OUTPUT_BYTES_MAX}; name a smaller folder"
                raise LimitError(msg, limit="OUTPUT_BYTES_MAX", maximum=OUTPUT_BYTES_MAX)
            out.seek(0)
            return out.read(), said

    def head(self) -> str | None:
        """Return the commit that HEAD names, or None before the first one."""
        out, _ = self.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1, 128))
        return out.decode().strip() or None

    def is_shallow(self) -> bool:
        """Tell whether the clone lacks the beginning of its history."""
        out, _ = self.run("rev-parse", "--is-shallow-repository")
        return out.strip() == b"true"

    @contextmanager
    def blobs(self) -> Generator[BlobReader]:
        """Open one process that hands out contents, for as long as the context lasts."""
        with (
            tempfile.TemporaryFile() as complaints,
            subprocess.Popen(  # noqa: S603 - a fixed program, no shell
                ["git", *_SAFE, "-C", str(self.top), "cat-file", "--batch"],  # noqa: S607 - the user's git
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, env=_environment(),
            ) as process,
        ):  # fmt: skip
            try:
                assert process.stdin is not None  # noqa: S101 - asked for two lines above
                assert process.stdout is not None  # noqa: S101
                yield BlobReader(process.stdin, process.stdout, self.top)
            finally:
                process.kill()


class BlobReader:
    """Contents by object name, through one `git cat-file --batch`."""

    def __init__(self, asks: IO[bytes], answers: IO[bytes], top: Path) -> None:
        """Take the two ends of the process."""
        self._asks = asks
        self._answers = answers
        self._top = top

    def read(self, name: str, bytes_max: int) -> tuple[bytes, int]:
        """Return the first *bytes_max* bytes of the blob *name* and its whole size.

        Raises:
            InvalidError: code ``file.unreadable`` when the repository does not have it.
        """
        self._asks.write(name.encode() + b"\n")
        self._asks.flush()
        header = self._answers.readline().split()
        if len(header) != 3 or header[1] != b"blob":  # noqa: PLR2004 - name, type, size
            msg = (
                f"{self._top} lacks the content {name}: {b' '.join(header[1:]).decode(errors='replace') or 'git ended'}"
            )
            raise InvalidError(msg, code="file.unreadable", path=str(self._top))
        size = int(header[2])
        data = self._answers.read(min(size, bytes_max))
        rest = size - len(data) + 1
        while rest > 0:
            passed = len(self._answers.read(min(rest, 1 << 20)))
            if passed == 0:
                break
            rest -= passed
        return data, size


def _tail(stream: IO[bytes]) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _STDERR_BYTES_MAX))
    return stream.read().decode(errors="replace")


def find_git(path: Path) -> tuple[Git | None, tuple[Problem, ...]]:
    """Return the work tree that the folder *path* lies in, or None; and why, where one is there but cannot be read."""
    marked = any((folder / ".git").exists() for folder in (path.resolve(), *path.resolve().parents))
    try:
        out, _ = Git(path).run("rev-parse", "--show-toplevel")
    except FileNotFoundError:
        missing = Problem(
            "git.unreadable", f"{path} lies in a repository, but no git is installed; its files were read alone"
        )
        return None, (missing,) if marked else ()
    except InvalidError as error:
        return None, (Problem("git.unreadable", f"{error}; its files were read alone"),) if marked else ()
    top = out.decode("utf-8", "surrogateescape").removesuffix("\n")
    return (Git(Path(top)) if top else None), ()
