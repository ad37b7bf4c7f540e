"""A span for each go at a run, each try at a step and each agent, by OpenTelemetry's names for GenAI: never a word.

Names of workflows, steps, tools and models, ids and counts are told; arguments, answers and what an exception says are
not. Without an SDK in the process the API's own spans do nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from latewood.execution.faults import Fault, fault_of
from latewood.execution.pricing import CACHED, INPUT, OUTPUT, REASONING
from latewood.execution.words import STOPPED, Run

if TYPE_CHECKING:
    from latewood.execution.trying import Trying
    from latewood.execution.workflow import StepOf

__all__ = ["TRACER", "GoneAt", "agent_span", "run_span", "try_span"]

TRACER: Final = trace.get_tracer("latewood.execution")
_USAGE: Final = {
    INPUT: "gen_ai.usage.input_tokens", OUTPUT: "gen_ai.usage.output_tokens",
    CACHED: "gen_ai.usage.cache_read.input_tokens", REASONING: "gen_ai.usage.reasoning.output_tokens",
}  # fmt: skip


@contextmanager
def _begun(name: str, kind: SpanKind, attributes: Mapping[str, str | int]) -> Generator[Span]:
    # What an exception says may hold users' words: its class is enough.
    with TRACER.start_as_current_span(
        name, kind=kind, record_exception=False, set_status_on_exception=False, attributes=dict(attributes)
    ) as span:
        yield span


def _failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def _class_of(error: Exception) -> str:
    # A step that failed for good carries the trouble that it met.
    fault = getattr(error, "fault", None)
    return str(fault.kind if isinstance(fault, Fault) else fault_of(error).kind)


@dataclass(slots=True)
class GoneAt:
    """The span of a go at a run, which says how the go left it."""

    span: Span

    def left(self, run: Run) -> Run:
        """Say how the run is now, and return it."""
        self.span.set_attribute("latewood.run.status", str(run.status))
        if run.status in STOPPED:
            _failed(self.span, str(run.result.get("class", "permanent")))
        return run


@contextmanager
def run_span(run: Run) -> Generator[GoneAt]:
    """Tell of one go at *run*."""
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": run.workflow, "latewood.run.id": run.id,
        "latewood.workflow.version": run.version,
    }  # fmt: skip
    with _begun(f"invoke_workflow {run.workflow}", SpanKind.INTERNAL, attributes) as span:
        yield GoneAt(span)


@contextmanager
def try_span(made: StepOf[Any, Any], trying: Trying) -> Generator[None]:
    """Tell of one try at a step: a call of a model, of a tool, or of a function."""
    if isinstance(TRACER, trace.ProxyTracer) and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        # Without an SDK the API's spans do nothing, in the time of a tenth of a step.
        yield
        return
    attributes: dict[str, str | int] = {"latewood.step": trying.key, "latewood.step.attempt": trying.number}
    name, kind = f"step {made.name}", SpanKind.INTERNAL
    if made.sort == "model_call":
        attributes["gen_ai.operation.name"], name, kind = "chat", f"chat {made.name}", SpanKind.CLIENT
    elif made.sort == "tool_call":
        attributes |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": made.name}
        name = f"execute_tool {made.name}"
    with _begun(name, kind, attributes) as span:
        try:
            yield
        except Exception as error:
            _failed(span, _class_of(error))
            raise
        finally:
            if span.is_recording():
                _booked(span, made, trying)


def _booked(span: Span, made: StepOf[Any, Any], trying: Trying) -> None:
    """Say which model was asked, what that used and what it cost."""
    if trying.model is not None:
        span.set_attribute("gen_ai.request.model", trying.model)
        if made.sort == "model_call":
            span.update_name(f"chat {trying.model}")
    for count, name in _USAGE.items():
        used = (trying.usage or {}).get(count)
        if isinstance(used, int):
            span.set_attribute(name, used)
    for said in ("stage", "cost", "currency"):
        if said in trying.about:
            span.set_attribute(f"latewood.{said}", str(trying.about[said]))


@contextmanager
def agent_span(name: str) -> Generator[None]:
    """Tell of a model that works with tools until it is done."""
    attributes: dict[str, str | int] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
    with _begun(f"invoke_agent {name}", SpanKind.INTERNAL, attributes) as span:
        try:
            yield
        except Exception as error:
            _failed(span, _class_of(error))
            raise
