"""An agent's runs through the remote client: the same verbs and errors as in Python, and calls made again in safety."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from integration.clients.test_remote import SOON, Server, running

from latewood.clients.remote import (
    BlockingRemoteMemory,
    BlockingRemoteRuns,
    Held,
    RemoteMemory,
    RemoteRuns,
    call_of,
    done_of,
    trouble_of,
)
from latewood.clients.remote.messages import PolicyRule
from latewood.execution import Runs, external_words
from latewood.execution.external import Agents
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError, LatewoodError, NotFoundError
from latewood.graph_schema.values import Json
from latewood.memory import Memory
from latewood.memory.runs import agents_of, runs_of

LANE: Final[dict[str, Json]] = {"lane_name": "Lyon", "stops": [1, None]}
FETCH: Final = call_of((1,), "fetch", LANE, None)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Memory.open(str(tmp_path / "t.db"), by="agent:server", sync="normal") as memory, running(memory) as up:
        yield up


@pytest.fixture
async def remote(server: Server) -> AsyncIterator[RemoteMemory]:
    async with RemoteMemory.open(server.url, by="agent:planner", patience=SOON) as opened:
        yield opened


async def test_an_agent_works_on_a_run_from_afar_though_answers_are_lost(server: Server, remote: RemoteMemory) -> None:
    far, lossy = remote.runs, server.lossy
    lossy.loses = 1
    begun = await far.start("lanes", LANE, owner="human:ada", deadline_s=3_600, once="k")
    assert (await far.start("lanes", LANE, owner="human:ada", deadline_s=3_600, once="k")).id == begun.id
    lossy.loses = 1
    claim = await far.claim(begun.id, "p1", lease_s=30)
    mine = Held(begun.id, "p1", claim.fence)
    lossy.loses = 1
    first = await far.begin(mine, FETCH)
    lossy.loses = 1
    failed = await far.fail(mine, FETCH, first.attempt, trouble_of("rate-limit", "429", retry_after_s=7, seconds=0.1))
    lossy.loses = 1
    kept = await far.complete(mine, FETCH, done_of({"rate": 0.8}, seconds=0.5, usage={"input": 90}, model="small"))
    replayed = await far.begin(mine, FETCH)
    lossy.loses = 1
    asked = await far.ask(mine, (2,), "Book it?", choices=["yes", "no"], context={"rate_seen": 0.8}, on_timeout="deny")
    waiting = await far.run(begun.id)
    by_ada = remote.within(by="human:ada").runs
    lossy.loses = 1
    await by_ada.answer(f"{begun.id}/2", "yes")
    again = await far.heartbeat(Held(begun.id, "p1", (await far.claim(begun.id, "p1")).fence))
    answered = await far.ask(Held(begun.id, "p1", again.fence), (2,), "Book it?", choices=["yes", "no"], context={"rate_seen": 0.8}, on_timeout="deny")  # fmt: skip
    lossy.loses = 1
    done = await far.finish(Held(begun.id, "p1", again.fence), {"booked": True})

    assert (begun.status, begun.input, begun.owner) == ("ready", {"args": [], "kwargs": LANE}, "human:ada")
    assert (first.step.status, first.attempt, first.again, first.retry_at) == ("started", 1, False, None)
    assert (failed.attempt, failed.again, failed.step.status) == (2, True, "waiting")
    assert failed.retry_at is not None
    assert (kept.completed, kept.tries, kept.output, kept.usage) == (True, 2, {"rate": 0.8}, {"input_tokens": 90})
    assert (replayed.step, asked.answer) == (kept, None)
    assert asked.question is not None
    assert (asked.question.choices, asked.question.on_timeout, asked.question.context) == (("yes", "no"), "deny", {"rate_seen": 0.8})  # fmt: skip
    assert (waiting.status, waiting.next) == ("waiting", f"latewood run answer {begun.id}/2 CHOICE")
    assert answered.answer == {"choice": "yes", "by": "human:ada"}
    assert (done.status, done.ended, done.output) == ("done", True, {"booked": True})

    own = await runs_of(server.memory).show(begun.id)
    assert [len(own.attempts.get(step.id, ())) for step in own.steps] == [2, 0]
    assert (await far.list(statuses=["done"])).items == (done,)
    assert (own.run.output, own.run.started_at, own.run.policy) == (done.output, done.started_at, done.policy)
    assert [step.digest for step in own.steps] == [kept.digest, asked.digest]


async def test_the_same_calls_raise_the_same_errors_as_in_python(server: Server, remote: RemoteMemory) -> None:
    far, own = remote.runs, agents_of(server.memory.within(by="agent:planner"))
    run = await far.start("lanes", once="k")
    for claims in (far, own):
        with pytest.raises(ConflictError) as other:
            await claims.start("lanes", {"x": 1}, once="k")
        assert other.value.code == "idempotency.conflict"
    stale = Held(run.id, "p1", (await far.claim(run.id, "p1")).fence)
    await far.hand_back(stale)
    mine = Held(run.id, "p2", (await far.claim(run.id, "p2")).fence)
    await far.complete(mine, FETCH, done_of(1))
    code = external_words
    mine_too, stale_too = (code.Held(one.run, one.worker, one.fence) for one in (mine, stale))
    fetch, nowhere = code.call_of((1,), "fetch", LANE, None), code.call_of((0,), "x", {}, None)
    calls: list[tuple[Any, Any, type[LatewoodError], str]] = [
        (far.heartbeat(stale), own.heartbeat(stale_too), ConflictError, "lease.lost"),
        (far.claim(run.id, "p3"), own.claim(run.id, "p3"), ConflictError, "run.claimed"),
        (far.claim("nobody", "p3"), own.claim("nobody", "p3"), NotFoundError, "run.unknown"),
        (far.complete(mine, FETCH, done_of(2)), own.complete(mine_too, fetch, code.done_of(2)), ConflictError, "step.settled"),
        (far.begin(mine, call_of((0,), "x", {}, None)), own.begin(mine_too, nowhere), LatewoodError, "limit.exceeded"),
        (far.heartbeat(mine, lease_s=0.1), own.heartbeat(mine_too, lease_s=0.1), InvalidError, "query.invalid"),
        (far.answer(f"{run.id}/7", 1), runs_of(server.memory).answer(f"{run.id}/7", 1), NotFoundError, ""),
        (far.resume(run.id), runs_of(server.memory).resume(run.id), ConflictError, "run.ended"),
    ]  # fmt: skip
    for there, here, kind, code_ in calls:
        with pytest.raises(kind) as from_afar:
            await there
        with pytest.raises(kind) as at_home:
            await here
        assert (from_afar.value.code, type(from_afar.value)) == (at_home.value.code, type(at_home.value))
        assert code_ in (from_afar.value.code, "")
        assert from_afar.value.message == at_home.value.message
    with pytest.raises(InvalidError, match="choices"):
        await far.ask(mine, (2,), "?", choices="yes")
    asked = await far.ask(mine, (2,), "Go?", owner="human:ada")
    with pytest.raises(ForbiddenError):
        await far.answer(asked.id, "yes")


async def test_runs_are_settled_from_afar(server: Server, remote: RemoteMemory) -> None:
    far = remote.runs
    rules = [PolicyRule("transient", 1, "refuse", first_seconds=0.0, longest_seconds=0.0)]
    run = await far.start("lanes", LANE, policy=rules, policy_version="mine-1")
    mine = Held(run.id, "p1", (await far.claim(run.id, "p1")).fence)
    await far.complete(mine, FETCH, done_of(0.8))
    lost = await far.fail(mine, call_of((2,), "book", None, "0" * 64), 1, trouble_of("transient", "504"))
    ended = await far.finish(mine, trouble=trouble_of("transient", "no answer", step="2"))
    fork = await far.fork(run.id, "2")
    resumed = await far.resume(run.id)
    gone = await far.cancel(fork.id, "enough")

    assert (lost.step.status, lost.step.error_class, lost.step.error) == ("failed", "transient", "504")
    assert (ended.status, ended.policy, ended.error, ended.failed_step) == ("refused", "mine-1", "no answer", "2")
    assert (fork.forked_from, fork.status, resumed.status) == (run.id, "ready", "ready")
    assert (gone.status, gone.error_class) == ("refused", "cancelled")
    assert {one.id for one in (await far.list(workflow="lanes", first=1)).items} == {fork.id}
    with pytest.raises(NotFoundError) as unknown:
        await far.run("nobody")
    assert unknown.value.code == "run.unknown"
    worker = await far.start("plan", runner="worker")
    assert (worker.runner, (await runs_of(server.memory).run(worker.id)).runner) == ("worker", "worker")


async def test_all_steps_of_a_run_come_page_by_page_and_its_words_go_for_good(
    server: Server, remote: RemoteMemory
) -> None:
    far, own = remote.runs, runs_of(server.memory)
    run = await far.start("lanes", LANE)
    mine = Held(run.id, "p1", (await far.claim(run.id, "p1")).fence)
    for number in range(1, 6):
        await far.complete(mine, call_of((number,), "fetch", {"n": number}, None), done_of({"n": number}))
    await far.fail(mine, call_of((6,), "pay", {}, None), 1, trouble_of("ambiguous", "cut off"))
    await far.finish(mine, trouble=trouble_of("ambiguous", "cut off", step="6"))
    server.lossy.loses = 1
    vouched = await far.vouch(f"{run.id}/6", {"paid_at": "noon"}, "it is on their list")
    pages, after = list[Any](), None
    for _ in range(4):
        page = await far.steps(run.id, first=2, after=after)
        pages.append([(one.place, one.output) for one in page.items])
        if (after := page.next) is None:
            break
    here = await own.steps(run.id, first=6)

    assert pages == [
        [("1", {"n": 1}), ("2", {"n": 2})], [("3", {"n": 3}), ("4", {"n": 4})],
        [("5", {"n": 5}), ("6", {"paid_at": "noon"})],
    ]  # fmt: skip
    last = page.items[-1]
    assert last.vouched is not None
    assert (last.vouched.by, last.vouched.reason, last.completed) == ("agent:planner", "it is on their list", True)
    assert ([one.id for one in here.items][-1], here.next, vouched.status) == (last.id, None, "ready")
    assert [len((await own.steps(run.id, first=2, after=after)).items) for after in (None, "4", "5", "6")] == [
        2,
        2,
        1,
        0,
    ]
    with pytest.raises(NotFoundError) as unknown:
        await far.steps("nobody")
    assert unknown.value.code == "run.unknown"
    with pytest.raises(InvalidError):
        await own.steps(run.id, first=0)
    with pytest.raises(InvalidError) as agents:
        await far.amend_by_name((await far.cancel(run.id)).id, {"lane_name": "Nice"})
    plan = await far.cancel((await far.start("plan", LANE, runner="worker")).id)
    amended = await far.amend_by_name(plan.id, {"lane_name": "Nice"})
    assert ("agent" in str(agents.value), amended.amends, amended.input["kwargs"]) == (True, plan.id, {"lane_name": "Nice"})  # fmt: skip
    with pytest.raises(ForbiddenError):
        await far.erase(run.id, "asked for")
    gone = await remote.within(by="human:ada").runs.erase(run.id, "asked for")
    assert (gone.runs, gone.steps, gone.attempts) == (1, 6, 6)


async def test_programs_that_do_not_await_have_the_same_verbs(server: Server) -> None:
    def work() -> list[object]:
        with BlockingRemoteMemory.open(server.url, by="agent:planner", patience=SOON) as memory:
            far = memory.runs
            run = far.start("lanes", LANE)
            mine = Held(run.id, "p1", far.claim(run.id, "p1").fence)
            begun = far.begin(mine, FETCH)
            far.complete(mine, FETCH, done_of(3))
            steps = [one.output for one in far.steps(run.id).items]
            return [begun.attempt, far.begin(mine, FETCH).step.output, far.finish(mine, "fine").status, steps]

    assert await asyncio.to_thread(work) == [1, 3, "done", [3]]


def test_every_verb_has_the_signature_that_it_has_in_python() -> None:
    verbs = {name for name in vars(RemoteRuns) if not name.startswith("_")}
    of_agents = {name for name in vars(Agents) if not name.startswith("_")}
    assert of_agents <= verbs <= set(vars(BlockingRemoteRuns))
    for name in verbs:
        ours, theirs = getattr(RemoteRuns, name), getattr(Agents if name in of_agents else Runs, name)
        assert _taken(ours) == _taken(theirs), name
    for made in (call_of, done_of, trouble_of):
        assert _taken(made) == _taken(getattr(external_words, made.__name__))


def _taken(verb: Any) -> list[tuple[str, object, object]]:
    """Return the parameters of a verb; a policy, a class of execution, is rules and their version over a wire."""
    return [
        (one.name, one.kind, one.default) for one in inspect.signature(verb).parameters.values()
        if not one.name.startswith("policy")
    ]  # fmt: skip
