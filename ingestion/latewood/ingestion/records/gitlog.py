"""The commits that touched a folder, with what each changed, in the order of the stream. One process a round."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from latewood.ingestion.records.folder import file_role
from latewood.ingestion.records.git import Git
from latewood.ingestion.records.model import Problem

__all__ = ["Change", "Commit", "read_commits"]

_ROUNDS_MAX: Final = 8
"""How often a record may have moved from folder to folder before it came to this one."""
_PATHS_MAX: Final = 200
"""Former paths named one by one; of more, their folders are read instead."""
_RENAMES_MAX: Final = 4_000

_FORMAT: Final = "%H%x02%P%x02%at%x02%ct%x02%aN"
_DIFF: Final = ("--raw", "-z", "--no-abbrev", "-M", f"-l{_RENAMES_MAX}", "--no-ext-diff", "--no-textconv")
_NAME: Final = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_REGULAR: Final = b"100"


@dataclass(frozen=True, slots=True)
class Change:
    """A path that a commit changed against its first parent; *blob* is None where no plain file is left there."""

    path: str
    old_path: str
    blob: str | None
    added: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit. Its parents are the nearest ones that touched the folder; times are seconds since 1970.

    Attributes:
        source_s: commit_s, raised to that of its parents where a clock ran backwards.
        done_with: commits that no later one builds on.
    """

    name: str
    parents: tuple[str, ...]
    author_s: int
    commit_s: int
    source_s: int
    author: str
    changes: tuple[Change, ...]
    done_with: tuple[str, ...] = ()


def _path(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _entries(tokens: Sequence[bytes], at: int) -> tuple[list[Change], int]:
    """Read raw diff entries from *at* on; return them and where they end."""
    changes: list[Change] = []
    while at < len(tokens) and tokens[at].lstrip(b"\n").startswith(b":"):
        _, mode, _, blob, status = tokens[at].lstrip(b"\n")[1:].split(b" ")
        moved = status[:1] in b"RC"
        old, new = tokens[at + 1], tokens[at + 2] if moved else tokens[at + 1]
        at += 3 if moved else 2
        held = blob.decode() if mode.startswith(_REGULAR) and status[:1] != b"D" else None
        changes.append(Change(_path(new), _path(old), held, status[:1] == b"A"))
    return changes, at


def _parse(out: bytes) -> Iterator[Commit]:
    tokens = out.split(b"\0")
    at = 0
    while at < len(tokens):
        header = tokens[at].lstrip(b"\n")
        at += 1
        if not header:
            continue
        name, parents, author_s, commit_s, author = header.split(b"\x02", 4)
        changes, at = _entries(tokens, at)
        yield Commit(
            name.decode(), tuple(parents.decode().split()), int(author_s or 0), int(commit_s or 0), int(commit_s or 0),
            author.decode("utf-8", "replace").strip(), tuple(changes),
        )  # fmt: skip


def _log(git: Git, paths: Sequence[str]) -> tuple[list[Commit], str]:
    out, said = git.run(
        "-c", "log.showRoot=true", "log", "HEAD", "--full-history", "--simplify-merges", "--topo-order", "--reverse",
        "--diff-merges=first-parent", *_DIFF, f"--format=tformat:{_FORMAT}", "--", *paths,
    )  # fmt: skip
    return list(_parse(out)), said


def read_commits(git: Git, folder: str) -> tuple[list[Commit], list[Problem]]:
    """Read the commits under *folder* (empty: the whole tree), sorted; records' former paths are followed."""
    scope = [folder or "."]
    former: set[str] = set()
    complaints = ""
    commits: list[Commit] = []
    for _ in range(_ROUNDS_MAX):
        paths = (
            sorted(former) if len(former) <= _PATHS_MAX else sorted({posixpath.dirname(path) or "." for path in former})
        )
        commits, said = _log(git, [*scope, *paths])
        complaints += said
        moved, said = _moved_in(git, commits)
        complaints += said
        if not folder or moved <= former:
            break
        former |= moved
    problems: list[Problem] = []
    if "rename detection was skipped" in complaints:
        problems.append(
            Problem("git.renames_skipped", f"a commit moves more than {_RENAMES_MAX} files; renames in it are lost")
        )
    return _ordered(commits, problems), problems


def _moved_in(git: Git, commits: Sequence[Commit]) -> tuple[set[str], str]:
    """Find the former paths of records that came from outside the paths read so far."""
    added = {
        commit.name: {change.path for change in commit.changes if change.added and file_role(change.path) == "record"}
        for commit in commits if len(commit.parents) < 2  # noqa: PLR2004 - a merge brings what its branch added
    }  # fmt: skip
    asked = [name for name, paths in added.items() if paths]
    if not asked:
        return set(), ""
    out, said = git.run("diff-tree", "--stdin", "-r", *_DIFF, stdin="".join(f"{name}\n" for name in asked).encode())
    tokens = out.split(b"\0")
    at = 0
    moved: set[str] = set()
    name = ""
    while at < len(tokens):
        token = tokens[at].strip(b"\n")
        if _NAME.match(token):
            name, at = token.decode(), at + 1
            continue
        changes, following = _entries(tokens, at)
        moved |= {one.old_path for one in changes if one.old_path != one.path and one.path in added.get(name, ())}
        at = max(following, at + 1)
    return moved, said


def _ordered(commits: Sequence[Commit], problems: list[Problem]) -> list[Commit]:
    """Sort by commit time, never before a parent; say where a clock ran backwards."""
    known = {commit.name for commit in commits}
    times: dict[str, int] = {}
    placed: list[Commit] = []
    for commit in commits:
        parents = tuple(name for name in commit.parents if name in known)
        latest = max((times[name] for name in parents), default=commit.commit_s)
        times[commit.name] = max(commit.commit_s, latest)
        if latest > commit.commit_s:
            message = f"commit {commit.name[:12]} is stamped {latest - commit.commit_s} s before one it builds on"
            problems.append(Problem("git.clock_skew", message))
        placed.append(replace(commit, parents=parents, source_s=times[commit.name]))
    placed = [commit for _, commit in sorted(enumerate(placed), key=lambda one: (one[1].source_s, one[0]))]
    last_use = {parent: n for n, commit in enumerate(placed) for parent in commit.parents}
    ends: dict[int, list[str]] = {}
    for name, n in last_use.items():
        ends.setdefault(n, []).append(name)
    return [replace(commit, done_with=tuple(ends.get(n, ()))) for n, commit in enumerate(placed)]
