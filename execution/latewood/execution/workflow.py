"""Workflows and steps: plain functions, marked.

A workflow's own code must do the same each time that it runs with the same input: whatever looks at the world (a clock,
a file, a model, chance) belongs into a step. Nothing checks the code; a replay that comes to another step than the
one that is kept stops.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, cast

from latewood.execution.blobs import Transcript
from latewood.execution.faults import DEFAULT, Policy
from latewood.execution.leaving import LeavingError, Scope
from latewood.execution.schemas import check_schema, misfit
from latewood.execution.words import RUN_S, Place
from latewood.execution.writing import checked_json
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.values import Json, canonical_json

__all__ = [
    "HERE", "Registry", "Running", "Scope", "StepOf", "Workflow", "addressed", "arguments", "called", "check_call",
    "digest_of", "placed", "running", "step", "taken_in", "workflow",
]  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")


class Running(Protocol):
    """What runs a workflow, as its functions see it."""

    def step(
        self, made: StepOf[Any, Any], place: Place, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Coroutine[object, object, Any]:  # fmt: skip
        """Run a step once, or return what it returned before."""
        ...

    def begun(self, task: asyncio.Task[Any]) -> bool:
        """Note that *task* has something under way; False when it had so already."""
        ...

    def over_with(self, task: asyncio.Task[Any]) -> None:
        """Note that *task* has nothing under way any more."""
        ...


HERE: Final[ContextVar[tuple[Running, Scope] | None]] = ContextVar("latewood_run", default=None)
"""The run that this task works for, and where in it; None outside of runs."""


def running(what: str) -> tuple[Running, Scope]:
    """Return where this task is. Raises InvalidError (``run.outside``) outside of a run."""
    here = HERE.get()
    if here is None:
        raise InvalidError(
            f"{what} works within a workflow's run alone; start one with `Worker.run`", code="run.outside"
        )
    return here


def placed(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Mark what a workflow awaits at a place: it is under way, and what leaves it leaves its whole strand."""

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        here, task = HERE.get(), asyncio.current_task()
        if here is None or task is None:
            return await function(*args, **kwargs)
        run, scope = here
        if scope.left is not None:
            raise scope.left
        outermost = run.begun(task)
        try:
            return await function(*args, **kwargs)
        except LeavingError as error:
            raise scope.leave(error) from None
        finally:
            if outermost:
                run.over_with(task)

    return call


def arguments(args: tuple[object, ...], kwargs: Mapping[str, object], where: str) -> dict[str, Json]:
    """Return what a function is called with, as it is kept. Raises InvalidError, LimitError."""
    said = checked_json({"args": list(args), "kwargs": dict(kwargs)}, f"the input of {where}")
    return cast("dict[str, Json]", said)


def taken_in(
    flow: Workflow[..., Any], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> dict[str, Json]:  # fmt: skip
    """Return what a run of *flow* is begun with.

    Raises:
        InvalidError: it is not JSON, or (``run.input``) it does not fit the schema of the workflow.
        LimitError: it is too large.
    """
    given = arguments(args, kwargs, flow.name)
    if flow.input_schema is not None:
        try:
            bound = inspect.signature(flow.function).bind(*args, **kwargs).arguments
        except TypeError as error:
            raise InvalidError(
                f"the workflow {flow.name} is not called like this: {error}", code="run.input"
            ) from error
        said = checked_json(dict(bound), f"the input of {flow.name}")
        found = misfit(flow.input_schema, said, f"the input_schema of the workflow {flow.name}")
        if found is not None:
            msg = f"the workflow {flow.name} does not take this: {found}; nothing of it was run"
            raise InvalidError(msg, code="run.input", path=found.path)
    return given


def check_call(flow: Workflow[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Hold arguments against what the workflow's function takes. Raises InvalidError (``run.input``)."""
    try:
        inspect.signature(flow.function, follow_wrapped=False).bind(*args, **kwargs)
    except TypeError as error:
        msg = f"the workflow {flow.name} is not called like this: {error}; nothing of it was run"
        raise InvalidError(msg, code="run.input") from error


def addressed(one: object) -> object:
    """Return what stands for an argument of a step: of a conversation its address, else the argument itself."""
    return {"transcript": one.address, "items": one.length} if isinstance(one, Transcript) else one


def digest_of(name: str, given: Json) -> str:
    """Return what tells a call from another one: its name and its arguments."""
    return sha256(canonical_json([name, given]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StepOf(Generic[P, R]):
    """A function whose result is kept before the workflow goes on.

    Attributes:
        policy: in the place of the workflow's.
        timeout_s: after which a try counts as transient trouble.
        fallback: called with the same arguments when the tries are used up; the step, and the run, are degraded.
        outside: it has an effect that Latewood cannot take back: its begin is kept before it, at the cost of one more
            commit. After a crash in its middle *probe*, called with the same arguments, returns what came of it, or
            None when nothing did; without a probe the run asks its owner.
        sort: step, or model_call.
    """

    function: Callable[P, Awaitable[R] | R]
    name: str
    policy: Policy | None = None
    timeout_s: float | None = None
    fallback: Callable[P, Awaitable[R] | R] | None = None
    outside: bool = False
    probe: Callable[P, Awaitable[R | None] | R | None] | None = None
    sort: str = "step"

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        """Take the next place of the run, now, and run there when awaited; outside of a run just call the function."""
        here = HERE.get()
        if here is None:
            return called(self.function, *args, **kwargs)
        # Taken at the call, not at the await: so `asyncio.gather` of several calls is the same in every replay.
        run, scope = here
        return cast("Coroutine[object, object, R]", run.step(self, scope.next(), args, kwargs))


async def called(function: Callable[P, Awaitable[R] | R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of either colour; one that blocks gets a thread, so that the worker's lease is renewed."""
    if inspect.iscoroutinefunction(function):
        return await cast("Awaitable[R]", function(*args, **kwargs))
    made = await asyncio.to_thread(function, *args, **kwargs)
    return await made if inspect.isawaitable(made) else cast("R", made)


def step(
    *, name: str | None = None, policy: Policy | None = None, timeout_s: float | None = None,
    fallback: Callable[P, Awaitable[R] | R] | None = None, outside: bool = False,
    probe: Callable[P, Awaitable[R | None] | R | None] | None = None,
) -> Callable[[Callable[P, Awaitable[R] | R]], StepOf[P, R]]:  # fmt: skip
    """Mark a function as a step: ``@step()``. See `StepOf` for the arguments."""

    def mark(function: Callable[P, Awaitable[R] | R]) -> StepOf[P, R]:
        known = name or getattr(function, "__name__", "step")
        return StepOf(function, known, policy, timeout_s, fallback, outside or probe is not None, probe)

    return mark


@dataclass(frozen=True, slots=True)
class Workflow(Generic[P, R]):
    """A function whose awaits of steps are kept.

    Attributes:
        version: pinned by each run: another version never goes on with it.
        deadline_s: after which a run that has not ended is escalated.
        owner: the actor who is asked when a run cannot go on.
        path: the paved path that it is on, for `latewood lint`.
        input_schema: of its arguments, by name; a run whose input does not fit is not begun.
        output_schema: of what it returns; a run whose output does not fit ends escalated.
    """

    function: Callable[P, Awaitable[R]]
    name: str
    version: str = "1"
    policy: Policy = DEFAULT
    deadline_s: float = RUN_S
    owner: str | None = None
    path: str | None = None
    input_schema: Mapping[str, Json] | None = None
    output_schema: Mapping[str, Json] | None = None

    def __post_init__(self) -> None:
        """Check the schemas themselves. Raises InvalidError (``schema.invalid``), LimitError."""
        for name, schema in (("input_schema", self.input_schema), ("output_schema", self.output_schema)):
            if schema is not None:
                check_schema(dict(schema), f"the {name} of the workflow {self.name}")

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Call the function as it is: in a run its steps belong to that run, outside nothing is kept."""
        return self.function(*args, **kwargs)


def workflow(
    *, name: str | None = None, version: str = "1", policy: Policy = DEFAULT, deadline_s: float = RUN_S,
    owner: str | None = None, path: str | None = None, input_schema: Mapping[str, Any] | None = None,
    output_schema: Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, Awaitable[R]]], Workflow[P, R]]:  # fmt: skip
    """Mark a function as a workflow: ``@workflow(version="2")``. See `Workflow` for the arguments."""

    def mark(function: Callable[P, Awaitable[R]]) -> Workflow[P, R]:
        known = name or getattr(function, "__name__", "workflow")
        return Workflow(function, known, version, policy, deadline_s, owner, path, input_schema, output_schema)

    return mark


class Registry:
    """The workflows that a worker can run, by name and version."""

    def __init__(self, *workflows: Workflow[..., Any]) -> None:
        """Know *workflows*."""
        self._known: dict[tuple[str, str], Workflow[..., Any]] = {}
        for one in workflows:
            self.add(one)

    def add(self, one: Workflow[..., Any]) -> None:
        """Know one more. Raises InvalidError when another function has the name and version."""
        known = self._known.setdefault((one.name, one.version), one)
        if known.function is not one.function:
            msg = f"two workflows are called {one.name!r}, version {one.version!r}; give one of them another version"
            raise InvalidError(msg, code="run.workflow_unknown")

    def find(self, name: str, version: str) -> Workflow[..., Any] | None:
        """Return the workflow, or None."""
        return self._known.get((name, version))

    def latest(self, name: str) -> Workflow[..., Any]:
        """Return the one of this name that was named last. Raises NotFoundError (``run.workflow_unknown``)."""
        found = [one for (known, _), one in self._known.items() if known == name]
        if not found:
            have = ", ".join(sorted({known for known, _ in self._known})) or "none"
            msg = f"this worker knows no workflow {name[:80]!r}; it knows {have}"
            raise NotFoundError(msg, code="run.workflow_unknown", workflow=name[:80])
        return found[-1]

    def __iter__(self) -> Iterator[Workflow[..., Any]]:
        """Go through them."""
        return iter(self._known.values())
