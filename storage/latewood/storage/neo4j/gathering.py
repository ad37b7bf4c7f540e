"""What a group of units knows of the database while it is written: read at once, and kept up to date in memory."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from latewood.graph_schema.clock import Clock, Micros
from latewood.graph_schema.commands import Assert, Declare, Unit
from latewood.graph_schema.errors import CorruptError, RefusedError
from latewood.graph_schema.events import Event
from latewood.graph_schema.ids import is_id, normal_id
from latewood.graph_schema.ledger import op_hash
from latewood.graph_schema.model import LEDGERS, Cardinality, LedgerName, NodeKind, Predicate
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.resolution import Claim, Stretch, Window
from latewood.graph_schema.values import Json, normal_key
from latewood.storage.fences import LeaseRow
from latewood.storage.merging import pull_in
from latewood.storage.names import competes_for, predicate_key, unknown_space
from latewood.storage.needing import needs_of
from latewood.storage.neo4j import statuses
from latewood.storage.neo4j.database import Engine, Query, Row, head_of
from latewood.storage.neo4j.erasing import find
from latewood.storage.neo4j.keys import FactRef, ImageRows, KeyImage, WindowRows, claim_of, load_images, tail_row
from latewood.storage.neo4j.pending import Pending
from latewood.storage.plans import last_recorded, predicate_of, recorded_time
from latewood.storage.rows import FactRow, Known, Needs, NodeRow, SpaceRow
from latewood.storage.settling import KeyRows, KeyState

__all__ = [
    "LEDGER_NUMBER", "Cache", "Group", "LazyRows", "LedgerHead", "SpaceHeads", "locked_heads", "node_row", "space_row",
]  # fmt: skip

LEDGER_NUMBER: Final[Mapping[LedgerName, int]] = {name: number for number, name in enumerate(LEDGERS)}
_CACHED_MAX: Final = 50_000
_NOTHING: Final[Mapping[str, Sequence[object]]] = dict.fromkeys(("heads", "guards", "ops", "units", "keys", "ids"), ())


def space_row(row: Row) -> tuple[int, SpaceRow]:
    """Read the space columns of a row."""
    number, space_id, name, secret, strict, state, filling = row[:7]
    return number, SpaceRow(space_id, name, bytes(secret), strict, state, filling)


def node_row(row: Row) -> NodeRow:
    """Read the `node` columns of a row."""
    node_id, kind, node_type, key, name, attributes, recorded_at, version = row[:8]
    read: dict[str, Json] | None = json.loads(attributes) if attributes != "{}" else {}
    # Attributes that are null mark a tombstone.
    return NodeRow(node_id, NodeKind(kind), node_type, key, name, read or {}, recorded_at, version, read is None)


def _origin(attributes: str | None) -> str:
    """Return the origin of the source that a fact was said by, empty where that was erased."""
    found: dict[str, Json] | None = None if attributes is None else json.loads(attributes)
    return str((found or {}).get("origin", ""))


@dataclass(slots=True)
class Cache:
    """What the writer knows of the database without looking: of a space, as long as nobody else moved its heads.

    Attributes:
        spaces: (tenant, name) to a space's number and secret, as they were.
        heads: (space, ledger) to the seq after this process's last group, and how often its views were rebuilt.
    """

    spaces: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict[tuple[str, str], tuple[int, bytes]])
    heads: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict[tuple[int, str], tuple[int, int]])
    nodes: dict[tuple[int, str], NodeRow] = field(default_factory=dict[tuple[int, str], NodeRow])
    keys: dict[tuple[int, str], KeyImage] = field(default_factory=dict[tuple[int, str], KeyImage])

    def clear(self) -> None:
        """Forget everything."""
        self.spaces.clear()
        self.heads.clear()
        self.nodes.clear()
        self.keys.clear()

    def check(self, heads: Mapping[tuple[int, str], tuple[int, int]]) -> bool:
        """Forget everything when a head moved under it, or when it has grown too large; tell whether it was good."""
        moved = any(self.heads.get(one, head) != head for one, head in heads.items())
        unknown = any(one not in self.heads for one in heads)
        good = not (moved or unknown or len(self.nodes) > _CACHED_MAX or len(self.keys) > _CACHED_MAX)
        if not good:
            self.clear()
        self.heads.update(heads)
        return good


@dataclass(slots=True)
class LedgerHead:
    """The head of a ledger while a group is written."""

    name: LedgerName
    seq: int
    hash: bytes
    recorded_at: Micros
    rebuilds: int = 0
    moved: bool = False

    def place(self, seq: int) -> int:
        """Return the number under which the row *seq* is known in its space."""
        return 2 * seq + LEDGER_NUMBER[self.name]


@dataclass(slots=True)
class SpaceHeads:
    """A space that the group writes to, with the heads of the ledgers that it locked."""

    number: int
    row: SpaceRow
    ledgers: dict[LedgerName, LedgerHead] = field(default_factory=dict[LedgerName, LedgerHead])


def _both(names: Iterable[str]) -> list[list[str]]:
    return [[name, ledger] for name in names for ledger in LEDGERS]


def locked_heads(query: Query, tenant: str, space: str) -> list[Row]:
    """Lock both heads of a space by its name, and return them with it (the `head` columns); none where it is not."""
    return query("lock_heads", tenant=tenant, heads=_both([space]), lock=0)


def _needs(unit: Unit) -> Needs | None:
    """Name what a unit needs; of one that cannot be read None: its own turn will say so."""
    try:
        return needs_of(unit)
    except RefusedError:
        return None


def _asked(
    needs: Sequence[tuple[Unit, Needs | None]], spaces: Mapping[str, tuple[int, bytes]], cache: Cache
) -> Mapping[str, list[list[object]]]:  # fmt: skip
    """Name what planning units needs and nobody remembers, with the numbers and secrets of their spaces."""
    wanted: dict[str, set[tuple[int, str]]] = {name: set() for name in ("guards", "ops", "units", "keys", "ids")}
    for unit, need in needs:
        if unit.space not in spaces:
            continue
        n, secret = spaces[unit.space]
        if unit.guard is not None:
            wanted["guards"].add((n, unit.guard.name))
        if need is None:
            continue
        try:
            op = None if unit.op is None else op_hash(secret, unit.op).hex()
        except RefusedError:
            # Its own turn will say so.
            continue
        wanted["units"].add((n, unit.id))
        if op is not None:
            wanted["ops"].add((n, op))
        keys = {*need.keys, *(normal_key(predicate_key(name)) for name in need.predicates)}
        fresh = bool(unit.expects)
        wanted["keys"] |= {(n, key) for key in keys if fresh or (n, key) not in cache.nodes}
        wanted["ids"] |= {(n, normal_id(one)) for one in need.ids | need.facts | need.fresh if is_id(one)}
    return {name: [list(one) for one in sorted(some)] for name, some in wanted.items()}


class Group:
    """The state of one group, made for one transaction and thrown away.

    Attributes:
        facts: (space, fact id) to what a plan must know of it, where its rows hang, and its place.
        ops, units: what was kept under an idempotency key or a unit's id: (body, receipt).
        touched: (space, node id) to the place of the last event about a node that the group changed.
        leases: (space, name) to a lease that a unit is written under, locked.
        unmade: keys that were looked for and are not there, but for what the group made since.
        dirty: keys that the group changed and did not write yet.
    """

    def __init__(
        self, query: Query, engine: Engine, cache: Cache, tenant: str, clock: Clock, words: Vocabulary
    ) -> None:
        """Work through *query*, which is inside a transaction of *engine*."""
        self.query = query
        self._engine = engine
        self.cache = cache
        self.words = words
        self._tenant = tenant
        self._clock = clock
        self.spaces: dict[str, SpaceHeads] = {}
        self.by_id: dict[tuple[int, str], NodeRow] = {}
        self.fresh: dict[tuple[int, str], NodeRow] = {}
        self.touched: dict[tuple[int, str], int] = {}
        self.facts: dict[tuple[int, str], tuple[FactRow, FactRef, int]] = {}
        self.ops: dict[tuple[int, str], tuple[bytes, str]] = {}
        self.units: dict[tuple[int, str], tuple[bytes, str]] = {}
        self.leases: dict[tuple[int, str], LeaseRow] = {}
        self.unmade: set[tuple[int, str]] = set()
        self.pending = Pending()
        self.dirty: list[KeyImage] = []
        self._restated: dict[int, set[str]] = {}

    def open(self, units: Sequence[Unit]) -> None:
        """Lock both heads of the units' spaces and their leases, and read what planning needs, mostly all at once.

        At once where the spaces are remembered: what is read for another number or secret, or beside what is no longer
        to be remembered, is read again under the lock.
        """
        needs = [(unit, _needs(unit)) for unit in units]
        names = sorted({unit.space for unit in units})
        guessed = {name: one for name in names if (one := self.cache.spaces.get((self._tenant, name))) is not None}
        asked = _asked(needs, guessed, self.cache) if len(guessed) == len(names) else None
        found = self._look_up(heads=_both(names), **(asked or {}))
        good = self._heads(found[0])
        known = {name: (one.number, one.row.secret) for name, one in self.spaces.items()}
        if asked is None or guessed != known or not good:
            found = self._look_up(**_asked(needs, known, self.cache))
        self._read(found)
        self.cache.spaces.update({(self._tenant, name): one for name, one in known.items()})
        predicates = {(n, normal_key(predicate_key(row.predicate))) for (n, _), (row, _, _) in self.facts.items()}
        missing = sorted(one for one in predicates if one not in self.cache.nodes)
        if missing:
            self._read(self._look_up(keys=[list(one) for one in missing]))
        self._images(needs)

    def lock(self, name: str) -> None:
        """Lock both heads of a space by its name, and read them.

        Both, whichever is written to: nodes and keys are the space's, and what is remembered of them is good for as
        long as neither ledger went on without it.
        """
        self._heads(locked_heads(self.query, self._tenant, name))

    def _look_up(self, **asked: Sequence[object]) -> Row:
        return self.query("look_up", tenant=self._tenant, lock=self._clock.now(), **{**_NOTHING, **asked})[0]

    def _heads(self, rows: Iterable[Row]) -> bool:
        """Take in locked heads; tell whether what is remembered of their spaces is good."""
        for row in rows:
            number, space = space_row(row)
            found = self.spaces.setdefault(space.name, SpaceHeads(number, space))
            ledger, head = row[7], head_of(row[8:])
            found.ledgers[ledger] = LedgerHead(ledger, head.seq, head.hash, head.recorded_at, row[12])
            # Whoever wrote it let go of the lock: all of it is there.
            self._engine.whole(number, ledger, head)
        return self.cache.check({
            (space.number, ledger.name): (ledger.seq, ledger.rebuilds) for space in self.spaces.values()
            for ledger in space.ledgers.values()
        })  # fmt: skip

    def space(self, name: str) -> SpaceHeads:
        """Return a locked space. Raises NotFoundError (``space.unknown``)."""
        found = self.spaces.get(name)
        if found is None:
            raise unknown_space(name, [row[2] for row in self.query("spaces", tenant=self._tenant)])
        return found

    def _read(self, found: Row) -> None:
        _, leases, replays, kept, by_key, by_id, facts = found
        for space, name, owner, fence, until in leases:
            self.leases[space, name] = LeaseRow(owner, fence or 0, until or 0)
        for space, op, body, receipt in replays:
            self.ops[space, op] = (bytes(body), receipt)
        for space, unit, body, receipt in kept:
            self.units[space, unit] = (bytes(body), receipt)
        for space, *row in by_key:
            self.cache.nodes[space, row[8]] = self.fresh[space, row[8]] = node_row(row)
        for space, *row in by_id:
            node = node_row(row)
            self.by_id[space, node.id] = node
        for space, fact_id, subject, predicate, key, tier, absent, *rest in facts:
            valid_from, retracted_at, place, target, valid_to, trust, known, payload, said_by = rest
            row = FactRow(
                fact_id, subject, predicate, bytes.fromhex(key), tier, absent, valid_from, retracted_at, valid_to,
                trust, known, json.loads(payload) if payload else {}, _origin(said_by),
            )  # fmt: skip
            self.facts[space, fact_id] = (row, FactRef(fact_id, target), place)

    def read_ids(self, ids: Iterable[tuple[int, str]]) -> None:
        """Read nodes and assertions by their ids."""
        listed = [list(one) for one in sorted(ids)]
        if listed:
            self._read(self._look_up(ids=listed))

    def _images(self, needs: Iterable[tuple[Unit, Needs | None]]) -> None:
        """Read the keys that the group will most likely touch."""
        wanted: set[tuple[int, str]] = set()
        loaded: set[tuple[int, str]] = set()
        for unit, need in needs:
            space = self.spaces.get(unit.space)
            if space is None or need is None:
                continue
            n = space.number
            fresh = {one.id for one in unit.commands if isinstance(one, Declare) and (n, one.id) not in self.by_id}
            for command in unit.commands:
                if isinstance(command, Assert):
                    key = self._key_of(space, command, fresh)
                    if key is not None:
                        wanted.add((space.number, key))
            for fact_id in need.facts:
                found = self.facts.get((space.number, normal_id(fact_id))) if is_id(fact_id) else None
                if found is not None:
                    loaded.add((space.number, found[0].key.hex()))
        self.load_states(wanted | loaded)
        images = [self.cache.keys[one] for one in sorted(loaded) if one in self.cache.keys]
        load_images(self.query, [image for image in images if image.claims is None and not image.long])

    def _key_of(self, space: SpaceHeads, command: Assert, fresh: Container[str]) -> str | None:
        """Return the key that an assertion will compete for when all it names is there already, else None.

        Of the nodes in *fresh*, which the unit itself declares, nothing can have been said.
        """
        n, nodes = space.number, self.cache.nodes
        ids: list[str] = []
        for ref in (command.subject, command.object):
            if ref is None:
                continue
            if ref.id is not None:
                ids.append(ref.id)
                continue
            node = None if ref.key is None else nodes.get((n, normal_key(ref.key)))
            if node is None:
                return None
            ids.append(node.id)
        predicate = self.words.predicates.get(command.predicate)
        if predicate is None:
            node = nodes.get((n, normal_key(predicate_key(command.predicate))))
            if node is None:
                return None
            predicate = predicate_of(node.attributes)
        target = ids[1] if len(ids) > 1 else None
        if ids[0] in fresh or (ids[-1] in fresh and predicate.cardinality is Cardinality.MULTI):
            return None
        return competes_for(space.row.secret, self.words, ids[0], predicate, command.value, target).hex()

    def load_states(self, keys: Iterable[tuple[int, str]]) -> None:
        """Read the states of keys that are not known yet; what is not there is a new key."""
        missing = sorted(one for one in keys if one not in self.cache.keys and one not in self.unmade)
        if not missing:
            return
        self.unmade.update(missing)
        rows = self.query("key_states", keys=[list(one) for one in missing])
        for space, key, subject, predicate, origin, contested, top, numbers, ids in rows:
            image = KeyImage(space, key, subject, predicate, KeyState(0, bytes(origin), contested, top))
            tail = tail_row(numbers, ids)
            if tail is not None:
                claim, row, ref = tail
                image.state.tail = (claim, row)
                image.facts[claim.fact] = ref
            self.cache.keys[space, key] = image
            self.unmade.discard((space, key))

    def known(self, space: SpaceHeads, ledger: LedgerHead, unit: Unit) -> Known:
        """Return what planning *unit* needs, as the units before it in the group left it."""
        n, needs = space.number, needs_of(unit)
        head = last_recorded(unit, space.row, {name: one.recorded_at for name, one in space.ledgers.items()})
        facts: dict[str, FactRow] = {}
        holders: dict[tuple[str, Micros | None], str | None] = {}
        for asked in needs.facts | needs.ids:
            found = self.facts.get((n, normal_id(asked))) if is_id(asked) else None
            if found is not None:
                facts[asked] = found[0]
        for fact_id, at in needs.ends:
            if fact_id in facts:
                instant = recorded_time(unit, space.row, head, self._clock.now()) if at is None else at
                holders[fact_id, at] = self._holder(n, facts[fact_id].key.hex(), instant)
        names = {*needs.predicates, *(facts[one].predicate for one in needs.facts if one in facts)}
        keys = [*needs.keys, *(normal_key(predicate_key(name)) for name in names)]
        by_key = {key: node for key in keys if (node := self._node(n, key, fresh=bool(unit.expects))) is not None}
        by_id = {
            asked: self._versioned(n, self.by_id[n, normal_id(asked)])
            for asked in needs.ids if is_id(asked) and (n, normal_id(asked)) in self.by_id
        }  # fmt: skip
        pull_in(by_key.values(), by_id, lambda ids: self._merged(n, ids))
        predicates: dict[str, Predicate] = {}
        for node in by_key.values():
            if node.kind is NodeKind.PREDICATE:
                one = predicate_of(node.attributes)
                predicates[one.name] = one
        erasing = None
        if needs.erase is not None and is_id(needs.erase):
            erasing = find(self.query, n, ledger.name, normal_id(needs.erase))
        taken = {one for one in needs.fresh if (n, one) in self.facts or (n, one) in self.by_id}
        return Known(space.row, head, by_key, by_id, facts, predicates, holders, erasing, taken)

    def _merged(self, n: int, ids: set[str]) -> dict[str, NodeRow]:
        """Return nodes that others were merged into."""
        self.read_ids((n, one) for one in ids if (n, one) not in self.by_id)
        return {one: self._versioned(n, self.by_id[n, one]) for one in ids if (n, one) in self.by_id}

    def _node(self, n: int, key: str, *, fresh: bool) -> NodeRow | None:
        # Only a node that a unit names can be expected at a version; the group read those afresh.
        node = (self.fresh.get((n, key)) if fresh else None) or self.cache.nodes.get((n, key))
        return None if node is None else self._versioned(n, node)

    def _versioned(self, n: int, node: NodeRow) -> NodeRow:
        place = self.touched.get((n, node.id))
        return node if place is None else replace(node, version=place // 2)

    def rows(self, image: KeyImage) -> KeyRows:
        """Return what is stored of a key, loading it when it was not."""
        if image.claims is None and image.dirty:
            self.flush()
        if image.claims is None and not image.long:
            load_images(self.query, [image])
        if image.claims is not None:
            return ImageRows(image)
        return WindowRows(self.query, image)

    def _holder(self, n: int, key: str, instant: Micros) -> str | None:
        self.load_states([(n, key)])
        image = self.cache.keys[n, key]
        tail = image.state.tail
        if tail is not None and tail[0].valid_from <= instant:
            return image.facts[tail[0].fact].id
        best = max(self.rows(image).covering(instant), key=lambda claim: claim.rank, default=None)
        return None if best is None else image.facts[best.fact].id

    def claim(self, image: KeyImage, fact_id: str) -> Claim:
        """Return the claim of a fact. Raises CorruptError when the view has lost it."""
        place = self.facts[image.space, normal_id(fact_id)][2]
        self.rows(image)
        for claim in image.claims or ():
            if claim.fact == place:
                return claim
        if image.dirty:
            self.flush()
        rows = self.query("claim_of_fact", space=image.space, id=normal_id(fact_id))
        if not rows:
            raise CorruptError(f"the fact {fact_id} is not in the view; run `latewood doctor`")
        claim, ref = claim_of(rows[0][0])
        image.facts[claim.fact] = ref
        return claim

    def forget(self) -> None:
        """Forget nodes, facts and keys: what was erased must not be remembered."""
        self.cache.nodes.clear()
        self.cache.keys.clear()
        self.unmade.clear()
        self.fresh.clear()
        self.by_id.clear()
        self.facts.clear()

    def flush(self) -> None:
        """Write what waits."""
        pending = self.pending
        for image in self.dirty:
            pending.key(image)
            image.dirty = False
        self.dirty = []
        for (space, node_id), place in self.touched.items():
            pending.versions.append({"space": space, "id": node_id, "version": place // 2, "touched": place})
        for space in self.spaces.values():
            for ledger in space.ledgers.values():
                if ledger.moved:
                    pending.heads.append({
                        "space": space.number, "ledger": ledger.name, "seq": ledger.seq, "hash": ledger.hash,
                        "recorded_at": ledger.recorded_at, "writer": self._engine.id,
                    })  # fmt: skip
                    ledger.moved = False
                    self.cache.heads[space.number, ledger.name] = (ledger.seq, ledger.rebuilds)
        if pending.events or pending.receipts:
            self.query("keep", **cast("dict[str, Any]", pending.parameters()))
        self.pending = Pending()
        for n, ids in self._restated.items():
            last = max(
                ledger.recorded_at for one in self.spaces.values() if one.number == n for ledger in one.ledgers.values()
            )
            statuses.restate(self.query, n, ids, last)
        self._restated.clear()

    def note_status(self, image: KeyImage, told: Mapping[int, Event], recorded_at: Micros) -> None:
        """Note what a key that a unit changed says of the status of its node, if it is the key of one."""
        if not statuses.is_status(image):
            return
        status = statuses.plain(image, told, recorded_at)
        if status is None:
            self._restated.setdefault(image.space, set()).add(image.subject)
        else:
            self.pending.status(image.space, image.subject, status, recorded_at)


class LazyRows:
    """The rows of a key, loaded only when settling asks: a change that follows the tail never does."""

    def __init__(self, group: Group, image: KeyImage) -> None:
        """Stand for the rows of *image*."""
        self._group = group
        self._image = image

    def covering(self, instant: Micros) -> Iterable[Claim]:
        """Return the claims whose period covers *instant*, the latest start first."""
        return self._group.rows(self._image).covering(instant)

    def starting(self, window: Window, least: int) -> Iterable[Claim]:
        """Return the claims of class *least* or higher that start inside the window, earliest first."""
        return self._group.rows(self._image).starting(window, least)

    def live(self, window: Window) -> Iterable[Stretch]:
        """Return the live rows that overlap the window; others may be among them."""
        return self._group.rows(self._image).live(window)
