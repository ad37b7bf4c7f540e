"""A span for each verb, with ids and counts and without a word, whoever asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags

from latewood.graph_schema.errors import NotFoundError
from latewood.memory import BlockingMemory, Memory, spans


class Kept(NonRecordingSpan):
    """A span that can be looked at afterwards; what the SDK would export of it."""

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        super().__init__(SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(1)))
        self.name, self.attributes, self.failed = name, dict(attributes), False

    def is_recording(self) -> bool:
        return True

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.failed = status is StatusCode.ERROR

    def record_exception(self, *_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("an exception's words are in the span")


class Tracer:
    def __init__(self) -> None:
        self.spans: list[Kept] = []

    @contextmanager
    def start_as_current_span(self, name: str, *, attributes: dict[str, Any], **how: Any) -> Iterator[Kept]:
        assert how["record_exception"] is False
        self.spans.append(Kept(name, attributes))
        yield self.spans[-1]


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Tracer:
    made = Tracer()
    monkeypatch.setattr(spans, "TRACER", made)
    return made


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    async with Memory.open(str(tmp_path / "t.db"), by="human:a", sync="normal", embedder="none") as opened:
        yield opened


async def test_each_verb_is_told_of_by_its_operation_and_not_by_its_words(memory: Memory, tracer: Tracer) -> None:
    fact = await memory.observe("person:zeppelin", "zeppelin_says", "a zeppelin secret")
    old = await memory.decide("keep the zeppelin", because="zeppelin")
    new = await memory.decide("sell the zeppelin", because="zeppelin")
    await memory.relate("person:zeppelin", "owns", "ship:zeppelin")
    await memory.supersede(old, new)
    fixed = await memory.correct(fact, "no zeppelin")
    await memory.end(fixed)
    found = await memory.recall("zeppelin")
    await memory.find("zeppelin")
    await memory.precedents("zeppelin")
    await memory.erase("ship:zeppelin", reason="asked for")
    with pytest.raises(NotFoundError):
        await memory.correct("zeppelin", 5)

    assert [(one.attributes["latewood.verb"], one.name) for one in tracer.spans] == [
        ("observe", "create_memory"), ("decide", "create_memory"), ("decide", "create_memory"), ("relate", "create_memory"),
        ("supersede", "update_memory"), ("correct", "update_memory"), ("end", "update_memory"), ("recall", "search_memory"),
        ("find", "search_memory"), ("precedents", "search_memory"), ("erase", "delete_memory"), ("correct", "update_memory"),
    ]  # fmt: skip
    first, recalled, failed = tracer.spans[0], tracer.spans[7], tracer.spans[-1]
    assert (first.attributes["gen_ai.memory.record.id"], first.attributes["gen_ai.memory.store.id"]) == (
        fact.id,
        "default",
    )
    assert recalled.attributes["gen_ai.memory.record.count"] == len(found.hits) > 0
    assert (failed.failed, failed.attributes["error.type"], first.failed) == (True, "node.not_found", False)
    assert "zeppelin" not in repr([one.attributes for one in tracer.spans])


def test_the_blocking_verbs_keep_their_names_and_their_spans(tracer: Tracer) -> None:
    with BlockingMemory.open("reference:", by="human:a", embedder="none") as memory:
        memory.observe("a:1", "p", 1)
    assert [one.name for one in tracer.spans] == ["create_memory"]
    assert Memory.observe.__doc__ == BlockingMemory.observe.__doc__
