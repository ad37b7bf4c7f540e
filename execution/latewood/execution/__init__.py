"""The deterministic spine: workflows in plain Python that go on where they stopped, as nodes of the graph."""

from __future__ import annotations

from latewood.execution.blobs import Transcript, conversation
from latewood.execution.control import Runs, Shown
from latewood.execution.driving import child
from latewood.execution.faults import DEFAULT, Action, Fault, FaultClass, Policy, Rule
from latewood.execution.logbook import Logbook
from latewood.execution.pausing import ask, gather, sleep
from latewood.execution.running import TRYING, StepFailedError, Trying
from latewood.execution.words import Run, RunStatus, Step, StepStatus
from latewood.execution.worker import Worker
from latewood.execution.workflow import StepOf, Workflow, step, workflow

__all__ = [
    "DEFAULT", "Action", "Fault", "FaultClass", "Logbook", "Policy", "Rule", "Run", "RunStatus", "Runs", "Shown",
    "Step", "StepFailedError", "StepOf", "StepStatus", "Transcript", "Trying", "Worker", "Workflow", "ask", "child",
    "conversation", "gather", "sleep", "step", "trying", "workflow",
]  # fmt: skip


def trying() -> Trying | None:
    """Return the try that this step is: its idempotency key, what the try before met. None outside of steps."""
    return TRYING.get()
