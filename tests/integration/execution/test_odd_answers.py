"""Answers of models that pass for JSON, or for an answer, and are none: each has its class, and nothing is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from chat_server import ChatServer, chat_server
from integration.execution.acting import worker_of
from model_answers import in_turn, says

from latewood.execution import Endpoint, Fault, Model, StepOf, Tools, model_step, tool, workflow
from latewood.memory import Memory
from latewood.memory.runs import runs_of


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as opened:
        yield opened


@tool("Pay.", {"type": "object", "properties": {"amount": {"type": "number"}}})
async def pay(amount: float) -> None:
    raise AssertionError(amount)


def _asking(server: ChatServer, **how: Any) -> StepOf[Any, Any]:
    return model_step("think", Model("small", Endpoint(server.url, timeout_s=20)), **how)


def _calls(arguments: str) -> tuple[int, bytes]:
    call = {"id": "1", "type": "function", "function": {"name": "pay", "arguments": arguments}}
    return 200, json.dumps({"choices": [{"message": {"content": None, "tool_calls": [call]}}]}).encode()


@pytest.mark.parametrize(
    "arguments", ['{"amount": NaN}', '{"amount": 1e999}', "{}", '{"amount": 1, "to": "B"}', '{"amount": 1, "self": 2}']
)
async def test_arguments_that_cannot_be_taken_are_an_invalid_call(server: ChatServer, arguments: str) -> None:
    server.reply = lambda asked: _calls(arguments)

    with pytest.raises(Fault) as trouble:
        await _asking(server, tools=Tools(pay))([{"role": "user", "content": "pay"}])
    assert trouble.value.kind == "invalid-tool-call"


@pytest.mark.parametrize("content", ["NaN", "1e999"])
async def test_numbers_that_are_none_do_not_fit(server: ChatServer, content: str) -> None:
    server.reply = in_turn([says(content)])

    with pytest.raises(Fault) as trouble:
        await _asking(server, schema={"type": "number"})([{"role": "user", "content": "count"}])
    assert trouble.value.kind == "schema"


async def test_words_that_cannot_be_kept_do_not_fit(server: ChatServer) -> None:
    server.reply = lambda asked: (200, b'{"choices": [{"message": {"content": "a\\ud800b"}}]}')

    with pytest.raises(Fault) as trouble:
        await _asking(server)([{"role": "user", "content": "say"}])
    assert trouble.value.kind == "schema"


@pytest.mark.parametrize(
    ("code", "kind"), [(429, "rate-limit"), (502, "transient"), (400, "permanent"), ("x", "schema")]
)
async def test_an_error_that_comes_as_an_answer_has_the_class_of_its_code(
    server: ChatServer, code: object, kind: str
) -> None:
    server.reply = lambda asked: (200, json.dumps({"error": {"code": code, "message": "not today"}}).encode())

    with pytest.raises(Fault, match="not today") as trouble:
        await Endpoint(server.url).chat({})
    assert trouble.value.kind == kind


@pytest.mark.parametrize("key", ["sk-secret\n", "sk-secr\u00e9t", "sk secret"])
async def test_a_key_that_is_none_is_not_shown(near: Memory, server: ChatServer, key: str) -> None:
    asking = model_step("think", Model("small", Endpoint(server.url, key=key)))

    @workflow(name="once")
    async def once() -> Any:
        return await asking([{"role": "user", "content": "hello"}])

    async with worker_of(near, once, poll_s=60) as worker:
        shown = await runs_of(near).show((await worker.run(once)).id)

    assert shown.run.result["class"] == "permanent"
    assert "take that out" in str(shown.run.result["message"])
    assert key.strip() not in repr(shown)
    assert not server.asked
