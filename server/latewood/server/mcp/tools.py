"""The tools: few, each over verbs of `Memory`, described for a model that has never seen them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from mcp.server import MCPServer
from mcp.types import ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.ids import is_id
from latewood.graph_schema.model import Alternative, DecisionStatus, NodeKind
from latewood.graph_schema.values import Json, Scalar
from latewood.memory import Axis, Memory, Written
from latewood.memory.proposals import accept, proposals, reject
from latewood.server.mcp.answers import Answer, Budget, answered, paged, pruned, told, whole
from latewood.storage.port import Page

__all__ = ["WRITER", "Rejected", "add_tools"]

WRITER: Final = "agent:mcp"
"""Who writes when neither the call nor the server names an actor."""

Space: TypeAlias = Annotated[str | None, Field(description="Which space; left out, the server's own.")]
ValidAt: TypeAlias = Annotated[datetime | None, Field(description="As it held then, with an offset; left out, now.")]
KnownAt: TypeAlias = Annotated[datetime | None, Field(description="As it was known then; left out, now.")]
Cursor: TypeAlias = Annotated[str | None, Field(description="From the last answer, to go on behind it.")]
By: TypeAlias = Annotated[str | None, Field(description="Who says so, such as agent:planner or human:ada.")]
Session: TypeAlias = Annotated[str | None, Field(description="Your session's name.")]
Source: TypeAlias = Annotated[str | None, Field(description="The path or URL that says so; left out, you do.")]
Once: TypeAlias = Annotated[str | None, Field(description="Repeat a call with the same key: it writes once.")]
AnyValue: TypeAlias = str | int | float | bool | dict[str, Any] | None
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=20_000)]

_READS: Final = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_WRITES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)


class Rejected(BaseModel):
    """An alternative that was not taken."""

    model_config = ConfigDict(extra="forbid")
    title: str = Field(description="What it was.")
    rejected_because: str | None = Field(default=None, description="Why not.")


def _wrote(written: Written, **more: Any) -> Answer:
    receipt = written.receipt
    found: dict[str, Any] = {
        "id": written.id, "receipt": receipt.id, "replayed": receipt.replayed, "registered": list(receipt.registered),
        "declared": list(receipt.declared), "not_holding": [one.held_by for one in receipt.not_holding], **more,
    }  # fmt: skip
    return pruned(found)  # type: ignore[return-value]


def _strict(server: MCPServer[Any], name: str) -> None:
    """Refuse arguments that the tool does not have: a model that misspells one must hear of it."""
    tool = server._tool_manager.get_tool(name)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if tool is None:  # pragma: no cover - it was added just now
        raise KeyError(name)
    model = tool.fn_metadata.arg_model
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    tool.parameters["additionalProperties"] = False


def add_tools(server: MCPServer[Any], memory: Memory) -> None:
    """Give *server* the tools over *memory*."""
    known: list[str] = []

    def tool(annotations: ToolAnnotations) -> Callable[[Callable[..., Awaitable[Answer]]], None]:
        def take(work: Callable[..., Awaitable[Answer]]) -> None:
            server.tool(annotations=annotations, structured_output=True, description=inspect.getdoc(work))(work)
            known.append(work.__name__)

        return take

    _reading(tool, memory)
    _looking(tool, memory)
    _writing(tool, memory)
    _amending(tool, memory)
    for name in known:
        _strict(server, name)


_Tool: TypeAlias = "Callable[[ToolAnnotations], Callable[[Callable[..., Awaitable[Answer]]], None]]"


def _reading(tool: _Tool, memory: Memory) -> None:
    @tool(_READS)
    async def recall(
        query: Annotated[Text, Field(description="A question or words.")], budget_tokens: Budget = 800,
        about: Annotated[list[str] | None, Field(description="Only of these, by id or key, such as carrier:A.")] = None,
        session: Annotated[str | None, Field(description="Only from this session.")] = None,
        since: Annotated[datetime | None, Field(description="Only what became true since.")] = None,
        until: Annotated[datetime | None, Field(description="Only what became true before.")] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="Most memories.")] = 20, space: Space = None,
        valid_at: ValidAt = None, known_at: KnownAt = None,
    ) -> Answer:  # fmt: skip
        """Find what is remembered: turns, notes, decisions and facts, by words, meaning and graph, the best first.

        Superseded knowledge is left out and counted. Each memory says when it became true, its trust and its source.
        """
        handle, at = memory.within(space=space), AsOf(valid_at, known_at)

        async def read(tokens: int) -> tuple[str, list[str], dict[str, Json]]:
            found = await handle.recall(
                query, limit=limit, budget_tokens=tokens, about=about or (), session=session, since=since, until=until,
                at=at,
            )  # fmt: skip
            more: dict[str, Json] = {
                "superseded": found.hidden or None, "left_out": found.left_out or None, "notes": list(found.notes),
            }  # fmt: skip
            return found.text, [hit.fact.id for hit in found.hits], more

        return await answered(told(read, budget_tokens))

    @tool(_READS)
    async def brief(
        about: Annotated[str | None, Field(description="An id, a key, or words; left out, everything.")] = None,
        since: Annotated[datetime | None, Field(description="Your last visit; left out, a week ago.")] = None,
        budget_tokens: Budget = 800, space: Space = None, valid_at: ValidAt = None, known_at: KnownAt = None,
    ) -> Answer:  # fmt: skip
        """Start here: what is open, disputed or stale, precedents, what was superseded lately, and what is in force."""
        handle, at = memory.within(space=space), AsOf(valid_at, known_at)

        async def read(tokens: int) -> tuple[str, list[str], dict[str, Json]]:
            found = await handle.brief(about, since=since, budget_tokens=tokens, at=at)
            return found.text, [line.ref for line in found.lines], {"left_out": dict(found.left_out)}

        return await answered(told(read, budget_tokens))

    @tool(_READS)
    async def get(
        thing: Annotated[Text, Field(description="An id or a key: adr:12, carrier:A, a UUID.")],
        budget_tokens: Budget = 1_500, space: Space = None, valid_at: ValidAt = None, known_at: KnownAt = None,
    ) -> Answer:  # fmt: skip
        """Read one thing whole: a decision, an entity with the facts that hold of it, or one fact by its id."""
        handle, at = memory.within(space=space), AsOf(valid_at, known_at)

        async def read() -> Answer:
            try:
                node = await handle.node(thing, at)
            except NotFoundError:
                if not is_id(thing):
                    raise
                return whole(await handle.fact(thing, known_at=known_at), budget_tokens, kind="fact")
            if node.kind is NodeKind.DECISION:
                return whole(await handle.decision(node.id, at), budget_tokens, kind="decision")
            return whole(await handle.entity(node.id, at=at), budget_tokens, kind=node.kind.value)

        return await answered(read())

    @tool(_READS)
    async def why(
        decision: Annotated[str | None, Field(description="A decision's id or key.")] = None,
        about: Annotated[str | None, Field(description="Or an entity, or words: the decisions about it.")] = None,
        budget_tokens: Budget = 1_500, space: Space = None, valid_at: ValidAt = None, known_at: KnownAt = None,
    ) -> Answer:  # fmt: skip
        """Say why something was decided: trigger, evidence as known then, rationale, rejected alternatives, who, and
        what followed. Give decision or about.
        """
        handle, at = memory.within(space=space), AsOf(valid_at, known_at)

        async def read() -> Answer:
            if (decision is None) == (about is None):
                raise InvalidError("give decision or about: exactly one of the two", code="query.invalid")
            chains = (
                [await handle.why(decision, at)] if decision is not None else await handle.why_about(about or "", at)
            )
            told = [
                {
                    "decision": {"id": one.decision.id, "key": one.decision.key, "title": one.decision.title},
                    "in_force": [part.key or part.id for part in one.in_force],
                    "chain": [f"{line.role}: {line.text}" for line in one.lines],
                }
                for one in chains
            ]
            return whole(told, budget_tokens)

        return await answered(read())


def _looking(tool: _Tool, memory: Memory) -> None:
    @tool(_READS)
    async def timeline(
        thing: Annotated[Text, Field(description="An id or a key.")],
        predicates: Annotated[list[str] | None, Field(description="Only these predicates.")] = None,
        cursor: Cursor = None, budget_tokens: Budget = 1_500, space: Space = None, known_at: KnownAt = None,
    ) -> Answer:  # fmt: skip
        """List everything that was ever asserted of a thing, in the order of valid time, retracted facts marked."""
        handle = memory.within(space=space)

        async def read(first: int, after: str | None) -> Page[Any]:
            return await handle.timeline(thing, predicates=predicates, known_at=known_at, first=first, after=after)

        return await answered(paged(read, cursor, budget_tokens))

    @tool(_READS)
    async def diff(
        since: Annotated[datetime, Field(description="After this instant, with an offset.")],
        until: Annotated[datetime, Field(description="Up to this one.")],
        about: Annotated[str | None, Field(description="Only of this thing, or of those that the words find.")] = None,
        axis: Annotated[Literal["known", "valid"], Field(description="What was learned, or became true.")] = "known",
        cursor: Cursor = None, budget_tokens: Budget = 1_500, space: Space = None,
    ) -> Answer:  # fmt: skip
        """List what changed between two instants, each change with what held before."""
        handle = memory.within(space=space)

        async def read(first: int, after: str | None) -> Page[Any]:
            return await handle.diff(since, until, about=about, axis=Axis(axis), first=first, after=after)

        return await answered(paged(read, cursor, budget_tokens))

    @tool(_READS)
    async def review(
        what: Annotated[
            Literal["proposals", "stale", "missing_decisions"],
            Field(description="What models proposed; decisions whose evidence moved; decisions in words alone."),
        ],
        cursor: Cursor = None, budget_tokens: Budget = 1_500, space: Space = None,
    ) -> Answer:  # fmt: skip
        """List what waits for somebody: proposals to settle with amend, stale decisions, decisions not recorded yet."""
        handle = memory.within(space=space)

        async def read(first: int, after: str | None) -> Page[Any]:
            if what == "proposals":
                return await proposals(handle, first=first, after=after)
            if what == "stale":
                return await handle.stale(first=first, after=after)
            return await handle.missing_decisions(first=min(first, 20), after=after)

        return await answered(paged(read, cursor, budget_tokens))


def _writer(memory: Memory, space: str | None, by: str | None, session: str | None) -> Memory:
    handle = memory.within(space=space, by=by, session=session)
    return handle if handle.names_actor else handle.within(by=WRITER)


def _writing(tool: _Tool, memory: Memory) -> None:

    @tool(_WRITES)
    async def decide(
        choice: Annotated[Text, Field(description="What was chosen.")],
        because: Annotated[Text, Field(description="Why: the one thing that nobody can look up later.")], *,
        title: Annotated[str | None, Field(description="A short name; left out, the choice's beginning.")] = None,
        question: Annotated[str | None, Field(description="What was to be decided.")] = None,
        about: Annotated[list[str] | None, Field(description="Things it concerns, by key, such as carrier:A.")] = None,
        evidence: Annotated[list[str] | None, Field(description="Ids of facts or decisions that it rests on.")] = None,
        alternatives: Annotated[list[Rejected] | None, Field(description="What was not taken, and why.")] = None,
        supersedes: Annotated[list[str] | None, Field(description="Decisions whose place it takes.")] = None,
        status: Annotated[
            Literal["accepted", "proposed", "rejected", "deferred"], Field(description="Where it stands.")
        ] = "accepted",
        confidence: Annotated[float | None, Field(ge=0, le=1, description="How sure, 0 to 1.")] = None,
        expected: Annotated[str | None, Field(description="What should follow if it was right.")] = None,
        by: By = None, session: Session = None, source: Source = None, idempotency_key: Once = None,
        space: Space = None,
    ) -> Answer:  # fmt: skip
        """Record a decision at the moment it is taken, with its reason. Small ones too: they are what gets lost."""
        rejected = [Alternative(one.title, one.rejected_because) for one in alternatives or ()]
        return _wrote(
            await answered(
                _writer(memory, space, by, session).decide(
                    choice, because=because, title=title, question=question, about=about or (), evidence=evidence or (),
                    alternatives=rejected, supersedes=supersedes or (), status=DecisionStatus(status),
                    confidence=confidence, expected=expected, source=source, idempotency_key=idempotency_key,
                )
            )
        )  # fmt: skip

    @tool(_WRITES)
    async def record(
        subject: Annotated[Text, Field(description="What it is about, by key or id, such as carrier:A.")],
        predicate: Annotated[Text, Field(description="In which respect, in snake_case: on_time_rate, serves.")],
        *,
        value: Annotated[AnyValue, Field(description="The value. Give value or target.")] = None,
        target: Annotated[str | None, Field(description="Or the thing it is related to, by key or id.")] = None,
        unit: Annotated[str | None, Field(description="Of the value, such as EUR.")] = None,
        valid_from: Annotated[datetime | None, Field(description="Since when it is true; left out, now.")] = None,
        valid_to: Annotated[datetime | None, Field(description="Until when, if that is known.")] = None,
        quote: Annotated[str | None, Field(description="The words it rests on.")] = None,
        by: By = None, session: Session = None, source: Source = None, idempotency_key: Once = None,
        space: Space = None,
    ) -> Answer:  # fmt: skip
        """Record a fact: a value of a thing, or its relation to another. A newer one takes an older one's place, and
        both stay known.
        """
        handle = _writer(memory, space, by, session)

        async def write() -> Written:
            if (value is None) == (target is None):
                raise InvalidError("give value or target: exactly one of the two", code="query.invalid")
            if target is not None:
                return await handle.relate(
                    subject, predicate, target, valid_from=valid_from, valid_to=valid_to, quote=quote, source=source,
                    idempotency_key=idempotency_key,
                )  # fmt: skip
            return await handle.observe(
                subject, predicate, cast("Scalar", value), unit=unit, valid_from=valid_from, valid_to=valid_to,
                quote=quote, source=source, idempotency_key=idempotency_key,
            )  # fmt: skip

        return _wrote(await answered(write()))


def _amending(tool: _Tool, memory: Memory) -> None:
    @tool(_WRITES)
    async def amend(
        action: Annotated[
            Literal["correct", "end", "retract", "supersede", "accept", "reject"],
            Field(description=(
                "correct: it was never so, the value is; end: it stopped being true; retract: it was never true; "
                "supersede: the decision `with_decision` takes its place; accept, reject: settle a proposal."
            )),
        ],
        target: Annotated[Text, Field(description="The fact's, decision's or proposal's id (or key).")],
        value: Annotated[AnyValue, Field(description="correct: what was so.")] = None,
        with_decision: Annotated[str | None, Field(description="supersede: the newer decision.")] = None,
        because: Annotated[str | None, Field(description="Why. Needed to reject.")] = None,
        at: Annotated[datetime | None, Field(description="end, supersede: when, in the world; left out, now.")] = None,
        by: By = None, session: Session = None, source: Source = None, idempotency_key: Once = None,
        space: Space = None,
    ) -> Answer:  # fmt: skip
        """Mend or settle what is recorded. Nothing is deleted: what was known stays known as of then."""
        handle = _writer(memory, space, by, session)

        async def write() -> Written:
            if action == "correct":
                if value is None:
                    raise InvalidError("a correction needs the value that was so", code="query.invalid")
                return await handle.correct(
                    target, value, because=because, source=source, idempotency_key=idempotency_key
                )
            if action == "end":
                return await handle.end(target, at=at, because=because, source=source, idempotency_key=idempotency_key)
            if action == "retract":
                return await handle.retract(target, because=because, source=source, idempotency_key=idempotency_key)
            if action == "accept":
                return await accept(handle, target)
            if action == "reject":
                return await reject(handle, target, because=because or "")
            if with_decision is None:
                raise InvalidError("supersede needs with_decision: the newer decision", code="query.invalid")
            return await handle.supersede(target, with_decision, at=at, source=source, idempotency_key=idempotency_key)

        return _wrote(await answered(write()))
