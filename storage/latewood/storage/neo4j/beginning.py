"""How a transaction begins: together with its first query, which spares a round trip."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from neo4j import Session, Transaction

__all__ = ["begin"]


def begin(session: Session, *, timeout_s: float) -> Transaction:
    """Begin a transaction of *session* that may take *timeout_s*; the server hears of it with the first query.

    What the server has against it is raised by that query, or by the commit when there is none.
    """
    # The driver does so for its own `execute_query`, and has no setting for it. A release that has it otherwise
    # takes a round trip more, which the test of this module notices.
    with cast("AbstractContextManager[Any]", getattr(session, "_pipelined_begin", nullcontext())):
        return session.begin_transaction(timeout=timeout_s)
