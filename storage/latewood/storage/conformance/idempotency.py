"""The same write twice is one write."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.events import Receipt
from latewood.storage.conformance.scene import MakeStore, opened

__all__ = ["CHECKS"]


async def check_a_replay_answers_with_the_first_receipt(make: MakeStore) -> None:
    """The same key and body gives the same receipt, marked, and nothing is written."""
    async with opened(make) as scene:
        first = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), op="op-1", body={"n": 1}))
        before = await scene.store.spaces()
        scene.clock.advance(days=3)
        again = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), op="op-1", body={"n": 1}))

        assert not first.replayed
        assert again == replace(first, replayed=True)
        assert await scene.store.spaces() == before
        assert await scene.store.receipt(first.id) == first


async def check_another_body_is_refused(make: MakeStore) -> None:
    """The same key with another body is a conflict, and changes nothing."""
    async with opened(make) as scene:
        await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), op="op-1", body=1))
        error = await scene.refusal(scene.unit(scene.say("thing:a", "rate", 2), op="op-1", body=2))

        assert isinstance(error, ConflictError)
        assert error.code == "idempotency.conflict"
        assert await scene.value("thing:a", "rate") == 1


async def check_without_a_key_nothing_is_a_replay(make: MakeStore) -> None:
    """Two units with equal bodies and no key are two writes."""
    async with opened(make) as scene:
        first = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), body=1))
        second = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), body=1))

        assert (first.replayed, second.replayed) == (False, False)
        assert second.seq > first.seq


async def check_replays_inside_one_group(make: MakeStore) -> None:
    """A group may hold the same unit several times, and writers may send it at once: it is kept once."""
    async with opened(make) as scene:
        units = [scene.unit(scene.say("thing:a", "rate", 1), op="op", body=1) for _ in range(6)]
        answers = await asyncio.gather(*(scene.store.commit(units[n : n + 3]) for n in (0, 3)))
        receipts = [one for answer in answers for one in answer if isinstance(one, Receipt)]

        assert len(receipts) == 6
        assert len({one.id for one in receipts}) == 1
        assert [one.replayed for one in receipts].count(False) == 1


async def check_keys_belong_to_a_space(make: MakeStore) -> None:
    """The same key in another space or of another tenant is another write."""
    async with opened(make) as scene:
        await scene.store.create_space("other")
        first = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), op="op", body=1))
        second = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), op="op", body=2, space="other"))
        (third,) = await scene.store.for_tenant("guest").commit(
            [scene.unit(scene.say("thing:a", "rate", 1), op="op", body=3)]
        )

        assert isinstance(third, Receipt)
        assert [one.replayed for one in (first, second, third)] == [False, False, False]


async def check_a_replay_needs_nothing_to_be_as_it_was(make: MakeStore) -> None:
    """A replay is answered even when the unit could no longer be kept."""
    async with opened(make) as scene:
        fact = (await scene.write(scene.say("thing:a", "rate", 1))).facts[0]
        retract = scene.unit(scene.retract(fact), op="take back", body=1)
        first = await scene.commit(retract)
        again = await scene.commit(replace(retract, id=scene.new_id()))

        assert again == replace(first, replayed=True)


async def check_a_key_survives_a_restart(make: MakeStore) -> None:
    """Idempotency keys are as durable as what they were used for."""
    async with opened(make) as scene:
        first = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), op="op", body=1))
        await scene.store.close()
        scene.store = await make.again(scene.store, clock=scene.clock, ids=scene.ids, words=scene.words)
        again = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), op="op", body=1))

        assert again == replace(first, replayed=True)


CHECKS = (
    check_a_replay_answers_with_the_first_receipt,
    check_another_body_is_refused,
    check_without_a_key_nothing_is_a_replay,
    check_replays_inside_one_group,
    check_keys_belong_to_a_space,
    check_a_replay_needs_nothing_to_be_as_it_was,
    check_a_key_survives_a_restart,
)
