"""The deterministic spine: workflows in plain Python that go on where they stopped, as nodes of the graph."""

from __future__ import annotations

from latewood.execution.blobs import Transcript, conversation
from latewood.execution.control import Runs, Shown
from latewood.execution.driving import child
from latewood.execution.endpoint import Endpoint
from latewood.execution.faults import DEFAULT, Action, Fault, FaultClass, Policy, Rule
from latewood.execution.governing import Allowed, Budget, ModelPolicy
from latewood.execution.logbook import Logbook
from latewood.execution.model import Model, agent, model_step
from latewood.execution.pausing import ask, gather, sleep
from latewood.execution.pricing import Price, Prices
from latewood.execution.running import StepFailedError
from latewood.execution.tools import Tool, Tools, tool
from latewood.execution.trying import TRYING, Trying
from latewood.execution.words import Run, RunStatus, Step, StepStatus
from latewood.execution.worker import Worker
from latewood.execution.workflow import StepOf, Workflow, step, workflow

__all__ = [
    "DEFAULT", "Action", "Allowed", "Budget", "Endpoint", "Fault", "FaultClass", "Logbook", "Model", "ModelPolicy",
    "Policy", "Price", "Prices", "Rule", "Run", "RunStatus", "Runs", "Shown", "Step", "StepFailedError", "StepOf",
    "StepStatus", "Tool", "Tools", "Transcript", "Trying", "Worker", "Workflow", "agent", "ask", "child",
    "conversation", "gather", "model_step", "sleep", "step", "tool", "trying", "workflow",
]  # fmt: skip


def trying() -> Trying | None:
    """Return the try that this step is: its idempotency key, what the try before met. None outside of steps."""
    return TRYING.get()
