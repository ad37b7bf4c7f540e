"""What agents outside Python say and hear: a claim, a step's call, what came of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from latewood.execution.faults import FaultClass
from latewood.execution.pricing import usage_by_name
from latewood.execution.words import Place, Run, Step
from latewood.execution.workflow import arguments, digest_of
from latewood.execution.writing import checked_json
from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.values import Json, check_text

__all__ = ["Begun", "Claimed", "Done", "Held", "StepCall", "Trouble", "call_of", "done_of", "trouble_of"]

_NAME_BYTES_MAX: Final = 200
_MESSAGE_BYTES_MAX: Final = 10_000
_SECONDS_MAX: Final = 10 * 366 * 86_400
_USAGE_MAX: Final = 20
_TOKENS_MAX: Final = 2**53 - 1
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Held:
    """A run that is claimed, by which worker, under which fence: what every call carries."""

    run: str
    worker: str
    fence: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim, *until* when it holds without another word."""

    run: Run
    fence: int
    until: datetime


@dataclass(frozen=True, slots=True)
class StepCall:
    """Which step: its place, its name, and the digest of its name and arguments. Made by `call_of`.

    Attributes:
        given: ``args`` and ``kwargs``; None where only their digest came.
    """

    place: Place
    name: str
    digest: str
    sort: str = "step"
    given: Json = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A step, and what to do about it.

    Attributes:
        attempt: the number of the next try.
        again: it was begun or tried before: look whether its effect is there already.
        retry_at: not before this instant; None: now.
    """

    step: Step
    attempt: int
    again: bool = False
    retry_at: Micros | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What a step returned, how long its last try took, and what that used. Made by `done_of`."""

    output: Json
    seconds: float = 0.0
    usage: Mapping[str, Json] | None = None
    model: str | None = None
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong, of which class, and what the try had used. Made by `trouble_of`."""

    kind: str
    message: str
    retry_after_s: float | None = None
    seconds: float = 0.0
    usage: Mapping[str, Json] | None = None
    model: str | None = None
    step: str | None = None


def call_of(
    place: Place, name: str, given: Mapping[str, object] | None, digest: str | None, *, model_call: bool = False
) -> StepCall:  # fmt: skip
    """Name a step by its arguments or by their digest, one of the two. Raises InvalidError (``query.invalid``)."""
    if not check_text(name, "the step's name", bytes_max=_NAME_BYTES_MAX).strip():
        raise InvalidError("the step has no name", code="query.invalid")
    if (given is None) == (digest is None):
        raise InvalidError("a step takes its input, or the digest of it: exactly one of the two", code="query.invalid")
    if digest is not None and _DIGEST.fullmatch(digest) is None:
        raise InvalidError(f"{digest[:80]!r} is no SHA-256 in 64 small hexadecimal digits", code="query.invalid")
    sort = "model_call" if model_call else "step"
    if digest is not None:
        return StepCall(place, name, digest, sort)
    said = arguments((), dict(given or {}), name)
    return StepCall(place, name, digest_of(name, said), sort, said)


def _usage(given: Mapping[str, object] | None) -> dict[str, Json] | None:
    """Return what was used, by the names that model calls have. Raises InvalidError for anything but counts."""
    if given is None:
        return None
    for name, count in given.items():
        good = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _TOKENS_MAX
        if not good or len(given) > _USAGE_MAX or not 1 <= len(name) <= _NAME_BYTES_MAX:
            msg = f"usage is up to {_USAGE_MAX} counts of tokens by name, such as input and output; not {name!r:.40}"
            raise InvalidError(msg, code="query.invalid")
    told = checked_json(given, "the usage")
    assert isinstance(told, dict)  # noqa: S101 - it was one two lines ago
    return usage_by_name(told)


def _seconds(given: float | None) -> float:
    if given is None:
        return 0.0
    if not (math.isfinite(given) and 0 <= given <= _SECONDS_MAX):
        raise InvalidError(f"a try takes 0 to {_SECONDS_MAX:,} seconds, not {given}", code="query.invalid")
    return given


def _model(given: str | None) -> str | None:
    if given is None:
        return None
    if not check_text(given, "the model's name", bytes_max=_NAME_BYTES_MAX).strip():
        raise InvalidError("the model has no name; leave it out", code="query.invalid")
    return given


def done_of(
    output: object, *, seconds: float | None = None, usage: Mapping[str, object] | None = None,
    model: str | None = None, degraded: bool = False,
) -> Done:  # fmt: skip
    """Say what a step returned. Raises InvalidError, LimitError."""
    return Done(checked_json(output, "the output"), _seconds(seconds), _usage(usage), _model(model), degraded)


def trouble_of(
    kind: str, message: str, *, retry_after_s: float | None = None, seconds: float | None = None,
    usage: Mapping[str, object] | None = None, model: str | None = None, step: str | None = None,
) -> Trouble:  # fmt: skip
    """Say what went wrong. Raises InvalidError for a class that nobody knows."""
    if kind not in set(FaultClass):
        msg = f"{kind[:40]!r} is no class of trouble; they are {', '.join(FaultClass)}"
        raise InvalidError(msg, code="query.invalid")
    check_text(message, "the message", bytes_max=_MESSAGE_BYTES_MAX)
    after = None if retry_after_s is None else _seconds(retry_after_s)
    where = None if step is None else check_text(step, "the step", bytes_max=_NAME_BYTES_MAX)
    return Trouble(kind, message, after, _seconds(seconds), _usage(usage), _model(model), where)
