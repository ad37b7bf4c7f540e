"""Traces of GenAI from files: the formats, the old names and the new, and what is counted once."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from latewood.graph_schema.errors import InvalidError
from latewood.ingestion.sources import otlp, protobuf
from latewood.ingestion.sources.otlp import Span, read_spans
from latewood.memory import Memory
from latewood.memory.imports import ingest_traces
from latewood.storage.port import FactQuery

# One span with an attribute of each type, an event and a status, serialised by the `opentelemetry-proto` package.
PROTOBUF = base64.b64decode(
    "Cp8DCh4KHAoMc2VydmljZS5uYW1lEgwKCmxhbmUtYWdlbnQS/AIKBgoEaGFuZBLxAgoQCvdlGRbNQ92ESOshHIAxnBIIt61rcWkg"
    "MzEiCADwZ6oLqQK3KgZjaGF0IG0wAzkAQGVSTa+YGEEAb82rTa+YGEofChVnZW5fYWkub3BlcmF0aW9uLm5hbWUSBgoEY2hhdEof"
    "ChlnZW5fYWkudXNhZ2UuaW5wdXRfdG9rZW5zEgIYDEoYCgt0ZW1wZXJhdHVyZRIJIQAAAAAAAOA/SgoKBGZsYWcSAhABShIKA2xv"
    "dxILGP3//////////wFKFAoEc3RvcBIMKgoKAwoBYQoDCgFiShMKA21hcBIMMgoKCAoBaxIDCgF2Sl8KFWdlbl9haS5pbnB1dC5t"
    "ZXNzYWdlcxJGCkRbeyJyb2xlIjoidXNlciIsInBhcnRzIjpbeyJ0eXBlIjoidGV4dCIsImNvbnRlbnQiOiJXaGVyZSBpcyBpdD8i"
    "fV19XVoYCQAKAI5Nr5gYEgRub3RlGgcKAW4SAhgBegsSB3RpbWVvdXQYAg=="
)
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    async with Memory.open(str(tmp_path / "t.db"), by="human:importer", sync="normal") as opened:
        yield opened


def value(given: object) -> dict[str, object]:
    if isinstance(given, bool):
        return {"boolValue": given}
    if isinstance(given, int):
        return {"intValue": str(given)}
    if isinstance(given, dict):
        return {"kvlistValue": {"values": pairs(given)}}  # type: ignore[arg-type]
    if isinstance(given, list):
        return {"arrayValue": {"values": [value(one) for one in given]}}  # type: ignore[arg-type]
    return {"stringValue": given}


def pairs(given: dict[str, object]) -> list[dict[str, object]]:
    return [{"key": key, "value": value(one)} for key, one in given.items()]


def span(
    own: int, parent: int | None = None, *, code: int = 0, trace: str = TRACE, **named: object
) -> dict[str, object]:
    attributes = dict(named.pop("attributes", {}))  # type: ignore[call-overload]
    return {
        "traceId": trace, "spanId": f"{own:016x}", "name": f"span {own}", "kind": 3,
        "parentSpanId": "" if parent is None else f"{parent:016x}",
        "startTimeUnixNano": str(1772359200000000000 + own * 10**9),
        "endTimeUnixNano": str(1772359200500000000 + own * 10**9), "attributes": pairs(attributes),
        "status": {"code": code}, **named,
    }  # fmt: skip


def document(*spans: dict[str, object]) -> dict[str, object]:
    resource = {"attributes": pairs({"service.name": "lane-agent"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": list(spans)}]}]}


def said(role: str, text: str) -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def chat(own: int, asked: list[Any], answered: list[Any], **more: object) -> dict[str, object]:
    return span(own, 1, attributes={
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "acme", "gen_ai.request.model": "m-1",
        "gen_ai.conversation.id": "conv", "gen_ai.agent.name": "planner", "gen_ai.usage.input_tokens": 10 * own,
        "gen_ai.usage.output_tokens": own, "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.input.messages": json.dumps(asked), "gen_ai.output.messages": answered, **more,
    })  # fmt: skip


USER, ANSWER = said("user", "Where is order 42?"), said("assistant", "With carrier B.")
TOOL = {"role": "tool", "parts": [{"type": "tool_call_response", "result": "TOOL OUTPUT"}]}
SPANS = [
    chat(2, [said("system", "SYSTEM WORDS"), USER], [{"role": "assistant", "parts": [{"type": "tool_call", "name": "x"}]}]),
    span(3, 9, attributes={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup_order",
                           "gen_ai.conversation.id": "conv"}),
    span(4, 1, code=2, status={"code": 2, "message": "gone"},
         attributes={"gen_ai.tool.name": "latewood_recall", "gen_ai.conversation.id": "conv"}),
    span(9, 1, attributes={"http.method": "GET"}),
    chat(5, [said("system", "SYSTEM WORDS"), USER, {"role": "assistant", "parts": []}, TOOL], [ANSWER]),
    chat(6, [said("system", "SYSTEM WORDS"), USER, {"role": "assistant", "parts": []}, TOOL, ANSWER,
             said("user", "And 43?")], [said("assistant", "Lost.")]),
    span(1, attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "conv",
                        "gen_ai.usage.input_tokens": 130, "gen_ai.aggregated_usage.output_tokens": 13}),
]  # fmt: skip


async def facts(memory: Memory, key: str) -> dict[str, list[Any]]:
    (node,) = (await memory.store.nodes(memory.space, keys=[key])).values()
    found: dict[str, list[Any]] = {}
    for fact in await memory.store.facts(memory.space, FactQuery(subjects=[node.id])):
        value = fact.object_id if fact.value is None else fact.value.data
        found.setdefault(fact.predicate, []).append(value)
    return found


async def turns(memory: Memory, session: str) -> list[tuple[str, str]]:
    return [(one["speaker"], one["text"]) for one in (await facts(memory, f"session:{session}"))["said"]]


def step(own: int) -> str:
    return f"step:{TRACE}/{own:016x}"


async def test_a_trace_becomes_a_run_with_steps_and_a_conversation(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document(*SPANS), indent=1))
    report = await ingest_traces(memory, [path], human="human:ada")

    assert await turns(memory, "conv") == [
        ("ada", "Where is order 42?"), ("planner", "With carrier B."), ("ada", "And 43?"), ("planner", "Lost."),
    ]  # fmt: skip
    called = await facts(memory, step(5))
    keys = ["model:m-1", "provider:acme", "tool:latewood_recall"]
    named = {key: [node.id] for key, node in (await memory.store.nodes(memory.space, keys=keys)).items()}
    assert called["status"] == ["completed"]
    assert (called["used_model"], called["with_provider"]) == (named[keys[0]], named[keys[1]])
    assert called["usage"] == [{"input_tokens": 50, "output_tokens": 5, "cache_read_tokens": 4}]
    failed = await facts(memory, step(4))
    assert (failed["status"], failed["error"], failed["used_tool"]) == (["failed"], ["gone"], named[keys[2]])
    agent = await facts(memory, step(1))
    assert "usage" not in agent
    assert agent["usage_total"] == [{"input_tokens": 130, "output_tokens": 13}]
    assert len((await facts(memory, f"run:trace:{TRACE}"))["has_step"]) == 6
    assert report.what == {"model call": 3, "tool call": 1, "recall": 1, "no GenAI span": 1, "invoke agent": 1}
    assert (report.lines, report.rejected, report.dangling, report.cyclic) == (7, 0, [], [])
    nodes = await memory.store.nodes(memory.space, keys=[step(1)])
    # Of a span that lies within a span that is not kept, the nearest kept one is told.
    assert (await facts(memory, step(3)))["part_of"] == [nodes[step(1)].id]


async def test_a_second_run_and_other_formats_of_the_same_write_nothing(memory: Memory, tmp_path: Path) -> None:
    whole, lines, framed = tmp_path / "whole.json", tmp_path / "lines.jsonl", tmp_path / "spans.json"
    whole.write_text(json.dumps(document(*SPANS), indent=1))
    lines.write_text("".join(json.dumps(document(one)) + "\n" for one in SPANS))
    framed.write_text(json.dumps({"spans": SPANS}))
    first = await ingest_traces(memory, [whole])
    again = await ingest_traces(memory, [whole])
    by_line = await ingest_traces(memory, [lines])

    assert (again.written, again.replayed) == (0, first.written)
    assert (by_line.written, by_line.lines) == (0, 7)
    dumped = await ingest_traces(memory.within(space="other"), [framed])
    assert (dumped.lines, len(await turns(memory.within(space="other"), "conv"))) == (7, 4)


async def test_protobuf_says_what_json_says(tmp_path: Path) -> None:
    bare, framed, text = tmp_path / "bare.pb", tmp_path / "framed.pb", tmp_path / "text.json"
    bare.write_bytes(PROTOBUF)
    framed.write_bytes(2 * (len(PROTOBUF).to_bytes(4) + PROTOBUF))
    text.write_text(json.dumps(document(span(0xB7AD6B7169203331, 0x00F067AA0BA902B7, name="chat m", attributes={
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 12, "flag": True,
        "stop": ["a", "b"], "map": {"k": "v"},
        "gen_ai.input.messages": json.dumps([said("user", "Where is it?")], separators=(",", ":")),
    }, startTimeUnixNano="1772359200000000000", endTimeUnixNano="1772359201500000000",
       events=[{"timeUnixNano": "1772359201000000000", "name": "note", "attributes": pairs({"n": 1})}],
       status={"code": 2, "message": "timeout"}))))  # fmt: skip
    (one,), two, (three,) = list(read_spans(bare)), list(read_spans(framed)), list(read_spans(text))

    assert isinstance(one, Span)
    assert isinstance(three, Span)
    attributes = dict(one.attributes)
    assert (attributes.pop("temperature"), attributes.pop("low")) == (0.5, -3)
    assert [getattr(spans, "id", None) for spans in two] == [one.id, one.id]
    assert (one.failed, one.message, one.service) == (True, "timeout", "lane-agent")
    assert replace(one, attributes=attributes, end=0) == replace(three, end=0)


@pytest.mark.parametrize("cut", [1, 2, 40, 200, len(PROTOBUF) - 1])
def test_a_truncated_protobuf_is_a_reject(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.pb"
    path.write_bytes(PROTOBUF + PROTOBUF[:cut])
    first, rejected = read_spans(path)

    assert isinstance(first, Span)
    assert (rejected.code, rejected.kind) == ("import.malformed", "malformed")  # type: ignore[union-attr]


def test_no_bytes_make_the_decoder_fail_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "bent.pb"
    for place in range(len(PROTOBUF)):
        path.write_bytes(PROTOBUF[:place] + bytes([PROTOBUF[place] ^ 0xFF]) + PROTOBUF[place + 1 :])
        for found in read_spans(path):
            assert isinstance(found, Span) or found.code in ("import.malformed", "limit.exceeded")


async def test_old_names_and_old_places_of_messages_are_read(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    old = [
        span(1, attributes={"gen_ai.system": "acme", "gen_ai.request.model": "m-0", "session.id": "one",
                            "gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.completion_tokens": 2,
                            "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "SYSTEM WORDS",
                            "gen_ai.prompt.1.role": "user", "gen_ai.prompt.1.content": "Flat?",
                            "gen_ai.completion.0.content": "Flat."}),
        span(2, attributes={"gen_ai.operation.name": "chat", "session.id": "two"}, events=[
            {"name": "gen_ai.user.message", "attributes": pairs({"content": "Events?"})},
            {"name": "gen_ai.choice", "attributes": pairs({"message": '{"content": "Events."}'})},
        ]),
        span(3, attributes={"gen_ai.operation.name": "chat", "session.id": "three",
                            "gen_ai.prompt": "Bare?", "gen_ai.completion": '[{"role": "assistant", "content": "Bare."}]'}),
    ]  # fmt: skip
    path.write_text(json.dumps(document(*old)))
    await ingest_traces(memory, [path])

    for session, words in (("one", "Flat"), ("two", "Events"), ("three", "Bare")):
        assert [text for _, text in await turns(memory, session)] == [f"{words}?", f"{words}."]
    assert (await facts(memory, step(1)))["usage"] == [{"input_tokens": 7, "output_tokens": 2}]
    assert "usage" not in await facts(memory, step(3))


async def test_a_span_without_an_end_is_of_unknown_status(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "open.json"
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "x"}
    path.write_text(json.dumps(document(span(1, attributes=attributes, endTimeUnixNano="0"))))
    await ingest_traces(memory, [path])

    assert (await facts(memory, step(1)))["status"] == ["unknown"]


async def test_bad_spans_rings_and_orphans(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    attributes = {"gen_ai.operation.name": "chat"}
    path.write_text(
        json.dumps(document(span(1, 9, attributes={}), span(9, 1), span(2, 1, attributes=attributes)))
        + "\n{}\nnot json\n"
        + json.dumps(document({"name": "no ids"}, span(3, 77, attributes=attributes)))
        + "\n"
    )
    report = await ingest_traces(memory, [path])

    assert [(one.line, one.kind) for one in report.rejects] == [(4, "malformed"), (5, "malformed"), (6, "malformed")]
    assert len(report.cyclic) == 1
    assert [one["parent"] for one in report.dangling if isinstance(one, dict)] == [f"{77:016x}"]
    assert report.lines == sum(report.what.values()) + report.rejected


async def test_what_is_too_large_is_named_with_its_bound(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(otlp, "DOCUMENT_BYTES_MAX", 500)
    monkeypatch.setattr(protobuf, "PART_BYTES_MAX", 100)
    large, part = tmp_path / "large.json", tmp_path / "part.pb"
    large.write_text(json.dumps(document(*SPANS), indent=1))
    part.write_bytes(PROTOBUF)
    with pytest.raises(InvalidError, match="more than 500"):
        await ingest_traces(memory, [large])
    with pytest.raises(InvalidError, match="PART_BYTES_MAX"):
        await ingest_traces(memory, [part])
