"""`latewood messages` and `latewood dead-letters`: what is handed over, what waits, and what nobody could settle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import dead_letters, messages
from latewood.clients.cli.options import After, First, IdempotencyKey, instant
from latewood.clients.cli.tries import with_tries
from latewood.graph_schema.clock import iso
from latewood.graph_schema.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latewood.execution import Policy
    from latewood.execution.messages import Channel, DeadLetter, Delivery, Message, Messages, Published
    from latewood.graph_schema.values import Json
    from latewood.storage.port import Page

__all__ = ["ChannelName", "Group", "messages_called"]

_MORE_CHARS = 60
ChannelName: TypeAlias = Annotated[str, typer.Argument(metavar="CHANNEL", help="The name of a channel.")]
Group: TypeAlias = Annotated[str, typer.Option("--group", metavar="NAME", help="Which group of consumers.")]
LetterName: TypeAlias = Annotated[str, typer.Argument(metavar="DEAD-LETTER", help="The id of a dead letter.")]


def messages_called(call: Call) -> Messages:
    """Return the messages of the space that a command is about."""
    from latewood.memory.messages import messages_of

    return messages_of(call.memory)


def _read(text: str, what: str) -> Json:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidError(f"{what} is no JSON: {error}", code="query.invalid") from error


def _read_file(path: Path) -> Json:
    try:
        return _read(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path} cannot be read: {error}", code="file.unreadable") from error


async def _tried(own: Messages, name: str, tries: Sequence[str]) -> Policy:
    """Return the policy of a channel, or the usual one, with other numbers of tries. Raises InvalidError."""
    from latewood.execution import DEFAULT

    try:
        policy = (await own.channel(name)).policy
    except NotFoundError:
        policy = DEFAULT
    return with_tries(policy, tries)


def _short(data: Json) -> str:
    return _cut(json.dumps(data, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _MORE_CHARS else f"{text[:_MORE_CHARS]}..."


async def _show_channels(call: Call, page: Page[Channel]) -> None:
    """Show channels, a line each."""
    rows = [
        (one.name, str(one.version) if one.schema is not None else "any", one.owner or "",
         ", ".join(group.name for group in one.groups),
         "" if one.routes is None else f"{len(one.routes.rules)} rules, version {one.routes.version}")
        for one in page.items
    ]  # fmt: skip
    none = "no channels; make one with `latewood messages channel`"
    await call.table(("channel", "schema", "owner", "groups", "routes"), rows, none=none, after=page.next)


async def _show_channel(call: Call, one: Channel) -> None:
    """Show a channel."""
    field = call.screen.field
    field("channel", one.name)
    field("schema", "takes anything" if one.schema is None else f"version {one.version}")
    field("owner", one.owner)
    field("groups", ", ".join(group.name for group in one.groups))
    if one.routes is not None:
        for rule in one.routes.rules:
            when = " and ".join(f"{part.path} {part.op} {json.dumps(part.value)}" for part in rule.when)
            field("rule", f"{rule.name}, version {one.routes.version}: to {rule.to} when {when}")
    field("limits", f"{one.limits.pending_max:,} messages, {one.limits.bytes_max:,} bytes")


async def _show_published(call: Call, one: Published) -> None:
    """Show that a message is kept."""
    call.screen.say(f"{one.id}{', kept before under this key' if one.duplicate else ''}")


async def _show_list(call: Call, page: Page[Message]) -> None:
    """Show messages, a line each."""
    rows = [
        (one.id, one.channel, one.subject or one.type, iso(one.recorded_at), one.rule or "", _short(one.data))
        for one in page.items
    ]
    none = "no messages; publish one with `latewood messages send`"
    await call.table(("message", "channel", "about", "published", "by rule", "data"), rows, none=none, after=page.next)


async def _show_pending(call: Call, page: Page[tuple[Message, str]]) -> None:
    """Show what waits, a line each."""
    rows = [(one.id, state, str(one.priority), one.ordering_key or "", _short(one.data)) for one, state in page.items]
    none = "nothing waits; `latewood messages list` has what is settled, `latewood dead-letters list` what nobody could"
    await call.table(("message", "state", "priority", "ordering key", "data"), rows, none=none, after=page.next)


async def _show_tries(call: Call, found: tuple[Delivery, ...]) -> None:
    """Show the tries at a message, a line each."""
    rows = [
        (
            iso(one.recorded_at),
            one.outcome,
            str(one.number),
            one.consumer.partition("/")[0],
            one.fault or "",
            one.words or "",
        )
        for one in found
    ]
    none = "no try has ended yet; `latewood messages pending CHANNEL` says how it stands"
    await call.table(("at", "outcome", "try", "consumer", "class", "says"), rows, none=none)


async def _show_replayed(call: Call, found: dict[str, int]) -> None:
    """Show how much is handed out again."""
    call.screen.say(f"{found['replayed']:,} messages are handed out once more")


async def _show_letters(call: Call, page: Page[DeadLetter]) -> None:
    """Show dead letters, a line each."""
    rows = [
        (
            one.id,
            one.channel,
            one.group,
            one.fault,
            str(one.tries),
            one.owner or "",
            one.status,
            one.reason[:_MORE_CHARS],
        )
        for one in page.items
    ]
    columns = ("dead letter", "channel", "group", "class", "tries", "owner", "status", "reason")
    await call.table(
        columns, rows, none="no dead letters; `latewood messages pending CHANNEL` has what still waits", after=page.next
    )


async def _show_letter(call: Call, one: DeadLetter) -> None:
    """Show a dead letter with its message."""
    field = call.screen.field
    call.screen.say(f"{one.channel}/{one.group}: {one.fault} after {one.tries} tries, {one.status}", style="bold")
    field("dead letter", one.id)
    field("reason", one.reason)
    field("owner", one.owner)
    field("trace", one.trace)
    field("message", None if one.message is None else one.message.id)
    field("data", "erased" if one.message is None else json.dumps(one.message.data, ensure_ascii=False))
    if one.status == "open":
        field("next", f"latewood dead-letters redrive {one.id}")


@command(messages, "channels", show=_show_channels)
async def channels(call: Call, *, first: First = 50, after: After = None) -> Page[Channel]:
    """List channels with their groups, in the order in which they were made.

    Example: `latewood messages channels`
    """
    return await messages_called(call).channels(first=first, after=after)


@command(messages, "channel", writes=True, show=_show_channel)
async def channel(
    call: Call, name: ChannelName, *,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="JSON Schema 2020-12 of the data, from now on.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="ACTOR", help="Who is asked about dead letters: human:ada.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="NAME", help="A further group of consumers; may be repeated.")
    ] = None,
    tries: Annotated[
        list[str] | None,
        typer.Option("--tries", metavar="CLASS=N", help="After how many tries it is dead: transient=3."),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", metavar="FILE", help="Where messages go by what they say, from now on: a JSON list."),
    ] = None,
) -> Channel:  # fmt: skip
    """Make a channel, or change what it takes. A schema that would break its consumers is refused, and names them.

    Example: `latewood messages channel orders --schema order.json --owner human:ada --group audit`
    """
    document = None
    if schema is not None:
        document = _read_file(schema)
        if not isinstance(document, dict):
            raise InvalidError(f"{schema} holds no JSON object", code="schema.invalid")
    listed = None if rules is None else _read_file(rules)
    if rules is not None and not isinstance(listed, list):
        raise InvalidError(f"{rules} holds no JSON list of rules", code="query.invalid")
    from latewood.execution.messages.routing import routes_from

    # Before anything is written: rules that cannot be gone by leave no channel behind.
    routes = routes_from({"rules": listed}) if isinstance(listed, list) else None
    own = messages_called(call)
    policy = None if not tries else await _tried(own, name, tries)
    await own.make_channel(name, schema=document, owner=owner, policy=policy)
    for one in group or ():
        await own.subscribe(name, one)
    if isinstance(listed, list):
        await own.route(name, () if routes is None else routes.rules)
    return await own.channel(name)


@command(messages, "send", writes=True, show=_show_published)
async def send(
    call: Call, name: ChannelName,
    data: Annotated[str, typer.Argument(metavar="JSON", help="What it says.")], *,
    subject: Annotated[str | None, typer.Option("--subject", metavar="TEXT", help="What it is about.")] = None,
    ordering_key: Annotated[
        str | None, typer.Option("--ordering-key", metavar="TEXT", help="Those of one key are handed out one by one.")
    ] = None,
    priority: Annotated[int, typer.Option("--priority", metavar="0-9", help="Higher ones are handed out first.")] = 0,
    delay: Annotated[float, typer.Option("--delay", metavar="SECONDS", help="How long nobody gets it.")] = 0.0,
    expires: Annotated[
        float | None, typer.Option("--expires", metavar="SECONDS", help="After how long it becomes a dead letter.")
    ] = None,
    idempotency_key: IdempotencyKey = None,
) -> Published:  # fmt: skip
    """Publish a message; it is durable when this returns.

    Example: `latewood messages send orders '{"amount": 3}' --subject "order 7" --idempotency-key order-7`
    """
    return await messages_called(call).publish(
        name, _read(data, "the message"), subject=subject, ordering_key=ordering_key, priority=priority,
        delay_s=delay, expires_s=expires, idempotency_key=idempotency_key,
    )  # fmt: skip


@command(messages, "list", show=_show_list)
async def list_messages(call: Call, *, first: First = 50, after: After = None) -> Page[Message]:
    """List messages of all channels, the newest first, settled ones too.

    Example: `latewood messages list --first 10`
    """
    return await messages_called(call).messages(first=first, after=after)


@command(messages, "pending", show=_show_pending)
async def pending(
    call: Call, name: ChannelName, *, group: Group = "default", first: First = 50, after: After = None
) -> Page[tuple[Message, str]]:  # fmt: skip
    """List what a group has not settled, in order: ready, later, leased, or blocked behind one of its ordering key.

    Example: `latewood messages pending orders --group audit`
    """
    return await messages_called(call).pending(name, group=group, first=first, after=after)


@command(messages, "tries", show=_show_tries)
async def tries(
    call: Call, message: Annotated[str, typer.Argument(metavar="MESSAGE", help="The id of a message.")]
) -> tuple[Delivery, ...]:
    """Show every try of a consumer at a message.

    Example: `latewood messages tries 019a...`
    """
    return await messages_called(call).deliveries(message)


@command(messages, "replay", writes=True, show=_show_replayed)
async def replay(
    call: Call, name: ChannelName, since: Annotated[str, typer.Argument(metavar="TIME", help="From when on.")], *,
    group: Group = "default",
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Up to when (now).")] = None,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, int]:  # fmt: skip
    """Hand out once more what a channel got from an instant on, the oldest first.

    Example: `latewood messages replay orders 2026-03-01 --group audit`
    """
    begin, end = instant(since), instant(until)
    if begin is None:
        raise InvalidError("from when on? name an instant, as in 2026-03-01", code="query.invalid")
    count = await messages_called(call).replay(
        name, since=begin, until=end, group=group, idempotency_key=idempotency_key
    )
    return {"replayed": count}


@command(dead_letters, "list", show=_show_letters)
async def list_dead_letters(
    call: Call, *,
    status: Annotated[str, typer.Option("--status", metavar="STATUS", help="open, redriven, or any.")] = "open",
    first: First = 50, after: After = None,
) -> Page[DeadLetter]:  # fmt: skip
    """List messages that nobody could settle, the newest first.

    Example: `latewood dead-letters list --status any`
    """
    return await messages_called(call).dead_letters(
        status=None if status == "any" else status, first=first, after=after
    )


@command(dead_letters, "show", show=_show_letter)
async def show_dead_letter(call: Call, name: LetterName) -> DeadLetter:
    """Show a dead letter: why, with which trace, after how many tries, and its message.

    Example: `latewood dead-letters show 019a...`
    """
    return await messages_called(call).dead_letter(name)


@command(dead_letters, "redrive", writes=True, show=_show_letter)
async def redrive(call: Call, name: LetterName) -> DeadLetter:
    """Hand the message of a dead letter out again, as if for the first time; its history stays.

    Example: `latewood dead-letters redrive 019a...`
    """
    return await messages_called(call).redrive(name)
