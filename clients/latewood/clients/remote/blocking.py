"""The same verbs without `await`.

No loop and no thread: over a `BlockingTransport` a verb waits for nothing but its socket, so that it runs to its end
when it is first resumed. Every verb is made from the one in `RemoteMemory`, so that names and arguments cannot drift
apart.
"""

# The wrappers below become methods of BlockingRemoteMemory, so its attributes are theirs.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from latewood.clients.remote.memory import RemoteMemory
from latewood.clients.remote.messages import Followed, RemoteMessages
from latewood.clients.remote.runs import RemoteRuns
from latewood.clients.remote.transport import BlockingTransport, Patience, endpoint
from latewood.graph_schema.given import checked

__all__ = ["BlockingRemoteMemory", "BlockingRemoteMessages", "BlockingRemoteRuns"]

P = ParamSpec("P")
R = TypeVar("R")


def _finished(work: Coroutine[Any, Any, R]) -> R:
    """Run *work*, which never waits, to its end."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise RuntimeError("a blocking verb waited for an event loop")  # pragma: no cover - a programming error


def _blocking(
    verb: Callable[Concatenate[RemoteMemory, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingRemoteMemory, P], R]:
    @wraps(verb)
    def call(self: BlockingRemoteMemory, *args: P.args, **kwargs: P.kwargs) -> R:
        return _finished(verb(self._memory, *args, **kwargs))

    return call


def _iterating(
    verb: Callable[Concatenate[RemoteMemory, P], AsyncIterator[R]],
) -> Callable[Concatenate[BlockingRemoteMemory, P], Iterator[R]]:
    @wraps(verb)
    def call(self: BlockingRemoteMemory, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        return _iterated(verb(self._memory, *args, **kwargs))

    return call


def _iterated(source: AsyncIterator[R]) -> Iterator[R]:
    async def following() -> R:
        return await anext(source)

    async def leave() -> None:
        if (close := getattr(source, "aclose", None)) is not None:
            await close()

    try:
        while True:
            try:
                yield _finished(following())
            except StopAsyncIteration:
                return
    finally:
        _finished(leave())


def _posting(
    verb: Callable[Concatenate[RemoteMessages, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingRemoteMessages, P], R]:
    @wraps(verb)
    def call(self: BlockingRemoteMessages, *args: P.args, **kwargs: P.kwargs) -> R:
        return _finished(verb(self._messages, *args, **kwargs))

    return call


def _running(
    verb: Callable[Concatenate[RemoteRuns, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingRemoteRuns, P], R]:
    @wraps(verb)
    def call(self: BlockingRemoteRuns, *args: P.args, **kwargs: P.kwargs) -> R:
        return _finished(verb(self._runs, *args, **kwargs))

    return call


class BlockingRemoteRuns:
    """`RemoteRuns` for programs that do not await. Made by `BlockingRemoteMemory.runs`."""

    def __init__(self, runs: RemoteRuns) -> None:
        """Wrap *runs*, whose transport blocks."""
        self._runs = runs

    start = _running(RemoteRuns.start)
    claim = _running(RemoteRuns.claim)
    heartbeat = _running(RemoteRuns.heartbeat)
    hand_back = _running(RemoteRuns.hand_back)
    begin = _running(RemoteRuns.begin)
    complete = _running(RemoteRuns.complete)
    fail = _running(RemoteRuns.fail)
    ask = _running(RemoteRuns.ask)
    finish = _running(RemoteRuns.finish)
    run = _running(RemoteRuns.run)
    list = _running(RemoteRuns.list)
    answer = _running(RemoteRuns.answer)
    cancel = _running(RemoteRuns.cancel)
    resume = _running(RemoteRuns.resume)
    fork = _running(RemoteRuns.fork)
    amend_by_name = _running(RemoteRuns.amend_by_name)
    vouch = _running(RemoteRuns.vouch)
    erase = _running(RemoteRuns.erase)
    steps = _running(RemoteRuns.steps)


class BlockingRemoteMessages:
    """`RemoteMessages` for programs that do not await. Made by `BlockingRemoteMemory.messages`."""

    def __init__(self, messages: RemoteMessages) -> None:
        """Wrap *messages*, whose transport blocks."""
        self._messages = messages

    channel = _posting(RemoteMessages.channel)
    channels = _posting(RemoteMessages.channels)
    make_channel = _posting(RemoteMessages.make_channel)
    route = _posting(RemoteMessages.route)
    subscribe = _posting(RemoteMessages.subscribe)
    publish = _posting(RemoteMessages.publish)
    receive = _posting(RemoteMessages.receive)
    ack = _posting(RemoteMessages.ack)
    nack = _posting(RemoteMessages.nack)
    heartbeat = _posting(RemoteMessages.heartbeat)
    hand_back = _posting(RemoteMessages.hand_back)
    message = _posting(RemoteMessages.message)
    messages = _posting(RemoteMessages.messages)
    pending = _posting(RemoteMessages.pending)
    deliveries = _posting(RemoteMessages.deliveries)
    dead_letters = _posting(RemoteMessages.dead_letters)
    dead_letter = _posting(RemoteMessages.dead_letter)
    redrive = _posting(RemoteMessages.redrive)
    replay = _posting(RemoteMessages.replay)

    def watch(self, channel: str, after_seq: int = 0) -> Iterator[Followed]:
        """Yield the messages of a channel as `RemoteMessages.watch` does."""
        return _iterated(self._messages.watch(channel, after_seq))


class BlockingRemoteMemory:
    """`RemoteMemory` for programs that do not await; safe to share between threads.

    ``with BlockingRemoteMemory.open("https://memory.example", token=...) as memory: ...``
    """

    def __init__(self, memory: RemoteMemory) -> None:
        """Wrap *memory*, whose transport blocks; use `open` or `within`."""
        self._memory = memory

    @classmethod
    @checked
    def open(
        cls, url: str, *, token: str | None = None, space: str | None = None, by: str | None = None,
        session: str | None = None, patience: Patience | None = None,
    ) -> Self:  # fmt: skip
        """Name the server to speak to. Arguments and errors are those of `RemoteMemory.open`."""
        transport = BlockingTransport(endpoint(url), token, patience or Patience())
        return cls(RemoteMemory(transport, space=space, by=by, session=session))

    def within(self, *, space: str | None = None, by: str | None = None, session: str | None = None) -> Self:
        """Return another handle over the same connections; what is not given stays as it is."""
        return type(self)(self._memory.within(space=space, by=by, session=session))

    decide = _blocking(RemoteMemory.decide)
    observe = _blocking(RemoteMemory.observe)
    relate = _blocking(RemoteMemory.relate)
    correct = _blocking(RemoteMemory.correct)
    end = _blocking(RemoteMemory.end)
    retract = _blocking(RemoteMemory.retract)
    retract_all = _blocking(RemoteMemory.retract_all)
    supersede = _blocking(RemoteMemory.supersede)
    erase = _blocking(RemoteMemory.erase)
    merge = _blocking(RemoteMemory.merge)
    split = _blocking(RemoteMemory.split)
    alias = _blocking(RemoteMemory.alias)
    ingest = _blocking(RemoteMemory.ingest)
    reindex = _blocking(RemoteMemory.reindex)
    detect_patterns = _blocking(RemoteMemory.detect_patterns)
    review_pattern = _blocking(RemoteMemory.review_pattern)
    patterns = _blocking(RemoteMemory.patterns)
    explain_pattern = _blocking(RemoteMemory.explain_pattern)
    accept = _blocking(RemoteMemory.accept)
    reject = _blocking(RemoteMemory.reject)
    create_space = _blocking(RemoteMemory.create_space)

    decision = _blocking(RemoteMemory.decision)
    decision_id = _blocking(RemoteMemory.decision_id)
    decisions = _blocking(RemoteMemory.decisions)
    entity = _blocking(RemoteMemory.entity)
    node = _blocking(RemoteMemory.node)
    nodes = _blocking(RemoteMemory.nodes)
    absorbed = _blocking(RemoteMemory.absorbed)
    duplicates = _blocking(RemoteMemory.duplicates)
    fact = _blocking(RemoteMemory.fact)
    why = _blocking(RemoteMemory.why)
    why_about = _blocking(RemoteMemory.why_about)
    recall = _blocking(RemoteMemory.recall)
    precedents = _blocking(RemoteMemory.precedents)
    brief = _blocking(RemoteMemory.brief)
    stale = _blocking(RemoteMemory.stale)
    conflicts = _blocking(RemoteMemory.conflicts)
    proposals = _blocking(RemoteMemory.proposals)
    missing_decisions = _blocking(RemoteMemory.missing_decisions)
    timeline = _blocking(RemoteMemory.timeline)
    diff = _blocking(RemoteMemory.diff)
    find = _blocking(RemoteMemory.find)
    receipt = _blocking(RemoteMemory.receipt)
    spaces = _blocking(RemoteMemory.spaces)
    verify = _blocking(RemoteMemory.verify)
    watch = _iterating(RemoteMemory.watch)

    @property
    def messages(self) -> BlockingRemoteMessages:
        """The messages of the handle's space, sent and received in its name."""
        return BlockingRemoteMessages(self._memory.messages)

    @property
    def runs(self) -> BlockingRemoteRuns:
        """The runs of the handle's space, for an agent that runs them here."""
        return BlockingRemoteRuns(self._memory.runs)

    @property
    def space(self) -> str | None:
        """The space that this handle reads and writes; None is the server's default."""
        return self._memory.space

    def close(self) -> None:
        """Let go of the connections, of every handle over them."""
        _finished(self._memory.close())

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
