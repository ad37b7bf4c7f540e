"""The mutation `erase`: the same proof as from Python, and tombstones on every read."""

from __future__ import annotations

from typing import Any

SELECT = """
  target kind reason receipt { id state seq replayed erased } rows { seq kind digest } places
  scrub { state detail } verdict { ok rows erased badSeq }
"""
ERASE = f"mutation($input: EraseInput!) {{ answer: erase(input: $input) {{ {SELECT} }} }}"


async def test_it_answers_with_the_proof(served: Any) -> None:
    note = await served.written("observe", "ObserveInput", subject="person:jane", predicate="note", value="quixotic")
    given = {"target": "person:jane", "reason": "ticket 481", "by": "human:ada", "idempotencyKey": "e-1"}
    first = (await served.ask(ERASE, input=given))["answer"]
    again = (await served.ask(ERASE, input=given))["answer"]
    shown = await served.ask(
        """query($id: ID!, $node: String!) {
          node(id: $id) { ... on Fact { erased value { data } source { origin } predicate } }
          entity(key: $node) { erased name key timeline { edges { node { id erased } } } }
          found: find(text: "quixotic") { score }
        }""",
        id=note["id"], node=first["target"],
    )  # fmt: skip

    assert (first["kind"], first["reason"], first["scrub"]["state"]) == ("entity", "ticket 481", "done")
    assert first["verdict"] == {
        "ok": True,
        "rows": first["receipt"]["seq"],
        "erased": len(first["rows"]),
        "badSeq": None,
    }
    assert first["receipt"]["erased"] == first["places"]
    assert {row["kind"] for row in first["rows"]} == {"DECLARED", "ASSERTED"}
    assert again == {**first, "receipt": {**first["receipt"], "replayed": True}}
    assert shown["node"] == {"erased": True, "value": None, "source": None, "predicate": "note"}
    assert (shown["entity"]["erased"], shown["entity"]["key"]) == (True, None)
    assert shown["entity"]["timeline"]["edges"] == [{"node": {"id": note["id"], "erased": True}}]
    assert shown["found"] == []


async def test_it_is_refused_with_its_codes(served: Any) -> None:
    note = await served.written("observe", "ObserveInput", subject="a:1", predicate="note", value=1)
    agent = await served.refused(ERASE, input={"target": note["id"], "reason": "r"})
    await served.ask(ERASE, input={"target": note["id"], "reason": "r", "by": "human:ada"})
    twice = await served.refused(ERASE, input={"target": note["id"], "reason": "r", "by": "human:ada"})

    assert (agent["code"], twice["code"]) == ("erase.forbidden", "content.erased")
    assert twice["details"]["id"] == note["id"]


async def test_the_feed_shows_the_erasure_and_its_tombstones(served: Any) -> None:
    note = await served.written("observe", "ObserveInput", subject="a:1", predicate="note", value="quixotic")
    await served.ask(ERASE, input={"target": note["id"], "reason": "r", "by": "human:ada"})
    rows = await served.memory.store.feed("default", "knowledge", 0, 100)

    # The source said nothing else, so its words went as well.
    assert [row.event.kind.value for row in rows if row.erased] == ["declared", "asserted"]
    assert rows[-1].event.kind.value == "erased"
    assert "quixotic" not in repr(rows)
