"""Opening a memory with `async with`, or with `await`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which itself returns what is made here
    from latewood.memory.api import Memory

__all__ = ["Opening"]


class Opening:
    """What `Memory.open` returns: enter it with `async with`, or await it and close the memory yourself."""

    def __init__(self, start: Callable[[], Awaitable[Memory]]) -> None:
        """Wait; *start* runs when it is entered or awaited."""
        self._start = start
        self._memory: Memory | None = None

    def __await__(self) -> Generator[None, None, Memory]:
        """Open."""
        return self._open().__await__()

    async def _open(self) -> Memory:
        return await self._start()

    async def __aenter__(self) -> Memory:
        """Open."""
        self._memory = await self._start()
        return self._memory

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        if self._memory is not None:
            await self._memory.close()
