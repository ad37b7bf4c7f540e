"""Where runs are written and read: nodes and facts of the execution ledger, through the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, cast

from latewood.execution.words import Claim, Run, RunStatus, Step, StepStatus, place_of
from latewood.graph_schema.clock import Clock, Micros, from_micros, iso, parse_instant, to_micros
from latewood.graph_schema.commands import ActorSpec, Command, Expect, Guard, Ref, Unit
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError, NotFoundError, UnavailableError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import IdSource, is_id, normal_id
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Fact, Node, NodeKind, Trust
from latewood.graph_schema.values import Json
from latewood.storage.bell import Bell
from latewood.storage.port import FactQuery, GraphStore, NodeQuery, Page

__all__ = ["STEPS_MAX", "Keeper", "Logbook", "due_of", "ref"]

STEPS_MAX: Final = 10_000
"""Most steps of one run; a longer one hands over to child workflows."""
_PAGES_MAX: Final = 20
"""Most reads for one page of runs."""
_READ_AT_ONCE: Final = 1_000
_KEEP_TRIES_MAX: Final = 6
_KEEP_WAIT_FIRST_S: Final = 0.05
_RUN_FACTS: Final = (
    "status",
    "run.claim",
    "run.wake",
    "run.awaits",
    "run.result",
    "run.cancel",
    "run.version",
    "run.terms",
    "run.deadline",
    "part_of",
    "forked_from",
)
_STEP_FACTS: Final = (
    "status", "step.output", "step.returned", "step.input", "step.read", "step.answer", "error", "usage", "has_attempt",
    "step.then", "step.vouched",
)  # fmt: skip
_READS: Final = ("step.input", "step.read")


class Keeper(Protocol):
    """Keeps units: the journal, or a door before it that knows what its caller may."""

    async def submit(self, store: GraphStore, unit: Unit) -> Receipt:
        """Keep *unit*. Raises as `Journal.submit` does."""
        ...


@dataclass(frozen=True, slots=True)
class Logbook:
    """The runs of one space, and who writes them.

    Attributes:
        actor: the key of who writes; empty for who only reads.
        trust: of what is written, already cut to the credential's ceiling.
        bell: rung when the journal keeps messages.
    """

    store: GraphStore
    journal: Keeper
    space: str
    clock: Clock
    ids: IdSource
    actor: str
    trust: Trust = Trust.AGENT
    session: str | None = None
    on_behalf_of: str | None = None
    bell: Bell = field(default_factory=Bell)

    async def keep(
        self, commands: Sequence[Command], *, body: Json, guard: Guard | None = None, expects: Sequence[Expect] = (),
        op: str | None = None,
    ) -> Receipt:  # fmt: skip
        """Keep *commands* as one unit of the execution ledger, once, or once for *op* where that is given.

        A store that is gone for a moment is asked again, with the same key: what was kept then is not kept twice.

        Raises:
            RefusedError: it cannot be kept: the lease is lost, the version moved, a text is too long.
            UnavailableError: the store stayed away.
        """
        if not self.actor:
            msg = "a write needs an actor: say `by` whom, such as human:you"
            raise InvalidError(msg, code="actor.missing")
        unit_id = self.ids.new()
        unit = Unit(
            id=unit_id, space=self.space, actor=ActorSpec(self.actor, self.on_behalf_of), trust=self.trust,
            body=body_digest(body), commands=tuple(commands), ledger="execution",
            op=op or f"latewood.execution:{unit_id}", session=self.session, expects=tuple(expects), guard=guard,
        )  # fmt: skip
        wait_s = _KEEP_WAIT_FIRST_S
        for _ in range(_KEEP_TRIES_MAX - 1):
            try:
                return await self.journal.submit(self.store, unit)
            except UnavailableError as error:
                if error.code == "store.closed":
                    raise
            await asyncio.sleep(wait_s)
            wait_s *= 2
        return await self.journal.submit(self.store, unit)

    async def run(self, name: str) -> Run:
        """Return a run by its id or key. Raises NotFoundError (``run.unknown``)."""
        name = normal_id(name)
        keys = [] if is_id(name) else [name, f"run:{name}"]
        found = await self.store.nodes(self.space, ids=[] if keys else [name], keys=keys)
        runs = await self._runs_of([node for node in found.values() if node.kind is NodeKind.RUN][:1])
        if not runs:
            msg = f"space {self.space!r} has no run {name[:80]!r} of a workflow; `runs` lists them"
            for node in found.values():
                if node.kind is NodeKind.RUN:
                    msg = f"run {name[:80]!r} was taken from a trace or a transcript: look at it as an entity"
                if node.erased:
                    msg = f"run {name[:80]!r} was erased; `timeline` shows what is left of it"
            raise NotFoundError(msg, code="run.unknown", run=name[:80])
        return runs[0]

    async def runs(
        self, *, statuses: Sequence[RunStatus] = (), workflow: str | None = None, first: int = 50,
        after: str | None = None, newest: bool = True,
    ) -> Page[Run]:  # fmt: skip
        """List runs of workflows; those that imported traces brought are not among them."""
        wanted = frozenset(statuses or RunStatus)
        where = {"status": [str(status) for status in RunStatus if status in wanted]}
        items: list[Run] = []
        for _ in range(_PAGES_MAX):
            left = first - len(items)
            query = NodeQuery(NodeKind.RUN, type=workflow, where=where, first=left, after=after, newest=newest)
            page = await self.store.list_nodes(self.space, query)
            # A run that moved on since it was listed is none of these any more: nobody may take up what has ended.
            # Others come in its place: a page with nothing in it reads as if there were none.
            items += [run for run in await self._runs_of(page.items) if run.status in wanted]
            after = page.next
            if after is None or len(items) >= first:
                break
        return Page(tuple(items), after)

    async def runs_by_id(self, ids: Sequence[str]) -> tuple[Run, ...]:
        """Return those of these runs that are there."""
        return await self._runs_of(list((await self.store.nodes(self.space, ids=ids)).values()))

    async def run_by_id(self, run_id: str) -> Run | None:
        """Return a run; None where it was erased."""
        return next(iter(await self.runs_by_id([run_id])), None)

    async def _runs_of(self, nodes: Sequence[Node]) -> tuple[Run, ...]:
        ours = [node for node in nodes if "workflow" in node.attributes]
        if not ours:
            return ()
        facts = await self._facts([node.id for node in ours], _RUN_FACTS)
        return tuple(_run(node, facts.get(node.id, [])) for node in ours)

    async def _facts(self, subjects: Sequence[str], predicates: Sequence[str]) -> dict[str, list[Fact]]:
        found: dict[str, list[Fact]] = {}
        for begin in range(0, len(subjects), _READ_AT_ONCE):
            query = FactQuery(subjects=subjects[begin : begin + _READ_AT_ONCE], predicates=predicates)
            for fact in await self.store.facts(self.space, query):
                found.setdefault(fact.subject_id, []).append(fact)
        return found

    async def steps(self, run_id: str, *, whole: bool = False) -> tuple[Step, ...]:
        """Return a run's steps by their places; *whole* for who goes on from there: what is not known is done again.

        Raises:
            ConflictError: *whole*, and one of them was erased, or what it returned (``run.erased``).
            LimitError: above `STEPS_MAX`.
        """
        edges = await self.store.facts(self.space, FactQuery(subjects=[run_id], predicates=["has_step"]))
        if len(edges) > STEPS_MAX:
            msg = f"run {run_id} has {len(edges):,} steps, more than {STEPS_MAX:,}; split it into child workflows"
            raise LimitError(msg, limit="STEPS_MAX", maximum=STEPS_MAX)
        steps = await self.steps_by_id([edge.object_id for edge in edges if edge.object_id is not None])
        if whole and (gone := len({edge.object_id for edge in edges} - {one.id for one in steps if not one.erased})):
            msg = f"what {gone:,} steps of run {run_id} did was erased: going on would do it again; start another run"
            raise ConflictError(msg, code="run.erased", run=run_id)
        return steps

    async def step_ids(self, run_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the ids of these runs' steps, in no order."""
        facts = await self._facts(run_ids, ("has_step",))
        return {
            run: [fact.object_id for fact in facts.get(run, []) if fact.object_id is not None] for run in run_ids
        }  # fmt: skip

    async def steps_by_id(self, ids: Sequence[str], *, outputs: bool = True) -> tuple[Step, ...]:
        """Return those of these steps that are there, by their places; without *outputs* what they returned is unread.

        Their versions are read before what they say: who hands a version back as expected is told of what came since.
        """
        nodes: list[Node] = []
        for begin in range(0, len(ids), _READ_AT_ONCE):
            part = await self.store.nodes(self.space, ids=ids[begin : begin + _READ_AT_ONCE])
            nodes += [node for node in part.values() if "place" in node.attributes]
        wanted = [name for name in _STEP_FACTS if outputs or name not in ("step.output", "step.returned")]
        facts = await self._facts([node.id for node in nodes], wanted)
        steps = [_step(node, facts.get(node.id, [])) for node in nodes]
        returned = {
            fact.subject_id: fact.object_id
            for said in facts.values() for fact in said if fact.predicate == "step.returned" and fact.object_id
        }  # fmt: skip
        if returned:
            held = await self.contents(list(returned.values()))
            steps = [
                replace(step, output=held.get(returned[step.id]), erased=returned[step.id] not in held)
                if step.id in returned else step
                for step in steps
            ]  # fmt: skip
        return tuple(sorted(steps, key=lambda step: step.place))

    async def contents(self, ids: Sequence[str]) -> dict[str, Json]:
        """Return what these blobs hold, by their ids; one that was erased is left out."""
        found: dict[str, Json] = {}
        for begin in range(0, len(ids), _READ_AT_ONCE):
            nodes = await self.store.nodes(self.space, ids=ids[begin : begin + _READ_AT_ONCE])
            found |= {node.id: node.attributes["content"] for node in nodes.values() if "content" in node.attributes}
        return found

    async def run_of(self, step_id: str) -> str:
        """Return the id of the run that a step was first a part of. Raises NotFoundError (``run.unknown``)."""
        edges = await self.store.facts(self.space, FactQuery(objects=[step_id], predicates=["has_step"]))
        if not edges:
            raise NotFoundError(f"{step_id!r:.80} is no step of a run", code="run.unknown")
        return edges[0].subject_id

    async def attempts(self, step_ids: Sequence[str]) -> dict[str, list[Mapping[str, Json]]]:
        """Return what is known of each try of these steps, in order; an instant as text, as in all JSON."""
        edges = (await self._facts(step_ids, ("has_attempt",))).items()
        targets = [fact.object_id for _, facts in edges for fact in facts if fact.object_id is not None]
        nodes: dict[str, Node] = {}
        for begin in range(0, len(targets), _READ_AT_ONCE):
            nodes |= await self.store.nodes(self.space, ids=targets[begin : begin + _READ_AT_ONCE])
        tried = {
            step: [_tried(nodes[fact.object_id].attributes) for fact in facts if fact.object_id in nodes]
            for step, facts in edges
        }
        for of_step in tried.values():
            of_step.sort(key=lambda one: _int(one.get("number")) or 0)
        return tried


def due_of(tried: Sequence[Mapping[str, Json]]) -> Micros | None:
    """Return when the try after these is due; None: now, or never."""
    return _when(tried[-1].get("retry_at")) if tried else None


def _tried(spec: Mapping[str, Json]) -> Mapping[str, Json]:
    at = spec.get("retry_at")
    return {**spec, "retry_at": iso(from_micros(at))} if isinstance(at, int) else spec


def _when(told: Json) -> Micros | None:
    """Read an instant of a node's attributes: as text, or in microseconds, as it was written once."""
    return to_micros(parse_instant(told)) if isinstance(told, str) else _int(told)


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _document(fact: Fact | None) -> dict[str, Json] | None:
    if fact is None or fact.value is None or not isinstance(fact.value.data, dict):
        return None
    return cast("dict[str, Json]", fact.value.data)


def _object(value: Json) -> dict[str, Json] | None:
    return value if isinstance(value, dict) else None


def _words(fact: Fact | None) -> str | None:
    return None if fact is None or fact.value is None else str(fact.value.data)


def _instant(fact: Fact | None) -> Micros | None:
    if fact is None or fact.value is None:
        return None
    return to_micros(parse_instant(str(fact.value.data)))


def _awaits(fact: Fact | None) -> dict[str, float]:
    said = (_document(fact) or {}).get("groups")
    if not isinstance(said, dict):
        return {}
    return {group: float(lease_s) for group, lease_s in said.items() if isinstance(lease_s, int | float)}


def _vouched(fact: Fact | None) -> dict[str, Json] | None:
    word = _document(fact)
    return None if fact is None or word is None else {**word, "at": iso(fact.recorded_at)}


def _run(node: Node, facts: Sequence[Fact]) -> Run:
    said = {fact.predicate: fact for fact in facts}
    spec, claim = node.attributes, _document(said.get("run.claim"))
    terms = {**spec, **(_document(said.get("run.terms")) or {})}
    parent, forked, written = said.get("part_of"), said.get("forked_from"), _words(said.get("status"))
    # What it waited for last stays said of it; it is an instant to come only while it waits.
    wakes = said.get("run.wake") if written == RunStatus.WAITING else None
    later = said.get("run.deadline")
    return Run(
        id=node.id, workflow=str(spec["workflow"]), version=_words(said.get("run.version")) or str(spec["version"]),
        policy=str(terms.get("policy", "")), status=RunStatus(written) if written else RunStatus.REFUSED,
        owner=_text(terms.get("owner")), input=_object(spec.get("input")) or {}, started_at=node.recorded_at,
        deadline_at=_instant(later) or _when(spec.get("deadline_at")), timed_from=(later or node).recorded_at,
        wake_at=_instant(wakes), awaits=_awaits(said.get("run.awaits")),
        claim=None if not claim else Claim(
            str(claim.get("worker", "")), _int(claim.get("fence")) or 0, _int(claim.get("steps")) or 0,
            _int(claim.get("lost")) or 0,
        ),
        result=_document(said.get("run.result")) or {}, cancel=_document(said.get("run.cancel")) or None,
        parent=None if parent is None else parent.object_id,
        forked_from=None if forked is None else forked.object_id, amends=_text(spec.get("amends")),
        rules=_object(terms.get("rules")) or {},
        runner="agent" if spec.get("runner") == "agent" else "worker", node_version=node.version,
    )  # fmt: skip


def _step(node: Node, facts: Sequence[Fact]) -> Step:
    said = {fact.predicate: fact for fact in facts}
    # What was there at the end of a step that was written once is a part of its node (record 0087).
    spec, words = node.attributes, _words(said.get("error"))
    status = _words(said.get("status")) or _text(spec.get("status"))
    if status in (StepStatus.COMPLETED, StepStatus.DEGRADED):
        words = None  # What it failed with before it was resumed is told by its tries.
    output, wake_at = _document(said.get("step.output")), _when(spec.get("wake_at"))
    kind, _, message = (words or "").partition(": ")
    return Step(
        id=node.id, place=place_of(str(spec["place"])), name=node.name, sort=node.type, digest=str(spec.get("digest")),
        status=StepStatus(status) if status else StepStatus.STARTED,
        attempts=sum(fact.predicate == "has_attempt" for fact in facts),
        input=spec.get("input"),
        reads=tuple(fact.object_id for fact in facts if fact.predicate in _READS and fact.object_id is not None),
        output=spec.get("output") if output is None else output.get("value"),
        error=None if words is None else {"class": kind, "message": message},
        usage=_document(said.get("usage")), wake_at=wake_at, asked=_object(spec.get("asked")),
        answer=_document(said.get("step.answer")), child=_text(spec.get("child")),
        awaits=_object(spec.get("awaits")), then=_words(said.get("step.then")),
        vouched=_vouched(said.get("step.vouched")), node_version=node.version,
    )  # fmt: skip


def ref(node_id: str) -> Ref:
    """Name a node by its id."""
    return Ref(id=node_id)
