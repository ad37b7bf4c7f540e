"""How a go at a run is left before its end, and that its own code cannot make anything else of it.

A run that waits is left by raising through its workflow's function. ``finally`` and ``except:`` see that as any other
trouble: a clean-up there would run in the middle of the work, and an answer that nobody gave would be made up. So from
then on no step begins in that strand, and when its function ends in another way the run is left all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from latewood.execution.fanning import Gate
from latewood.execution.words import Place, Step
from latewood.graph_schema.clock import Micros

__all__ = [
    "AbandonedError", "LeavingError", "NondeterministicError", "Scope", "SuspendedError", "merged", "own_trouble",
    "strand", "uncut",
]  # fmt: skip

T = TypeVar("T")


class LeavingError(BaseException):
    """The go at the run is over. No workflow can catch it by `except Exception`."""


class SuspendedError(LeavingError):
    """The run waits for longer than is worth staying."""

    def __init__(
        self, wake_at: Micros | None, questions: Sequence[Step] = (), groups: Mapping[str, float] | None = None
    ) -> None:  # fmt: skip
        """Wait until *wake_at*, until one of *questions* is answered, or for a message of one of *groups*."""
        super().__init__(wake_at)
        self.wake_at, self.questions, self.groups = wake_at, tuple(questions), dict(groups or {})


class AbandonedError(LeavingError):
    """The run is another worker's now, or the store stayed away: nothing more of it may be done or written here."""


class NondeterministicError(LeavingError):
    """The workflow came to another step than the one that is kept."""


class Scope:
    """Counts the places of one strand of a workflow, and knows when that strand is left."""

    def __init__(self, path: Place = (), gate: Gate | None = None) -> None:
        """Begin below *path*; in a replay there is a *gate* before what is new."""
        self.path = path
        self.gate = gate
        self.left: LeavingError | None = None
        self._count = 0

    def next(self) -> Place:
        """Return the next place. Raises LeavingError when the strand is left."""
        if self.left is not None:
            raise self.left
        self._count += 1
        return (*self.path, self._count)

    def leave(self, error: LeavingError) -> LeavingError:
        """Let nothing more begin here, and return why: of several waits all of them."""
        before = self.left
        if isinstance(before, SuspendedError) and isinstance(error, SuspendedError) and before is not error:
            self.left = merged([before, error])
        elif before is None or isinstance(before, SuspendedError):
            self.left = error
        return self.left or error


def merged(waits: Sequence[SuspendedError]) -> SuspendedError:
    """Return the wait for the first of *waits*."""
    instants = [wait.wake_at for wait in waits if wait.wake_at is not None]
    questions = {step.id: step for wait in waits for step in wait.questions}
    groups = {group: lease_s for wait in waits for group, lease_s in wait.groups.items()}
    return SuspendedError(min(instants, default=None), list(questions.values()), groups)


def own_trouble(error: BaseException) -> Exception | None:
    """Return *error* as what a function itself raised; None when the function is being stopped by it.

    ``sys.exit()``, or a CancelledError of something that it awaited, are troubles of its own: let through they would
    end the worker, or let the run go round for ever.
    """
    if isinstance(error, Exception):
        return error
    if isinstance(error, LeavingError | KeyboardInterrupt | GeneratorExit):
        return None
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
        return None
    return RuntimeError(f"{type(error).__name__}: {error}")


async def strand(scope: Scope, work: Awaitable[T]) -> T:
    """Await the code of a strand. What left the strand counts, whatever its code made of that.

    Raises:
        LeavingError: the strand was left.
        Exception: what its code raised.
    """
    try:
        result = await work
    except LeavingError as error:
        raise scope.leave(error) from None
    except BaseException as error:
        trouble = own_trouble(error)
        if trouble is None:
            raise
        if scope.left is not None:
            raise scope.left from error
        if trouble is error:
            raise
        raise trouble from error
    if scope.left is not None:
        raise scope.left
    return result


async def uncut(work: Coroutine[Any, Any, T]) -> T:
    """Await *work* to its end. Who is stopped meanwhile stops only then, and so knows what has been kept."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
