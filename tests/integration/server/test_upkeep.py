"""What keeps a memory in order, over GraphQL: decisions in words alone, and vectors that are missing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Value
from latewood.memory import Memory

DAY = datetime(2026, 3, 1, tzinfo=UTC)
MISSING = """query($first: Int, $after: String, $session: String) {
  missingDecisions(first: $first, after: $after, session: $session) {
    edges { cursor node { session { key } turn { id } speaker saidAt cue sentence } } pageInfo { hasNextPage endCursor }
  }
}"""
REINDEX = "mutation { reindex { space generation model dimensions made leftOut switched dropped } }"


async def talk(memory: Memory, session: str, *texts: str) -> None:
    for number, text in enumerate(texts):
        said = Assert(
            memory.ids.new(), Ref(key=f"session:{session}", kind=NodeKind.SESSION, type="session", name=session), "said",
            Value.of({"speaker": "ada", "text": text}), relation=True,
            valid_from=to_micros(DAY + timedelta(minutes=number)),
        )  # fmt: skip
        await memory.write([said], ["said", session, number])


async def test_decisions_in_words_are_listed_to_the_end(served: Any) -> None:
    for number in range(4):
        await talk(
            served.memory, f"s-{number}", "We decided to use rail.", "Nothing much.", "We decided to keep trucks."
        )
    wanted = [one.turn.id for one in (await served.memory.missing_decisions(first=20)).items]

    seen: list[str] = []
    after = None
    while True:
        page = (await served.ask(MISSING, first=3, after=after))["missingDecisions"]
        assert len(page["edges"]) <= 3
        seen += [edge["node"]["turn"]["id"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    one = (await served.ask(MISSING, session="session:s-2"))["missingDecisions"]["edges"]

    assert len(wanted) == 8
    assert seen == wanted
    assert [edge["node"]["session"]["key"] for edge in one] == ["session:s-2"] * 2
    assert one[0]["node"]["sentence"] == "We decided to use rail."


async def test_vectors_that_are_missing_are_made(tmp_path: Path, serve: Callable[..., Any]) -> None:
    path = str(tmp_path / "t.db")
    async with Memory.open(path, by="agent:test", sync="normal", embedder="none") as memory, serve(memory) as running:
        await memory.observe("carrier:A", "note", "late again")
        assert (await running.refused(REINDEX))["code"] == "setting.invalid"
    async with Memory.open(path, by="agent:test", sync="normal", embedder="light") as memory, serve(memory) as running:
        made = (await running.ask(REINDEX))["reindex"]
        again = (await running.ask(REINDEX))["reindex"]

    assert (made["space"], made["made"], made["leftOut"], made["dropped"]) == ("default", 1, 0, [])
    assert made["dimensions"] > 100
    assert (again["made"], again["generation"]) == (0, made["generation"])
