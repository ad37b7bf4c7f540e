"""Opening, closing, opening again, and two at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from latewood.graph_schema.commands import Expect, Ref
from latewood.graph_schema.errors import UnavailableError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.model import LEDGERS
from latewood.storage.conformance.scene import MakeStore, opened, raised
from latewood.storage.port import FactQuery, GraphStore, NodeQuery, Point, Refusal

__all__ = ["CHECKS"]


async def check_a_store_describes_itself(make: MakeStore) -> None:
    """It names its engine, its place and its schema."""
    async with opened(make) as scene:
        info = await scene.store.info()

        assert info.engine
        assert info.location
        assert info.schema_version >= 1
        assert not info.read_only
        assert scene.store.tenant == "local"


async def check_a_closed_store_says_so(make: MakeStore) -> None:
    """Every call on a closed store raises `store.closed`; closing again is nothing."""
    async with opened(make) as scene:
        store: GraphStore = scene.store
        unit = scene.unit(scene.say("thing:a", "rate", 1))
        guest = store.for_tenant("guest")
        await store.close()
        await store.close()
        calls: list[Callable[[], Awaitable[object]]] = [
            store.info,
            store.spaces,
            lambda: store.create_space("x"),
            lambda: store.commit([unit]),
            lambda: store.nodes("default", keys=["thing:a"]),
            lambda: store.list_nodes("default", NodeQuery()),
            lambda: store.facts("default", FactQuery(subjects=["x"])),
            lambda: store.held("default", [Point("x")]),
            lambda: store.timeline("default", ["x"]),
            lambda: store.search_text("default", "x"),
            lambda: store.feed("default", "knowledge", 0),
            lambda: store.wait("default", "knowledge", 0, 1),
            lambda: store.receipt(unit.id),
            lambda: store.refuse(Refusal(unit.id, "default", "internal", "a", b"", "m")),
            lambda: store.verify("default", "knowledge"),
            lambda: store.acquire("default", "job", "a", 1),
            guest.spaces,
        ]
        for call in calls:
            error = await raised(UnavailableError, call())
            assert error.code == "store.closed"


async def check_what_was_written_is_there_after_a_restart(make: MakeStore) -> None:
    """Every read gives the same after closing and opening again, and recorded time goes on growing."""
    async with opened(make) as scene:
        receipts = [await scene.write(scene.say("thing:a", "motto", f"stone {n}")) for n in range(4)]
        await scene.write(scene.retract(receipts[2].facts[0], "slip"))
        node = await scene.node_id("thing:a")

        async def everything() -> list[object]:
            store = scene.store
            return [
                await store.spaces(), await store.facts("default", FactQuery(subjects=[node])),
                await store.timeline("default", [node]), await store.changes("default", -(2**62), 2**62),
                await store.feed("default", "knowledge", 0), await store.predicates("default"),
                {hit.node.id for hit in await store.search_text("default", "stone")},
                [await store.verify("default", ledger) for ledger in LEDGERS],
            ]  # fmt: skip

        before = await everything()
        await scene.store.close()
        scene.store = await make.again(scene.store, clock=scene.clock, ids=scene.ids, words=scene.words)

        assert await everything() == before
        scene.clock.advance(days=-99)
        receipt = await scene.commit(scene.unit(scene.say("thing:a", "motto", "new")))
        assert receipt.recorded_at is not None
        assert receipts[3].recorded_at is not None
        assert receipt.recorded_at > receipts[3].recorded_at
        assert (await scene.store.verify("default", "knowledge")).ok


async def check_two_openings_share_one_truth(make: MakeStore) -> None:
    """What one opening writes, the other reads at once and builds upon; the chain stays whole."""
    async with opened(make) as scene:
        other = await make.again(scene.store, clock=scene.clock, ids=SequentialIds(salt=2), words=scene.words)
        try:
            seqs: list[int] = []
            for n in range(10):
                writer, reader = (scene.store, other) if n % 2 else (other, scene.store)
                scene.clock.advance(seconds=1)
                (answer,) = await writer.commit(
                    [scene.unit(scene.say("thing:a", "rate", n), scene.say(f"thing:{n}", "rate", n))]
                )
                assert isinstance(answer, Receipt)
                seqs.append(answer.seq)
                node = (await reader.nodes("default", keys=["thing:a"]))["thing:a"]
                (fact,) = await reader.facts("default", FactQuery(subjects=[node.id]))
                assert fact.value is not None
                assert fact.value.data == n
                assert len((await reader.timeline("default", [node.id])).items) == n + 1
            assert seqs == sorted(set(seqs))
            lease = await scene.store.acquire("default", "job", "a", 60)
            assert lease is not None
            assert await other.acquire("default", "job", "b", 60) is None
            assert (await other.verify("default", "knowledge")).rows == seqs[-1]
        finally:
            await other.close()
        assert await scene.value("thing:a", "rate") == 9


async def check_no_update_is_lost_between_openings(make: MakeStore) -> None:
    """Two openings that count up under expected versions lose no count."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "count", 0, start=0))
        other = await make.again(scene.store, clock=scene.clock, ids=SequentialIds(salt=2), words=scene.words)

        async def count_up(store: GraphStore, times: int) -> None:
            done = 0
            while done < times:
                node = (await store.nodes("default", keys=["thing:a"]))["thing:a"]
                (fact,) = await store.facts("default", FactQuery(subjects=[node.id]))
                assert fact.value is not None
                assert isinstance(fact.value.data, int)
                unit = scene.unit(
                    scene.say("thing:a", "count", fact.value.data + 1),
                    expects=(Expect(Ref(key="thing:a"), node.version),),
                )
                (answer,) = await store.commit([unit])
                done += isinstance(answer, Receipt)

        try:
            await asyncio.gather(count_up(scene.store, 10), count_up(other, 10))
        finally:
            await other.close()
        assert await scene.value("thing:a", "count") == 20


CHECKS = (
    check_a_store_describes_itself,
    check_a_closed_store_says_so,
    check_what_was_written_is_there_after_a_restart,
    check_two_openings_share_one_truth,
    check_no_update_is_lost_between_openings,
)
