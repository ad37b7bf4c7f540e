"""Runs of workflows as models meet them: the tools `run` and `status`, over HTTP with the official client."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from integration.execution.acting import until
from integration.server.test_mcp import MODES, call, refused
from integration.server.test_mcp_manners import answering, client_of
from integration.server.test_runs import BROKEN, report, reports

from latewood.execution import FaultClass, RunStatus
from latewood.memory.runs import agents_of, runs_of, worker_of
from latewood.reasoning.tokens import tokens_of
from latewood.server.mcp import running


async def act(client: Any, action: str, **given: Any) -> dict[str, Any]:
    return (await call(client, "run", action=action, **given))["answer"]


async def test_an_agent_starts_its_run_with_a_policy_of_its_own(served: Any) -> None:
    start = {"workflow": "mcp.strict", "policy_version": "strict-1"}
    rule = {"error_class": "transient", "tries": 1, "then": "refuse"}
    async with client_of(served, "auto") as client:
        run = await act(client, "start", **start, policy=[rule])
        assert (run["policy"], (await runs_of(served.memory).run(run["run"])).policy) == ("strict-1", "strict-1")
        claim = await act(client, "claim", run=run["run"], worker="p1")
        mine = {"run": run["run"], "worker": "p1", "fence": claim["fence"], "place": "1", "step": "fetch", "input": {}}
        await act(client, "begin", **mine)
        failed = await act(client, "fail", **mine, attempt=1, error_class="transient", error="504")
        assert (failed["step"]["status"], failed["step"]["error_class"]) == ("failed", "transient")
        for wrong in (start, {**start, "policy": [rule, rule]}, {**start, "policy": [rule], "runner": "worker"},
                      {**start, "policy": [{**rule, "tries": 0}]}, {"workflow": "x", "policy": [rule]}):  # fmt: skip
            assert json.loads(await refused(client, "run", action="start", **wrong))["code"] == "query.invalid"


async def test_an_agent_works_on_a_run_through_the_tool(served: Any) -> None:
    async with client_of(served, "auto") as client:
        started = await act(client, "start", workflow="mcp.lanes", input={"lane": "Lyon"}, idempotency_key="k1")
        assert (await act(client, "start", workflow="mcp.lanes", input={"lane": "Lyon"}, idempotency_key="k1"))[
            "run"
        ] == started["run"]
        claim = await act(client, "claim", run=started["run"], worker="p1", seconds=30)
        mine = {"run": started["run"], "worker": "p1", "fence": claim["fence"]}
        fetch = {"place": "1", "step": "fetch", "input": {"lane": "Lyon"}}
        begun = await act(client, "begin", **mine, **fetch)
        assert (begun["attempt"], begun["step"]["status"]) == (1, "started")
        failed = await act(client, "fail", **mine, **fetch, attempt=1, error_class="transient", error="504")
        assert (failed["attempt"], "retry_at" in failed) == (2, True)
        done = await act(client, "complete", **mine, **fetch, output={"rate": 0.8}, usage={"input": 12, "output": 3})
        assert done["step"]["output"] == {"rate": 0.8}
        assert (await act(client, "heartbeat", **mine))["fence"] == claim["fence"]
        asked = await act(
            client, "ask", **mine, place="2", question="Book it?", choices=["yes", "no"], owner="agent:test"
        )
        assert asked["step"]["asks"]["question"] == "Book it?"

        shown = await call(client, "status", run=started["run"])
        assert (shown["status"], shown["progress"], shown["tokens"]) == ("waiting", "1 of 2 steps done", 15)
        assert shown["next"] == f"run action=answer question={started['run']}/2 answer=CHOICE"
        assert shown["waits_for"].startswith("the answer of agent:test, until 20")
        assert [one["question"] for one in shown["open_questions"]] == [f"{started['run']}/2"]
        assert [one["place"] for one in shown["items"]] == ["1", "2"]

        await act(client, "answer", question=f"{started['run']}/2", answer="yes")
        await act(client, "hand_back", **mine)
        fence = (await act(client, "claim", run=started["run"], worker="p2"))["fence"]
        late = json.loads(await refused(client, "run", action="complete", **mine, **fetch, output=1))
        assert (late["code"], f"stale fence {claim['fence']} < {fence}" in late["message"]) == ("lease.lost", True)
        mine = {**mine, "worker": "p2", "fence": fence}
        assert (await act(client, "begin", **mine, **fetch))["step"]["status"] == "completed"
        ended = await act(client, "finish", **mine, output="booked")
        assert ended["status"] == "done"
        for missing in (
            {"action": "begin"},
            {"action": "answer", "question": "x"},
            {"action": "claim", "run": "x"},
            {"action": "start"},
        ):
            assert json.loads(await refused(client, "run", **missing))["code"] == "query.invalid"
    assert (await runs_of(served.memory).run(started["run"])).output == "booked"


async def test_a_run_whose_part_failed_is_told_with_that_part(served: Any) -> None:
    BROKEN.clear()
    BROKEN.add("part 1")
    async with worker_of(served.memory, reports, poll_s=60) as worker:
        run = await worker.run(reports, 1)
    BROKEN.clear()
    async with client_of(served, "auto") as client:
        whole = await call(client, "status", run=run.id)
        part = await call(client, "status", run=whole["failed_part"]["run"])
    assert (whole["failed_part"]["owner"], whole["failed_part"]["error_class"]) == ("human:ada", "transient")
    assert "part 1 is away" in whole["failed_part"]["error"]
    assert whole["next"] == part["next"] == f"run action=resume run={run.id}"


async def test_a_step_is_vouched_for_by_whom_its_run_belongs_to(served: Any) -> None:
    async with client_of(served, "auto") as client:
        run = (await act(client, "start", workflow="ts.pay", owner="human:ada"))["run"]
        mine = {"run": run, "worker": "p1", "fence": (await act(client, "claim", run=run, worker="p1"))["fence"]}
        trouble = {"error_class": "ambiguous", "error": "the line was cut", "place": "1"}
        await act(client, "fail", **mine, **trouble, step="pay", input={}, attempt=1)
        await act(client, "finish", **mine, **trouble)
        told = (await call(client, "status", run=run))["next"]
        word = {"action": "vouch", "run": run, "place": "1", "output": {"paid": 7}, "reason": "seen"}
        agents = json.loads(await refused(client, "run", **word))
        no_reason = json.loads(await refused(client, "run", **{**word, "reason": None}, by="human:ada"))
        assert (await act(client, **word, by="human:ada"))["status"] == "ready"
        shown = await call(client, "status", run=run)
    assert (
        told
        == f"run action=vouch run={run} place=1 output=OUTPUT reason=WHY if it happened, else run action=resume run={run}"
    )
    assert (agents["code"], no_reason["code"]) == ("trust.too_low", "query.invalid")
    (step,) = shown["items"]
    assert (step["status"], step["output"], step["vouched"]["by"]) == ("completed", {"paid": 7}, "human:ada")


@pytest.mark.parametrize("mode", MODES)
async def test_a_question_without_an_answer_is_put_to_the_human(served: Any, mode: str) -> None:
    async with worker_of(served.memory, report, poll_s=0.02) as worker:
        run = await worker.start(report, 0)
        await until(served.memory, run.id, RunStatus.WAITING)
        asked, answer = answering("accept", {"answer": "yes"})
        async with client_of(served, mode, elicitation_callback=answer) as client:
            agents = json.loads(await refused(client, "run", action="answer", question=f"{run.id}/1", answer="yes"))
            assert agents["code"] == "trust.too_low"
            await act(client, "answer", question=f"{run.id}/1")
        assert len(asked) == 1
        assert asked[0].startswith("Send it?")
        (step,) = (await runs_of(served.memory).show(run.id)).steps
        assert step.answer == {"choice": "yes", "by": "human:ada"}
        async with client_of(served, mode) as client:
            alone = json.loads(await refused(client, "run", action="answer", question=f"{run.id}/1"))
        assert alone["code"] == "query.invalid"


async def test_status_lists_pages_and_keeps_to_its_budget(served: Any) -> None:
    agents = agents_of(served.memory)
    made = [(await agents.start(f"flow.{number % 2}", {"text": "x" * 5_000})).id for number in range(12)]
    await runs_of(served.memory).cancel(made[3], "enough")
    async with client_of(served, "auto") as client:
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(20):
            page = await call(client, "status", budget_tokens=600, cursor=cursor)
            assert tokens_of(json.dumps(page)) <= 600
            seen += [one["run"] for one in page["items"]]
            cursor = page.get("cursor")
            if cursor is None:
                break
        assert seen == made[::-1]
        only = await call(client, "status", statuses=["refused"])
        assert [(one["run"], one["error_class"]) for one in only["items"]] == [(made[3], "cancelled")]
        assert len((await call(client, "status", workflow="flow.1"))["items"]) == 6
        whole = await call(client, "status", run=made[0], budget_tokens=400)
        assert tokens_of(json.dumps(whole)) <= 400
        assert json.loads(await refused(client, "status", run="nobody"))["code"] == "run.unknown"
        gone = await agents.start("flow.0", {"n": 1}, runner="worker")
        await runs_of(served.memory).cancel(gone.id)
        again = await act(client, "amend", run=gone.id, input={"n": 2})
        assert (again["status"], again["run"] == gone.id) == ("ready", False)
        theirs = await refused(client, "run", action="amend", run=made[3], input={})
        assert json.loads(theirs)["code"] == "query.invalid"


def test_the_tool_knows_every_class_of_trouble() -> None:
    assert set(get_args(running._Class)) == {str(one) for one in FaultClass}
    assert set(get_args(running._Status)) == {str(one) for one in RunStatus}
