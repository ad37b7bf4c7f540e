"""How a run stands is kept by what runs it: no other write makes up an answer, an end or a step's output."""

from __future__ import annotations

import pytest
from integration.execution.acting import ended, until, worker_of

from latewood.execution import RunStatus, StepStatus, ask, workflow
from latewood.graph_schema.errors import ForbiddenError
from latewood.memory import Memory
from latewood.memory.runs import runs_of


@workflow(name="forging.asks", owner="human:ada")
async def asks() -> object:
    return await ask("Pay it?", choices=["yes", "no"])


async def test_a_program_makes_up_no_answer_of_a_person_by_other_verbs(memory: Memory) -> None:
    program, ada = memory.within(by="agent:eve"), memory.within(by="human:ada")
    async with worker_of(memory, asks, poll_s=0.02) as worker:
        run = await worker.start(asks)
        await until(memory, run.id, RunStatus.WAITING)
        (asked,) = (await runs_of(memory).show(run.id)).steps
        yes = {"choice": "yes", "by": "human:ada"}
        written = (
            (asked.id, "step.answer", yes), (f"step:{run.id}/1", "step.answer", yes),
            (asked.id, "status", "completed"), (run.id, "status", "ready"), (f"run:{run.id}", "status", "ready"),
        )  # fmt: skip
        codes: list[str] = []
        for subject, predicate, value in written:
            with pytest.raises(ForbiddenError) as error:
                await program.observe(subject, predicate, value)
            codes.append(error.value.code)
        with pytest.raises(ForbiddenError) as linked:
            await program.relate(run.id, "has_step", "thing:x")
        (still,) = (await runs_of(memory).show(run.id)).steps
        await runs_of(ada).answer(asked.id, "no")
        run = await ended(memory, run.id)

    assert {*codes, linked.value.code} == {"ledger.execution"}
    assert (still.status, still.answer) == (StepStatus.WAITING, None)
    assert (run.status, run.output) == (RunStatus.DONE, "no")
