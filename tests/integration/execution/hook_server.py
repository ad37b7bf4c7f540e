"""A real HTTP server on this machine that answers as it is told, and keeps what it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Hook:
    """What the server answers, in turn (the last one for good), and what came.

    Attributes:
        answers: a status with further header lines, or None for silence.
    """

    answers: list[tuple[int, str] | None]
    url: str = ""
    bodies: list[bytes] = field(default_factory=list[bytes])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
            self.bodies.append(await reader.readexactly(int(headers.get("content-length", "0"))))
            self.headers.append({**headers, "line": head[0]})
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                await reader.read()
                return
            status, more = answer
            writer.write(f"HTTP/1.1 {status} said\r\n{more}content-length: 2\r\nconnection: close\r\n\r\nok".encode())
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def hooked(*answers: int | tuple[int, str] | None) -> AsyncGenerator[Hook]:
    """Serve on a free port of 127.0.0.1."""
    hook = Hook([(one, "") if isinstance(one, int) else one for one in answers])
    server = await asyncio.start_server(hook._serve, "127.0.0.1", 0)  # pyright: ignore[reportPrivateUsage]
    hook.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in?from=latewood"
    try:
        yield hook
    finally:
        server.close()
