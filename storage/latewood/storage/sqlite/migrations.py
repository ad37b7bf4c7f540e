"""The schema of a file: writing it into a new one, bringing an older one forward, refusing a newer one.

A step from one schema to the next is *additive* when the Latewood of the schema before still works on the result: new
tables, indexes, columns with a default. Additive steps run when the file is opened. Any other step changes what is
stored, and waits for `latewood migrate`. Either way the file is copied first, by SQLite's own backup, while nobody can
write to it; and all steps run in one transaction, so that a crash in the middle leaves the file as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, cast

import apsw
import structlog

from latewood.graph_schema.errors import InvalidError, UnavailableError
from latewood.storage.crashpoints import reach
from latewood.storage.sqlite.database import Database, Row, number
from latewood.storage.sqlite.memories import add_search
from latewood.storage.sqlite.statuses import add_statuses
from latewood.storage.sqlite.waiting import add_queue
from latewood.storage.upgrades import Upgrade

__all__ = ["APPLICATION_ID", "CURRENT", "SCHEMA_VERSION", "Migration", "Schema", "migrate", "prepare"]

APPLICATION_ID: Final = 0x4C57_4F44
"""In the header of every file of ours: "LWOD"."""
_BACKUPS_MAX: Final = 100
_BACKUP_PAGES: Final = 4_096

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: what brings a file from the schema before to *schema*, inside a transaction."""

    schema: int
    about: str
    apply: Callable[[Database], object]
    additive: bool = True


def _create(connection: Database) -> None:
    text = resources.files("latewood.storage.sqlite").joinpath("schema.sql").read_text(encoding="utf-8")
    connection.execute(text)
    add_search(connection)
    add_queue(connection)
    add_statuses(connection)


@dataclass(frozen=True, slots=True)
class Schema:
    """What a Latewood knows: the first schema, how an empty file gets the newest, and the steps between them.

    Attributes:
        create: writes the newest schema into an empty file, and equals all steps one after another.
    """

    first: int
    create: Callable[[Database], object]
    migrations: tuple[Migration, ...] = ()

    @property
    def version(self) -> int:
        """The newest schema."""
        return self.first + len(self.migrations)

    def since(self, found: int) -> tuple[Migration, ...]:
        """Return the steps from *found* to the newest."""
        return tuple(one for one in self.migrations if one.schema > found)


CURRENT: Final = Schema(
    first=1, create=_create,
    migrations=(
        Migration(2, "search by fact: a view of the facts that carry text, and vectors", add_search),
        Migration(3, "messages: what waits for whom", add_queue),
        Migration(4, "lists by status: which one a node has now", add_statuses),
    ),
)  # fmt: skip
"""What this Latewood knows."""
SCHEMA_VERSION: Final = CURRENT.version


def prepare(connection: Database, path: Path, *, read_only: bool, schema: Schema | None = None) -> None:
    """Check whose file it is and bring it to the newest schema, as far as that may be done unasked.

    Raises:
        InvalidError: code ``file.not_a_store``.
        UnavailableError: codes ``schema.newer`` and ``schema.older``; ``file.unreadable`` when it cannot be copied.
    """
    schema = schema or CURRENT
    found = _found(connection, path, schema)
    if found == schema.version or (found == 0 and read_only):
        return
    if found == 0:
        _make(connection, schema)
        return
    waiting = [one for one in schema.since(found) if not one.additive]
    if waiting or read_only:
        why = "it is read-only here" if read_only else f"the step to {waiting[0].schema} changes what is stored"
        msg = (
            f"{path} has schema {found}, this Latewood needs {schema.version}, and {why}; run "
            f"`latewood migrate --db {path}`, with --dry-run to see what it would do"
        )
        raise UnavailableError(msg, code="schema.older", schema=found, known=schema.version)
    done = migrate(connection, path, schema=schema)
    if done.applied:
        _log.info("schema_migrated", file=str(path), found=done.found, schema=done.schema, backup=done.backup)


def _found(connection: Database, path: Path, schema: Schema) -> int:
    """Return the schema of a file of ours, 0 for an empty file. Raises as `prepare` does."""
    application = number(connection.execute("pragma application_id"))
    version = number(connection.execute("pragma user_version"))
    tables = number(connection.execute("select count(*) from sqlite_schema"))
    if application != APPLICATION_ID and (tables or application):
        msg = f"{path} is a database of another program, not a Latewood database; name another file"
        raise InvalidError(msg, code="file.not_a_store")
    if version > schema.version:
        msg = f"{path} has schema {version}, this Latewood knows up to {schema.version}; upgrade Latewood first"
        raise UnavailableError(msg, code="schema.newer", schema=version, known=schema.version)
    if 0 < version < schema.first:
        msg = f"{path} has schema {version}, this Latewood knows {schema.first} and newer; upgrade it with an older one"
        raise UnavailableError(msg, code="schema.older", schema=version, known=schema.version)
    return version


def _make(connection: Database, schema: Schema) -> None:
    connection.pragma("journal_mode", "wal")
    connection.execute("begin immediate")
    try:
        # Another process may have been quicker.
        if number(connection.execute("pragma user_version")) == 0:
            schema.create(connection)
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", schema.version)
        connection.execute("commit")
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: Database) -> None:
    if connection.in_transaction:
        connection.execute("rollback")


def migrate(
    connection: Database, path: Path, *, dry_run: bool = False, backup: bool = True, schema: Schema | None = None
) -> Upgrade:
    """Bring a file to the newest schema, additive or not; with *dry_run* run every step and keep none.

    Raises:
        InvalidError: code ``file.not_a_store``.
        UnavailableError: codes ``schema.newer`` and ``schema.older``; ``file.unreadable`` when it cannot be copied.
    """
    schema = schema or CURRENT
    if _found(connection, path, schema) == 0:
        return Upgrade(str(path), schema.version, schema.version, (), applied=False)
    # Nobody writes between the copy and the steps: the copy has everything that is migrated.
    connection.execute("begin immediate")
    try:
        found = _found(connection, path, schema)
        steps = schema.since(found)
        copy = _back_up(connection, path, found) if steps and backup and not dry_run else None
        for step in steps:
            step.apply(connection)
            connection.pragma("user_version", step.schema)
            reach("migration.step")
        connection.execute("rollback" if dry_run else "commit")
    except BaseException:
        _roll_back(connection)
        raise
    abouts = tuple(f"schema {step.schema}: {step.about}" for step in steps)
    return Upgrade(
        str(path), found, schema.version, abouts, applied=bool(steps) and not dry_run,
        backup=None if copy is None else str(copy),
    )  # fmt: skip


def _heads(connection: Database) -> list[Row]:
    """Return what tells two states of a file apart: its schema and the heads of its ledgers."""
    rows: list[Row] = [(number(connection.execute("pragma user_version")),)]
    return [*rows, *connection.execute("select space, ledger, seq, hash from head order by space, ledger")]


def _back_up(connection: Database, path: Path, found: int) -> Path:
    """Copy the file beside itself, whole or not at all, and return the copy's path.

    A copy of the same state is used again, so that an upgrade that fails time after time does not fill the disk.
    """
    heads = _heads(connection)
    for count in range(1, _BACKUPS_MAX + 1):
        copy = path.with_name(f"{path.name}.schema-{found}{'' if count == 1 else f'.{count}'}.backup")
        if not copy.exists():
            break
        if _same(copy, heads):
            return copy
    else:
        msg = f"{path} has {_BACKUPS_MAX} backups beside it already; move some away"
        raise UnavailableError(msg, code="file.unreadable")
    part = copy.with_name(copy.name + ".part")
    try:
        part.unlink(missing_ok=True)
        _copy(path, part)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(copy)
        _sync_folder(copy.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        msg = f"{path} was not upgraded: its backup {copy} cannot be written: {error}"
        raise UnavailableError(msg, code="file.unreadable") from error
    except apsw.Error:
        part.unlink(missing_ok=True)
        raise
    reach("migration.backed_up")
    return copy


def _copy(path: Path, part: Path) -> None:
    source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    target = apsw.Connection(str(part))
    try:
        with target.backup("main", source, "main") as copying:
            while not copying.done:
                copying.step(_BACKUP_PAGES)
        # The copy stands alone: no write-ahead log belongs to it.
        cast("Database", target).pragma("journal_mode", "delete")
    finally:
        target.close()
        source.close()


def _same(copy: Path, heads: list[Row]) -> bool:
    """Whether *copy* is a backup of the state that has *heads*."""
    try:
        opened = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return _heads(cast("Database", opened)) == heads
        finally:
            opened.close()
    except (apsw.Error, LookupError):
        return False


def _sync_folder(folder: Path) -> None:
    """Make a new name in *folder* survive a power cut, where the system lets a folder be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
