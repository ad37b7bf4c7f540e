"""Runs of workflows over GraphQL, as the Python API tells them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from integration.execution.acting import until
from integration.server.conftest import serving

from latewood.execution import (
    DEFAULT,
    Action,
    Fault,
    FaultClass,
    Rule,
    RunStatus,
    ask,
    child,
    gather,
    step,
    trying,
    workflow,
)
from latewood.execution.external_words import Held, call_of, trouble_of
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.commands import Erase
from latewood.memory import Memory
from latewood.memory.credentials import Scope
from latewood.memory.keys import Keys
from latewood.memory.runs import agents_of, book_of, runs_of, worker_of
from latewood.server.options import ServerOptions

QUICK = DEFAULT.changed("quick-1", {FaultClass.TRANSIENT: Rule(2, Action.ESCALATE, first_s=0.001)})
BROKEN: set[str] = set()
WHOLE = """id waits workflow version policy status owner input startedAt deadlineAt wakeAt claim { worker fence lost } output errorClass
  error failedStep cancelling parent forkedFrom amends replayed tokensSaved stepCount stepsDone tokens next
  questions { id question owner choices context onTimeout deadlineAt overdue answer answeredBy }
  steps { edges { node { id place name sort status digest output errorClass error usage wakeAt tries child input reads
    attempts { number outcome seconds errorClass error policy model stage cost currency prices data modelPolicy usage retryAt } question { question answer answeredBy } } } }"""


@step()
async def summarise(part: int) -> str:
    now = trying()
    assert now is not None
    now.usage = {"input": 1_000, "output": 10 * part}
    if f"part {part}" in BROKEN:
        raise Fault("transient", f"part {part} is away")
    return f"part {part}"


@workflow(owner="human:ada", policy=QUICK)
async def report(parts: int) -> str:
    found = [await summarise(number) for number in range(1, parts + 1)]
    sent = await ask("Send it?", choices=["yes", "no"], context={"parts": parts})
    return f"{len(found)} parts, sent: {sent}"


async def test_a_run_is_shown_resumed_and_answered_over_graphql(served: Any) -> None:
    BROKEN.clear()
    BROKEN.add("part 3")
    async with worker_of(served.memory, report, poll_s=0.02) as worker:
        run = await worker.run(report, 3)
        told = (await served.ask(f'{{ run(id: "{run.id}") {{ {WHOLE} }} }}'))["run"]
        assert (told["status"], told["errorClass"], told["failedStep"]) == ("ESCALATED", "transient", "3")
        assert (told["stepCount"], told["stepsDone"], told["tokens"]) == (3, 2, 2_030)
        assert told["next"] == f"latewood run resume {run.id}"
        assert told["input"] == {"args": [3], "kwargs": {}}
        steps = [edge["node"] for edge in told["steps"]["edges"]]
        assert [(one["place"], one["status"], one["output"], one["tries"]) for one in steps] == [
            ("1", "COMPLETED", "part 1", 1), ("2", "COMPLETED", "part 2", 1), ("3", "FAILED", None, 2),
        ]  # fmt: skip
        assert [(one["outcome"], one["errorClass"], one["policy"]) for one in steps[2]["attempts"]] == [
            ("failed", "transient", "quick-1")
        ] * 2
        assert steps[2]["attempts"][0]["retryAt"] is not None
        assert [(one["input"], one["reads"]) for one in steps[:1]] == [({"args": [1], "kwargs": {}}, [])]
        shown = await runs_of(served.memory).show(run.id)
        assert [one["digest"] for one in steps] == [one.digest for one in shown.steps]

        BROKEN.clear()
        resume = 'mutation { resumeRun(input: {run: "%s", by: "human:ada"}) { run { status next } } }'
        assert (await served.ask(resume % run.id))["resumeRun"]["run"] == {"status": "READY", "next": None}
        await until(served.memory, run.id, RunStatus.WAITING)
        told = (await served.ask(f'{{ run(id: "{run.id}") {{ {WHOLE} }} }}'))["run"]
        (asked,) = told["questions"]
        assert (asked["question"], asked["owner"], asked["choices"], asked["overdue"]) == ("Send it?", "human:ada", ["yes", "no"], False)  # fmt: skip
        assert (asked["context"], told["next"]) == ({"parts": 3}, f"latewood run answer {run.id}/4 CHOICE")

        answer = 'mutation { answerQuestion(input: {question: "%s/4", answer: "%s", by: "%s"}) { run { id } } }'
        assert (await served.refused(answer % (run.id, "yes", "agent:x")))["code"] == "trust.too_low"
        assert (await served.refused(answer % (run.id, "maybe", "human:ada")))["code"] == "question.choice"
        await served.ask(answer % (run.id, "yes", "human:ada"))
        await until(served.memory, run.id, RunStatus.DONE)
        told = (await served.ask(f'{{ run(id: "{run.id}") {{ {WHOLE} }} }}'))["run"]
    assert (told["output"], told["replayed"], told["tokensSaved"]) == ("3 parts, sent: yes", 3, 3_060)
    (last,) = [edge["node"]["question"] for edge in told["steps"]["edges"] if edge["node"]["place"] == "4"]
    assert (last["answer"], last["answeredBy"]) == ("yes", "human:ada")


@workflow(owner="human:bob")
async def reports(parts: int) -> str:
    return await child(report, parts)


async def test_a_run_whose_part_failed_names_it_and_its_owner(served: Any) -> None:
    BROKEN.clear()
    BROKEN.add("part 1")
    async with worker_of(served.memory, reports, poll_s=60) as worker:
        run = await worker.run(reports, 1)
    BROKEN.clear()
    shape = "id owner status next failedPart { id workflow owner error next }"
    whole = (await served.ask(f'{{ run(id: "{run.id}") {{ {shape} }} }}'))["run"]
    part = whole["failedPart"]
    assert (whole["status"], whole["owner"], part["workflow"], part["owner"]) == (
        "ESCALATED", "human:bob", "report", "human:ada"
    )  # fmt: skip
    assert "part 1 is away" in part["error"]
    assert whole["next"] == part["next"] == f"latewood run resume {run.id}"
    listed = (await served.ask(f"{{ runs {{ edges {{ node {{ {shape} }} }} }} }}"))["runs"]["edges"]
    assert [(edge["node"]["id"], edge["node"]["failedPart"]) for edge in listed] == [(part["id"], None), (run.id, part)]


async def test_runs_that_failed_at_parts_are_read_together_and_what_is_left_of_erased_ones_is_shown(
    served: Any,
) -> None:
    BROKEN.clear()
    BROKEN.add("part 1")
    async with worker_of(served.memory, reports, poll_s=60) as worker:
        runs = [await worker.run(reports, 1) for _ in range(6)]
    BROKEN.clear()
    query = "{ runs(first: %d) { edges { node { id parent next failedPart { id next } } } } }"
    counts: list[int] = []
    for first in (2, 12):
        served.calls.clear()
        found = [edge["node"] for edge in (await served.ask(query % first))["runs"]["edges"]]
        assert [one["next"] for one in found] == [
            f"latewood run resume {run.id}" for run in reversed(runs[-first // 2 :]) for _ in range(2)
        ]
        counts.append(sum(served.calls.values()))
    # Those of more runs than are read together take a second read.
    assert counts[1] <= 2 * counts[0], counts

    ada = book_of(served.memory.within(by="human:ada"))
    (part, whole), (lost_part, _) = found[:2], found[2:4]
    for gone in (whole["id"], lost_part["id"]):
        await ada.keep([Erase(ada.ids.new(), gone, "asked for")], body=["erase", gone])
    left = {edge["node"]["id"]: edge["node"] for edge in (await served.ask(query % 12))["runs"]["edges"]}
    kept = left[runs[-2].id]
    assert (kept["failedPart"], kept["next"]) == (None, f"latewood run resume {runs[-2].id}")
    assert (left[part["id"]]["parent"], left[part["id"]]["next"]) == (whole["id"], None)
    for name in (part["id"], runs[-2].id):
        assert (await runs_of(served.memory).show(name)).next == left[name]["next"]


async def test_a_step_is_vouched_for_over_graphql(served: Any) -> None:
    agents = agents_of(served.memory)
    run, call = await agents.start("ts.pay", owner="human:ada"), call_of((1,), "pay", {"what": "rent"}, None)
    mine = Held(run.id, "p1", (await agents.claim(run.id, "p1")).fence)
    await agents.fail(mine, call, 1, trouble_of("ambiguous", "the line was cut"))
    await agents.finish(mine, trouble=trouble_of("ambiguous", "the line was cut", step="1"))
    vouch = """mutation($by: String, $reason: String!) { vouchStep(input: {step: "%s/1", output: {paid_at: "noon"},
      reason: $reason, by: $by}) { run { status steps { edges { node { status output vouched { by reason at } } } } } } }"""

    assert (await served.refused(vouch % run.id, by="agent:x", reason="seen"))["code"] == "trust.too_low"
    assert (await served.refused(vouch % run.id, by="human:ada", reason=""))["code"] == "query.invalid"
    told = (await served.ask(vouch % run.id, by="human:ada", reason="seen"))["vouchStep"]["run"]
    (one,) = [edge["node"] for edge in told["steps"]["edges"]]
    at = one["vouched"].pop("at")
    assert (told["status"], one) == (
        "READY", {"status": "COMPLETED", "output": {"paid_at": "noon"}, "vouched": {"by": "human:ada", "reason": "seen"}}
    )  # fmt: skip
    assert at.startswith("20")
    fork = 'mutation { forkRun(input: {run: "%s", place: "2"}) { run { id } } }'
    assert (await served.refused((vouch % run.id), by="human:bob", reason="seen"))["code"] == "step.known"
    assert (await served.ask(fork % run.id))["forkRun"]["run"]["id"] != run.id


async def test_runs_are_listed_paged_cancelled_and_forked(served: Any) -> None:
    runs = runs_of(served.memory)
    made = [(await runs.start(report, number)).id for number in range(5)]
    page = (await served.ask("{ runs(first: 2) { edges { node { id } } pageInfo { endCursor hasNextPage } } }"))["runs"]
    assert [edge["node"]["id"] for edge in page["edges"]] == [made[4], made[3]]
    rest = 'query($after: String) { runs(first: 9, after: $after, workflow: "report") { edges { node { id } } } }'
    found = (await served.ask(rest, after=page["pageInfo"]["endCursor"]))["runs"]["edges"]
    assert [edge["node"]["id"] for edge in found] == [made[2], made[1], made[0]]
    cancel = 'mutation { cancelRun(input: {run: "%s", reason: "enough"}) { run { status error } } }'
    gone = (await served.ask(cancel % made[0]))["cancelRun"]["run"]
    assert (gone["status"], "enough" in gone["error"]) == ("REFUSED", True)
    assert (await served.refused(cancel % made[0]))["code"] == "run.ended"
    listed = (await served.ask("{ runs(status: [REFUSED]) { edges { node { id } } } }"))["runs"]["edges"]
    assert [edge["node"]["id"] for edge in listed] == [made[0]]
    fork = 'mutation { forkRun(input: {run: "%s", place: "%s"}) { run { forkedFrom status input } } }'
    forked = (await served.ask(fork % (made[1], "1")))["forkRun"]["run"]
    assert forked == {"forkedFrom": made[1], "status": "READY", "input": {"args": [1], "kwargs": {}}}
    assert (await served.refused(fork % (made[1], "7")))["code"] == "query.invalid"
    assert (await served.ask('{ run(id: "nobody") { id } }')) == {"run": None}
    assert (await served.refused(cancel % "nobody"))["code"] == "run.unknown"


async def test_steps_are_paged_by_place_and_runs_read_together(served: Any) -> None:
    @step()
    async def one(number: int) -> int:
        return number

    @workflow()
    async def wide(count: int) -> int:
        return sum(await gather(*(one(number) for number in range(count)), at_most=4))

    async with worker_of(served.memory, wide, poll_s=60) as worker:
        runs = [await worker.run(wide, 12) for _ in range(4)]
    shape = "edges { node { place output } } pageInfo { endCursor hasNextPage }"
    pages = 'query($after: String) { run(id: "%s") { steps(first: 5, after: $after) { SHAPE } } }'.replace(
        "SHAPE", shape
    )
    seen: list[tuple[str, int]] = []
    after = None
    for _ in range(9):
        page = (await served.ask(pages % runs[0].id, after=after))["run"]["steps"]
        seen += [(edge["node"]["place"], edge["node"]["output"]) for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == [(f"{number + 1}", number) for number in range(12)]
    each = "tokens stepsDone steps { edges { node { output attempts { number } } } }"
    deep = "{ runs(first: %d) { edges { node { EACH } } } }".replace("EACH", each)
    counts: list[int] = []
    for first in (1, 4):
        served.calls.clear()
        found = (await served.ask(deep % first))["runs"]["edges"]
        assert [len(edge["node"]["steps"]["edges"]) for edge in found] == [12] * first
        counts.append(sum(served.calls.values()))
    assert counts[0] == counts[1] < 12


async def test_an_overdue_question_says_so(tmp_path: Path, serve: Any) -> None:
    clock = ManualClock(datetime(2026, 3, 10, tzinfo=UTC))
    async with Memory.open(str(tmp_path / "r.db"), by="agent:t", sync="normal", clock=clock) as memory:
        async with worker_of(memory, report, poll_s=60) as worker:
            run = await worker.start(report, 0)
            await until(memory, run.id, RunStatus.WAITING)
        async with serve(memory) as served:
            query = "{ runs { edges { node { questions { overdue } } } } }"
            assert (await served.ask(query))["runs"]["edges"][0]["node"]["questions"] == [{"overdue": False}]
            clock.advance(days=2)
            assert (await served.ask(query))["runs"]["edges"][0]["node"]["questions"] == [{"overdue": True}]


async def test_runs_take_the_scope_run_to_be_settled(tmp_path: Path, serve: Any) -> None:
    async with Memory.open(str(tmp_path / "k.db"), by="human:root", sync="normal") as memory:
        run = await runs_of(memory).start(report, 1)
        keys = Keys(memory)
        made = {
            scopes: await keys.create("-".join(scopes), tenant="local", actor="human:bob", scopes=scopes, by="human:root")
            for scopes in ((str(Scope.READ), str(Scope.WRITE)), (str(Scope.READ), str(Scope.RUN)))
        }  # fmt: skip
        async with serving(memory, Counter(), options=ServerOptions(auth=True)) as served:
            cancel = f'mutation {{ cancelRun(input: {{run: "{run.id}"}}) {{ run {{ status error }} }} }}'
            refused, done = [await served.post(cancel, authorization=f"Bearer {key.secret}") for key in made.values()]
    assert refused["errors"][0]["extensions"]["code"] == "credential.scope"
    assert done["data"]["cancelRun"]["run"] == {"status": "REFUSED", "error": "cancelled by human:bob"}


CALLS = {
    "startRun": "StartRunInput", "claimRun": "ClaimRunInput", "beginStep": "BeginStepInput", "completeStep": "CompleteStepInput",
    "failStep": "FailStepInput", "askQuestion": "AskQuestionInput", "finishRun": "FinishRunInput",
    "heartbeatRun": "HeartbeatRunInput", "handBackRun": "HandBackRunInput",
}  # fmt: skip
STEP = "step { id status output tries question { answer } } attempt again retryAt"


def written(verb: str, select: str) -> str:
    return f"mutation($input: {CALLS[verb]}!) {{ answer: {verb}(input: $input) {{ {select} }} }}"


async def test_an_agent_in_any_language_runs_its_run_over_graphql(served: Any) -> None:
    async def say(verb: str, select: str, **given: Any) -> Any:
        return (await served.ask(written(verb, select), input=given))["answer"]

    start = {"workflow": "ts.lanes", "input": {"lane": "Lyon"}, "owner": "human:ada", "idempotencyKey": "order-17"}
    rule = {"fault": "TRANSIENT", "tries": 3, "then": "REFUSE", "firstSeconds": 60, "longestSeconds": 60}
    start |= {"policy": [rule], "policyVersion": "node-1"}
    run, again = [(await say("startRun", "run { id status runner policy }", **start))["run"] for _ in range(2)]
    assert run == again == {"id": run["id"], "status": "READY", "runner": "AGENT", "policy": "node-1"}
    claim = await say("claimRun", "fence until run { status }", run=run["id"], worker="node-1", leaseSeconds=30)
    mine = {"run": run["id"], "worker": "node-1", "fence": claim["fence"]}
    fetch = {"place": "1", "name": "fetch", "input": {"lane": "Lyon"}}
    begun = await say("beginStep", STEP, claim=mine, step=fetch)
    assert (begun["step"]["status"], begun["attempt"], begun["again"]) == ("STARTED", 1, False)
    failed = await say(
        "failStep", STEP, claim=mine, step=fetch, attempt=1, trouble={"kind": "TRANSIENT", "message": "504"}
    )
    assert (failed["step"]["status"], failed["attempt"], failed["retryAt"] is not None) == ("WAITING", 2, True)
    for _ in range(2):
        done = await say(
            "completeStep", STEP, claim=mine, step=fetch, output={"rate": 0.8}, usage={"input": 7, "output": 3}
        )
        assert (done["step"]["output"], done["step"]["tries"]) == ({"rate": 0.8}, 2)
    assert (await say("heartbeatRun", "fence", claim=mine))["fence"] == claim["fence"]
    asked = await say("askQuestion", STEP, claim=mine, place="2", question="Book?", choices=["yes", "no"])
    assert asked["step"]["question"] == {"answer": None}
    answer = 'mutation { answerQuestion(input: {question: "%s/2", answer: "yes", by: "human:ada"}) { run { status tokens } } }'
    assert (await served.ask(answer % run["id"]))["answerQuestion"]["run"] == {"status": "READY", "tokens": 10}
    asked = await say("askQuestion", STEP, claim=mine, place="2", question="Book?", choices=["yes", "no"])
    assert asked["step"]["question"] == {"answer": "yes"}

    assert (await say("handBackRun", "run { status }", claim=mine))["run"]["status"] == "READY"
    taken = await say("claimRun", "fence", run=run["id"], worker="node-2")
    assert taken["fence"] > claim["fence"]
    zombie = await served.refused(written("completeStep", STEP), input={"claim": mine, "step": fetch, "output": 1})
    assert (zombie["code"], f"stale fence {claim['fence']} < {taken['fence']}" in zombie["message"]) == (
        "lease.lost",
        True,
    )
    mine = {"run": run["id"], "worker": "node-2", "fence": taken["fence"]}
    kept = await say("beginStep", STEP, claim=mine, step=fetch)
    assert (kept["step"]["status"], kept["step"]["output"]) == ("COMPLETED", {"rate": 0.8})
    ended = await say("finishRun", "run { status output stepsDone stepCount }", claim=mine, output="booked")
    assert ended["run"] == {"status": "DONE", "output": "booked", "stepsDone": 2, "stepCount": 2}

    wrong = {"claim": mine, "step": {"place": "1", "name": "x", "input": [1]}}
    assert (await served.refused(written("beginStep", STEP), input=wrong))["code"] == "query.invalid"
    assert (await served.refused(written("claimRun", "fence"), input={"run": run["id"], "worker": "n"}))[
        "code"
    ] == "run.ended"
    told = (await runs_of(served.memory).show(run["id"])).attempts
    assert [len(tries) for tries in told.values() if tries] == [2]


async def test_stages_are_ranked_over_graphql(served: Any) -> None:
    BROKEN.clear()
    async with worker_of(served.memory, report, poll_s=60) as worker:
        run = await worker.start(report, 2)
        await until(served.memory, run.id, RunStatus.WAITING)
    one = "workflow stage steps tries failed tokens uncounted cost currency seconds p50Seconds p95Seconds waiting"
    asked = f"{{ stages {{ runs more byCost {{ {one} }} byWait {{ stage p95Seconds waiting }} }} }}"
    found = (await served.ask(asked))["stages"]
    assert (found["runs"], found["more"]) == (1, False)
    assert [(one["stage"], one["steps"], one["tokens"]) for one in found["byCost"]] == [
        ("summarise", 2, 2_030),
        ("ask", 1, 0),
    ]
    assert [(one["stage"], one["waiting"]) for one in found["byWait"] if one["waiting"]] == [("ask", 1)]
    assert (await served.refused("{ stages(runs: 1001) { runs } }"))["code"] == "limit.exceeded"


@step(name="priced part")
async def priced(part: int) -> int:
    now = trying()
    assert now is not None
    now.usage, now.model = {"input_tokens": 100, "output_tokens": part}, "small"
    now.about = {"stage": "summing", "prices": "p-1", "data": "open", "model_policy": "m-1"}
    if part < 3:
        now.about |= {"cost": "0.250001", "currency": "EUR"}
    return part


@workflow(owner="human:ada")
async def bill(parts: int) -> int:
    return sum([await priced(part) for part in range(1, parts + 1)])


async def test_a_finished_run_is_amended_and_erased_and_says_what_it_cost(served: Any) -> None:
    money = "id status output amends replayed saves { amounts { currency amount } unknown } stages { stage steps calls tokens cost }"
    amend = "mutation($input: AmendRunInput!) { amendRun(input: $input) { run { id amends input status } } }"
    async with worker_of(served.memory, bill, poll_s=0.02) as worker:
        run = await worker.run(bill, 2)
        told = (await served.ask(f'{{ run(id: "{run.id}") {{ {money} }} }}'))["run"]
        assert told["saves"] == {"amounts": [{"currency": "EUR", "amount": "0.500002"}], "unknown": 0}
        assert told["stages"] == [{"stage": "summing", "steps": 2, "calls": 2, "tokens": 203, "cost": "0.500002"}]
        wrong = await served.refused(amend, input={"run": run.id, "input": [3]})
        assert wrong["code"] == "query.invalid"
        begun = (await served.ask(amend, input={"run": run.id, "input": {"parts": 3}}))["amendRun"]["run"]
        assert (begun["amends"], begun["input"]) == (run.id, {"args": [], "kwargs": {"parts": 3}})
        await until(served.memory, begun["id"], RunStatus.DONE)
    told = (await served.ask(f'{{ run(id: "{begun["id"]}") {{ {money} }} }}'))["run"]
    assert (told["status"], told["output"], told["replayed"]) == ("DONE", 6, 2)
    assert told["saves"] == {"amounts": [{"currency": "EUR", "amount": "0.500002"}], "unknown": 1}
    assert told["stages"][0]["cost"] is None

    erase = "mutation($input: EraseRunInput!) { eraseRun(input: $input) { runs steps attempts shared } }"
    given = {"run": begun["id"], "reason": "asked for"}
    assert (await served.refused(erase, input={**given, "by": "agent:x"}))["code"] == "erase.forbidden"
    gone = (await served.ask(erase, input={**given, "by": "human:ada"}))["eraseRun"]
    assert gone == {"runs": 1, "steps": 1, "attempts": 1, "shared": 2}
