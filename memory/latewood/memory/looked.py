"""How far looks for patterns have got: a cursor that outlives the process.

It is a fact of the detecting actor, the ledger's row that the latest look had got to. It says whether another look is
due; what a look works with is read from the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from latewood.graph_schema.commands import Assert, Ref, SourceSpec
from latewood.graph_schema.events import EventKind
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Value
from latewood.memory.api import Memory
from latewood.memory.reader import Reader
from latewood.storage.port import PAGE_MAX, FactQuery

__all__ = ["DETECTOR", "NEWS_ROWS_MAX", "Looked", "looked", "mark"]

DETECTOR: Final = "agent:patterns"
"""Who writes down what a look found."""
NEWS_ROWS_MAX: Final = 20_000
"""Most rows of the ledger that are looked through for news."""
_LOOKED_TO: Final = "looked_to"
_LOOKED_AT: Final = (NodeKind.ENTITY, NodeKind.DECISION)
_LEDGER: Final = "knowledge"


@dataclass(frozen=True, slots=True)
class Looked:
    """How far looks have got.

    Attributes:
        seq: the row of the ledger that the latest look had got to; 0 when there was none.
        recorded_at: when that was written down.
        news: how many rows about entities and decisions came since, counted among the first `NEWS_ROWS_MAX`.
        through: the last row that was counted.
    """

    seq: int
    recorded_at: datetime | None
    news: int
    through: int


async def looked(memory: Reader, *, after: int | None = None) -> Looked:
    """Say how far looks have got, and how much came since; with *after*, how much came after that row."""
    actor = (await memory.store.nodes(memory.space, keys=[DETECTOR])).get(DETECTOR)
    query = None if actor is None else FactQuery(subjects=[actor.id], predicates=[_LOOKED_TO])
    told = () if query is None else await memory.store.facts(memory.space, query)
    fact = next(iter(told), None)
    seq = 0 if fact is None or fact.value is None else int(str(fact.value.data))
    through = seq if after is None else after
    news = rows = 0
    while rows < NEWS_ROWS_MAX:
        page = await memory.store.feed(memory.space, _LEDGER, through, PAGE_MAX)
        if not page:
            break
        subjects = await memory.store.nodes(memory.space, ids=sorted({one.event.subject for one in page}))
        news += sum(
            one.event.kind is EventKind.ERASED
            or (one.event.subject in subjects and subjects[one.event.subject].kind in _LOOKED_AT)
            for one in page
        )
        rows += len(page)
        through = page[-1].seq
    return Looked(seq, None if fact is None else fact.recorded_at, news, through)


async def mark(memory: Memory, seq: int) -> None:
    """Write down that a look has got to row *seq*."""
    actor = Ref(key=DETECTOR, kind=NodeKind.ACTOR)
    said = Assert(memory.ids.new(), actor, _LOOKED_TO, Value.of(seq))
    source = SourceSpec(origin=DETECTOR, method="derived")
    await memory.write([said], [_LOOKED_TO, seq], by=DETECTOR, source=source)
