"""A Neo4j of the tests' own, which they stop, kill and start again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from neo4j_server import JARS, VERSION, up_for_tests

from latewood.clients.neo4j_local import Wanted, down

__all__ = ["Server"]


class Server:
    """One server in one home; it keeps its ports and its data from start to start."""

    def __init__(self, home: Path) -> None:
        """Take the folder; `start` assembles and starts it."""
        self._home = home
        self.url = ""
        self.port = 0
        self._web = 0

    def start(self) -> None:
        """Start it and wait until it answers."""
        running = up_for_tests(
            Wanted(
                self._home, version=os.environ.get(VERSION) or None, bolt_port=self.port, http_port=self._web,
                heap="512m", page_cache="128m", jars=JARS,
            )
        )  # fmt: skip
        assert running.url is not None
        self.url, self.port, self._web = running.url, running.bolt_port, running.http_port

    def stop(self) -> None:
        """Stop it in good order."""
        down(self._home)

    def kill(self) -> None:
        """Kill it and its launcher at once, as a power cut would."""
        for pid in self._processes():
            os.kill(pid, signal.SIGKILL)
        down(self._home)

    def pause(self) -> None:
        """Let it stand still: its connections stay, and nobody answers."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        for pid in self._processes():
            os.kill(pid, signal.SIGCONT)

    def _processes(self) -> list[int]:
        """Find the processes that were started with this home in their command line, newest first."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(word.endswith(f"={self._home}") for word in words):
                found.append(int(entry.name))
        assert found, f"no server runs in {self._home}"
        return sorted(found, reverse=True)
