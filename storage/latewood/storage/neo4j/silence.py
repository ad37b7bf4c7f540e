"""A bound on how long a connection may be silent while an answer is due.

The driver waits as long as the server told it to (120 s with Neo4j's own settings, for ever when its keep-alive is
off), and has no setting for it. What it does have is a read timeout on every socket, which it sets by what the server
told it; here it is set lower. `docs/adr/0026-silence-is-bounded.md` says what else was looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from neo4j import Driver

__all__ = ["limit_silence"]


def limit_silence(driver: Driver, seconds: float) -> None:
    """Give up every connection of *driver* that is silent for *seconds* while an answer is due.

    A given-up connection fails like one that was cut, and the pool forgets it. Until a connection is ready to be used
    the driver's `connection_acquisition_timeout` is what bounds it.
    """
    # The pool is no public part of the driver: a release of it without one must fail here, not wait for ever later.
    pool = cast("Any", driver)._pool  # noqa: SLF001
    opened = cast("Callable[..., Any]", pool.opener)

    def open_limited(*place: object, **how: object) -> object:
        connection = opened(*place, **how)
        told = connection.socket.get_read_timeout()
        connection.socket.set_read_timeout(seconds if told is None else min(told, seconds))
        return connection

    pool.opener = open_limited
