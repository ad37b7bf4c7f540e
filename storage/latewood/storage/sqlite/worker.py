"""One thread that takes every write, in order."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar

__all__ = ["Worker"]

T = TypeVar("T")
_Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


def _answer(done: asyncio.Future[Any], answer: object, error: BaseException | None) -> None:
    # Whoever waited may have gone; the work is done all the same.
    if done.done():
        return
    if error is None:
        done.set_result(answer)
    else:
        done.set_exception(error)


def _serve(jobs: SimpleQueue[_Job | None]) -> None:
    """Do job after job until None comes."""
    while (job := jobs.get()) is not None:
        work, loop, done = job
        answer, error = None, None
        try:
            answer = work()
        except BaseException as caught:  # noqa: BLE001 - it belongs to whoever waits
            error = caught
        # A loop that was closed meanwhile has nobody who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_answer, done, answer, error)
        # What a job held is let go before the next one comes, which may be long.
        del job, work, loop, done, answer, error


class Worker:
    """Runs blocking work in one thread of its own.

    An executor does the same and more, with four locks, two futures and three callbacks for each job; a durable write
    is short enough to notice.
    """

    def __init__(self, name: str) -> None:
        """Stand ready; the thread begins with the first job."""
        self._name: Final = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # The thread knows the jobs and not the worker, so that one which is dropped without a stop ends it too.
        weakref.finalize(self, self._jobs.put, None)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns, or raise what it raises. Cancelling gives up the wait, not the work."""
        if self._thread is None:
            # A daemon, so that a process which forgets to close can end; what was not answered was not promised.
            self._thread = threading.Thread(target=_serve, args=(self._jobs,), name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((work, loop, done))
        return await done

    def stop(self) -> None:
        """Finish what was handed in, and wait for it."""
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()
