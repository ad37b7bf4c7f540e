"""`latewood runs`, `latewood run ...` and `latewood worker`: a run from its start to an answer and its end."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.cli.test_processes import document, start

from latewood.memory import Memory
from latewood.memory.runs import runs_of

_FLOWS = """
from latewood.execution import Fault, ask, child, step, workflow

@step()
async def price(lane: str) -> int:
    if lane == "nowhere":
        raise Fault("ambiguous", "two lanes have this name")
    return len(lane)

@workflow(owner="human:ada")
async def plan(lane: str) -> str:
    cost = await price(lane)
    if await ask(f"Pay {cost}?", choices=["yes", "no"]) == "no":
        return "left"
    return f"paid {cost}"

@workflow(owner="human:bob")
async def plans(lane: str) -> str:
    return await child(plan, lane)

@workflow(owner="human:ada")
async def hurried(lane: str) -> None:
    await ask(f"Quick, {lane}?", deadline_s=0.001)
"""

_LOOKS = 600
_STARTED = """mutation { startRun(input: {workflow: "plan", input: {lane: "Lyon"}, runner: WORKER, by: "agent:x"}) { run { id } } }"""


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"flows_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(_FLOWS, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return name


def _start(cli: Any, flows: str, lane: str, flow: str = "plan") -> str:
    async def start() -> str:
        async with Memory.open(str(cli.db), by="agent:caller") as memory:
            return (await runs_of(memory).start(getattr(sys.modules[flows], flow), lane)).id

    return asyncio.run(start())


def test_a_run_is_worked_on_asked_about_answered_and_ended(cli: Any, flows: str) -> None:
    cli.ok("worker", flows, "--until-idle")
    run = _start(cli, flows, "Lyon")
    assert [one["status"] for one in cli.json("runs")["items"]] == ["ready"]
    cli.ok("worker", flows, "--until-idle")
    waiting = cli.json("run", "show", run)

    assert (waiting["run"]["status"], waiting["next"]) == ("waiting", f"latewood run answer {run}/2 CHOICE")
    assert "Pay 4? (yes, no)" in cli.ok("run", "show", run)
    assert cli.refused("run", "answer", f"{run}/2", "maybe", "--by", "human:ada")["code"] == "question.choice"
    cli.ok("run", "answer", f"{run}/2", "yes", "--by", "human:ada")
    cli.ok("worker", flows, "--until-idle")
    cli.ok("worker", flows, "--until-idle")
    done = cli.json("run", "show", run)
    assert (done["run"]["status"], done["run"]["result"]["output"]) == ("done", "paid 4")
    assert [(step["place"], step["status"]) for step in done["steps"]] == [("1", "completed"), ("2", "completed")]
    assert done["run"]["id"] in cli.ok("runs", "--status", "done")


def test_a_run_that_failed_at_a_part_says_at_which_and_whose(cli: Any, flows: str) -> None:
    cli.ok("worker", flows, "--until-idle")
    run = _start(cli, flows, "nowhere", "plans")
    cli.ok("worker", flows, "--until-idle")
    told, shown = cli.json("run", "show", run), cli.ok("run", "show", run)

    part = told["failedPart"]
    assert f"failed part: run {part['id']} (plan 1) of human:ada, escalated: ambiguous: step 1 (price) failed" in shown
    choices = (
        f"next: latewood run vouch {part['id']}/1 OUTPUT --reason WHY if it happened, else latewood run resume {run}"
    )
    assert choices in " ".join(shown.split())
    assert choices in " ".join(cli.ok("run", "show", part["id"]).split())
    vouch = ("run", "vouch", f"{part['id']}/1", "7", "--reason", "seen at the counter")
    assert cli.refused(*vouch, "--by", "agent:x")["code"] == "trust.too_low"
    assert cli.refused(*vouch[:4], "--reason", " ", "--by", "human:ada")["code"] == "query.invalid"
    assert cli.json(*vouch, "--by", "human:ada")["id"] == run
    assert "7 (by the word of human:ada: seen at the counter)" in cli.ok("run", "show", part["id"])
    cli.ok("worker", flows, "--until-idle")
    assert cli.json("run", "show", part["id"])["next"] == f"latewood run answer {part['id']}/2 CHOICE"
    assert cli.refused(*vouch[:3], "8", *vouch[4:], "--by", "human:ada")["code"] == "step.known"
    assert 'input: {"args": ["nowhere"], "kwargs": {}}' in shown


def test_what_escalated_is_resumed_and_cancelled_and_forked(cli: Any, flows: str) -> None:
    cli.ok("worker", flows, "--until-idle")
    run = _start(cli, flows, "nowhere")
    cli.ok("worker", flows, "--until-idle")

    assert "ambiguous: step 1 (price) failed" in cli.ok("runs")
    assert cli.json("run", "resume", run)["status"] == "ready"
    assert cli.json("run", "cancel", run, "--reason", "not ours")["result"]["class"] == "cancelled"
    assert cli.refused("run", "cancel", run)["code"] == "run.ended"
    assert cli.refused("run", "fork", run, "7")["code"] == "query.invalid"
    fork = cli.json("run", "fork", run, "1")
    assert (fork["status"], fork["forkedFrom"]) == ("ready", run)


def test_a_run_is_started_without_its_code(cli: Any, flows: str) -> None:
    once = ("--idempotency-key", "one")
    run = cli.json("run", "start", "plan", '{"lane": "Lyon"}', "--owner", "human:ada", *once)
    assert cli.json("run", "start", "plan", '{"lane": "Lyon"}', "--owner", "human:ada", *once)["id"] == run["id"]
    assert "a worker that knows plan 1" in cli.ok("run", "show", run["id"])
    cli.ok("worker", flows, "--until-idle")
    assert "waits for the answer" not in (told := cli.ok("run", "show", run["id"]))
    assert "waits for: the answer of human:ada" in told

    agents = cli.json("run", "start", "elsewhere", "--agent", "--tries", "transient=2")
    assert (agents["runner"], agents["policy"]) == ("agent", "transient=2")
    assert agents["rules"]["transient"]["tries"] == 2
    for wrong in (("[1]",), ("--tries", "transient=2"), ("--agent", "--tries", "x=1"), ("--deadline", "0")):
        assert cli.refused("run", "start", "plan", *wrong)["code"] == "query.invalid"


def test_what_is_not_there_is_named(cli: Any, flows: str) -> None:
    cli.ok("observe", "a:1", "x", "1")

    assert cli.refused("run", "show", "nothing", exit_code=3)["code"] == "run.unknown"
    assert cli.refused("worker", "no_such_module_here", exit_code=3)["code"] == "run.workflow_unknown"
    assert cli.json("runs")["items"] == []


def _post(url: str, query: str) -> Any:
    return httpx.post(url, json={"query": query}, timeout=60).json()["data"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_server_works_too_and_the_next_one_goes_on(cli: Any, flows: str, tmp_path: Path) -> None:
    run = ""
    for status in ("waiting", "done"):
        server = start("serve", "--db", str(cli.db), "--port", "0", "--workflows", flows, "--json", cwd=tmp_path)
        try:
            url = document(server)["graphql"]
            if not run:
                run = _post(url, _STARTED)["startRun"]["run"]["id"]
            for _ in range(_LOOKS):
                told = _post(url, f'{{ run(id: "{run}") {{ status output }} }}')["run"]
                if told["status"].lower() == status:
                    break
                time.sleep(0.1)
            assert told["status"].lower() == status
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=30)
        if status == "waiting":
            cli.ok("run", "answer", f"{run}/2", "yes", "--by", "human:ada")
    assert told["output"] == "paid 4"


def test_a_module_without_workflows_is_refused_before_anything_is_served(cli: Any) -> None:
    assert cli.refused("serve", "--workflows", "json", exit_code=3)["code"] == "run.workflow_unknown"


def test_stages_are_ranked_by_cost_and_by_wait(cli: Any, flows: str) -> None:
    cli.ok("worker", flows, "--until-idle")
    _start(cli, flows, "Lyon")
    cli.ok("worker", flows, "--until-idle")
    found = cli.json("runs", "--stages", "--workflow", "plan")
    assert (found["runs"], [one["stage"] for one in found["byWait"]]) == (1, ["ask", "price"])
    said = cli.ok("runs", "--stages")
    assert said.index("by cost") < said.index("price") < said.index("by wait")
    assert cli.refused("runs", "--stages", "--status", "done")["code"] == "query.invalid"


def test_a_question_that_waits_too_long_says_so(cli: Any, flows: str) -> None:
    cli.ok("worker", flows, "--until-idle")
    run = _start(cli, flows, "Lyon", "hurried")
    cli.ok("worker", flows, "--until-idle")
    assert "Quick, Lyon?, overdue" in cli.ok("run", "show", run)
