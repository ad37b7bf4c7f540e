"""Waiting until a child process is at work: one that is killed before says nothing."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any, Final

__all__ = ["begin_at_work"]

_AT_WORK_S_MAX: Final = 100.0


def begin_at_work(context: ForkServerContext, run: Callable[..., None], labour: Any) -> BaseProcess:
    """Start a child that does *run* with *labour* and an event, and return it once it has set that."""
    at_work = context.Event()
    child = context.Process(target=run, args=(labour, at_work), daemon=True)
    child.start()
    assert at_work.wait(_AT_WORK_S_MAX), "a child never began to work"
    return child
