"""The tools that read: few, each over verbs of `Memory`, described for a model that has never seen them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from mcp.server.mcpserver.tools import Tool as Offered
from pydantic import Field

from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.ids import is_id
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.patterns import PatternKind, PatternStatus
from latewood.graph_schema.values import Json
from latewood.memory import Axis, Memory
from latewood.memory.patterns import explain
from latewood.memory.patterns import patterns as listed
from latewood.memory.proposals import proposals
from latewood.reasoning.brief import BUDGET_MIN
from latewood.reasoning.missing import MissingDecision
from latewood.reasoning.recall import LIMIT_MAX
from latewood.server.mcp.answers import Answer, Budget, answered, paged, told, whole
from latewood.server.mcp.arguments import READS, Cursor, KnownAt, Space, Text, Tool, ValidAt, tool_into
from latewood.server.mcp.lines import brief_with_ids, chain_with_ids, lines_with_ids
from latewood.server.mcp.posting import add_posting
from latewood.server.mcp.running import add_running
from latewood.server.mcp.strictness import Instant
from latewood.server.mcp.writing import add_writing
from latewood.storage.port import Page

__all__ = ["tools_over"]

_SESSIONS: Final = 20


def tools_over(memory: Memory) -> list[Offered]:
    """Make the tools over *memory*."""
    offered: list[Offered] = []
    tool = tool_into(offered)
    _finding(tool, memory)
    _reading(tool, memory)
    _looking(tool, memory)
    add_writing(tool, memory)
    add_running(tool, memory)
    add_posting(tool, memory)
    return offered


def _finding(tool: Tool, memory: Memory) -> None:
    @tool(READS)
    async def recall(
        query: Annotated[Text, Field(description="A question or words.")], budget_tokens: Budget = 800,
        about: Annotated[list[str] | None, Field(description="Only of these, by id or key, such as carrier:A.")] = None,
        session: Annotated[str | None, Field(description="Only from this session.")] = None,
        since: Annotated[Instant | None, Field(description="Only what became true since.")] = None,
        until: Annotated[Instant | None, Field(description="Only what became true before.")] = None,
        limit: Annotated[int, Field(ge=1, le=LIMIT_MAX, description="Most memories.")] = 20, cursor: Cursor = None,
        space: Space = None,
        valid_at: ValidAt = None, known_at: KnownAt = None,
    ) -> Answer:  # fmt: skip
        """Find what is remembered: turns, notes, decisions and facts, by words, meaning and graph, the best first.

        Superseded knowledge is left out and counted. Each memory says when it became true, its trust and its source.
        """
        handle, at = memory.within(space=space), AsOf(valid_at, known_at)

        async def look() -> Answer:
            past = _passed(cursor)
            if past >= limit:
                raise InvalidError(f"the cursor is behind the {limit} memories asked for", code="cursor.invalid")
            found = await handle.recall(
                query, limit=limit, about=about or (), session=session, since=since, until=until, at=at
            )
            hits = found.hits[past:]

            async def write(tokens: int) -> tuple[str, dict[str, Json]]:
                lines, kept = lines_with_ids(hits, tokens)
                rest = len(hits) - kept
                more: dict[str, Json] = {
                    "superseded": found.hidden or None, "left_out": rest or None, "notes": list(found.notes),
                    "cursor": str(past + kept) if rest and kept else None,
                }  # fmt: skip
                return lines, more

            return await told(write, budget_tokens)

        return await answered(look())

    @tool(READS)
    async def brief(
        about: Annotated[str | None, Field(description="An id, a key, or words; left out, everything.")] = None,
        since: Annotated[Instant | None, Field(description="Your last visit; left out, a week ago.")] = None,
        budget_tokens: Budget = 800, space: Space = None, valid_at: ValidAt = None, known_at: KnownAt = None,
    ) -> Answer:  # fmt: skip
        """Start here: what is open, disputed or stale, precedents, what was superseded lately, and what is in force."""
        handle, at = memory.within(space=space), AsOf(valid_at, known_at)

        async def read(tokens: int) -> tuple[str, dict[str, Json]]:
            found = await handle.brief(about, since=since, budget_tokens=max(tokens, BUDGET_MIN), at=at)
            return brief_with_ids(found), {"left_out": dict(found.left_out)}

        return await answered(told(read, budget_tokens))


def _reading(tool: Tool, memory: Memory) -> None:
    @tool(READS)
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

    @tool(READS)
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
                    "chain": chain_with_ids(one),
                }
                for one in chains
            ]
            return whole(told, budget_tokens)

        return await answered(read())


def _by_session(page: Page[MissingDecision]) -> Page[dict[str, Any]]:
    """Group turns by their session, which is how they are looked for: an item of the list is a session."""
    sessions: dict[str, dict[str, Any]] = {}
    for one in page.items:
        found = sessions.setdefault(one.session.id, {"session": one.session, "turns": []})
        found["turns"].append({
            "turn": one.turn.id, "speaker": one.speaker, "said_at": one.said_at, "cue": one.cue,
            "sentence": one.sentence,
        })  # fmt: skip
    return Page(tuple(sessions.values()), page.next)


def _passed(cursor: str | None) -> int:
    """Return how many of the best memories the answers before this one showed."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and 0 < int(cursor[:9]) <= LIMIT_MAX):
        msg = f"{cursor[:80]!r} is no cursor of recall; begin again without it"
        raise InvalidError(msg, code="cursor.invalid", cursor=cursor[:80])
    return int(cursor[:9])


def _looking(tool: Tool, memory: Memory) -> None:
    @tool(READS)
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

    @tool(READS)
    async def diff(
        since: Annotated[Instant, Field(description="After this instant with an offset, or this date.")],
        until: Annotated[Instant, Field(description="Up to this one.")],
        about: Annotated[str | None, Field(description="Only of this thing, or of those that the words find.")] = None,
        axis: Annotated[Literal["known", "valid"], Field(description="What was learned, or became true.")] = "known",
        cursor: Cursor = None, budget_tokens: Budget = 1_500, space: Space = None,
    ) -> Answer:  # fmt: skip
        """List what changed between two instants, each change with what held before."""
        handle = memory.within(space=space)

        async def read(first: int, after: str | None) -> Page[Any]:
            return await handle.diff(since, until, about=about, axis=Axis(axis), first=first, after=after)

        return await answered(paged(read, cursor, budget_tokens))

    @tool(READS)
    async def review(
        what: Annotated[
            Literal["conflicts", "proposals", "stale", "missing_decisions"],
            Field(description=(
                "Things of which sources disagree; what models proposed; decisions whose evidence moved; decisions in "
                "words alone."
            )),
        ],
        cursor: Cursor = None, budget_tokens: Budget = 1_500, space: Space = None,
    ) -> Answer:  # fmt: skip
        """List what waits for somebody: conflicts and proposals to settle with amend, stale decisions, decisions not
        recorded yet.
        """
        handle = memory.within(space=space)

        async def read(first: int, after: str | None) -> Page[Any]:
            if what == "conflicts":
                return await handle.conflicts(first=first, after=after)
            if what == "proposals":
                return await proposals(handle, first=first, after=after)
            if what == "stale":
                return await handle.stale(first=first, after=after)
            return _by_session(await handle.missing_decisions(first=min(first, _SESSIONS), after=after))

        return await answered(paged(read, cursor, budget_tokens))

    @tool(READS)
    async def patterns(
        pattern: Annotated[str | None, Field(description="One, by id or key, with its evidence; else a list.")] = None,
        kind: Annotated[
            Literal[
                "trend", "shift", "anomaly", "recurrence", "reversal", "rule", "staleness", "contradiction", "outcome"
            ] | None,
            Field(description="Only this kind."),
        ] = None,
        about: Annotated[str | None, Field(description="Only of this entity, by id or key.")] = None,
        ended: Annotated[bool | None, Field(description="Those too that no longer hold.")] = None,
        cursor: Cursor = None, budget_tokens: Budget = 1_500, space: Space = None, valid_at: ValidAt = None,
        known_at: KnownAt = None,
    ) -> Answer:  # fmt: skip
        """List what recurs, drifts, shifts, flips back or follows across sessions, each with its size and error rate.

        Give a pattern's id as evidence when you decide on it.
        """
        handle, at = memory.within(space=space), AsOf(valid_at, known_at)
        status = tuple(PatternStatus) if ended else (PatternStatus.OPEN, PatternStatus.FADING)
        if pattern is not None:
            one = pattern

            async def read_one() -> Answer:
                return whole(await explain(handle, one, at=at), budget_tokens)

            return await answered(read_one())

        async def read(first: int, after: str | None) -> Page[Any]:
            return await listed(
                handle, status=status, kind=None if kind is None else PatternKind(kind), about=about, first=first,
                after=after, at=at,
            )  # fmt: skip

        return await answered(paged(read, cursor, budget_tokens))
