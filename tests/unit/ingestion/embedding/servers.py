"""A server of embeddings for tests: real sockets, and whatever answer a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request that came."""

    body: dict[str, Any]
    headers: dict[str, str]
    path: str


@dataclass
class EmbeddingServer:
    """What came, and where it listens."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


Answer = Callable[["BaseHTTPRequestHandler", EmbeddingServer, Asked], None]


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def vector_of(text: str, dimensions: int = 3) -> list[float]:
    """A vector that tells its text apart: of its length and its first letter."""
    return [float(len(text)), float(ord(text[0])), *[1.0] * (dimensions - 2)]


def vectors(dimensions: int = 3) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, server: EmbeddingServer, asked: Asked) -> None:
        width = asked.body.get("dimensions", dimensions)
        rows = [
            {"object": "embedding", "index": place, "embedding": vector_of(text, width)}
            for place, text in enumerate(asked.body["input"])
        ]
        # Servers may answer in any order.
        send(handler, 200, json.dumps({"object": "list", "data": rows[::-1], "model": asked.body["model"]}).encode())

    return answer


def plainly(status: int, body: bytes, **headers: str) -> Answer:
    return lambda handler, server, asked: send(handler, status, body, **headers)


def in_turn(*answers: Answer) -> Answer:
    """The first answer to the first request, and so on; the last to all further ones."""
    return lambda handler, server, asked: answers[min(len(server.asked), len(answers)) - 1](handler, server, asked)


@contextmanager
def embedding_server(answer: Answer) -> Iterator[EmbeddingServer]:
    server = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(body, {name.lower(): value for name, value in self.headers.items()}, self.path)
            server.asked.append(asked)
            try:
                answer(self, server, asked)
            except OSError:  # the client gave up, as some tests mean it to
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    server.url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        listener.shutdown()
        thread.join()
        listener.server_close()
