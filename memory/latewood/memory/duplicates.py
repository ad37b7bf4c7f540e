"""Entities that may be one: found by their names, listed for a person, or kept as proposals that accepting merges."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.commands import Assert, Command, Expect, Ref, SourceSpec
from latewood.graph_schema.decisions import edge, status_assert
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.identity import MERGED_INTO
from latewood.graph_schema.model import DecisionStatus, Node, NodeKind
from latewood.graph_schema.values import Json, Scalar, Value
from latewood.ingestion.duplicates import SIGNALS, Candidate, Named, candidates, same_numbers
from latewood.memory.identity import Writer, merge_with
from latewood.memory.reader import Written
from latewood.reasoning.recall import Embed
from latewood.storage.port import PAGE_MAX, Page

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from latewood.memory.proposals import Proposal

__all__ = ["ENTITIES_MAX", "PROPOSAL", "Duplicate", "Duplicates", "accept_merge", "duplicates", "propose_merges"]

ENTITIES_MAX: Final = 100_000
"""Most entities whose names are looked at."""
_MEANT_MAX: Final = 500
"""Of types with so many entities at most, names are compared by their meaning too."""
_MEANING_LEAST: Final = 0.85
_PAIRS_MAX: Final = 10_000
PROPOSAL: Final = "proposal"


class Looker(Protocol):
    """A handle that reads: what looking for duplicates needs of `Memory`."""

    @property
    def embed(self) -> Embed | None:
        """What makes a text's vector."""
        ...

    async def nodes(
        self, *, kind: NodeKind | None = None, type_: str | None = None, first: int = 50, after: str | None = None,
        newest: bool = False, merged: bool = False, at: AsOf = NOW,
    ) -> Page[Node]:  # fmt: skip
        """List nodes."""
        ...


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two entities of one type that may be one.

    Attributes:
        absorbed: the later one; a merge would leave it out and let *into* go on.
        signal: name (the same words), words (but for forms of company), letters, or meaning.
    """

    absorbed: Node
    into: Node
    signal: str
    score: float


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What looks alike, the surest first.

    Attributes:
        looked_at: how many entities; *bounded*: there were more, or more pairs than are listed.
        total: how many pairs were found, of which *items* are the first.
    """

    items: tuple[Duplicate, ...]
    total: int
    looked_at: int
    bounded: bool


def _named(node: Node) -> Named:
    """Return what a node is called: its key without the type before the colon, and its name."""
    head, colon, tail = (node.key or "").partition(":")
    key = tail if colon and head.strip().casefold() == node.type.casefold() else node.key or ""
    name = "" if node.name == node.key else node.name
    return Named(node.id, node.type, tuple(dict.fromkeys(one for one in (key, name) if one)))


async def duplicates(
    self: Looker, *, type_: str | None = None, signals: Sequence[str] = (), score_min: float = 0.0, first: int = 100,
) -> Duplicates:  # fmt: skip
    """List pairs of entities that may be one, of one type each, the surest first. It writes nothing.

    Args:
        type_: only entities of this type.
        signals: only what these say: ``name``, ``words``, ``letters``, ``meaning``; the last takes an embedder.
        score_min: only pairs that are so alike, from 0 to 1.

    Raises:
        InvalidError: code ``query.invalid``.
    """
    unknown = [one for one in signals if one not in SIGNALS]
    if unknown or not 0 <= score_min <= 1 or not 0 < first <= _PAIRS_MAX:
        msg = f"signals are {', '.join(SIGNALS)}, score_min lies in 0 to 1, first in 1 to {_PAIRS_MAX:,}"
        raise InvalidError(msg, code="query.invalid")
    nodes, more = await _entities(self, type_)
    named = [_named(node) for node in nodes.values()]
    found = candidates(named)
    if self.embed is not None and (not signals or "meaning" in signals):
        known = {frozenset((one.one, one.other)) for one in found}
        found += [one for one in await _meaning(self.embed, named) if frozenset((one.one, one.other)) not in known]
    chosen = [one for one in found if (not signals or one.signal in signals) and one.score >= score_min]
    items = tuple(_ordered(nodes[one.one], nodes[one.other], one) for one in chosen[:first])
    return Duplicates(items, len(chosen), len(nodes), more or len(chosen) > first)


def _ordered(one: Node, other: Node, candidate: Candidate) -> Duplicate:
    """Let the one that was recorded first go on."""
    into, absorbed = sorted((one, other), key=lambda node: (node.recorded_at, node.id))
    return Duplicate(absorbed, into, candidate.signal, candidate.score)


async def _entities(self: Looker, type_: str | None) -> tuple[dict[str, Node], bool]:
    found: dict[str, Node] = {}
    after: str | None = None
    while True:
        page = await self.nodes(kind=NodeKind.ENTITY, type_=type_, first=PAGE_MAX, after=after)
        found |= {node.id: node for node in page.items if node.type != PROPOSAL and not node.erased}
        after = page.next
        if after is None or len(found) >= ENTITIES_MAX:
            return found, after is not None


async def _meaning(embed: Embed, things: Sequence[Named]) -> list[Candidate]:
    """Compare the names of small types by their vectors, all with all."""
    by_type: dict[str, list[Named]] = {}
    for thing in things:
        by_type.setdefault(thing.type, []).append(thing)
    found: list[Candidate] = []
    for own in by_type.values():
        if 1 < len(own) <= _MEANT_MAX:
            found += await _alike(embed, own)
    return sorted(found, key=lambda one: (-one.score, one.one, one.other))


async def _alike(embed: Embed, things: Sequence[Named]) -> list[Candidate]:
    import numpy as np

    rows: list[npt.NDArray[np.float32]] = []
    for thing in things:
        made = await embed(" ".join(thing.names))
        if made is None:
            # The embedder is missing or failed: what the letters say has to do.
            return []
        rows.append(np.frombuffer(made[1], dtype="<f4"))
    cosines = np.stack(rows) @ np.stack(rows).T
    places = np.argwhere(np.triu(cosines, 1) >= _MEANING_LEAST)
    pairs = [(int(one), int(other)) for one, other in places]
    return [
        Candidate(things[one].id, things[other].id, "meaning", round(min(1.0, float(cosines[one, other])), 3))
        for one, other in pairs
        if same_numbers(" ".join(things[one].names), " ".join(things[other].names))
    ]


def _proposal_key(one: Duplicate) -> str:
    """Name the proposal of a pair, whichever of the two comes first: one that was rejected is not made again."""
    ids = sorted((one.absorbed.id, one.into.id))
    return f"{PROPOSAL}:{hashlib.sha256(f'merge {ids[0]} {ids[1]}'.encode()).hexdigest()[:32]}"


async def propose_merges(
    self: Writer, found: Sequence[Duplicate], *, by: str | None = None, session: str | None = None
) -> tuple[str, ...]:  # fmt: skip
    """Keep *found* as proposals, which hold nothing until somebody accepts them; return the keys of the new ones.

    A pair that was proposed before, whatever became of it, is passed over.
    """
    keys = {_proposal_key(one): one for one in found}
    listed = list(keys)
    there: set[str] = set()
    for begin in range(0, len(listed), PAGE_MAX):
        there |= set(await self.store.nodes(self.space, keys=listed[begin : begin + PAGE_MAX]))
    made: list[str] = []
    for key, one in keys.items():
        if key in there:
            continue
        names = (one.absorbed.key or one.absorbed.name, one.into.key or one.into.name)
        document: dict[str, Json] = {
            "kind": "merge", "subject": names[0], "predicate": MERGED_INTO, "object": names[1],
            "absorbed": one.absorbed.id, "into": one.into.id, "signal": one.signal, "confidence": one.score,
        }  # fmt: skip
        subject = Ref(key=key, name=f"{names[0]} is {names[1]}"[:200])
        said = Value.of(cast("Scalar", document), where="a proposal")
        waits = status_assert(self.ids, subject, DecisionStatus.PROPOSED, valid_from=None)
        await self.write(
            [Assert(self.ids.new(), subject, PROPOSAL, said), waits], ["propose", key], by=by, session=session,
            source=SourceSpec(method="derived"), idempotency_key=f"propose:{key}",
        )  # fmt: skip
        made.append(key)
    return tuple(made)


async def accept_merge(
    self: Writer, one: Proposal, *, by: str | None = None, session: str | None = None
) -> Written:  # fmt: skip
    """Merge what a proposal says, and settle it in the same unit. Raises as `merge` does."""
    document, own = one.document, Ref(id=one.id)

    def settles(fact: str) -> list[Command]:
        return [
            status_assert(self.ids, own, DecisionStatus.ACCEPTED, valid_from=None),
            edge(self.ids, own, "accepted_as", Ref(id=fact), valid_from=None),
        ]

    done = await merge_with(
        self, str(document["absorbed"]), str(document["into"]), by=by, session=session, settles=settles,
        reason=f"proposal {one.key}: {document.get('signal')} {one.confidence}", expects=(Expect(own, one.version),),
    )  # fmt: skip
    fact = done.fact_id or one.id
    if not done.before:
        return Written(fact, done.receipts[0])
    # Somebody merged the two beside the proposal; what is left is to say that it was right.
    receipt = await self.write(
        settles(fact), ["accept", one.id], by=by, session=session, expects=(Expect(own, one.version),)
    )
    return Written(fact, receipt)
