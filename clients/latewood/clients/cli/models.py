"""Which models workflows may ask: the policy as of any day, and a person's change of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import models
from latewood.clients.cli.options import instant
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.values import Json

__all__: list[str] = []

_FILE_BYTES_MAX = 1_000_000


async def _show(call: Call, document: Mapping[str, Json]) -> None:
    call.screen.say(f"policy {document.get('version')}", style="bold")
    rows = cast("list[dict[str, Any]]", document.get("models", []))
    call.screen.table(
        ("stage", "data", "models"),
        [(one.get("stage", "*"), one.get("data", "*"), ", ".join(one["models"])) for one in rows],
    )
    limits = cast("list[dict[str, Any]]", document.get("budgets", []))
    call.screen.table(
        ("budget", "stage", "tokens", "cost", "every"),
        [
            (one["scope"], *(str(one.get(name, "")) for name in ("stage", "tokens", "cost", "every")))
            for one in limits
        ],
    )  # fmt: skip


@command(models, clocks="both", show=_show)
async def show(call: Call) -> Mapping[str, Json]:
    """Show which models may be asked at which stage about which data, and for how much, as of any day.

    Example: `latewood models show --valid-at 2026-03-01`
    """
    from latewood.memory.runs import runs_of

    at = call.at
    policy = await runs_of(call.memory).policy(valid_at=at.valid_at, known_at=at.known_at)
    if policy is None:
        msg = "no policy says which models may be asked; only open data goes to one. `latewood models set FILE` sets it"
        raise NotFoundError(msg)
    return policy.document


async def _show_receipt(call: Call, receipt: Receipt) -> None:
    call.screen.say("the policy holds", style="bold")
    call.screen.field("receipt", receipt.id)


@command(models, name="set", writes=True, show=_show_receipt)
async def set_policy(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy, as JSON.")],
    *,
    since: Annotated[
        str | None, typer.Option("--from", metavar="INSTANT", help="From when on it holds; now when left out.")
    ] = None,
) -> Receipt:
    """Say which models may be asked from now on. Only a person does that.

    Example: `latewood models set models.json --by human:ada`
    """
    from latewood.execution import ModelPolicy
    from latewood.memory.runs import runs_of

    policy = ModelPolicy.of(_read(file))
    return await runs_of(call.memory).set_policy(policy, valid_from=instant(since))


def _read(file: Path) -> dict[str, Any]:
    """Read a JSON object. Raises NotFoundError, InvalidError."""
    if not file.is_file():
        raise NotFoundError(f"there is no file {str(file)[:200]!r}; write the policy into one")
    if file.stat().st_size > _FILE_BYTES_MAX:
        raise InvalidError(f"{file.name[:200]!r} has more than {_FILE_BYTES_MAX:,} bytes", code="query.invalid")
    try:
        read: Any = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{file.name[:200]!r} is not JSON: {error}", code="query.invalid") from error
    if not isinstance(read, dict):
        raise InvalidError(f"{file.name[:200]!r} is no JSON object", code="query.invalid")
    return cast("dict[str, Any]", read)
