"""The file behind the store: opening, threads, transactions, and SQLite's errors in our words.

One writer thread with its own connection takes every write (BEGIN IMMEDIATE, so that several processes queue); a few
reader threads each have their own. A read runs in one transaction and so sees one state of the file.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeVar, cast

import apsw

from latewood.graph_schema.errors import CorruptError, InvalidError, LatewoodError, UnavailableError
from latewood.storage.port import Scrub
from latewood.storage.queries import load_queries
from latewood.storage.sqlite import erasing
from latewood.storage.sqlite.cache import Cache
from latewood.storage.sqlite.database import BUSY_MS, Database
from latewood.storage.sqlite.migrations import SCHEMA_VERSION, migrate, prepare
from latewood.storage.sqlite.vectors import VectorCache
from latewood.storage.sqlite.worker import Worker
from latewood.storage.takes import Takes
from latewood.storage.upgrades import Upgrade

__all__ = ["SCHEMA_VERSION", "Engine"]

_READERS: Final = 3
_PACKAGE: Final = "latewood.storage.sqlite"

T = TypeVar("T")


def _translate(error: apsw.Error, path: Path) -> LatewoodError:
    """Say in our words what SQLite reports."""
    if isinstance(error, apsw.FullError):
        return UnavailableError(f"the disk under {path} is full; free space, then repeat the write", code="disk.full")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        msg = f"another process held {path} for over {BUSY_MS / 1000:.0f} s; try again"
        return UnavailableError(msg, code="store.busy")
    if isinstance(error, apsw.ReadOnlyError):
        msg = f"{path} is read-only; nothing was written: give this user the right to write the file and its folder"
        return UnavailableError(msg, code="store.read_only")
    if isinstance(error, apsw.NotADBError):
        return InvalidError(f"{path} is not a Latewood database; name another file", code="file.not_a_store")
    if isinstance(error, apsw.CorruptError):
        return CorruptError(f"{path} is damaged: {error}; restore a backup", code="ledger.corrupt")
    if isinstance(error, apsw.CantOpenError | apsw.PermissionsError):
        msg = f"{path} cannot be opened: {error}; check that its folder exists and this user may use it"
        return UnavailableError(msg, code="file.unreadable")
    if isinstance(error, apsw.IOError):
        return UnavailableError(f"the disk under {path} failed: {error}; nothing was kept", code="store.unavailable")
    return LatewoodError(f"SQLite failed on {path}: {error!r}")


def _identity(path: Path, *, state: bool = False) -> tuple[int, ...] | None:
    """Tell a file from another one under the same name, and with *state* from itself before; None for none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino, *((found.st_mtime_ns, found.st_size) if state else ()))


class Engine:
    """One database file, shared by every handle of the process."""

    def __init__(
        self, path: Path, *, sync: Literal["full", "normal"], prepare: Callable[[Database], None]
    ) -> None:  # fmt: skip
        """Take the path; `start` opens it. *prepare* is called once for each connection."""
        self._prepare_connection = prepare
        self.path = path
        self.sync = sync
        self.read_only = False
        self.sql = load_queries(_PACKAGE, "queries.sql")
        self.cache = Cache()
        self.vectors = VectorCache()
        self.tenants_met: set[str] = set()
        self.takes = Takes()
        self._log_path = path.with_name(path.name + "-wal")
        self._file: tuple[int, ...] | None = None
        self._log: tuple[int, ...] | None = None
        self._fixed = False
        self._local = threading.local()
        self._connections: list[Database] = []
        self._lock = threading.Lock()
        self._writer = Worker("latewood-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="latewood-reader")
        self._closed = False

    async def start(self) -> None:
        """Open or create the file.

        Raises:
            InvalidError: code ``file.not_a_store``.
            UnavailableError: codes ``schema.newer``, ``schema.older``, ``file.unreadable``.
        """
        try:
            await self.write(self._prepare, begin=False)
            if erasing.marked(self.path):
                # Left by a crash, or by a process that was in the way: nobody waits for it here.
                await self.scrub(wait_ms=0)
        except BaseException:
            await self.close()
            raise

    async def scrub(self, *, wait_ms: int | None = None) -> Scrub:
        """Rid the file and its log of what was erased, as far as other processes let it."""
        if self.read_only:
            return Scrub("pending" if erasing.marked(self.path) else "done", f"{self.path} is read-only here")

        def work(connection: Database) -> Scrub:
            return erasing.scrub(connection, self.path, **({} if wait_ms is None else {"wait_ms": wait_ms}))

        return await self.write(work, begin=False)

    async def upgrade(self, *, dry_run: bool, backup: bool) -> Upgrade:
        """Bring the file to the newest schema, instead of starting. Raises as `start` does."""
        return await self.write(
            lambda connection: migrate(connection, self.path, dry_run=dry_run, backup=backup), begin=False
        )

    def _open(self) -> Database:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        if self.path.exists() and not os.access(self.path, os.W_OK):
            flags, self.read_only = apsw.SQLITE_OPEN_READONLY, True
        elif self._file is not None:
            # Only the first opening may make the file: a later one would hide that it is gone.
            flags = apsw.SQLITE_OPEN_READWRITE
        name = str(self.path)
        if self.read_only and not self._log_path.exists() and not os.access(self.path.parent, os.W_OK):
            # SQLite makes a log even to read; where it may not, it reads a file that nobody writes to just as well.
            name, flags, self._fixed = (
                f"{self.path.absolute().as_uri()}?immutable=1",
                flags | apsw.SQLITE_OPEN_URI,
                True,
            )
        else:
            self._fixed = False
        opened = apsw.Connection(name, flags=flags, statementcachesize=200)
        opened.set_busy_timeout(BUSY_MS)
        connection = cast("Database", opened)
        connection.pragma("cache_size", -65_536)
        connection.pragma("mmap_size", 1 << 30)
        connection.pragma("temp_store", "memory")
        if not self.read_only:
            connection.pragma("secure_delete", 1)
            connection.pragma("synchronous", self.sync)
            connection.pragma("wal_autocheckpoint", 4_000)
        self._prepare_connection(connection)
        return connection

    def _connection(self) -> Database:
        """Return this thread's connection to the file that is there."""
        self._check_file()
        found: Database | None = getattr(self._local, "connection", None)
        if found is None or self._local.file != self._file:
            fresh = self._open()
            with self._lock:
                self._connections.append(fresh)
                if found is not None:
                    self._connections.remove(found)
                    found.close()
            self._local.connection, self._local.file = fresh, self._file
            found = fresh
        return found

    def _prepare(self, connection: Database) -> None:
        """Bring the file to this schema, and remember which file it is."""
        prepare(connection, self.path, read_only=self.read_only)
        self._file, self._log = self._identity(), _identity(self._log_path)

    def _identity(self) -> tuple[int, ...] | None:
        found = _identity(self.path, state=self._fixed)
        return found if found is None or not self._fixed else (*found, int(self._log_path.exists()))

    def _check_file(self) -> None:
        """Refuse when the file is not the one that was opened: what is written to that one now is lost with it.

        A file that was put in its place is opened for the next call; but never beside the log of the old one, which
        SQLite would take for its own and write into it.
        """
        file = self._file
        if file is None or (found := self._identity()) == file:
            return
        self.cache.clear()
        self.vectors.clear()
        if found is None:
            msg = f"{self.path} was removed or renamed while it was open; nothing was accepted: put it back"
            raise UnavailableError(msg, code="store.unavailable")
        if self._log is not None and _identity(self._log_path) == self._log:
            msg = (
                f"another file was put at {self.path} while it was open, and beside it lies the log of the old one; "
                f"nothing was accepted: put the old file back, or take {self._log_path.name} and -shm away too"
            )
            raise UnavailableError(msg, code="store.unavailable")
        what = f"{self.path} was changed while it was read" if self._fixed else f"another file was put at {self.path}"
        with self._lock:
            if self._file == file:
                fresh = self._open()
                try:
                    self._prepare(fresh)
                finally:
                    fresh.close()
                self.tenants_met.clear()
        raise UnavailableError(f"{what}; nothing was accepted: repeat it", code="store.unavailable")

    @contextmanager
    def _guard(self) -> Generator[None]:
        try:
            yield
        except apsw.Error as error:
            raise _translate(error, self.path) from error

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError(f"the store on {self.path} is closed; open it again", code="store.closed")

    async def read(self, work: Callable[[Database], T]) -> T:
        """Run *work* in a reader thread, in one transaction."""
        self._check_open()

        def run() -> T:
            with self._guard():
                connection = self._connection()
                connection.execute("begin")
                try:
                    answer = work(connection)
                finally:
                    if connection.in_transaction:
                        connection.execute("commit")
                if self._fixed:
                    # Read without locks: what another process changed meanwhile may have been read by halves.
                    self._check_file()
                return answer

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def write(self, work: Callable[[Database], T], *, begin: bool = True, lasting: bool = True) -> T:
        """Run *work* in the writer thread, in one transaction that is kept whole or not at all.

        What is not *lasting* survives the end of the process, and may be lost when the machine ends.
        """
        self._check_open()

        def run() -> T:
            with self._guard():
                connection = self._connection()
                if not begin:
                    return work(connection)
                if not lasting and self.sync == "full":
                    connection.pragma("synchronous", "normal")
                try:
                    connection.execute("begin immediate")
                    answer = work(connection)
                    connection.execute("commit")
                    self._check_file()
                except BaseException:
                    # What the cache learned in this transaction is undone with it.
                    self.cache.clear()
                    if connection.in_transaction:
                        connection.execute("rollback")
                    raise
                finally:
                    if not lasting:
                        connection.pragma("synchronous", self.sync)
            return answer

        return await self._writer.run(run)

    async def close(self) -> None:
        """Finish what runs and close every connection."""
        if self._closed:
            return
        self._closed = True

        def stop() -> None:
            self._writer.stop()
            self._readers.shutdown(wait=True)
            for connection in self._connections:
                connection.close()

        await asyncio.to_thread(stop)
