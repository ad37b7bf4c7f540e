"""Tables by a map: the traps that real tables hold, small enough to see."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from latewood.graph_schema.clock import parse_instant
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.memory import AsOf, DecisionStatus, Memory
from latewood.memory.imports import ingest_table

MAP = """
[node]
kind = "decision"
key = "rule:{id}"
name = "{title}"
[text]
rationale = "{why}"
[dates]
valid_from = "created"
[status]
column = "status"
[status.words]
Draft = "proposed"
Final = "accepted"
Paused = "deferred"
Withdrawn = "withdrawn"
Superseded = "superseded"
[[relations]]
column = "replaces"
predicate = "supersedes"
target = "rule:{value}"
[[relations]]
column = "superseded_by"
predicate = "supersedes"
target = "rule:{value}"
inverse = true
[[history]]
column = "history"
at = "at"
locator = "commit {commit}"
status = "status"
[[history]]
column = "links"
at = "at"
relations = true
"""


def item(status: str, at: str) -> dict[str, str]:
    return {"status": status, "at": at, "commit": f"c{at[:4]}"}


ROWS = [
    {"id": 1, "title": "first", "why": "because", "status": "Superseded", "created": "2001-01-10", "superseded_by": [2],
     "history": [item("Final", "2001-01-15T00:00:00Z"), item("Superseded", "2010-01-01T00:00:00Z")],
     "links": [{"at": "2010-01-01T00:00:00Z", "superseded_by": [2]}]},
    {"id": 2, "title": "second", "status": "Final", "created": "2003-01-01", "replaces": [1],
     "history": [item("Draft", "2003-01-01T00:00:00Z"), item("Final", "2005-01-01T00:00:00Z")],
     "links": [{"at": "2003-01-01T00:00:00Z", "replaces": [1]}]},
    # It claims to replace 1 and named 9 before that, but was withdrawn: it never took over.
    {"id": 3, "title": "pretender", "status": "Withdrawn", "created": "2004-01-01", "replaces": [1],
     "history": [item("Draft", "2004-01-01T00:00:00Z"), item("Paused", "2005-01-01T00:00:00Z"),
                 item("Draft", "2006-01-01T00:00:00Z"), item("Withdrawn", "2007-01-01T00:00:00Z")],
     "links": [{"at": "2004-01-01T00:00:00Z", "replaces": [2]}, {"at": "2004-06-01T00:00:00Z", "replaces": [1]}]},
    # In the repository before its own date, and Superseded with nobody named.
    {"id": 4, "title": "early", "status": "Superseded", "created": "2009-01-01",
     "history": [item("Final", "2008-01-01T00:00:00Z"), item("Superseded", "2011-01-01T00:00:00Z")]},
    # Its link was recorded six years after it stopped being live, to a rule that came later than itself.
    {"id": 5, "title": "late link", "status": "Withdrawn", "created": "2002-01-01", "superseded_by": [2, 77],
     "history": [item("Draft", "2002-01-01T00:00:00Z"), item("Withdrawn", "2004-01-01T00:00:00Z")],
     "links": [{"at": "2010-06-01T00:00:00Z", "superseded_by": [2, 77]}]},
]  # fmt: skip


@pytest.fixture(params=["sqlite", "reference"])
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Memory]:
    url = "reference:" if request.param == "reference" else str(tmp_path / "latewood.db")
    async with Memory.open(url, by="human:ada", space="rules") as memory:
        yield memory


@pytest.fixture
def table(tmp_path: Path) -> tuple[Path, Path]:
    rows, mapped = tmp_path / "rules.jsonl", tmp_path / "rules.toml"
    rows.write_text("\n".join(json.dumps(row) for row in ROWS))
    mapped.write_text(MAP)
    return rows, mapped


def known(text: str) -> AsOf:
    return AsOf(known_at=parse_instant(text))


async def test_the_traps_of_a_history_come_out(memory: Memory, table: tuple[Path, Path]) -> None:
    report = await ingest_table(memory, *table)

    assert (report.rows, report.decisions, report.late, report.rejects) == (5, 5, 0, [])
    said = [
        (await memory.decision("rule:3", known(f"{year}-06-01"))).source_status for year in (2004, 2005, 2006, 2008)
    ]
    assert said == ["Draft", "Paused", "Draft", "Withdrawn"]
    why = await memory.why("rule:1")
    assert sorted(one.key or "" for one in why.successors) == ["rule:2", "rule:3"]
    assert [one.key for one in why.in_force] == ["rule:2"]
    assert [one.key for one in (await memory.decision("rule:2", known("2004-02-01"))).superseded_by] == ["rule:3"]
    assert [one.key for one in (await memory.decision("rule:2")).superseded_by] == []
    sides = {(one["from"], one["to"]): one["claimed_by"] for one in report.one_sided}
    assert sides == {("rule:3", "rule:1"): "successor", ("rule:2", "rule:5"): "predecessor"}
    assert [one["from"] for one in report.dangling] == ["rule:77"]
    assert report.clock_disagreements == ["rule:4"]
    assert report.superseded_without_successor == ["rule:4"]
    status = (await memory.timeline("rule:4", predicates=["status"])).items[0]
    assert status.valid_from == parse_instant("2008-01-01")
    link = (await memory.timeline("rule:2", predicates=["supersedes"])).items[-1]
    assert link.recorded_at == parse_instant("2010-06-01")
    assert (await memory.verify()).ok


async def test_a_second_run_of_a_history_writes_nothing(memory: Memory, table: tuple[Path, Path]) -> None:
    first = await ingest_table(memory, *table)
    again = await ingest_table(memory, *table)

    assert (again.written, again.replayed) == (0, first.written)
    assert again.one_sided == first.one_sided


async def test_counts_by_the_sources_own_word_as_known_then(memory: Memory, table: tuple[Path, Path]) -> None:
    await ingest_table(memory, *table)

    final = await memory.decisions(source_status=["Final"], at=known("2009-01-01"))
    assert [one.key for one in final.items] == ["rule:1", "rule:2", "rule:4"]
    drafts = await memory.decisions(status=[DecisionStatus.PROPOSED], at=known("2004-02-01"))
    assert [one.key for one in drafts.items] == ["rule:2", "rule:3"]


ENTITIES = """
[node]
key = "carrier:{code}"
name = "{name}"
[dates]
valid_from = "from"
[[facts]]
column = "on_time"
type = "number"
unit = "%"
[[facts]]
column = "active"
type = "boolean"
[[relations]]
column = "serves"
predicate = "serves"
target = "lane:{value}"
split = ";"
"""


async def test_a_csv_of_entities_is_written_once_and_again_when_it_changes(memory: Memory, tmp_path: Path) -> None:
    rows, mapped = tmp_path / "carriers.csv", tmp_path / "carriers.toml"
    mapped.write_text(ENTITIES)
    rows.write_text("code,name,from,on_time,active,serves\nA,Alpha,2026-01,81.5,yes,\nB,Beta,2026-01,93,no,\n")
    first = await ingest_table(memory, rows, mapped)
    same = await ingest_table(memory, rows, mapped)
    rows.write_text("code,name,from,on_time,active,serves\nA,Alpha,2026-02,85,yes,\nB,Beta,2026-01,93,no,\n")
    changed = await ingest_table(memory, rows, mapped)

    assert (first.rows, first.written, same.written, changed.written) == (2, 2, 0, 1)
    entity = await memory.entity("carrier:A", ["on_time"])
    assert [str(fact.value.python) for fact in entity.facts if fact.value] == ["85"]
    earlier = await memory.entity("carrier:A", ["on_time"], AsOf(valid_at=parse_instant("2026-01-20")))
    assert [str(fact.value.python) for fact in earlier.facts if fact.value] == ["81.5"]


async def test_bad_rows_are_rejected_by_line_and_the_others_go_on(memory: Memory, tmp_path: Path) -> None:
    rows, mapped = tmp_path / "mixed.jsonl", tmp_path / "carriers.toml"
    mapped.write_text(ENTITIES)
    lines = [
        '{"code": "A", "name": "Alpha", "on_time": 81}',
        "{broken",
        '["a list"]',
        '{"name": "no code"}',
        '{"code": "A", "name": "again"}',
        '{"code": "B", "on_time": "many"}',
        '{"code": "C", "from": "yesterday"}',
        "",
        '{"code": "D", "active": true}',
    ]
    rows.write_text("\n".join(lines))

    report = await ingest_table(memory, rows, mapped)
    assert {(one.line, one.code) for one in report.rejects} == {
        (2, "import.malformed"),
        (3, "import.malformed"),
        (4, "import.malformed"),
        (5, "key.taken"),
        (6, "value.invalid"),
        (7, "time.unreadable"),
    }
    assert [str(node.key) for node in (await memory.nodes(type_="carrier")).items] == ["carrier:A", "carrier:D"]
    assert report.duplicate_keys == ["carrier:A"]


async def test_a_map_that_is_wrong_is_refused_with_its_place(memory: Memory, tmp_path: Path) -> None:
    rows, mapped = tmp_path / "rows.jsonl", tmp_path / "map.toml"
    rows.write_text('{"code": "A"}')
    for text, place in (
        ("[node", "the file"),
        ("[node]\nkind='x'\nkey='a:{b}'", "node.kind"),
        ("[node]\nname='x'", "node.key"),
        ("[node]\nkey='a:{b}'\n[colour]\nx=1", "the file"),
        ("[node]\nkey='a:{b}'\n[[facts]]\ncolumn='x'\ntype='y'", "facts.type"),
        ("[node]\nkey='a:{b}'\n[status]\ncolumn='s'\n[status.words]\nA='maybe'", "status.words.A"),
    ):
        mapped.write_text(text)
        with pytest.raises(InvalidError, match=place):
            await ingest_table(memory, rows, mapped)
    with pytest.raises(NotFoundError, match="pep, rfc"):
        await ingest_table(memory, rows, "nothing")
    mapped.write_text("[node]\nkey='a:{b}'")
    with pytest.raises(InvalidError, match="no row"):
        await ingest_table(memory, rows, mapped)


async def test_a_path_that_leads_nowhere_makes_no_space(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        await ingest_table(memory, tmp_path / "nowhere.csv", "pep")

    assert caught.value.code == "file.unreadable"
    assert [space.name for space in await memory.spaces()] == ["default"]


async def test_rows_point_to_what_the_space_has_and_never_to_a_reject(memory: Memory, tmp_path: Path) -> None:
    await memory.create_space("rules")
    await memory.observe("lane:L1", "length", 400)
    rows, mapped = tmp_path / "carriers.csv", tmp_path / "carriers.toml"
    mapped.write_text(ENTITIES.replace('"lane:{value}"', '"{value}"'))
    rows.write_text(
        "code,name,from,on_time,active,serves\nA,Alpha,2020-01,80,yes,lane:L1;carrier:B\nB,Beta,2020-01,many,no,\n"
        f"{'C' * 600},Gamma,2020-01,1,no,\n"
    )
    report = await ingest_table(memory, rows, mapped)
    again = await ingest_table(memory, rows, mapped)

    assert [one.line for one in report.rejects] == [4, 3]
    assert [one["to"] for one in report.dangling] == ["carrier:b"]
    assert [fact.predicate for fact in (await memory.entity("carrier:A", ["serves"])).facts] == ["serves"]
    assert again.written == 0


async def test_a_history_goes_on_with_rows_that_sort_first_and_nodes_of_others(
    memory: Memory, table: tuple[Path, Path]
) -> None:
    await memory.create_space("rules")
    rows, mapped = table
    rows.write_text(json.dumps(ROWS[3]))
    await ingest_table(memory, rows, mapped)
    await memory.decide("Somebody else's", because="of this", key="rule:1")
    rows.write_text("\n".join(json.dumps(row) for row in ROWS))
    report = await ingest_table(memory, rows, mapped)

    assert report.rejects == []
    assert (await memory.decision("rule:4")).source_status == "Superseded"
    successors = (await memory.decision("rule:1")).superseded_by
    assert sorted(one.key or "" for one in successors) == ["rule:2", "rule:3"]
