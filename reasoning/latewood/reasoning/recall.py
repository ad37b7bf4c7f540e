"""Recall: the memories that answer a question, by its words, by its meaning and by what the graph knows.

Words and vectors find memories; the graph carries their scores on: to what was said just before and after, to the rest
of a session, along evidence to the decisions that rest on it. Whom and when the question names is preferred. Filters
hold before anything is ranked, and every step is bounded, whatever the size of the space.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, TypeAlias

from latewood.graph_schema.clock import AsOf, from_micros, to_micros
from latewood.graph_schema.decisions import (
    ABOUT,
    BASED_ON,
    LED_TO,
    OUTCOME,
    RECORD,
    STATUS,
    SUPERSEDES,
    TRIGGERED_BY,
)
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import DecisionStatus, Fact, Node, NodeKind
from latewood.reasoning.fusion import Candidate, Fusion, Signal
from latewood.reasoning.patterns.wording import fill, filled, slots_in
from latewood.reasoning.querywords import WORDS_MAX, content_words, tokens
from latewood.reasoning.recalled import TEXT_CHARS_MAX, Recall, Recalled, compose, words_of
from latewood.reasoning.timewords import Times, times_of
from latewood.storage.port import EVERYTHING, FactQuery, GraphStore, Match, Matches, NodeQuery, Point, Scope
from latewood.storage.searching import text_of

__all__ = ["LIMIT_DEFAULT", "LIMIT_MAX", "MARKS", "PAST", "WORKINGS", "Embed", "Question", "recall"]

LIMIT_DEFAULT: Final = 20
LIMIT_MAX: Final = 100
BUDGET_MIN: Final = 50
BUDGET_MAX: Final = 100_000
QUESTION_CHARS_MAX: Final = 4_000
PAST: Final = frozenset({DecisionStatus.SUPERSEDED, DecisionStatus.REVERSED, DecisionStatus.DEPRECATED})
"""Statuses of decisions that were in force and are not any more."""

_DEPTH: Final = 100
"""How long the lists of words and of vectors are."""
_SPARE: Final = 50
"""How many more than are asked for are read and weighed to the end: whom they name, whether they are in force."""
_SEEDS: Final = 30
"""How many of the best carry their score on to their neighbours in time."""
_EACH_SIDE: Final = 2
_CHAINED: Final = 20
"""How many of the best carry their score on along evidence."""
_LINKED: Final = 20
"""How many decisions about a thing that the question names are weighed though no word of theirs matches."""
_NAMED_MAX: Final = 3
_KEY: Final = re.compile(r"\w+:[\w./~#-]*\w")
_CHAIN: Final = (BASED_ON, TRIGGERED_BY, LED_TO, SUPERSEDES)
_DECISION_WORDS: Final = (RECORD, OUTCOME)
_NAME_CHARS_MIN: Final = 2
MARKS: Final = frozenset({STATUS, "client", "proposal", "read_by_model"})
"""Predicates whose texts mark where a thing stands, and say nothing of it."""
WORKINGS: Final = frozenset({
    NodeKind.RUN, NodeKind.STEP, NodeKind.ATTEMPT, NodeKind.CHANNEL, NodeKind.GROUP, NodeKind.MESSAGE,
    NodeKind.DELIVERY, NodeKind.DEADLETTER, NodeKind.BLOB,
})  # fmt: skip
_PROPOSAL: Final = "proposal"

Embed: TypeAlias = Callable[[str], Awaitable["tuple[str, bytes] | None"]]
"""Turns a question into (model, vector); None when it cannot just now. The vector is of length 1, little-endian."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        scope: filters, which hold before ranking.
        budget_tokens: what the answer's text may cost; None does not cut it.
        past: take in decisions that are not in force any more, too.
        without: signals that bring nothing, to see what each is worth.
    """

    text: str
    scope: Scope = EVERYTHING
    limit: int = LIMIT_DEFAULT
    budget_tokens: int | None = None
    past: bool = False
    without: frozenset[Signal] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what cannot be answered. Raises InvalidError (``query.invalid``)."""
        if len(self.text) > QUESTION_CHARS_MAX or not tokens(self.text):
            msg = f"a question has words, and at most {QUESTION_CHARS_MAX:,} characters; this has {len(self.text):,}"
            raise InvalidError(msg, code="query.invalid")
        if not 1 <= self.limit <= LIMIT_MAX:
            raise InvalidError(f"1 to {LIMIT_MAX} memories can be asked for, not {self.limit}", code="query.invalid")
        if self.budget_tokens is not None and not BUDGET_MIN <= self.budget_tokens <= BUDGET_MAX:
            msg = f"a budget of {BUDGET_MIN} to {BUDGET_MAX:,} tokens, not {self.budget_tokens}"
            raise InvalidError(msg, code="query.invalid")


async def recall(
    store: GraphStore, space: str, question: Question, at: AsOf, embed: Embed | None = None
) -> Recall:  # fmt: skip
    """Return the memories that answer *question* as of *at*, the best first.

    Raises:
        NotFoundError: code ``space.unknown``.
        LimitError: a filter names too many.
    """
    now = from_micros(await store.now(space)) if at.valid_at is None else at.valid_at
    return await _Search(store, space, question, AsOf(now, at.known_at), now).answer(embed)


class _Search:
    """One question on its way to an answer."""

    def __init__(self, store: GraphStore, space: str, question: Question, at: AsOf, now: datetime) -> None:
        self._store = store
        self._space = space
        self._question = question
        self._scope = question.scope
        self._at = at
        self._tokens = frozenset(tokens(question.text))
        self._times: Times = times_of(question.text, now)
        self._fusion = Fusion(question.without)
        self._facts: dict[str, Fact] = {}
        self._nodes: dict[str, Node] = {}
        self._notes: list[str] = []

    async def answer(self, embed: Embed | None) -> Recall:
        words = " ".join(content_words(self._question.text))
        said, meant = await asyncio.gather(
            self._store.match_text(self._space, words, scope=self._scope, at=self._at, first=_DEPTH),
            self._meaning(embed),
        )
        self._fusion.rank(Signal.WORDS, said.items)
        self._fusion.rank(Signal.VECTORS, meant.items)
        await self._add_linked(len(said.items))
        await self._carry_on()
        weighed = await self._weigh()
        kept, past = await self._in_force(weighed)
        hits = await self._hits(kept)
        return compose(
            self._question.text, hits, budget_tokens=self._question.budget_tokens, ranked=len(self._fusion.found),
            hidden=max(said.hidden, meant.hidden) + past, notes=self._notes,
        )  # fmt: skip

    async def _meaning(self, embed: Embed | None) -> Matches:
        """Search by meaning where the space has vectors of the embedder's model."""
        nothing = Matches((), 0)
        if embed is None:
            self._notes.append("no embedder: found by words and by the graph alone")
            return nothing
        current = next((one for one in await self._store.generations(self._space) if one.state == "current"), None)
        if current is None:
            self._notes.append("no memory here has a vector yet: found by words and by the graph alone")
            return nothing
        made = await embed(self._question.text)
        if made is None or made[0] != current.model:
            said = "the embedder fails" if made is None else f"the embedder is {made[0]}, the vectors {current.model}'s"
            self._notes.append(f"{said}: found by words and by the graph alone")
            return nothing
        if current.missing:
            self._notes.append(f"{current.missing:,} memories have no vector yet: they are found by words alone")
        return await self._store.match_vector(
            self._space, made[1], current.name, scope=self._scope, at=self._at, first=_DEPTH
        )

    async def _add_linked(self, matched: int) -> None:
        """Take in the latest decisions about what the question names, though no word of theirs is in it."""
        for node in await self._named_entities(matched):
            query = NodeQuery(NodeKind.DECISION, about=node.id, first=_LINKED, newest=True)
            page = await self._store.list_nodes(self._space, query, self._at)
            for fact in await self._decision_words([one.id for one in page.items]):
                self._fusion.found.setdefault(fact.id, _candidate(fact))

    async def _named_entities(self, matched: int) -> list[Node]:
        """Return the entities whose keys or names the question has: "carrier A" is `carrier:A`."""
        asked = tokens(self._question.text, each_once=False)
        keys = [*_KEY.findall(self._question.text), *(f"{one}:{two}" for one, two in pairwise(asked[: 2 * WORDS_MAX]))]
        exact = await self._store.nodes(self._space, keys=list(dict.fromkeys(keys)), at=self._at) if keys else {}
        found = {node.id: node for node in exact.values() if node.kind is NodeKind.ENTITY}
        if not found and matched < _DEPTH and self._scope == EVERYTHING:
            # Names are searched together with texts: with many texts to pass over, that costs more than it finds.
            words = " ".join(content_words(self._question.text))
            hits = await self._store.search_text(self._space, words, kinds=[NodeKind.ENTITY], at=self._at, first=10)
            found = {hit.node.id: hit.node for hit in hits if self._names(hit.node)}
        return list(found.values())[:_NAMED_MAX]

    async def _decision_words(self, decisions: Sequence[str]) -> list[Fact]:
        """Return the records and outcomes of decisions that are within the scope."""
        if not decisions:
            return []
        query = FactQuery(subjects=decisions, predicates=_DECISION_WORDS)
        facts = [one for one in await self._store.facts(self._space, query, self._at) if text_of(one.value)]
        nodes = await self._store.nodes(self._space, ids=decisions, at=self._at)
        about = await self._about(decisions) if self._scope.about is not None else {}
        kept = [one for one in facts if self._within(one, nodes.get(one.subject_id), about)]
        self._facts.update((one.id, one) for one in kept)
        return kept

    async def _about(self, decisions: Sequence[str]) -> dict[str, list[str]]:
        """Return what decisions are about, by their ids."""
        found: dict[str, list[str]] = {}
        query = FactQuery(subjects=decisions, predicates=[ABOUT])
        for edge in await self._store.facts(self._space, query, self._at):
            found.setdefault(edge.subject_id, []).append(edge.object_id or "")
        return found

    async def _carry_on(self) -> None:
        """Carry the scores of the best on: to their neighbours in time, along evidence, within a subject."""
        seeds = [one for one in self._fusion.best(_SEEDS) if one.score > 0]
        if not seeds:
            return
        scores = {one.fact: one.score for one in seeds}
        around = await self._store.around(self._space, list(scores), each_side=_EACH_SIDE, at=self._at)
        links = [(via, near) for via in scores for near in around.get(via, ())]
        # Neighbours share subject and predicate with what was found; the other filters are asked of the fact.
        if self._filters_sources():
            await self._read([near.fact for _, near in links if near.fact not in self._fusion.found])
            links = [(via, near) for via, near in links if near.fact in self._fusion.found or self._fits(near.fact)]
        chain = await self._chain(seeds[:_CHAINED])
        self._fusion.spread(Signal.NEIGHBOUR, scores, links)
        self._fusion.spread(Signal.EVIDENCE, scores, chain)
        self._fusion.lift_subjects(seeds)

    async def _read(self, ids: Iterable[str]) -> None:
        missing = [one for one in dict.fromkeys(ids) if one not in self._facts]
        if missing:
            known_at = None if self._at.known_at is None else to_micros(self._at.known_at)
            self._facts.update(await self._store.facts_by_id(self._space, missing, known_at=known_at))

    def _filters_sources(self) -> bool:
        scope = self._scope
        filters = (scope.sessions, scope.actors, scope.trust_min, scope.since, scope.until)
        return any(one is not None for one in filters)

    def _fits(self, fact_id: str) -> bool:
        fact = self._facts.get(fact_id)
        return fact is not None and self._of_source(fact)

    def _of_source(self, fact: Fact) -> bool:
        """Tell whether *fact* meets the filters on where it comes from and when it began."""
        scope, source = self._scope, fact.source
        if scope.sessions is not None and (source is None or source.session_id not in scope.sessions):
            return False
        if scope.actors is not None and (source is None or source.actor_id not in scope.actors):
            return False
        if scope.trust_min is not None and fact.trust.level < scope.trust_min.level:
            return False
        start = to_micros(fact.valid_from)
        return (scope.since is None or start >= scope.since) and (scope.until is None or start < scope.until)

    def _within(self, fact: Fact, subject: Node | None, about: Mapping[str, Sequence[str]]) -> bool:
        """Tell whether a fact that no search returned is within the scope."""
        scope = self._scope
        if subject is None or not self._of_source(fact):
            return False
        if scope.kinds is not None and subject.kind not in scope.kinds:
            return False
        if scope.types is not None and subject.type not in scope.types:
            return False
        if scope.predicates is not None and fact.predicate not in scope.predicates:
            return False
        touched = {subject.id, *about.get(subject.id, ())}
        return scope.about is None or not touched.isdisjoint(scope.about)

    async def _chain(self, seeds: Sequence[Candidate]) -> list[tuple[str, Match]]:
        """Follow evidence: from memories to the decisions that rest on them, from decisions to what they rest on."""
        owner = {one.subject: one.fact for one in reversed(seeds)}
        by_node = {**owner, **{one.fact: one.fact for one in seeds}}
        back = FactQuery(objects=list(by_node), predicates=_CHAIN)
        on = FactQuery(subjects=list(owner), predicates=_CHAIN)
        resting = await self._store.facts(self._space, back, self._at)
        based = await self._store.facts(self._space, on, self._at)
        via: dict[str, str] = {}
        for edge in (*resting, *based):
            ends = [(edge.object_id or "", edge.subject_id), (edge.subject_id, edge.object_id or "")]
            for known, reached in ends:
                if known in by_node and reached not in by_node:
                    via.setdefault(reached, by_node[known])
        targets = sorted(via)[:_DEPTH]
        decided = await self._decision_words(targets)
        links = [(via[fact.subject_id], _match(fact)) for fact in decided]
        return links + [(via[fact.id], _match(fact)) for fact in await self._holding(targets)]

    async def _holding(self, ids: Sequence[str]) -> list[Fact]:
        """Return those of *ids* that are memories, hold at the question's instants and are within its scope."""
        if not ids:
            return []
        known_at = None if self._at.known_at is None else to_micros(self._at.known_at)
        valid_at = None if self._at.valid_at is None else to_micros(self._at.valid_at)
        found = await self._store.facts_by_id(self._space, ids, known_at=known_at)
        memories = [one for one in found.values() if text_of(one.value)]
        held = await self._store.held(self._space, [Point(one.id, valid_at, known_at) for one in memories])
        kept = [one for one, now in zip(memories, held, strict=True) if now is not None and now.id == one.id]
        nodes = await self._store.nodes(self._space, ids=[one.subject_id for one in kept], at=self._at)
        within = [one for one in kept if self._within(one, nodes.get(one.subject_id), {})]
        self._facts.update((one.id, one) for one in within)
        return within

    async def _weigh(self) -> list[Candidate]:
        """Prefer what lies in the times and touches the names of the question; return the best in order."""
        for one in self._fusion.found.values():
            if self._times and self._times.prefer(from_micros(one.valid_from)):
                self._fusion.lift(Signal.TIME, one)
        found = self._fusion.best(self._question.limit + _SPARE)
        await self._read(one.fact for one in found)
        best = [one for one in found if one.fact in self._facts]
        facts = [self._facts[one.fact] for one in best]
        nodes = await self._store.nodes(self._space, ids=sorted(_touched(facts)), at=self._at)
        decisions = [one.id for one in nodes.values() if one.kind is NodeKind.DECISION]
        about = await self._about(decisions) if decisions else {}
        others = sorted({target for targets in about.values() for target in targets} - nodes.keys())
        nodes |= await self._store.nodes(self._space, ids=others, at=self._at) if others else {}
        self._nodes = nodes
        named = {node.id for node in nodes.values() if self._names(node)}
        for one, fact in zip(best, facts, strict=True):
            if named and not named.isdisjoint({*_touched([fact]), *about.get(fact.subject_id, ())}):
                self._fusion.lift(Signal.NAMED, one)
        return sorted((one for one in best if self._tells(self._facts[one.fact])), key=lambda one: one.order)

    def _tells(self, fact: Fact) -> bool:
        """Tell whether *fact* is knowledge; marks, steps and what is only proposed are found by asking for them."""
        scope, subject = self._scope, self._nodes.get(fact.subject_id)
        if scope.predicates is not None or scope.kinds is not None or scope.types is not None or subject is None:
            return True
        return fact.predicate not in MARKS and subject.kind not in WORKINGS and subject.type != _PROPOSAL

    def _names(self, node: Node) -> bool:
        """Tell whether the question names *node*: it has every word of its name or of its key."""
        key = node.key or ""
        if len(whole := tokens(key)) > 1 and self._tokens.issuperset(whole):
            return True
        # Of a thing without a name of its own, the key's last part is one.
        name = tokens(key.partition(":")[2] if node.name == key else node.name)
        telling = any(len(word) >= _NAME_CHARS_MIN and not word.isdigit() for word in content_words(" ".join(name)))
        return telling and self._tokens.issuperset(name)

    async def _in_force(self, weighed: Sequence[Candidate]) -> tuple[list[Candidate], int]:
        """Leave out decisions that are not in force any more, and count them."""
        if self._question.past:
            return list(weighed), 0
        subjects = {self._facts[one.fact].subject_id for one in weighed}
        decisions = sorted(one for one in subjects if one in self._nodes and self._nodes[one].kind is NodeKind.DECISION)
        if not decisions:
            return list(weighed), 0
        statuses = await self._store.facts(self._space, FactQuery(subjects=decisions, predicates=[STATUS]), self._at)
        out = {one.subject_id for one in statuses if one.value is not None and one.value.data in PAST}
        kept = [one for one in weighed if self._facts[one.fact].subject_id not in out]
        return kept, len(weighed) - len(kept)

    async def _hits(self, ordered: Sequence[Candidate]) -> list[Recalled]:
        """Show the best with what they are of, and who said them."""
        best, nodes = ordered[: self._question.limit], self._nodes
        said = {one.fact: self._statement(self._facts[one.fact]) for one in best}
        words = await fill(self._store, self._space, slots_in(list(said.values())), self._at)
        hits: list[Recalled] = []
        for one in best:
            fact = self._facts[one.fact]
            subject = nodes.get(fact.subject_id)
            if subject is None or fact.erased:
                continue
            statement = said[one.fact]
            text = words_of(fact) if statement is None else str(filled(statement, words))
            actor = nodes.get(fact.source.actor_id) if fact.source is not None else None
            clues = sorted(one.clues.values(), key=lambda clue: (-clue.share, clue.signal))
            cut = len(text) > TEXT_CHARS_MAX
            shown = text[:TEXT_CHARS_MAX] + "…" if cut else text
            hits.append(Recalled(fact, subject, actor, shown, cut, round(one.score, 6), tuple(clues)))
        return hits

    def _statement(self, fact: Fact) -> str | None:
        """Return what a pattern says, with its slots; None for a memory that is no pattern's words."""
        subject = self._nodes.get(fact.subject_id)
        if subject is None or subject.kind is not NodeKind.PATTERN or fact.value is None:
            return None
        said = fact.value.data.get("statement") if isinstance(fact.value.data, dict) else None
        return said if isinstance(said, str) else None


def _candidate(fact: Fact) -> Candidate:
    return Candidate(fact.id, fact.subject_id, to_micros(fact.valid_from))


def _match(fact: Fact) -> Match:
    return Match(fact.id, fact.subject_id, 1.0, to_micros(fact.valid_from))


def _touched(facts: Iterable[Fact]) -> set[str]:
    """Return the nodes that facts touch: what they are of, what they point at, who said them and where."""
    found: set[str] = set()
    for fact in facts:
        found.add(fact.subject_id)
        if fact.object_id is not None:
            found.add(fact.object_id)
        if fact.source is not None:
            found.add(fact.source.actor_id)
    return found
