"""A list costs a constant number of store calls, however long it is and however deep it is read."""

from __future__ import annotations

from typing import Any

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
