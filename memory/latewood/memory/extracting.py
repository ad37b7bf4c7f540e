"""Extraction: sessions are shown to a model chunk by chunk, and what it reads out of them is kept as proposals.

Each chunk is one unit: its proposals, and that it was read. Whatever stops a run, the next goes on behind the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from latewood.graph_schema.commands import Assert, Command, Ref, SourceSpec
from latewood.graph_schema.errors import InvalidError, LatewoodError, UnavailableError
from latewood.graph_schema.model import Node, NodeKind, Trust
from latewood.graph_schema.values import Json, Value
from latewood.ingestion.extraction.answers import Draft, read_answer
from latewood.ingestion.extraction.chat import ANSWER_TOKENS_MAX, Answer
from latewood.ingestion.extraction.prompt import PROMPT_VERSION, SYSTEM, question
from latewood.ingestion.extraction.turns import Chunk, Turn, chunks, turn_of
from latewood.memory.api import Memory
from latewood.memory.proposals import PROPOSAL, proposal_commands
from latewood.reasoning.tokens import tokens_of
from latewood.storage.port import PAGE_MAX, FactQuery

__all__ = ["ExtractionReject", "ExtractionReport", "Model", "extract"]

READ: Final = "read_by_model"
"""Of a session: which chunk of it was shown to which model with which prompt."""
_TURNS: Final = "said"
_SESSIONS_MAX: Final = 10_000
_TURNS_MAX: Final = 20_000
_LISTED_MAX: Final = 1_000

Progress = Callable[[int, int], None]


class Model(Protocol):
    """What answers questions; `latewood.ingestion.extraction.chat.ChatModel` is one."""

    @property
    def name(self) -> str:
        """The model's name, kept with each proposal."""
        ...

    def ask(self, question: str) -> Answer:
        """Answer; blocks."""
        ...


@dataclass(frozen=True, slots=True)
class ExtractionReject:
    """A part of an answer, or a chunk, that became no proposal."""

    session: str
    code: str
    reason: str
    excerpt: str


@dataclass(slots=True)
class ExtractionReport:
    """What an extraction did, or in a dry run would do.

    Attributes:
        chunks: how many there are to read; *read* were, *before* had been read by an earlier run.
        tokens: what the model counted, or where it counted nothing the estimate; *estimate* is what all would cost.
        proposed: how many proposals are new; *known* were made before.
        rejects: the first `_LISTED_MAX`; *rejected* counts them all.
        stopped: why not everything was read: ``budget``, or the code of the error that the model's server gave.
        bounded: there were more sessions or turns than one run looks at.
    """

    model: str
    budget_tokens: int
    sessions: int = 0
    chunks: int = 0
    read: int = 0
    before: int = 0
    tokens: int = 0
    estimate: int = 0
    proposed: int = 0
    known: int = 0
    rejected: int = 0
    rejects: list[ExtractionReject] = field(default_factory=list[ExtractionReject])
    stopped: str | None = None
    bounded: bool = False

    def reject(self, session: Node, code: str, reason: str, excerpt: str) -> None:
        """Note a part of an answer that was refused."""
        self.rejected += 1
        if len(self.rejects) < _LISTED_MAX:
            self.rejects.append(ExtractionReject(session.key or session.id, code, reason, excerpt))


def _cost(chunk: Chunk) -> int:
    """Return how many tokens a chunk costs at most, the answer included."""
    return tokens_of(SYSTEM) + tokens_of(question(chunk)) + ANSWER_TOKENS_MAX


async def extract(
    memory: Memory, model: Model, *, budget_tokens: int, session: str | None = None, dry_run: bool = False,
    progress: Progress | None = None,
) -> ExtractionReport:  # fmt: skip
    """Show what was said to *model*, and keep what it reads out of it as proposals.

    Turns that an earlier run showed to the same model with the same prompt are not shown again. What a proposal says
    holds of nothing until it is accepted (`latewood.memory.proposals`).

    Args:
        budget_tokens: no question is asked that could take the run beyond it.
        session: the id or key of one session; all when left out.
        dry_run: only count, and estimate from above what it would cost.

    Raises:
        InvalidError: code ``query.invalid`` for a budget below 1.
        NotFoundError: for an unknown session.
    """
    if budget_tokens < 1:
        raise InvalidError(f"a budget has at least 1 token, not {budget_tokens}", code="query.invalid")
    report = ExtractionReport(model.name, budget_tokens)
    todo: list[tuple[Node, Chunk]] = []
    for one in await _sessions(memory, session, report):
        done = await _done(memory, one, model)
        found = chunks([turn for turn in await _turns(memory, one, report) if turn is not None])
        report.sessions += bool(found)
        report.chunks += len(found)
        report.before += sum(chunk.digest in done for chunk in found)
        todo += [(one, chunk) for chunk in found if chunk.digest not in done]
    report.estimate = sum(_cost(chunk) for _, chunk in todo)
    if dry_run:
        return report
    for number, (one, chunk) in enumerate(todo):
        if progress is not None:
            progress(number, len(todo))
        if report.tokens + _cost(chunk) > budget_tokens:
            report.stopped = "budget"
            break
        try:
            answer = await asyncio.to_thread(model.ask, question(chunk))
        except UnavailableError as error:
            report.stopped = error.code
            report.reject(one, error.code, error.message, "")
            break
        except LatewoodError as error:
            report.reject(one, error.code, error.message, "")
            continue
        report.tokens += answer.tokens if answer.tokens is not None else _cost(chunk)
        await _keep(memory, model, one, chunk, answer, report)
    if progress is not None:
        progress(len(todo), len(todo))
    return report


async def _sessions(memory: Memory, session: str | None, report: ExtractionReport) -> list[Node]:
    if session is not None:
        found = await memory.node(session)
        return [found]
    listed: list[Node] = []
    after: str | None = None
    while len(listed) < _SESSIONS_MAX:
        page = await memory.nodes(kind=NodeKind.SESSION, first=PAGE_MAX, after=after)
        listed += page.items
        after = page.next
        if after is None:
            return listed
    report.bounded = True
    return listed


async def _done(memory: Memory, session: Node, model: Model) -> set[str]:
    """Return the digests of the chunks that *model* was shown with this prompt."""
    query = FactQuery(subjects=[session.id], predicates=[READ])
    marks = [fact.value.text() for fact in await memory.store.facts(memory.space, query) if fact.value is not None]
    ours = f"{model.name} {PROMPT_VERSION} "
    return {mark.removeprefix(ours) for mark in marks if mark.startswith(ours)}


async def _turns(memory: Memory, session: Node, report: ExtractionReport) -> list[Turn | None]:
    found: list[Turn | None] = []
    after: str | None = None
    while len(found) < _TURNS_MAX:
        page = await memory.timeline_of([session.id], [_TURNS], first=PAGE_MAX, after=after)
        found += [turn_of(fact) for fact in page.items if fact.retired_at is None and not fact.absent]
        after = page.next
        if after is None:
            return found
    report.bounded = True
    return found


async def _keep(
    memory: Memory, model: Model, session: Node, chunk: Chunk, answer: Answer, report: ExtractionReport
) -> None:
    """Keep what *answer* proposes, and that the chunk was read, in one unit."""
    drafts, refused = read_answer(answer.text, chunk)
    for one in refused:
        report.reject(session, one.code, one.reason, one.excerpt)
    if answer.cut:
        report.reject(session, "limit.exceeded", f"the answer was cut at {ANSWER_TOKENS_MAX} tokens", "")
    if refused and not drafts and refused[0].reason.startswith("the answer"):
        # Nonsense is no reading: the next run asks again.
        return
    keys = {f"{PROPOSAL}:{draft.digest}": draft for draft in drafts}
    there = await memory.store.nodes(memory.space, keys=list(keys)) if keys else {}
    fresh: list[Draft] = [draft for key, draft in keys.items() if key not in there]
    commands: list[Command] = [command for draft in fresh for command in proposal_commands(memory, draft)]
    mark: Json = f"{model.name} {PROMPT_VERSION} {chunk.digest}"
    commands.append(Assert(memory.ids.new(), Ref(id=session.id), READ, Value.of(mark, where="a mark"), relation=True))
    trust = min((turn.trust for turn in chunk.turns), key=lambda one: one.level)
    source = SourceSpec(
        origin=chunk.turns[0].origin, method="extracted", model=model.name, prompt_version=PROMPT_VERSION
    )
    try:
        await memory.write(
            commands, ["extract", mark], by=f"model:{model.name}", source=source,
            trust=min((trust, Trust.EXTRACTED), key=lambda one: one.level), idempotency_key=f"extract:{mark}",
        )  # fmt: skip
    except UnavailableError:
        raise
    except LatewoodError as error:
        report.reject(session, error.code, error.message, chunk.digest)
        return
    report.read += 1
    report.proposed += len(fresh)
    report.known += len(keys) - len(fresh)
