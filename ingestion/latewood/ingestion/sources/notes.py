"""Markdown notes into the graph: each file a note, each section under a heading an entity with its words.

Notes have no history of their own, so a file is held against what was last imported of it and the difference is
written: a changed text follows the earlier one, a link or field that an edit took out ends. What somebody corrected or
ended here stays so until the note itself changes. A section or file that is gone is reported and stays, since moving
words about is no statement that they are untrue.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Command, End, Ref
from latewood.graph_schema.errors import RefusedError
from latewood.graph_schema.model import Fact, Node, NodeKind
from latewood.graph_schema.values import Json, canonical_json
from latewood.ingestion.records.frontmatter import read_frontmatter
from latewood.ingestion.records.markdown import inline_links, outline, parts
from latewood.ingestion.sink import Progress, Sink
from latewood.ingestion.sources.fields import fold, predicate_named
from latewood.ingestion.sources.items import Entry, Item, Reject, Saying, Taken, reject_of
from latewood.ingestion.sources.loading import Loader, RejectsFile, SourceReport, note, read_rejects
from latewood.ingestion.sources.transcripts import files_under
from latewood.storage.port import PAGE_MAX, FactQuery, NodeQuery

__all__ = ["NOTE_BYTES_MAX", "ingest_notes"]

NOTE_BYTES_MAX: Final = 2_000_000
_SECTIONS_MAX: Final = 2_000
_PART: Final = 400
_KEY_CHARS_MAX: Final = 500
_LINKS: Final = "links_to"
_OWN: Final = frozenset(
    {"text", "name", "part_of", _LINKS, "record", "said", "usage", "about", "supersedes", "based_on"}
)
"""Predicates that mean something else than a note's author means by a field of that name."""
_WIKI: Final = re.compile(r"\[\[([^\]|#\n]{1,200})(?:#[^\]|\n]*)?(?:\|[^\]\n]*)?\]\]")
_CODE: Final = re.compile(r"`+[^`\n]*`+")
_SLUG: Final = re.compile(r"[^\w\- ]+")


@dataclass(slots=True)
class _Note:
    """What one file says: facts by the key of their subject, and the notes that it links to."""

    key: str
    facts: dict[str, dict[str, Json]] = field(default_factory=dict[str, dict[str, Json]])
    lines: dict[str, int] = field(default_factory=dict[str, int])
    titles: dict[str, str] = field(default_factory=dict[str, str])
    links: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])


class _Folder:
    """The files of one run, by the ways in which notes name each other."""

    def __init__(self, root: Path, files: Sequence[Path], report: SourceReport) -> None:
        self._report = report
        self.names = {path: path.relative_to(root).as_posix() if path != root else path.name for path in files}
        self._known = {fold(name): name for name in self.names.values()}
        self._stems = {fold(Path(name).stem): name for name in reversed(self.names.values())}

    def target(self, path: str, href: str, line: int) -> str | None:
        """Return the note that a link of the note *path* leads to; a link that leads nowhere is noted."""
        where = href.partition("#")[0].partition("?")[0]
        if not where or ":" in where.partition("/")[0] or Path(where).suffix.casefold() not in (".md", ".markdown", ""):
            return None
        joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), where))
        if joined.startswith("../"):
            # Outside of what is imported lies what this run cannot know.
            return None
        found = self._known.get(fold(joined)) or self._known.get(fold(f"{joined}.md"))
        if found is None and Path(where).suffix:
            note(self._report.dangling, {"path": path, "line": line, "link": href[:200]})
        return found

    def named(self, path: str, name: str, line: int) -> str | None:
        """Return the note that a wiki link names."""
        found = self._known.get(fold(f"{name}.md")) or self._stems.get(fold(posixpath.basename(name)))
        if found is None:
            note(self._report.dangling, {"path": path, "line": line, "link": name})
        return found


def _slug(title: str, taken: Mapping[str, object], key: str) -> str:
    slug = "-".join(_SLUG.sub("", title.casefold()).split())[:200] or "section"
    found, count = slug, 0
    while f"{key}#{found}" in taken:
        count += 1
        found = f"{slug}-{count}"
    return f"{key}#{found}"


class _Parser:
    """Reads one file's text; made for it and thrown away."""

    def __init__(self, name: str, folder: _Folder) -> None:
        self._name = name
        self._folder = folder
        self._note = _Note(f"note:{name}")
        self._definitions: Mapping[str, str] = {}

    def read(self, text: str) -> tuple[_Note, list[str]]:
        found = outline(text)
        self._definitions = found.definitions
        made, problems = self._note, [f"line {one.line}: {one.message}" for one in found.problems]
        own: dict[str, Json] = {"name": found.title or Path(self._name).stem}
        made.facts[made.key], made.lines[made.key] = own, 1
        if found.frontmatter is not None:
            entries, broken = read_frontmatter(found.frontmatter)
            problems += [f"line {one.line}: {one.message}" for one in broken]
            for key, values, _ in entries:
                word = predicate_named(key).casefold()
                word = f"meta_{word}" if word in _OWN else word
                own[word] = values[0] if len(values) == 1 else list[Json](values)
        if found.preamble.strip():
            own["text"] = found.preamble.strip()
            self._links(made.key, found.preamble, found.preamble_line)
        for section in found.sections:
            self._section(section.title, section.text, section.line, section.text_line)
        return made, problems

    def _section(self, title: str, text: str, line: int, text_line: int) -> None:
        made = self._note
        words, inner = parts(text, text_line)
        key = _slug(title, made.facts, made.key)
        made.facts[key] = {"text": f"{title}\n\n{words}".strip()}
        made.lines[key], made.titles[key] = line, title
        self._links(key, words, text_line)
        for part in inner:
            if len(made.facts) <= _SECTIONS_MAX:
                self._section(part.title, part.text, part.line, part.text_line)

    def _links(self, key: str, text: str, line: int) -> None:
        for reference, _, _ in inline_links(text, self._definitions, line):
            self._link(key, self._folder.target(self._name, reference.target, reference.line))
        fence = ""
        for n, one in enumerate(text.split("\n")):
            mark = one.strip()[:3]
            if mark in ("```", "~~~") and fence in ("", mark):
                fence = "" if fence else mark
            for found in () if fence else _WIKI.finditer(_CODE.sub("", one)):
                self._link(key, self._folder.named(self._name, found[1].strip(), line + n))

    def _link(self, key: str, target: str | None) -> None:
        if target is not None and target != self._name:
            self._note.links.add((key, f"note:{target}"))


@dataclass(frozen=True, slots=True)
class _Held:
    """What the space says of one file, by node id.

    Attributes:
        nodes: by folded key; *targets* the folded keys of what facts point to.
        holding: what holds now and was imported from here.
        last: what was last imported of a subject and predicate, and of each thing that it points to.
        foreign: the note is another folder's.
    """

    nodes: Mapping[str, Node]
    holding: Sequence[Fact]
    last: Mapping[tuple[str, str, str], Fact]
    targets: Mapping[str, str]
    foreign: bool = False

    def place(self, fact: Fact) -> str:
        """Return what a fact points to; empty for one with a value, or with nothing."""
        return "" if fact.object_id is None else self.targets.get(fact.object_id, "")


class _Import:
    """One import; made for it and thrown away."""

    def __init__(self, sink: Sink, report: SourceReport, root: str, run: int, by: str, now: Micros) -> None:
        self._sink = sink
        self._say = Saying(sink.ids)
        self._report = report
        self._root = root
        self._run = run
        self._by = by
        self._now = now

    async def held(self, made: _Note) -> _Held:
        """Read what the space says of a file's note, of its sections, and of those that it has no longer."""
        store, space = self._sink.store, self._sink.space
        nodes = await store.nodes(space, keys=list(made.facts)) if self._run >= 0 else {}
        own = nodes.get(made.key)
        ids = {node.id for node in nodes.values()}
        if own is not None:
            sections = await store.facts(space, FactQuery(objects=[own.id], predicates=["part_of"]))
            ids |= {one.subject_id for one in sections if self._is_own(one)}
        if not ids:
            return _Held({}, (), {}, {})
        by_id = await store.nodes(space, ids=sorted(ids))
        facts = await store.facts(space, FactQuery(subjects=sorted(ids)))
        holding = [one for one in facts if self._is_own(one)]
        told = await self._told(sorted(ids))
        ends = {one.object_id for one in [*holding, *told] if one.object_id is not None}
        targets = await store.nodes(space, ids=sorted(ends)) if ends else {}
        keyed = {fold(node.key): node for node in by_id.values() if node.key is not None}
        found = _Held(keyed, holding, {}, {one: fold(node.key or "") for one, node in targets.items()})
        last = {(one.subject_id, one.predicate, found.place(one)): one for one in told}
        foreign = not last and any(_imported(one) for one in facts)
        return replace(found, last=last, foreign=foreign)

    async def _told(self, ids: Sequence[str]) -> list[Fact]:
        """Return every assertion that an import of this folder made of these, in the order of recording."""
        found: list[Fact] = []
        after: str | None = None
        while True:
            page = await self._sink.store.timeline(self._sink.space, ids, first=PAGE_MAX, after=after)
            found += [one for one in page.items if self._is_own(one)]
            if page.next is None:
                return sorted(found, key=lambda one: one.recorded_at)
            after = page.next

    def _is_own(self, fact: Fact) -> bool:
        # An erased word is told of no source any more; it came from somewhere, and is not said again.
        return fact.erased or (fact.source is not None and fact.source.origin == self._root)

    def commands(self, made: _Note, held: _Held) -> Iterator[tuple[str, Command]]:
        """Yield what is new in a file, and the ends of what an edit took out of it, each with what it says."""
        here: set[tuple[str, str, str]] = set()
        holding = {(one.subject_id, one.predicate, held.place(one)) for one in held.holding}
        for key, facts in made.facts.items():
            node = held.nodes.get(fold(key))
            owner, at = ("", None) if node is None else (node.id, self._now)
            ref = Ref(key=key, type="note" if key == made.key else "note_section", name=made.titles.get(key, key[5:]))
            locator, edited = f"line {made.lines[key]}", False
            for predicate, value in facts.items():
                here.add((owner, predicate, ""))
                last = held.last.get((owner, predicate, ""))
                if last is None or not (last.erased or _says(last, value)):
                    edited = True
                    fact = self._say.fact(ref, predicate, cast("list[object] | str", value), at, locator)
                    yield canonical_json([key, predicate, value]), fact
            edges = [(_LINKS, target) for own, target in sorted(made.links) if own == key]
            edges += [("part_of", made.key)] if key != made.key else []
            for predicate, target in edges:
                known = (owner, predicate, fold(target))
                here.add(known)
                # A link to what was erased is told of no end; it is not made again until its section changes.
                lost = (owner, predicate, "") in held.last
                if (known not in held.last and not lost) or (edited and known not in holding):
                    end = Ref(key=target, type="note", name=target[5:])
                    yield canonical_json([key, predicate, target]), self._say.edge(ref, predicate, end, at, locator)
        yield from self._ended(made, held, here)

    def _ended(
        self, made: _Note, held: _Held, here: set[tuple[str, str, str]]
    ) -> Iterator[tuple[str, Command]]:  # fmt: skip
        present = {held.nodes[fold(key)].id for key in made.facts if fold(key) in held.nodes}
        for one in held.holding:
            place = (one.subject_id, one.predicate, held.place(one))
            if one.erased or (one.object_id is not None and not held.place(one)):
                continue
            if one.subject_id in present and one.predicate != "part_of" and place not in here:
                yield f"end {one.id}", End(self._sink.ids.new(), one.id, None, "the note says so no longer")
        for key, node in held.nodes.items():
            if node.id not in present:
                note(self._report.gone, {"path": made.key[5:], "section": key})

    def entry(self, made: _Note, number: int, held: _Held) -> Entry:
        """Return what becomes of a file."""
        try:
            new = list(self.commands(made, held))
        except RefusedError as error:
            return reject_of(made.key[5:], number, number, error)
        if held.foreign:
            reason = f"the space has another folder's note under {made.key[5:]!r}; give each folder a space of its own"
            return Reject(made.key[5:], number, "refused", "key.taken", reason, number)
        items: list[Item] = []
        for begin in range(0, len(new), _PART):
            part = new[begin : begin + _PART]
            digest = sha256("\0".join(said for said, _ in part).encode(errors="replace")).hexdigest()
            op = f"notes:{self._run}:{digest}"
            if not held.last:
                # Said once and for all: a note that was erased here is not brought back, whatever it says by now.
                op, digest = f"notes:first:{self._root}:{made.key}:{begin}", "first"
            items.append(Item(op, ["notes", digest], tuple(one for _, one in part), self._by, self._root))
        what = "new note" if not held.nodes else "changed note" if new else "unchanged note"
        return Taken(number, what, tuple(items), end=number)

    async def gone(self, present: set[str]) -> None:
        """Report the notes of an earlier import of this folder whose file is no longer there."""
        after: str | None = None
        while True:
            query = NodeQuery(NodeKind.ENTITY, "note", first=PAGE_MAX, after=after)
            page = await self._sink.store.list_nodes(self._sink.space, query)
            missing = {one.id: one for one in page.items if one.key is not None and fold(one.key) not in present}
            if missing:
                facts = await self._sink.store.facts(
                    self._sink.space, FactQuery(subjects=sorted(missing), predicates=["name"])
                )
                for fact in facts:
                    if self._is_own(fact):
                        note(self._report.gone, {"path": (missing[fact.subject_id].key or "")[5:]})
            if page.next is None:
                return
            after = page.next


def _imported(fact: Fact) -> bool:
    return fact.source is not None and fact.source.origin.startswith("notes:")


def _says(fact: Fact, value: Json) -> bool:
    return fact.value is not None and canonical_json(fact.value.data) == canonical_json(value)


def _too_long(made: _Note, number: int) -> Reject | None:
    if all(len(key) <= _KEY_CHARS_MAX for key in made.facts):
        return None
    reason = f"the path or a heading of {made.key[:80]!r}... makes a key of more than {_KEY_CHARS_MAX} characters"
    return Reject(made.key[5:], number, "refused", "text.too_long", reason, number)


def _text(path: Path, name: str, number: int) -> str | Reject:
    try:
        with path.open("rb") as stream:
            raw = stream.read(NOTE_BYTES_MAX + 1)
    except OSError as error:
        return Reject(name, number, "refused", "file.unreadable", str(error.strerror or error), number)
    if len(raw) > NOTE_BYTES_MAX:
        reason = f"the note has more than {NOTE_BYTES_MAX:,} bytes (NOTE_BYTES_MAX); split it"
        return Reject(name, number, "too_long", "text.too_long", reason, number)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}; convert the file"
        return Reject(name, number, "encoding", "import.malformed", reason, number)


async def ingest_notes(
    sink: Sink, path: Path, *, by: str | None = None, dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import a folder of Markdown notes, or one; a second run writes nothing, one over edited files what changed.

    Args:
        by: the actor whose notes they are; who runs the import unless given.

    Raises:
        NotFoundError: code ``file.unreadable``, when there is no Markdown file.
    """
    report = SourceReport(str(path), sink.space, "notes")
    files = files_under([path], (".md", ".markdown"))
    only = None if retry is None else read_rejects(retry)
    seqs = {space.name: space.seq["knowledge"] for space in await sink.store.spaces()}
    now = await sink.store.now(sink.space) if sink.space in seqs else 0
    # Named by its own name alone: the same folder is the same from wherever it is imported.
    root = f"notes:{path.resolve().name}"  # noqa: ASYNC240 - one look at a local path
    work = _Import(sink, report, root, seqs.get(sink.space, -1), by or sink.unit((), "notes").actor.key, now)
    folder = _Folder(path, files, report)
    with RejectsFile(rejects) as file:
        loader = Loader(
            sink, report, rejects=file, dry_run=dry_run, only=only, progress=progress, bytes_all=len(files)
        )  # fmt: skip
        for number, one in enumerate(files, 1):
            name = folder.names[one]
            text = _text(one, name, number)
            if isinstance(text, Reject):
                await loader.take_part(name, [text])
                continue
            made, problems = _Parser(name, folder).read(text)
            for why in problems:
                note(report.problems, {"path": name, "why": why})
            long = _too_long(made, number)
            await loader.take_part(name, [long or work.entry(made, number, await work.held(made))])
        await loader.flush()
    report.files = len(files)
    if sink.space in seqs:
        await work.gone({fold(f"note:{name}") for name in folder.names.values()})
    return report
