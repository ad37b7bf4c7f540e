"""The saved queries of the Neo4j Browser, each run against a real server, and the style sheet, as the Browser reads it."""

from __future__ import annotations

import asyncio
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString, cast

import neo4j
import pytest
from conformance.stores import empty_neo4j

from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import LatewoodError, UnavailableError
from latewood.graph_schema.model import Alternative, DecisionStatus, NodeKind
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.memory.imports import ingest_adr
from latewood.storage.neo4j.browser import saved_queries, style_sheet, write_browser_files
from latewood.storage.neo4j.database import Address, Engine

ADRS = Path(__file__).parents[3] / "docs" / "adr"
GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "neo4j-browser.md"
QUERIES = {one.filename: one.text for one in saved_queries()}
OWN_TYPES = {"Carrier", "Lane"}
PICTURE_BYTES_MAX = 120 * 1024
Row = Mapping[str, Any]


PARAMETERS: Mapping[str, object] = {
    "tenant": "local", "space": "team", "key": "dec:2", "source": "ledger.csv", "validAt": None, "knownAt": None,
    "since": None, "until": None,
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What the Browser would show: a table and a graph."""

    records: list[neo4j.Record]
    graph: neo4j.graph.Graph

    def data(self) -> list[Row]:
        return [cast("Row", dict(record)) for record in self.records]


@dataclass(frozen=True)
class Told:
    """A database with a story in the space `team` and this project's records in `adr`."""

    driver: neo4j.Driver
    database: str | None
    before: datetime
    middle: datetime

    def ask(self, number: str, **changed: object) -> list[Row]:
        """Run the saved query whose file begins with *number*: its table."""
        return self.run(number, changed).data()

    def graph(self, number: str, **changed: object) -> tuple[set[str], set[str]]:
        """Return the names of the nodes, and the relationships as text, that a saved query draws."""
        drawn = self.run(number, changed).graph
        edges = {
            f"{shown(edge.nodes[0])} {edge.type} {shown(edge.nodes[1])}"
            for edge in drawn.relationships if edge.nodes[0] is not None and edge.nodes[1] is not None
        }  # fmt: skip
        return {shown(node) for node in drawn.nodes}, edges

    def run(self, number: str, changed: Mapping[str, object]) -> Answer:
        (text,) = (text for name, text in QUERIES.items() if name.startswith(number))
        return self.text(text, {**PARAMETERS, **changed})

    def text(self, text: str, parameters: Mapping[str, object]) -> Answer:
        with self.driver.session(database=self.database) as session:  # pyright: ignore[reportUnknownMemberType]
            result = session.run(cast("LiteralString", text), dict(parameters))
            records = list(result)
            return Answer(records, result.graph())


def shown(node: neo4j.graph.Node | None) -> str:
    assert node is not None
    return str(node.get("title") or node["name"])


async def fill(url: str) -> tuple[datetime, datetime]:
    async with Memory.open(url, by="human:ada", session="s-12") as opened:
        await opened.store.create_space("team")
        memory = opened.within(space="team")
        late = await memory.observe("carrier:A", "on_time_rate", 0.81, source="ledger.csv")
        serves = await memory.relate("carrier:A", "serves", "lane:lyon")
        await memory.decide("Keep carrier A", because="it is cheap", key="dec:1", about=["carrier:A"])
        before = (await memory.decision("dec:1")).recorded_at
        await memory.decide(
            "Move the Lyon lane to B", because="A is late", key="dec:2", about=["carrier:A", "carrier:B"],
            evidence=[late], supersedes=["dec:1"], alternatives=[Alternative("stay", "penalties did not help")],
        )  # fmt: skip
        await memory.decide("Ask carrier C", because="B may fill up", key="dec:3", status=DecisionStatus.PROPOSED)
        middle = (await memory.decision("dec:3")).recorded_at
        await memory.end(serves)
        await memory.correct(late, 0.91, because="two trips were counted twice", source="ledger.csv")
        await memory.observe("carrier:A", "on_time_rate", 0.5, source="rumour.txt", by="human:bob")
        start = datetime(2026, 1, 1, tzinfo=UTC)
        await memory.observe("carrier:B", "capacity", 12, valid_from=start, source="contract.pdf")
        await memory.observe("carrier:B", "capacity", 10, valid_from=start, by="agent:reader", source="mail.txt")
        await opened.store.acquire("team", "nightly", "worker", 60)
        with pytest.raises(LatewoodError):
            await memory.observe("carrier:A", "on_time_rate", 0.9, expected_version=1)
        await ingest_adr(opened.within(space="adr"), ADRS, history=False)
    return before, middle


@pytest.fixture(scope="module")
def told(neo4j_url: str) -> Iterator[Told]:
    empty_neo4j(neo4j_url)
    before, middle = asyncio.run(fill(neo4j_url))
    address = Address.parse(neo4j_url)
    with neo4j.GraphDatabase.driver(  # pyright: ignore[reportUnknownMemberType]
        address.uri, auth=(address.user, address.password), notifications_min_severity="OFF"
    ) as driver:
        # Its plans go by what is there, and not by what was counted before.
        driver.execute_query("CALL db.prepareForReplanning()", database_=address.database)
        yield Told(driver, address.database, before, middle)


def test_why_draws_the_whole_decision(told: Told) -> None:
    nodes, edges = told.graph("01")

    assert {"Move the Lyon lane to B", "stay", "carrier:A", "carrier:B", "ada", "s-12"} <= nodes
    assert "Move the Lyon lane to B BASED_ON on_time_rate: 0.81" in edges
    assert "Move the Lyon lane to B CONSIDERED stay" in edges
    assert "on_time_rate: 0.81 SAID_BY ledger.csv" in edges
    assert "Move the Lyon lane to B SUPERSEDES Keep carrier A" in edges


def test_what_a_decision_rested_on_is_shown_as_it_was_known_then_and_as_it_is_now(told: Told) -> None:
    rows = told.ask("02")
    nodes, _ = told.graph("02")

    assert {(row["rested_on"], row["holds_today"]) for row in rows} == {("on_time_rate: 0.81", "on_time_rate: 0.5")}
    assert rows[0]["taken_back"] is not None
    assert {"on_time_rate: 0.81", "ledger.csv", "carrier:A"} <= nodes


def test_what_superseded_what_follows_both_clocks(told: Told) -> None:
    now = [(row["new"], row["old"]) for row in told.ask("03")]
    before = told.ask("03", knownAt=told.before)
    earlier = told.ask("03", validAt=told.before)

    assert now == [("dec:2", "dec:1")]
    assert before == earlier == []


def test_the_line_of_a_decision_is_found_from_either_end(told: Told) -> None:
    line = {"Keep carrier A", "Move the Lyon lane to B"}

    assert told.graph("04", key="dec:1")[0] == told.graph("04", key="DEC:2")[0] == line
    assert told.graph("04", key="dec:3")[0] == {"Ask carrier C"}


def test_what_changed_names_what_was_said_of_what_and_how(told: Told) -> None:
    said = {(row["what"], row["about"], row["said"]) for row in told.ask("05")}
    later = {(row["what"], row["said"]) for row in told.ask("05", since=told.middle)}
    first = {row["said"] for row in told.ask("05", until=told.before)}

    assert ("asserted", "Move the Lyon lane to B", "about carrier:B") in said
    assert {
        ("retracted", "on_time_rate: 0.81"),
        ("asserted", "on_time_rate: 0.91"),
        ("ended", "serves: ended"),
    } <= later
    assert not any("Lyon lane to B" in one for _, one in later)
    assert "on_time_rate: 0.81" in first
    assert "on_time_rate: 0.91" not in first


def test_the_graph_as_of_a_date_holds_what_held_then(told: Told) -> None:
    _, now = told.graph("06")
    _, then = told.graph("06", validAt=told.middle, knownAt=told.middle)
    _, before = told.graph("06", validAt=told.before, knownAt=told.before)

    assert "carrier:A SERVES lane:lyon" in then
    assert "carrier:A SERVES lane:lyon" not in now
    assert "Keep carrier A HAS_FACT status: superseded" in now & then
    assert "Keep carrier A HAS_FACT status: accepted" in before
    assert not any("Lyon lane to B" in edge for edge in before)


def test_one_thing_as_of_a_date(told: Told) -> None:
    now = {(row["predicate"], row["holds"]) for row in told.ask("07", key="carrier:A")}
    then = {
        (row["predicate"], row["holds"])
        for row in told.ask("07", key="Carrier:a", validAt=told.middle, knownAt=told.middle)
    }

    assert ("on_time_rate", "on_time_rate: 0.5") in now
    assert ("on_time_rate", "on_time_rate: 0.81") in then
    assert ("serves", "lane:lyon") in then - now


def test_the_history_of_one_thing_keeps_what_was_ended_or_taken_back(told: Told) -> None:
    rows = {row["said"]: row for row in told.ask("08", key="carrier:A")}

    assert rows["on_time_rate: 0.81"]["retired_at"] is not None
    assert rows["lane:lyon"]["closed_at"] == rows["lane:lyon"]["recorded_at"] or rows["lane:lyon"]["valid_to"]
    assert rows["on_time_rate: 0.5"]["retired_at"] is None


def test_contested_keys_are_those_that_memory_calls_conflicts(told: Told, neo4j_url: str) -> None:
    async def conflicts() -> set[tuple[str, str]]:
        async with Memory.open(neo4j_url) as opened:
            memory = opened.within(space="team")
            found = [*(await memory.entity("carrier:A")).facts, *(await memory.entity("carrier:B")).facts]
        return {(str(one.value), str(one.conflict.value)) for one in found if one.conflict is not None}

    (row,) = told.ask("09")

    assert (row["about"], row["holds"], row["says"]) == ("carrier:B", "capacity: 12", "contract.pdf")
    assert (row["against"], row["who_says"]) == ("capacity: 10", "mail.txt")
    assert len(asyncio.run(conflicts())) == 1
    assert told.ask("09", knownAt=told.middle) == []


def test_what_a_source_said(told: Told) -> None:
    rows = [(row["source"], row["said"]) for row in told.ask("10")]
    nodes, _ = told.graph("10", source="RUMOUR")

    assert rows == [("ledger.csv", "on_time_rate: 0.81"), ("ledger.csv", "on_time_rate: 0.91")]
    assert nodes == {"rumour.txt", "on_time_rate: 0.5", "bob", "s-12", "carrier:A"}


def test_what_was_taken_back_says_why_and_what_took_its_place(told: Told) -> None:
    rows = told.ask("11")
    _, edges = told.graph("11")

    assert [(row["said"], row["because"]) for row in rows] == [("on_time_rate: 0.81", "two trips were counted twice")]
    assert "on_time_rate: 0.91 REPLACES on_time_rate: 0.81" in edges


def test_open_decisions(told: Told) -> None:
    assert [(row["key"], row["status"]) for row in told.ask("12")] == [("dec:3", "proposed")]
    assert told.ask("12", knownAt=told.before) == []


def test_a_run_shows_its_steps_once_there_are_any(told: Told) -> None:
    assert told.ask("13") == []


def test_everything_but_the_bookkeeping_is_one_space_and_no_ledger(told: Told) -> None:
    drawn = told.run("14", {}).graph
    labels = {label for node in drawn.nodes for label in node.labels}

    assert {"Decision", "Carrier", "Fact", "Source", "Actor"} <= labels
    assert labels.isdisjoint({"Event", "Key", "Ledger", "Receipt", "Space", "Lease", "Predicate"})
    assert len({node["space"] for node in drawn.nodes}) == 1


def test_counts_have_every_label(told: Told) -> None:
    counted = {row["label"]: row["nodes"] for row in told.ask("15")}

    assert counted["Decision"] == 3 + len(list(ADRS.glob("[0-9]*.md")))
    assert counted["Lane"] == 1


def test_queries_see_exactly_what_the_store_sees() -> None:
    # One definition of what is visible, written out where people read it.
    engine = Engine(Address.parse("neo4j://localhost"))
    text = " ".join(engine.composed("holding_of_subjects").split())
    engine.shut()
    stored = text.partition("h.fact_id IS NOT NULL AND ")[2].partition(" AND ($predicates")[0]
    visible = stored.replace("$r", "r").replace("$t", "t")
    asking = {name: " ".join(text.split()) for name, text in QUERIES.items() if re.search(r"\bAS r\b", text)}

    assert "retired_at" in visible
    assert len(asking) >= 8
    assert [name for name, text in asking.items() if visible not in text] == []


def test_every_query_says_what_it_is_and_is_bounded() -> None:
    assert len({text.partition("\n")[0] for text in QUERIES.values()}) == len(QUERIES) >= 12
    for name, text in QUERIES.items():
        # The Browser lists them by title, and has room for some thirty letters.
        assert re.match(rf"// {name[:2]} [A-Z][^\n]{{5,27}}\n// [^\n]+\n", text), name
        assert name.startswith(("00", "15")) or "LIMIT" in text, name
        assert re.search(r"\b(CREATE|MERGE|SET|DELETE|REMOVE)\b", text) is None, name


def rules() -> list[tuple[str, dict[str, str]]]:
    """Read the style sheet as the Browser does: no comments, quotes keep braces, a property is one name and one value."""
    found: list[tuple[str, dict[str, str]]] = []
    for selector, body in re.findall(r"([^{}]+)\{((?:'[^']*'|[^'{}])*)\}", style_sheet()):
        parts = [part.split(":") for part in body.split(";") if part.strip()]
        assert all(len(part) == 2 for part in parts), selector
        found.append((selector.strip(), {name.strip(): value.strip().strip("'") for name, value in parts}))
    return found


def test_every_label_that_the_store_writes_has_a_rule(told: Told) -> None:
    # An own type of an entity is looked at as an entity; of spaces the first hundred have a rule.
    written = {str(row["label"]) for row in told.ask("15")} - OWN_TYPES
    styled = {selector for selector, _ in rules()}

    assert {"Lease", "Refusal", "Absence", "Alternative", "Human", "Agent"} <= written
    assert {label for label in written if f"node.{label}" not in styled} == set()
    assert {kind.value for kind in NodeKind if f"node.{kind.value.capitalize()}" not in styled} == set()


def test_a_kind_wins_over_its_space_and_captions_are_never_empty(told: Told) -> None:
    order = [selector for selector, _ in rules()]
    captions = {selector.removeprefix("node."): rule.get("caption", "") for selector, rule in rules()}
    nodes = told.text("MATCH (n) RETURN n", {}).graph.nodes

    assert order.index("node.Space100") < order.index("node.Node") < order.index("node.Decision")
    for node in nodes:
        (caption,) = [captions[one] for one in reversed([*captions]) if one in node.labels][:1]
        assert any(node.get(name) for name in re.findall(r"\{(\w+)\}", caption)), (node.labels, caption)


def rows_of(heading: str) -> dict[str, str]:
    """Read a table of the guide: the first cell, and the rest of the row."""
    text = GUIDE.read_text(encoding="utf-8").partition(f"| {heading} |")[2].partition("\n\n")[0]
    return {row.split("|")[1].strip(): row.partition("|")[2].partition("|")[2] for row in text.splitlines()[2:]}


def test_the_guide_names_what_people_see(told: Told) -> None:
    labels = {name.strip("`"): set(re.findall(r"`(\w+)`", rest)) for name, rest in rows_of("label").items()}
    types = set(re.findall(r"`([A-Z_]{2,})`", " ".join(rows_of("relationship"))))
    bookkeeping = set(
        re.findall(r"`(\w+)`", GUIDE.read_text(encoding="utf-8").partition("bookkeeping is pale:")[2])[:9]
    )
    internal = {"id", "space", "norm", "born", "key_id", "place", "ordinal", "fact_id", "retraction"}
    seen = told.text(
        "MATCH (n:Node|Fact|Alternative) UNWIND labels(n) AS label UNWIND keys(n) AS key "
        "WITH label, key WHERE label <> 'Node' AND NOT label STARTS WITH 'Space' RETURN label, collect(DISTINCT key) AS keys", {},
    ).data()  # fmt: skip
    drawn = told.text("MATCH ()-[r]->() RETURN DISTINCT type(r) AS type", {}).data()

    described = set(labels).union(*labels.values())
    assert {str(row["label"]) for row in seen} - OWN_TYPES - described == set()
    for row in seen:
        own = labels["Fact"] if row["label"] in ("Fact", "Absence") else labels.get(row["label"], set[str]())
        common = set[str]() if row["label"] in ("Fact", "Absence", "Alternative") else labels["Node"]
        assert set(row["keys"]) - own - common - internal == set(), row["label"]
    assert {str(row["type"]) for row in drawn} - types == set()
    everything = {str(row["label"]) for row in told.ask("15") if not re.fullmatch(r"Space\d+", str(row["label"]))}
    assert everything - OWN_TYPES - described == bookkeeping


def test_the_guide_lists_every_query_and_its_pictures_are_small() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    pictures = [GUIDE.parent / name for name in re.findall(r"\]\((images/[^)]+)\)", text)]
    listed = {name for name in rows_of("query") if name}

    assert listed == {one.title for one in saved_queries() if not one.filename.startswith("00")}
    assert 1 <= len(pictures) <= 4
    assert [one.name for one in pictures if one.stat().st_size > PICTURE_BYTES_MAX] == []


def operators(plan: Mapping[str, Any]) -> Iterator[str]:
    yield f"{plan['operatorType']} {plan.get('args', {}).get('Details', '')}"
    for child in plan.get("children", []):
        yield from operators(child)


@pytest.mark.parametrize("name", [name for name in QUERIES if not name.startswith(("00", "15"))])
def test_a_saved_query_keeps_to_the_indexes_of_its_space(name: str, told: Told) -> None:
    with told.driver.session(database=told.database) as session:  # pyright: ignore[reportUnknownMemberType]
        text = cast("LiteralString", "EXPLAIN " + QUERIES[name])
        plan = cast("Mapping[str, Any] | None", session.run(text, dict(PARAMETERS)).consume().plan)  # pyright: ignore[reportUnknownMemberType]

    assert plan is not None
    assert [one for one in operators(plan) if "Scan" in one.split("@")[0] and "Index" not in one.split("@")[0]] == []


async def test_what_is_shown_for_people_goes_with_an_erasure(told: Told, neo4j_url: str) -> None:
    holding = (
        "MATCH (n) UNWIND keys(n) AS key WITH n, key WHERE toStringOrNull(n[key]) CONTAINS 'hushed' "
        "RETURN DISTINCT labels(n)[0] AS label, key"
    )
    async with Memory.open(neo4j_url, by="human:ada") as opened:
        await opened.store.create_space("gone")
        memory = opened.within(space="gone")
        said = Assert(
            memory.ids.new(), Ref(key="carrier:H"), "rumour", Value.of("hushed words", None, where="rumour"),
            quote="hushed, she said", locator="line 3 of hushed.md",
        )  # fmt: skip
        await memory.write([said], ["rumour"], source="notes/hushed.md")
        before = {str(row["key"]) for row in told.text(holding, {}).data()}
        await memory.erase(said.id, reason="asked for")

    assert {"value", "title", "quote", "locator", "name", "payload"} <= before
    assert told.text(holding, {}).data() == []


def test_the_files_are_what_the_browser_takes_in(tmp_path: Path) -> None:
    written = write_browser_files(tmp_path / "one")
    again = write_browser_files(tmp_path / "two")
    with zipfile.ZipFile(written.archive) as packed:
        inside = {name: packed.read(name).decode() for name in packed.namelist()}

    assert inside == {f"Latewood/{name}": text for name, text in QUERIES.items()}
    assert {one.name: one.read_text() for one in (tmp_path / "one" / "queries").iterdir()} == QUERIES
    assert written.style.read_text() == style_sheet()
    assert written.archive.read_bytes() == again.archive.read_bytes()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UnavailableError, match=r"file.*--out") as refused:
        write_browser_files(tmp_path / "file")
    assert refused.value.code == "file.unreadable"
