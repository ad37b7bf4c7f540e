"""How the records of one folder stand to each other: who supersedes whom, by whose word, and what is broken."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from latewood.graph_schema.errors import ConflictError, NotFoundError
from latewood.graph_schema.model import DecisionStatus
from latewood.ingestion.records.markdown import bullets, inline_links, outline, plain
from latewood.ingestion.records.model import LinkKind, ParsedRecord, RecordLink
from latewood.ingestion.records.relations import file_number

__all__ = [
    "BrokenLink",
    "Claim",
    "Cycle",
    "DuplicateNumber",
    "FolderIndex",
    "LinkReport",
    "OneSided",
    "Resolved",
    "StaleEntry",
    "SupersessionEdge",
    "cycles",
    "link_report",
    "record_keys",
    "resolve_key",
]

Side = Literal["successor", "predecessor"]

_NOT_LIVE: Final = frozenset({DecisionStatus.SUPERSEDED, DecisionStatus.REVERSED, DecisionStatus.DEPRECATED})
_MARK: Final = re.compile(
    r"superse|superce|replaced|obsolete|deprecat|retired|revers|revert|revoked|reject|withdrawn|archived|~~|⌛|❌|🗑|🚫|⛔",
    re.IGNORECASE,
)
_MARKDOWN: Final = (".md", ".markdown", ".mdx")


@dataclass(frozen=True, slots=True)
class Claim:
    """Which record says so, and where; `side` tells whether that record is the successor or the predecessor."""

    side: Side
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class SupersessionEdge:
    """One supersession with its two views: *successor* supersedes *predecessor* (both are keys, ``adr:12``).

    Attributes:
        claims: who says so, at most one for each side.
    """

    successor: str
    predecessor: str
    claims: tuple[Claim, ...]

    @property
    def sides(self) -> frozenset[Side]:
        """The sides that claim it."""
        return frozenset(claim.side for claim in self.claims)


@dataclass(frozen=True, slots=True)
class OneSided:
    """A supersession that only one record mentions; `silent` is the key of the record that does not."""

    successor: str
    predecessor: str
    claimed_by: Side
    silent: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """A claim whose target is no record, or a Markdown link whose file is not there.

    Attributes:
        target: as written (a path, or the words of a mere number).
        kind: of a dangling claim its relation; ``link`` for a dead link.
        resolved: the key the target still has by its number, else None.
        reason: in words.
    """

    path: str
    line: int
    kind: str
    target: str
    resolved: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Cycle:
    """Records that supersede each other in a ring; sorted keys, one alone if it supersedes itself."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DuplicateNumber:
    """A number that several files carry, and the full keys they get."""

    number: int
    paths: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StaleEntry:
    """A line of an index that shows a record as live which is not."""

    index: str
    line: int
    key: str
    path: str
    status: DecisionStatus


@dataclass(frozen=True, slots=True)
class FolderIndex:
    """A README or index of the folder: its path and text."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A claim and the record it means.

    Attributes:
        source: key of the record that claims.
        target: key of the record that is meant.
    """

    source: str
    target: str
    link: RecordLink


@dataclass(frozen=True, slots=True)
class LinkReport:
    """The edges of a folder, and all that is broken in it; every list is sorted.

    Attributes:
        keys: path of each record to its key.
        edges: each supersession once, whichever side claims it.
        related: the resolved claims that are no supersession (amends, amended by, related).
        one_sided: supersessions that only one side mentions.
        dangling: claims about records that are not there.
        cyclic: rings of supersession.
        duplicate_numbers: numbers that several files carry.
        dead_links: Markdown links to files that do not exist.
        index_stale: entries of an index that show a dead record as live.
    """

    keys: Mapping[str, str]
    edges: tuple[SupersessionEdge, ...]
    related: tuple[Resolved, ...]
    one_sided: tuple[OneSided, ...]
    dangling: tuple[BrokenLink, ...]
    cyclic: tuple[Cycle, ...]
    duplicate_numbers: tuple[DuplicateNumber, ...]
    dead_links: tuple[BrokenLink, ...]
    index_stale: tuple[StaleEntry, ...]


def record_keys(records: Sequence[ParsedRecord], prefix: str = "adr") -> dict[str, str]:
    """Give each record's path its key: ``adr:12``; ``adr:12~file-stem`` where 12 repeats; ``adr:file-stem`` without.

    Where files of one number share their stem too (in two folders), the path without its ending is taken for the stem.
    """
    numbers: dict[int, list[str]] = {}
    for record in records:
        if record.number is not None:
            numbers.setdefault(record.number, []).append(record.path)
    keys: dict[str, str] = {}
    for record in records:
        if record.number is not None and len(numbers[record.number]) == 1:
            keys[record.path] = f"{prefix}:{record.number}"
            continue
        peers = [one.path for one in records] if record.number is None else numbers[record.number]
        stem = _stem(record.path)
        if sum(1 for path in peers if _stem(path) == stem) > 1:
            stem = posixpath.splitext(record.path)[0]
        keys[record.path] = f"{prefix}:{stem}" if record.number is None else f"{prefix}:{record.number}~{stem}"
    return keys


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]


def resolve_key(key: str, keys: Iterable[str]) -> str:
    """Return *key* if it is one of *keys*.

    Raises:
        ConflictError: code ``key.ambiguous``; the number repeats, and the full keys are named.
        NotFoundError: code ``node.not_found``.
    """
    known = sorted(keys)
    if key in known:
        return key
    full = [one for one in known if one.startswith(f"{key}~")]
    if full:
        raise ConflictError(
            f"{key} names {len(full)} records; use one of {', '.join(full)}", code="key.ambiguous", keys=full
        )
    raise NotFoundError(f"there is no record {key}", code="node.not_found", key=key)


class _Folder:
    """The records by path, number and key, to resolve claims against."""

    def __init__(self, records: Sequence[ParsedRecord], prefix: str) -> None:
        self.records = sorted(records, key=lambda record: record.path)
        self.keys = record_keys(self.records, prefix)
        self.by_number: dict[int, list[str]] = {}
        for record in self.records:
            if record.number is not None:
                self.by_number.setdefault(record.number, []).append(record.path)

    def target(self, path: str, link: RecordLink) -> tuple[str | None, str]:
        """Return the path of the record that *link*, written in *path*, means; else why there is none."""
        if link.file is not None:
            there = join(path, link.file)
            if there in self.keys:
                return there, ""
        found = [] if link.number is None else self.by_number.get(link.number, [])
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, f"number {link.number} is carried by {len(found)} files: {', '.join(found)}"
        return None, "no record has this " + ("name" if link.number is None else f"name or the number {link.number}")


def join(path: str, target: str) -> str:
    """Resolve a link's *target* against the file *path* that it stands in; fragment and query are dropped.

    A target with a leading slash (from the repository's root) keeps it.
    """
    bare = target.partition("#")[0].partition("?")[0]
    return bare if bare.startswith("/") else posixpath.normpath(posixpath.join(posixpath.dirname(path), bare))


def link_report(
    records: Sequence[ParsedRecord],
    *,
    indexes: Sequence[FolderIndex] = (),
    exists: Callable[[str], bool] | None = None,
    prefix: str = "adr",
) -> LinkReport:
    """Resolve what the records of one folder say of each other.

    Args:
        records: with paths relative to the folder.
        indexes: its README and index files, in the same terms.
        exists: whether a file is there, by its path relative to the folder (``../x.md``), or with a leading slash by
            that from the repository's root; without it only the records and indexes are known to exist.
        prefix: of the keys.
    """
    folder = _Folder(records, prefix)
    files = {record.path for record in records} | {index.path for index in indexes}
    there = exists if exists is not None else files.__contains__
    edges, related, dangling = _edges(folder)
    return LinkReport(
        keys=folder.keys,
        edges=edges,
        related=related,
        one_sided=tuple(_one_sided(edges)),
        dangling=dangling,
        cyclic=tuple(cycles(edges)),
        duplicate_numbers=tuple(
            DuplicateNumber(number, tuple(paths), tuple(folder.keys[path] for path in paths))
            for number, paths in sorted(folder.by_number.items()) if len(paths) > 1
        ),
        dead_links=tuple(_dead_links(folder, indexes, lambda path: path in files or there(path))),
        index_stale=tuple(_stale(folder, indexes)),
    )  # fmt: skip


def _edges(
    folder: _Folder,
) -> tuple[tuple[SupersessionEdge, ...], tuple[Resolved, ...], tuple[BrokenLink, ...]]:
    claims: dict[tuple[str, str], dict[Side, Claim]] = {}
    related: list[Resolved] = []
    dangling: list[BrokenLink] = []
    for record in folder.records:
        own = folder.keys[record.path]
        for link in record.links:
            target, reason = folder.target(record.path, link)
            if target is None:
                # Most related links lead to notes and pages; those that lead nowhere are dead links.
                if link.kind is not LinkKind.RELATED:
                    written = link.file or link.text
                    dangling.append(BrokenLink(record.path, link.line, link.kind.value, written, None, reason))
                continue
            other = folder.keys[target]
            if link.kind is LinkKind.SUPERSEDES:
                claim = Claim("successor", record.path, link.line)
                claims.setdefault((own, other), {}).setdefault("successor", claim)
            elif link.kind is LinkKind.SUPERSEDED_BY:
                claim = Claim("predecessor", record.path, link.line)
                claims.setdefault((other, own), {}).setdefault("predecessor", claim)
            else:
                related.append(Resolved(own, other, link))
    edges = [
        SupersessionEdge(successor, predecessor, tuple(sides[side] for side in sorted(sides)))
        for (successor, predecessor), sides in sorted(claims.items())
    ]
    return tuple(edges), tuple(related), tuple(dangling)


def _one_sided(edges: Iterable[SupersessionEdge]) -> Iterable[OneSided]:
    for edge in edges:
        if len(edge.claims) == 1:
            claim = edge.claims[0]
            silent = edge.predecessor if claim.side == "successor" else edge.successor
            yield OneSided(edge.successor, edge.predecessor, claim.side, silent, claim.path, claim.line)


def cycles(edges: Iterable[SupersessionEdge]) -> list[Cycle]:
    """Find the rings: strongly connected components of more than one record, and records that supersede themselves."""
    out: dict[str, list[str]] = {}
    into: dict[str, list[str]] = {}
    for edge in edges:
        out.setdefault(edge.successor, []).append(edge.predecessor)
        into.setdefault(edge.predecessor, []).append(edge.successor)
    order: list[str] = []
    seen: set[str] = set()
    for start in sorted(out):
        order += _visit(start, out, seen)
    assigned: set[str] = set()
    rings: list[Cycle] = []
    for key in reversed(order):
        ring = tuple(sorted(_visit(key, into, assigned)))
        if len(ring) > 1 or (ring and ring[0] in out.get(ring[0], ())):
            rings.append(Cycle(ring))
    return sorted(rings, key=lambda ring: ring.keys)


def _visit(start: str, edges: Mapping[str, Sequence[str]], seen: set[str]) -> list[str]:
    """Visit depth first what is reachable and not *seen*; return it in the order it was left."""
    if start in seen:
        return []
    seen.add(start)
    left: list[str] = []
    stack = [(start, iter(edges.get(start, ())))]
    while stack:
        key, following = stack[-1]
        further = next((one for one in following if one not in seen), None)
        if further is None:
            left.append(key)
            stack.pop()
        else:
            seen.add(further)
            stack.append((further, iter(edges.get(further, ()))))
    return left


def _dead_links(
    folder: _Folder, indexes: Sequence[FolderIndex], exists: Callable[[str], bool]
) -> Iterable[BrokenLink]:  # fmt: skip
    """Find links to Markdown files, and to other files beside the records, that are not there."""
    pages = [(record.path, record.references) for record in folder.records]
    for index in indexes:
        shown = outline(index.text)
        listed = [reference for reference, _, _ in inline_links(index.text, shown.definitions)]
        pages.append((index.path, tuple({(one.target, one.line): one for one in listed}.values())))
    for path, references in sorted(pages):
        for reference in sorted(references, key=lambda one: (one.line, one.target)):
            bare = reference.target.partition("#")[0]
            if reference.is_url or not bare or not _names_a_file(bare):
                continue
            target = join(path, bare)
            if exists(target):
                continue
            number = file_number(bare) if bare.lower().endswith(_MARKDOWN) else None
            same = folder.by_number.get(number, []) if number is not None else []
            resolved = folder.keys[same[0]] if len(same) == 1 else None
            reason = "the file does not exist" + (f"; number {number} is {same[0]}" if resolved else "")
            yield BrokenLink(path, reference.line, "link", reference.target, resolved, reason)


def _names_a_file(target: str) -> bool:
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", target)
    return scheme is None and bool(posixpath.splitext(target)[1])


def _stale(folder: _Folder, indexes: Sequence[FolderIndex]) -> Iterable[StaleEntry]:
    """Find the entries that an index shows as live though their record is not.

    An index that marks no entry at all lists titles and claims nothing about any.
    """
    records = {record.path: record for record in folder.records}
    for index in sorted(indexes, key=lambda one: one.path):
        entries = list(_entries(folder, index))
        if not any(marked for _, _, marked in entries):
            continue
        for line, path, marked in entries:
            status = records[path].status
            if not marked and status is not None and status in _NOT_LIVE:
                yield StaleEntry(index.path, line, folder.keys[path], path, status)


def _entries(folder: _Folder, index: FolderIndex) -> Iterable[tuple[int, str, bool]]:
    """Yield each line that begins with a link to a record: (line, the record's path, whether it is marked as dead)."""
    heading = ""
    seen: set[str] = set()
    definitions = outline(index.text).definitions
    for n, line in enumerate(index.text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            heading = plain(line)
            continue
        first = next(iter(inline_links(line, definitions, n)), None)
        if first is None or first[0].is_url:
            continue
        path = join(index.path, first[0].target)
        if path in folder.keys and path not in seen and _is_entry(line, first[1]):
            seen.add(path)
            yield n, path, bool(_MARK.search(line[: first[1]] + line[first[2] :]) or _MARK.search(heading))


def _is_entry(line: str, begin: int) -> bool:
    """Whether the link leads a list item or a table row, rather than stands in a sentence."""
    _, items = bullets(line)
    lead = line[:begin]
    return bool(items or "|" in line) and len(re.findall(r"[A-Za-z]{2,}", lead)) <= 1 + 3 * lead.count("|")
