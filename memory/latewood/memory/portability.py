"""Out of a store and into another, whole: a space as lines of JSON, and every space of a tenant as a folder of them."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Final, TextIO

from latewood.graph_schema.clock import AsOf, from_micros
from latewood.graph_schema.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from latewood.graph_schema.ledger import Verifier
from latewood.graph_schema.model import LEDGERS, LedgerName, NodeKind
from latewood.graph_schema.values import canonical_json
from latewood.memory.api import Memory
from latewood.memory.json import as_json
from latewood.storage.jsonl import End, read_end, read_header, read_line, read_row, write_end, write_header, write_row
from latewood.storage.port import PAGE_MAX, FactQuery, GraphStore, NodeQuery
from latewood.storage.replaying import LedgerRow, SpaceImage, written_payload

__all__ = ["Backup", "Exported", "Imported", "backup", "export_space", "fingerprint", "import_space", "restore"]

LINE_CHARS_MAX: Final = 32_000_000
"""Most characters of a line that an import reads."""
_BATCH_ROWS: Final = 500
_MANIFEST: Final = "backup.json"
_MANIFEST_BYTES_MAX: Final = 10_000_000
_SUFFIX: Final = ".jsonl.gz"


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote. *fingerprint* is equal for equal content, whatever store it is in."""

    space: str
    path: str
    rows: int
    erased: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import read: *rows* in the file, of which *written* were new to the space."""

    space: str
    path: str
    rows: int
    written: int
    fingerprint: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Backup:
    """A folder with an export of every space of a tenant."""

    path: str
    spaces: tuple[Exported, ...]


async def fingerprint(store: GraphStore, space: str) -> str:
    """Return one digest over a space's ledgers and over what its views answer at its head: hex of SHA-256.

    Equal content gives an equal digest in every store, under any name of the space; a view that drifted from its ledger
    gives another.
    """
    image = await store.image(space)
    found = hashlib.sha256(canonical_json([image.id, *[
        [name, seq, digest.hex()] for name, (seq, digest) in sorted(image.heads.items())
    ]]).encode())  # fmt: skip
    if not image.heads:
        return found.hexdigest()
    latest = max([row.entry.recorded_at for name, (seq, _) in image.heads.items()
                  for row in await store.ledger_rows(space, name, seq - 1, 1)])  # fmt: skip
    at = AsOf(from_micros(latest), from_micros(latest))
    # A sum of digests: stores may list what was recorded at one instant in another order.
    total = 0
    for kind in sorted(NodeKind):
        after: str | None = None
        while True:
            page = await store.list_nodes(space, NodeQuery(kind, first=200, after=after))
            ids = [node.id for node in page.items]
            holding = await store.facts(space, FactQuery(subjects=ids), at) if ids else ()
            for part in (*page.items, *holding):
                total += int.from_bytes(hashlib.sha256(canonical_json(as_json(part)).encode()).digest())
            if page.next is None:
                break
            after = page.next
    found.update((total % 2**256).to_bytes(32))
    return found.hexdigest()


async def _rows(store: GraphStore, image: SpaceImage) -> AsyncIterator[LedgerRow]:
    """Return the rows of both ledgers up to the heads of *image*, in the order in which they were recorded."""
    streams = [_ledger(store, image, name) for name in LEDGERS if name in image.heads]
    waiting = [await anext(stream) for stream in streams]
    unit = ""
    while streams:
        # A unit's rows share their time; the one that was begun goes on first.
        place = min(range(len(waiting)), key=lambda n: (waiting[n].entry.recorded_at, waiting[n].entry.unit != unit))
        row = waiting[place]
        unit = row.entry.unit
        yield row
        try:
            waiting[place] = await anext(streams[place])
        except StopAsyncIteration:
            del streams[place], waiting[place]


async def _ledger(store: GraphStore, image: SpaceImage, name: LedgerName) -> AsyncGenerator[LedgerRow]:
    last, after = image.heads[name][0], 0
    while after < last:
        for row in await store.ledger_rows(image.name, name, after, min(PAGE_MAX, last - after)):
            after = row.entry.seq
            yield row


@contextmanager
def _writing(path: Path | None) -> Generator[TextIO]:
    """Open a file that appears whole or not at all; None is the standard output."""
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as raw:
            if path.suffix == ".gz":
                # No name and no time: equal content gives an equal file.
                with (
                    gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
                    io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
                ):
                    yield text
            else:
                text = io.TextIOWrapper(raw, encoding="utf-8", newline="\n")
                yield text
                text.flush()
                text.detach()
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(path)
    except OSError as error:
        msg = f"{path} cannot be written: {error}"
        raise UnavailableError(msg, code="file.unreadable", path=str(path)) from error
    finally:
        part.unlink(missing_ok=True)


async def export_space(memory: Memory, path: Path | None, *, overwrite: bool = False) -> Exported:
    """Write the handle's space as lines of JSON, gzipped when the name ends in .gz; None is the standard output.

    What is written meanwhile is left out: the export ends at the heads it began with.

    Raises:
        NotFoundError: code ``export.empty`` when the space has no rows; ``space.unknown``.
        ConflictError: code ``file.exists``.
    """
    store, space = memory.store, memory.space
    image = await store.image(space)
    if not image.heads:
        msg = f"space {space!r} has no rows, so there is nothing to export; `spaces` says which has"
        raise NotFoundError(msg, code="export.empty", space=space)
    if path is not None and not overwrite and await asyncio.to_thread(path.exists):
        raise ConflictError(f"{path} is there already; name another file", code="file.exists", path=str(path))
    digest = await fingerprint(store, space)
    count = erased = 0
    with _writing(path) as out:
        out.write(write_header(image, metadata.version("latewood")) + "\n")
        async for row in _rows(store, image):
            out.write(write_row(row) + "\n")
            count += 1
            erased += row.entry.erased
        out.write(write_end(End(count, digest)) + "\n")
    return Exported(space, "-" if path is None else str(path), count, erased, digest)


@contextmanager
def _reading(path: Path | None) -> Generator[TextIO]:
    if path is None:
        yield sys.stdin
        return
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8", newline="\n") as text:
                yield text
        else:
            with path.open(encoding="utf-8", newline="\n") as text:
                yield text
    except (OSError, EOFError) as error:
        msg = f"{path} cannot be read: {error}"
        raise NotFoundError(msg, code="file.unreadable", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path} is not UTF-8 text: {error}", code="import.malformed") from error


def _lines(text: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while True:
        line = text.readline(LINE_CHARS_MAX + 1)
        if not line:
            return
        number += 1
        if len(line) > LINE_CHARS_MAX:
            msg = f"line {number} has more than {LINE_CHARS_MAX:,} characters"
            raise InvalidError(msg, code="import.malformed", line=number)
        if line.strip():
            yield number, line


class _Taking:
    """Takes the rows of a file into a space, unit by unit whole, or only checks them."""

    def __init__(self, store: GraphStore, image: SpaceImage, *, dry_run: bool) -> None:
        self._store = store
        self._image = image
        self._verifiers = {name: Verifier(image.id, name) for name in LEDGERS} if dry_run else {}
        self._waiting: list[LedgerRow] = []
        self.rows = 0
        self.written = 0

    async def take(self, row: LedgerRow, number: int) -> None:
        self.rows += 1
        verifier = self._verifiers.get(row.entry.ledger)
        if verifier is not None:
            payload = written_payload(row.entry)
            if not verifier.take(row.entry, None if payload is None else payload.encode()):
                msg = f"line {number} does not fit its ledger: {verifier.verdict().reason}"
                raise InvalidError(msg, code="import.malformed", line=number)
            return
        waiting = self._waiting
        if waiting and waiting[-1].entry.unit != row.entry.unit:
            other = waiting[-1].entry.ledger != row.entry.ledger
            if other or len(waiting) >= _BATCH_ROWS:
                await self.flush()
        self._waiting.append(row)

    async def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.written += await self._store.replay(self._image.name, waiting)


async def import_space(
    memory: Memory, path: Path | None, *, name: str | None = None, dry_run: bool = False
) -> Imported:
    """Read an export into the space *name* (else the one it came from), row by row verbatim; None is standard input.

    An import that was interrupted goes on when it is run again. With *dry_run* every line is read and checked against
    the chain, and nothing is written.

    Raises:
        InvalidError: code ``import.malformed``: a line does not fit, the end is missing, or the result differs.
        ConflictError: code ``space.exists`` when another space has the name.
        CorruptError: code ``ledger.corrupt`` when the space has another history.
        NotFoundError: code ``file.unreadable``; ``export.empty`` when the file has no rows.
    """
    where = "-" if path is None else str(path)
    with _reading(path) as text:
        lines = _lines(text)
        first = next(lines, None)
        if first is None:
            raise NotFoundError(f"{where} is empty", code="export.empty", path=where)
        image = read_header(read_line(first[1], first[0]))
        image = replace(image, name=name or image.name)
        if not dry_run:
            await memory.store.restore(image)
        taking, end = _Taking(memory.store, image, dry_run=dry_run), None
        for number, line in lines:
            if end is not None:
                raise InvalidError(f"line {number} comes after the end", code="import.malformed", line=number)
            read = read_line(line, number)
            end = read_end(read)
            if end is None:
                await taking.take(read_row(read, number), number)
        if end is not None:
            # Without it the last unit may be a part of one.
            await taking.flush()
    if end is None or end.rows != taking.rows:
        msg = f"{where} ends before its end: {taking.rows} rows without the last line that counts them; get it whole"
        raise InvalidError(msg, code="import.malformed", rows=taking.rows)
    if not taking.rows:
        raise NotFoundError(f"{where} has no rows", code="export.empty", path=where)
    found = end.fingerprint if dry_run else await _checked(memory.store, image, end, where)
    return Imported(image.name, where, taking.rows, taking.written, found, dry_run=dry_run)


async def _checked(store: GraphStore, image: SpaceImage, end: End, where: str) -> str:
    """Compare what is there now with what the file says it makes."""
    heads = (await store.image(image.name)).heads
    if dict(heads) != dict(image.heads):
        # The space has gone on since this export: what it has must begin with it, which every row was checked for.
        return await fingerprint(store, image.name)
    found = await fingerprint(store, image.name)
    if found != end.fingerprint:
        msg = f"{where} makes other answers here than where it came from; run `latewood doctor` on both"
        raise InvalidError(msg, code="import.differs", expected=end.fingerprint, found=found)
    return found


def _make_folder(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"{folder} is not empty; name a new folder", code="file.exists", path=str(folder))
    folder.mkdir(parents=True, exist_ok=True)


def _listed(folder: Path) -> list[str]:
    """Return the names of a backup's spaces."""
    path = folder / _MANIFEST
    try:
        if path.stat().st_size > _MANIFEST_BYTES_MAX:
            raise InvalidError(f"{path} is too large to be a backup's list", code="import.malformed")
        return [str(one["space"]) for one in json.loads(path.read_text(encoding="utf-8"))["spaces"]]
    except OSError as error:
        raise NotFoundError(f"{folder} is no backup: {error}", code="file.unreadable", path=str(folder)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidError(f"{path} does not list a backup: {error!r}", code="import.malformed") from error


async def backup(memory: Memory, folder: Path) -> Backup:
    """Export every space of the tenant that has rows into a new or empty folder, with a list of them.

    Raises:
        ConflictError: code ``file.exists`` when the folder has something in it.
        NotFoundError: code ``export.empty`` when no space has rows.
    """
    await asyncio.to_thread(_make_folder, folder)
    done = [
        await export_space(memory.within(space=space.name), folder / f"{space.name}{_SUFFIX}")
        for space in await memory.spaces() if any(space.seq.values())
    ]  # fmt: skip
    if not done:
        raise NotFoundError("no space has rows, so there is nothing to back up", code="export.empty")
    manifest = {"format": "latewood-backup/1", "spaces": [as_json(one) for one in done]}
    with _writing(folder / _MANIFEST) as out:
        out.write(json.dumps(manifest, indent=2) + "\n")
    return Backup(str(folder), tuple(done))


async def restore(memory: Memory, folder: Path) -> tuple[Imported, ...]:
    """Import every space of a backup.

    Raises as `import_space` does, and InvalidError (``import.malformed``) when the folder is no backup.
    """
    names = await asyncio.to_thread(_listed, folder)
    return tuple([await import_space(memory, folder / f"{name}{_SUFFIX}") for name in names])
