"""A worker's run goes by its workflow's own terms, whoever started it (record 0104).

Who starts a run elsewhere, over GraphQL, MCP or at a terminal, has no code to read them from: whom it asks, what is
done about troubles, and within how long it ends. The first worker that has it knows, and keeps what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from latewood.execution.words import Run
from latewood.execution.workflow import Workflow
from latewood.execution.writing import Writing
from latewood.graph_schema.clock import Micros, from_micros
from latewood.graph_schema.commands import Command

__all__ = ["adopted"]


def adopted(write: Writing, run: Run, flow: Workflow[..., Any], now: Micros) -> tuple[Run, Sequence[Command]]:
    """Return *run* by the terms of *flow*, and what keeps those that it did not have yet."""
    owner, policy = flow.owner or run.owner, flow.policy
    commands: list[Command] = []
    if (owner, policy.version) != (run.owner, run.policy) or not run.rules:
        commands.append(write.terms(run.id, owner, policy))
        run = replace(run, owner=owner, policy=policy.version, rules=policy.document())
    latest = now + round(flow.deadline_s * 1_000_000)
    if run.claim is None and (run.deadline_at is None or latest < run.deadline_at):
        commands.append(write.fact(run.id, "run.deadline", from_micros(latest)))
        run = replace(run, deadline_at=latest)
    return run, commands
