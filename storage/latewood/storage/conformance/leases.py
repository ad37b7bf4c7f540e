"""Leases: one owner at a time, and a fence that only grows."""

from __future__ import annotations

from dataclasses import replace

from latewood.graph_schema.commands import Guard
from latewood.graph_schema.errors import ConflictError, LatewoodError
from latewood.storage.conformance.scene import MakeStore, Scene, opened, raised
from latewood.storage.port import Lease

__all__ = ["CHECKS"]


async def _take(scene: Scene, owner: str, name: str = "job", space: str = "default") -> Lease:
    lease = await scene.store.acquire(space, name, owner, 60)
    assert lease is not None, f"{owner} did not get {name}"
    return lease


def _guard(lease: Lease) -> Guard:
    return Guard(lease.name, lease.owner, lease.fence)


async def _is_lost(scene: Scene, lease: Lease) -> None:
    error = await raised(ConflictError, scene.store.renew(lease, 60))
    assert error.code == "lease.lost"


async def check_one_owner_at_a_time(make: MakeStore) -> None:
    """While it runs, a lease is its owner's alone; acquiring again renews it under the same fence."""
    async with opened(make) as scene:
        lease = await _take(scene, "a")
        scene.clock.advance(seconds=59)
        assert await scene.store.acquire("default", "job", "b", 60) is None
        again = await _take(scene, "a")

        assert (lease.space, lease.name, lease.owner) == ("default", "job", "a")
        assert lease.until == again.until - 59_000_000
        assert again.fence == lease.fence
        assert (await _take(scene, "b", "other job")).owner == "b"


async def check_a_lease_runs_out(make: MakeStore) -> None:
    """At its end, by the store's clock, another takes it with a greater fence, and the old one is lost."""
    async with opened(make) as scene:
        lease = await _take(scene, "a")
        scene.clock.advance(seconds=60)
        await _is_lost(scene, lease)
        other = await _take(scene, "b")
        await _is_lost(scene, lease)

        assert other.fence > lease.fence
        assert not await scene.store.release(lease)
        assert await scene.store.acquire("default", "job", "a", 60) is None


async def check_a_lease_is_renewed(make: MakeStore) -> None:
    """Renewed before its end, it goes on under its fence."""
    async with opened(make) as scene:
        lease = await _take(scene, "a")
        scene.clock.advance(seconds=59)
        renewed = await scene.store.renew(lease, 60)
        scene.clock.advance(seconds=59)

        assert renewed.fence == lease.fence
        assert await scene.store.acquire("default", "job", "b", 60) is None
        assert (await scene.store.renew(lease, 60)).fence == lease.fence


async def check_a_lease_is_given_back(make: MakeStore) -> None:
    """Released, it is free at once; a second release has nothing to give."""
    async with opened(make) as scene:
        lease = await _take(scene, "a")

        assert await scene.store.release(lease)
        assert not await scene.store.release(lease)
        await _is_lost(scene, lease)
        assert (await _take(scene, "b")).fence > lease.fence


async def check_fences_only_grow(make: MakeStore) -> None:
    """Through releases, expiries, restarts and changes of owner a fence never comes again."""
    async with opened(make) as scene:
        fences: list[int] = []
        for n in range(9):
            lease = await _take(scene, "ab"[n % 2])
            fences.append(lease.fence)
            if n % 3 == 0:
                await scene.store.release(lease)
            else:
                scene.clock.advance(seconds=60 + n)
            if n == 4:
                await scene.store.close()
                scene.store = await make.again(scene.store, clock=scene.clock, ids=scene.ids, words=scene.words)
        same_owner = await _take(scene, "a")
        scene.clock.advance(seconds=61)
        after_expiry = await _take(scene, "a")

        assert fences == sorted(set(fences))
        assert after_expiry.fence > same_owner.fence


async def check_leases_belong_to_a_space_and_a_tenant(make: MakeStore) -> None:
    """The same name in another space or of another tenant is another lease."""
    async with opened(make) as scene:
        await scene.store.create_space("other")
        await _take(scene, "a")

        assert (await _take(scene, "b", space="other")).owner == "b"
        guest = await scene.store.for_tenant("guest").acquire("default", "job", "c", 60)
        assert guest is not None
        assert guest.owner == "c"


async def check_a_late_write_under_a_lost_lease_is_refused(make: MakeStore) -> None:
    """A writer that lost its lease without knowing it leaves nothing behind; its neighbours in the group are kept."""
    async with opened(make) as scene:
        slow = await _take(scene, "slow")
        kept = scene.unit(scene.say("job:1", "state", "begun"), guard=_guard(slow), op="begin")
        first = await scene.commit(kept)
        scene.clock.advance(seconds=61)
        ran_out = await scene.refusal(scene.unit(scene.say("job:1", "state", "late"), guard=_guard(slow)))
        fresh = await _take(scene, "fresh")
        answers = await scene.store.commit([
            scene.unit(scene.say("job:1", "state", "done"), guard=_guard(fresh)),
            scene.unit(scene.say("job:1", "state", "later still"), guard=_guard(slow)),
            scene.unit(scene.say("job:2", "state", "free")),
        ])  # fmt: skip

        assert ran_out.code == "lease.lost"
        lost = answers[1]
        assert isinstance(lost, ConflictError)
        assert lost.code == "lease.lost"
        assert f"stale fence {slow.fence} < {fresh.fence}" in lost.message
        assert not any(isinstance(answers[place], LatewoodError) for place in (0, 2))
        assert (await scene.value("job:1", "state"), await scene.value("job:2", "state")) == ("done", "free")
        # What was kept while the lease was its own is answered again: repeating is no new act.
        (again,) = await scene.store.commit([kept])
        assert again == replace(first, replayed=True)


async def check_a_guard_names_a_lease_that_runs(make: MakeStore) -> None:
    """A lease never taken, given back, of another owner or of a fence to come guards nothing."""
    async with opened(make) as scene:
        lease = await _take(scene, "a")
        wrong = [
            Guard("other job", "a", 1), Guard("job", "b", lease.fence), Guard("job", "a", lease.fence + 1),
            Guard("job", "a", lease.fence - 1),
        ]  # fmt: skip
        for guard in wrong:
            error = await scene.refusal(scene.unit(scene.say("job:1", "state", "x"), guard=guard))
            assert error.code == "lease.lost", guard
        renewed = await scene.store.renew(lease, 600)
        scene.clock.advance(seconds=500)
        await scene.commit(scene.unit(scene.say("job:1", "state", "renewed"), guard=_guard(renewed)))
        await scene.store.release(renewed)
        error = await scene.refusal(scene.unit(scene.say("job:1", "state", "x"), guard=_guard(renewed)))

        assert error.code == "lease.lost"
        assert await scene.value("job:1", "state") == "renewed"


CHECKS = (
    check_one_owner_at_a_time,
    check_a_lease_runs_out,
    check_a_lease_is_renewed,
    check_a_lease_is_given_back,
    check_fences_only_grow,
    check_leases_belong_to_a_space_and_a_tenant,
    check_a_late_write_under_a_lost_lease_is_refused,
    check_a_guard_names_a_lease_that_runs,
)
