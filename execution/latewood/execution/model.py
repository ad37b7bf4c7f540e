"""A step that asks a model: governed before it is sent, checked before it counts, booked whatever came of it.

The model chooses among what it was offered: an answer that does not fit its schema, or a call of a tool that is not
there, is one more try, told of what was wrong, and then its owner's to settle. Nothing is done unchecked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeAlias, cast

from latewood.execution.blobs import Transcript
from latewood.execution.budgeting import Held, Need, hold, settle
from latewood.execution.endpoint import Endpoint, NotServed
from latewood.execution.faults import Fault, FaultClass, Policy
from latewood.execution.governing import OPEN_DATA, ModelPolicy, check_model, policy_of
from latewood.execution.pricing import INPUT, OUTPUT, Prices, tokens_in, usage_of
from latewood.execution.running import Execution
from latewood.execution.tools import Schema, Tools
from latewood.execution.tracing import agent_span
from latewood.execution.trying import TRYING, Trying
from latewood.execution.workflow import HERE, StepOf
from latewood.execution.writing import checked_json
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.values import Json, canonical_json

__all__ = ["TURNS_MAX", "Asked", "Model", "agent", "model_step"]

Asked: TypeAlias = Transcript | Sequence[Mapping[str, Any]]
"""What a model is given: a conversation, or a list of messages."""

TURNS_MAX: Final = 100
_BYTES_A_TOKEN: Final = 3
_TOKENS_A_MESSAGE: Final = 8
_SHOWN_CHARS_MAX: Final = 300
_ANSWER_CHARS_MAX: Final = 80
_MENDED: Final = (FaultClass.SCHEMA, FaultClass.INVALID_TOOL_CALL)
_FENCE: Final = "```"


@dataclass(frozen=True, slots=True)
class Model:
    """One model of one endpoint.

    Attributes:
        output_tokens_max: asked for with each call, and what a call is taken to need at most.
        options: sent along as they are, such as ``{"temperature": 0}``.
    """

    name: str
    endpoint: Endpoint
    output_tokens_max: int = 4_096
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class _Asking:
    """What is the same for each call of a step."""

    stage: str
    data: str
    schema: Schema | None
    tools: Tools | None
    prices: Prices
    check: Callable[[Json], None] | None


def model_step(
    name: str, model: Model, *, stage: str | None = None, data: str = OPEN_DATA,
    schema: Mapping[str, Any] | None = None, tools: Tools | None = None, prices: Prices | None = None,
    check: Callable[[Json], None] | None = None, fallback: Model | None = None, policy: Policy | None = None,
) -> StepOf[[Asked], dict[str, Json]]:  # fmt: skip
    """Return a step that asks *model* with a conversation and returns its answer, as a message.

    The answer has a ``content`` (of the schema, where there is one), the ``model``, perhaps ``calls`` of tools, and
    ``degraded`` when the fallback gave it.

    Args:
        stage: what tokens are counted under and the policy for models speaks of; else *name*.
        data: the class of what is sent. What is not ``open`` needs a policy that allows it.
        schema: the JSON Schema of the content.
        tools: what it may ask for; `agent` makes the calls.
        check: looks at an answer that fits, and raises `Fault` when it cannot be: ``ambiguous`` for a contradiction.
        fallback: asked when the tries are used up; step and run are degraded then.

    Raises:
        InvalidError: *schema* is no JSON Schema.
    """
    asking = _Asking(
        stage or name, data, None if schema is None else Schema(schema), tools, prices or Prices(), check
    )  # fmt: skip

    async def ask(said: Asked) -> dict[str, Json]:
        return await _ask(asking, model, said)

    async def fall_back(said: Asked) -> dict[str, Json]:
        assert fallback is not None  # noqa: S101 - else it is not handed on
        return {**await _ask(asking, fallback, said), "degraded": True}

    return StepOf(ask, name, policy, None, None if fallback is None else fall_back, sort="model_call")


async def _ask(asking: _Asking, model: Model, said: Asked) -> dict[str, Json]:
    here, trying = HERE.get(), TRYING.get()
    messages = [_wire(one) for one in (said.items() if isinstance(said, Transcript) else said)]
    if trying is not None and trying.last is not None and trying.last.kind in _MENDED:
        messages.append(_mend(trying.last))
    asked = _request(asking, model, messages)
    if here is None or trying is None:
        return _read(asking, model, await model.endpoint.chat(asked))
    execution = here[0]
    assert isinstance(execution, Execution)  # noqa: S101 - there is no other
    try:
        held = await _govern(asking, model, execution, trying, asked)
    except Exception:
        # It was never sent: what it used is known, and must not make the sums unknown.
        trying.usage = {INPUT: 0, OUTPUT: 0}
        _priced(asking, model, trying)
        raise
    try:
        answer = await model.endpoint.chat(asked)
        trying.usage = usage_of(answer)
    except NotServed:
        trying.usage = {INPUT: 0, OUTPUT: 0}
        raise
    finally:
        cost = _priced(asking, model, trying)
        if held is not None:
            await settle(held, tokens_in(trying.usage), cost)
    return _read(asking, model, answer)


def _priced(asking: _Asking, model: Model, trying: Trying) -> Decimal | None:
    """Say with the try what it cost, and return that; None where nobody knows."""
    cost = asking.prices.cost(model.name, trying.usage or {})
    if cost is not None:
        trying.about |= {"cost": str(cost), "currency": asking.prices.currency, "prices": asking.prices.version}
    return cost


async def _govern(
    asking: _Asking, model: Model, execution: Execution, trying: Trying, asked: Mapping[str, Any]
) -> Held | None:  # fmt: skip
    """Say with the try what is asked, and hold what it may use. Raises Fault when it may not be asked."""
    trying.model = model.name
    trying.about |= {"stage": asking.stage, "data": asking.data}
    policy: ModelPolicy | None = await policy_of(execution.book)
    if policy is not None:
        trying.about["model_policy"] = policy.version
    check_model(policy, asking.stage, asking.data, model.name)
    if policy is None or not policy.budgets:
        return None
    need = _need(asking, model, asked)
    return await hold(execution.book, execution.run, policy.budgets, asking.stage, trying.key, need)


def _need(asking: _Asking, model: Model, asked: Mapping[str, Any]) -> Need:
    """Return what a call may use at most: three bytes a token is fewer than texts have."""
    size = len(canonical_json({name: asked[name] for name in ("messages", "tools") if name in asked}).encode())
    into = -(-size // _BYTES_A_TOKEN) + _TOKENS_A_MESSAGE * len(asked["messages"])
    most: dict[str, Json] = {INPUT: into, OUTPUT: model.output_tokens_max}
    cost: Decimal | None = asking.prices.cost(model.name, most)
    return Need(into + model.output_tokens_max, cost)


def _text(content: object) -> str:
    return content if isinstance(content, str) else canonical_json(content)


def _wire(message: object) -> dict[str, Any]:
    """Return a message as it is sent; what Latewood keeps beside it stays here."""
    said = cast("Mapping[str, Any]", message) if isinstance(message, Mapping) else {"content": message}
    role, content, calls = str(said.get("role", "user")), said.get("content"), said.get("calls")
    if role == "tool":
        return {"role": "tool", "tool_call_id": str(said.get("call", "")), "content": _text(content)}
    if role != "assistant":
        # A list has parts: text, images, sound.
        return {"role": role, "content": content if isinstance(content, list) else _text(content)}
    sent: dict[str, Any] = {"role": role, "content": None if content is None else _text(content)}
    if isinstance(calls, list) and calls:
        sent["tool_calls"] = [
            {"id": one["id"], "type": "function",
             "function": {"name": one["name"], "arguments": canonical_json(one["arguments"])}}
            for one in cast("list[dict[str, Any]]", calls)
        ]  # fmt: skip
    return sent


def _mend(last: Fault) -> dict[str, Any]:
    return {"role": "user", "content": f"Your last answer was not accepted: {last.message}. Answer once more."}


def _request(asking: _Asking, model: Model, messages: list[dict[str, Any]]) -> dict[str, Any]:
    asked: dict[str, Any] = {
        **model.options, "model": model.name, "messages": messages, "max_tokens": model.output_tokens_max,
    }  # fmt: skip
    if asking.tools:
        asked["tools"] = asking.tools.offered()
    if asking.schema is not None:
        named = {"name": "answer", "schema": dict(asking.schema.document)}
        asked["response_format"] = {"type": "json_schema", "json_schema": named}
    return asked


def _read(asking: _Asking, model: Model, answer: Mapping[str, Any]) -> dict[str, Json]:
    """Read an answer, and check all of it. Raises Fault."""
    choices = answer.get("choices")
    first: object = cast("list[object]", choices)[0] if isinstance(choices, list) and choices else None
    message = cast("Mapping[str, Any]", first).get("message") if isinstance(first, Mapping) else None
    if not isinstance(message, Mapping):
        raise Fault(FaultClass.SCHEMA, "the answer has no message")
    said = cast("Mapping[str, Any]", message)
    reason = cast("Mapping[str, Any]", first).get("finish_reason")
    if said.get("refusal") or reason == "content_filter":
        words = str(said.get("refusal") or "its provider's filter stopped it")[:_SHOWN_CHARS_MAX]
        raise Fault(FaultClass.PERMANENT, f"the model refuses: {words}")
    if reason == "length":
        msg = f"the answer did not end within {model.output_tokens_max:,} tokens; ask for less, or allow more"
        raise Fault(FaultClass.PERMANENT, msg)
    asks = said.get("tool_calls")
    read: dict[str, Json] = {"role": "assistant", "content": None, "model": model.name}
    if isinstance(asks, list) and asks:
        read["calls"] = (asking.tools or Tools()).read(cast("list[Any]", asks))
        read["content"] = said.get("content") if isinstance(said.get("content"), str) else None
        return read
    read["content"] = _content(asking, said.get("content"))
    if asking.check is not None:
        asking.check(read["content"])
    return read


def _content(asking: _Asking, content: object) -> Json:
    if not isinstance(content, str) or not content:
        raise Fault(FaultClass.SCHEMA, "the answer has neither words nor a call")
    if asking.schema is None:
        return _kept(content)
    try:
        given = cast("Json", json.loads(_unfenced(content)))
    except (ValueError, RecursionError) as error:
        raise Fault(FaultClass.SCHEMA, f"the answer {_short(content)} is not JSON: {error}") from error
    trouble = asking.schema.trouble(given)
    if trouble is not None:
        raise Fault(FaultClass.SCHEMA, f"the answer {_short(content)} does not fit its schema: {trouble}")
    return _kept(given)


def _kept(content: Json) -> Json:
    try:
        return checked_json(content, "the answer")
    except LatewoodError as error:
        raise Fault(FaultClass.SCHEMA, error.message) from error


def _short(text: str) -> str:
    return repr(text if len(text) <= _ANSWER_CHARS_MAX else f"{text[:_ANSWER_CHARS_MAX]}…")


def _unfenced(text: str) -> str:
    """Take JSON out of the fence that models like to put around it."""
    lines = text.strip().split("\n")
    if len(lines) > 1 and lines[0].startswith(_FENCE) and lines[-1].strip() == _FENCE:
        return "\n".join(lines[1:-1])
    return text


async def agent(
    model: StepOf[[Asked], dict[str, Json]], said: Transcript, tools: Tools, *, turns_max: int = 20
) -> Transcript:  # fmt: skip
    """Let a model work with tools until it answers without asking for one; return the conversation, its answer last.

    Each call of the model and of a tool is a step of its own: after a crash only those that are not kept are made.

    Raises:
        Fault: it goes on asking after *turns_max* answers, at most `TURNS_MAX` (``permanent``).
        StepFailedError: a step failed for good.
    """
    with agent_span(model.name):
        for _ in range(min(turns_max, TURNS_MAX)):
            answer = await model(said)
            said = said.more(answer)
            calls = answer.get("calls")
            if not isinstance(calls, list) or not calls:
                return said
            for call in calls:
                said = said.more(await tools.call(cast("Mapping[str, Any]", call)))
        turns = min(turns_max, TURNS_MAX)
        msg = f"the model still asks for tools after {turns} answers; turns_max may be up to {TURNS_MAX}"
        raise Fault(FaultClass.PERMANENT, msg)
