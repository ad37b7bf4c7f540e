"""Decision records with their git history: what is read back, and what is said of what is broken."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from latewood.graph_schema.clock import parse_instant
from latewood.graph_schema.errors import ConflictError, InvalidError, UnavailableError
from latewood.memory import AsOf, DecisionStatus, Memory
from latewood.memory.exports import export_adr
from latewood.memory.imports import ingest_adr

NYGARD = """# {number}. {title}

Date: {date}

## Status

{status}

## Context

We need {title}.

## Decision

We will use it.

## Consequences

It is there.
"""


def record(number: int, title: str, status: str = "Accepted", date: str = "2020-01-01") -> str:
    return NYGARD.format(number=number, title=title, status=status, date=date)


class Repository:
    """A real git repository whose clock is set by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str, at: str = "2020-01-01T00:00:00Z") -> str:
        who = {
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "a@x",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "a@x",
        }
        clock = {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at}
        done = subprocess.run(
            ["git", *words],
            cwd=self.path,
            env={**os.environ, **who, **clock},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def commit(self, at: str, **files: str | None) -> None:
        for name, text in files.items():
            file = self.path / "adr" / f"{name.replace('_', '-').lstrip('-')}.md"
            if text is None:
                file.unlink()
            else:
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
        self.git("add", "-A", at=at)
        self.git("commit", "-q", "-m", "records", at=at)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.commit("2020-01-05T10:00:00Z", _0001_db=record(1, "a database", "Proposed"))
    made.commit("2020-02-01T10:00:00Z", _0001_db=record(1, "a database", "Accepted"))
    made.commit("2020-03-01T10:00:00Z", _0002_queue=record(2, "a queue", "Accepted", "2020-04-01"))
    made.commit(
        "2020-06-01T10:00:00Z",
        _0003_pg=record(3, "Postgres", "Accepted\n\nSupersedes [0001](0001-db.md)", "2020-05-20"),
        _0001_db=record(1, "a database", "Superseded by [0003](0003-pg.md)"),
    )
    made.commit("2020-07-01T10:00:00Z", _0002_queue=None)
    return made


@pytest.fixture(params=["sqlite", "reference"])
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Memory]:
    url = "reference:" if request.param == "reference" else str(tmp_path / "latewood.db")
    async with Memory.open(url, by="human:ada", space="records") as memory:
        yield memory


def known(text: str) -> AsOf:
    return AsOf(known_at=parse_instant(text))


async def test_a_history_fills_an_empty_space_with_its_own_time(memory: Memory, repository: Repository) -> None:
    report = await ingest_adr(memory, repository.path / "adr")

    assert (report.history, report.decisions, report.supersessions, report.late) == (True, 2, 1, 0)
    assert report.space_created
    assert report.deleted == ["adr:2"]
    statuses = [
        (await memory.decision("adr:1", known(at))).status.value for at in ("2020-01-06", "2020-02-02", "2020-06-02")
    ]
    assert statuses == ["proposed", "accepted", "superseded"]
    assert [one.key for one in (await memory.decision("adr:1")).superseded_by] == ["adr:3"]
    assert (await memory.decision("adr:1", known("2020-03-01"))).superseded_by == ()
    assert (await memory.decision("adr:2")).status is DecisionStatus.ACCEPTED
    assert (await memory.verify()).ok


async def test_a_records_own_date_dates_its_first_status_unless_it_is_later_than_its_commit(
    memory: Memory, repository: Repository
) -> None:
    await ingest_adr(memory, repository.path / "adr")

    async def starts(key: str) -> list[str]:
        page = await memory.timeline(key, predicates=["status"])
        return [fact.valid_from.date().isoformat() for fact in page.items]

    assert await starts("adr:1") == ["2020-01-01", "2020-02-01", "2020-06-01"]
    assert await starts("adr:2") == ["2020-03-01"]
    assert await starts("adr:3") == ["2020-05-20"]


async def test_a_second_run_writes_nothing_and_a_new_commit_comes_late(memory: Memory, repository: Repository) -> None:
    first = await ingest_adr(memory, repository.path / "adr")
    again = await ingest_adr(memory, repository.path / "adr")
    repository.commit(
        "2020-08-01T10:00:00Z", _0004_cache=record(4, "a cache", "Accepted\n\nSupersedes ADR 3", "2020-07-30")
    )
    more = await ingest_adr(memory, repository.path / "adr")

    assert (again.written, again.replayed) == (0, first.written)
    assert more.written == more.late == 2
    assert [one.key for one in (await memory.decision("adr:3")).superseded_by] == ["adr:4"]
    (fact,) = (await memory.timeline("adr:4", predicates=["status"])).items
    assert fact.source.source_time == parse_instant("2020-08-01T10:00:00Z")
    assert fact.recorded_at > parse_instant("2026-01-01")


async def test_a_claim_that_is_dropped_ends_its_edge(memory: Memory, repository: Repository) -> None:
    repository.commit(
        "2020-09-01T10:00:00Z",
        _0003_pg=record(3, "Postgres", "Accepted", "2020-05-20"),
        _0001_db=record(1, "a database", "Accepted"),
    )
    await ingest_adr(memory, repository.path / "adr")
    await ingest_adr(memory, repository.path / "adr")

    assert (await memory.decision("adr:1")).superseded_by == ()
    assert [one.key for one in (await memory.decision("adr:1", known("2020-07-01"))).superseded_by] == ["adr:3"]


async def test_what_is_broken_is_named(memory: Memory, tmp_path: Path) -> None:
    folder = tmp_path / "adr"
    folder.mkdir()
    files = {
        "0001-a.md": record(1, "one", "Superseded by [0002](0002-b.md)"),
        "0002-b.md": record(2, "two"),
        "0003-c.md": record(3, "three", "Superseded by [ADR 9](0009-gone.md)"),
        "0004-d.md": record(4, "four", "Accepted\n\nSupersedes [5](0005-e.md)"),
        "0005-e.md": record(5, "five", "Accepted\n\nSupersedes [4](0004-d.md)"),
        "0006-f.md": record(6, "six"),
        "0006-g.md": record(6, "six again"),
        "0007-h.md": record(7, "seven", "Bananas"),
        "notes.md": "Just some notes.\n",
        "README.md": "* [one](0001-a.md)\n* [two](0002-b.md) ~~old~~\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)

    report = await ingest_adr(memory, folder)
    assert report.decisions == 8
    assert [one["predecessor"] for one in report.one_sided if one["silent"] == "adr:2"] == ["adr:1"]
    assert [one["path"] for one in report.dangling] == ["0003-c.md"]
    assert [one["keys"] for one in report.cyclic] == [["adr:4", "adr:5"]]
    assert [one["keys"] for one in report.duplicate_numbers] == [["adr:6~0006-f", "adr:6~0006-g"]]
    assert "0009-gone.md" in [one["target"] for one in report.dead_links]
    assert [one["key"] for one in report.index_stale] == ["adr:1"]
    assert [one["path"] for one in report.skipped] == ["notes.md"]
    assert "status.unreadable" in {one.code for one in report.problems}
    with pytest.raises(ConflictError, match="adr:6~0006-f, adr:6~0006-g") as caught:
        await memory.decision("adr:6")
    assert caught.value.code == "key.ambiguous"
    decision = await memory.decision("adr:7")
    assert (decision.status, decision.source_status) == (DecisionStatus.PROPOSED, "Bananas")


async def test_files_without_a_history_are_written_again_only_when_they_change(memory: Memory, tmp_path: Path) -> None:
    folder = tmp_path / "adr"
    folder.mkdir()
    (folder / "0001-a.md").write_text(record(1, "one"))
    await ingest_adr(memory, folder)
    same = await ingest_adr(memory, folder)
    (folder / "0001-a.md").write_text(record(1, "one", "Deprecated"))
    changed = await ingest_adr(memory, folder)
    (folder / "0001-a.md").write_text(record(1, "one"))
    back = await ingest_adr(memory, folder)

    assert (same.written, changed.written, back.written) == (0, 1, 1)
    assert (await memory.decision("adr:1")).status is DecisionStatus.ACCEPTED
    assert len((await memory.timeline("adr:1", predicates=["status"])).items) == 3


async def test_a_folder_without_records_is_an_error(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as caught:
        await ingest_adr(memory, tmp_path)

    assert caught.value.code == "record.malformed"


async def test_an_export_reads_back_as_the_same_decisions(
    memory: Memory, repository: Repository, tmp_path: Path
) -> None:
    await ingest_adr(memory, repository.path / "adr")
    report = await export_adr(memory, tmp_path / "out")
    other = memory.within(space="again")
    await ingest_adr(other, tmp_path / "out")

    assert (report.decisions, report.supersessions) == (2, 1)
    for key in ("adr:1", "adr:3"):
        one, two = await memory.decision(key), await other.decision(key)
        assert (one.title, one.status, one.question, one.choice) == (two.title, two.status, two.question, two.choice)
        assert [node.key for node in one.superseded_by] == [node.key for node in two.superseded_by]
    with pytest.raises(ConflictError):
        await export_adr(memory, tmp_path / "out")
    with pytest.raises(InvalidError):
        await export_adr(memory.within(space="default"), tmp_path / "none")


async def test_a_branch_that_edits_words_does_not_take_back_a_status(memory: Memory, tmp_path: Path) -> None:
    made = Repository(tmp_path / "branched")
    made.commit("2020-01-05T10:00:00Z", _0001_db=record(1, "a database", "Proposed"))
    made.git("checkout", "-q", "-b", "words")
    made.git("checkout", "-q", "main")
    made.commit("2020-02-01T10:00:00Z", _0001_db=record(1, "a database", "Accepted"))
    made.git("checkout", "-q", "words")
    made.commit("2020-03-01T10:00:00Z", _0001_db=record(1, "a database", "Proposed") + "\nIt is fast.\n")
    made.git("checkout", "-q", "main")
    made.git("merge", "-q", "--no-edit", "words", at="2020-04-01T10:00:00Z")
    await ingest_adr(memory, made.path / "adr")

    statuses = [(await memory.decision("adr:1", known(f"2020-0{month}-15"))).status.value for month in (1, 2, 3, 4)]
    assert statuses == ["proposed", "accepted", "accepted", "accepted"]
    assert "It is fast." in ((await memory.decision("adr:1")).consequences or "")


async def test_an_interrupted_fill_goes_on_with_the_historys_own_time(
    memory: Memory, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latewood.ingestion.adr._BATCH_UNITS", 2)
    submit, calls = Memory.submit_many, 0

    async def cut(self: Memory, units):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise UnavailableError("the power went", code="store.unavailable")
        return await submit(self, units)

    monkeypatch.setattr(Memory, "submit_many", cut)
    with pytest.raises(UnavailableError):
        await ingest_adr(memory, repository.path / "adr")
    (half,) = [space for space in await memory.spaces() if space.name == "records"]
    monkeypatch.setattr(Memory, "submit_many", submit)
    report = await ingest_adr(memory, repository.path / "adr")
    (whole,) = [space for space in await memory.spaces() if space.name == "records"]

    assert (half.state, whole.state) == ("filling", "live")
    assert (report.replayed, report.late) == (2, 0)
    assert (await memory.decision("adr:1", known("2020-02-02"))).status is DecisionStatus.ACCEPTED
    assert [one.key for one in (await memory.decision("adr:1", known("2020-06-02"))).superseded_by] == ["adr:3"]


async def test_an_edge_withdrawn_by_an_older_author_time_ends_where_it_began(memory: Memory, tmp_path: Path) -> None:
    made = Repository(tmp_path / "skewed")
    made.commit("2020-03-01T00:00:00Z", _0001_a=record(1, "one"), _0002_b=record(2, "two"))
    made.commit("2020-03-10T00:00:00Z", _0001_a=record(1, "one", "Superseded by [2](0002-b.md)"))
    (made.path / "adr" / "0001-a.md").write_text(record(1, "one"))
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "back", "--date=2020-03-05T00:00:00Z", at="2020-03-20T00:00:00Z")
    await ingest_adr(memory, made.path / "adr")

    decision = await memory.decision("adr:1")
    assert (decision.status, decision.superseded_by) == (DecisionStatus.ACCEPTED, ())


async def test_a_number_used_again_gets_a_key_of_its_own(memory: Memory, tmp_path: Path) -> None:
    made = Repository(tmp_path / "reused")
    made.commit("2020-01-01T00:00:00Z", _0003_old=record(3, "something old"))
    await ingest_adr(memory, made.path / "adr")
    made.commit("2020-02-01T00:00:00Z", _0003_old=None)
    made.commit("2020-03-01T00:00:00Z", _0003_new=record(3, "a wholly other matter", "Proposed"))
    report = await ingest_adr(memory, made.path / "adr")

    assert report.decisions == 1
    assert (await memory.decision("adr:3")).title == "something old"
    assert (await memory.decision("adr:3~0003-new")).title == "a wholly other matter"


async def test_a_renamed_file_goes_on_as_the_same_decision(memory: Memory, tmp_path: Path) -> None:
    folder = tmp_path / "adr"
    folder.mkdir()
    (folder / "0001-a.md").write_text(record(1, "one"))
    await ingest_adr(memory, folder)
    (folder / "0001-a.md").rename(folder / "0001-alpha.md")
    await ingest_adr(memory, folder)

    assert len((await memory.decisions()).items) == 1


def folder_of(path: Path, **titles: str) -> Path:
    path.mkdir()
    for number, (name, title) in enumerate(titles.items(), 1):
        (path / f"{number:04}-{name}.md").write_text(record(number, title))
    return path


async def test_a_file_that_is_gone_is_named_and_its_decision_stays(memory: Memory, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "adr", a="one", b="two", c="three")
    first = await ingest_adr(memory, folder)
    (folder / "0002-b.md").unlink()
    (folder / "0003-c.md").rename(folder / "0003-sea.md")
    later = await ingest_adr(memory, folder)
    alone = await ingest_adr(memory, folder / "0001-a.md")

    assert (first.missing_files, alone.missing_files) == ([], [])
    assert later.missing_files == [{"path": "0002-b.md", "key": "adr:2"}]
    assert (await memory.decision("adr:2")).title == "two"
    (folder / "0002-b.md").write_text(record(2, "two"))
    assert (await ingest_adr(memory, folder)).missing_files == []


async def test_another_folder_does_not_take_over_records_of_the_same_name(memory: Memory, tmp_path: Path) -> None:
    ours = folder_of(tmp_path / "ours", a="use postgres", b="use kafka", c="use helm")
    theirs = folder_of(tmp_path / "theirs", a="paint it red", b="paint it blue", other="paint it green", d="use tea")
    await ingest_adr(memory, ours)
    report = await ingest_adr(memory, theirs)
    again = await ingest_adr(memory, ours)

    place = str(ours.resolve())
    assert report.other_folder == [
        {"path": "0001-a.md", "key": "adr:1", "folder": place}, {"path": "0002-b.md", "key": "adr:2", "folder": place},
    ]  # fmt: skip
    assert (report.decisions, report.missing_files) == (2, [])
    assert (again.written, again.other_folder, again.missing_files) == (0, [], [])
    assert [(await memory.decision(key)).title for key in ("adr:1", "adr:2", "adr:4")] == [
        "use postgres", "use kafka", "use tea",
    ]  # fmt: skip
    titles = {one.key: one.title for one in (await memory.decisions()).items}
    assert (titles["adr:3"], titles["adr:3~0003-other"]) == ("use helm", "paint it green")


async def test_nothing_is_written_of_a_folder_that_shares_all_its_names_with_another(
    memory: Memory, tmp_path: Path
) -> None:
    await ingest_adr(memory, folder_of(tmp_path / "ours", a="use postgres"))
    report = await ingest_adr(memory, folder_of(tmp_path / "theirs", a="paint it red"))

    assert (report.decisions, report.written, len(report.other_folder)) == (0, 0, 1)


async def test_a_folder_that_was_moved_goes_on(memory: Memory, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "here", a="one", b="two", c="three")
    await ingest_adr(memory, folder)
    moved = folder.rename(tmp_path / "there")
    (moved / "0001-a.md").write_text(record(1, "one, said better"))
    (moved / "0003-c.md").unlink()
    report = await ingest_adr(memory, moved)

    assert (report.other_folder, report.written) == ([], 1)
    assert report.missing_files == [{"path": "0003-c.md", "key": "adr:3"}]
    assert (await memory.decision("adr:1")).title == "one, said better"


async def test_another_repository_is_told_apart_too(memory: Memory, tmp_path: Path) -> None:
    ours, theirs = Repository(tmp_path / "ours"), Repository(tmp_path / "theirs")
    ours.commit("2020-01-01T00:00:00Z", _0001_a=record(1, "use postgres"))
    theirs.commit("2020-01-02T00:00:00Z", _0001_a=record(1, "paint it red"), _0002_b=record(2, "use tea"))
    await ingest_adr(memory, ours.path / "adr")
    report = await ingest_adr(memory, theirs.path / "adr")
    plain = await ingest_adr(memory, ours.path / "adr", history=False)

    assert [one["path"] for one in report.other_folder if isinstance(one, dict)] == ["adr/0001-a.md"]
    assert report.decisions == 1
    assert {one.title for one in (await memory.decisions()).items} == {"use postgres", "use tea"}
    assert plain.other_folder == []
