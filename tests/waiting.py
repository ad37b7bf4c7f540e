"""Waiting for what goes on beside a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

_LOOKS = 6_000
"""More than the time limit of a test leaves room for, unless it has a longer one."""
T = TypeVar("T")


async def until(told: Callable[[], Awaitable[T]]) -> T:
    """Wait until *told* has something to say, and return it."""
    for _ in range(_LOOKS):
        if found := await told():
            return found
        await asyncio.sleep(0.01)
    pytest.fail("it never happened")
