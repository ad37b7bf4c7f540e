"""API keys: made, listed, rotated, revoked, and verified.

A key is a node of the system's own space, and its grant a fact that holds from its making until it expires: revoking it
ends the fact, so the ledger has who did what with which key, and a key counts exactly while its grant holds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, cast

from latewood.graph_schema.clock import from_micros, to_micros
from latewood.graph_schema.commands import Assert, Command, End, Ref
from latewood.graph_schema.errors import ForbiddenError, InvalidError, LimitError, NotFoundError
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import LEDGERS, Fact, LedgerName, Node, Trust
from latewood.graph_schema.values import Value
from latewood.memory.api import Memory
from latewood.memory.credentials import Credential, Scope, SystemMemory, check_tenant, read_scopes
from latewood.memory.reader import micros_or_none
from latewood.storage.port import Page

__all__ = ["CACHE_S", "KEYS_MAX", "ApiKey", "KeyState", "Keys", "NewKey", "system_verdicts"]

CACHE_S: Final = 1.0
"""How long a key that was found good is taken to be so, unless this process revoked it."""
KEYS_MAX: Final = 1_000
"""Most keys of a tenant that are listed at once."""
_CACHED_MAX: Final = 4_096
_GRANTS: Final = "grants"
_FORM: Final = re.compile(r"lw_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")
_ID: Final = re.compile(r"[a-z2-7]{12}")
_NAME_CHARS_MAX: Final = 200


class KeyState(StrEnum):
    """Whether a key counts."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown: everything but its secret.

    Attributes:
        id: the part of the key between its underscores.
        name: what it is for.
        ends_at: when it expires, or was or will be revoked; None for never.
    """

    id: str
    name: str
    tenant: str
    actor: str
    scopes: tuple[Scope, ...]
    state: KeyState
    created_at: datetime
    ends_at: datetime | None = None
    on_behalf_of: str | None = None
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. *secret* is the whole of it and is shown this once: only its hash is kept."""

    key: ApiKey
    secret: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of a key: how it shows, the fact that grants, and the hash of its secret."""

    shown: ApiKey
    grant: str
    digest: bytes


def _digest(secret: str) -> bytes:
    # 256 random bits cannot be guessed, so there is nothing for a slow hash to slow down.
    return hashlib.sha256(secret.encode()).digest()


class Keys:
    """The keys of a store."""

    def __init__(self, memory: Memory) -> None:
        """Keep them in the store behind *memory*, beside every tenant's data."""
        self._memory = SystemMemory(memory)
        self._cache: OrderedDict[str, tuple[int, _Kept]] = OrderedDict()

    async def create(
        self, name: str, *, tenant: str, actor: str, scopes: Iterable[str], by: str, on_behalf_of: str | None = None,
        trust: Trust | None = None, expires_at: datetime | None = None,
    ) -> NewKey:  # fmt: skip
        """Make a key.

        Args:
            name: what it is for.
            actor: who writes with it, such as ``agent:planner``.
            by: who makes it; the ledger keeps that.

        Raises:
            InvalidError: code ``credential.malformed``.
        """
        if not name.strip() or len(name) > _NAME_CHARS_MAX:
            msg = f"a key needs a name of 1 to {_NAME_CHARS_MAX} characters that says what it is for"
            raise InvalidError(msg, code="credential.malformed")
        for one in (actor, on_behalf_of):
            if one is not None and (":" not in one or not one.partition(":")[2].strip() or len(one) > _NAME_CHARS_MAX):
                msg = f"{one[:80]!r} is no actor; write it as agent:planner or human:ada"
                raise InvalidError(msg, code="credential.malformed", actor=one[:80])
        now = await self._memory.now()
        if expires_at is not None and expires_at <= now:
            raise InvalidError("a key must expire after now", code="credential.malformed")
        shown = ApiKey(
            "", name.strip(), check_tenant(tenant), actor, tuple(sorted(read_scopes(scopes))), KeyState.ACTIVE, now,
            ends_at=expires_at, on_behalf_of=on_behalf_of, trust=trust,
        )  # fmt: skip
        return await self._make(shown, by, [])

    async def _make(self, shown: ApiKey, by: str, more: list[Command]) -> NewKey:
        key_id = base64.b32encode(os.urandom(8)).decode().lower()[:12]
        secret = secrets.token_urlsafe(32)
        grant: dict[str, Any] = {
            "digest": _digest(secret).hex(), "tenant": shown.tenant, "actor": shown.actor,
            "scopes": [str(one) for one in shown.scopes], "onBehalfOf": shown.on_behalf_of,
            "trust": None if shown.trust is None else shown.trust.value,
        }  # fmt: skip
        node = Ref(key=f"key:{key_id}", type=_type_of(shown.tenant), name=shown.name)
        command = Assert(
            self._memory.ids.new(), node, _GRANTS, Value.of(grant, None, where="a key's grant"),
            valid_from=to_micros(shown.created_at), valid_to=micros_or_none(shown.ends_at),
        )  # fmt: skip
        await self._memory.write([command, *more], ["key", key_id], by=by)
        return NewKey(replace(shown, id=key_id), f"lw_{key_id}_{secret}")

    async def list(self, tenant: str) -> tuple[ApiKey, ...]:
        """List a tenant's keys, the newest first, at most `KEYS_MAX`."""
        page = await self._memory.nodes(type_=_type_of(check_tenant(tenant)), first=KEYS_MAX, newest=True)
        kept = await self._kept(page.items)
        return tuple(kept[node.id].shown for node in page.items if node.id in kept)

    async def get(self, key_id: str, tenant: str) -> ApiKey:
        """Return a key of a tenant. Raises NotFoundError (``credential.unknown``), of another tenant's too."""
        return (await self._own(key_id, tenant)).shown

    async def revoke(self, key_id: str, tenant: str, *, by: str, because: str | None = None) -> ApiKey:
        """Let a key count no more, from now on. One that no longer counts is returned as it is.

        Raises:
            NotFoundError: code ``credential.unknown``.
        """
        kept = await self._own(key_id, tenant)
        if kept.shown.state is KeyState.ACTIVE:
            now = to_micros(await self._memory.now())
            end = End(self._memory.ids.new(), kept.grant, now, because)
            await self._memory.write([end], ["revoke", key_id, because], by=by)
            self._cache.pop(key_id, None)
        return (await self._own(key_id, tenant)).shown

    async def rotate(self, key_id: str, tenant: str, *, by: str, grace: timedelta = timedelta(hours=24)) -> NewKey:
        """Make a key that may do what *key_id* may, which counts on for *grace* and no longer: one unit, so never none.

        The new one expires after as long a time as the old one was made for.

        Raises:
            NotFoundError: code ``credential.unknown``.
            InvalidError: code ``credential.malformed`` for a key that no longer counts.
        """
        old = await self._own(key_id, tenant)
        if old.shown.state is not KeyState.ACTIVE or grace < timedelta():
            msg = (
                f"the key {key_id} is {old.shown.state}; make a new one"
                if grace >= timedelta()
                else "grace is negative"
            )
            raise InvalidError(msg, code="credential.malformed", key=key_id)
        now = await self._memory.now()
        lasts = None if old.shown.ends_at is None else old.shown.ends_at - old.shown.created_at
        new = replace(old.shown, id="", created_at=now, ends_at=None if lasts is None else now + lasts)
        more: list[Command] = []
        if old.shown.ends_at is None or now + grace < old.shown.ends_at:
            more.append(End(self._memory.ids.new(), old.grant, to_micros(now + grace), "rotated"))
        made = await self._make(new, by, more)
        self._cache.pop(key_id, None)
        return made

    async def verify(self, token: str) -> Credential | None:
        """Return whose key *token* is, None when it is not of a key's form.

        Raises:
            ForbiddenError: codes ``credential.invalid``, ``credential.expired``.
        """
        form = _FORM.fullmatch(token)
        if form is None:
            return None
        kept = await self._known(form[1])
        # One answer whether the id or the secret is wrong: neither can be tried out.
        if not hmac.compare_digest(_digest(form[2]), b"" if kept is None else kept.digest) or kept is None:
            raise ForbiddenError("the key is not one of this store's", code="credential.invalid")
        shown = kept.shown
        now = from_micros(self._memory.clock.now())
        if shown.state is not KeyState.ACTIVE or (shown.ends_at is not None and shown.ends_at <= now):
            what = "was revoked" if shown.state is KeyState.REVOKED else "has expired"
            msg = f"the key {shown.id} {what}; ask whoever made it for another"
            raise ForbiddenError(msg, code="credential.expired", key=shown.id)
        return Credential(
            f"key:{shown.id}", shown.tenant, shown.actor, frozenset(shown.scopes), shown.on_behalf_of, shown.trust,
            shown.ends_at,
        )  # fmt: skip

    async def _known(self, key_id: str) -> _Kept | None:
        """Return what is kept of a key, at most `CACHE_S` old; what is unknown is asked for each time."""
        now = self._memory.clock.now()
        cached = self._cache.get(key_id)
        if cached is not None and 0 <= now - cached[0] < CACHE_S * 1_000_000:
            return cached[1]
        kept = await self._read(key_id)
        if kept is None:
            self._cache.pop(key_id, None)
        else:
            self._cache[key_id] = (now, kept)
            self._cache.move_to_end(key_id)
            while len(self._cache) > _CACHED_MAX:
                self._cache.popitem(last=False)
        return kept

    async def _read(self, key_id: str) -> _Kept | None:
        try:
            node = await self._memory.node(f"key:{key_id}")
        except NotFoundError:
            return None
        return (await self._kept([node])).get(node.id)

    async def _own(self, key_id: str, tenant: str) -> _Kept:
        kept = await self._read(key_id) if _ID.fullmatch(key_id) else None
        if kept is None or kept.shown.tenant != tenant:
            msg = f"no key has the id {key_id[:40]!r}; the list of keys has them"
            raise NotFoundError(msg, code="credential.unknown", key=key_id[:40])
        return kept

    async def _kept(self, nodes: Iterable[Node]) -> dict[str, _Kept]:
        """Read the keys that *nodes* are, by node id: each one's grant and what ended it."""
        wanted = {node.id: node for node in nodes}
        grants: dict[str, Fact] = {}
        ends: dict[str, Fact] = {}
        after: str | None = None
        while wanted:
            page: Page[Fact] = await self._memory.timeline_of(list(wanted), [_GRANTS], first=KEYS_MAX, after=after)
            for fact in page.items:
                if fact.absent:
                    ends.setdefault(fact.subject_id, fact)
                elif fact.value is not None:
                    grants[fact.subject_id] = fact
            after = page.next
            if after is None:
                break
            if len(grants) + len(ends) > 2 * KEYS_MAX:  # pragma: no cover - a key has one grant and one end
                raise LimitError("more grants than keys", limit="KEYS_MAX", maximum=KEYS_MAX)
        now = await self._memory.now()
        return {one: _read_key(wanted[one], fact, ends.get(one), now) for one, fact in grants.items()}


def _type_of(tenant: str) -> str:
    return f"key of {tenant}"


def _read_key(node: Node, grant: Fact, end: Fact | None, now: datetime) -> _Kept:
    data = cast("Mapping[str, Any]", None if grant.value is None else grant.value.data)
    ends_at, state = grant.valid_to, KeyState.ACTIVE
    if end is not None and (ends_at is None or end.valid_from < ends_at):
        ends_at = end.valid_from
    if ends_at is not None and ends_at <= now:
        state = KeyState.EXPIRED if ends_at == grant.valid_to else KeyState.REVOKED
    trust = data["trust"]
    shown = ApiKey(
        (node.key or "").partition(":")[2], node.name, data["tenant"], data["actor"],
        tuple(Scope(one) for one in data["scopes"]), state, grant.valid_from, ends_at, data["onBehalfOf"],
        None if trust is None else Trust(trust),
    )  # fmt: skip
    return _Kept(shown, grant.id, bytes.fromhex(data["digest"]))


async def system_verdicts(memory: Memory) -> tuple[Verdict, ...]:
    """Check the ledgers of what the system keeps for itself, as far as it has kept anything."""
    system = SystemMemory(memory)
    written: list[LedgerName] = [name for space in await system.spaces() for name in LEDGERS if space.seq.get(name, 0)]
    return tuple([await system.verify(name) for name in written])
