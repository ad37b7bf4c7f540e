"""How patterns are kept: their nodes with what holds of them, and the units that bring these to what a look found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, TypeAlias, cast

from latewood.graph_schema.clock import NOW, AsOf, from_micros, iso
from latewood.graph_schema.commands import Assert, Command, End, Expect, Ref, SourceSpec, Unit
from latewood.graph_schema.decisions import ABOUT, STATUS, edge
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import Fact, Node, NodeKind
from latewood.graph_schema.patterns import PatternKind, PatternStatus
from latewood.graph_schema.values import Json, Scalar, Value
from latewood.memory.api import Memory
from latewood.memory.reader import Reader
from latewood.reasoning.patterns.looking import Look
from latewood.reasoning.patterns.port import Finding
from latewood.reasoning.patterns.told import PATTERN, REASON, REVIEW
from latewood.storage.port import PAGE_MAX, FactQuery, NodeQuery

__all__ = ["Edges", "Kept", "Writing", "link", "read_kept"]

EVIDENCED_BY: Final = "evidenced_by"
_SINGLE: Final = (PATTERN, STATUS, REVIEW, REASON)
_EVIDENCE_MAX: Final = 800
"""Most edges to evidence, the latest; `support` counts all."""
_COMMANDS_MAX: Final = 900
_PATTERNS_MAX: Final = 100_000
_READ_PATTERNS: Final = 100
_READ_LINKED: Final = 50
_OF_TROUBLE: Final = (PatternKind.STALENESS, PatternKind.CONTRADICTION)
_WORDS_MAX: Final = 200

Edges: TypeAlias = "dict[str, tuple[int, dict[str, str]]]"
"""By the id of a pattern's node: a version of it, and its edges to evidence then, by the fact each leads to."""


@dataclass(slots=True)
class Kept:
    """A pattern's node with the facts that hold of it."""

    node: Node
    single: dict[str, Fact] = field(default_factory=dict[str, Fact])
    evidence: dict[str, str] = field(default_factory=dict[str, str])
    about: set[str] = field(default_factory=set[str])

    @property
    def status(self) -> str | None:
        """Where it stands."""
        fact = self.single.get(STATUS)
        return None if fact is None or fact.value is None else str(fact.value.data)

    @property
    def document(self) -> Mapping[str, Json]:
        """Return its words; empty where there are none."""
        fact = self.single.get(PATTERN)
        return {} if fact is None or fact.value is None else cast("Mapping[str, Json]", fact.value.data)


def _key(key: tuple[str, str, str]) -> str:
    kind, scope, predicate = key
    # What is long is named by its digest, which is as much the same for the same words.
    scope, predicate = (
        one if len(one) <= _WORDS_MAX else sha256(one.encode()).hexdigest() for one in (scope, predicate)
    )
    return f"pattern:{kind}:{scope}:{predicate}"


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


def _over(detail: object) -> bool:
    """Tell whether a finding is of something that came to its end: found still, and true of the past alone."""
    return isinstance(detail, Mapping) and cast("Mapping[str, Json]", detail).get("going_on") is False


def _same(kept: Mapping[str, Json], new: Mapping[str, Json]) -> bool:
    """Tell whether two documents say the same: the onset, the rounded size. New evidence alone is no news."""
    old, now = kept.get("effect"), new.get("effect")
    sizes = [_rounded(float(one), 1) if isinstance(one, int | float) else None for one in (old, now)]
    states = [one.get("going_on") for one in (kept.get("detail"), new.get("detail")) if isinstance(one, dict)]
    return sizes[0] == sizes[1] and kept.get("since") == new.get("since") and len(set(map(str, states))) <= 1


async def link(memory: Reader, kept: Mapping[str, Kept], edges: Edges, at: AsOf = NOW) -> None:
    """Add their edges to evidence: those of *edges* where a pattern is at the version then, else from the store."""
    missing: dict[str, Kept] = {}
    for one in kept.values():
        version, linked = edges.get(one.node.id, (-1, {}))
        if version == one.node.version:
            one.evidence |= linked
        else:
            missing[one.node.id] = one
    listed = list(missing)
    for start in range(0, len(listed), _READ_LINKED):
        query = FactQuery(subjects=listed[start : start + _READ_LINKED], predicates=[EVIDENCED_BY])
        for fact in await memory.store.facts(memory.space, query, at):
            if fact.object_id is not None:
                missing[fact.subject_id].evidence[fact.object_id] = fact.id


async def read_kept(memory: Reader, ids: Sequence[str] | None = None, at: AsOf = NOW) -> dict[str, Kept]:
    """Read the patterns by their keys, but for their evidence: all, or those with these *ids*."""
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
    found = {node.id: Kept(node) for node in nodes if node.key is not None}
    listed = list(found)
    for start in range(0, len(listed), _READ_PATTERNS):
        query = FactQuery(subjects=listed[start : start + _READ_PATTERNS], predicates=[*_SINGLE, ABOUT])
        for fact in await memory.store.facts(memory.space, query, at):
            one = found[fact.subject_id]
            if fact.predicate == ABOUT and fact.object_id is not None:
                one.about.add(fact.object_id)
            else:
                one.single[fact.predicate] = fact
    return {one.node.key: one for one in found.values() if one.node.key is not None}


class Writing:
    """The units that bring what is kept to what was found."""

    def __init__(self, memory: Memory, by: str, result: Look, kept: Mapping[str, Kept]) -> None:
        """Bring *kept* to *result*, as *by*."""
        self._memory = memory
        self._by = by
        self._look = result
        self._kept = kept
        self._units: list[Unit] = []
        self._said: dict[str, list[str]] = {}
        self._facts = 0
        self._after: list[tuple[str, dict[str, str]]] = []
        self._receipts: Sequence[Receipt] = ()

    async def run(self) -> None:
        """Keep what differs."""
        for finding in sorted(self._look.findings, key=lambda one: one.key):
            self._found(finding)
        there = {_key(one.key) for one in (*self._look.findings, *self._look.fresh)}
        fading = {_key(one) for one in self._look.fading}
        broken = {kind.value for one in self._look.failed for kind in one.kinds}
        for key, one in sorted(self._kept.items()):
            # What is over was true all the same, until something under it is taken back.
            over = one.status == PatternStatus.ENDED and _over(one.document.get("detail"))
            live = over or one.status in (PatternStatus.OPEN, PatternStatus.FADING)
            if live and key not in there and str(one.document.get("kind")) not in broken:
                await self._gone(key, one, fading=key in fading)
        if self._units:
            self._receipts = await self._memory.submit_many(self._units)

    @property
    def facts(self) -> int:
        """How many facts were written."""
        return self._facts

    def said(self, how: str) -> tuple[str, ...]:
        """Return what was opened, changed, kept or ended, whichever *how* names."""
        return tuple(self._said.get(how, ()))

    def edges(self) -> Edges:
        """Return every pattern's edges as they are after the writing."""
        known = {one.node.id: (one.node.version, one.evidence) for one in self._kept.values()}
        for (key, linked), receipt in zip(self._after, self._receipts, strict=True):
            one = self._kept.get(key)
            node = receipt.nodes.get(key) if one is None else one.node.id
            if node is not None:
                # The last event of a pattern's unit is about the pattern.
                known[node] = (receipt.seq, linked)
        return known

    def _told(self, how: str, what: str) -> None:
        self._said.setdefault(how, []).append(what)

    def _found(self, finding: Finding) -> None:
        """Open, change or keep the pattern of *finding*."""
        key, document = _key(finding.key), _document(finding)
        kept = self._kept.get(key)
        # A name is kept for good: it says no more than what the pattern is of.
        name = f"{finding.kind.value} of {finding.predicate}"[:200]
        own = Ref(key=key, kind=NodeKind.PATTERN, type=finding.kind.value, name=name)
        commands: list[Command] = []
        status = PatternStatus.ENDED if _over(finding.detail) else PatternStatus.OPEN
        stands = None if kept is None else kept.status
        news = kept is None or not _same(kept.document, document)
        if stands != status:
            commands.append(self._assert(own, STATUS, status.value))
        if news:
            more: Mapping[str, Json] = {} if finding.more is None else finding.more()
            document["detail"] = {**finding.detail, **more}
            commands.append(self._assert(own, PATTERN, document))
        evidence = finding.evidence[-_EVIDENCE_MAX:]
        linked: dict[str, str] = {} if kept is None else kept.evidence
        ids = self._memory.ids
        new = {
            fact: edge(ids, own, EVIDENCED_BY, Ref(id=fact), valid_from=None) for fact in evidence if fact not in linked
        }
        gone = sorted(set(linked) - set(evidence))[: _COMMANDS_MAX - _EVIDENCE_MAX]
        commands += [*new.values(), *self._unlinked(linked, gone)]
        about: set[str] = set() if kept is None else kept.about
        commands += [
            edge(ids, own, ABOUT, Ref(id=one), valid_from=None) for one in finding.subjects if one not in about
        ]
        if status is PatternStatus.ENDED and stands in (PatternStatus.OPEN, PatternStatus.FADING):
            self._told(status.value, key)
        else:
            self._told("opened" if stands != status else "changed" if news else "kept", finding.statement)
        after = {**linked, **{fact: one.id for fact, one in new.items()}}
        self._add(key, kept, commands, {fact: told for fact, told in after.items() if fact not in gone})

    def _unlinked(self, linked: Mapping[str, str], gone: Sequence[str]) -> list[Command]:
        """End the edges to what no longer speaks for a pattern."""
        return [End(self._memory.ids.new(), linked[fact]) for fact in gone]

    async def _gone(self, key: str, kept: Kept, *, fading: bool) -> None:
        """Let a pattern fade or end."""
        evidence = await self._memory.facts_by_id(list(kept.evidence))
        taken = sorted(
            fact
            for fact in kept.evidence
            if fact not in evidence or evidence[fact].retired_at is not None or evidence[fact].erased
        )
        if kept.document.get("kind") in _OF_TROUBLE:
            # What was taken back under it is what settled it.
            taken = []
        fading = fading and kept.status != PatternStatus.ENDED
        status = PatternStatus.WITHDRAWN if taken else PatternStatus.FADING if fading else PatternStatus.ENDED
        if status.value == kept.status:
            return
        self._told(status.value, key)
        own = Ref(id=kept.node.id)
        taken = taken[: _COMMANDS_MAX - 1]
        left = {fact: told for fact, told in kept.evidence.items() if fact not in taken}
        self._add(key, kept, [self._assert(own, STATUS, status.value), *self._unlinked(kept.evidence, taken)], left)

    def _assert(self, own: Ref, predicate: str, said: Scalar | dict[str, Json]) -> Assert:
        value = Value.of(cast("Scalar", said), where=f"the {predicate} of a pattern")
        return Assert(self._memory.ids.new(), own, predicate, value)

    def _add(self, key: str, kept: Kept | None, commands: list[Command], linked: dict[str, str]) -> None:
        if not commands:
            return
        self._after.append((key, linked))
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
