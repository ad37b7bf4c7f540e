"""A server that speaks `/v1/chat/completions` over real HTTP, and answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["ChatServer", "chat_server", "shown_turns"]

Reply = Callable[[dict[str, Any]], "tuple[int, bytes] | tuple[int, bytes, dict[str, str]]"]


@dataclass
class ChatServer:
    """What was asked, and what to answer."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    keys: list[str | None] = field(default_factory=list["str | None"])
    reply: Reply | None = None

    def says(self, write: Callable[[list[str]], object], *, tokens: int | None = 100) -> None:
        """Answer each question with what *write* makes of its turns, as JSON unless it is a text."""

        def reply(asked: dict[str, Any]) -> tuple[int, bytes]:
            made = write(shown_turns(asked))
            content = made if isinstance(made, str) else json.dumps(made)
            usage = {} if tokens is None else {"usage": {"total_tokens": tokens}}
            choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
            return 200, json.dumps({"choices": [choice], **usage}).encode()

        self.reply = reply


def shown_turns(asked: dict[str, Any]) -> list[str]:
    """Return the lines of turns that a question shows."""
    text: str = asked["messages"][-1]["content"]
    return text.removeprefix("<turns>\n").removesuffix("\n</turns>").split("\n")


@contextmanager
def chat_server() -> Generator[ChatServer]:
    """Serve on a free port until the block ends."""
    state = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.asked.append(json.loads(body))
            state.keys.append(self.headers.get("Authorization"))
            assert state.reply is not None
            found = state.reply(state.asked[-1]) if self.path == "/v1/chat/completions" else (404, b"{}")
            status, answer, *more = found
            self.send_response(status)
            for name, value in more[0].items() if more else ():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
