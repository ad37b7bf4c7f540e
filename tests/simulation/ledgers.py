"""What must be true of a store after any fault: the chain, whole units, no unit twice, and views that equal the ledger.

The views are judged by the reference store, rebuilt here from the ledger alone, over every read that a caller can make.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from latewood.graph_schema.clock import AsOf, Micros, from_micros
from latewood.graph_schema.events import EventKind, LedgerEntry
from latewood.graph_schema.model import LEDGERS, LedgerName, NodeKind
from latewood.storage.port import PAGE_MAX, FactQuery, GraphStore, NodeQuery, Page, Point
from latewood.storage.reference import ReferenceStore
from latewood.storage.reference_space import SpaceLog
from latewood.storage.replaying import LedgerRow
from latewood.storage.rows import NodeRow, SpaceRow

T = TypeVar("T")
_PART: Final = 500
_INSTANTS: Final = 4
_WORDS: Final = ("decision", "basalt", "item")


async def rows(store: GraphStore, space: str, ledger: LedgerName = "knowledge") -> list[LedgerEntry]:
    """Read a ledger from its first row to its last."""
    found: list[LedgerEntry] = []
    while page := await store.feed(space, ledger, len(found), PAGE_MAX):
        found += page
    return found


async def rebuilt(store: GraphStore, space: str) -> ReferenceStore:
    """Build a reference store from what the ledgers of a space say, and from nothing else."""
    (shown,) = [one for one in await store.spaces() if one.name == space]
    log = SpaceLog(SpaceRow(shown.id, shown.name, b"", shown.strict, shown.state, shown.filling))
    entries = [entry for ledger in LEDGERS for entry in await rows(store, space, ledger)]
    for entry in sorted(entries, key=lambda one: one.written_at):
        event = entry.event
        log.ledgers[entry.ledger].append(entry)
        log.log.append(entry)
        if event.kind is EventKind.DECLARED:
            said = event.payload
            key, attributes = said.get("key"), said.get("attributes")
            log._declare(
                NodeRow(
                    event.id, NodeKind(str(said["kind"])), str(said["type"]), None if key is None else str(key),
                    str(said["name"]), attributes if isinstance(attributes, dict) else {}, entry.recorded_at, entry.seq,
                )
            )  # fmt: skip
        elif event.kind is EventKind.RETRACTED:
            assert event.target is not None
            log._retract(event.target, entry)
        elif event.key is not None:
            log._claim(event.key, entry)
        if event.subject in log.nodes:
            log.nodes[event.subject] = replace(log.nodes[event.subject], version=entry.seq)
    reference = ReferenceStore(tenant=store.tenant)
    reference._data.spaces[store.tenant, space] = log
    return reference


async def replayed(store: GraphStore, space: str) -> ReferenceStore:
    """Let a reference store replay the ledgers of a space, as an import does."""
    reference = ReferenceStore(tenant=store.tenant)
    await reference.restore(await store.image(space))
    for ledger in LEDGERS:
        listed: list[LedgerRow] = []
        while page := await store.ledger_rows(space, ledger, len(listed)):
            listed += page
        if listed:
            await reference.replay(space, listed)
    return reference


async def _pages(read: Callable[[str | None], Awaitable[Page[T]]]) -> list[T]:
    found: list[T] = []
    after: str | None = None
    while True:
        page = await read(after)
        found += page.items
        after = page.next
        if after is None:
            return found


def _instants(entries: Sequence[LedgerEntry]) -> list[AsOf]:
    """A few instants at which to ask, the last of them after everything."""
    times = sorted({entry.recorded_at for entry in entries})
    chosen = [times[place * (len(times) - 1) // _INSTANTS] for place in range(_INSTANTS + 1)] if times else []
    pairs = [(one - late, known) for one in chosen for late in (0, 1) for known in (one, times[-1])]
    return [AsOf(from_micros(valid), from_micros(known)) for valid, known in dict.fromkeys(pairs)]


async def check_views(store: GraphStore, space: str) -> None:
    """Compare every kind of read with the reference, rebuilt from the ledger."""
    entries = await rows(store, space)
    # What an erasure left is not made of the rows alone that are left, so it is replayed.
    erased = any(entry.erased for entry in entries)
    reference = await (replayed if erased else rebuilt)(store, space)

    async def same(what: str, ask: Callable[[GraphStore], Awaitable[T]]) -> T:
        expected, found = await ask(reference), await ask(store)
        assert found == expected, f"{what}:\n ledger {expected!r:.2000}\n view   {found!r:.2000}"
        return found

    nodes = await same("nodes", lambda one: _pages(
        lambda after: one.list_nodes(space, NodeQuery(first=_PART, after=after))))  # fmt: skip
    ids = sorted({entry.event.subject for entry in entries})
    facts = [entry.event.id for entry in entries if entry.event.key is not None]
    facts = [one for one in facts if one]
    end: Micros = entries[-1].recorded_at if entries else 0
    (shown,) = [one for one in await store.spaces() if one.name == space]
    (known,) = [one for one in await reference.spaces() if one.name == space]
    assert shown == known
    await same("predicates", lambda one: one.predicates(space))
    for part in (ids[start : start + _PART] for start in range(0, len(ids), _PART)):
        await same("nodes by id", lambda one, p=part: one.nodes(space, ids=p))
        for at in _instants(entries):
            await same("facts", lambda one, p=part, a=at: one.facts(space, FactQuery(subjects=p), a))
            await same("pointing at", lambda one, p=part, a=at: one.facts(space, FactQuery(objects=p), a))
        await same("timeline", lambda one, p=part: _pages(
            lambda after: one.timeline(space, p, first=_PART, after=after)))  # fmt: skip
    for part in (facts[start : start + _PART] for start in range(0, len(facts), _PART)):
        await same("facts by id", lambda one, p=part: one.facts_by_id(space, p))
        await same("held", lambda one, p=part: one.held(space, [Point(fact, end, end) for fact in p]))
    for axis in ("known", "valid"):
        await same(f"changes {axis}", lambda one, a=axis: _pages(
            lambda after: one.changes(space, -(2**62), end, axis=a, first=_PART, after=after)))  # fmt: skip
    if len(nodes) < PAGE_MAX:
        for word in _WORDS:
            await same(f"search {word}", lambda one, w=word: _searched(one, space, w))


async def _searched(store: GraphStore, space: str, word: str) -> list[str]:
    return sorted(hit.node.id for hit in await store.search_text(space, word, first=PAGE_MAX))


async def check_ledgers(store: GraphStore, space: str) -> dict[str, int]:
    """Check the chains, and that each unit is there whole, once and with its receipt; return seq by unit."""
    units: dict[str, int] = {}
    ops: set[bytes] = set()
    for ledger in LEDGERS:
        verdict = await store.verify(space, ledger)
        assert verdict.ok, verdict
        listed = await rows(store, space, ledger)
        assert len(listed) == verdict.rows
        own: dict[str, list[LedgerEntry]] = {}
        for entry in listed:
            own.setdefault(entry.unit, []).append(entry)
        for unit, parts in own.items():
            assert [part.event.ordinal for part in parts] == list(range(len(parts))), f"{unit} is partial"
            assert [part.seq for part in parts] == list(range(parts[0].seq, parts[0].seq + len(parts))), unit
            receipt = await store.receipt(unit)
            assert (receipt.state, receipt.seq) == ("stored", parts[-1].seq), unit
            assert unit not in units, f"{unit} is in both ledgers"
            units[unit] = parts[-1].seq
            op = parts[0].op
            assert op is None or op not in ops, f"{unit} is the second of its idempotency key"
            ops |= {op} if op is not None else set()
    return units


async def check_store(store: GraphStore, *spaces: str) -> dict[str, int]:
    """Check everything of the named spaces; return seq by unit."""
    units: dict[str, int] = {}
    for space in spaces or ("default",):
        units |= await check_ledgers(store, space)
        await check_views(store, space)
    return units
