"""`latewood run start`: a run for the workers of a module, or for an agent that runs it elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import run
from latewood.clients.cli.options import IdempotencyKey, Kind, scalar
from latewood.clients.cli.running import show_run
from latewood.clients.cli.tries import with_tries
from latewood.graph_schema.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latewood.execution import Run

__all__: list[str] = []


@command(run, writes=True, show=show_run)
async def start(
    call: Call,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its name: its function's, or as it was marked.")],
    given: Annotated[str, typer.Argument(metavar="JSON", help="Its arguments by name, as a JSON object.")] = "{}",
    *,
    version: Annotated[str, typer.Option("--version", metavar="V", help="Of the workflow's code.")] = "1",
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="ACTOR", help="Who is asked when it cannot go on.")
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option("--deadline", metavar="SECONDS", help="Within how long it ends, one way or another; 90 days."),
    ] = None,
    agent: Annotated[
        bool, typer.Option("--agent", help="For an agent that claims it and says what it does; else for a worker.")
    ] = False,
    tries: Annotated[
        list[str] | None,
        typer.Option("--tries", metavar="CLASS=N", help="With --agent: how often a step is tried, transient=3."),
    ] = None,
    idempotency_key: IdempotencyKey = None,
) -> Run:  # fmt: skip
    """Start a run: the next free worker that knows the workflow takes it up, or the next agent that claims it.

    Example: `latewood run start plan_lane '{"lane": "Lyon"}' --owner human:ada`
    """
    from latewood.execution import DEFAULT
    from latewood.execution.words import RUN_S
    from latewood.memory.runs import agents_of

    told = scalar(given, Kind.JSON)
    if not isinstance(told, dict):
        msg = f'{given[:80]!r} is no JSON object; name the arguments: \'{{"lane": "Lyon"}}\''
        raise InvalidError(msg, code="query.invalid")
    policy = DEFAULT if not tries else with_tries(DEFAULT, tries)
    return await agents_of(call.memory).start(
        workflow, cast("Mapping[str, object]", told), version=version, owner=owner,
        deadline_s=RUN_S if deadline is None else deadline, runner="agent" if agent else "worker",
        once=idempotency_key, policy=policy,
    )  # fmt: skip
