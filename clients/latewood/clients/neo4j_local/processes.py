"""Processes that outlive the command that started them, known by their id and the instant they were started at.

A process id alone names nobody: the system gives it to a stranger once its owner is gone, and after a restart. The id
with the start is never given twice, so what is stopped is what was started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from latewood.graph_schema.errors import UnavailableError

__all__ = ["Process", "born", "children", "start_detached", "stop"]

_PROC: Final = Path("/proc")
_ASK_S_MAX: Final = 10.0
_POLL_S: Final = 0.1
_KILLED_S_MAX: Final = 10.0
_START: Final = 'log="$1"; shift; "$@" </dev/null >"$log" 2>&1 & echo $!'
"""The shell goes at once, so that init takes the process over and no caller is left with a zombie."""


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    try:
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _ps(*words: str) -> str:
    try:
        # By its name: where there is no /proc, ps is in /bin or /usr/bin.
        done = subprocess.run(  # noqa: S603
            ["ps", *words],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=_ASK_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"the processes of this machine cannot be listed: {error}"
        raise UnavailableError(msg, code="neo4j.start_failed") from error
    return done.stdout


def born(pid: int) -> str | None:
    """Say when the process was started, in words that only compare; None when it is gone, or dead and unburied."""
    if not (_PROC / "self" / "stat").exists():
        state, _, start = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip().partition(" ")
        return None if not state or state.startswith("Z") else start.strip()
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{fields[19]}"


@dataclass(frozen=True, slots=True)
class Process:
    """One process, for good: its id and when it was started."""

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return born(self.pid) == self.born


def children(parent: Process) -> list[Process]:
    """List the processes that *parent* started itself and that still run."""
    if not parent.alive:
        return []
    if (_PROC / "self" / "stat").exists():
        pids = [int(one.name) for one in _PROC.iterdir() if one.name.isdigit()]
        own = [pid for pid in pids if (fields := _stat(pid)) is not None and fields[1] == str(parent.pid)]
    else:
        rows = [line.split() for line in _ps("-A", "-o", "pid=,ppid=").splitlines()]
        own = [int(row[0]) for row in rows if row[1:] == [str(parent.pid)]]
    return [Process(pid, since) for pid in own if (since := born(pid)) is not None]


def start_detached(words: Sequence[str], *, log: Path, folder: Path, environment: Mapping[str, str]) -> Process:
    """Start a program in a session of its own, with its output in *log*, and do not wait for it.

    Raises:
        UnavailableError: code ``neo4j.start_failed`` when it was gone at once.
    """
    done = subprocess.run(  # noqa: S603 - words of the caller, none of them read by the shell
        ["/bin/sh", "-c", _START, "sh", str(log), *words], stdout=subprocess.PIPE, text=True, check=True, cwd=folder,
        env=dict(environment), start_new_session=True, timeout=_ASK_S_MAX,
    )  # fmt: skip
    pid = int(done.stdout)
    if (since := born(pid)) is None:
        msg = f"{words[0]} ended as soon as it was started; {log} may say why"
        raise UnavailableError(msg, code="neo4j.start_failed", log=str(log))
    return Process(pid, since)


def _signal(process: Process, number: signal.Signals) -> None:
    if process.alive:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _gone(processes: Sequence[Process], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while any(one.alive for one in processes):
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
    return True


def stop(processes: Sequence[Process], *, seconds: float) -> bool:
    """Ask *processes*, parents first, to end, and kill what has not ended after *seconds*.

    A child is asked when its parent is gone and has left it behind. True when none had to be killed.

    Raises:
        UnavailableError: code ``neo4j.stop_failed`` when one runs on even so.
    """
    until = time.monotonic() + seconds
    for one in processes:
        _signal(one, signal.SIGTERM)
        if not _gone([one], max(until - time.monotonic(), 0.0)):
            break
    if _gone(processes, max(until - time.monotonic(), 0.0)):
        return True
    for one in processes:
        _signal(one, signal.SIGKILL)
    if not _gone(processes, _KILLED_S_MAX):
        pids = [one.pid for one in processes if one.alive]
        msg = f"the processes {pids} do not end; end them by hand"
        raise UnavailableError(msg, code="neo4j.stop_failed", pids=pids)
    return False
