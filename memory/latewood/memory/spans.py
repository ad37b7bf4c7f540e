"""A span and a time for each verb, by OpenTelemetry's names for memory (GenAI): ids and counts, never words.

Without an SDK in the process the API's own spans do nothing, and cost next to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, Final, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from latewood.graph_schema.errors import LatewoodError
from latewood.memory.counting import COUNTS

__all__ = ["TRACER", "Operation", "spanned"]

Operation: TypeAlias = Literal["create_memory", "update_memory", "delete_memory", "search_memory"]

P = ParamSpec("P")
R = TypeVar("R")


class _Handle(Protocol):
    @property
    def space(self) -> str: ...


S = TypeVar("S", bound=_Handle)

TRACER: Final = trace.get_tracer("latewood")


def spanned(
    operation: Operation,
) -> Callable[
    [Callable[Concatenate[S, P], Coroutine[Any, Any, R]]], Callable[Concatenate[S, P], Coroutine[Any, Any, R]]
]:
    """Let a verb be told of as *operation*."""

    def wrap(
        verb: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
    ) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
        @wraps(verb)
        async def told(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
            begun, code = time.perf_counter(), None
            # What an exception says may hold users' words: its code is enough.
            with TRACER.start_as_current_span(
                operation, kind=SpanKind.INTERNAL, record_exception=False, set_status_on_exception=False,
                attributes={
                    "gen_ai.operation.name": operation, "gen_ai.memory.store.id": self.space,
                    "latewood.verb": verb.__name__,
                },
            ) as span:  # fmt: skip
                try:
                    result = await verb(self, *args, **kwargs)
                except LatewoodError as error:
                    code = error.code
                    span.set_attribute("error.type", code)
                    span.set_status(StatusCode.ERROR)
                    raise
                finally:
                    COUNTS.took(verb.__name__, time.perf_counter() - begun, code)
                _describe(span, result)
                return result

        return told

    return wrap


def _describe(span: Span, result: object) -> None:
    """Say which record a verb made, or how many it found."""
    if not span.is_recording():
        return
    made = getattr(result, "id", None)
    if isinstance(made, str):
        span.set_attribute("gen_ai.memory.record.id", made)
        span.set_attribute("gen_ai.memory.record.count", 1)
    found = getattr(result, "hits", result)
    if isinstance(found, tuple):
        span.set_attribute("gen_ai.memory.record.count", len(cast("tuple[object, ...]", found)))
