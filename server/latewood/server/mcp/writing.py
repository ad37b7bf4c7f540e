"""The tools that write. They ask the human, where the client can, for what only a human can say."""

# Annotations are not put off in this module: the SDK looks up those of a question, which are made where it is asked.

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel, Field

from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import Alternative, DecisionStatus
from latewood.graph_schema.values import Scalar
from latewood.memory import Memory, Written
from latewood.memory.proposals import accept, reject, waiting
from latewood.server.mcp.answers import Answer, answered, pruned, refused
from latewood.server.mcp.arguments import (
    WRITES,
    AnyValue,
    By,
    Once,
    Rejected,
    Session,
    Source,
    Space,
    Text,
    Tool,
    writer,
)
from latewood.server.mcp.strictness import Instant

__all__ = ["add_writing"]


def _wrote(written: Written, **more: Any) -> Answer:
    receipt = written.receipt
    found: dict[str, Any] = {
        "id": written.id, "receipt": receipt.id, "replayed": receipt.replayed, "registered": list(receipt.registered),
        "declared": list(receipt.declared), "not_holding": [one.held_by for one in receipt.not_holding], **more,
    }  # fmt: skip
    return pruned(found)  # type: ignore[return-value]


_Asked = Context[Any, Any]


class Reason(BaseModel):
    """The reason."""

    because: str = Field(min_length=1, max_length=20_000, title="Because", description="The reason, in your words.")


_TOLD = Reason.model_construct(because="")
"""Nobody had to be asked."""


class Verdict(BaseModel):
    """Whether what a model proposes is so."""

    accept: bool = Field(title="Accept", description="Whether it is so.")


def _can_ask(ctx: _Asked) -> bool:
    able = ctx.client_capabilities
    return able is not None and able.elicitation is not None


def _short(words: str, chars_max: int = 300) -> str:
    line = " ".join(words.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def add_writing(tool: Tool, memory: Memory) -> None:
    """Add the tools that write."""
    _deciding(tool, memory)
    _recording(tool, memory)
    _amending(tool, memory)


def _no_reason(ctx: _Asked, what: str) -> InvalidError | None:
    """Say that a reason is missing, where nobody can be asked for it."""
    if _can_ask(ctx):
        return None
    return InvalidError(f"{what} needs because: why, in the words of whoever decided", code="query.invalid")


def _deciding(tool: Tool, memory: Memory) -> None:
    async def reason(choice: str, because: str | None, ctx: _Asked) -> Reason | Elicit[Reason]:
        if because is not None:
            return _TOLD
        if (missing := _no_reason(ctx, "a decision")) is not None:
            raise refused(missing)
        return Elicit(f"Why was this decided: {_short(choice)}", Reason)

    @tool(WRITES)
    async def decide(
        choice: Annotated[Text, Field(description="What was chosen.")],
        because: Annotated[Text | None, Field(description=(
            "Why, as you were told: the one thing that nobody can look up later. Do not make one up: left out, the "
            "human is asked."
        ))] = None, *,
        reason: Annotated[Reason, Resolve(reason)],
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
        work = writer(memory, space, by, session).decide(
            choice, because=because or reason.because, title=title, question=question, about=about or (),
            evidence=evidence or (), alternatives=rejected, supersedes=supersedes or (), status=DecisionStatus(status),
            confidence=confidence, expected=expected, source=source, idempotency_key=idempotency_key,
        )  # fmt: skip
        return _wrote(await answered(work))


def _recording(tool: Tool, memory: Memory) -> None:
    @tool(WRITES)
    async def record(
        subject: Annotated[Text, Field(description="What it is about, by key or id, such as carrier:A.")],
        predicate: Annotated[Text, Field(description="In which respect, in snake_case: on_time_rate, serves.")],
        *,
        value: Annotated[AnyValue, Field(description="The value. Give value or target.")] = None,
        target: Annotated[str | None, Field(description="Or the thing it is related to, by key or id.")] = None,
        unit: Annotated[str | None, Field(description="Of the value, such as EUR.")] = None,
        valid_from: Annotated[Instant | None, Field(description="Since when it is true; left out, now.")] = None,
        valid_to: Annotated[Instant | None, Field(description="Until when, if that is known.")] = None,
        quote: Annotated[str | None, Field(description="The words it rests on.")] = None,
        by: By = None, session: Session = None, source: Source = None, idempotency_key: Once = None,
        space: Space = None,
    ) -> Answer:  # fmt: skip
        """Record a fact: a value of a thing, or its relation to another. A newer one takes an older one's place, and
        both stay known.
        """
        handle = writer(memory, space, by, session)

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


def _amending(tool: Tool, memory: Memory) -> None:
    async def verdict(action: str, target: str, space: str | None, ctx: _Asked) -> Verdict | Elicit[Verdict]:
        if action != "accept" or not _can_ask(ctx):
            return Verdict(accept=True)
        one = await answered(waiting(memory.within(space=space), target))
        said = ", ".join(f"{name}: {value}" for name, value in one.document.items())
        quote = f" It was read from: “{_short(one.quote)}”" if one.quote else ""
        return Elicit(f"A model proposes this {one.kind}: {_short(said, 600)}.{quote} Is it so?", Verdict)

    async def reason(action: str, target: str, because: str | None, ctx: _Asked) -> Reason | Elicit[Reason]:
        if action != "reject" or because is not None:
            return _TOLD
        if (missing := _no_reason(ctx, "a rejection")) is not None:
            raise refused(missing)
        return Elicit(f"Why is the proposal {_short(target, 80)} rejected?", Reason)

    @tool(WRITES)
    async def amend(
        action: Annotated[
            Literal["correct", "end", "retract", "supersede", "accept", "reject"],
            Field(description=(
                "correct: it was never so, the value is; end: it stopped being true; retract: it was never true; "
                "supersede: the decision `with_decision` takes its place; accept, reject: settle a proposal."
            )),
        ],
        target: Annotated[Text, Field(description="The fact's, decision's or proposal's id (or key).")], *,
        value: Annotated[AnyValue, Field(description="correct: what was so.")] = None,
        with_decision: Annotated[str | None, Field(description="supersede: the newer decision.")] = None,
        because: Annotated[str | None, Field(description="Why. To reject without it, the human is asked.")] = None,
        reason: Annotated[Reason, Resolve(reason)], verdict: Annotated[Verdict, Resolve(verdict)],
        at: Annotated[Instant | None, Field(description="end, supersede: when, in the world; left out, now.")] = None,
        by: By = None, session: Session = None, source: Source = None, idempotency_key: Once = None,
        space: Space = None,
    ) -> Answer:  # fmt: skip
        """Mend or settle what is recorded. Nothing is deleted: what was known stays known as of then."""
        if not verdict.accept:
            return {"written": False, "note": "The human says that it is not so. Reject it with their reason."}

        work = _amended(
            writer(memory, space, by, session), action, target, value, with_decision, because or reason.because or None,
            at, source=source, idempotency_key=idempotency_key,
        )  # fmt: skip
        return _wrote(await answered(work))


async def _amended(
    handle: Memory, action: str, target: str, value: AnyValue, with_decision: str | None, because: str | None,
    at: datetime | None, *, source: str | None, idempotency_key: str | None,
) -> Written:  # fmt: skip
    if action == "correct":
        if value is None:
            raise InvalidError("a correction needs the value that was so", code="query.invalid")
        return await handle.correct(target, value, because=because, source=source, idempotency_key=idempotency_key)
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
