"""A repository's history into the graph: each commit is a change with its reason, a revert takes one back.

A commit is sorted by when it was committed, never before its parents, and is true from when its author wrote it. Into
an empty space the commits' own times are the recorded ones.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Command, History, Ref
from latewood.graph_schema.errors import InvalidError, LimitError, RefusedError
from latewood.graph_schema.model import NodeKind
from latewood.ingestion.records.git import Git, find_git
from latewood.ingestion.sink import Progress, Sink
from latewood.ingestion.sources.fields import shorten
from latewood.ingestion.sources.items import Entry, Item, Saying, Taken, reject_of
from latewood.ingestion.sources.loading import Loader, RejectsFile, SourceReport, note, read_rejects

__all__ = ["COMMITS_MAX", "ingest_git"]

COMMITS_MAX: Final = 1_000_000
_BATCH: Final = 500
_PART: Final = 400
"""Files of a commit that go into one unit."""
_SECONDS_MAX: Final = 253_402_300_799
_FORMAT: Final = "%H%x02%P%x02%at%x02%ct%x02%aN%x02%B"
_DIFF: Final = ("--raw", "-z", "--no-abbrev", "-M", "--no-ext-diff", "--no-textconv", "--diff-merges=off")
_REVERTS: Final = re.compile(r"^This reverts commit ([0-9a-f]{7,64})\b", re.MULTILINE)
_VERBS: Final = {"A": "adds_file", "D": "deletes_file"}


@dataclass(frozen=True, slots=True)
class _Commit:
    """A commit; *source_s* is when it was committed, raised to its parents' where a clock ran backwards."""

    name: str
    parents: tuple[str, ...]
    author_s: int
    author: str
    message: str
    files: tuple[tuple[str, str, str], ...]
    source_s: int


def _order(git: Git, report: SourceReport) -> list[tuple[int, str]]:
    """Return the commits that HEAD builds on with the time that each is recorded under, sorted."""
    out, _ = git.run("rev-list", "--topo-order", "--reverse", "--parents", "--timestamp", "HEAD")
    times: dict[str, int] = {}
    for line in out.decode().splitlines():
        said, name, *parents = line.split()
        own = min(max(int(said), 0), _SECONDS_MAX)
        times[name] = max([own, *(times.get(parent, 0) for parent in parents)])
        if times[name] != own:
            why = "committed before its parent"
            note(report.clock_disagreements, {"path": report.path, "commit": name, "why": why})
        if len(times) > COMMITS_MAX:
            raise LimitError(f"{git.top} has more than {COMMITS_MAX:,} commits (COMMITS_MAX)", maximum=COMMITS_MAX)
    # The sort is stable and no parent is later than its child: parents stay first.
    return sorted(((time, name) for name, time in times.items()), key=lambda one: one[0])


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _files(tokens: Sequence[bytes], at: int) -> tuple[list[tuple[str, str, str]], int]:
    found: list[tuple[str, str, str]] = []
    while at < len(tokens) and tokens[at].lstrip(b"\n").startswith(b":"):
        status = _text(tokens[at].rpartition(b" ")[2][:1])
        moved = status in "RC"
        found.append((status, _text(tokens[at + 2 if moved else at + 1]), _text(tokens[at + 1])))
        at += 3 if moved else 2
    return found, at


def _read(git: Git, order: Sequence[tuple[int, str]]) -> Iterator[_Commit]:
    """Read commits, a batch of them at a time, so that the longest history needs no more memory than a short one."""
    for begin in range(0, len(order), _BATCH):
        part = order[begin : begin + _BATCH]
        times = {name: time for time, name in part}
        out, _ = git.run(
            "-c", "log.showRoot=true", "log", "--no-walk=unsorted", "--stdin", *_DIFF, f"--format=tformat:{_FORMAT}",
            stdin="".join(f"{name}\n" for _, name in part).encode(),
        )  # fmt: skip
        tokens = out.split(b"\0")
        at = 0
        while at < len(tokens):
            header = tokens[at].lstrip(b"\n")
            at += 1
            if not header:
                continue
            name, parents, author_s, _, author, message = _text(header).split("\2", 5)
            files, at = _files(tokens, at)
            yield _Commit(
                name, tuple(parents.split()), min(max(int(author_s or 0), 0), _SECONDS_MAX), author.strip(), message,
                tuple(files), times[name],
            )  # fmt: skip


class _Reader:
    """Reads one repository; made for it and thrown away."""

    def __init__(self, git: Git, say: Saying, report: SourceReport, repository: str, origin: str) -> None:
        self._git = git
        self._say = say
        self._report = report
        self._repository = repository
        self._history = origin
        self._taken_back: dict[str, str] = {}

    def entries(self, order: Sequence[tuple[int, str]]) -> Iterator[Entry]:
        names = sorted(name for _, name in order)
        for number, commit in enumerate(_read(self._git, order), 1):
            try:
                yield self._commit(commit, number, names)
            except RefusedError as error:
                yield reject_of(self._report.path, number, number, error)

    def _commit(self, commit: _Commit, number: int, names: Sequence[str]) -> Taken:
        say, at = self._say, commit.author_s * 1_000_000
        subject = shorten(commit.message.partition("\n")[0]) or f"commit {commit.name[:12]}"
        ref = self._ref(commit.name, subject)
        by = self._actor(commit.author)
        made: list[Command] = [
            say.fact(ref, "text", commit.message.strip() or "(no message)", at, commit.name),
            say.edge(ref, "authored_by", Ref(key=by, kind=NodeKind.ACTOR), at, commit.name),
        ]
        back = self._reverted(commit, names, number)
        for target in back:
            made += self._take_back(ref, commit.name, target, at)
        for status, path, old in commit.files:
            file = self._file(path)
            made.append(say.edge(ref, _VERBS.get(status, "changes_file"), file, at, commit.name))
            if status == "R" and self._file(old).key != file.key:
                made.append(say.edge(file, "renamed_from", self._file(old), at, commit.name))
        history = History(self._history, commit.source_s * 1_000_000)
        items = tuple(
            Item(
                f"git:{commit.name}:{begin}", ["commit", commit.name, begin], tuple(made[begin : begin + _PART]), by,
                self._repository, history=history,
            )
            for begin in range(0, len(made), _PART)
        )  # fmt: skip
        what = "revert" if back else "merge" if len(commit.parents) > 1 else "commit"
        return Taken(number, what, items, end=number)

    def _ref(self, name: str, subject: str | None = None) -> Ref:
        return Ref(key=f"commit:{name}", type="commit", name=subject)

    def _file(self, path: str) -> Ref:
        # A key has a bound, and a path may be longer: its end tells more than its beginning.
        return Ref(key=f"file:{self._repository}/{path[-400:]}".replace("\0", " "), type="file", name=path[-400:])

    def _actor(self, author: str) -> str:
        sort = "agent" if author.endswith("[bot]") else "human"
        return f"{sort}:{shorten(author) or 'unknown'}"

    def _reverted(self, commit: _Commit, names: Sequence[str], number: int) -> list[str]:
        found: list[str] = []
        for said in dict.fromkeys(_REVERTS.findall(commit.message)):
            place = bisect_left(names, said)
            near = [name for name in names[place : place + 2] if name.startswith(said) and name != commit.name]
            if len(near) == 1:
                found.append(near[0])
            else:
                note(self._report.dangling, {"path": self._report.path, "line": number, "reverts": said})
        return found

    def _take_back(self, ref: Ref, own: str, target: str, at: Micros) -> Iterator[Command]:
        """Say that a commit is taken back, and, when it took another back itself, that this one stands again."""
        self._taken_back[own] = target
        yield self._say.edge(ref, "reverts", self._ref(target), at, own)
        yield self._say.fact(self._ref(target), "status", "reversed", at, own)
        again = self._taken_back.get(target)
        if again is not None and again not in (own, target):
            yield self._say.fact(self._ref(again), "status", "reinstated", at, own)


async def ingest_git(
    sink: Sink, path: Path, *, name: str | None = None, dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import the commits that the checkout at *path* builds on; a second run writes nothing.

    Args:
        name: of the repository, in the keys of its files; its folder's name unless given.

    Raises:
        InvalidError: code ``file.unreadable``, when *path* is in no repository, or git fails.
        LimitError: above `COMMITS_MAX` commits.
    """
    git, problems = find_git(path)
    if git is None or (head := git.head()) is None:
        why = problems[0].message if problems else "it lies in no git repository, or in one without a commit"
        raise InvalidError(f"{path} has no history: {why}", code="file.unreadable", path=str(path))
    repository = name or git.top.name
    report = SourceReport(str(path), sink.space, "git")
    only = None if retry is None else read_rejects(retry)
    order = _order(git, report)
    if git.is_shallow():
        report.problems.append({"path": str(path), "why": "a shallow clone: its history begins late", "head": head})
    origin = f"git:{order[0][1]}"
    with RejectsFile(rejects) as file:
        loader = Loader(
            sink, report, rejects=file, dry_run=dry_run, only=only, progress=progress, bytes_all=len(order)
        )  # fmt: skip
        entries = _Reader(git, Saying(sink.ids), report, repository, origin).entries(order)
        await loader.take(str(path), entries, len(order))
    if not dry_run:
        await sink.store.finish_fill(sink.space, origin)
    return report
