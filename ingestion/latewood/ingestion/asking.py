"""Asking a server that speaks OpenAI's HTTP: bounded in bytes, tries and time, and never trusted."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from latewood.graph_schema.errors import LatewoodError, RefusedError, UnavailableError

if TYPE_CHECKING:  # loaded when an endpoint is really used
    import httpx

__all__ = ["Endpoint", "Patience"]

_SHOWN_CHARS_MAX: Final = 200
_OK: Final = 200
_BUSY: Final = frozenset({408, 409, 425, 429})
_FAULT_MIN: Final = 500


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint is waited for, and how often asked."""

    total_s: float = 30.0
    """For one question, all tries and pauses together."""
    tries: int = 4
    pause_s: float = 0.5
    """Before the second try; doubled before each further one, less a random part."""


class _TryAgainError(Exception):
    """This try failed in a way that the next may not."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class Endpoint:
    """One address that takes JSON by POST and answers with JSON."""

    def __init__(
        self, url: str, *, kind: str, about: str, key: str | None, patience: Patience, answer_bytes_max: int,
        cure: str,
    ) -> None:  # fmt: skip
        """Prepare; nothing is asked of the server yet.

        Args:
            url: the whole address.
            kind: what the codes of its errors begin with, such as ``embedder``.
            about: what is asked for, for messages: "embeddings of the model 'x'".
            key: sent as a bearer token when given; never logged.
            cure: which settings to look at, for messages.
        """
        import httpx

        self.url = url
        self._kind = kind
        self._about = about
        self._cure = cure
        self._patience = patience
        self._bytes_max = answer_bytes_max
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A redirect is not followed: it would take the texts, and the key, to a place nobody named.
        self._client = httpx.Client(headers=headers, follow_redirects=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def post(self, asked: Mapping[str, object]) -> Mapping[str, Any]:
        """Return the JSON object that the server answers *asked* with.

        Raises:
            UnavailableError: code ``….unavailable`` when no try was answered in time.
            RefusedError: ``….refused`` with the server's words, ``….answer_invalid`` for what is no JSON object.
        """
        patience, reason = self._patience, "no try was made"
        end = time.monotonic() + patience.total_s
        tried = 0
        while tried < patience.tries and time.monotonic() < end:
            tried += 1
            try:
                return self._read(self._ask(asked, end))
            except _TryAgainError as error:
                reason = str(error)
                # Never more than all of it: many clients that were turned away together must not come back together.
                pause = patience.pause_s * 2 ** (tried - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
                pause = max(pause, error.pause_s or 0.0)
                if tried < patience.tries and time.monotonic() + pause < end:
                    time.sleep(pause)
                else:
                    break
        msg = (
            f"{self.url} gave no answer in {tried} tries and at most {patience.total_s:g} s: {reason}; try again later"
        )
        raise UnavailableError(msg, code=f"{self._kind}.unavailable", url=self.url, tries=tried)

    def nonsense(self, what: str) -> LatewoodError:
        """Return the error of an answer that is not what it should be."""
        msg = f"{self.url} answered with {what}; check that it serves {self._about}"
        return RefusedError(msg, code=f"{self._kind}.answer_invalid", url=self.url)

    def _ask(self, asked: Mapping[str, object], end: float) -> bytes:
        import httpx

        left = max(end - time.monotonic(), 0.001)
        try:
            with self._client.stream("POST", self.url, json=dict(asked), timeout=left) as answer:
                if answer.status_code in _BUSY or answer.status_code >= _FAULT_MIN:
                    raise _TryAgainError(f"it answered {answer.status_code}", _asked_pause(answer))
                body = self._body(answer, end)
                if answer.status_code != _OK:
                    raise self._refusal(answer.status_code, body)
                return body
        except httpx.TimeoutException as error:
            raise _TryAgainError("it did not answer in time") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            msg = f"{self.url} cannot be asked: {error}; {self._cure}"
            raise RefusedError(msg, code="setting.invalid") from error
        except httpx.HTTPError as error:
            raise _TryAgainError(f"{type(error).__name__}: {error}") from error

    def _body(self, answer: httpx.Response, end: float) -> bytes:
        """Read an answer piece by piece: a server that sends a byte now and then never runs into a timeout of reads."""
        body = bytearray()
        for part in answer.iter_bytes():
            body += part
            if len(body) > self._bytes_max:
                raise self.nonsense(f"more than {self._bytes_max:,} bytes")
            if time.monotonic() > end:
                raise _TryAgainError("its answer did not end in time")
        return bytes(body)

    def _read(self, body: bytes) -> Mapping[str, Any]:
        try:
            read: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self.nonsense("something that is not JSON") from error
        if not isinstance(read, dict):
            raise self.nonsense("JSON that is no object")
        return cast("Mapping[str, Any]", read)

    def _refusal(self, status: int, body: bytes) -> LatewoodError:
        said = " ".join(body[: 4 * _SHOWN_CHARS_MAX].decode("utf-8", "replace").split())[:_SHOWN_CHARS_MAX]
        msg = f"{self.url} refused with {status}: {said}; it was asked for {self._about}: {self._cure}"
        return RefusedError(msg, code=f"{self._kind}.refused", url=self.url, status=status)


def _asked_pause(answer: httpx.Response) -> float | None:
    given = answer.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else None
