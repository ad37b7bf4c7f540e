"""`latewood new run-type` and `latewood lint`: each paved path begins lint-free, runs, and is held to its rules."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latewood.execution import Run, Runs
from latewood.execution.loading import marked_in
from latewood.execution.paving import RULES, paths
from latewood.graph_schema.errors import InvalidError
from latewood.memory import Memory
from latewood.memory.runs import runs_of, worker_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def _made(cli: Any, folder: Path, path: str) -> str:
    name = f"made-{path}-{abs(hash(folder))}"
    document = cli.json("new", "run-type", name, "--path", path, "--owner", "human:ada", "--folder", str(folder))
    return Path(document["file"]).stem


@pytest.mark.parametrize("path", ["standard", "clinical-report"])
def test_each_path_passes_its_own_rules(cli: Any, folder: Path, path: str) -> None:
    module = _made(cli, folder, path)

    assert set(paths()) == {"standard", "clinical-report"}
    assert cli.json("lint", module) == {
        "workflows": [{"workflow": module.replace("_", "-"), "version": "1", "path": path, "findings": []}],
        "left_path": 0, "off_path": 0,
    }  # fmt: skip


_LEFT = {
    "owner": (' owner="human:ada",', ""),
    "human-owner": ('owner="human:ada"', 'owner="agent:planner"'),
    "deadline": ("deadline_s=7 * 86_400", "deadline_s=8 * 86_400"),
    "input-schema": ("input_schema=INPUT, ", ""),
    "output-schema": ("output_schema=OUTPUT,", ""),
    "policy": (" policy=POLICY,", ""),
    "step-timeout": ("@step(timeout_s=120)", "@step()"),
    "probe": ("probe=filed_before", "outside=True"),
}


def test_what_leaves_the_path_is_named_by_its_rule(cli: Any, folder: Path) -> None:
    module = _made(cli, folder, "clinical-report")
    text = (folder / f"{module}.py").read_text(encoding="utf-8")
    assert set(_LEFT) == set(RULES)

    for place, (rule, (was, now)) in enumerate(_LEFT.items()):
        assert was in text
        stem = f"{module}_{place}"
        (folder / f"{stem}.py").write_text(text.replace(was, now), encoding="utf-8")
        importlib.invalidate_caches()
        done = cli.run("lint", stem)
        assert done.exit_code == 2
        assert rule in done.stdout, rule


def test_a_workflow_on_no_path_is_allowed_and_counted(cli: Any, folder: Path) -> None:
    module = _made(cli, folder, "standard")
    stem = f"{module}_off"
    text = (folder / f"{module}.py").read_text(encoding="utf-8")
    (folder / f"{stem}.py").write_text(text.replace(' path="standard",', ""), encoding="utf-8")
    importlib.invalidate_caches()
    found = cli.json("lint", module, stem)

    assert (found["left_path"], found["off_path"]) == (0, 1)
    assert "1 on no path" in cli.run("lint", module, stem).output


def test_nothing_is_written_over_and_bad_names_are_refused(cli: Any, folder: Path) -> None:
    module = _made(cli, folder, "standard")
    again = ("new", "run-type", module.replace("_", "-"), "--owner", "human:ada", "--folder", str(folder))
    assert cli.refused(*again)["code"] == "file.exists"
    assert cli.refused("new", "run-type", "Lane Plan", "--folder", str(folder))["code"] == "query.invalid"
    assert cli.refused("new", "run-type", "lane", "--owner", "ada", "--folder", str(folder))["code"] == "query.invalid"
    unknown = cli.run("new", "run-type", "lane", "--path", "gravel", "--folder", str(folder))
    assert (unknown.exit_code, "clinical-report" in unknown.output) == (3, True)
    assert not (folder / "lane.py").exists()


async def _until(ready: Callable[[Run], bool], runs: Runs, name: str) -> Run:
    while not ready(run := await runs.run(name)):  # noqa: ASYNC110 - what is waited for is in the store
        await asyncio.sleep(0.01)
    return run


async def test_a_made_workflow_runs_and_holds_to_its_schemas(cli: Any, folder: Path) -> None:
    made = importlib.import_module(_made(cli, folder, "clinical-report"))
    flow = getattr(made, made.__name__)
    async with Memory.open("reference:", by="agent:caller") as memory:
        runs = runs_of(memory)
        with pytest.raises(InvalidError, match=r"does not take this: \$\.slices does not fit minItems: 1") as refused:
            await runs.start(flow, "rec-1", [])
        assert (refused.value.code, (await runs.list()).items) == ("run.input", ())
        async with worker_of(memory, flow) as worker:
            waiting = await worker.start(flow, recording="rec-1", slices=["cough", "fever"])
            await _until(lambda run: run.status == "waiting", runs, waiting.id)
            shown = await runs.show(waiting.id)
            question = next(one for one in shown.steps if one.asked is not None)
            await runs_of(memory.within(by="human:ada")).answer(f"{waiting.id}/{question.place[0]}", "yes")
            await worker.look()
            run = await _until(lambda run: run.ended, runs, waiting.id)

    assert (run.status, run.output) == (
        "done", {"recording": "rec-1", "report": "[1] cough\n[2] fever", "signed": True},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 / 0", "broken.py, line 1: ZeroDivisionError"), ("import no_such_one", "No module named 'no_such_one'"),
        ("def x(:", "SyntaxError"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_loaded_says_why_and_where(folder: Path, text: str, words: str) -> None:
    (folder / "broken.py").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidError, match="the module 'broken' cannot be loaded") as caught:
        marked_in("broken")
    assert words in caught.value.message


@pytest.mark.parametrize("name", [".", "flows/lane_plan.py", "lane_plan.py", ""])
def test_what_is_no_module_is_refused_with_how_it_is_written(name: str) -> None:
    with pytest.raises(InvalidError, match="as Python imports it: lane_plan"):
        marked_in(name)
