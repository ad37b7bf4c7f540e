"""Leaving a store and coming into another: the image of a space, its ledger rows, and rows replayed verbatim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Erase, History
from latewood.graph_schema.errors import ConflictError, CorruptError, InvalidError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import LEDGERS, LedgerName, Trust
from latewood.storage.conformance.scene import MakeStore, Scene, at, day, opened, raised
from latewood.storage.port import PAGE_MAX, GraphStore, Scope
from latewood.storage.replaying import LedgerRow, SpaceImage

__all__ = ["CHECKS"]


@dataclass(frozen=True, slots=True)
class _Left:
    """What left a store: all that another one gets."""

    image: SpaceImage
    rows: Mapping[LedgerName, tuple[LedgerRow, ...]]

    @property
    def knowledge(self) -> tuple[LedgerRow, ...]:
        return self.rows["knowledge"]


async def _leave(store: GraphStore) -> _Left:
    rows: dict[LedgerName, tuple[LedgerRow, ...]] = {}
    for name in LEDGERS:
        found: list[LedgerRow] = []
        while page := await store.ledger_rows("default", name, len(found), PAGE_MAX):
            found += page
        rows[name] = tuple(found)
    return _Left(await store.image("default"), rows)


async def _elsewhere(scene: Scene) -> None:
    """Go on in an empty store, which may take the place of the scene's."""
    await scene.store.close()
    scene.store = await scene.make.fresh(clock=scene.clock, ids=scene.ids, words=scene.words)


async def _replay(scene: Scene, left: _Left, space: str = "default") -> int:
    return sum([await scene.store.replay(space, rows) for rows in left.rows.values() if rows])


async def _tell(scene: Scene) -> list[Receipt]:
    """Write what meets every kind of event, in both ledgers, with and without an idempotency key."""
    said = scene.say("thing:a", "rate", 1, start=day(-5), quote="as quoted")
    first = await scene.commit(scene.unit(said, op="op-1", body=1, origin="doc:one", session="s-1"))
    during = await scene.write(scene.say("thing:a", "rate", 2, start=day(10), end=day(20)))
    linked = await scene.write(scene.link("thing:a", "feeds", "thing:b"), scene.say("thing:b", "motto", "quiet otter"))
    ended = await scene.write(scene.end(first.facts[0], day(30), "closed"))
    taken = await scene.write(scene.retract(during.facts[0], "slip"))
    run = await scene.write(scene.say("run:1", "rate", 3), ledger="execution")
    return [first, during, linked, ended, taken, run]


async def _answers(scene: Scene) -> list[object]:
    """Read what a space holds, along both clocks."""
    store, keys = scene.store, ["thing:a", "thing:b", "run:1"]
    nodes = await store.nodes("default", keys=keys)
    ids = sorted(node.id for node in nodes.values())
    found: list[object] = [nodes, await store.predicates("default"), await store.timeline("default", ids, first=100)]
    for known in (None, *(day(n) + 1 for n in range(8))):
        found += [await scene.facts(key, None, day(v), known) for key in keys if key in nodes for v in (-9, 0, 15, 40)]
    found.append({hit.node.id for hit in await store.search_text("default", "otter", at=at())})
    actors = [node.id for node in (await store.nodes("default", keys=["agent:writer"])).values()]
    for scope in (Scope(), Scope(actors=actors, types=["thing"]), Scope(actors=ids)):
        matches = await store.match_text("default", "otter", scope=scope, at=at())
        found.append(({replace(one, score=0.0) for one in matches.items}, matches.hidden))
    return found


async def check_a_space_comes_back_row_by_row(make: MakeStore) -> None:
    """Rows, receipts, heads and every answer are those of the store that the space left; the chain verifies."""
    async with opened(make) as scene:
        receipts = await _tell(scene)
        left, before = await _leave(scene.store), await _answers(scene)
        await _elsewhere(scene)
        space = await scene.store.restore(left.image)
        count = await _replay(scene, left)

        assert (space.id, space.name, dict(space.seq)) == (left.image.id, "default", dict.fromkeys(LEDGERS, 0))
        assert count == sum(len(rows) for rows in left.rows.values())
        assert all(left.rows.values())
        assert await _leave(scene.store) == left
        assert await _answers(scene) == before
        assert [await scene.store.receipt(one.id) for one in receipts] == receipts
        assert all([(await scene.store.verify("default", name)).ok for name in LEDGERS])


async def check_receipts_stand_beside_the_last_row_of_their_unit(make: MakeStore) -> None:
    """Each unit's receipt leaves with it, once, however the rows are paged."""
    async with opened(make) as scene:
        receipts = [one for one in await _tell(scene) if one.ledger == "knowledge"]
        left = await _leave(scene.store)
        singly: list[LedgerRow] = []
        while page := await scene.store.ledger_rows("default", "knowledge", len(singly), 1):
            singly += page

        assert [row.receipt for row in left.knowledge if row.receipt is not None] == receipts
        assert [row.entry.seq for row in left.knowledge if row.receipt is not None] == [one.seq for one in receipts]
        assert tuple(singly) == left.knowledge


async def check_an_idempotency_key_answers_after_the_replay(make: MakeStore) -> None:
    """The same key and body gives the first receipt, another body is refused, and nothing is written."""
    async with opened(make) as scene:
        first, *_ = await _tell(scene)
        left = await _leave(scene.store)
        await _elsewhere(scene)
        await scene.store.restore(left.image)
        await _replay(scene, left)
        again = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), op="op-1", body=1))
        other = await scene.refusal(scene.unit(scene.say("thing:a", "rate", 1), op="op-1", body=2))

        assert again == replace(first, replayed=True)
        assert other.code == "idempotency.conflict"
        assert (await scene.store.image("default")).heads == left.image.heads


async def check_a_replay_that_stopped_goes_on(make: MakeStore) -> None:
    """Unit by unit, with rows that are there already passed over, the same space comes about."""
    async with opened(make) as scene:
        await _tell(scene)
        left, before = await _leave(scene.store), await _answers(scene)
        ends = [row.entry.seq for row in left.knowledge if row.receipt is not None]
        await _elsewhere(scene)
        counts: list[int] = []
        for end in ends:
            await scene.store.restore(left.image)
            counts.append(await scene.store.replay("default", left.knowledge[:end]))
        rest = await _replay(scene, left)

        assert counts == [end - start for start, end in zip([0, *ends], ends, strict=False)]
        assert rest == len(left.rows["execution"])
        assert await _replay(scene, left) == 0
        assert await scene.store.replay("default", ()) == 0
        assert await _leave(scene.store) == left
        assert await _answers(scene) == before


async def check_a_replayed_space_goes_on(make: MakeStore) -> None:
    """The next write follows the heads that came in, even with a clock that is behind, and closes what came in."""
    async with opened(make) as scene:
        await _tell(scene)
        left = await _leave(scene.store)
        await _elsewhere(scene)
        await scene.store.restore(left.image)
        await _replay(scene, left)
        scene.clock.advance(days=-90)
        receipt = await scene.commit(scene.unit(scene.say("thing:a", "rate", 9, start=day(1))))
        last = left.knowledge[-1].entry
        heads = [last.recorded_at, left.rows["execution"][-1].entry.recorded_at]

        assert receipt.recorded_at is not None
        assert to_micros(receipt.recorded_at) == max(heads) + 1
        assert receipt.seq > last.seq
        assert await scene.value("thing:a", "rate", day(2)) == 9
        assert await scene.value("thing:a", "rate", day(2), last.recorded_at) == 1
        assert (await scene.store.verify("default", "knowledge")).rows == receipt.seq


async def check_an_imported_past_keeps_its_times_and_goes_on(make: MakeStore) -> None:
    """A space that was being filled is so elsewhere, and takes the rest of its history under its own times."""
    async with opened(make) as scene:
        for n in (-30, -20):
            said = scene.say("thing:a", "rate", n, start=day(n))
            await scene.commit(scene.unit(said, history=History("git:one", day(n))))
        left = await _leave(scene.store)
        await _elsewhere(scene)
        await scene.store.restore(left.image)
        await _replay(scene, left)
        said = scene.say("thing:a", "rate", -10, start=day(-10))
        receipt = await scene.commit(scene.unit(said, history=History("git:one", day(-10))))
        (space,) = await scene.store.spaces()

        assert (space.state, space.filling) == ("filling", "git:one")
        assert receipt.recorded_at is not None
        assert to_micros(receipt.recorded_at) == day(-10)
        assert await scene.value("thing:a", "rate", day(-15), day(-15)) == -20


async def check_a_row_that_was_changed_is_named_and_not_taken(make: MakeStore) -> None:
    """Whatever of a row is changed, its seq is named; nothing of that call is kept."""
    async with opened(make) as scene:
        await _tell(scene)
        left = await _leave(scene.store)
        await _elsewhere(scene)
        await scene.store.restore(left.image)
        rows = left.knowledge
        place = next(n for n, row in enumerate(rows) if row.entry.event.valid_from == day(10))
        entry = rows[place].entry
        for changed in (
            replace(entry, event=replace(entry.event, payload={**entry.event.payload, "quote": "never said"})),
            replace(entry, event=replace(entry.event, valid_from=day(11))),
            replace(entry, event=replace(entry.event, trust=entry.event.trust + 1)),
            replace(entry, recorded_at=entry.recorded_at + 1), replace(entry, written_at=entry.written_at + 1),
            replace(entry, hash=bytes(32)), replace(entry, digest=bytes(32)), replace(entry, salt=bytes(16)),
            replace(entry, body=b"another"), replace(entry, seq=entry.seq + 1),
        ):  # fmt: skip
            forged = [*rows[:place], replace(rows[place], entry=changed), *rows[place + 1 :]]
            error = await raised(InvalidError, scene.store.replay("default", forged))
            assert error.code == "import.malformed"
            assert error.details["seq"] == changed.seq
        assert (await scene.store.image("default")).heads == {}
        assert await scene.store.nodes("default", keys=["thing:a"]) == {}


async def check_rows_come_in_order_and_units_from_their_beginning(make: MakeStore) -> None:
    """A row left out, or a unit without its first rows, is refused, and nothing is kept."""
    async with opened(make) as scene:
        await _tell(scene)
        left = await _leave(scene.store)
        await _elsewhere(scene)
        await scene.store.restore(left.image)
        rows = left.knowledge
        for part in (rows[1:], [*rows[:2], *rows[3:]], [rows[1], rows[0], *rows[2:]]):
            error = await raised(InvalidError, scene.store.replay("default", part))
            assert error.code == "import.malformed"
        assert (await scene.store.image("default")).heads == {}
        assert await scene.store.replay("default", rows) == len(rows)


async def check_another_history_is_refused(make: MakeStore) -> None:
    """Two stores that each went on after the same rows do not come together again; both keep what they have."""
    async with opened(make) as scene:
        await _tell(scene)
        shared = await _leave(scene.store)
        await scene.write(scene.say("thing:a", "rate", 7))
        left = await _leave(scene.store)
        await _elsewhere(scene)
        await scene.store.restore(shared.image)
        await _replay(scene, shared)
        await scene.write(scene.say("thing:a", "rate", 8))
        own = await _leave(scene.store)
        await scene.store.restore(left.image)
        error = await raised(CorruptError, scene.store.replay("default", left.knowledge))

        assert error.code == "ledger.corrupt"
        assert error.details["seq"] == len(shared.knowledge) + 1
        assert await _leave(scene.store) == own
        assert await _replay(scene, shared) == 0


async def check_a_space_is_not_brought_in_over_another(make: MakeStore) -> None:
    """A name whose space has rows is taken; a space that is here comes in again under its own name only."""
    async with opened(make) as scene:
        await _tell(scene)
        left = await _leave(scene.store)
        twice = await raised(ConflictError, scene.store.restore(replace(left.image, name="other")))
        await _elsewhere(scene)
        await scene.write(scene.say("thing:mine", "rate", 1))
        own = await _leave(scene.store)
        taken = await raised(ConflictError, scene.store.restore(left.image))

        assert (twice.code, taken.code) == ("space.exists", "space.exists")
        assert await _leave(scene.store) == own
        assert {space.name for space in await scene.store.spaces()} == {"default"}


async def check_a_space_may_take_another_name(make: MakeStore) -> None:
    """Under its new name the space verifies and answers, and its receipts say that name."""
    async with opened(make) as scene:
        receipts = await _tell(scene)
        left = await _leave(scene.store)
        await _elsewhere(scene)
        await scene.write(scene.say("thing:mine", "rate", 1))
        await scene.store.restore(replace(left.image, name="team"))
        await _replay(scene, left, "team")
        found = await scene.store.nodes("team", keys=["thing:a", "thing:mine"])

        assert set(found) == {"thing:a"}
        assert all([(await scene.store.verify("team", name)).ok for name in LEDGERS])
        assert [await scene.store.receipt(one.id) for one in receipts] == [
            replace(one, space="team") for one in receipts
        ]
        assert await scene.store.nodes("default", keys=["thing:a"]) == {}


async def check_what_was_erased_stays_so_elsewhere(make: MakeStore) -> None:
    """Rows without words go through; the space answers, verifies and refuses as where they were erased."""
    async with opened(make) as scene:
        first, *_ = await _tell(scene)
        wide = await scene.write(scene.say("thing:a", "rate", 5, start=day(-9)), origin="doc:two")
        motto = (await scene.facts("thing:b", "motto"))[0].id
        targets: list[tuple[str, LedgerName]] = [
            (first.facts[0], "knowledge"), (motto, "knowledge"), (await scene.node_id("run:1"), "execution"),
        ]  # fmt: skip
        for target, ledger in targets:
            erasing = Erase(scene.new_id(), target, "asked for")
            scene.clock.advance(days=1)
            await scene.commit(scene.unit(erasing, by="human:ada", trust=Trust.HUMAN, ledger=ledger))
        left, before = await _leave(scene.store), await _answers(scene)
        verdicts = [await scene.store.verify("default", name) for name in LEDGERS]
        await _elsewhere(scene)
        await scene.store.restore(left.image)
        await _replay(scene, left)
        again = await scene.refusal(
            scene.unit(Erase(scene.new_id(), motto, "asked for"), by="human:ada", trust=Trust.HUMAN)
        )

        assert sum(row.entry.erased for rows in left.rows.values() for row in rows) >= 3
        assert await _leave(scene.store) == left
        assert await _answers(scene) == before
        assert [await scene.store.verify("default", name) for name in LEDGERS] == verdicts
        assert all(verdict.ok for verdict in verdicts)
        assert again.code == "content.erased"
        assert (await scene.store.search_text("default", "otter")) == ()
        assert (await scene.store.facts_by_id("default", wide.facts))[wide.facts[0]].value is not None


async def check_another_tenant_gets_nothing(make: MakeStore) -> None:
    """A space that comes in is its tenant's alone."""
    async with opened(make) as scene:
        await _tell(scene)
        left = await _leave(scene.store)
        await _elsewhere(scene)
        await scene.store.restore(left.image)
        await _replay(scene, left)
        guest = scene.store.for_tenant("guest")

        assert (await guest.image("default")).heads == {}
        assert (await guest.image("default")).secret != left.image.secret
        assert await guest.ledger_rows("default", "knowledge", 0, 10) == ()


CHECKS = (
    check_a_space_comes_back_row_by_row,
    check_receipts_stand_beside_the_last_row_of_their_unit,
    check_an_idempotency_key_answers_after_the_replay,
    check_a_replay_that_stopped_goes_on,
    check_a_replayed_space_goes_on,
    check_an_imported_past_keeps_its_times_and_goes_on,
    check_a_row_that_was_changed_is_named_and_not_taken,
    check_rows_come_in_order_and_units_from_their_beginning,
    check_another_history_is_refused,
    check_a_space_is_not_brought_in_over_another,
    check_a_space_may_take_another_name,
    check_what_was_erased_stays_so_elsewhere,
    check_another_tenant_gets_nothing,
)
