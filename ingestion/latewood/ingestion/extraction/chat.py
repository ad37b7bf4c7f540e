"""A model behind any server that speaks OpenAI's `/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from latewood.ingestion.asking import Endpoint, Patience
from latewood.ingestion.extraction.prompt import SYSTEM

__all__ = ["ANSWER_TOKENS_MAX", "Answer", "ChatModel"]

ANSWER_TOKENS_MAX: Final = 2_000
"""Most tokens that a model may answer with."""
_ANSWER_BYTES_MAX: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said; its count of tokens is None where the server does not tell it."""

    text: str
    tokens: int | None
    cut: bool


def _object(thing: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", thing) if isinstance(thing, dict) else {}


class ChatModel:
    """Asks one model, one question at a time. The turns leave this machine, if the server is on another."""

    def __init__(self, name: str, base_url: str, *, key: str | None = None, patience: Patience | None = None) -> None:
        """Prepare; nothing is asked yet.

        Args:
            name: the model's name at the server.
            base_url: the address up to and with ``/v1``.
            key: sent as a bearer token when given; never logged.
        """
        self.name = name
        self._endpoint = Endpoint(
            f"{base_url.rstrip('/')}/chat/completions", kind="model", about=f"chat by the model {name!r}", key=key,
            patience=patience or Patience(total_s=120.0), answer_bytes_max=_ANSWER_BYTES_MAX,
            cure="check LATEWOOD_MODEL and LATEWOOD_MODEL_KEY",
        )  # fmt: skip

    def ask(self, question: str) -> Answer:
        """Return the answer to *question* under the system prompt. Raises as `Endpoint.post` does."""
        read = self._endpoint.post(
            {
                "model": self.name, "temperature": 0, "max_tokens": ANSWER_TOKENS_MAX,
                "response_format": {"type": "json_object"},
                "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
            }
        )  # fmt: skip
        choices = read.get("choices")
        listed = cast("list[Any]", choices) if isinstance(choices, list) else []
        first = _object(listed[0] if listed else None)
        content = _object(first.get("message")).get("content")
        if not isinstance(content, str):
            raise self._endpoint.nonsense("no `choices[0].message.content`")
        counted = _object(read.get("usage")).get("total_tokens")
        tokens = counted if type(counted) is int and counted >= 0 else None
        return Answer(content, tokens, cut=first.get("finish_reason") == "length")

    def close(self) -> None:
        """Let go of the connections."""
        self._endpoint.close()
