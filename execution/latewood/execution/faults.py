"""What can go wrong in a step, by class, and what is done about each class: policies are data."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from latewood.graph_schema.errors import LatewoodError, UnavailableError
from latewood.graph_schema.values import Json

__all__ = [
    "DEFAULT",
    "Action",
    "Fault",
    "FaultClass",
    "Policy",
    "Rule",
    "fault_of",
    "keepable",
    "seconds_of",
    "trouble_told",
]

_MESSAGE_CHARS_MAX: Final = 500
_TROUBLE_CHARS_MAX: Final = 1_000
_RETRY_AFTER_S_MAX: Final = 1e7


def keepable(words: str) -> str:
    """Return *words* without what cannot be stored: to keep a failure must not fail itself."""
    return words.replace("\0", "").encode("utf-8", "replace").decode()


def trouble_told(kind: str, words: str, step: str | None = None) -> dict[str, Json]:
    """Return how a run that failed is told: the class, the words, and at which place, where it was a step."""
    told: dict[str, Json] = {"class": str(kind), "message": keepable(words[:_TROUBLE_CHARS_MAX])}
    return told if step is None else {**told, "step": step}


class FaultClass(StrEnum):
    """The classes of what can go wrong."""

    TRANSIENT = "transient"
    RATE_LIMIT = "rate-limit"
    PERMANENT = "permanent"
    INVALID_TOOL_CALL = "invalid-tool-call"
    SCHEMA = "schema"
    AMBIGUOUS = "ambiguous"
    POISON = "poison"
    LOST_WORKER = "lost-worker"


class Action(StrEnum):
    """What is done when a step's tries are used up and it has no fallback: ask the owner, or end the run."""

    ESCALATE = "escalate"
    REFUSE = "refuse"


class Fault(Exception):  # noqa: N818 - raised by steps to say what went wrong, as `raise Fault(...)`
    """What a step raises to say which class of trouble it met.

    ``raise Fault("rate-limit", "429 from the carrier's API", retry_after_s=7)``
    """

    def __init__(
        self, kind: FaultClass | str, message: str, *, retry_after_s: float | None = None, then: Action | None = None
    ) -> None:  # fmt: skip
        """Take the class, the words, how long the other side asked to be left alone, and perhaps what is to be done.

        Args:
            retry_after_s: at most 115 days are waited; what is no number from 0 on is left to the rule's own wait.
            then: in the place of what the policy's rule for the class says of a step that used its tries up.
        """
        super().__init__(message)
        self.kind = FaultClass(kind)
        self.message = keepable(message[:_MESSAGE_CHARS_MAX])
        self.retry_after_s: float | None = None
        if retry_after_s is not None and math.isfinite(retry_after_s) and retry_after_s >= 0:
            self.retry_after_s = min(retry_after_s, _RETRY_AFTER_S_MAX)
        self.then = then


@dataclass(frozen=True, slots=True)
class Rule:
    """How often a step is tried that meets one class, how long apart, and what then.

    Attributes:
        tries: in all, the first one counted; of `LOST_WORKER` how many workers a run may lose at one place.
        first_s: before the second try; each later wait is twice as long, up to *longest_s*, of which a random part
            between a half and the whole is waited.
    """

    tries: int
    then: Action
    first_s: float = 0.5
    longest_s: float = 60.0

    def wait_s(self, tried: int, share: float, retry_after_s: float | None = None) -> float:
        """Return how long to wait after *tried* tries; *share* in [0, 1) is chance. What was asked for is honoured."""
        # Capped before it is raised: 2.0 ** 1100 is an error, not a long time.
        longest = min(self.longest_s, self.first_s * 2.0 ** min(tried - 1, 60))
        return max(longest * (0.5 + share / 2), retry_after_s or 0.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """Which rule each class has. *version* is kept with every run and attempt that went by it."""

    version: str
    rules: Mapping[FaultClass, Rule]

    def rule(self, kind: FaultClass) -> Rule:
        """Return the rule for *kind*."""
        return self.rules[kind]

    def document(self) -> dict[str, Json]:
        """Return the rules as they are kept with what goes by them: tries, what then, and the waits in seconds."""
        return {
            str(kind): {
                "tries": rule.tries,
                "then": str(rule.then),
                "first_s": rule.first_s,
                "longest_s": rule.longest_s,
            }
            for kind, rule in self.rules.items()
        }

    def changed(self, version: str, rules: Mapping[FaultClass, Rule]) -> Policy:
        """Return a policy in which *rules* take the place of this one's."""
        return replace(self, version=version, rules={**self.rules, **rules})


DEFAULT: Final = Policy(
    "default-1",
    {
        FaultClass.TRANSIENT: Rule(5, Action.ESCALATE),
        FaultClass.RATE_LIMIT: Rule(8, Action.ESCALATE, first_s=1.0, longest_s=300.0),
        FaultClass.PERMANENT: Rule(1, Action.REFUSE),
        # Repaired once: the second try is told what was wrong with the first.
        FaultClass.INVALID_TOOL_CALL: Rule(2, Action.ESCALATE, first_s=0.0),
        FaultClass.SCHEMA: Rule(2, Action.ESCALATE, first_s=0.0),
        FaultClass.AMBIGUOUS: Rule(1, Action.ESCALATE),
        FaultClass.POISON: Rule(1, Action.ESCALATE),
        FaultClass.LOST_WORKER: Rule(3, Action.ESCALATE),
    },
)
"""What holds where a workflow names no policy."""

_RATE_LIMITED: Final = 429
_REQUEST_TIMEOUT: Final = 408
_SERVER_FAULTS: Final = 500


def seconds_of(said: object) -> float | None:
    """Read a Retry-After, seconds or a date; what is neither, or absurd, is left to the rule's own wait."""
    text = str(said)
    try:
        seconds = float(text)
    except ValueError:
        try:
            # One that has gone by asks for nothing.
            seconds = max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
        except (ValueError, OverflowError):
            return None
    return seconds if 0 <= seconds < _RETRY_AFTER_S_MAX else None


def _of_answer(error: Exception, words: str) -> Fault | None:
    """Classify what carries an HTTP answer, whichever client raised it."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if not isinstance(status, int):
        return None
    headers = getattr(response, "headers", None)
    after = seconds_of(headers.get("retry-after")) if headers is not None else None
    if status == _RATE_LIMITED:
        return Fault(FaultClass.RATE_LIMIT, words, retry_after_s=after)
    if status == _REQUEST_TIMEOUT or status >= _SERVER_FAULTS:
        return Fault(FaultClass.TRANSIENT, words, retry_after_s=after)
    return Fault(FaultClass.PERMANENT, words)


def fault_of(error: Exception) -> Fault:
    """Say of which class an exception is; what nobody knows is permanent: it would only fail again."""
    if isinstance(error, Fault):
        return error
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, LatewoodError):
        kind = FaultClass.TRANSIENT if isinstance(error, UnavailableError) else FaultClass.PERMANENT
        after = error.details.get("retry_after_s")
        return Fault(kind, f"{error.code}: {error.message}", retry_after_s=seconds_of(after) if after else None)
    answered = _of_answer(error, words)
    if answered is not None:
        return answered
    if isinstance(error, json.JSONDecodeError):
        return Fault(FaultClass.SCHEMA, words)
    # A full disk and a lost connection are OSErrors alike, and both pass. httpx's are not, but say so in their names.
    network = any(kind.__name__ == "TransportError" for kind in type(error).__mro__)
    if network or isinstance(error, TimeoutError | OSError):
        return Fault(FaultClass.TRANSIENT, words)
    if type(error).__name__ == "ValidationError":
        return Fault(FaultClass.SCHEMA, words)
    return Fault(FaultClass.PERMANENT, words)
