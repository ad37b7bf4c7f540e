"""`latewood keys`: who may come in from elsewhere, and to do what."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import keys
from latewood.clients.cli.options import Because
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import Trust

if TYPE_CHECKING:
    from latewood.memory.keys import ApiKey, NewKey

__all__: list[str] = []

_LOCAL: Final = "local"
_DAYS: Final = 365
_DAYS_MAX: Final = 36_500
_HOURS_MAX: Final = 24 * 366
Tenant: TypeAlias = Annotated[str, typer.Option("--tenant", metavar="NAME", help="Whose data.")]
KeyId: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="As `latewood keys list` shows it.")]


def _describe(call: Call, key: ApiKey) -> None:
    field = call.screen.field
    whom = f", on behalf of {key.on_behalf_of}" if key.on_behalf_of else ""
    field("id", key.id)
    field("name", key.name)
    field("actor", f"{key.actor}{whom}, of the tenant {key.tenant}")
    field("scopes", " ".join(key.scopes))
    if key.trust is not None:
        field("trust", f"at most {key.trust.value}")
    field("state", key.state if key.ends_at is None else f"{key.state}, until {key.ends_at:%Y-%m-%d %H:%M} UTC")


async def _show_new(call: Call, new: NewKey) -> None:
    """Show a new key, once."""
    _describe(call, new.key)
    call.screen.field("key", new.secret)
    call.screen.note("Keep it now: only its hash is stored, so it is never shown again.")


async def _show_key(call: Call, key: ApiKey) -> None:
    """Show a key."""
    _describe(call, key)


async def _show_keys(call: Call, found: tuple[ApiKey, ...]) -> None:
    """Show keys."""
    for key in found:
        _describe(call, key)
        call.screen.say("")
    if not found:
        call.screen.note("no keys; make one with `latewood keys create`")


@command(keys, writes=True, show=_show_new)
async def create(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    *,
    actor: Annotated[
        str, typer.Option("--actor", metavar="ACTOR", help="Who writes with it: agent:planner, human:ada.")
    ],
    scope: Annotated[
        list[str], typer.Option("--scope", metavar="SCOPE", help="read, write, erase, run or admin; may be repeated.")
    ],
    tenant: Tenant = _LOCAL,
    on_behalf_of: Annotated[
        str | None, typer.Option("--on-behalf-of", metavar="ACTOR", help="For whom the actor acts.")
    ] = None,
    trust: Annotated[
        Trust | None, typer.Option("--trust", help="A ceiling for what it asserts; else as the actor's kind has it.")
    ] = None,
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long it counts; 0 for good.")] = _DAYS,
) -> NewKey:
    """Make an API key for `latewood serve`. It is shown once and stored hashed.

    Example: `latewood keys create "ci planner" --actor agent:planner --scope read --scope write`
    """
    from latewood.memory.keys import Keys

    if not 0 <= days <= _DAYS_MAX:
        raise InvalidError(f"--days is {days}; it is 0 to {_DAYS_MAX:,}", code="credential.malformed")
    expires_at = None if days == 0 else await call.memory.now() + timedelta(days=days)
    return await Keys(call.memory).create(
        name, tenant=tenant, actor=actor, scopes=scope, on_behalf_of=on_behalf_of, trust=trust, expires_at=expires_at,
        by=call.by,
    )  # fmt: skip


@command(keys, "list", show=_show_keys)
async def list_keys(call: Call, tenant: Tenant = _LOCAL) -> tuple[ApiKey, ...]:
    """List a tenant's keys, the newest first, without their secrets.

    Example: `latewood keys list --json`
    """
    from latewood.memory.keys import Keys

    return await Keys(call.memory).list(tenant)


@command(keys, writes=True, show=_show_new)
async def rotate(
    call: Call, key: KeyId, tenant: Tenant = _LOCAL,
    grace: Annotated[int, typer.Option("--grace", metavar="HOURS", help="How long the old one counts on.")] = 24,
) -> NewKey:  # fmt: skip
    """Make a key that may do what another may, which counts on for a while and no longer.

    Example: `latewood keys rotate k3yab2cdefgh --grace 48`
    """
    from latewood.memory.keys import Keys

    if not 0 <= grace <= _HOURS_MAX:
        raise InvalidError(f"--grace is {grace}; it is 0 to {_HOURS_MAX:,} hours", code="credential.malformed")
    return await Keys(call.memory).rotate(key, tenant, by=call.by, grace=timedelta(hours=grace))


@command(keys, writes=True, show=_show_key)
async def revoke(call: Call, key: KeyId, tenant: Tenant = _LOCAL, because: Because = None) -> ApiKey:
    """Let a key count no more. Servers that run see it within a second.

    Example: `latewood keys revoke k3yab2cdefgh --because "left the team"`
    """
    from latewood.memory.keys import Keys

    return await Keys(call.memory).revoke(key, tenant, by=call.by, because=because)
