"""The kit's own report: a broken store is seen, a missing ability is named, the rest goes on."""

from pathlib import Path

import pytest
from conformance.stores import MakeReference

from latewood.graph_schema.clock import Clock
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.storage.conformance.registry import CAPABILITIES
from latewood.storage.conformance.report import Report, Result, SkippedError, run
from latewood.storage.port import GraphStore
from latewood.storage.reference import ReferenceStore


class Forgetful(ReferenceStore):
    async def near_keys(self, space: str, key: str, limit: int = 5) -> tuple[str, ...]:
        raise RuntimeError("out of order")


class MakeForgetful(MakeReference):
    async def fresh(self, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        return Forgetful(clock=clock, ids=ids, words=words)

    async def again(self, store: GraphStore, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        raise SkippedError("this store forgets")


@pytest.mark.slow
async def test_a_run_reports_each_check(tmp_path: Path) -> None:
    report = await run(MakeForgetful(tmp_path))
    outcomes = {result.check: result for result in report.results}

    assert len(report.results) == sum(len(checks) for checks in CAPABILITIES.values())
    assert not report.ok
    assert outcomes["check_near_keys_are_suggested"].outcome == "failed"
    assert outcomes["check_near_keys_are_suggested"].detail == "RuntimeError: out of order"
    assert outcomes["check_two_openings_share_one_truth"].outcome == "skipped"
    assert outcomes["check_history_is_frozen"].outcome == "passed"
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines[1 : len(CAPABILITIES) + 1]] == list(CAPABILITIES)
    assert "failed reads.check_near_keys_are_suggested: RuntimeError: out of order" in lines
    assert any(line.startswith("skipped lifecycle.") and "forgets" in line for line in lines)


def test_a_report_without_failures_is_ok() -> None:
    assert Report((Result("a", "b", "skipped", "x", 0.0), Result("a", "c", "passed", "", 0.0))).ok
