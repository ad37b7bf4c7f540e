"""A list costs a constant number of store calls, however long it is and however deep it is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from latewood.graph_schema.clock import to_micros
from latewood.memory import Memory

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
DAY: Final = 86_400_000_000
DEEP = """{ decisions(first: 50) { edges { node {
  id key name title status supersededBy { key name supersededBy { key } supersedes { key about { name } } }
  supersedes { key evidence { id } } evidence { id moved fact { value { data } subject { name } } node { name facts { id } } }
  about { key name facts(predicate: "rate") { value { data } object { key } conflict { others } }
          timeline(first: 2) { edges { node { id subject { key } } } } }
  decidedBy { name } session { name } triggeredBy { node { decision { title } } } source { origin } } } } }"""


async def grow(served: Any, start: int, count: int) -> None:
    memory = served.memory
    for number in range(start, start + count):
        fact = await memory.observe(f"lane:{number}", "rate", number)
        await memory.observe(f"lane:{number}", "rate", number + 1)
        trigger = await memory.decide(f"trigger {number}", because="so")
        await memory.decide(
            f"choice {number}", because="so", key=f"adr:{number}", about=[f"lane:{number}", "carrier:A"],
            evidence=[fact], trigger=[trigger], supersedes=[f"adr:{number - 1}"] if number else [], session=f"s-{number}",
        )  # fmt: skip


async def counted(served: Any) -> tuple[int, dict[str, Any]]:
    served.calls.clear()
    answer = await served.ask(DEEP)
    return sum(served.calls.values()), answer


async def test_fifty_decisions_cost_the_calls_of_a_few(served: Any) -> None:
    await grow(served, 0, 3)
    few, answer = await counted(served)
    assert len(answer["decisions"]["edges"]) == 6
    await grow(served, 3, 22)
    many, answer = await counted(served)
    edges = answer["decisions"]["edges"]

    assert len(edges) == 50
    assert many == few, served.calls
    assert many < 25
    last = edges[47]["node"]
    assert last["key"] == "adr:23"
    assert [one["key"] for one in last["supersededBy"]] == ["adr:24"]
    assert last["evidence"][0]["moved"] == "superseded"
    assert last["triggeredBy"][0]["node"]["decision"]["title"] == "trigger 23"
    assert [len(one["timeline"]["edges"]) for one in last["about"]] == [2, 0]


async def test_a_flat_list_reads_nothing_it_does_not_show(served: Any) -> None:
    await grow(served, 0, 2)
    served.calls.clear()
    await served.ask("{ entities { edges { node { key name } } } }")

    assert dict(served.calls) == {"list_nodes": 1}


class Hasty:
    """A clock that goes a day forward whenever it is looked at."""

    def __init__(self) -> None:
        self.day = 0

    def now(self) -> int:
        self.day += 1
        return to_micros(START) + self.day * DAY


async def test_all_parts_of_an_answer_have_one_now(tmp_path: Path, serve: Any) -> None:
    async with Memory.open(str(tmp_path / "t.db"), by="agent:test", sync="normal", clock=Hasty()) as memory:
        for name in ("rate", "size", "load"):
            for day in range(120):
                await memory.observe("lane:1", name, day, valid_from=START + timedelta(days=5 * day))
        choice = await memory.decide("go", because="so", about=["lane:1"], key="d:1")
        async with serve(memory) as served:
            answer = await served.ask("""{ decision(key: "d:1") { id about {
              rate: facts(predicate: "rate") { value { data } } size: facts(predicate: "size") { value { data } }
              load: facts(predicate: "load") { value { data } } } } }""")
            (lane,) = answer["decision"]["about"]
            shown = {name: [one["value"]["data"] for one in facts] for name, facts in lane.items()}
            later = await served.ask("""{ entity(key: "lane:1") { facts(predicate: "rate") { value { data } } } }""")

    assert answer["decision"]["id"] == choice.id
    assert shown["rate"] == shown["size"] == shown["load"]
    assert later["entity"]["facts"][0]["value"]["data"] >= shown["rate"][0]


async def test_the_roots_of_an_operation_have_one_now_too(tmp_path: Path, serve: Any) -> None:
    async with Memory.open(str(tmp_path / "t.db"), by="agent:test", sync="normal", clock=Hasty()) as memory:
        for day in range(120):
            await memory.observe("lane:1", "rate", day, valid_from=START + timedelta(days=5 * day))
        async with serve(memory) as served:
            found = 'find(text: "lane:1") { node { facts(predicate: "rate") { value { data } } } }'
            lane = 'entity(key: "lane:1") { facts(predicate: "rate") { value { data } } }'
            answer = await served.ask(f"{{ one: {found} two: {found} lane: {lane} }}")

    shown = {str(one) for name in ("one", "two") for one in answer[name][0]["node"]["facts"]}
    assert shown == {str(one) for one in answer["lane"]["facts"]}
