"""A wire between a client and its database that can be held, cut, or cut at the very moment of a commit."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias

__all__ = ["Cut", "Hold", "Proxy", "opened_proxy"]

Cut: TypeAlias = Literal["before", "while", "after"]
"""Cut the wire before the commit reaches the server, while it works on it, or after it has answered."""
Hold: TypeAlias = Literal["commit", "answer"]
"""What does not arrive: the commit, or the server's answer to it."""

_COMMIT: Final = b"\x00\x02\xb0\x12\x00\x00"
"""Bolt's message COMMIT: a chunk of two bytes, a structure without fields, and the end of the message."""
_BYTES: Final = 65_536


class Proxy:
    """Passes bytes between clients and one server, until it is told not to."""

    def __init__(self, port: int) -> None:
        """Listen on a free port for the server on *port* of this machine."""
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._due: Cut | None = None
        self._held: Hold | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at_commit(self, when: Cut) -> None:
        """Cut the wire at the next commit."""
        self._due = when

    def hold_at_commit(self, when: Hold) -> None:
        """Let nothing through from the next commit on, and nobody know."""
        self._held = when

    def cut(self) -> None:
        """Cut every wire now; new ones can be made."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self._close(*pair)

    def hold(self) -> None:
        """Let nothing through, and nobody know."""
        self._open.clear()

    def release(self) -> None:
        """Let through what waits, and all that comes."""
        self._open.set()

    def close(self) -> None:
        """Stop listening and cut everything."""
        self._listener.close()
        self.release()
        self.cut()

    def _close(self, *sockets: socket.socket) -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            for work in (self._up, self._down):
                threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what the client says, and look out for its commit."""
        with contextlib.suppress(OSError):
            while said := client.recv(_BYTES):
                if self._held is not None and _COMMIT in said:
                    held, self._held = self._held, None
                    self.hold()
                    if held == "answer":
                        server.sendall(said)
                        continue
                self._open.wait()
                if self._due is not None and _COMMIT in said:
                    self._cut_now(said, client, server)
                    return
                server.sendall(said)
        self._close(client, server)

    def _cut_now(self, said: bytes, client: socket.socket, server: socket.socket) -> None:
        when, self._due = self._due, None
        if when != "before":
            # The other direction is closed first, so that no byte of the answer gets through.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            server.sendall(said)
        if when == "after":
            # What the thread below reads of the answer goes to a closed end; it ends when the answer is there.
            with contextlib.suppress(OSError):
                server.settimeout(30)
                server.recv(_BYTES, socket.MSG_PEEK)
        self.cuts += 1
        self._close(client, server)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := server.recv(_BYTES):
                self._open.wait()
                client.sendall(said)
        self._close(client, server)


@contextmanager
def opened_proxy(port: int) -> Generator[Proxy]:
    """Put a wire before the server on *port* for the length of a block."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
