"""The whole history of a folder of records in git, as one sorted stream of versions that survives renames and merges.

Git keeps a graph of commits; a history is read as a line. Commits stand by their commit time, never before one that
they build on, and each contributes the versions it brought. A merge adds a version only where it says something that
the line does not say yet, so that the last version of every record is always what the branch holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from latewood.graph_schema.errors import LimitError
from latewood.ingestion.records.folder import FILE_BYTES_MAX, FolderFile, file_role, scan_folder
from latewood.ingestion.records.git import Git, find_git
from latewood.ingestion.records.gitlog import Change, Commit, read_commits
from latewood.ingestion.records.model import Problem

__all__ = ["RecordHistory", "RecordVersion", "Uncommitted", "read_history"]

VERSIONS_MAX: Final = 200_000
"""Versions of records read from one folder's history."""

Entry = tuple[str, str, str]
"""What a state holds for a path: the record's identity, its blob, the commit of the version."""


@dataclass(frozen=True, slots=True)
class RecordVersion:
    """One record as one commit left it.

    Attributes:
        identity: the same for all versions of one record, stable while the history grows: the path it was born with
            (repository-relative), with ``~commit`` where another record was born there before.
        path: repository-relative, forward slashes, as of this commit (of a deletion: the last one).
        commit: its full name.
        author_time: when its author says it was made, UTC.
        commit_time: when it was committed, UTC, as git says.
        source_time: commit_time, or that of the latest commit it builds on where a clock ran backwards; versions are
            sorted by it.
        author: name of the commit's author.
        text: what the file says; None when this commit deleted it.
        renamed_from: the path of the version before it, where that is another one.
        based_on: commit of the version its author started from, None for the first. Where that is not the version
            before it in the stream, both were made side by side on two branches.
        problems: of reading the text (``record.not_text``).
    """

    identity: str
    path: str
    commit: str
    author_time: datetime
    commit_time: datetime
    source_time: datetime
    author: str
    text: str | None
    renamed_from: str | None = None
    based_on: str | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """A record whose file is not what HEAD has.

    Attributes:
        path: repository-relative.
        identity: of the record it continues; the path itself for a new one.
        data: the file's bytes now; None when it is gone.
    """

    path: str
    identity: str
    change: Literal["added", "modified", "deleted"]
    data: bytes | None


@dataclass(frozen=True, slots=True)
class _Placed:
    """A version without its text."""

    identity: str
    path: str
    commit: Commit
    blob: str | None
    renamed_from: str | None
    based_on: str | None


@dataclass(frozen=True, slots=True)
class RecordHistory:
    """What git knows of a folder of records.

    Attributes:
        top: the root of the work tree; None where the path lies in no repository (then there are no versions).
        folder: the path asked for, relative to *top*; empty for the root itself.
        head: the commit that HEAD names; None before the first commit.
        uncommitted: the records whose files differ from HEAD.
        at_head: path of each record that HEAD holds, to its identity.
        shallow: whether history before some commit is missing.
        commits: how many commits touched the records.
    """

    top: Path | None
    folder: str = ""
    head: str | None = None
    uncommitted: tuple[Uncommitted, ...] = ()
    at_head: Mapping[str, str] = field(default_factory=dict[str, str])
    shallow: bool = False
    commits: int = 0
    problems: tuple[Problem, ...] = ()
    _placed: tuple[_Placed, ...] = ()

    def __len__(self) -> int:
        """Return how many versions there are."""
        return len(self._placed)

    def versions(self) -> Iterator[RecordVersion]:
        """Yield the versions sorted by source time, parents before children; texts are read as they are asked for.

        Raises:
            InvalidError: code ``file.unreadable``; the repository lacks a content (a partial clone).
        """
        if self.top is None or not self._placed:
            return
        with Git(self.top).blobs() as blobs:
            for one in self._placed:
                data = None if one.blob is None else blobs.read(one.blob, FILE_BYTES_MAX)[0]
                text, problems = _decode(data, one.path)
                yield RecordVersion(
                    one.identity, one.path, one.commit.name, _utc(one.commit.author_s), _utc(one.commit.commit_s),
                    _utc(one.commit.source_s), one.commit.author, text, one.renamed_from, one.based_on, problems,
                )  # fmt: skip


def _utc(seconds: int) -> datetime:
    """Convert seconds since 1970; git takes any number, the calendar ends with the year 9999."""
    return datetime.fromtimestamp(min(max(seconds, 0), 253_402_300_799), UTC)


def _decode(data: bytes | None, path: str) -> tuple[str | None, tuple[Problem, ...]]:
    if data is None:
        return None, ()
    try:
        return data.decode("utf-8-sig"), ()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = Problem("record.not_text", f"{path}: byte {error.start} is no UTF-8", line)
        return data.decode("utf-8", "replace"), (problem,)


def read_history(path: Path) -> RecordHistory:
    """Read the history of the records under *path*, a folder or one file, from the repository that it lies in.

    Raises:
        InvalidError: code ``file.unreadable``; git fails.
        LimitError: code ``limit.exceeded``; more than `VERSIONS_MAX` versions.
        NotFoundError: code ``file.unreadable``; *path* is not there.
    """
    files = scan_folder(path)
    git, refused = find_git(files.root)
    if git is None:
        return RecordHistory(None, problems=refused)
    top = git.top.resolve()
    folder = _relative(path, top)
    root = _relative(files.root, top)
    head = git.head()
    if head is None:
        return RecordHistory(top, folder, uncommitted=_uncommitted({}, files.records, root))
    commits, problems = read_commits(git, folder)
    line = _Line(folder)
    for commit in commits:
        line.add(commit)
    line.close()
    shallow = git.is_shallow()
    if shallow:
        problems.append(
            Problem("git.shallow", "the clone is shallow: earlier commits are missing; run git fetch --unshallow")
        )
    kept = tuple(one for one in line.placed if one.identity in line.inside)
    state = {path: entry for path, entry in line.state.items() if _within(path, folder) and file_role(path) == "record"}
    return RecordHistory(
        top, folder, head,
        uncommitted=_uncommitted(state, files.records, root),
        at_head={path: entry[0] for path, entry in state.items()},
        shallow=shallow, commits=len(commits), problems=tuple(problems), _placed=kept,
    )  # fmt: skip


def _relative(path: Path, top: Path) -> str:
    relative = path.resolve().relative_to(top).as_posix()
    return "" if relative == "." else relative


def _within(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(folder + "/")


class _Line:
    """Lays the commits, in the order of the stream, into one line of versions."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.placed: list[_Placed] = []
        self.state: dict[str, Entry] = {}
        self.inside: set[str] = set()
        self._states: dict[str, dict[str, Entry]] = {}
        self._said: dict[str, tuple[str, str | None, str]] = {}
        self._last: Commit | None = None
        self._born: set[str] = set()
        self._at_path: dict[str, str] = {}

    def add(self, commit: Commit) -> None:
        """Add what *commit* brought."""
        parents = [self._states[name] for name in commit.parents]
        state = dict(parents[0]) if parents else {}
        gone: dict[str, tuple[str, Entry]] = {}
        for change in commit.changes:
            self._apply(change, commit, state, parents[1:], gone)
        self._part(commit, state, parents[0] if parents else {})
        for name in commit.done_with:
            self._states.pop(name, None)
        before = _by_identity(parents[0]) if parents else {}
        now = _by_identity(state)
        if len(parents) > 1:
            others = [before, *(_by_identity(parent) for parent in parents[1:])]
            touched: Iterable[str] = sorted(set(now).union(*others))
        else:
            others = [before]
            touched = dict.fromkeys([*(entry[0] for _, entry in gone.values()), *(_named(commit.changes, state))])
        for identity in touched:
            self._place(commit, identity, now.get(identity), others, state)
        self._states[commit.name] = state
        self.state, self._last = state, commit

    def _apply(
        self, change: Change, commit: Commit, state: dict[str, Entry], others: Sequence[Mapping[str, Entry]],
        gone: dict[str, tuple[str, Entry]],
    ) -> None:  # fmt: skip
        """Apply one change against the first parent, keeping the record's identity."""
        old = state.pop(change.old_path, None)
        if change.blob is None or file_role(change.path) != "record":
            if old is not None:
                gone[change.old_path] = (change.old_path, old)
            return
        elsewhere = next((parent[change.path] for parent in others if change.path in parent), None)
        if elsewhere is not None and (old is None or change.path != change.old_path):
            if old is not None and old[0] != elsewhere[0]:
                gone[change.old_path] = (change.old_path, old)
            identity = elsewhere[0]
        else:
            identity = old[0] if old is not None else self._identity(change.path, commit, state)
        state[change.path] = (identity, change.blob, commit.name)
        self._at_path[change.path] = identity
        if _within(change.path, self.folder):
            self.inside.add(identity)

    def _part(self, commit: Commit, state: dict[str, Entry], first: Mapping[str, Entry]) -> None:
        """Tell apart two files of one identity: two branches renamed a record differently, and a merge kept both."""
        holders: dict[str, str] = {}
        for path in sorted(state, key=lambda one: (one not in first or first[one][0] != state[one][0], one)):
            identity, blob, version = state[path]
            if holders.setdefault(identity, path) == path:
                continue
            del state[path]
            apart = self._identity(path, commit, state)
            state[path] = (apart, blob, version)
            holders[apart] = path
            self._at_path[path] = apart
            if _within(path, self.folder):
                self.inside.add(apart)

    def _identity(self, path: str, commit: Commit, state: Mapping[str, Entry]) -> str:
        """Name a record that appears: one that was deleted here before goes on, else it is born."""
        former = self._at_path.get(path)
        if former is not None and all(entry[0] != former for entry in state.values()):
            return former
        identity = path if path not in self._born else f"{path}~{commit.name[:12]}"
        self._born.add(identity)
        return identity

    def _place(
        self, commit: Commit, identity: str, now: tuple[str, Entry] | None,
        others: Sequence[Mapping[str, tuple[str, Entry]]], state: dict[str, Entry],
    ) -> None:  # fmt: skip
        """Add a version of *identity* if it says something that the line does not say yet."""
        said = self._said.get(identity)
        value = (now[0], now[1][1]) if now else None
        parents = [one.get(identity) for one in others]
        values = [None if one is None else (one[0], one[1][1]) for one in parents]
        current = None if said is None or said[1] is None else (said[0], said[1])
        if value == current and (said is not None or value is None):
            if said is not None and now is not None:
                state[now[0]] = (identity, now[1][1], said[2])
            return
        if len(others) > 1 and value in values and current not in values:
            return  # the line speaks for a third branch, which this merge does not know of
        base = parents[values.index(value)] if value in values else next((one for one in parents if one), None)
        self._say(commit, identity, now, None if base is None else base[1][2])
        if now is not None:
            state[now[0]] = (identity, now[1][1], commit.name)

    def _say(self, commit: Commit, identity: str, now: tuple[str, Entry] | None, based_on: str | None) -> None:
        said = self._said.get(identity)
        path = now[0] if now else (said[0] if said else identity)
        renamed = said[0] if said is not None and now is not None and said[0] != path else None
        blob = now[1][1] if now else None
        self.placed.append(_Placed(identity, path, commit, blob, renamed, based_on))
        self._said[identity] = (path, blob, commit.name)
        if len(self.placed) > VERSIONS_MAX:
            msg = f"more than {VERSIONS_MAX} versions of records; name a smaller folder"
            raise LimitError(msg, limit="VERSIONS_MAX", maximum=VERSIONS_MAX)

    def close(self) -> None:
        """Bring the line to what the last commit holds, where branches left it elsewhere."""
        if self._last is None:
            return
        now = _by_identity(self.state)
        for identity, said in sorted(self._said.items()):
            held = now.get(identity)
            if (held[0], held[1][1]) != (said[0], said[1]) if held else said[1] is not None:
                self._say(self._last, identity, held, None if held is None else held[1][2])


def _by_identity(state: Mapping[str, Entry]) -> dict[str, tuple[str, Entry]]:
    return {entry[0]: (path, entry) for path, entry in state.items()}


def _named(changes: Iterable[Change], state: Mapping[str, Entry]) -> Iterator[str]:
    for change in changes:
        entry = state.get(change.path)
        if entry is not None:
            yield entry[0]


def _uncommitted(
    state: Mapping[str, Entry], files: Sequence[FolderFile], root: str
) -> tuple[Uncommitted, ...]:  # fmt: skip
    """Compare the files on disk with what HEAD has, without asking git, which might run a filter of the repository."""
    found: list[Uncommitted] = []
    there: set[str] = set()
    for file in files:
        path = f"{root}/{file.path}" if root else file.path
        there.add(path)
        entry = state.get(path)
        if entry is None:
            found.append(Uncommitted(path, path, "added", file.data))
        elif not _is_blob(file.data, entry[1]):
            found.append(Uncommitted(path, entry[0], "modified", file.data))
    found += [Uncommitted(path, state[path][0], "deleted", None) for path in state if path not in there]
    return tuple(sorted(found, key=lambda one: one.path))


def _is_blob(data: bytes, blob: str) -> bool:
    """Whether *data* is the content named *blob*, as it is or with the line ends of another system."""
    if len(data) >= FILE_BYTES_MAX:
        return True  # read in part only; a record of this size is cut anyhow
    algorithm = hashlib.sha1 if len(blob) == _SHA1_DIGITS else hashlib.sha256
    forms = (data, data.replace(b"\r\n", b"\n"))
    return any(algorithm(b"blob %d\0" % len(form) + form).hexdigest() == blob for form in forms)


_SHA1_DIGITS: Final = 40
