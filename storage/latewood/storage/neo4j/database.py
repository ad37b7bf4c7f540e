"""The database behind the store: address, driver, threads, transactions, and Neo4j's errors in our words.

The driver's synchronous side runs in threads of ours: one writer, a few readers. A read of Neo4j sees what is committed
when each of its statements runs; a reader that needs one state for several statements bounds them by the head it read
first, since rows and stamps carry the time at which they were recorded.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, LiteralString, Protocol, TypeVar, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from neo4j import READ_ACCESS, WRITE_ACCESS, Driver, GraphDatabase, NotificationMinimumSeverity, Session
from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConfigurationError,
    ConstraintError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
    TransientError,
)

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import InvalidError, LatewoodError, UnavailableError
from latewood.graph_schema.model import LEDGERS, LedgerName
from latewood.storage.neo4j.beginning import begin
from latewood.storage.neo4j.lookout import Lookout
from latewood.storage.neo4j.silence import limit_silence
from latewood.storage.queries import load_queries
from latewood.storage.takes import Takes

__all__ = ["Address", "Engine", "Head", "LostReplyError", "Query", "Row", "as_sent", "expanded", "head_of"]

_PACKAGE: Final = "latewood.storage.neo4j"
_READERS: Final = 6
_RETRIES: Final = 3
_TIMEOUT_S: Final = 60.0
_TIMEOUT_S_MAX: Final = 3_600.0
_CONNECT_S: Final = 5.0
_READY_S: Final = 15.0
"""Until a connection is made, greeted and logged in, or found alive again."""
_GRACE_S: Final = 5.0
"""How much longer than a transaction may take its connection may be silent: the server answers first when it can."""
_SCHEMES: Final = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")
_TEXTS_MAX: Final = 1_024
"""Most texts of queries that are remembered as they are sent."""
_PARAMETER: Final = re.compile(r"\$([a-z_][a-z_0-9]*)")
_MACRO: Final = re.compile(r"\{(us|at|visible|head|node|fact|claim):([\w.$]+)\}")

T = TypeVar("T")
Row = Sequence[Any]
"""One row of an answer; the reader of a query knows its columns."""


class Query(Protocol):
    """Runs one named query and returns its rows."""

    def __call__(self, name: str, /, **parameters: object) -> list[Row]:
        """Run the query *name*."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of a ledger, and which process wrote it."""

    seq: int
    recorded_at: Micros
    hash: bytes
    writer: str | None


class LostReplyError(UnavailableError):
    """The connection broke while a transaction was being committed: whether it was kept is not known."""


def _all_queries() -> dict[str, str]:
    files = ("queries.cypher", "searching.cypher", "statuses.cypher")
    return {name: text for file in files for name, text in load_queries(_PACKAGE, file).items()}


def _micros(expression: str) -> str:
    return f"({expression}.epochSeconds * 1000000 + {expression}.microsecond)"


def _expand(match: re.Match[str]) -> str:
    """Write out what many queries share: instants as microseconds, visibility, and the columns of rows."""
    what, name = match.groups()
    if what == "us":
        return _micros(name)
    if what == "at":
        # The driver takes some 90 microseconds to pack a datetime; two numbers cost it next to nothing.
        made = f"datetime({{epochSeconds: {name}[0], nanosecond: {name}[1]}})"
        return f"CASE WHEN {name} IS NULL THEN null ELSE {made} END"
    if what == "visible":
        return (
            f"{name}.recorded_at <= $r AND ({name}.retired_at IS NULL OR {name}.retired_at > $r) "
            f"AND {name}.valid_from <= $t "
            # Both ends of a closing appear at their own moments while it is committed: open until both are there.
            f"AND ({name}.valid_to IS NULL OR {name}.closed_at IS NULL OR {name}.valid_to > $t "
            f"OR {name}.closed_at > $r)"
        )
    if what == "head":
        # Of the ledger *name* and its space s.
        space = ", ".join(f"s.{one}" for one in ("space", "id", "name", "secret", "strict", "state", "filling"))
        ledger = ", ".join(f"{name}.{one}" for one in ("ledger", "seq", "recorded_at", "hash", "writer"))
        return f"{space}, {ledger}, coalesce({name}.rebuilds, 0)"
    if what == "node":
        plain = ", ".join(f"{name}.{one}" for one in ("id", "kind", "type", "key", "name", "attributes"))
        return f"{plain}, {_micros(f'{name}.recorded_at')}, {name}.version, {name}.norm, {name}.touched"
    if what == "fact":
        plain = ", ".join(f"{name}.{one}" for one in ("id", "subject", "predicate", "absent", "trust", "known"))
        times = ", ".join(_micros(f"{name}.{one}") for one in ("valid_from", "valid_to", "recorded_at"))
        return (
            f"{plain}, {times}, {name}.payload, {_micros(f'{name}.retracted_at')}, {name}.retired_reason, "
            f"{name}.ordinal, {name}.place"
        )
    times = ", ".join(_micros(f"{name}.{one}") for one in ("valid_from", "valid_to"))
    return (
        f"[{name}.place, {times}, {name}.tier, {name}.known, {name}.trust, {_micros(f'{name}.recorded_at')}, "
        f"{name}.ordinal, {name}.absent, {name}.id, {name}.object]"
    )


def expanded(text: str) -> str:
    """Write out in a query what many share."""
    return _MACRO.sub(_expand, text)


@lru_cache(maxsize=_TEXTS_MAX)
def as_sent(text: str) -> LiteralString:
    """Let a query read its parameters from the one map `asked`.

    The server keeps a plan for the sizes of the lists and texts that it is asked with: none, one, up to ten, up to a
    hundred. Writing a group takes 18 lists, and so was planned anew, for seconds, nearly each time; of a map it does
    not look at the sizes.
    """
    return cast("LiteralString", _PARAMETER.sub(r"$asked.\1", text))


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is: the driver's address, who asks, and the database's name (None: the user's own).

    Attributes:
        timeout_s: how long one transaction may take; a connection that is silent for longer is given up.
    """

    uri: str
    user: str
    password: str
    database: str | None
    timeout_s: float = _TIMEOUT_S

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``neo4j://user:password@host:7687/database?timeout=60``. Raises InvalidError (``store.url_invalid``)."""
        form = (
            "neo4j://user:password@host:7687/database (neo4j+s:// with TLS, bolt:// without routing; ?timeout=SECONDS "
            "for how long a transaction may take)"
        )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidError(f"the address cannot be read: {error}; use {form}", code="store.url_invalid") from error
        database = parts.path.strip("/")
        asked = parse_qsl(parts.query, keep_blank_values=True)
        known = [name for name, _ in asked] in ([], ["timeout"])
        if parts.scheme not in _SCHEMES or not parts.hostname or "/" in database or not known or parts.fragment:
            msg = f"this is not the address of a Neo4j database; use {form}"
            raise InvalidError(msg, code="store.url_invalid")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        uri = f"{parts.scheme}://{host}:{port or 7687}"
        user, password = unquote(parts.username or "neo4j"), unquote(parts.password or "")
        timeout_s = _seconds(asked[0][1]) if asked else _TIMEOUT_S
        return cls(uri, user, password, unquote(database) or None, timeout_s)

    @property
    def shown(self) -> str:
        """The address without the password."""
        scheme, _, rest = self.uri.partition("://")
        return f"{scheme}://{quote(self.user)}@{rest}/{quote(self.database or '')}".rstrip("/")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    # Not a number is no more than anything, either.
    if not 1 <= seconds <= _TIMEOUT_S_MAX:
        msg = f"the timeout {text[:80]!r} in the store's address is no number of seconds from 1 to {_TIMEOUT_S_MAX:g}"
        raise InvalidError(msg, code="store.url_invalid")
    return seconds


def head_of(row: Row) -> Head:
    """Read the columns seq, recorded_at, hash, writer."""
    return Head(row[0], row[1], bytes(row[2]), row[3])


class Engine:
    """One database, shared by every handle of the process."""

    def __init__(self, address: Address) -> None:
        """Take the address; the first use connects."""
        self.address = address
        self.read_only = False
        self.retries = 0
        self.lost_replies = 0
        self.tenants_met: set[str] = set()
        self.takes = Takes()
        self.lookout = Lookout()
        self.id = os.urandom(8).hex()
        self._whole: dict[tuple[int, str], Head] = {}
        self._queries = {name: expanded(text) for name, text in _all_queries().items()}
        self._lock = threading.Lock()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="latewood-neo4j-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="latewood-neo4j-reader")
        self._closed = False
        logging.getLogger("neo4j").setLevel(logging.ERROR)
        silent_s = address.timeout_s + _GRACE_S
        try:
            self._driver: Driver = GraphDatabase.driver(  # pyright: ignore[reportUnknownMemberType]
                address.uri, auth=(address.user, address.password), connection_timeout=_CONNECT_S,
                connection_acquisition_timeout=min(_READY_S, silent_s), connection_write_timeout=address.timeout_s,
                max_connection_pool_size=2 * _READERS + 4,
                liveness_check_timeout=30, max_transaction_retry_time=0, user_agent="latewood",
                notifications_min_severity=NotificationMinimumSeverity.OFF, telemetry_disabled=True,
            )  # fmt: skip
        except (ConfigurationError, ValueError) as error:
            msg = f"{address.shown} cannot be used: {error}"
            raise InvalidError(msg, code="store.url_invalid") from error
        limit_silence(self._driver, silent_s)

    def composed(self, name: str, **parts: str) -> str:
        """Return the query *name* with its ``{parts}`` written out; never with words of a caller."""
        text = self._queries[name]
        for part, written in parts.items():
            text = text.replace("{" + part + "}", written)
        return expanded(text)

    def _translate(self, error: Exception) -> LatewoodError:
        """Say in our words what Neo4j or its driver reports."""
        where = self.address.shown
        if isinstance(error, AuthError):
            msg = f"{where} refused the user or the password; check them in the store's address"
            return UnavailableError(msg, code="store.login")
        if isinstance(error, ClientError) and "DatabaseNotFound" in (error.code or ""):
            msg = f"{where}: there is no such database; leave the name out to use the server's own"
            return InvalidError(msg, code="store.url_invalid")
        if isinstance(error, Neo4jError) and "TransactionTimedOut" in (error.code or ""):
            msg = (
                f"{where} did not finish this within {self.address.timeout_s:g} s; nothing was kept. Ask for less, or "
                "allow more with ?timeout=SECONDS in the store's address"
            )
            return UnavailableError(msg, code="store.timeout")
        made = isinstance(error, Neo4jError) and "AlreadyExists" in (error.code or "")
        if made or isinstance(error, ConstraintError):
            return UnavailableError(f"another process wrote the same to {where}; try again", code="store.busy")
        if isinstance(error, TransientError):
            return UnavailableError(f"{where} is busy: {error.message}; try again", code="store.busy")
        if isinstance(error, Neo4jError) and ("ReadOnly" in (error.code or "") or "NotALeader" in (error.code or "")):
            return UnavailableError(f"{where} is read-only here; nothing was written", code="store.read_only")
        if isinstance(error, Neo4jError) and "General.OutOfDisk" in (error.code or ""):
            return UnavailableError(f"the disk of {where} is full; free space, then repeat", code="disk.full")
        if isinstance(error, ServiceUnavailable | SessionExpired | DriverError | OSError):
            said = f"{type(error).__name__}: {error}"[:300]
            return UnavailableError(
                f"{where} cannot be reached ({said}); nothing was accepted", code="store.unavailable"
            )
        if isinstance(error, Neo4jError) and "DatabaseUnavailable" in (error.code or ""):
            return UnavailableError(f"{where} is not available: {error.message}", code="store.unavailable")
        said = f"{error.code}: {error.message}" if isinstance(error, Neo4jError) else repr(error)
        return LatewoodError(f"Neo4j failed: {said}"[:2_000], code="internal")

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError(f"the store on {self.address.shown} is closed; open it again", code="store.closed")

    def _session(self, access: str) -> Session:
        return self._driver.session(  # pyright: ignore[reportUnknownMemberType]
            database=self.address.database, default_access_mode=access, fetch_size=5_000
        )

    def once(self, text: str, **parameters: object) -> list[Row]:
        """Run a statement of the schema in its own transaction."""
        try:
            with self._session(WRITE_ACCESS) as session:
                return [record.values() for record in session.run(cast("LiteralString", text), dict(parameters))]
        except (Neo4jError, DriverError, OSError) as error:
            raise self._translate(error) from error

    def run(self, work: Callable[[Query], T], *, write: bool) -> T:
        """Run *work* in one transaction, in the calling thread.

        Raises:
            LostReplyError: the connection broke during the commit of a write.
        """
        access = WRITE_ACCESS if write else READ_ACCESS
        session = self._session(access)
        committing = False
        try:
            with session, begin(session, timeout_s=self.address.timeout_s) as transaction:

                def query(name: str, /, **parameters: object) -> list[Row]:
                    text = self._queries.get(name) or name
                    result = transaction.run(as_sent(text), {"asked": parameters})
                    return [record.values() for record in result]

                answer = work(query)
                committing = write
                transaction.commit()
        except (Neo4jError, DriverError, OSError) as error:
            if committing and not isinstance(error, Neo4jError):
                with self._lock:
                    # It may have been kept: what is whole is no longer known from this process's own commits.
                    self._whole.clear()
                msg = f"the connection to {self.address.shown} broke while it committed; ask for the receipt"
                raise LostReplyError(msg, code="store.unavailable") from error
            raise self._translate(error) from error
        return answer

    def _retrying(self, work: Callable[[Query], T], *, write: bool, give_up: float) -> T:
        """Run *work*, again when nothing was kept, the reason passes by itself and it is not yet *give_up*.

        Raises:
            UnavailableError: code ``store.busy`` when it has waited for its turn until then.
        """
        if time.monotonic() >= give_up:
            msg = f"{self.address.shown} is busy: this waited {self.address.timeout_s:g} s for its turn; try again"
            raise UnavailableError(msg, code="store.busy")
        for left in reversed(range(_RETRIES)):
            try:
                return self.run(work, write=write)
            except LostReplyError:
                self.lost_replies += 1
                raise
            except UnavailableError as error:
                passing = error.code == "store.busy" or (error.code == "store.unavailable" and not write)
                if not left or not passing or time.monotonic() >= give_up:
                    raise
                with self._lock:
                    self.retries += 1
                time.sleep(0.05 * (_RETRIES - left))
        raise AssertionError

    def whole(self, space: int, ledger: str, head: Head) -> None:
        """Note that everything up to *head* is wholly visible: its commit ended, or its lock was ours afterwards."""
        with self._lock:
            known = self._whole.get((space, ledger))
            if known is None or known.seq < head.seq:
                self._whole[space, ledger] = head

    def bounds(self, space: int, seen: Mapping[LedgerName, Head]) -> dict[LedgerName, Head]:
        """Return the heads that bound a read which saw *seen*.

        Neo4j shows a commit piece by piece while it is applied, so a head may be seen before the rows that it stands
        for. Of this process's own commits the last whole one is known; for another's, the lock is waited for.
        """
        found: dict[LedgerName, Head] = {}
        for ledger, head in seen.items():
            known = self._whole.get((space, ledger))
            if head.seq == 0 or (known is not None and head.seq <= known.seq):
                found[ledger] = head
            elif known is not None and head.writer == self.id:
                found[ledger] = known
            else:
                # Both from under one lock: of two moments, they might bound facts and nodes differently.
                return {ledger: one for ledger, one in self._locked(space).items() if ledger in seen}
        return found

    def _locked(self, space: int) -> dict[LedgerName, Head]:
        """Return the heads of a space at an instant at which nobody writes to it."""
        with self._session(WRITE_ACCESS) as session, begin(session, timeout_s=self.address.timeout_s) as transaction:
            text = cast("LiteralString", self._queries["lock_first"])
            rows = transaction.run(text, space=space, first=LEDGERS[0], lock=self.id).values()
            transaction.rollback()
        heads: dict[LedgerName, Head] = {row[0]: head_of(row[1:]) for row in rows}
        for ledger, head in heads.items():
            self.whole(space, ledger, head)
        return heads

    async def read(self, work: Callable[[Query], T]) -> T:
        """Run *work* in a reader thread."""
        self._check_open()
        loop, give_up = asyncio.get_running_loop(), time.monotonic() + self.address.timeout_s
        return await loop.run_in_executor(self._readers, lambda: self._retrying(work, write=False, give_up=give_up))

    async def write(self, work: Callable[[Query], T]) -> T:
        """Run *work* in the writer thread, in one transaction that is kept whole or not at all."""
        self._check_open()
        loop, give_up = asyncio.get_running_loop(), time.monotonic() + self.address.timeout_s
        return await loop.run_in_executor(self._writer, lambda: self._retrying(work, write=True, give_up=give_up))

    async def call(self, work: Callable[[], T]) -> T:
        """Run *work*, which makes its own transactions, in the writer thread."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def close(self) -> None:
        """Finish what runs and close the driver."""
        await asyncio.to_thread(self.shut)

    def shut(self) -> None:
        """Close, in the calling thread."""
        if self._closed:
            return
        self._closed = True
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._driver.close()
