"""Webhooks as they are registered: added, listed, their secrets rotated, resumed, removed, and what they answered."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from latewood.execution.faults import Policy
from latewood.execution.messages.channels import GROUPS_MAX
from latewood.execution.messages.post import Post, delivery_of
from latewood.execution.messages.words import Delivery, policy_json
from latewood.execution.messages.writing import HAS_GROUP
from latewood.execution.webhooks.signing import secret_of
from latewood.execution.webhooks.targets import Targets
from latewood.execution.webhooks.words import POLICY, HookState, NewSecret, Webhook, WebhookReceipt
from latewood.graph_schema.clock import from_micros
from latewood.graph_schema.commands import Command, Declare, End, Expect, Ref
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError, NotFoundError
from latewood.graph_schema.given import checked
from latewood.graph_schema.model import Fact, Node, NodeKind
from latewood.graph_schema.values import Json, check_text
from latewood.storage.port import PAGE_MAX, NodeQuery, Page

__all__ = ["GRACE_S_MAX", "TIMEOUT_S", "TIMEOUT_S_MAX", "WEBHOOKS_MAX", "Webhooks"]

TIMEOUT_S: Final = 15.0
TIMEOUT_S_MAX: Final = 60.0
"""Longest time of one call, in seconds."""
GRACE_S_MAX: Final = 30 * 86_400
WEBHOOKS_MAX: Final = 1_000
"""Most webhooks of a space."""
_NAMED_AGAIN_MAX: Final = 50
_DROPPED_AT_ONCE: Final = 200
_TRIES_MAX: Final = 5
_TYPE: Final = "webhook"
_SALTS: Final = "webhook.salts"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@checked
class Webhooks:
    """The webhooks of a space. Made by `latewood.memory.webhooks`."""

    def __init__(self, post: Post, targets: Targets) -> None:
        """Act through *post*, as its actor; *targets* judges addresses."""
        self._post = post
        self._targets = targets
        self._space_secret = b""

    async def add(
        self, name: str, channel: str, url: str, *, owner: str, timeout_s: float = TIMEOUT_S, policy: Policy = POLICY
    ) -> NewSecret:  # fmt: skip
        """Have each message of *channel* from here on delivered to *url*; return the secret that signs them, once.

        Args:
            owner: who is asked when a message cannot be delivered: ``human:ada``.
            policy: how often a message is tried, by class of trouble.

        Raises:
            InvalidError: the name is none, the time out of bounds, or the address not to be called
                (``webhook.target``).
            NotFoundError: code ``channel.unknown``.
            ConflictError: there is a webhook of this name (``key.taken``).
            LimitError: the channel has `GROUPS_MAX` groups.
        """
        if _NAME.fullmatch(name) is None:
            msg = f"{name[:80]!r} cannot name a webhook: use 1-80 of letters, digits, '.', '_', '-', no mark first"
            raise InvalidError(msg, code="query.invalid")
        if not 0 < timeout_s <= TIMEOUT_S_MAX:
            raise InvalidError(f"a call takes up to {TIMEOUT_S_MAX:g} seconds, not {timeout_s:g}", code="query.invalid")
        check_text(owner, "the owner of a webhook", bytes_max=200)
        post, write, salt = self._post, self._post.write, secrets.token_hex(16)
        group, webhook_id = f"webhook.{name}", self._post.book.ids.new()
        spec: dict[str, Json] = {
            "channel": channel, "group": group, "owner": owner, "policy": policy_json(policy),
            "url": self._targets.check(url), "timeout_s": timeout_s,
        }  # fmt: skip
        for left in reversed(range(_TRIES_MAX)):
            known = await post.channel(channel, fresh=True)
            key = await self._free_key(name)
            if len(known.groups) >= GROUPS_MAX:
                msg = f"channel {channel!r} has {GROUPS_MAX} groups, the most it may; remove a webhook"
                raise LimitError(msg, limit="GROUPS_MAX", maximum=GROUPS_MAX)
            commands: list[Command] = [
                Declare(webhook_id, NodeKind.GROUP, _TYPE, key, name, {**spec, "reads": known.version}),
                write.edge(known.id, HAS_GROUP, webhook_id), write.fact(webhook_id, "status", str(HookState.ON)),
                self._salts(webhook_id, salt, None, 0),
            ]  # fmt: skip
            try:
                await post.submit(
                    post.unit(commands, body=["webhook", spec], expects=[Expect(Ref(id=known.id), known.node_version)])
                )
            except ConflictError as error:
                if error.code not in ("version.conflict", "key.taken") or not left:
                    raise
                continue
            return NewSecret(await self.webhook(name), await self._secret(webhook_id, salt))
        raise AssertionError

    async def _free_key(self, name: str) -> str:
        """Return a key for a webhook of a name that others had before, and that were removed."""
        taken = await self._named(name)
        if any(one.state is not HookState.REMOVED for one in taken):
            msg = f"there is a webhook {name!r}; remove it first, or name this one otherwise"
            raise ConflictError(msg, code="key.taken", webhook=name)
        if len(taken) >= _NAMED_AGAIN_MAX:
            msg = f"{len(taken)} webhooks were named {name!r} before; take another name"
            raise LimitError(msg, limit="WEBHOOKS_NAMED_MAX", maximum=_NAMED_AGAIN_MAX)
        return f"webhook:{name}" if not taken else f"webhook:{name}~{len(taken) + 1}"

    async def _named(self, name: str) -> list[Webhook]:
        more = [f"webhook:{name}~{number}" for number in range(2, _NAMED_AGAIN_MAX + 1)]
        book = self._post.book
        nodes = await book.store.nodes(book.space, keys=[f"webhook:{name}", *more])
        return await self._read([node for node in nodes.values() if node.type == _TYPE])

    async def webhook(self, name: str) -> Webhook:
        """Return a webhook by its name, the latest of that name. Raises NotFoundError (``webhook.unknown``)."""
        named = sorted(await self._named(name), key=lambda one: one.recorded_at)
        if not named:
            msg = f"space {self._post.book.space!r} has no webhook {name[:80]!r}; `webhooks` lists them"
            raise NotFoundError(msg, code="webhook.unknown", webhook=name[:80])
        return named[-1]

    async def webhooks(self) -> tuple[Webhook, ...]:
        """Return the webhooks that were not removed, in the order in which they were added."""
        book = self._post.book
        where = {"status": [str(one) for one in HookState if one is not HookState.REMOVED]}
        query = NodeQuery(NodeKind.GROUP, type=_TYPE, where=where, first=min(WEBHOOKS_MAX, PAGE_MAX))
        return tuple(await self._read((await book.store.list_nodes(book.space, query)).items))

    async def _read(self, nodes: Sequence[Node]) -> list[Webhook]:
        said = await self._post.facts([node.id for node in nodes], ["status", _SALTS])
        return [_webhook(node, said.get(node.id, [])) for node in nodes]

    async def _live(self, name: str) -> Webhook:
        found = await self.webhook(name)
        if found.state is HookState.REMOVED:
            msg = f"the webhook {name!r} was removed; add one of its name again"
            raise NotFoundError(msg, code="webhook.unknown", webhook=name[:80])
        return found

    async def rotate(self, name: str, *, grace_s: float) -> NewSecret:
        """Sign with a new secret from now on, and for *grace_s* with the present one too, so that none is missed.

        Raises:
            NotFoundError: code ``webhook.unknown``.
            InvalidError: the grace is out of bounds.
            ConflictError: another rotated it in this moment (``version.conflict``).
        """
        if not 0 <= grace_s <= GRACE_S_MAX:
            raise InvalidError(
                f"the old secret counts for 0 to {GRACE_S_MAX // 86_400} days more", code="query.invalid"
            )
        post, found = self._post, await self._live(name)
        node = (await post.nodes([found.id]))[found.id]
        present, _, _ = await self._kept_salts(found.id)
        salt, until = secrets.token_hex(16), post.book.clock.now() + round(grace_s * 1_000_000)
        command = self._salts(found.id, salt, present if grace_s else None, until)
        expects = [Expect(Ref(id=found.id), node.version)]
        await post.submit(post.unit([command], body=["rotate", found.id, salt], expects=expects))
        return NewSecret(await self._live(name), await self._secret(found.id, salt))

    def _salts(self, webhook_id: str, present: str, previous: str | None, until: int) -> Command:
        said: dict[str, object] = {"present": present, "previous": previous, "until": until}
        return self._post.write.fact(webhook_id, _SALTS, said)

    async def _kept_salts(self, webhook_id: str) -> tuple[str, str | None, int]:
        facts = (await self._post.facts([webhook_id], [_SALTS])).get(webhook_id, [])
        return _salts_in(facts)

    async def _secret(self, webhook_id: str, salt: str) -> str:
        if not self._space_secret:
            self._space_secret = (await self._post.book.store.image(self._post.book.space)).secret
        return secret_of(self._space_secret, webhook_id, salt)

    async def secrets(self, webhook_id: str) -> tuple[str, ...]:
        """Return the secrets that a call is signed with now, the present one first."""
        present, previous, until = await self._kept_salts(webhook_id)
        salts = [present] if previous is None or until <= self._post.book.clock.now() else [present, previous]
        return tuple([await self._secret(webhook_id, salt) for salt in salts])

    async def resume(self, name: str) -> Webhook:
        """Call a webhook again that was paused or answered 410. Raises NotFoundError (``webhook.unknown``)."""
        found = await self._live(name)
        await self._say(found, HookState.ON)
        return await self._live(name)

    async def pause(self, name: str) -> Webhook:
        """Call a webhook no more until it is resumed; what comes for it waits. Calls under way are finished.

        Raises NotFoundError (``webhook.unknown``).
        """
        found = await self._live(name)
        await self._say(found, HookState.PAUSED)
        return await self._live(name)

    async def switch_off(self, webhook: Webhook) -> None:
        """Call a webhook no more, because it answered that it is gone."""
        await self._say(webhook, HookState.GONE)

    async def _say(self, webhook: Webhook, state: HookState) -> None:
        if webhook.state is not state:
            command = self._post.write.fact(webhook.id, "status", str(state))
            await self._post.submit(self._post.unit([command], body=["webhook", webhook.id, str(state)]))

    async def remove(self, name: str) -> int:
        """Deliver nothing more to a webhook; return how many messages were let go that waited for it.

        Raises:
            NotFoundError: code ``webhook.unknown``.
            ConflictError: its channel kept changing (``version.conflict``).
        """
        post, found = self._post, await self._live(name)
        for left in reversed(range(_TRIES_MAX)):
            channel = await post.channel(found.channel, fresh=True)
            facts = (await post.facts([channel.id], [HAS_GROUP])).get(channel.id, [])
            edges = [fact.id for fact in facts if fact.object_id == found.id]
            ends: list[Command] = [End(post.book.ids.new(), one) for one in edges]
            commands = [*ends, post.write.fact(found.id, "status", str(HookState.REMOVED))]
            try:
                # Expected, so that no publisher puts a message before it after what waits was let go.
                await post.submit(
                    post.unit(
                        commands, body=["webhook", found.id, "removed"],
                        expects=[Expect(Ref(id=channel.id), channel.node_version)],
                    )
                )  # fmt: skip
                break
            except ConflictError as error:
                if error.code != "version.conflict" or not left:
                    raise
        return await self._let_go(found)

    async def _let_go(self, webhook: Webhook) -> int:
        """Take what waits for a webhook from its queue, a page at a time; each message keeps a line that says so."""
        post, gone = self._post, 0
        while page := (await post.queue.queued(post.book.space, webhook.id, first=_DROPPED_AT_ONCE)).items:
            commands: list[Command] = []
            for row in page:
                actor = post.book.actor
                commands += post.write.delivery(row.message, webhook.id, row.failures + 1, "dropped", actor)
                commands.append(post.write.settled(row.message, webhook.id))
            await post.submit(post.unit(commands, body=["webhook", webhook.id, "dropped", len(page)]))
            gone += len(page)
        return gone

    async def receipts(self, name: str, *, first: int = 50, after: str | None = None) -> Page[WebhookReceipt]:
        """List what became of the calls of a webhook, the newest first.

        Raises NotFoundError (``webhook.unknown``), InvalidError (``cursor.invalid``).
        """
        book, found = self._post.book, await self.webhook(name)
        query = NodeQuery(NodeKind.DELIVERY, about=found.id, first=first, after=after, newest=True)
        page = await book.store.list_nodes(book.space, query)
        return Page(tuple(_receipt(delivery_of(node)) for node in page.items), page.next)


def _webhook(node: Node, facts: Sequence[Fact]) -> Webhook:
    said = node.attributes
    states = [str(fact.value.data) for fact in facts if fact.predicate == "status" and fact.value is not None]
    _, previous, until = _salts_in(facts)
    timeout_s = said.get("timeout_s")
    return Webhook(
        node.id, node.name, str(said.get("channel", "")), str(said.get("group", "")), str(said.get("url", "")),
        str(said.get("owner", "")), float(timeout_s) if isinstance(timeout_s, int | float) else TIMEOUT_S,
        HookState(states[0]) if states else HookState.REMOVED, node.recorded_at,
        None if previous is None else from_micros(until),
    )  # fmt: skip


def _salts_in(facts: Sequence[Fact]) -> tuple[str, str | None, int]:
    for fact in facts:
        data = fact.value.data if fact.predicate == _SALTS and fact.value is not None else None
        if isinstance(data, Mapping):
            previous, until = data.get("previous"), data.get("until")
            return (
                str(data.get("present")), previous if isinstance(previous, str) else None,
                until if isinstance(until, int) else 0,
            )  # fmt: skip
    return "", None, 0


def _receipt(tried: Delivery) -> WebhookReceipt:
    status, took_ms, digest = (tried.told.get(one) for one in ("status", "took_ms", "digest"))
    return WebhookReceipt(
        tried.id, tried.message, tried.number, tried.outcome, tried.recorded_at,
        status if isinstance(status, int) else None, took_ms if isinstance(took_ms, int) else None,
        digest if isinstance(digest, str) else None, tried.fault, tried.words,
    )  # fmt: skip
