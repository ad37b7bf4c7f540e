"""Decision records into the graph: a folder as it lies, or, where git has it, its whole history.

Each commit becomes units of the records it changed: the words and the status as later facts of the same decision, a
supersession as one edge when either side first claims it. A record's own date dates its first status, never later than
its commit; each later one takes its commit's author time. Into an empty space the commits' own times are the recorded
times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from hashlib import sha256
from pathlib import Path
from typing import Final

from latewood.graph_schema.clock import Micros, to_micros
from latewood.graph_schema.commands import Assert, Command, Declare, End, History, Ref, SourceSpec, Unit
from latewood.graph_schema.decisions import (
    DECIDED_BY,
    SUPERSEDES,
    DecisionText,
    edge,
    status_assert,
    text_assert,
)
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import Alternative, DecisionStatus, NodeKind
from latewood.graph_schema.plain import plain
from latewood.graph_schema.values import Json, Value
from latewood.ingestion.folders import Origins, tell_apart
from latewood.ingestion.records import (
    FolderFiles,
    FolderIndex,
    LinkReport,
    ParsedRecord,
    RecordVersion,
    day_order,
    disk_exists,
    link_report,
    parse_bytes,
    parse_record,
    read_history,
    record_keys,
    scan_folder,
)
from latewood.ingestion.report import AdrReport, FileProblem
from latewood.ingestion.sink import Progress, Sink
from latewood.ingestion.state import DELETED, FILE, Known, load_known

__all__ = ["ingest_adr"]

_BATCH_UNITS: Final = 256
_AUTHOR_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class _Stamp:
    """When and where a version comes from; *history* None for a file that no history dates."""

    valid_from: Micros | None
    known: bool
    origin: str
    locator: str | None
    op: str | None
    history: History | None


def _text_of(record: ParsedRecord) -> DecisionText:
    """Turn a record's words into a decision's."""
    extra: dict[str, Json] = {}
    if record.others:
        extra["sections"] = [{"title": one.title, "text": one.text} for one in record.others]
    if record.metadata:
        extra["metadata"] = dict(record.metadata)
    links = [one.target for one in record.evidence]
    if links:
        extra["links"] = list[Json](links)
    for name, people in (("consulted", record.consulted), ("informed", record.informed)):
        if people:
            extra[name] = list[Json](people)
    chosen = next((one.title for one in record.options if one.chosen), None)
    if chosen is not None:
        extra["chosen"] = chosen
    decided_at = None if record.date is None else to_micros(datetime.combine(record.date, time(), UTC))
    return DecisionText(
        title=record.title[:280], question=record.context, choice=record.choice, rationale=record.rationale,
        consequences=record.consequences, decided_at=decided_at, extra=extra,
        alternatives=tuple(Alternative(one.title, one.rejected_because) for one in record.alternatives),
    )  # fmt: skip


class _Importer:
    """One import; made for it and thrown away."""

    def __init__(self, sink: Sink, report: AdrReport, known: Known) -> None:
        self.folder = ""
        self.sink = sink
        self.report = report
        self.known = known
        self.state: dict[str, ParsedRecord] = {}
        self.keys: dict[str, str] = {}
        self._waiting: list[Unit] = []
        self._last_start: dict[str, Micros] = {}

    def tell_apart(self, titles: Mapping[str, str], folder: str) -> Origins:
        """Say which folder is imported; return what of the space is of it, and report what is not."""
        self.folder = folder
        origins = tell_apart(self.known, titles, folder)
        self.report.other_folder = origins.findings(self.known)
        return origins

    async def put(self, unit: Unit) -> None:
        """Hand a unit in, with its neighbours."""
        self._waiting.append(unit)
        if len(self._waiting) >= _BATCH_UNITS:
            await self.flush()

    async def flush(self) -> None:
        """Hand in what waits, and learn the ids that an earlier run gave."""
        units, self._waiting = self._waiting, []
        if not units:
            return
        for unit, receipt in zip(units, await self.sink.submit_many(units), strict=True):
            self._count(receipt)
            asserted = [command.id for command in unit.commands if isinstance(command, Assert | End)]
            self.known.alias(dict(zip(asserted, receipt.facts, strict=False)))

    def _count(self, receipt: Receipt) -> None:
        self.report.replayed += receipt.replayed
        self.report.written += not receipt.replayed
        self.report.late += receipt.late and not receipt.replayed

    def _unit(self, commands: Sequence[Command], stamp: _Stamp, what: str, body: object) -> Unit:
        return self.sink.unit(
            commands, body, source=SourceSpec(origin=stamp.origin, method="imported"),
            idempotency_key=None if stamp.op is None else f"{stamp.op}:{what}", history=stamp.history,
        )  # fmt: skip

    def _dated(self, identity: str, stamp: _Stamp) -> _Stamp:
        """Keep a record's versions in order where authors' clocks disagree: none begins before the one it follows."""
        if stamp.valid_from is None:
            return stamp
        start = max(stamp.valid_from, self._last_start.get(identity, stamp.valid_from))
        self._last_start[identity] = start
        return replace(stamp, valid_from=start)

    async def version(
        self, identity: str, record: ParsedRecord | None, path: str, stamp: _Stamp, digest: str
    ) -> _Stamp:
        """Write what a version says that the one before it did not; *record* None for a deletion.

        Returns the stamp as it was dated.
        """
        known, ids = self.known, self.sink.ids
        stamp = self._dated(identity, stamp)
        if identity in known.erased:
            return stamp
        start, sure, where = stamp.valid_from, stamp.known, stamp.locator
        commands: list[Command] = []
        fresh = identity not in known.nodes
        if fresh:
            if record is None:
                return stamp
            known.nodes[identity] = ids.new()
            attributes: dict[str, Json] = {"identity": identity, "folder": self.folder}
            commands.append(
                Declare(
                    known.nodes[identity],
                    NodeKind.DECISION,
                    "decision",
                    self.keys[identity],
                    record.title[:280],
                    attributes,
                )
            )
        subject = Ref(id=known.nodes[identity])
        if record is not None:
            text, said = _text_of(record), (record.status or DecisionStatus.PROPOSED, record.status_raw)
            if known.texts.get(identity) != text.document():
                commands.append(text_assert(ids, subject, text, valid_from=start, known=sure, locator=where))
                known.texts[identity] = text.document()
            if known.statuses.get(identity) != said:
                commands.append(
                    status_assert(
                        ids, subject, said[0], as_written=said[1], valid_from=start, known=sure, locator=where
                    )
                )
                known.statuses[identity] = said
            for name in record.deciders:
                who = f"human:{name}"
                if (identity, who) not in known.deciders:
                    known.deciders.add((identity, who))
                    commands.append(
                        edge(
                            ids,
                            subject,
                            DECIDED_BY,
                            Ref(key=who, kind=NodeKind.ACTOR),
                            valid_from=start,
                            known=sure,
                            locator=where,
                        )
                    )
        file = DELETED if record is None else path
        if known.files.get(identity) != file:
            known.files[identity] = file
            commands.append(
                Assert(ids.new(), subject, FILE, Value("text", file), valid_from=start, known=sure, locator=where)
            )
        if commands:
            await self.put(self._unit(commands, stamp, identity, ["adr", identity, digest]))
        if fresh and known.tombstones:
            await self._find_erased(identity)
        return stamp

    async def _find_erased(self, identity: str) -> None:
        """Note when a declaration wrote nothing: an earlier run wrote it, and what it wrote was erased since."""
        await self.flush()
        node_id = self.known.nodes[identity]
        if node_id not in await self.sink.store.nodes(self.sink.space, ids=[node_id]):
            self.known.erased.add(identity)
            self.report.erased += 1

    async def edges(self, report: LinkReport, stamps: Mapping[str, _Stamp]) -> None:
        """Write the supersessions that are claimed now and were not before, and end those that nobody claims any more.

        *stamps* are those of the records that this step changed, by identity; an edge takes its claimant's.
        """
        by_key = {key: identity for identity, key in self.keys.items() if identity in self.state}
        claimed: dict[tuple[str, str], str] = {}
        for one in report.edges:
            pair = (by_key[one.successor], by_key[one.predecessor])
            claimants = [by_key[report.keys[claim.path]] for claim in one.claims]
            claimed[pair] = next((identity for identity in claimants if identity in stamps), next(iter(stamps)))
        erased = self.known.erased
        fresh = [pair for pair in claimed if pair not in self.known.edges and erased.isdisjoint(pair)]
        gone = [pair for pair in self.known.edges if pair not in claimed and (pair[0] in stamps or pair[1] in stamps)]
        if gone:
            await self.flush()
        ids = self.sink.ids
        for pair in sorted(fresh):
            stamp = stamps[claimed[pair]]
            successor, predecessor = (Ref(id=self.known.nodes[identity]) for identity in pair)
            made = edge(
                ids, successor, SUPERSEDES, predecessor,
                valid_from=stamp.valid_from, known=stamp.known, locator=stamp.locator,
            )  # fmt: skip
            self.known.edges[pair] = made.id
            if stamp.valid_from is not None:
                self.known.edge_starts[pair] = stamp.valid_from
            await self.put(self._unit([made], stamp, f"{pair[0]}>{pair[1]}", ["adr edge", *pair]))
        for pair in sorted(gone):
            stamp = stamps[pair[0] if pair[0] in stamps else pair[1]]
            begun = self.known.edge_starts.pop(pair, None)
            # Authors' clocks disagree: an edge does not end before it began.
            at = None if stamp.valid_from is None else max(stamp.valid_from, begun or stamp.valid_from)
            ended = End(ids.new(), self.known.real(self.known.edges.pop(pair)), at, "no longer claimed")
            await self.put(self._unit([ended], stamp, f"{pair[0]}>{pair[1]}:end", ["adr edge end", *pair]))


def _keys(
    alive: Mapping[str, ParsedRecord], gone: Mapping[str, ParsedRecord], given: Mapping[str, str]
) -> dict[str, str]:
    """Give each identity its key; a deleted record leaves its number to a living one that carries it.

    A key once *given* stays: a record that comes later with the same number gets another.
    """
    paths = {record.path: identity for identity, record in alive.items()}
    keys = {paths[path]: key for path, key in record_keys(list(alive.values())).items()}
    taken = set(keys.values()) | {key.partition("~")[0] for key in keys.values()}
    for identity, record in sorted(gone.items()):
        (own,) = record_keys([record]).values()
        stem = Path(record.path).stem
        key = own if own not in taken else f"{own}~{stem}"
        while key in taken:
            key += "~deleted"
        keys[identity] = key
        taken.add(key)
    keys.update({identity: given[identity] for identity in keys if identity in given})
    owners = {key: identity for identity, key in given.items()}
    for identity, key in sorted(keys.items()):
        if owners.get(key, identity) != identity:
            record = alive.get(identity) or gone[identity]
            keys[identity] = f"{key}~{Path(record.path).stem}"
    return keys


def _problems(report: AdrReport, records: Iterable[ParsedRecord]) -> None:
    for record in records:
        report.problems += [FileProblem(record.path, one.line, one.code, one.message) for one in record.problems]


async def ingest_adr(sink: Sink, path: Path, *, history: bool = True, progress: Progress | None = None) -> AdrReport:
    """Import the decision records under *path* with their git history where they have one; a second run writes nothing.

    Args:
        sink: where the units go; its space is filled when it is empty.
        history: False takes the files as they lie.

    Raises:
        InvalidError: no record is there (code ``record.malformed``), or the folder cannot be read.
        NotFoundError: code ``file.unreadable``; *path* is not there.
        RefusedError: a unit cannot be kept; what came before it is.
    """
    report = AdrReport(str(path), sink.space)
    files = scan_folder(path)
    report.skipped = [{"path": name, "reason": reason} for name, reason in files.skipped]
    past = read_history(path) if history else None
    in_git = past is not None and past.top is not None and len(past) > 0
    # A history is replayed from its beginning, so what holds at its end must not be known yet.
    importer = _Importer(sink, report, await load_known(sink, facts=not in_git))
    if past is not None and past.top is not None and in_git:
        report.history, report.commits = True, past.commits
        report.problems += [FileProblem(past.folder, one.line, one.code, one.message) for one in past.problems]
        report.uncommitted = [{"path": one.path, "change": one.change} for one in past.uncommitted]
        await _replay(importer, list(past.versions()), past.folder, progress)
        top, root = past.top, past.folder
    else:
        await _take_files(importer, files, progress)
        top, root = files.root, ""
    await importer.flush()
    if not importer.state and not report.other_folder:
        msg = f"{path} holds no decision records; name a folder with files such as 0001-use-postgres.md"
        raise InvalidError(msg, code="record.malformed", path=str(path))
    prefix = f"{root}/" if root and root != "." else ""
    indexes = [FolderIndex(prefix + one.path, one.data.decode("utf-8", "replace")) for one in files.indexes]
    final = link_report(list(importer.state.values()), indexes=indexes, exists=disk_exists(top))
    _fill(report, final, importer)
    return report


def _fill(report: AdrReport, final: LinkReport, importer: _Importer) -> None:
    report.decisions = len(importer.state)
    report.supersessions = len(final.edges)
    for name in ("one_sided", "dangling", "cyclic", "duplicate_numbers", "dead_links", "index_stale"):
        setattr(report, name, [plain(one) for one in getattr(final, name)])
    report.deleted = sorted(key for identity, key in importer.keys.items() if identity not in importer.state)
    _problems(report, importer.state.values())


async def _replay(
    importer: _Importer, versions: Sequence[RecordVersion], folder: str, progress: Progress | None
) -> None:
    """Write a history, commit by commit."""
    order = day_order(
        raw for version in versions if version.text and (raw := parse_record(version.text, path=version.path).date_raw)
    )
    parsed = [
        None
        if version.text is None
        else parse_record(version.text, path=version.path, day_first=order, near=version.author_time.date())
        for version in versions
    ]
    last = {version.identity: record for version, record in zip(versions, parsed, strict=True) if record is not None}
    finals = {version.identity: record for version, record in zip(versions, parsed, strict=True)}
    origin = f"git:{versions[0].commit[:12]}:{folder}"
    real = {identity for identity, record in last.items() if record.is_record}
    real -= importer.tell_apart({identity: last[identity].title for identity in real}, origin).foreign
    importer.keys = _keys(
        {identity: record for identity, record in finals.items() if record is not None and identity in real},
        {identity: last[identity] for identity, record in finals.items() if record is None and identity in real},
        importer.known.keys,
    )
    _skip_others(importer.report, last)
    step: dict[str, _Stamp] = {}
    said: dict[tuple[str, str | None], ParsedRecord | None] = {}
    latest: dict[str, str] = {}
    for place, (version, record) in enumerate(zip(versions, parsed, strict=True)):
        if version.identity in real:
            stamp = _stamp(version, record, importer, origin)
            aside = version.based_on != latest.get(version.identity)
            base = said.get((version.identity, version.based_on)) if aside else None
            heard = _only_changes(record, base, importer.state.get(version.identity))
            stamp = await importer.version(version.identity, heard, version.path, stamp, _digest(version.text))
            said[version.identity, version.commit] = record
            latest[version.identity] = version.commit
            if heard is None:
                importer.state.pop(version.identity, None)
            else:
                importer.state[version.identity] = heard
            step[version.identity] = stamp
        following = versions[place + 1] if place + 1 < len(versions) else None
        if step and (following is None or following.commit != version.commit):
            await importer.edges(_report_of(importer), step)
            step = {}
        if progress is not None:
            progress(place + 1, len(versions))
    await _settle_last(importer, versions, finals, origin)
    await importer.flush()
    await importer.sink.store.finish_fill(importer.sink.space, origin)


def _only_changes(
    record: ParsedRecord | None, base: ParsedRecord | None, current: ParsedRecord | None
) -> ParsedRecord | None:
    """Take from a version that was made beside the line only what it changed against the version it started from.

    Else a branch that edits a record's words would seem to take back a status that was set meanwhile.
    """
    if record is None or base is None or current is None:
        return record
    if (record.status, record.status_raw) == (base.status, base.status_raw):
        record = replace(record, status=current.status, status_raw=current.status_raw, links=current.links)
    return record


async def _settle_last(
    importer: _Importer, versions: Sequence[RecordVersion], finals: Mapping[str, ParsedRecord | None], origin: str
) -> None:
    """Make sure that each record ends as its last version says, whatever its branches did."""
    last = {version.identity: version for version in versions}
    for identity, current in sorted(importer.state.items()):
        record = finals[identity]
        if record is not None and record != current:
            stamp = _stamp(last[identity], record, importer, origin)
            stamp = replace(stamp, op=f"{stamp.op}:last")
            importer.state[identity] = record
            stamp = await importer.version(identity, record, last[identity].path, stamp, "last")
            await importer.edges(_report_of(importer), {identity: stamp})


def _skip_others(report: AdrReport, last: Mapping[str, ParsedRecord]) -> None:
    others: list[Json] = [
        {"path": record.path, "reason": "does not read as a decision record"}
        for _, record in sorted(last.items())
        if not record.is_record
    ]
    report.skipped += others


def _report_of(importer: _Importer) -> LinkReport:
    """Resolve the links as the folder stands, under the records' lasting keys."""
    report = link_report(list(importer.state.values()))
    renamed = {report.keys[record.path]: importer.keys[identity] for identity, record in importer.state.items()}
    edges = tuple(
        replace(one, successor=renamed[one.successor], predecessor=renamed[one.predecessor]) for one in report.edges
    )
    return replace(report, keys={path: renamed[key] for path, key in report.keys.items()}, edges=edges)


def _stamp(version: RecordVersion, record: ParsedRecord | None, importer: _Importer, origin: str) -> _Stamp:
    """Date a version: its first by the record's own day, if its commit is not earlier; else by its author time."""
    recorded = to_micros(version.source_time)
    start = min(to_micros(version.author_time), recorded)
    first = version.identity not in importer.state and version.identity not in importer.known.files
    if first and record is not None and record.date is not None:
        own = to_micros(datetime.combine(record.date, time(), UTC))
        start = own if own <= recorded else start
    where = f"commit {version.commit[:12]} by {version.author[:_AUTHOR_CHARS_MAX]}"
    return _Stamp(
        start, known=True, origin=version.identity, locator=where,
        op=f"adr:{origin}:{version.commit}", history=History(origin, recorded),
    )  # fmt: skip


def _digest(text: str | None) -> str:
    return "" if text is None else sha256(text.encode()).hexdigest()


async def _take_files(importer: _Importer, folder: FolderFiles, progress: Progress | None) -> None:
    """Write files as they lie; what the space already says of them is not written again."""
    files = [(one.path, one.data) for one in folder.records]
    order = day_order(raw for path, data in files if (raw := parse_bytes(data, path=path).date_raw))
    records = [parse_bytes(data, path=path, day_first=order) for path, data in files]
    real = {record.path: record for record in records if record.is_record}
    _skip_others(importer.report, {record.path: record for record in records})
    origins = importer.tell_apart({path: record.title for path, record in real.items()}, folder.place)
    real = {path: record for path, record in real.items() if path not in origins.foreign}
    origins.follow_renames(importer.known, record_keys(list(real.values())))
    if folder.whole:
        importer.report.missing_files = origins.missing(importer.known, real)
    importer.keys = _keys(real, {}, importer.known.keys)
    step: dict[str, _Stamp] = {}
    for place, (path, record) in enumerate(sorted(real.items())):
        own = None if record.date is None else to_micros(datetime.combine(record.date, time(), UTC))
        first = path not in importer.known.files
        stamp = _Stamp(
            own if first else None, known=own is not None or not first, origin=path, locator=None, op=None, history=None
        )
        importer.state[path] = record
        step[path] = await importer.version(path, record, path, stamp, "")
        if progress is not None:
            progress(place + 1, len(real))
    if step:
        await importer.edges(_report_of(importer), step)
