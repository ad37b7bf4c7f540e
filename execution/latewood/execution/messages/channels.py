"""Channels: what is registered, changed, and subscribed to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from latewood.execution.faults import DEFAULT, Policy
from latewood.execution.messages.post import Post
from latewood.execution.messages.routing import Routes, Rule, routes_json
from latewood.execution.messages.schemas import breaks
from latewood.execution.messages.words import Channel, Group, Limits, policy_json
from latewood.execution.schemas import check_schema
from latewood.graph_schema.commands import Expect, Ref
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError
from latewood.graph_schema.given import checked
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Json
from latewood.storage.port import NodeQuery, Page

__all__ = ["GROUPS_MAX", "Channels"]

GROUPS_MAX: Final = 100
"""Most consumer groups of one channel: a message is put before each."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_TRIES_MAX: Final = 5


def _checked_name(name: str, what: str) -> str:
    if _NAME.fullmatch(name) is None:
        msg = f"{name[:80]!r} cannot name a {what}: use 1-100 of letters, digits, '.', '_', ':', '-', no mark first"
        raise InvalidError(msg, code="query.invalid")
    return name


def _config(
    schema: Mapping[str, Json] | None, version: int, owner: str | None, limits: Limits, policy: Policy,
    routes: Routes | None = None,
) -> dict[str, Json]:  # fmt: skip
    found: dict[str, Json] = {
        "schema": None if schema is None else dict(schema), "version": version, "owner": owner,
        "limits": {"pending_max": limits.pending_max, "bytes_max": limits.bytes_max}, "policy": policy_json(policy),
    }  # fmt: skip
    return found if routes is None else {**found, "routes": routes_json(routes)}


@checked
class Channels:
    """What is done with channels; a part of `Messages`."""

    _post: Post

    async def channel(self, name: str) -> Channel:
        """Return a channel as it is now. Raises NotFoundError (``channel.unknown``)."""
        return await self._post.channel(name, fresh=True)

    async def channels(self, *, first: int = 50, after: str | None = None) -> Page[Channel]:
        """List channels in the order in which they were made. Raises InvalidError (``cursor.invalid``)."""
        book = self._post.book
        page = await book.store.list_nodes(book.space, NodeQuery(NodeKind.CHANNEL, first=first, after=after))
        return Page(tuple(await self._post.channels_of(page.items)), page.next)

    async def make_channel(
        self, name: str, *, schema: Mapping[str, Json] | None = None, owner: str | None = None,
        limits: Limits | None = None, policy: Policy | None = None,
    ) -> Channel:  # fmt: skip
        """Make a channel with the group ``default``, or let the one of that name take *schema* and the rest from now.

        A new schema counts as the next version. What is left out stays as it is. Messages that wait keep the version
        that they were published under.

        Args:
            schema: JSON Schema 2020-12 that the data of each message must fit.
            owner: who is asked when a message cannot be settled: ``human:ada``.
            policy: how often a failed message is handed out again, by class of trouble.

        Raises:
            InvalidError: the name is none, or the schema (``schema.invalid``).
            ConflictError: the new schema would break groups that read the old one (``schema.breaking``); nothing was
                changed, and the message names them and what breaks.
            LimitError: the schema is too large.
        """
        checked = None if schema is None else check_schema(dict(schema), "the schema of a channel")
        for limit, value in (("pending_max", limits.pending_max), ("bytes_max", limits.bytes_max)) if limits else ():
            if value < 1:
                raise InvalidError(f"{limit} of a channel is at least 1, not {value}")
        key = f"channel:{_checked_name(name, 'channel')}"
        for left in reversed(range(_TRIES_MAX)):
            nodes = await self._post.book.store.nodes(self._post.book.space, keys=[key])
            try:
                if key in nodes:
                    return await self._changed(name, checked, owner, limits, policy)
                return await self._made(name, checked, owner, limits, policy)
            except ConflictError as error:
                # Another came between the look and the write.
                if error.code not in ("version.conflict", "key.taken") or not left:
                    raise
        raise AssertionError

    async def _made(
        self, name: str, schema: Mapping[str, Json] | None, owner: str | None, limits: Limits | None,
        policy: Policy | None,
    ) -> Channel:  # fmt: skip
        post, channel_id = self._post, self._post.book.ids.new()
        config = _config(schema, 1, owner, limits or Limits(), policy or DEFAULT)
        commands = [*post.write.channel(channel_id, name, config), *post.write.group(channel_id, name, "default", 1)]
        await post.submit(post.unit(commands, body=["channel", name, config]))
        return await post.channel(name, fresh=True)

    async def _changed(
        self, name: str, schema: Mapping[str, Json] | None, owner: str | None, limits: Limits | None,
        policy: Policy | None,
    ) -> Channel:  # fmt: skip
        post = self._post
        now = await post.channel(name, fresh=True)
        newer = schema is not None and schema != now.schema
        if newer and schema is not None and now.schema is not None:
            self._check_readable(now, schema)
        config = _config(
            schema if newer else now.schema, now.version + (1 if newer and now.schema is not None else 0),
            owner or now.owner, limits or now.limits, policy or now.policy, now.routes,
        )  # fmt: skip
        return await self._kept(now, config)

    async def _kept(self, now: Channel, config: Mapping[str, Json]) -> Channel:
        """Let a channel be as *config* says, if nobody changed it meanwhile."""
        if config == _config(now.schema, now.version, now.owner, now.limits, now.policy, now.routes):
            return now
        post = self._post
        command = post.write.config(now.id, config)
        expects = [Expect(Ref(id=now.id), now.node_version)]
        await post.submit(post.unit([command], body=["channel", now.name, dict(config)], expects=expects))
        return await post.channel(now.name, fresh=True)

    async def route(self, channel: str, rules: Sequence[Rule]) -> Channel:
        """Let messages that are sent to *channel* from now on go elsewhere, by the first of *rules* that fits.

        One that fits none stays. A message keeps the version of the rules that it was sent under; messages that wait
        stay where they are. A message goes one way: rules of the channel that it comes to are not asked.

        Raises:
            NotFoundError: there is no such channel, or none that a rule names (``channel.unknown``).
            InvalidError: a rule is malformed.
            LimitError: there are more than `RULES_MAX`.
        """
        Routes(1, tuple(rules)).checked(channel)
        for name in dict.fromkeys(rule.to for rule in rules):
            await self._post.channel(name, fresh=True)
        for left in reversed(range(_TRIES_MAX)):
            now = await self._post.channel(channel, fresh=True)
            routes = Routes(1 if now.routes is None else now.routes.version + 1, tuple(rules))
            if now.routes is not None and now.routes.rules == routes.rules:
                return now
            try:
                return await self._kept(
                    now, _config(now.schema, now.version, now.owner, now.limits, now.policy, routes)
                )
            except ConflictError as error:
                if error.code != "version.conflict" or not left:
                    raise
        raise AssertionError

    def _check_readable(self, now: Channel, schema: Mapping[str, Json]) -> None:
        found = breaks(dict(now.schema or {}), dict(schema))
        if not found:
            return
        groups = [group.name for group in now.groups]
        msg = (
            f"version {now.version + 1} of the schema of channel {now.name!r} would break its consumers "
            f"{', '.join(groups)}, who read version {now.version}: {'; '.join(found)}; "
            "publish what differs to a channel of its own"
        )
        raise ConflictError(msg, code="schema.breaking", channel=now.name, groups=groups, breaks=found)

    async def subscribe(self, channel: str, group: str) -> Group:
        """Make a group of consumers of a channel, which gets every message from here on; or return it.

        What was published before comes with `replay`.

        Raises:
            NotFoundError: code ``channel.unknown``.
            InvalidError: the name is none.
            LimitError: the channel has `GROUPS_MAX` groups.
        """
        _checked_name(group, "group")
        post = self._post
        for left in reversed(range(_TRIES_MAX)):
            now = await post.channel(channel, fresh=True)
            found = now.group(group)
            if found is not None:
                return found
            if len(now.groups) >= GROUPS_MAX:
                msg = f"channel {channel!r} has {GROUPS_MAX} groups, the most it may; share one of them"
                raise LimitError(msg, limit="GROUPS_MAX", maximum=GROUPS_MAX)
            expects = [Expect(Ref(id=now.id), now.node_version)]
            commands = post.write.group(now.id, now.name, group, now.version)
            try:
                await post.submit(post.unit(commands, body=["group", channel, group], expects=expects))
            except ConflictError as error:
                if error.code not in ("version.conflict", "key.taken") or not left:
                    raise
        return await post.group(await post.channel(channel, fresh=True), group)
