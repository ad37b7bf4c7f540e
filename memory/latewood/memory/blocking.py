"""The same verbs without `await`: a memory that runs on an event loop of its own, in a thread of its own.

Every verb is made from the one in `Memory`, so that names, arguments and documentation cannot drift apart.
"""

# The wrappers below become methods of BlockingMemory, so its attributes are theirs.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from functools import wraps
from inspect import Parameter, Signature, signature
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from latewood.graph_schema.errors import UnavailableError
from latewood.memory.api import Memory
from latewood.memory.handles import Opening

__all__ = ["BlockingMemory"]

P = ParamSpec("P")
R = TypeVar("R")

_STOP_S: Final = 30.0
"""How long `close` waits for the thread."""
_CLOSED: Final = "the memory is closed; open it again"


class _Loop:
    """An event loop in a thread. The thread is a daemon's: a program that forgets to close still ends."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="latewood", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        return self._stopping

    def run(self, start: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run what *start* makes and wait for it; an interrupt of the waiting thread cancels it."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a blocking memory cannot wait on its own event loop; use Memory there")
        # What is handed in before `stop` raises its flag is cancelled by it; nothing comes after, to wait for ever.
        with self._lock:
            if self._stopping:
                raise UnavailableError(_CLOSED, code="store.closed")
            future = asyncio.run_coroutine_threadsafe(start(), self._loop)
        try:
            return future.result()
        except CancelledError as error:
            raise UnavailableError(_CLOSED, code="store.closed") from error
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel what is left and end the thread."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
        asyncio.run_coroutine_threadsafe(_finish(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)
        self._loop.close()


async def _finish() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def _blocking(
    verb: Callable[Concatenate[Memory, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingMemory, P], R]:
    @wraps(verb)
    def call(self: BlockingMemory, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._loop.run(lambda: verb(self._memory, *args, **kwargs))

    return call


def _iterating(
    verb: Callable[Concatenate[Memory, P], AsyncIterator[R]],
) -> Callable[Concatenate[BlockingMemory, P], Iterator[R]]:
    @wraps(verb)
    def call(self: BlockingMemory, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        source = verb(self._memory, *args, **kwargs)

        async def following() -> R:
            return await anext(source)

        async def leave() -> None:
            if (close := getattr(source, "aclose", None)) is not None:
                await close()

        try:
            while True:
                try:
                    yield self._loop.run(following)
                except StopAsyncIteration:
                    return
        finally:
            if not self._loop.closed:
                self._loop.run(leave)

    return call


def _handle(verb: Callable[Concatenate[Memory, P], Memory]) -> Callable[Concatenate[BlockingMemory, P], BlockingMemory]:
    @wraps(verb)
    def call(self: BlockingMemory, *args: P.args, **kwargs: P.kwargs) -> BlockingMemory:
        return BlockingMemory(verb(self._memory, *args, **kwargs), self._loop)

    return call


def _opening(opened: Callable[P, Opening]) -> Callable[Concatenate[type[BlockingMemory], P], BlockingMemory]:
    @wraps(opened)
    def call(_kind: type[BlockingMemory], *args: P.args, **kwargs: P.kwargs) -> BlockingMemory:
        loop = _Loop()

        async def start() -> Memory:
            return await opened(*args, **kwargs)

        try:
            return BlockingMemory(loop.run(start), loop)
        except BaseException:
            loop.stop()
            raise

    # A bound class method hides its first parameter, which `wraps` does not know of.
    own = Parameter("cls", Parameter.POSITIONAL_ONLY)
    given = signature(opened).parameters.values()
    vars(call)["__signature__"] = Signature([own, *given], return_annotation="BlockingMemory")
    return call


class BlockingMemory:
    """`Memory` for programs that do not await; safe to share between threads.

    ``with BlockingMemory.open("latewood.db", by="agent:planner") as memory: ...``
    """

    def __init__(self, memory: Memory, loop: _Loop) -> None:
        """Wrap *memory*, which lives on *loop*; use `open` or `within`."""
        self._memory = memory
        self._loop = loop

    open = classmethod(_opening(Memory.open))
    within = _handle(Memory.within)

    decide = _blocking(Memory.decide)
    observe = _blocking(Memory.observe)
    relate = _blocking(Memory.relate)
    correct = _blocking(Memory.correct)
    end = _blocking(Memory.end)
    retract = _blocking(Memory.retract)
    retract_all = _blocking(Memory.retract_all)
    erase = _blocking(Memory.erase)
    supersede = _blocking(Memory.supersede)
    merge = _blocking(Memory.merge)
    split = _blocking(Memory.split)
    alias = _blocking(Memory.alias)
    duplicates = _blocking(Memory.duplicates)
    propose_merges = _blocking(Memory.propose_merges)
    write = _blocking(Memory.write)

    why = _blocking(Memory.why)
    why_about = _blocking(Memory.why_about)
    recall = _blocking(Memory.recall)
    precedents = _blocking(Memory.precedents)
    stale = _blocking(Memory.stale)
    patterns = _blocking(Memory.patterns)
    conflicts = _blocking(Memory.conflicts)
    brief = _blocking(Memory.brief)
    missing_decisions = _blocking(Memory.missing_decisions)
    timeline = _blocking(Memory.timeline)
    timeline_of = _blocking(Memory.timeline_of)
    diff = _blocking(Memory.diff)
    find = _blocking(Memory.find)
    watch = _iterating(Memory.watch)
    receipt = _blocking(Memory.receipt)

    node = _blocking(Memory.node)
    node_itself = _blocking(Memory.node_itself)
    absorbed = _blocking(Memory.absorbed)
    absorbed_of = _blocking(Memory.absorbed_of)
    nodes = _blocking(Memory.nodes)
    nodes_by_id = _blocking(Memory.nodes_by_id)
    matching = _blocking(Memory.matching)
    decision = _blocking(Memory.decision)
    decision_id = _blocking(Memory.decision_id)
    decisions = _blocking(Memory.decisions)
    decisions_by_id = _blocking(Memory.decisions_by_id)
    entity = _blocking(Memory.entity)
    fact = _blocking(Memory.fact)
    facts_by_id = _blocking(Memory.facts_by_id)
    facts_of = _blocking(Memory.facts_of)

    now = _blocking(Memory.now)
    spaces = _blocking(Memory.spaces)
    create_space = _blocking(Memory.create_space)
    verify = _blocking(Memory.verify)
    rebuild = _blocking(Memory.rebuild)
    reindex = _blocking(Memory.reindex)
    info = _blocking(Memory.info)

    @property
    def space(self) -> str:
        """The space that this handle reads and writes."""
        return self._memory.space

    @property
    def waiting(self) -> int:
        """How many writes wait to be committed, of this process."""
        return self._memory.waiting

    def default_actor(self) -> str:
        """Return the handle's actor, or the machine's user as a human."""
        return self._memory.default_actor()

    def close(self) -> None:
        """Commit what waits, let go of the store and end the thread. Closes every handle over the same engine."""
        if self._loop.closed:
            return
        try:
            self._loop.run(self._memory.close)
        finally:
            self._loop.stop()

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
