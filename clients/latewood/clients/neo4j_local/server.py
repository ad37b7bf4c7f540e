"""Starting, stopping and looking at a Neo4j of one's own, without Docker."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from latewood.clients.neo4j_local.assembly import assemble
from latewood.clients.neo4j_local.configuration import HOST, Configuration, checked_folder, checked_size
from latewood.clients.neo4j_local.home import Home, Note, data_folder
from latewood.clients.neo4j_local.java import Java, find_java
from latewood.clients.neo4j_local.locks import locked
from latewood.clients.neo4j_local.probe import USER, Answer, ask, free_port, require_free, speaks_bolt
from latewood.clients.neo4j_local.processes import Process, children, start_detached, stop
from latewood.clients.neo4j_local.releases import Release, release_for
from latewood.graph_schema.errors import ConflictError, InvalidError, UnavailableError

__all__ = ["BOLT_PORT", "HTTP_PORT", "Running", "Stopped", "Wanted", "down", "home_folder", "status", "up"]

BOLT_PORT: Final = 7687
HTTP_PORT: Final = 7474
_LOCK_S_MAX: Final = 300.0
_START_S_MAX: Final = 180.0
_STOP_S_MAX: Final = 120.0
_PASSWORD_S_MAX: Final = 60.0
_POLL_S: Final = 0.25
_TRIES_MAX: Final = 3
"""How often a free port is looked for anew, when another process took it in between."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of `up`; a port of 0 is any that is free, None the usual one, a version of None the home's."""

    home: Path | None = None
    version: str | None = None
    bolt_port: int | None = None
    http_port: int | None = None
    heap: str = "1g"
    page_cache: str = "512m"
    password: str | None = None
    jars: Path | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: *url* is what `--db` takes, *browser* what people open; *started* says whether just now."""

    running: bool
    started: bool
    ready: bool
    url: str | None
    browser: str
    user: str
    version: str
    bolt_port: int
    http_port: int
    pid: int
    home: str
    log: str
    java: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """A home in which nothing runs: *stopped* says whether something did until now, *killed* whether it had to be."""

    running: bool
    stopped: bool
    killed: bool
    home: str


def home_folder(home: Path | None) -> Path:
    """Return the folder of a home, the user's own when none is named. Raises InvalidError (``setting.invalid``)."""
    return checked_folder(data_folder() / "home" if home is None else home)


def up(wanted: Wanted) -> Running:
    """Start a server, assembled first where it is not, and wait until it answers; one that runs already is left alone.

    Raises:
        InvalidError: code ``setting.invalid`` for an option that cannot be honoured, a taken port among them.
        ConflictError: code ``neo4j.running`` when it runs with other ports or in another version than asked for,
            ``neo4j.other_version`` when the home holds the data of another line of releases.
        UnavailableError: code ``java.missing``, ``maven.missing``, ``neo4j.assembly_failed``, ``neo4j.start_failed``,
            ``neo4j.password_wrong``, ``disk.full``, or ``store.busy``.
    """
    home = Home(home_folder(wanted.home))
    jars = checked_folder(data_folder() / "jars" if wanted.jars is None else wanted.jars)
    heap, page_cache = checked_size(wanted.heap, "--heap"), checked_size(wanted.page_cache, "--page-cache")
    try:
        home.make()
        with locked(home.lock, seconds=_LOCK_S_MAX):
            note = home.note()
            if note is not None and note.running:
                return _as_it_runs(home, note, wanted)
            which = release_for(wanted.version, home.version())
            _check_ports(wanted)
            password = home.choose_password(wanted.password)
            java = find_java(which)
            library = assemble(jars, which, java)
            for left in reversed(range(_TRIES_MAX)):
                bolt, web = _asked_ports(wanted)
                configuration = Configuration(library, bolt or free_port(), web or free_port(), heap, page_cache)
                try:
                    return _start(home, which, java, configuration, password)
                except _PortTakenError as error:
                    if not left or 0 not in (bolt, web):
                        raise UnavailableError(error.message, code=error.code, **error.details) from error
            raise AssertionError
    except OSError as error:
        msg = f"the home {str(home.folder)!r} cannot be used: {error}"
        if error.errno == errno.ENOSPC:
            raise UnavailableError(msg, code="disk.full", path=str(home.folder)) from error
        raise InvalidError(msg, code="file.unreadable", path=str(home.folder)) from error


def down(home: Path | None = None) -> Stopped:
    """Stop the server that `up` started in *home*, and no other process.

    Raises:
        InvalidError: code ``setting.invalid``.
        UnavailableError: code ``neo4j.stop_failed`` when it does not end, ``store.busy`` while it is being started.
    """
    place = Home(home_folder(home))
    if place.note() is None:
        return Stopped(running=False, stopped=False, killed=False, home=str(place.folder))
    with locked(place.lock, seconds=_LOCK_S_MAX):
        note = place.note()
        running = () if note is None else _family(note)
        gently = stop(running, seconds=_STOP_S_MAX)
        place.forget()
    return Stopped(running=False, stopped=bool(running), killed=not gently, home=str(place.folder))


def status(home: Path | None = None) -> Running | Stopped:
    """Say what runs in *home*. Raises InvalidError (``setting.invalid``)."""
    place = Home(home_folder(home))
    note = place.note()
    if note is None or not note.running:
        return Stopped(running=False, stopped=False, killed=False, home=str(place.folder))
    return _running(place, note, started=False)


class _PortTakenError(UnavailableError):
    """Another process took a port between the look for it and the start."""

    default_code = "neo4j.start_failed"


def _check_ports(wanted: Wanted) -> None:
    """Refuse ports that cannot be had before anything is fetched."""
    bolt, web = _asked_ports(wanted)
    require_free(bolt, "--bolt-port")
    require_free(web, "--http-port")
    if bolt == web != 0:
        msg = f"--bolt-port and --http-port are both {bolt}; they have to differ"
        raise InvalidError(msg, code="setting.invalid", port=bolt)


def _asked_ports(wanted: Wanted) -> tuple[int, int]:
    bolt = BOLT_PORT if wanted.bolt_port is None else wanted.bolt_port
    return bolt, HTTP_PORT if wanted.http_port is None else wanted.http_port


def _as_it_runs(home: Home, note: Note, wanted: Wanted) -> Running:
    asked = [
        f"{what} {value}"
        for what, value, has in (
            ("Bolt port", wanted.bolt_port, note.bolt_port), ("HTTP port", wanted.http_port, note.http_port),
            ("version", wanted.version, note.version),
        )
        if value not in (None, 0, has)
    ]  # fmt: skip
    if asked:
        msg = (
            f"Neo4j {note.version} runs in {home.folder} already, with Bolt at {note.bolt_port} and HTTP at "
            f"{note.http_port}, not with {', '.join(asked)}; run `latewood neo4j down` first, or name another --home"
        )
        raise ConflictError(msg, code="neo4j.running", home=str(home.folder))
    password = wanted.password or home.password()
    # An `up` that was killed while it waited has left a server that may still be on its way.
    if password is not None:
        _wait(home, note.running[0], note.bolt_port, note.http_port, password)
    if wanted.password is not None:
        home.keep_password(wanted.password)
    note = replace(note, processes=_family(note))
    home.write_note(note)
    return _running(home, note, started=False)


def _wrong_password(home: Home) -> UnavailableError:
    msg = (
        f"the server in {home.folder} has another password; give the present one with --password, and it is kept "
        "(change it in the Browser with ALTER CURRENT USER SET PASSWORD)"
    )
    return UnavailableError(msg, code="neo4j.password_wrong", home=str(home.folder))


def _running(home: Home, note: Note, *, started: bool) -> Running:
    password = home.password()
    ready = speaks_bolt(note.bolt_port) and password is not None and ask(note.http_port, password) is Answer.READY
    return Running(
        running=True, started=started, ready=ready,
        url=None if password is None else f"neo4j://{USER}:{quote(password, safe='')}@{HOST}:{note.bolt_port}",
        browser=f"http://{HOST}:{note.http_port}/browser/", user=USER, version=note.version,
        bolt_port=note.bolt_port, http_port=note.http_port, pid=note.running[-1].pid if note.running else 0,
        home=str(home.folder), log=str(home.log), java=note.java,
    )  # fmt: skip


def _environment(home: Home, java: Java) -> Mapping[str, str]:
    # What a shell has set for another Neo4j must not steer this one.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEO4J_") and name != "HEAP_SIZE"}
    return {**kept, "JAVA_HOME": str(java.home), "NEO4J_HOME": str(home.folder), "NEO4J_CONF": str(home.conf)}


def _words(home: Home, java: Java, library: Path, entry: str, *words: str) -> list[str]:
    return [
        str(java.program), "-cp", f"{library}/*", f"-Dbasedir={home.folder}", f"org.neo4j.server.startup.{entry}",
        *words,
    ]  # fmt: skip


def _set_password(home: Home, java: Java, library: Path, password: str) -> None:
    """Set the password that the first start takes over; one of a start that never came is replaced."""
    with home.initial_password(password) as file:
        words = _words(home, java, library, "Neo4jAdminCommand", "dbms", "set-initial-password", f"@{file}")
        try:
            done = subprocess.run(  # noqa: S603 - the Java that was found, over the jars that were fetched
                words, env=dict(_environment(home, java)), cwd=home.folder, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", timeout=_PASSWORD_S_MAX, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            msg = f"the password was not set within {_PASSWORD_S_MAX:.0f} s; try again"
            raise UnavailableError(msg, code="neo4j.start_failed") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).replace(password, "***").strip()[-1_000:]
        msg = f"the password could not be set (exit code {done.returncode}): {said}"
        raise UnavailableError(msg, code="neo4j.start_failed", exit_code=done.returncode)


def _start(home: Home, which: Release, java: Java, configuration: Configuration, password: str) -> Running:
    (home.conf / "neo4j.conf").write_text(configuration.text(), encoding="utf-8")
    if not home.started_before:
        _set_password(home, java, configuration.library, password)
        home.keep_password(password)
    words = _words(home, java, configuration.library, "Neo4jCommand", "console")
    home.bury()
    # Before it starts, since starting is what makes the data its own.
    home.keep_version(which.version)
    launcher = start_detached(words, log=home.log, folder=home.folder, environment=_environment(home, java))
    # Noted before it answers: a command that is killed while it waits leaves a server that `down` can stop.
    note = _noted(home, which, java, configuration, launcher)
    try:
        _wait(home, launcher, configuration.bolt_port, configuration.http_port, password)
        note = _noted(home, which, java, configuration, launcher)
    except BaseException:
        stop((launcher, *children(launcher)), seconds=_STOP_S_MAX)
        home.forget()
        raise
    home.keep_password(password)
    return _running(home, note, started=True)


def _family(note: Note) -> tuple[Process, ...]:
    """Return what runs of a note, with children that were started after it was written; parents first."""
    found = dict.fromkeys(note.running)
    for parent in note.running:
        found.update(dict.fromkeys(children(parent)))
    return tuple(found)


def _noted(home: Home, which: Release, java: Java, configuration: Configuration, launcher: Process) -> Note:
    """Note the launcher with the server that it started, which would outlive it if it were killed."""
    note = Note(
        which.version, configuration.bolt_port, configuration.http_port, f"Java {java.version} in {java.home}",
        (launcher, *children(launcher)),
    )  # fmt: skip
    home.write_note(note)
    return note


def _wait(home: Home, process: Process, bolt_port: int, http_port: int, password: str) -> None:
    until = time.monotonic() + _START_S_MAX
    while time.monotonic() < until:
        if not process.alive:
            tail = home.tail()
            msg = f"Neo4j did not start; the end of {home.log}:\n{tail}"
            if "Address already in use" in tail:
                raise _PortTakenError(msg, log=str(home.log))
            raise UnavailableError(msg, code="neo4j.start_failed", log=str(home.log))
        answer = ask(http_port, password)
        if answer is Answer.WRONG_PASSWORD:
            raise _wrong_password(home)
        if answer is Answer.READY and speaks_bolt(bolt_port):
            return
        time.sleep(_POLL_S)
    msg = f"Neo4j did not answer within {_START_S_MAX:.0f} s; the end of {home.log}:\n{home.tail()}"
    raise UnavailableError(msg, code="neo4j.start_failed", log=str(home.log))
