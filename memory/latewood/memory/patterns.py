"""Patterns in the graph: what a look finds is kept as nodes that open, change, fade and end, and are never doubled.

A pattern's key is its kind, scope and predicate. Its words (size, error rate, period) are one fact, its status another,
and an edge leads to every fact that speaks for it; so what was believed before stays there to be asked for. A look that
finds what is kept already writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.commands import Assert, Expect, Ref
from latewood.graph_schema.decisions import STATUS
from latewood.graph_schema.errors import ConflictError, InvalidError, NotFoundError
from latewood.graph_schema.given import checked
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.patterns import PatternKind, PatternReview, PatternStatus
from latewood.graph_schema.values import Json, Value
from latewood.memory.api import Memory
from latewood.memory.keeping import Kept, Writing, link, read_kept
from latewood.memory.looked import DETECTOR, looked, mark
from latewood.memory.reader import Identified, Reader, Written
from latewood.reasoning.patterns.looking import DETECTORS, Failed, Look, look
from latewood.reasoning.patterns.port import Detector, Skipped
from latewood.reasoning.patterns.told import HOLDING, PATTERN, REASON, REVIEW
from latewood.reasoning.patterns.wording import fill, filled, slots_in
from latewood.storage.port import NodeQuery, Page

__all__ = [
    "HOLDING",
    "DetectReport",
    "Pattern",
    "detect",
    "explain",
    "patterns",
    "read_patterns",
    "review",
]

_LISTED_MAX: Final = 1_000


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


async def detect(
    memory: Memory, *, detectors: Sequence[Detector] = DETECTORS, by: str = DETECTOR,
    progress: Callable[[int, int], None] | None = None,
) -> DetectReport:  # fmt: skip
    """Look at everything that entities were said to be over time, and keep what is found.

    Nothing is written for what is kept already. A detector that breaks is told of in the report; the others go on, and
    its patterns stay as they are. Each pattern is kept whole or not at all.

    Raises:
        LimitError: the space is too large for one look.
        RefusedError: another look wrote the same pattern meanwhile (``version.conflict``); look again.
    """
    known = memory.views.of(memory.store, memory.space)
    view = known.view
    async with known.lock:
        cold = view.seq is None
        await view.refresh()
        due = view.news and (not cold or (await looked(memory)).news > 0)
        if view.news or known.last is None or known.last[0] is not detectors or known.last[1].failed:
            result = await asyncio.to_thread(look, await view.world(), detectors, progress)
            known.last, view.news = (detectors, result), False
        kept = await read_kept(memory)
        await link(memory, kept, known.edges)
        writing = Writing(memory, by, known.last[1], kept)
        await writing.run()
        known.edges.clear()
        known.edges |= writing.edges()
        if due and view.seq is not None:
            await mark(memory, view.seq)
        return await _report(memory, writing, known.last[1])


async def _report(memory: Reader, writing: Writing, found: Look) -> DetectReport:
    lists = {how: writing.said(how) for how in ("opened", "changed", "kept", "fading", "ended", "withdrawn")}
    lists["waiting"] = tuple(one.statement for one in found.fresh)
    words = await fill(memory.store, memory.space, (one for lines in lists.values() for one in slots_in(list(lines))))

    def said(how: str) -> tuple[str, ...]:
        return tuple(str(filled(line, words)) for line in lists[how])

    return DetectReport(
        opened=said("opened"), changed=said("changed"), kept=said("kept"),
        waiting=said("waiting"), fading=said("fading"), ended=said("ended"),
        withdrawn=said("withdrawn"), looked=found.series, skipped=found.skipped[:_LISTED_MAX],
        skipped_count=len(found.skipped), failed=found.failed, facts=writing.facts,
    )  # fmt: skip


async def _patterns(memory: Reader, kept: Iterable[Kept], at: AsOf, *, whole: bool = False) -> list[Pattern]:
    """Put patterns together with the words as they are now: those of what was erased since are gone."""
    there = [one for one in kept if one.document and one.status is not None]
    words = await fill(memory.store, memory.space, (slot for one in there for slot in slots_in(dict(one.document))), at)
    return [_pattern(one, words, whole=whole) for one in there]


def _pattern(one: Kept, words: Mapping[str, str], *, whole: bool) -> Pattern:
    document = cast("Mapping[str, Any]", filled(dict(one.document), words))
    said, reason = one.single.get(REVIEW), one.single.get(REASON)
    return Pattern(
        id=one.node.id, key=one.node.key or one.node.id, kind=PatternKind(document["kind"]),
        status=PatternStatus(str(one.status)), predicate=document["predicate"], statement=document["statement"],
        family=document["family"], judged=document["judged"], p=document["p"], q=document["q"],
        effect=document["effect"], low=document["low"], high=document["high"], unit=document["unit"],
        since=datetime.fromisoformat(document["since"]), until=datetime.fromisoformat(document["until"]),
        support=document["support"], detail=document["detail"], recorded_at=one.single[PATTERN].recorded_at,
        version=one.node.version,
        review=None if said is None or said.value is None else PatternReview(str(said.value.data)),
        reason=None if reason is None or reason.value is None else str(reason.value.data),
        about=tuple(sorted(one.about)), evidence=tuple(sorted(one.evidence)) if whole else (),
    )  # fmt: skip


@checked
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
    kept = {one.node.id: one for one in (await read_kept(memory, [node.id for node in page.items], at)).values()}
    found = await _patterns(memory, (kept[node.id] for node in page.items if node.id in kept), at)
    left_out = (PatternReview.MUTED, PatternReview.REJECTED)
    return Page(tuple(one for one in found if hidden or one.review not in left_out), page.next)


async def read_patterns(memory: Reader, ids: Sequence[str], *, at: AsOf = NOW) -> list[Pattern]:
    """Return those of *ids* that are patterns, without their evidence."""
    nodes = await memory.nodes_by_id(ids, at)
    wanted = [node.id for node in nodes.values() if node.kind is NodeKind.PATTERN]
    return await _patterns(memory, (await read_kept(memory, wanted, at)).values(), at)


async def explain(memory: Reader, thing: Identified, *, at: AsOf = NOW) -> Pattern:
    """Return one pattern with the ids of its evidence. Raises NotFoundError."""
    node = await memory.node(thing, at)
    kept = await read_kept(memory, [node.id], at) if node.kind is NodeKind.PATTERN else {}
    await link(memory, kept, {}, at)
    found = next(iter(await _patterns(memory, kept.values(), at, whole=True)), None)
    if found is None:
        msg = f"{node.key or node.id} is no pattern; `patterns` lists those there are"
        raise NotFoundError(msg, id=node.id)
    return found


@checked
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
