"""A repository's history: commits as changes with their reasons, reverts as reversals, times as they were."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from latewood.graph_schema.errors import InvalidError
from latewood.ingestion.sources import commits
from latewood.memory import Memory
from latewood.memory.imports import ingest_git
from latewood.storage.port import FactQuery


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    async with Memory.open(str(tmp_path / "t.db"), by="human:importer", sync="normal") as opened:
        yield opened


class Repository:
    """A repository whose clock is the test's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str, day: int = 1, author: str = "Ada", written: int | None = None) -> str:
        when = f"2026-03-{day:02}T10:00:00Z"
        env = {
            "PATH": "/usr/bin:/bin", "HOME": str(self.path), "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": author, "GIT_AUTHOR_EMAIL": "a@x.example", "GIT_COMMITTER_NAME": author,
            "GIT_COMMITTER_EMAIL": "a@x.example", "GIT_COMMITTER_DATE": when,
            "GIT_AUTHOR_DATE": when if written is None else f"2026-03-{written:02}T10:00:00Z",
        }  # fmt: skip
        done = subprocess.run(["git", *words], cwd=self.path, env=env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, message: str, files: dict[str, str | None], **when: Any) -> str:
        for name, text in files.items():
            if text is None:
                self.git("rm", "-q", name)
            else:
                (self.path / name).parent.mkdir(exist_ok=True)
                (self.path / name).write_text(text)
                self.git("add", name)
        self.git("commit", "-q", "--allow-empty", "-m", message, **when)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "lanes")


async def facts(memory: Memory, key: str, **at: Any) -> dict[str, list[Any]]:
    (node,) = (await memory.store.nodes(memory.space, keys=[key])).values()
    listed = await memory.store.facts(memory.space, FactQuery(subjects=[node.id]), **at)
    targets = await memory.store.nodes(memory.space, ids=[one.object_id for one in listed if one.object_id])
    found: dict[str, list[Any]] = {}
    for fact in listed:
        said = targets[fact.object_id].key if fact.object_id is not None else fact.value.data if fact.value else None
        found.setdefault(fact.predicate, []).append(said)
    return found


async def test_a_commit_is_a_change_with_its_reason(memory: Memory, repository: Repository) -> None:
    first = repository.commit("Start the table\n\nThe lanes were in mails.", {"src/a.py": "1\n" * 9, "b": "2"})
    second = repository.commit(
        "Move and drop", {"b": None, "src/c.py": "1\n" * 9, "src/a.py": None}, day=2, author="bot[bot]", written=1
    )
    report = await ingest_git(memory, repository.path)
    old, new = await facts(memory, f"commit:{first}"), await facts(memory, f"commit:{second}")
    (node,) = (await memory.store.nodes(memory.space, keys=[f"commit:{second}"])).values()

    assert old["text"] == ["Start the table\n\nThe lanes were in mails."]
    assert (old["authored_by"], new["authored_by"]) == (["human:Ada"], ["agent:bot[bot]"])
    assert sorted(old["adds_file"]) == ["file:lanes/b", "file:lanes/src/a.py"]
    assert (new["deletes_file"], new["changes_file"]) == (["file:lanes/b"], ["file:lanes/src/c.py"])
    assert (await facts(memory, "file:lanes/src/c.py"))["renamed_from"] == ["file:lanes/src/a.py"]
    assert (node.name, node.recorded_at.day, report.what) == ("Move and drop", 2, {"commit": 2})
    (text,) = list(await memory.store.facts(memory.space, FactQuery(subjects=[node.id], predicates=["text"])))
    assert text.valid_from.day == 1


async def test_a_revert_takes_back_and_its_revert_gives_again(memory: Memory, repository: Repository) -> None:
    one = repository.commit("Add b", {"b": "2"})
    two = repository.commit(f'Revert "Add b"\n\nThis reverts commit {one}.', {"b": None}, day=2)
    three = repository.commit(f'Reapply "Add b"\n\nThis reverts commit {two[:12]}.', {"b": "2"}, day=3)
    repository.commit("Odd\n\nThis reverts commit 0123456789abcdef.", {}, day=4)
    report = await ingest_git(memory, repository.path)

    assert (await facts(memory, f"commit:{two}"))["reverts"] == [f"commit:{one}"]
    assert (await facts(memory, f"commit:{one}"))["status"] == ["reinstated"]
    assert (await facts(memory, f"commit:{two}"))["status"] == ["reversed"]
    assert "status" not in await facts(memory, f"commit:{three}")
    assert report.what == {"commit": 2, "revert": 2}
    assert [one["reverts"] for one in report.dangling if isinstance(one, dict)] == ["0123456789abcdef"]


async def test_a_second_run_writes_nothing_and_later_commits_follow(memory: Memory, repository: Repository) -> None:
    repository.commit("One", {"a": "1"})
    first = await ingest_git(memory, repository.path)
    again = await ingest_git(memory, repository.path)
    two = repository.commit("Two", {"a": "2"}, day=2)
    grown = await ingest_git(memory, repository.path)

    assert (first.written, again.written, again.replayed) == (1, 0, 1)
    # The space went live at the end of the first run, so what comes later is recorded now.
    assert (grown.written, grown.late) == (1, 1)
    assert (await facts(memory, f"commit:{two}"))["text"] == ["Two"]


async def test_merges_clocks_and_odd_names(memory: Memory, repository: Repository) -> None:
    repository.commit("Base", {"a": "1"}, day=5)
    repository.git("checkout", "-q", "-b", "side")
    side = repository.commit("Side", {"naïve \t name": "2"}, day=2)
    repository.git("checkout", "-q", "main")
    repository.commit("Main", {"c": "1"}, day=6)
    repository.git("merge", "-q", "--no-ff", "-m", "Join", "side", day=7)
    report = await ingest_git(memory, repository.path)

    assert report.what == {"commit": 3, "merge": 1}
    assert [one["commit"] for one in report.clock_disagreements if isinstance(one, dict)] == [side]
    assert (await facts(memory, f"commit:{side}"))["adds_file"] == ["file:lanes/naïve \t name"]
    assert sorted(await facts(memory, f"commit:{repository.git('rev-parse', 'HEAD')}")) == ["authored_by", "text"]


async def test_a_wide_commit_is_kept_in_parts(
    memory: Memory, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(commits, "_PART", 4)
    name = repository.commit("Wide", {f"f{n:02}": str(n) for n in range(11)})
    report = await ingest_git(memory, repository.path)

    assert report.written == 4
    assert len((await facts(memory, f"commit:{name}"))["adds_file"]) == 11


async def test_a_folder_without_history_is_refused(memory: Memory, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(InvalidError, match="no history") as refused:
        await ingest_git(memory, bare)
    assert refused.value.code == "file.unreadable"
    empty = Repository(tmp_path / "empty")
    with pytest.raises(InvalidError, match="no history"):
        await ingest_git(memory, empty.path)
