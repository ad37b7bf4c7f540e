"""The home of a server: its data, its neo4j.conf, its logs, its password, and a note of what runs."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from latewood.clients.neo4j_local.processes import Process, born
from latewood.graph_schema.errors import InvalidError

__all__ = ["Home", "Note", "data_folder"]

_PASSWORD_MIN: Final = 8
_PASSWORD_MAX: Final = 128
_PASSWORD_BYTES: Final = 18
_TAIL_BYTES: Final = 8_192
_TAIL_LINES: Final = 15


def _checked(password: str, what: str) -> str:
    # ASCII, for how the rest reaches Java depends on the locale.
    if not password.isascii() or not password.isprintable() or password != password.strip():
        msg = f"{what} has characters other than printable ASCII, or blanks at its ends; choose another"
        raise InvalidError(msg, code="setting.invalid")
    if not _PASSWORD_MIN <= len(password) <= _PASSWORD_MAX:
        msg = f"{what} has {len(password)} characters; Neo4j takes {_PASSWORD_MIN} to {_PASSWORD_MAX}"
        raise InvalidError(msg, code="setting.invalid", length=len(password))
    return password


def data_folder() -> Path:
    """Return the folder that users' data is kept in: XDG_DATA_HOME, else ~/.local/share."""
    named = os.environ.get("XDG_DATA_HOME", "")
    # The specification has relative paths ignored.
    place = Path(named) if named.startswith("/") else Path.home() / ".local" / "share"
    return place / "latewood" / "neo4j"


@dataclass(frozen=True, slots=True)
class Note:
    """What was started: kept in the home, so that a later command stops that and nothing else."""

    version: str
    bolt_port: int
    http_port: int
    java: str
    processes: tuple[Process, ...]

    @property
    def running(self) -> tuple[Process, ...]:
        """The processes that still run, parents first."""
        return tuple(one for one in self.processes if one.alive)


@dataclass(frozen=True, slots=True)
class Home:
    """The places in a home."""

    folder: Path

    @property
    def conf(self) -> Path:
        """The folder of neo4j.conf."""
        return self.folder / "conf"

    @property
    def log(self) -> Path:
        """What the server printed since it was last started."""
        return self.folder / "logs" / "console.log"

    @property
    def lock(self) -> Path:
        """Held while a server is started or stopped."""
        return self.folder / ".latewood.lock"

    @property
    def _note(self) -> Path:
        return self.folder / "latewood.json"

    @property
    def _password(self) -> Path:
        return self.folder / "password"

    @property
    def _version(self) -> Path:
        return self.folder / "version"

    @property
    def _initial(self) -> Path:
        return self.folder / "data" / "dbms" / "auth.ini"

    @property
    def started_before(self) -> bool:
        """Whether there is a database already, whose password is what it is."""
        return (self.folder / "data" / "databases").exists()

    def make(self) -> None:
        """Make the folders; the home is for its owner's eyes, since logs and data are."""
        for folder in (self.folder, self.conf, self.folder / "data", self.folder / "logs", self.folder / "run"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def note(self) -> Note | None:
        """Read what was started, None where nothing was or the note cannot be read."""
        try:
            found = cast("dict[str, Any]", json.loads(self._note.read_text(encoding="utf-8")))
            processes = tuple(Process(int(one["pid"]), str(one["born"])) for one in found["processes"])
            return Note(
                str(found["version"]), int(found["bolt_port"]), int(found["http_port"]), str(found["java"]), processes
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_note(self, note: Note) -> None:
        """Keep what was started."""
        document = {
            "version": note.version, "bolt_port": note.bolt_port, "http_port": note.http_port, "java": note.java,
            "processes": [{"pid": one.pid, "born": one.born} for one in note.processes],
        }  # fmt: skip
        self._replace(self._note, json.dumps(document, indent=2) + "\n")

    def bury(self) -> None:
        """Drop the server's own note of its process when that is dead.

        Neo4j takes a process that was killed and not yet collected by its parent for a running one, and does not start.
        """
        own = self.folder / "run" / "neo4j.pid"
        try:
            pid = int(own.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return
        if born(pid) is None:
            own.unlink(missing_ok=True)

    def forget(self) -> None:
        """Drop the note: nothing runs."""
        self._note.unlink(missing_ok=True)

    def version(self) -> str | None:
        """Read which release the data is of, None where there is none."""
        try:
            return self._version.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def keep_version(self, version: str) -> None:
        """Keep which release the data is of."""
        self._replace(self._version, version + "\n")

    def password(self) -> str | None:
        """Read the password that is kept."""
        try:
            return self._password.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def choose_password(self, given: str | None) -> str:
        """Take the password *given*, else the one that is kept, else make one.

        Raises:
            InvalidError: code ``setting.invalid`` for one that Neo4j would refuse, and where there is a database but no
                password is kept.
        """
        if given is not None:
            return _checked(given, "--password")
        if (kept := self.password()) is not None:
            return _checked(kept, f"the password in {self._password}")
        if self.started_before:
            msg = f"{self._password} is gone and {self.folder} has a database; give its password with --password"
            raise InvalidError(msg, code="setting.invalid", path=str(self._password))
        return secrets.token_urlsafe(_PASSWORD_BYTES)

    def keep_password(self, password: str) -> None:
        """Keep the password for its owner's eyes."""
        self._replace(self._password, password + "\n")

    @contextmanager
    def initial_password(self, password: str) -> Generator[Path]:
        """Name a file with the words that set *password*, while the block runs; one set before is taken back.

        In a file, since every user of a machine can read the words of a command line.
        """
        self._initial.unlink(missing_ok=True)
        quoted = password.replace("\\", "\\\\").replace('"', '\\"')
        words = self.folder / "password.words"
        try:
            # After the two dashes nothing is an option, and in quotes nothing is a comment or the name of a file.
            self._replace(words, f'-- "{quoted}"\n')
            yield words
        finally:
            words.unlink(missing_ok=True)

    def _replace(self, path: Path, text: str) -> None:
        part = path.with_name(f"{path.name}.part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        part.replace(path)

    def tail(self) -> str:
        """Return the last lines that the server printed."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
                lines = file.read(_TAIL_BYTES).decode(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])
