"""Patterns in the graph: what a look finds is kept as nodes that open, change, fade and end, and are never doubled.

A pattern's key is its kind, scope and predicate. Its words (size, error rate, period) are one fact, its status another,
and an edge leads to every fact that speaks for it; so what was believed before stays there to be asked for. A look that
finds what is kept already writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, cast

from latewood.graph_schema.clock import NOW, AsOf, from_micros, iso
from latewood.graph_schema.commands import Assert, Command, End, Expect, Ref, SourceSpec, Unit
from latewood.graph_schema.decisions import ABOUT, STATUS, edge
from latewood.graph_schema.errors import ConflictError, InvalidError, NotFoundError
from latewood.graph_schema.model import Fact, Node, NodeKind
from latewood.graph_schema.patterns import PatternKind, PatternReview, PatternStatus
from latewood.graph_schema.values import Json, Scalar, Value
from latewood.memory.api import Memory
from latewood.memory.reader import Identified, Reader, Written
from latewood.reasoning.patterns.looking import DETECTORS, Failed, Look, look
from latewood.reasoning.patterns.port import Detector, Finding, Skipped
from latewood.reasoning.patterns.reading import read_world
from latewood.storage.port import PAGE_MAX, FactQuery, NodeQuery, Page

__all__ = [
    "HOLDING",
    "DetectReport",
    "Pattern",
    "detect",
    "explain",
    "patterns",
    "review",
]

HOLDING: Final = (PatternStatus.OPEN, PatternStatus.FADING)
"""Where a pattern stands that is listed unless one asks otherwise."""
PATTERN: Final = "pattern"
EVIDENCED_BY: Final = "evidenced_by"
REVIEW: Final = "review"
REASON: Final = "reason"
_ACTOR: Final = "agent:patterns"
_EVIDENCE_MAX: Final = 800
"""Most edges to evidence, the latest; `support` counts all."""
_PATTERNS_MAX: Final = 100_000
_READ_PATTERNS: Final = 50
_LISTED_MAX: Final = 1_000
_WORDS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern as it is kept.

    Attributes:
        statement: one plain sentence with the numbers.
        family: how it was judged, and *judged* together with how many others.
        since, until: from its onset to the latest thing that spoke for it when the words were written.
        support: how many facts spoke for it.
        evidence: their ids; empty in a list.
        review: what a person made of it, and why (*reason*).
    """

    id: str
    key: str
    kind: PatternKind
    status: PatternStatus
    predicate: str
    statement: str
    family: str
    judged: int
    p: float | None
    q: float | None
    effect: float | None
    low: float | None
    high: float | None
    unit: str | None
    since: datetime
    until: datetime
    support: int
    detail: Mapping[str, Json]
    recorded_at: datetime
    version: int
    review: PatternReview | None = None
    reason: str | None = None
    about: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectReport:
    """What a look came to.

    Attributes:
        opened, changed, kept: statements of patterns that are new (or back), say something else, and are as they were.
        waiting: statements that hold for the first time: the next look decides.
        fading, ended, withdrawn: keys of patterns that no longer hold.
        looked: how many series were there.
        skipped: what could not be looked at and why, the first `_LISTED_MAX` of *skipped_count*.
    """

    opened: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    waiting: tuple[str, ...]
    fading: tuple[str, ...]
    ended: tuple[str, ...]
    withdrawn: tuple[str, ...]
    looked: int
    skipped: tuple[Skipped, ...]
    skipped_count: int
    failed: tuple[Failed, ...]
    facts: int


@dataclass(slots=True)
class _Kept:
    """A pattern's node with the facts that hold of it."""

    node: Node
    single: dict[str, Fact] = field(default_factory=dict[str, Fact])
    evidence: dict[str, str] = field(default_factory=dict[str, str])
    about: set[str] = field(default_factory=set[str])

    @property
    def status(self) -> str | None:
        fact = self.single.get(STATUS)
        return None if fact is None or fact.value is None else str(fact.value.data)

    @property
    def document(self) -> Mapping[str, Json]:
        fact = self.single.get(PATTERN)
        return {} if fact is None or fact.value is None else cast("Mapping[str, Json]", fact.value.data)


def _key(key: tuple[str, str, str]) -> str:
    kind, scope, predicate = key
    # What is long is named by its digest, which is as much the same for the same words.
    scope, predicate = (
        one if len(one) <= _WORDS_MAX else sha256(one.encode()).hexdigest() for one in (scope, predicate)
    )
    return f"{PATTERN}:{kind}:{scope}:{predicate}"


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def _document(finding: Finding) -> dict[str, Json]:
    return {
        "kind": finding.kind.value,
        "scope": finding.scope,
        "predicate": finding.predicate,
        "statement": finding.statement,
        "family": finding.family,
        "judged": finding.judged,
        "p": _rounded(finding.p, 3),
        "q": _rounded(finding.q, 3),
        "effect": _rounded(finding.effect, 4),
        "low": _rounded(finding.low, 4),
        "high": _rounded(finding.high, 4),
        "unit": finding.unit,
        "since": iso(from_micros(finding.since)),
        "until": iso(from_micros(finding.until)),
        "support": finding.support,
        "detail": dict(finding.detail),
    }


def _same(kept: Mapping[str, Json], new: Mapping[str, Json]) -> bool:
    """Tell whether two documents say the same: the onset, the rounded size. New evidence alone is no news."""
    old, now = kept.get("effect"), new.get("effect")
    sizes = [_rounded(float(one), 1) if isinstance(one, int | float) else None for one in (old, now)]
    return sizes[0] == sizes[1] and kept.get("since") == new.get("since")


async def detect(
    memory: Memory, *, detectors: Sequence[Detector] = DETECTORS, by: str = _ACTOR,
    progress: Callable[[int, int], None] | None = None,
) -> DetectReport:  # fmt: skip
    """Look at everything that entities were said to be over time, and keep what is found.

    Nothing is written for what is kept already. A detector that breaks is told of in the report; the others go on, and
    its patterns stay as they are. Each pattern is kept whole or not at all.

    Raises:
        LimitError: the space is too large for one look.
        RefusedError: another look wrote the same pattern meanwhile (``version.conflict``); look again.
    """
    world = await read_world(memory.store, memory.space)
    result = await asyncio.to_thread(look, world, detectors, progress)
    kept = await _kept(memory)
    writing = _Writing(memory, by, result, kept)
    await writing.run()
    return writing.report()


async def _kept(memory: Reader, ids: Sequence[str] | None = None, at: AsOf = NOW) -> dict[str, _Kept]:
    """Read the patterns by their keys: all, or those with these *ids*."""
    nodes: list[Node] = []
    if ids is not None:
        nodes = list((await memory.nodes_by_id(ids, at)).values())
    after: str | None = None
    while ids is None:
        page = await memory.store.list_nodes(memory.space, NodeQuery(NodeKind.PATTERN, first=PAGE_MAX, after=after), at)
        nodes += page.items
        after = page.next
        if after is None or len(nodes) >= _PATTERNS_MAX:
            break
    found = {node.id: _Kept(node) for node in nodes if node.key is not None}
    listed = list(found)
    for start in range(0, len(listed), _READ_PATTERNS):
        query = FactQuery(subjects=listed[start : start + _READ_PATTERNS])
        for fact in await memory.store.facts(memory.space, query, at):
            one = found[fact.subject_id]
            if fact.predicate == EVIDENCED_BY and fact.object_id is not None:
                one.evidence[fact.object_id] = fact.id
            elif fact.predicate == ABOUT and fact.object_id is not None:
                one.about.add(fact.object_id)
            else:
                one.single[fact.predicate] = fact
    return {one.node.key: one for one in found.values() if one.node.key is not None}


class _Writing:
    """The units that bring what is kept to what was found."""

    def __init__(self, memory: Memory, by: str, result: Look, kept: Mapping[str, _Kept]) -> None:
        self._memory = memory
        self._by = by
        self._look = result
        self._kept = kept
        self._units: list[Unit] = []
        self._facts = 0
        self._said: dict[str, list[str]] = {}

    async def run(self) -> None:
        for finding in sorted(self._look.findings, key=lambda one: one.key):
            self._found(finding)
        there = {_key(one.key) for one in (*self._look.findings, *self._look.fresh)}
        fading = {_key(one) for one in self._look.fading}
        broken = {kind.value for one in self._look.failed for kind in one.kinds}
        for key, one in sorted(self._kept.items()):
            live = one.status in (PatternStatus.OPEN, PatternStatus.FADING)
            if live and key not in there and str(one.document.get("kind")) not in broken:
                await self._gone(key, one, fading=key in fading)
        if self._units:
            await self._memory.submit_many(self._units)

    def _told(self, how: str, what: str) -> None:
        self._said.setdefault(how, []).append(what)

    def _found(self, finding: Finding) -> None:
        """Open, change or keep the pattern of *finding*."""
        key, document = _key(finding.key), _document(finding)
        kept = self._kept.get(key)
        name = f"{finding.kind.value}: {finding.statement.partition(' by ')[0]}"[:200]
        own = Ref(key=key, kind=NodeKind.PATTERN, type=finding.kind.value, name=name)
        commands: list[Command] = []
        back = kept is None or kept.status != PatternStatus.OPEN
        news = kept is None or not _same(kept.document, document)
        if back:
            commands.append(self._assert(own, STATUS, PatternStatus.OPEN.value))
        if news:
            commands.append(self._assert(own, PATTERN, document))
        evidence = finding.evidence[-_EVIDENCE_MAX:]
        linked: set[str] = set() if kept is None else set(kept.evidence)
        ids = self._memory.ids
        commands += [
            edge(ids, own, EVIDENCED_BY, Ref(id=fact), valid_from=None) for fact in evidence if fact not in linked
        ]
        commands += self._unlinked(kept, linked - set(evidence))
        about: set[str] = set() if kept is None else kept.about
        commands += [
            edge(ids, own, ABOUT, Ref(id=one), valid_from=None) for one in finding.subjects if one not in about
        ]
        self._told("opened" if back else "changed" if news else "kept", finding.statement)
        self._add(key, kept, commands)

    def _unlinked(self, kept: _Kept | None, gone: set[str]) -> list[Command]:
        """End the edges to what no longer speaks for a pattern."""
        if kept is None:
            return []
        most = 900 - _EVIDENCE_MAX
        return [End(self._memory.ids.new(), kept.evidence[fact]) for fact in sorted(gone)[:most]]

    async def _gone(self, key: str, kept: _Kept, *, fading: bool) -> None:
        """Let a pattern fade or end."""
        evidence = await self._memory.facts_by_id(list(kept.evidence))
        taken = {
            fact
            for fact in kept.evidence
            if fact not in evidence or evidence[fact].retired_at is not None or evidence[fact].erased
        }
        status = PatternStatus.WITHDRAWN if taken else PatternStatus.FADING if fading else PatternStatus.ENDED
        if status.value == kept.status:
            return
        self._told(status.value, key)
        own = Ref(id=kept.node.id)
        self._add(key, kept, [self._assert(own, STATUS, status.value), *self._unlinked(kept, taken)])

    def _assert(self, own: Ref, predicate: str, said: Scalar | dict[str, Json]) -> Assert:
        value = Value.of(cast("Scalar", said), where=f"the {predicate} of a pattern")
        return Assert(self._memory.ids.new(), own, predicate, value)

    def _add(self, key: str, kept: _Kept | None, commands: list[Command]) -> None:
        if not commands:
            return
        version = 0 if kept is None else kept.node.version
        self._facts += len(commands)
        self._units.append(
            self._memory.unit(
                commands,
                ["pattern", key, version, len(commands)],
                by=self._by,
                source=SourceSpec(origin=self._by, method="derived"),
                expects=(Expect(Ref(key=key), version),),
            )
        )

    def report(self) -> DetectReport:
        """Say what was done."""
        said = {name: tuple(words) for name, words in self._said.items()}
        return DetectReport(
            opened=said.get("opened", ()), changed=said.get("changed", ()), kept=said.get("kept", ()),
            waiting=tuple(one.statement for one in self._look.fresh), fading=said.get("fading", ()),
            ended=said.get("ended", ()), withdrawn=said.get("withdrawn", ()), looked=self._look.series,
            skipped=self._look.skipped[:_LISTED_MAX], skipped_count=len(self._look.skipped), failed=self._look.failed,
            facts=self._facts,
        )  # fmt: skip


def _pattern(one: _Kept, *, whole: bool = False) -> Pattern | None:
    document: Mapping[str, Any] = one.document
    if not document or one.status is None:
        return None
    said, reason = one.single.get(REVIEW), one.single.get(REASON)
    return Pattern(
        id=one.node.id, key=one.node.key or one.node.id, kind=PatternKind(document["kind"]),
        status=PatternStatus(one.status), predicate=document["predicate"], statement=document["statement"],
        family=document["family"], judged=document["judged"], p=document["p"], q=document["q"],
        effect=document["effect"], low=document["low"], high=document["high"], unit=document["unit"],
        since=datetime.fromisoformat(document["since"]), until=datetime.fromisoformat(document["until"]),
        support=document["support"], detail=document["detail"], recorded_at=one.single[PATTERN].recorded_at,
        version=one.node.version,
        review=None if said is None or said.value is None else PatternReview(str(said.value.data)),
        reason=None if reason is None or reason.value is None else str(reason.value.data),
        about=tuple(sorted(one.about)), evidence=tuple(sorted(one.evidence)) if whole else (),
    )  # fmt: skip


async def patterns(
    memory: Reader, *, status: Sequence[PatternStatus] = HOLDING,
    kind: PatternKind | None = None, about: Identified | None = None, hidden: bool = False, first: int = 50,
    after: str | None = None, at: AsOf = NOW,
) -> Page[Pattern]:  # fmt: skip
    """List patterns, the latest first, as of the two clocks; their evidence is in `explain`.

    A page may hold fewer than *first* while `next` goes on.

    Args:
        about: only those about this entity.
        hidden: those too that a person muted or rejected.
    """
    query = NodeQuery(
        NodeKind.PATTERN, None if kind is None else kind.value,
        where={STATUS: [one.value for one in status]} if status else None,
        about=None if about is None else (await memory.node(about, at)).id, first=first, after=after, newest=True,
    )  # fmt: skip
    page = await memory.store.list_nodes(memory.space, query, at)
    kept = {one.node.id: one for one in (await _kept(memory, [node.id for node in page.items], at)).values()}
    found = [_pattern(kept[node.id]) for node in page.items if node.id in kept]
    left_out = (PatternReview.MUTED, PatternReview.REJECTED)
    return Page(tuple(one for one in found if one is not None and (hidden or one.review not in left_out)), page.next)


async def explain(memory: Reader, thing: Identified, *, at: AsOf = NOW) -> Pattern:
    """Return one pattern with the ids of its evidence. Raises NotFoundError."""
    node = await memory.node(thing, at)
    kept = await _kept(memory, [node.id], at) if node.kind is NodeKind.PATTERN else {}
    found = next((_pattern(one, whole=True) for one in kept.values()), None)
    if found is None:
        msg = f"{node.key or node.id} is no pattern; `latewood patterns list` shows those there are"
        raise NotFoundError(msg, id=node.id)
    return found


async def review(
    memory: Memory, thing: Identified, verdict: PatternReview, *, because: str, by: str | None = None,
    session: str | None = None,
) -> Written:  # fmt: skip
    """Accept, mute or reject a pattern, for a reason. What detection finds later does not undo it.

    Raises:
        NotFoundError: it is no pattern.
        InvalidError: no reason is given.
        ConflictError: it was reviewed just so already.
    """
    if not because.strip():
        raise InvalidError("a pattern is reviewed for a reason: say why with because", code="query.invalid")
    one = await explain(memory, thing)
    if one.review is verdict and one.reason == because:
        raise ConflictError(f"{one.key} is {verdict.value} already, for that reason", code="version.conflict")
    own = Ref(id=one.id)
    said = Assert(memory.ids.new(), own, REVIEW, Value("text", verdict.value))
    why = Assert(memory.ids.new(), own, REASON, Value.of(because, where="the reason"))
    receipt = await memory.write(
        [said, why], ["review", one.id, verdict.value, because], by=by, session=session,
        expects=(Expect(own, one.version),),
    )  # fmt: skip
    return Written(said.id, receipt)
