"""What a credential lets its bearer do, and the handle that holds them to it.

A credential says whose data (tenant), who acts (actor, perhaps on behalf of somebody) and what may be done (scopes). A
`BoundMemory` is made from one, once for each request: it is the only place where a tenant reaches a store handle.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, cast

from latewood.graph_schema.clock import Clock
from latewood.graph_schema.commands import ActorSpec, Command, Expect, History, SourceSpec, Unit
from latewood.graph_schema.errors import ForbiddenError, InvalidError, LatewoodError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Trust
from latewood.memory.api import Memory
from latewood.memory.counting import COUNTS
from latewood.storage.erasing import erases
from latewood.storage.port import GraphStore, Refusal

__all__ = [
    "LOCAL_TENANT",
    "METHOD_SCOPES",
    "SYSTEM_TENANT",
    "BoundMemory",
    "Credential",
    "Reporter",
    "Scope",
    "SystemMemory",
    "Verifier",
    "check_tenant",
    "read_scopes",
]

LOCAL_TENANT: Final = "local"
"""The tenant of the command line, and of a server that asks for no credential."""
SYSTEM_TENANT: Final = "_system"
"""Whose space holds the keys; no credential can be of it, since its name is none that a tenant may have."""
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Scope(StrEnum):
    """What a credential allows. None contains another."""

    READ = "read"
    WRITE = "write"
    ERASE = "erase"
    RUN = "run"
    ADMIN = "admin"


def read_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """Read scopes. Raises InvalidError (``credential.malformed``) for none and for unknown ones."""
    found = [word.strip() for word in words]
    unknown = sorted({word for word in found if word not in Scope.__members__.values()})
    if unknown or not found:
        msg = f"scopes are some of {', '.join(Scope)}, not {', '.join(repr(one[:40]) for one in unknown) or 'none'}"
        raise InvalidError(msg, code="credential.malformed", unknown=unknown)
    return frozenset(Scope(word) for word in found)


def check_tenant(name: str) -> str:
    """Return *name* when a tenant may have it. Raises InvalidError (``credential.malformed``)."""
    if _TENANT.fullmatch(name) is None:
        msg = f"{name[:80]!r} is no tenant: 1-64 of a-z, 0-9, '.', '_', '-', beginning with a letter or a digit"
        raise InvalidError(msg, code="credential.malformed", tenant=name[:80])
    return name


@dataclass(frozen=True, slots=True)
class Credential:
    """Who asks, and what they may do.

    Attributes:
        id: what the credential is known by, in limits and logs; never the secret.
        trust: the ceiling of what is asserted under it; None for that of the actor's kind.
        expires_at: until when it counts, not included; None for good.
    """

    id: str
    tenant: str
    actor: str
    scopes: frozenset[Scope]
    on_behalf_of: str | None = None
    trust: Trust | None = None
    expires_at: datetime | None = None


class Verifier(Protocol):
    """What turns a bearer token into a credential: the keys of the store, or tokens that somebody else signs."""

    async def verify(self, token: str) -> Credential | None:
        """Return whose *token* this is, None when it is not of this verifier's form.

        Raises:
            ForbiddenError: codes ``credential.invalid``, ``credential.expired``.
        """
        ...


_READS: Final = (
    "nodes", "near_keys", "list_nodes", "predicates", "facts", "facts_by_id", "held", "timeline", "changes",
    "search_text", "match_text", "match_vector", "around", "generations", "feed", "wait", "verify", "image",
    "ledger_rows", "spaces", "lanes", "queued",
)  # fmt: skip
_ADMINISTERS: Final = (
    "create_space", "finish_fill", "begin_generation", "switch_generation", "drop_generation", "unembedded",
    "keep_vectors", "restore", "replay", "rebuild",
)  # fmt: skip
METHOD_SCOPES: Final[Mapping[str, Scope | None]] = {
    **dict.fromkeys(_READS, Scope.READ),
    **dict.fromkeys(_ADMINISTERS, Scope.ADMIN),
    **dict.fromkeys(("acquire", "renew", "release", "take", "extend", "hand_back"), Scope.RUN),
    "scrub": Scope.ERASE,
    # A writer that may not read can still ask what became of its write.
    **dict.fromkeys(("tenant", "info", "now", "receipt"), None),
}
"""What each method of a store takes, None for any scope. What is not here cannot be reached through a credential:
units go through `BoundMemory.submit`, a tenant is not changed, and nobody closes what others use."""


def _require(credential: Credential, scope: Scope, what: str) -> None:
    if scope not in credential.scopes:
        msg = f"{what} takes the scope {scope!s}, and this credential has {', '.join(sorted(credential.scopes))}"
        raise ForbiddenError(msg, code="credential.scope", scope=str(scope))


class _Tried:
    """Keeps that something was tried which the credential does not allow, as far as that can be kept.

    Shared by the handles of one request: what it may not read it is refused many times, and one row tells of it.
    """

    def __init__(self, store: GraphStore, credential: Credential, ids: IdSource) -> None:
        self._store = store
        self._credential = credential
        self._ids = ids
        self._read: str | None = None

    async def read(self, name: str, space: str, error: ForbiddenError) -> None:
        """Keep that *name* was refused, the first time, and give the error its receipt."""
        if self._read is None:
            self._read = self._ids.new()
            await self.keep(self._read, space, error, body_digest(["read", name]))
        error.details.setdefault("receipt", self._read)

    async def keep(self, receipt: str, space: str, error: LatewoodError, body: bytes) -> None:
        """Keep a refusal under *receipt*."""
        COUNTS.refused(error.code)
        tried = Refusal(receipt, space, error.code, self._credential.actor, body, error.message)
        with contextlib.suppress(LatewoodError):
            await self._store.refuse(tried)


class _ScopedStore:
    """A store as far as a credential reaches."""

    def __init__(self, store: GraphStore, credential: Credential, tried: _Tried) -> None:
        self._store = store
        self._credential = credential
        self._tried = tried

    def __getattr__(self, name: str) -> Any:
        if name not in METHOD_SCOPES:
            raise AttributeError(name)
        scope = METHOD_SCOPES[name]
        if scope is None or scope in self._credential.scopes:
            return getattr(self._store, name)

        async def refused(*given: object, **_more: object) -> Any:
            try:
                _require(self._credential, scope, "this")
            except ForbiddenError as error:
                await self._tried.read(name, given[0] if given and isinstance(given[0], str) else "default", error)
                raise

        return refused


class SystemMemory(Memory):
    """A handle on what the system keeps for itself: the keys. Made by what looks after them, and by nothing else."""

    def __init__(self, memory: Memory) -> None:
        """Reach into the store behind *memory*."""
        engine = memory._engine  # noqa: SLF001 - a memory itself
        super().__init__(
            engine, space="default", by=None, session=None, trust=None, store=engine.store.for_tenant(SYSTEM_TENANT)
        )

    @property
    def clock(self) -> Clock:
        """What time it is."""
        return self._engine.clock


class BoundMemory(Memory):
    """A memory for the bearer of a credential: their tenant, their actor, their scopes, and nothing else."""

    def __init__(
        self, memory: Memory, credential: Credential, *, space: str | None = None, by: str | None = None,
        session: str | None = None, trust: Trust | None = None, tried: _Tried | None = None,
    ) -> None:  # fmt: skip
        """Bind the store behind *memory* to *credential*; *by* is held against its actor when something is written."""
        engine = memory._engine  # noqa: SLF001 - a memory itself
        # From the engine, so that not even a handle that was bound before lends its tenant.
        self._whole = engine.store.for_tenant(credential.tenant)
        self._tried = tried or _Tried(self._whole, credential, engine.ids)
        ceilings = [one for one in (credential.trust, trust) if one is not None]
        super().__init__(
            engine, space=space or "default", by=by or credential.actor, session=session,
            trust=min(ceilings, key=lambda one: one.level) if ceilings else None,
            store=cast("GraphStore", _ScopedStore(self._whole, credential, self._tried)),
        )  # fmt: skip
        self._credential = credential

    @property
    def credential(self) -> Credential:
        """Whose handle this is."""
        return self._credential

    def require(self, scope: Scope, what: str) -> None:
        """Refuse *what* without *scope*. Raises ForbiddenError (``credential.scope``)."""
        _require(self._credential, scope, what)

    def within(
        self, *, space: str | None = None, by: str | None = None, session: str | None = None,
        trust: Trust | None = None, tenant: str | None = None,
    ) -> BoundMemory:  # fmt: skip
        """Return another handle of the same credential.

        Raises:
            ForbiddenError: code ``credential.actor`` for another tenant than its own; another actor is refused when
                it writes.
        """
        if tenant not in (None, self._credential.tenant):
            raise ForbiddenError("a credential reaches its own tenant only", code="credential.actor")
        ceilings = [one for one in (self._ceiling, trust) if one is not None]
        return BoundMemory(
            self, self._credential, space=space or self._space, by=by or self._by, session=session or self._session,
            trust=min(ceilings, key=lambda one: one.level) if ceilings else None, tried=self._tried,
        )  # fmt: skip

    def _check_actor(self, by: str | None) -> None:
        if by not in (None, self._credential.actor):
            msg = f"this credential writes as {self._credential.actor}, not as {by[:80]!r}; leave the actor out"
            raise ForbiddenError(msg, code="credential.actor", actor=self._credential.actor)

    def unit(
        self, commands: Sequence[Command], body: object, *, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, expects: Sequence[Expect] = (),
        idempotency_key: str | None = None, history: History | None = None,
    ) -> Unit:  # fmt: skip
        """Make a unit; one in another name than the credential's is refused when it is handed in."""
        made = super().unit(
            commands, body, by=by, session=session, source=source, trust=trust, expects=expects,
            idempotency_key=idempotency_key, history=history,
        )  # fmt: skip
        return replace(made, actor=ActorSpec(made.actor.key, self._credential.on_behalf_of))

    async def submit(self, unit: Unit) -> Receipt:
        """Keep a unit.

        Raises:
            ForbiddenError: codes ``credential.scope``, ``credential.actor``; ``details["receipt"]`` names the refusal.
            RefusedError, UnavailableError: as `Memory.submit` does.
        """
        await self._admit(unit)
        return await self._engine.submit(self._whole, unit)

    async def submit_many(self, units: Sequence[Unit]) -> tuple[Receipt, ...]:
        """Keep units in order. Raises as `submit` does."""
        for unit in units:
            await self._admit(unit)
        return await self._engine.submit_many(self._whole, units)

    async def _admit(self, unit: Unit) -> None:
        """Refuse a unit that the credential does not allow, and keep that it was tried, as far as that can be kept."""
        try:
            self._check_unit(unit)
        except ForbiddenError as error:
            error.details.setdefault("receipt", unit.id)
            await self._tried.keep(unit.id, unit.space, error, unit.body)
            raise

    async def note_refusal(self, error: LatewoodError, body: bytes) -> None:
        """Keep that what was sent, of which *body* is the digest, was not taken; give the error its receipt."""
        receipt = self.ids.new()
        error.details["receipt"] = receipt
        await self._tried.keep(receipt, self.space, error, body)

    def reporter(self, *, space: str | None = None) -> Reporter:
        """Return a handle that records what others did, as an agent framework's telemetry tells it.

        Raises:
            ForbiddenError: code ``credential.scope`` without the scope run.
        """
        self.require(Scope.RUN, "recording runs")
        return Reporter(self, self._credential, space=space or self._space, tried=self._tried)

    def _check_unit(self, unit: Unit) -> None:
        self._check_actor(unit.actor.key)
        if erases(unit):
            self.require(Scope.ERASE, "erasing")
        elif unit.ledger == "execution":
            self.require(Scope.RUN, "recording runs")
        else:
            self.require(Scope.WRITE, "writing")

    async def close(self) -> None:
        """Do nothing: the store is others' too."""


class Reporter(BoundMemory):
    """Records runs in the names of the agents that ran, believed no further than the credential is."""

    def unit(
        self, commands: Sequence[Command], body: object, *, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, expects: Sequence[Expect] = (),
        idempotency_key: str | None = None, history: History | None = None,
    ) -> Unit:  # fmt: skip
        """Make a unit in the name of *by*."""
        return Memory.unit(
            self, commands, body, by=by, session=session, source=source,
            trust=min(self._trust(self._credential.actor, None), trust or Trust.SYSTEM, key=lambda one: one.level),
            expects=expects, idempotency_key=idempotency_key, history=history,
        )  # fmt: skip

    def _check_unit(self, unit: Unit) -> None:
        if erases(unit):
            raise ForbiddenError("a report erases nothing", code="credential.scope")
        self.require(Scope.RUN, "recording runs")
