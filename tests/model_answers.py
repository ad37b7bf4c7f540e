"""Answers that the local chat server gives in the place of a model: words, calls of tools, refusals, troubles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["USAGE", "Answer", "asks_for", "busy", "in_turn", "says"]

Answer = Any
"""What the server sends: a status, a body, and perhaps headers."""

USAGE = {
    "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 5},
}  # fmt: skip


def _answer(message: dict[str, Any], usage: dict[str, Any] | None, reason: str) -> Answer:
    body: dict[str, Any] = {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": reason}]}
    return 200, json.dumps(body if usage is None else {**body, "usage": usage}).encode()


def says(words: object, *, usage: dict[str, Any] | None = USAGE, reason: str = "stop", **more: object) -> Answer:
    """Answer with words, or with a document as JSON."""
    text = words if isinstance(words, str) else json.dumps(words)
    return _answer({"content": text, **more}, usage, reason)


def asks_for(*calls: tuple[str, object], usage: dict[str, Any] | None = USAGE) -> Answer:
    """Ask for calls of tools; arguments that are a text are sent as they are."""
    asked = [
        {"id": f"c{n}", "type": "function", "function": {
            "name": name, "arguments": given if isinstance(given, str) else json.dumps(given),
        }}
        for n, (name, given) in enumerate(calls, 1)
    ]  # fmt: skip
    return _answer({"content": None, "tool_calls": asked}, usage, "tool_calls")


def busy(status: int, **headers: str) -> Answer:
    """Turn the question away."""
    return status, b'{"error": {"message": "not now"}}', {name.replace("_", "-"): one for name, one in headers.items()}


def in_turn(answers: Sequence[Answer]) -> Callable[[dict[str, Any]], Answer]:
    """Give one answer after the other, and the last one from then on."""
    left: Iterator[Answer] = iter(answers)
    last: list[Answer] = [None]

    def reply(asked: dict[str, Any]) -> Answer:
        del asked
        last[0] = next(left, last[0])
        return last[0]

    return reply
