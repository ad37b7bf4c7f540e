"""How a verb becomes a call: what every handle on a server shares, over one connection, with its space and writer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

import httpx

from latewood.clients.remote.calls import Call
from latewood.clients.remote.pushed import pushed
from latewood.clients.remote.shapes import camel, decode
from latewood.clients.remote.transport import Transport, post, unreachable
from latewood.graph_schema.errors import InvalidError, NotFoundError

__all__ = ["Given", "RemoteCaller"]

T = TypeVar("T")
Given: TypeAlias = Mapping[str, tuple[str, object]]
"""Arguments by name, each with its GraphQL type; None is left out."""

_OF_NO_SPACE: Final = frozenset({"receipt", "spaces"})
_SEQ_MAX: Final = 2**63 - 1


class _Placed(Protocol):
    @property
    def seq(self) -> int: ...


_Row = TypeVar("_Row", bound=_Placed)


class RemoteCaller:
    """Calls one space of a server, as one writer."""

    def __init__(
        self, transport: Transport, space: str | None, by: str | None = None, session: str | None = None
    ) -> None:  # fmt: skip
        """Call through *transport*; a space of None is the server's own default."""
        self._transport = transport
        self._space = space
        self._by = by
        self._session = session

    @property
    def space(self) -> str | None:
        """The space that this handle reads and writes; None is the server's default."""
        return self._space

    async def _call(self, call: Call) -> Any:
        data = await post(self._transport, call.body(), again=call.again)
        return data.get("answer")

    async def _ask(self, name: str, answer: type[T], /, **given: tuple[str, object]) -> T:
        """Ask for *name* with *given*; an answer is never null here."""
        found = await self._or_none(name, answer, **given)
        if found is None:
            raise NotFoundError(f"the server has no answer to {name}")
        return found

    async def _or_none(self, name: str, answer: type[T], /, **given: tuple[str, object]) -> T | None:
        arguments: Given = given if name in _OF_NO_SPACE else {**given, "space": ("String", self._space)}
        found = await self._call(Call(name, answer, arguments))
        return None if found is None else cast("T", decode(answer, found))

    async def _write(
        self, verb: str, answer: type[T], given: Mapping[str, object], *, keyed: bool = True, spaced: bool = True,
        again: bool = False,
    ) -> T:  # fmt: skip
        """Send a mutation; *keyed* ones may be sent *again*, as may what writes nothing the second time."""
        own = {name: value for name, value in given.items() if value is not None}
        if keyed and "idempotency_key" not in own:
            own["idempotency_key"] = uuid.uuid4().hex
        arguments: dict[str, tuple[str, object]] = {"input": (f"{camel('_' + verb)}Input!", own)}
        if spaced:
            arguments["space"] = ("String", self._space)
        found = await self._call(Call(camel(verb), answer, arguments, operation="mutation", again=keyed or again))
        return cast("T", decode(answer, found))

    async def _follow(self, name: str, answer: type[_Row], given: Given, after_seq: int) -> AsyncGenerator[_Row]:
        """Yield what the server pushes behind *after_seq*, for ever: each once, none missed, though the connection
        drops.

        Raises UnavailableError (``remote.unreachable``) when it does not come back.
        """
        if not 0 <= after_seq <= _SEQ_MAX:
            raise InvalidError(f"after_seq is {after_seq}; a ledger begins behind 0", code="cursor.invalid")
        failures = 0
        while True:
            whole: Given = {**given, "after": ("BigInt", after_seq), "space": ("String", self._space)}
            call = Call(name, answer, whole, operation="subscription")
            try:
                async with aclosing(pushed(self._transport.lines(call.body()))) as rows:
                    async for found in rows:
                        row: _Row = decode(answer, found["answer"])
                        failures, after_seq = 0, row.seq
                        yield row
            except httpx.ReadTimeout:
                # A quiet ledger; the connection may be gone all the same.
                continue
            except httpx.HTTPError as error:
                failures += 1
                if failures >= self._transport.patience.tries:
                    raise unreachable(error) from error
                await self._transport.pause(0.2 * 2**failures)
