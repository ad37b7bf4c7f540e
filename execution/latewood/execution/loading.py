"""Workflows and steps by the name of the module that they are in."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from latewood.execution.workflow import StepOf, Workflow
from latewood.graph_schema.errors import InvalidError, NotFoundError

__all__ = ["marked_in", "workflows_in"]


def workflows_in(modules: Sequence[str]) -> tuple[Workflow[..., Any], ...]:
    """Return the workflows of *modules*, looked for from the working directory on.

    Raises:
        InvalidError: one is no name of a module, such as a path (``query.invalid``), or its own code raises when it is
            loaded (``run.workflow_unknown``).
        NotFoundError: there is no such module, or it has no workflow (``run.workflow_unknown``).
    """
    return tuple(flow for module in modules for flow in marked_in(module)[0])


def _where(error: Exception) -> str:
    """Return the file and the line that raised *error*, followed by a colon."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return "".join(f"{one.filename}, line {one.lineno}: " for one in last if not one.filename.startswith("<"))


def marked_in(module: str) -> tuple[tuple[Workflow[..., Any], ...], tuple[StepOf[..., Any], ...]]:
    """Return the workflows and the steps of a module. Raises as `workflows_in` does."""
    if not all(part.isidentifier() for part in module.split(".")) or module.endswith(".py"):
        msg = f"{module[:80]!r} names no module; write it as Python imports it: lane_plan, or flows.lane_plan"
        raise InvalidError(msg, code="query.invalid", module=module[:80])
    if os.getcwd() not in sys.path:  # noqa: PTH109 - what is compared are the texts of sys.path
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        sought = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        if not sought:
            # Its own trouble, a module that it misses among others.
            msg = f"the module {module[:80]!r} cannot be loaded: {_where(error)}{type(error).__name__}: {error}"
            raise InvalidError(msg, code="run.workflow_unknown", module=module[:80]) from error
        msg = f"there is no module {module[:80]!r} to load workflows from: {error}; run this where it can be imported"
        raise NotFoundError(msg, code="run.workflow_unknown", module=module[:80]) from error
    named: dict[str, Any] = vars(loaded)
    flows: list[Workflow[..., Any]] = [one for one in named.values() if isinstance(one, Workflow)]
    steps: list[StepOf[..., Any]] = [one for one in named.values() if isinstance(one, StepOf)]
    if not flows:
        msg = f"the module {module[:80]!r} has no workflow; mark a function with @workflow()"
        raise NotFoundError(msg, code="run.workflow_unknown", module=module[:80])
    return tuple(flows), tuple(steps)
