"""The links between records of one folder: edges with their sides, and everything that is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latewood.graph_schema.errors import ConflictError, NotFoundError
from latewood.ingestion.records import (
    FolderIndex,
    ParsedRecord,
    disk_exists,
    link_report,
    parse_record,
    record_keys,
    resolve_key,
)


def record(path: str, status: str = "Accepted", body: str = "") -> ParsedRecord:
    return parse_record(f"# T\n\n## Status\n\n{status}\n\n## Context\n\nc {body}\n", path=path)


def test_an_edge_that_both_sides_claim_is_one_edge() -> None:
    report = link_report(
        [
            record("0001-a.md", "Superseded by [2](0002-b.md)"),
            record("0002-b.md", "Accepted\n\nSupersedes [1](0001-a.md)"),
        ]
    )

    assert [(edge.successor, edge.predecessor, edge.sides) for edge in report.edges] == [
        ("adr:2", "adr:1", {"successor", "predecessor"})
    ]
    assert report.one_sided == report.dangling == report.cyclic == report.dead_links == ()


def test_one_sided_claims_name_the_silent_record() -> None:
    report = link_report([
        record("0001-a.md", "Superseded by [2](0002-b.md)"), record("0002-b.md"),
        record("0003-c.md"), record("0004-d.md", "Accepted\n\nSupersedes #3"),
    ])  # fmt: skip

    assert [(one.claimed_by, one.silent, one.path, one.line) for one in report.one_sided] == [
        ("predecessor", "adr:2", "0001-a.md", 5),
        ("successor", "adr:3", "0004-d.md", 7),
    ]


def test_a_dead_file_name_with_a_living_number_is_an_edge_and_a_dead_link() -> None:
    report = link_report([record("ADR012-a.md", "Superseded by [ADR028](ADR028-old.md)"), record("ADR028-new.md")])

    assert [(edge.successor, edge.predecessor) for edge in report.edges] == [("adr:28", "adr:12")]
    assert [(one.path, one.line, one.target, one.resolved) for one in report.dead_links] == [
        ("ADR012-a.md", 5, "ADR028-old.md", "adr:28")
    ]
    assert report.dangling == ()


def test_a_claim_about_nobody_dangles() -> None:
    report = link_report([record("0001-a.md", "Superseded by ADR 9 and [x](0010-x.md)")])

    assert [(one.path, one.kind, one.target) for one in report.dangling] == [
        ("0001-a.md", "superseded_by", "ADR 9"),
        ("0001-a.md", "superseded_by", "0010-x.md"),
    ]
    assert report.edges == ()


def test_rings_are_cyclic_and_chains_are_not() -> None:
    report = link_report([
        record("0001-a.md", "Superseded by #2"), record("0002-b.md", "Superseded by #3"),
        record("0003-c.md", "Superseded by #1"), record("0004-d.md", "Superseded by #4"),
        record("0005-e.md", "Superseded by #6"), record("0006-f.md", "Superseded by #1"),
    ])  # fmt: skip

    assert [ring.keys for ring in report.cyclic] == [("adr:1", "adr:2", "adr:3"), ("adr:4",)]


def test_a_repeated_number_gets_full_keys_and_is_refused_alone() -> None:
    records = [record("0007-a.md"), record("0007-b.md"), record("0008-c.md", "Superseded by #7"),
               record("0009-d.md", "Superseded by [7](0007-b.md)")]  # fmt: skip
    report = link_report(records)

    assert record_keys(records) == report.keys
    assert [(one.number, one.keys) for one in report.duplicate_numbers] == [(7, ("adr:7~0007-a", "adr:7~0007-b"))]
    assert [(edge.successor, edge.predecessor) for edge in report.edges] == [("adr:7~0007-b", "adr:9")]
    assert "carried by 2 files" in report.dangling[0].reason
    with pytest.raises(ConflictError, match="adr:7~0007-a, adr:7~0007-b") as refused:
        resolve_key("adr:7", report.keys.values())
    assert refused.value.code == "key.ambiguous"
    with pytest.raises(NotFoundError):
        resolve_key("adr:1", report.keys.values())
    assert resolve_key("adr:8", report.keys.values()) == "adr:8"


def test_same_names_in_two_folders_keep_apart() -> None:
    keys = record_keys([record("a/0001-x.md"), record("b/0001-x.md"), record("notes.md")])

    assert keys == {"a/0001-x.md": "adr:1~a/0001-x", "b/0001-x.md": "adr:1~b/0001-x", "notes.md": "adr:notes"}


def test_dead_links_are_looked_up_on_disk(tmp_path: Path) -> None:
    (tmp_path / "docs" / "adr").mkdir(parents=True)
    (tmp_path / "docs" / "a note.md").write_text("x")
    body = "[a](../a%20note.md#part) [b](../gone.md) [c](/docs/a%20note.md) [d](https://example.org/x.md) [e](#here) [f](mailto:a@b.md)"
    report = link_report(
        [record("0001-a.md", body=body)],
        indexes=[FolderIndex("README.md", "- [one](0001-a.md)\n- [two](0002-b.md)\n")],
        exists=disk_exists(tmp_path / "docs" / "adr", tmp_path),
    )

    assert [(one.path, one.target) for one in report.dead_links] == [
        ("0001-a.md", "../gone.md"),
        ("README.md", "0002-b.md"),
    ]


INDEX = """\
# Index

See [why](0001-a.md) we write.

- [1](0001-a.md) [superseded by [2](0002-b.md)]
- [2](0002-b.md)
- ✅ [3](0003-c.md)

## Deprecated

- [4](0004-d.md)
"""


def test_an_index_that_shows_the_dead_as_live_is_stale() -> None:
    records = [record("0001-a.md", "Superseded by #2"), record("0002-b.md", "Superseded by #3"),
               record("0003-c.md"), record("0004-d.md", "Deprecated")]  # fmt: skip

    stale = link_report(records, indexes=[FolderIndex("README.md", INDEX)]).index_stale
    silent = link_report(
        records, indexes=[FolderIndex("README.md", "- [1](0001-a.md)\n- [2](0002-b.md)\n")]
    ).index_stale

    assert [(one.key, one.line, one.status) for one in stale] == [("adr:2", 6, "superseded")]
    assert silent == ()


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 8)), max_size=12))
def test_every_claim_ends_as_an_edge_or_dangles(claims: list[tuple[int, int]]) -> None:
    records = [
        record(f"{n:04d}-x.md", "Superseded by " + " and ".join(f"#{to}" for own, to in claims if own == n) if any(own == n for own, _ in claims) else "Accepted")
        for n in range(1, 7)
    ]  # fmt: skip

    report = link_report(records)

    assert {(edge.predecessor, edge.successor) for edge in report.edges} == {
        (f"adr:{a}", f"adr:{b}") for a, b in claims if b <= 6
    }
    assert {(one.path, one.target) for one in report.dangling} == {
        (f"{a:04d}-x.md", f"#{b}") for a, b in claims if b > 6
    }
    assert len(report.one_sided) == len(report.edges)
