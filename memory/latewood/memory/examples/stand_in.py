"""A stand-in for a model: a local server of chat completions that sums texts up by taking their first sentence."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

__all__ = ["StandIn", "stand_in"]

_OK: Final = 200
_LOOK_S: Final = 0.02


@dataclass
class StandIn:
    """What was asked of it.

    Attributes:
        url: up to and with ``/v1``.
        used: tokens in and out of all its answers: what a provider would bill.
        status: what it answers with; anything but 200 turns the question away.
        before: called with each question before it is answered.
    """

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    used: int = 0
    status: Callable[[dict[str, Any]], int] = lambda _: _OK
    before: Callable[[dict[str, Any]], None] = lambda _: None

    def answer(self, asked: dict[str, Any]) -> tuple[int, bytes]:
        """Sum up what the last message says: a text by its first sentence, summaries line by line."""
        self.before(asked)
        self.asked.append(asked)
        if (status := self.status(asked)) != _OK:
            return status, b'{"error": {"message": "not now"}}'
        words: str = asked["messages"][-1]["content"]
        if words.startswith("["):
            parts: list[dict[str, str]] = json.loads(words)
            said: dict[str, object] = {
                "text": " ".join(f"{one['summary']} [{one['slice']}]" for one in parts),
                "cites": [one["slice"] for one in parts],
            }
        else:
            said = {"summary": f"{words.split('. ', maxsplit=1)[0].rstrip('.')}."}
        content = json.dumps(said)
        sent = sum(len(str(one["content"]).split()) for one in asked["messages"])
        usage = {
            "prompt_tokens": sent, "completion_tokens": len(content.split()),
            "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
        }  # fmt: skip
        self.used += sent + len(content.split())
        choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        return _OK, json.dumps({"choices": [choice], "usage": usage}).encode()


@contextmanager
def stand_in() -> Generator[StandIn]:
    """Serve on a free port of this machine until the block ends."""
    state = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = state.answer(asked)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(_LOOK_S,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
