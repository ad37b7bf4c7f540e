"""The history of a folder, from repositories made here with git itself."""

from __future__ import annotations

import os
import random
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from latewood.graph_schema.errors import NotFoundError
from latewood.ingestion.records import RecordVersion, parse_record, read_history

START = 1_600_000_000


class Repository:
    """A repository whose commits lie a day apart."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.day = 0
        top.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, at: int | None = None, authored: int | None = None) -> str:
        when = START + self.day * 86_400 if at is None else at
        names = {
            f"GIT_{who}_{what}": "Ada" if what == "NAME" else "a@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")}, **names,
            "GIT_AUTHOR_DATE": f"{when if authored is None else authored} +0200", "GIT_COMMITTER_DATE": f"{when} +0000",
            "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
        }  # fmt: skip
        done = subprocess.run(
            ["git", "-C", str(self.top), *arguments], env=environment, capture_output=True, check=True
        )
        return done.stdout.decode(errors="replace").strip()

    def write(self, path: str, status: str, words: str = "") -> None:
        file = self.top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        body = "\n".join(f"Line {n} of {Path(path).name[:4]} {words}" for n in range(8))
        file.write_text(f"# T\n\n## Status\n\n{status}\n\n## Context\n\n{body}\n", encoding="utf-8")

    def commit(self, *, at: int | None = None, authored: int | None = None) -> str:
        self.day += 1
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "c", at=at, authored=authored)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


def statuses(versions: list[RecordVersion]) -> list[str | None]:
    return [None if one.text is None else parse_record(one.text, path=one.path).status_raw for one in versions]


def test_each_status_change_is_a_version_with_both_times(repository: Repository) -> None:
    repository.write("adr/0001-a.md", "Proposed")
    first = repository.commit(authored=START - 500)
    repository.write("adr/0001-a.md", "Accepted")
    second = repository.commit()
    (repository.top / "other.txt").write_text("x")
    repository.commit()

    history = read_history(repository.top / "adr")
    versions = list(history.versions())

    assert statuses(versions) == ["Proposed", "Accepted"]
    assert [one.commit for one in versions] == [first, second]
    assert versions[0].author_time == datetime.fromtimestamp(START - 500, UTC)
    assert versions[0].commit_time == versions[0].source_time == datetime.fromtimestamp(START + 86_400, UTC)
    assert [one.based_on for one in versions] == [None, first]
    assert (history.folder, history.uncommitted, history.problems, history.shallow) == ("adr", (), (), False)
    assert len(history) == history.commits == 2


def test_a_record_keeps_its_identity_through_renames_and_moves(repository: Repository) -> None:
    repository.write("notes/0001-a.md", "Proposed")
    repository.commit()
    repository.git("mv", "notes", "decisions")
    repository.commit()
    (repository.top / "docs").mkdir()
    repository.git("mv", "decisions", "docs/adr")
    repository.git("mv", "docs/adr/0001-a.md", "docs/adr/0007-b.md")
    moved = repository.top / "docs/adr/0007-b.md"
    moved.write_text(moved.read_text().replace("Proposed", "Accepted"))
    repository.commit()
    repository.write("docs/adr/0001-a.md", "Draft", "another one")
    repository.commit()

    versions = list(read_history(repository.top / "docs" / "adr").versions())

    assert {one.identity for one in versions[:3]} == {"notes/0001-a.md"}
    assert [one.renamed_from for one in versions] == [None, "notes/0001-a.md", "decisions/0001-a.md", None]
    assert [one.path for one in versions] == [
        "notes/0001-a.md", "decisions/0001-a.md", "docs/adr/0007-b.md", "docs/adr/0001-a.md"
    ]  # fmt: skip
    assert versions[3].identity == "docs/adr/0001-a.md"


def test_a_path_taken_over_is_another_record(repository: Repository) -> None:
    repository.write("adr/0001-a.md", "Accepted", "old")
    repository.commit()
    repository.git("mv", "adr/0001-a.md", "adr/0002-a.md")
    repository.commit()
    repository.write("adr/0001-a.md", "Proposed", "quite new and different")
    third = repository.commit()

    versions = list(read_history(repository.top / "adr").versions())

    assert [one.identity for one in versions] == ["adr/0001-a.md", "adr/0001-a.md", f"adr/0001-a.md~{third[:12]}"]


def test_a_deletion_and_its_revert_are_one_record(repository: Repository) -> None:
    repository.write("adr/0001-a.md", "Accepted")
    repository.write("adr/0002-b.md", "Accepted", "b")
    repository.commit()
    (repository.top / "adr/0001-a.md").unlink()
    repository.commit()
    deleted = dict(read_history(repository.top / "adr").at_head)
    repository.day += 1
    repository.git("revert", "--no-edit", "HEAD")

    versions = [one for one in read_history(repository.top / "adr").versions() if one.identity == "adr/0001-a.md"]

    assert deleted == {"adr/0002-b.md": "adr/0002-b.md"}
    assert statuses(versions) == ["Accepted", None, "Accepted"]
    assert {one.path for one in versions} == {"adr/0001-a.md"}


def test_a_merge_adds_a_version_only_where_it_says_more(repository: Repository) -> None:
    repository.write("adr/0001-a.md", "Proposed")
    repository.write("adr/0002-b.md", "Proposed", "b")
    repository.commit()
    repository.git("checkout", "-q", "-b", "side")
    repository.write("adr/0001-a.md", "Accepted")
    repository.write("adr/0002-b.md", "Accepted", "b")
    side = repository.commit()
    repository.git("checkout", "-q", "main")
    file = repository.top / "adr/0001-a.md"
    file.write_text(file.read_text() + "\nAdded on main.\n")
    main = repository.commit()
    repository.day += 1
    repository.git("merge", "-q", "--no-ff", "--no-edit", "side")
    merge = repository.git("rev-parse", "HEAD")

    versions = list(read_history(repository.top / "adr").versions())
    first = [one for one in versions if one.path == "adr/0001-a.md"]

    assert [one.commit for one in versions if one.path == "adr/0002-b.md"][1:] == [side]
    assert [one.commit for one in first][1:] == [side, main, merge]
    assert statuses(first) == ["Proposed", "Accepted", "Proposed", "Accepted"]
    assert first[2].based_on == first[0].commit != first[1].commit
    assert first[-1].text == file.read_text()


def test_a_side_that_a_merge_throws_away_is_taken_back(repository: Repository) -> None:
    repository.write("adr/0001-a.md", "Proposed")
    repository.commit()
    repository.git("checkout", "-q", "-b", "side")
    repository.write("adr/0001-a.md", "Rejected")
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.write("adr/0001-a.md", "Accepted")
    repository.commit(at=START + 86_400 + 5)
    repository.day += 1
    repository.git("merge", "-q", "--no-ff", "--no-edit", "-s", "ours", "side")

    versions = list(read_history(repository.top / "adr").versions())

    assert statuses(versions) == ["Proposed", "Accepted", "Rejected", "Accepted"]


def test_odd_names_are_read_and_links_are_not_followed(repository: Repository) -> None:
    names = [
        "0001-a b.md",
        "0002-\u00fc\u00f1.md",
        '0003-"q"\ttab.md',
        "0004-line\nbreak.md",
        "-0005-dash.md",
        "0006-:(glob)*.md",
    ]
    for name in names:
        repository.write(f"adr/{name}", "Accepted", name)
    (repository.top / "adr" / "0009-link.md").symlink_to("/etc/hostname")
    repository.commit()
    raw = os.fsencode(repository.top / "adr") + b"/0007-\xff.md"
    Path(os.fsdecode(raw)).write_bytes(b"# T\n\nStatus: accepted \xff\n")
    repository.commit()

    history = read_history(repository.top / "adr")
    versions = list(history.versions())

    assert {one.path for one in versions} == {f"adr/{name}" for name in names} | {"adr/0007-\\xff.md"}
    assert [problem.code for one in versions for problem in one.problems] == ["record.not_text"]
    assert history.uncommitted == ()


def test_a_clock_that_runs_backwards_moves_no_child_before_its_parent(repository: Repository) -> None:
    repository.write("adr/0001-a.md", "Proposed")
    repository.commit(at=START + 1_000_000)
    repository.write("adr/0001-a.md", "Accepted")
    repository.commit(at=START)

    history = read_history(repository.top / "adr")
    versions = list(history.versions())

    assert statuses(versions) == ["Proposed", "Accepted"]
    assert versions[1].source_time == versions[0].source_time
    assert versions[1].commit_time < versions[0].commit_time
    assert [problem.code for problem in history.problems] == ["git.clock_skew"]


def test_what_is_not_committed_is_told_apart(repository: Repository) -> None:
    for n in (1, 2, 3):
        repository.write(f"adr/000{n}-x.md", "Accepted", str(n))
    (repository.top / ".gitignore").write_text("*ignored*\n")
    repository.commit()
    repository.write("adr/0002-x.md", "Deprecated", "2")
    (repository.top / "adr/0003-x.md").unlink()
    repository.write("adr/0004-ignored.md", "Draft")
    crlf = repository.top / "adr/0001-x.md"
    crlf.write_bytes(crlf.read_bytes().replace(b"\n", b"\r\n"))

    found = read_history(repository.top / "adr").uncommitted

    assert [(one.path, one.change) for one in found] == [
        ("adr/0002-x.md", "modified"), ("adr/0003-x.md", "deleted"), ("adr/0004-ignored.md", "added")
    ]  # fmt: skip
    assert found[0].data == (repository.top / "adr/0002-x.md").read_bytes()
    assert found[1].data is None


def test_a_shallow_clone_says_so(repository: Repository, tmp_path: Path) -> None:
    for status in ("Proposed", "Accepted"):
        repository.write("adr/0001-a.md", status)
        repository.commit()
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.top}", str(tmp_path / "shallow"))

    history = read_history(tmp_path / "shallow" / "adr")

    assert history.shallow
    assert [problem.code for problem in history.problems] == ["git.shallow"]
    assert statuses(list(history.versions())) == ["Accepted"]


def test_no_repository_no_commit_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "0001-a.md").write_text("# A\n")
    alone = read_history(tmp_path)
    Repository(tmp_path)
    unborn = read_history(tmp_path)

    assert (alone.top, list(alone.versions())) == (None, [])
    assert (unborn.head, [one.change for one in unborn.uncommitted]) == (None, ["added"])
    with pytest.raises(NotFoundError):
        read_history(tmp_path / "gone")


def test_the_repository_cannot_run_a_program(repository: Repository, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    script = tmp_path / "trap.sh"
    script.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    script.chmod(0o755)
    for key in (
        "core.fsmonitor",
        "diff.external",
        "diff.t.textconv",
        "filter.t.clean",
        "filter.t.smudge",
        "core.pager",
    ):
        repository.git("config", key, str(script))
    repository.write("adr/0001-a.md", "Proposed")
    repository.git("-c", "core.fsmonitor=false", "-c", "filter.t.clean=cat", "add", "-A")
    repository.git("-c", "core.fsmonitor=false", "commit", "-q", "-m", "c")
    (repository.top / ".gitattributes").write_text("*.md diff=t filter=t\n")
    trap.unlink(missing_ok=True)
    repository.write("adr/0001-a.md", "Accepted")

    history = read_history(repository.top / "adr")

    assert statuses(list(history.versions())) == ["Proposed"]
    assert [one.change for one in history.uncommitted] == ["modified"]
    assert not trap.exists()


@pytest.mark.parametrize("seed", range(4))
def test_the_last_version_of_every_record_is_what_the_branch_holds(repository: Repository, seed: int) -> None:
    dice = random.Random(seed)
    repository.write("adr/0000-x.md", "Proposed")
    repository.commit()
    branches = ["main"]
    for step in range(25):
        repository.git("checkout", "-q", dice.choice(branches))
        files = sorted((repository.top / "adr").glob("*.md"))
        action = dice.random()
        if action < 0.15 and len(branches) < 4:
            branches.append(f"b{step}")
            repository.git("checkout", "-q", "-b", branches[-1])
        elif action < 0.4 and len(branches) > 1:
            strategy = dice.choice(["ours", "theirs"])
            repository.day += 1
            merge = ("merge", "-q", "--no-ff", "--no-edit", "-X", strategy, "-X", "no-renames", dice.choice(branches))
            try:
                repository.git(*merge)
            except subprocess.CalledProcessError:  # changed here, deleted there: what lies in the tree is kept
                repository.git("add", "-A")
                repository.git("commit", "-q", "--no-edit")
            continue
        elif action < 0.5 and len(files) > 1:
            dice.choice(files).unlink()
        elif action < 0.6 and files:
            chosen = dice.choice(files)
            chosen.rename(chosen.with_name(f"{step:04d}-moved.md"))
        elif action < 0.75:
            repository.write(f"adr/{step:04d}-x.md", "Proposed", f"new {step}")
        elif files:
            file = dice.choice(files)
            file.write_text(file.read_text() + f"\nEdit {step}.\n")
        repository.commit(at=START + repository.day * 100 + dice.randrange(-150, 150))

    history = read_history(repository.top / "adr")
    last = {one.identity: one for one in history.versions()}
    times = [one.source_time for one in history.versions()]

    held = {f"adr/{file.name}": file.read_text() for file in (repository.top / "adr").glob("*.md")}
    assert {one.path: one.text for one in last.values() if one.text is not None} == held
    assert sorted(history.at_head) == sorted(held)
    assert times == sorted(times)
    assert history.uncommitted == ()
