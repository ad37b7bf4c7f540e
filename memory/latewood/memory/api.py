"""Memory: the one door. Every surface (GraphQL, MCP, CLI) calls these verbs and nothing below them."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from latewood.graph_schema.clock import Clock, Micros, to_micros
from latewood.graph_schema.commands import (
    ActorSpec,
    Assert,
    Command,
    End,
    Expect,
    History,
    Ref,
    Retract,
    SourceSpec,
    Unit,
)
from latewood.graph_schema.decisions import (
    STATUS,
    SUPERSEDES,
    DecisionDraft,
    DecisionText,
    decision_commands,
    edge,
    status_assert,
)
from latewood.graph_schema.errors import ConflictError, InvalidError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.given import checked
from latewood.graph_schema.ids import IdSource, is_id, normal_id
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Alternative, DecisionStatus, NodeKind, Trust
from latewood.graph_schema.packs.loader import Pack
from latewood.graph_schema.values import Scalar, Value, normal_key
from latewood.ingestion.embedding.port import Embedder
from latewood.memory import duplicates as looking
from latewood.memory import erasing, identity, retracting
from latewood.memory.handles import Opening
from latewood.memory.opening import Engine, open_engine
from latewood.memory.reader import Identified, Reader, Written, micros_or_none, said
from latewood.memory.reindexing import ReindexReport, reindex
from latewood.memory.settings import Sync
from latewood.memory.spans import spanned
from latewood.memory.views import Views
from latewood.storage.names import session_key
from latewood.storage.port import FactQuery, GraphStore

__all__ = ["Memory"]

_KIND_TRUST: Final[Mapping[str, Trust]] = {"human": Trust.HUMAN, "system": Trust.SYSTEM}


def _ref(thing: Identified, *, kind: NodeKind = NodeKind.ENTITY, create: bool = True) -> Ref:
    if not isinstance(thing, str):
        return Ref(id=thing.id)
    thing = normal_id(thing)
    return Ref(id=thing) if is_id(thing) else Ref(key=thing, kind=kind, create=create)


def _session_ref(session: str) -> Ref:
    return Ref(key=session_key(session), kind=NodeKind.SESSION, type="session", name=session)


def _shorten(text: str, chars_max: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


@checked
class Memory(Reader):
    """A handle on one space of a tenant, with who writes through it.

    ``async with Memory.open("latewood.db", by="agent:planner") as memory: ...``
    """

    def __init__(
        self, engine: Engine, *, space: str, by: str | None, session: str | None, trust: Trust | None,
        store: GraphStore | None = None,
    ) -> None:  # fmt: skip
        """Bind *engine*; use `open` or `within`."""
        embedding = engine.embedding
        super().__init__(store or engine.store, space, None if embedding is None else embedding.query)
        self._engine = engine
        self._by = by
        self._session = session
        self._ceiling = trust

    @classmethod
    def open(
        cls, url: str = "latewood.db", *, space: str = "default", by: str | None = None, session: str | None = None,
        trust: Trust | None = None, tenant: str = "local", packs: Sequence[Pack | str] = (), sync: Sync = "full",
        clock: Clock | None = None, ids: IdSource | None = None, embedder: str | Embedder | None = None,
    ) -> Opening:  # fmt: skip
        """Open a store for `async with`, or `await` it and `close` it yourself.

        Args:
            url: a file path, ``sqlite:///path``, ``neo4j://user:password@host:7687/database`` or ``reference:``.
            space: which named part of the data; ``default`` is always there.
            by: the actor who writes, such as ``human:ada`` or ``agent:planner``; without one the handle only reads
                unless a verb is given its own.
            trust: the ceiling of this handle's assertions; human for a human actor, system for a system, else agent.
            packs: packs, or files of them; without any those of LATEWOOD_PACKS.
            sync: whether a commit waits for the disk (full) or may lose the last ones with the power (normal).
            embedder: what makes the vectors that recall finds by meaning with: ``light``, ``none``,
                ``sentence-transformers:NAME``, ``openai:MODEL@BASE_URL`` or one of your own; else as
                LATEWOOD_EMBEDDER says, else light. It never fails a write.
        """

        async def start() -> Memory:
            engine = await open_engine(
                url, tenant=tenant, packs=packs, sync=sync, clock=clock, ids=ids, embedder=embedder
            )
            return cls(engine, space=space, by=by, session=session, trust=trust)

        return Opening(start)

    def within(
        self, *, space: str | None = None, by: str | None = None, session: str | None = None,
        trust: Trust | None = None, tenant: str | None = None,
    ) -> Memory:  # fmt: skip
        """Return another handle over the same engine; what is not given stays as it is."""
        store = self._store if tenant is None else self._store.for_tenant(tenant)
        return Memory(
            self._engine, space=space or self._space, by=by or self._by, session=session or self._session,
            trust=trust or self._ceiling, store=store,
        )  # fmt: skip

    async def close(self) -> None:
        """Commit what waits, then let go of the store. Closes every handle over the same engine."""
        await self._engine.close()

    async def __aenter__(self) -> Self:
        """Enter the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    @property
    def ids(self) -> IdSource:
        """Where new ids come from."""
        return self._engine.ids

    @property
    def views(self) -> Views:
        """What looks for patterns keep between two looks."""
        return self._engine.views

    @property
    def waiting(self) -> int:
        """How many writes wait to be committed, of this process."""
        return self._engine.journal.waiting

    @property
    def names_actor(self) -> bool:
        """Whether the handle has an actor of its own, so that it may write."""
        return self._by is not None

    def _reads_as(self) -> str | None:
        return self._by

    def default_actor(self) -> str:
        """Return the handle's actor, or the machine's user as a human."""
        return self._by or f"human:{getpass.getuser()}"

    async def write(
        self, commands: Sequence[Command], body: object, *, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, expects: Sequence[Expect] = (),
        idempotency_key: str | None = None,
    ) -> Receipt:  # fmt: skip
        """Keep *commands* as one unit; the other verbs come through here.

        Args:
            body: what the caller asked for, as JSON: with the same *idempotency_key* it must be the same.

        Raises:
            RefusedError: the unit cannot be kept; ``details["receipt"]`` names the refusal.
            UnavailableError: nothing was accepted.
        """
        made = self.unit(
            commands, body, by=by, session=session, source=source, trust=trust, expects=expects,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        return await self.submit(made)

    def unit(
        self, commands: Sequence[Command], body: object, *, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, expects: Sequence[Expect] = (),
        idempotency_key: str | None = None, history: History | None = None,
    ) -> Unit:  # fmt: skip
        """Make the unit that `write` would keep, for `submit` and `submit_many`.

        Raises:
            InvalidError: code ``actor.missing``.
        """
        actor = by or self._by
        if actor is None:
            msg = "a write needs an actor: say `by` whom, such as human:you, with it or when the memory is opened"
            raise InvalidError(msg, code="actor.missing")
        spec = SourceSpec(origin=source) if isinstance(source, str) else source or SourceSpec()
        return Unit(
            id=self._engine.ids.new(), space=self._space, actor=ActorSpec(actor), trust=self._trust(actor, trust),
            body=body_digest(body), commands=tuple(commands), op=idempotency_key, session=session or self._session,
            source=spec, expects=tuple(expects), history=history,
        )  # fmt: skip

    async def submit(self, unit: Unit) -> Receipt:
        """Keep a unit that ingestion made. Raises as `write` does."""
        return await self._engine.submit(self._store, unit)

    async def submit_many(self, units: Sequence[Unit]) -> tuple[Receipt, ...]:
        """Keep units in order, grouped into few transactions. Raises for the first that is not kept."""
        return await self._engine.submit_many(self._store, units)

    def _trust(self, actor: str, asked: Trust | None) -> Trust:
        own = _KIND_TRUST.get(normal_key(actor.partition(":")[0]), Trust.AGENT)
        return min((own, self._ceiling or own, asked or own), key=lambda trust: trust.level)

    def _expect(self, node: Identified, version: int | None) -> tuple[Expect, ...]:
        return () if version is None else (Expect(_ref(node), version),)

    @spanned("create_memory")
    async def decide(
        self, choice: str, *, because: str | None, title: str | None = None, question: str | None = None,
        about: Sequence[Identified] = (), evidence: Sequence[Identified] = (), trigger: Sequence[Identified] = (),
        alternatives: Sequence[Alternative] = (), supersedes: Sequence[Identified] = (),
        consequences: str | None = None, confidence: float | None = None, expected: str | None = None,
        status: DecisionStatus = DecisionStatus.ACCEPTED,
        key: str | None = None, decided_at: datetime | None = None, decided_by: Sequence[Identified] = (),
        by: str | None = None, session: str | None = None, source: str | SourceSpec | None = None,
        idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Record a decision with its reasons.

        Args:
            choice: what was chosen; *title* defaults to its beginning.
            because: the rationale.
            about: entities it concerns, by key or id; declared when new.
            evidence: facts, decisions or sources that it rests on, pinned to what is known now.
            supersedes: decisions it takes the place of; when it is accepted, they become superseded in the same unit.
            decided_by: who decided, when that is not who writes.

        Raises:
            RefusedError: malformed input, an unknown id, a taken key.
        """
        actor = by or self._by
        session = session or self._session
        deciders = [_ref(one, kind=NodeKind.ACTOR) for one in decided_by]
        if not deciders and actor is not None:
            deciders = [Ref(key=actor, kind=NodeKind.ACTOR)]
        old = [await self.decision_id(one) for one in supersedes]
        decision_id = self._engine.ids.new()
        text = DecisionText(
            title=_shorten(title or choice), question=question, choice=choice, rationale=because,
            consequences=consequences, confidence=confidence, expected_outcome=expected,
            alternatives=tuple(alternatives),
        )  # fmt: skip
        draft = DecisionDraft(
            id=decision_id, text=text, status=status, key=key, valid_from=micros_or_none(decided_at),
            about=[_ref(one) for one in about], evidence=[_ref(one, create=False) for one in evidence],
            triggered_by=[_ref(one, create=False) for one in trigger], decided_by=deciders,
            supersedes=[Ref(id=one) for one in old],
            session=None if session is None else _session_ref(session),
        )  # fmt: skip
        commands = decision_commands(draft, self._engine.ids)
        if status is DecisionStatus.ACCEPTED:
            # A mere proposal takes nobody's place yet.
            commands += [await self._superseded(one, draft.valid_from) for one in old]
        body = [
            "decide", text.document(), status.value, key, micros_or_none(decided_at), session,
            *([said(one) for one in group] for group in (about, evidence, trigger, old, decided_by)),
        ]  # fmt: skip
        receipt = await self.write(
            commands, body, by=by, session=session, source=source, idempotency_key=idempotency_key
        )
        return Written(receipt.subject or decision_id, receipt)

    @spanned("create_memory")
    async def observe(
        self, subject: Identified, predicate: str, value: Scalar, *, unit: str | None = None,
        valid_from: datetime | None = None, valid_to: datetime | None = None, as_written: str | None = None,
        quote: str | None = None, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, expected_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Assert that *predicate* of *subject* is *value*, from *valid_from* (now) until *valid_to* (open).

        A given *valid_to* makes it a "during": after it the wider assertion holds again.

        Raises:
            RefusedError: a malformed value or time, an unknown id, a version that moved, a strict space.
        """
        given = Value.of(value, unit, where=f"the value of {predicate!r}")
        command = Assert(
            self._engine.ids.new(), _ref(subject), predicate, given, valid_from=micros_or_none(valid_from),
            valid_to=micros_or_none(valid_to), as_written=as_written, quote=quote,
        )  # fmt: skip
        body = [
            "observe", said(subject), predicate, given.kind, given.data, given.unit, micros_or_none(valid_from),
            micros_or_none(valid_to), as_written, quote,
        ]  # fmt: skip
        return await self._one(
            command, body, by=by, session=session, source=source, trust=trust,
            expects=self._expect(subject, expected_version), idempotency_key=idempotency_key,
        )  # fmt: skip

    @spanned("create_memory")
    async def relate(
        self, subject: Identified, predicate: str, target: Identified, *, valid_from: datetime | None = None,
        valid_to: datetime | None = None, quote: str | None = None, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, expected_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Assert that *subject* stands in the relation *predicate* to *target*. Raises as `observe` does."""
        command = Assert(
            self._engine.ids.new(), _ref(subject), predicate, object=_ref(target), relation=True,
            valid_from=micros_or_none(valid_from), valid_to=micros_or_none(valid_to), quote=quote,
        )  # fmt: skip
        period = [micros_or_none(valid_from), micros_or_none(valid_to)]
        body = ["relate", said(subject), predicate, said(target), *period, quote]
        return await self._one(
            command, body, by=by, session=session, source=source, trust=trust,
            expects=self._expect(subject, expected_version), idempotency_key=idempotency_key,
        )  # fmt: skip

    @spanned("update_memory")
    async def correct(
        self, fact: Identified, value: Scalar | None = None, *, target: Identified | None = None,
        unit: str | None = None, valid_from: datetime | None = None, valid_to: datetime | None = None,
        because: str | None = None, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Say that *fact* was never so, and what was: a retraction and an assertion in one unit.

        The period stays the old one where *valid_from* and *valid_to* are not given.

        Raises:
            RefusedError: an unknown or retracted fact; ``trust.too_low`` when it is of a higher tier.
        """
        old = await self.fact(said(fact))
        if (value is None) == (target is None):
            raise InvalidError("a correction needs a value or a target, and not both", code="query.invalid")
        given = None if value is None else Value.of(value, unit, where=f"the value of {old.predicate!r}")
        start = micros_or_none(valid_from) if valid_from is not None else to_micros(old.valid_from)
        end = micros_or_none(valid_to) if valid_to is not None else micros_or_none(old.valid_to)
        assertion = Assert(
            self._engine.ids.new(), Ref(id=old.subject_id), old.predicate, given,
            object=None if target is None else _ref(target), valid_from=start, valid_to=end,
            known=valid_from is not None or old.valid_from_known, replaces=old.id,
        )  # fmt: skip
        retraction = Retract(self._engine.ids.new(), old.id, because)
        body = [
            "correct", old.id, None if given is None else [given.kind, given.data, given.unit],
            None if target is None else said(target), micros_or_none(valid_from), micros_or_none(valid_to), because,
        ]  # fmt: skip
        receipt = await self.write(
            [retraction, assertion], body, by=by, session=session, source=source, idempotency_key=idempotency_key
        )
        return Written(receipt.facts[0], receipt)

    @spanned("update_memory")
    async def end(
        self, fact: Identified, *, at: datetime | None = None, because: str | None = None, by: str | None = None,
        session: str | None = None, source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Say that *fact* stopped being true at *at* (now), and nothing followed it.

        Raises:
            ConflictError: code ``fact.not_holding`` when it does not hold then; the message names what does.
        """
        command = End(self._engine.ids.new(), said(fact), micros_or_none(at), because)
        return await self._one(
            command, ["end", said(fact), micros_or_none(at), because], by=by, session=session, source=source,
            idempotency_key=idempotency_key,
        )  # fmt: skip

    @spanned("update_memory")
    async def retract(
        self, fact: Identified, *, because: str | None = None, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Say that *fact* was never true: what it displaced holds again. `Written.id` is the retracted fact's.

        Raises:
            RefusedError: an unknown or retracted fact; ``trust.too_low`` when it is of a higher tier.
        """
        command = Retract(self._engine.ids.new(), said(fact), because)
        receipt = await self.write(
            [command], ["retract", said(fact), because], by=by, session=session, source=source,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        return Written(said(fact), receipt)

    retract_all = spanned("update_memory")(retracting.retract_all)
    erase = spanned("delete_memory")(erasing.erase)
    merge = identity.merge
    split = identity.split
    alias = identity.alias
    duplicates = looking.duplicates
    propose_merges = looking.propose_merges

    @spanned("update_memory")
    async def supersede(
        self, old: Identified, new: Identified, *, at: datetime | None = None, by: str | None = None,
        session: str | None = None, source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Let decision *new* take the place of *old*: the edge and the old one's status in one unit.

        Raises:
            NotFoundError: when one of them is no decision.
            ConflictError: code ``decision.cyclic`` when *old* already takes the place of *new*.
        """
        old_id, new_id = await self.decision_id(old), await self.decision_id(new)
        earlier = (await self.why(old_id)).predecessors
        if new_id == old_id or any(one.id == new_id for one in earlier):
            msg = f"{said(new)} cannot take the place of {said(old)}: it came before it in the same chain"
            raise ConflictError(msg, code="decision.cyclic", old=old_id, new=new_id)
        ids = self._engine.ids
        start = micros_or_none(at)
        commands: list[Command] = [
            edge(ids, Ref(id=new_id), SUPERSEDES, Ref(id=old_id), valid_from=start),
            await self._superseded(old_id, start),
        ]
        receipt = await self.write(
            commands, ["supersede", old_id, new_id, micros_or_none(at)], by=by, session=session, source=source,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        return Written(receipt.facts[0], receipt)

    async def _superseded(self, old_id: str, at: Micros | None) -> Assert:
        """Give a decision the status superseded from *at* on, but not before the status that it takes the place of."""
        held = await self._store.facts(self._space, FactQuery(subjects=[old_id], predicates=[STATUS]))
        start = at if at is None or not held else max(at, to_micros(held[0].valid_from))
        return status_assert(self._engine.ids, Ref(id=old_id), DecisionStatus.SUPERSEDED, valid_from=start)

    async def _one(
        self, command: Assert | End, body: object, *, by: str | None, session: str | None,
        source: str | SourceSpec | None, trust: Trust | None = None, expects: Sequence[Expect] = (),
        idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        receipt = await self.write(
            [command], body, by=by, session=session, source=source, trust=trust, expects=expects,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        return Written(receipt.facts[0], receipt)

    async def reindex(
        self, embedder: str | Embedder | None = None, *, keep_old: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> ReindexReport:  # fmt: skip
        """Make the vectors that are missing; with another embedder all of them anew, and switch to them when done.

        Others go on reading and writing. It may be stopped at any time; the next run goes on where it stopped.

        Args:
            embedder: as `open` takes it; the handle's own when it is not given.
            keep_old: keep the vectors of the model before.
            progress: called with (vectors made, vectors that were missing).

        Raises:
            InvalidError: code ``setting.invalid`` where there is no embedder.
            LatewoodError: code ``embedder.*``; what was made until then is kept.
        """
        return await reindex(
            self._store, self._space, self._engine.embedding, embedder, keep_old=keep_old, progress=progress
        )
