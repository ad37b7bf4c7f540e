"""The queue view: who gets which message, once at a time, in which order, and what the ledger knows of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from latewood.graph_schema.commands import Declare, Erase, Hold, Ref, Room, Unit
from latewood.graph_schema.errors import ConflictError, LatewoodError, LimitError
from latewood.graph_schema.model import LEDGERS, NodeKind, Trust
from latewood.graph_schema.values import Json
from latewood.storage.conformance.scene import MakeStore, Scene, opened, raised
from latewood.storage.queueing import QUEUED, SETTLED_FOR, TAKEN_MAX, MessageQueue, Taken, Want, queue_of
from latewood.storage.rebuilding import Drift

__all__ = ["CHECKS"]


def _queue(scene: Scene) -> MessageQueue:
    return queue_of(scene.store)


async def _group(scene: Scene, name: str = "orders/default", space: str = "default") -> str:
    command = scene.declare(f"group:{name}", NodeKind.GROUP, "group")
    await scene.commit(scene.unit(command, ledger="execution", space=space))
    return command.id


def _message(scene: Scene, *groups: str, **said: Json) -> Declare:
    queue: Mapping[str, Json] = {"groups": list(groups), "size": said.pop("size", 10), "ready_at": said.pop("at", 0)}
    one = scene.declare(None, NodeKind.MESSAGE, "order", {**said, "queue": dict(queue)})
    return replace(one, key=f"message:{one.id}")


async def _publish(scene: Scene, *groups: str, space: str = "default", **said: Json) -> str:
    command = _message(scene, *groups, **said)
    await scene.commit(scene.unit(command, ledger="execution", space=space))
    return command.id


async def _take(
    scene: Scene, group: str, most: int = 1, *, owner: str = "a", ttl_s: float = 30, space: str = "default"
) -> tuple[Taken, ...]:  # fmt: skip
    (taken,) = await _queue(scene).take(space, [Want(group, owner, most, ttl_s)])
    return taken


def _settle(scene: Scene, one: Taken | Hold) -> Unit:
    hold = one if isinstance(one, Hold) else one.hold
    settled = scene.link(Ref(id=hold.message), SETTLED_FOR, Ref(id=hold.group))
    return replace(scene.unit(settled, ledger="execution"), holds=(hold,))


def _put_off(scene: Scene, one: Taken, **said: Json) -> Unit:
    value: dict[str, object] = {"group": one.group, **said}
    return replace(scene.unit(scene.say(Ref(id=one.message), QUEUED, value), ledger="execution"), holds=(one.hold,))


async def _waiting(scene: Scene, group: str) -> list[tuple[str, str]]:
    rows = (await _queue(scene).queued("default", group)).items
    return [(row.message, row.state) for row in rows]


async def _drift(scene: Scene, *, repair: bool = False) -> list[Drift]:
    found: list[Drift] = []
    after: str | None = None
    while True:
        step = await scene.store.rebuild("default", after=after, repair=repair)
        found += step.found
        after = step.next
        if after is None:
            return found


async def check_the_most_urgent_comes_first_and_to_one_alone(make: MakeStore) -> None:
    """By priority, then by age; what somebody has nobody else gets; a group gets no message of another."""
    async with opened(make) as scene:
        group, other = await _group(scene), await _group(scene, "orders/other")
        first, second = await _publish(scene, group), await _publish(scene, group, other)
        urgent = await _publish(scene, group, priority=5)
        one = await _take(scene, group, 2)
        two = await _take(scene, group, 5, owner="b")

        assert [taken.message for taken in one] == [urgent, first]
        assert [taken.message for taken in two] == [second]
        assert await _take(scene, group, 5, owner="c") == ()
        assert [taken.message for taken in await _take(scene, other, 5)] == [second]
        lanes = await _queue(scene).lanes("default", [group, other])
        assert [(lanes[one].pending, lanes[one].bytes) for one in (group, other)] == [(3, 30), (1, 10)]
        assert all(state == "leased" for _, state in await _waiting(scene, group))


async def check_who_asks_at_once_gets_different_messages(make: MakeStore) -> None:
    """Consumers that ask together get what they would one after another, each told what its messages say."""
    async with opened(make) as scene:
        group, other = await _group(scene), await _group(scene, "orders/other")
        sent = [await _publish(scene, group, number=number) for number in range(5)]
        own = await _publish(scene, other, number=9)

        asked = [(group, "a", 2), (group, "b", 2), (other, "c", 1), (group, "d", 2)]
        answers = await asyncio.gather(*(_take(scene, lane, most, owner=owner) for lane, owner, most in asked))
        assert [[one.message for one in part] for part in answers] == [sent[:2], sent[2:4], [own], sent[4:]]
        assert {one.owner for part in answers for one in part} == {"a", "b", "c", "d"}
        said = [one.node and one.node.attributes["number"] for part in answers for one in part]
        assert said == [0, 1, 2, 3, 9, 4]


async def check_what_is_settled_does_not_come_again(make: MakeStore) -> None:
    """Only its owner settles a message, once; a stale owner is refused, and its neighbours in the group are kept."""
    async with opened(make) as scene:
        group = await _group(scene)
        one, two = await _publish(scene, group), await _publish(scene, group)
        slow, kept = await _take(scene, group, 2, ttl_s=60)
        assert (slow.message, kept.message) == (one, two)
        scene.clock.advance(seconds=50)
        until = await _queue(scene).extend("default", kept.hold, 60)
        scene.clock.advance(seconds=20)
        (again,) = await _take(scene, group, 5, owner="b", ttl_s=60)
        late = _settle(scene, slow)
        answers = await scene.store.commit([_settle(scene, kept), late, _settle(scene, kept), _settle(scene, again)])

        assert until > kept.until
        assert (again.message, again.fence, again.taken) == (one, slow.fence + 1, 2)
        codes = [one.code if isinstance(one, LatewoodError) else None for one in answers]
        assert codes == [None, "lease.lost", "lease.lost", None]
        assert isinstance(answers[1], ConflictError)
        assert f"stale fence {slow.fence} < {again.fence}" in answers[1].message
        assert await _waiting(scene, group) == []
        assert (await _queue(scene).lanes("default", [group]))[group].pending == 0
        error = await raised(ConflictError, _queue(scene).extend("default", kept.hold, 60))
        assert error.code == "lease.lost"
        assert await _drift(scene) == []


async def check_a_failed_try_comes_again_when_it_is_due(make: MakeStore) -> None:
    """A message that was put off waits for its instant, and nobody has it meanwhile; one not due yet waits too."""
    async with opened(make) as scene:
        group = await _group(scene)
        now = scene.clock.now()
        message = await _publish(scene, group)
        delayed = await _publish(scene, group, at=now + 90_000_000)
        (taken,) = await _take(scene, group, 5)
        await scene.commit(_put_off(scene, taken, ready_at=now + 60_000_000, failures=1))

        assert await _take(scene, group, 5) == ()
        assert await _waiting(scene, group) == [(message, "later"), (delayed, "later")]
        assert (await _queue(scene).lanes("default", [group]))[group].next_at == now + 60_000_000
        assert (await scene.refusal(_settle(scene, taken))).code == "lease.lost"
        scene.clock.advance(seconds=61)
        (again,) = await _take(scene, group, 5)
        assert (again.message, again.failures, again.fence) == (message, 1, taken.fence + 1)
        scene.clock.advance(seconds=31)
        assert [one.message for one in await _take(scene, group, 5)] == [message, delayed]
        assert await _drift(scene) == []


async def check_messages_of_one_ordering_key_wait_for_each_other(make: MakeStore) -> None:
    """The second of a key comes when the first is settled, however urgent it is, and another key does not wait."""
    async with opened(make) as scene:
        group = await _group(scene)
        first = await _publish(scene, group, orderingkey="A")
        second = await _publish(scene, group, orderingkey="A", priority=9)
        free = await _publish(scene, group, orderingkey="B")
        third = await _publish(scene, group, orderingkey="A")
        taken = {one.message: one for one in await _take(scene, group, 10)}

        assert set(taken) == {first, free}
        assert await _waiting(scene, group) == [
            (first, "leased"), (second, "blocked"), (free, "leased"), (third, "blocked")
        ]  # fmt: skip
        later = scene.clock.now() + 5_000_000
        await scene.commit(_put_off(scene, taken[first], ready_at=later, failures=1))
        assert await _take(scene, group, 10) == ()
        scene.clock.advance(seconds=6)
        (again,) = await _take(scene, group, 10)
        assert again.message == first
        await scene.commit(_settle(scene, again))
        (after,) = await _take(scene, group, 10)
        assert after.message == second
        assert await _queue(scene).hand_back("default", [after.hold, again.hold]) == 1
        (back,) = await _take(scene, group, 10)
        assert (back.message, back.fence) == (second, after.fence + 1)
        await scene.commit(_settle(scene, back))
        assert [one.message for one in await _take(scene, group, 10)] == [third]
        assert await _drift(scene) == []


async def check_there_is_room_or_there_is_not(make: MakeStore) -> None:
    """A message for which a group has no room is refused in its place, within a group of units too."""
    async with opened(make) as scene:
        group = await _group(scene)
        units = [replace(scene.unit(_message(scene, group), ledger="execution"), rooms=(Room(group, 2, 1_000),))
                 for _ in range(3)]  # fmt: skip
        answers = await scene.store.commit(units)
        big = replace(scene.unit(_message(scene, group), ledger="execution"), rooms=(Room(group, 9, 20),))
        heavy = await scene.refusal(big)

        assert [isinstance(one, LatewoodError) for one in answers] == [False, False, True]
        assert isinstance(answers[2], LimitError)
        assert (answers[2].code, answers[2].details["limit"]) == ("channel.full", "pending_max")
        assert (heavy.code, heavy.details["limit"]) == ("channel.full", "bytes_max")
        assert len(await _waiting(scene, group)) == 2


async def check_a_message_may_come_anew(make: MakeStore) -> None:
    """What was settled can be put before its group once more, behind what waits, and knows nothing of its past."""
    async with opened(make) as scene:
        group = await _group(scene)
        one, two = await _publish(scene, group, orderingkey="A"), await _publish(scene, group, orderingkey="A")
        (taken,) = await _take(scene, group)
        await scene.commit(_settle(scene, taken))
        anew: dict[str, object] = {"group": group, "anew": True, "ready_at": 0, "orderingkey": "A", "size": 10}
        await scene.write(scene.say(Ref(id=one), QUEUED, anew), ledger="execution")

        assert await _waiting(scene, group) == [(two, "ready"), (one, "blocked")]
        assert (await scene.refusal(_settle(scene, taken))).code == "lease.lost"
        (next_one,) = await _take(scene, group, 5)
        await scene.commit(_settle(scene, next_one))
        (again,) = await _take(scene, group, 5)
        assert (next_one.message, again.message, again.failures) == (two, one, 0)
        assert await _drift(scene) == []


async def check_a_replayed_space_hands_out_the_same(make: MakeStore) -> None:
    """What waits follows from the ledger alone: a space that was brought in elsewhere has the same view."""
    async with opened(make) as scene:
        group = await _group(scene)
        messages = [await _publish(scene, group, orderingkey=key, priority=n) for n, key in enumerate("ABAB")]
        done, failed = await _take(scene, group, 2)
        await scene.commit(_settle(scene, done))
        await scene.commit(_put_off(scene, failed, ready_at=scene.clock.now() + 5_000_000, failures=1))
        anew: dict[str, object] = {"group": group, "anew": True, "ready_at": 0, "priority": 1, "size": 4}
        await scene.write(scene.say(Ref(id=done.message), QUEUED, anew), ledger="execution")
        erasure = scene.unit(
            Erase(scene.new_id(), messages[3], "asked for"), by="human:ada", trust=Trust.HUMAN, ledger="execution"
        )
        await scene.commit(erasure)
        before = (await _queue(scene).queued("default", group)).items
        lane = (await _queue(scene).lanes("default", [group]))[group]
        image = await scene.store.image("default")
        rows = [await scene.store.ledger_rows("default", name, 0) for name in LEDGERS]
        await scene.store.close()
        scene.store = await scene.make.fresh(clock=scene.clock, ids=scene.ids, words=scene.words)
        await scene.store.restore(image)
        for part in rows:
            await scene.store.replay("default", part)

        assert {row.message for row in before} == set(messages[:3])
        after = (await _queue(scene).queued("default", group)).items
        assert [row.stated for row in after] == [row.stated for row in before]
        assert replace((await _queue(scene).lanes("default", [group]))[group], next_at=lane.next_at) == lane
        assert await _drift(scene) == []


async def check_an_erased_message_is_handed_out_to_nobody(make: MakeStore) -> None:
    """Erasing takes a message from every group, and the next of its key goes on."""
    async with opened(make) as scene:
        group, other = await _group(scene), await _group(scene, "orders/other")
        gone = await _publish(scene, group, other, orderingkey="A")
        stays = await _publish(scene, group, orderingkey="A")
        (taken,) = await _take(scene, group)
        await scene.commit(scene.unit(
            Erase(scene.new_id(), gone, "asked for"), by="human:ada", trust=Trust.HUMAN, ledger="execution"
        ))  # fmt: skip

        assert (await scene.refusal(_settle(scene, taken))).code == "lease.lost"
        assert [one.message for one in await _take(scene, group, 5)] == [stays]
        assert await _take(scene, other, 5) == ()
        assert await _drift(scene) == []


async def check_an_erased_settlement_still_settles(make: MakeStore) -> None:
    """The words of a settlement may go; that the group is done with its message stays, elsewhere too."""
    async with opened(make) as scene:
        group = await _group(scene)
        await _publish(scene, group)
        (taken,) = await _take(scene, group)
        receipt = await scene.commit(_settle(scene, taken))
        await scene.commit(scene.unit(
            Erase(scene.new_id(), receipt.facts[0], "asked for"), by="human:ada", trust=Trust.HUMAN,
            ledger="execution",
        ))  # fmt: skip
        image = await scene.store.image("default")
        rows = [await scene.store.ledger_rows("default", name, 0) for name in LEDGERS]
        assert await _drift(scene) == []
        await scene.store.close()
        scene.store = await scene.make.fresh(clock=scene.clock, ids=scene.ids, words=scene.words)
        await scene.store.restore(image)
        for part in rows:
            await scene.store.replay("default", part)

        assert await _waiting(scene, group) == []
        assert await _drift(scene) == []


async def check_queues_belong_to_a_space_and_a_tenant(make: MakeStore) -> None:
    """The same group in another space, or of another tenant, gets nothing; what lists are bounded by is named."""
    async with opened(make) as scene:
        group = await _group(scene)
        await scene.store.create_space("other")
        for _ in range(3):
            await _publish(scene, group)

        assert await _take(scene, group, 5, space="other") == ()
        guest = queue_of(scene.store.for_tenant("guest"))
        assert await guest.take("default", [Want(group, "a", 5, 30)]) == ((),)
        error = await raised(LimitError, _take(scene, group, TAKEN_MAX + 1))
        assert error.details["limit"] == "TAKEN_MAX"
        page = await _queue(scene).queued("default", group, first=2)
        rest = await _queue(scene).queued("default", group, first=2, after=page.next)
        assert (len(page.items), len(rest.items), rest.next) == (2, 1, None)


CHECKS = (
    check_the_most_urgent_comes_first_and_to_one_alone,
    check_who_asks_at_once_gets_different_messages,
    check_what_is_settled_does_not_come_again,
    check_a_failed_try_comes_again_when_it_is_due,
    check_messages_of_one_ordering_key_wait_for_each_other,
    check_there_is_room_or_there_is_not,
    check_a_message_may_come_anew,
    check_a_replayed_space_hands_out_the_same,
    check_an_erased_message_is_handed_out_to_nobody,
    check_an_erased_settlement_still_settles,
    check_queues_belong_to_a_space_and_a_tenant,
)
