"""What is declared for each class of trouble is done by the next worker, when one dies in the middle of it."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from simulation.run_children import Ahead
from simulation.trouble_children import MEETINGS, RETRY_AFTER_S, Labour, deadly, meeting, work

from latewood.execution import Run, RunStatus, Workflow
from latewood.graph_schema.clock import parse_instant
from latewood.memory import Memory
from latewood.memory.runs import runs_of

_AGO_S = 3_600.0
_WORKERS_MAX = 30


@pytest.fixture(params=["sqlite", "neo4j"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    from conformance.stores import empty_neo4j
    from neo4j_server import NEO4J

    empty_neo4j(NEO4J.url())
    return NEO4J.url()


async def _start(url: str, flow: Workflow[..., object], *inputs: tuple[str | int, ...]) -> None:
    async with Memory.open(url, by="agent:caller", clock=Ahead(-_AGO_S), embedder="none") as memory:
        for given in inputs:
            await runs_of(memory).start(flow, *given)


def _deaths(url: str, calls: Path, *, dies: bool) -> int:
    """Send worker after worker until one comes back; return how many did not."""
    for deaths in range(_WORKERS_MAX):
        code = work(Labour(url, str(calls), 100.0 * deaths, dies))
        if code == 0:
            return deaths
        assert code == -signal.SIGKILL
    pytest.fail("workers die without end")


async def _found(url: str) -> list[tuple[Run, list[dict[str, object]]]]:
    async with Memory.open(url, by="human:ada", clock=Ahead(10**6), embedder="none") as memory:
        runs = runs_of(memory)
        shown = [await runs.show(run.id) for run in (await runs.list(first=100)).items]
        assert (await memory.store.verify("default", "execution")).ok
    return [(one.run, [dict(tried) for of_step in one.attempts.values() for tried in of_step]) for one in shown]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_each_class_of_trouble_has_its_end_though_a_worker_dies_after_every_failed_try(
    url: str, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    asyncio.run(_start(url, meeting, *MEETINGS))
    deaths = _deaths(url, calls, dies=True)
    found = asyncio.run(_found(url))

    assert deaths >= len(MEETINGS)
    assert {tuple(run.input["args"]): run.status for run, _ in found} == {  # type: ignore[arg-type]
        met: status for met, (status, _) in MEETINGS.items()
    }
    called = Counter(calls.read_text(encoding="utf-8").splitlines())
    assert called == {f"{kind} {fails}": tries for (kind, fails), (_, tries) in MEETINGS.items()}
    for run, tries in found:
        assert [one["number"] for one in tries] == list(range(1, len(tries) + 1)), run.input
    waits = [
        parse_instant(str(one["retry_at"])) for run, tries in found if run.input["args"] == ["rate-limit", 2] for one in tries[:-1]
    ]  # fmt: skip
    assert len(waits) == 2
    assert waits[1] - waits[0] >= timedelta(seconds=RETRY_AFTER_S)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_step_that_kills_its_worker_is_poison_after_as_many_as_its_policy_allows(url: str, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    asyncio.run(_start(url, deadly, ()))
    deaths = _deaths(url, calls, dies=False)
    ((run, _),) = asyncio.run(_found(url))

    assert (deaths, calls.read_text(encoding="utf-8")) == (2, "deadly\ndeadly\n")
    assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "poison")
