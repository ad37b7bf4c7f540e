"""Runs as tasks of the Model Context Protocol: a call that starts one is answered with a task, and clients look again.

A task is a durable run and nothing else: its id names the run, and what a task says is read from the graph each time.
So a task survives the server, and the command line, GraphQL and the protocol tell of the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.types import HEADER_MISMATCH, INVALID_PARAMS, CallToolRequestParams, CallToolResult, RequestParams
from pydantic import Field

from latewood.execution.driving import CANCELLED
from latewood.execution.logbook import Logbook
from latewood.execution.showing import Progress, progress_of
from latewood.execution.words import Run, RunStatus, Step
from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError, LatewoodError, NotFoundError
from latewood.graph_schema.values import Json
from latewood.memory import Memory
from latewood.memory.runs import book_of, runs_of
from latewood.server.mcp.answers import NOTICE
from latewood.server.mcp.arguments import as_owner, writer
from latewood.storage.port import FactQuery

__all__ = ["TASKS", "Tasks", "answer_with_task", "takes_tasks"]

TASKS: Final = "io.modelcontextprotocol/tasks"
_VERSIONS: Final = frozenset({"2026-07-28"})
_POLL_MS: Final = 1_000
_ANSWERS_MAX: Final = 100
_INTERNAL: Final = -32603
_BROKEN: Final = frozenset({"workflow", "nondeterministic", "deadline", "parent", "poison", "lost-worker"})
"""What ended these runs lies with whoever runs them; any other trouble is what the work itself came to."""
_STARTED: Final[ContextVar[list[tuple[str, str]] | None]] = ContextVar("latewood_tasks", default=None)


def answer_with_task(run_id: str, space: str = "default") -> None:
    """Let the call that is being answered be answered with this run as a task, if its client takes tasks."""
    started = _STARTED.get()
    if started is not None:
        started[:] = [(run_id, space)]


class _TaskParams(RequestParams):
    task_id: str = Field(alias="taskId", min_length=1, max_length=300)


class _UpdateParams(_TaskParams):
    input_responses: dict[str, Any] = Field(alias="inputResponses", default_factory=dict, max_length=_ANSWERS_MAX)


class Tasks(Extension):
    """The extension: `tasks/get`, `tasks/update` and `tasks/cancel`."""

    identifier = TASKS

    def __init__(self, memory: Memory) -> None:
        """Serve the runs of *memory*."""
        self._memory = memory

    def methods(self) -> Sequence[MethodBinding]:
        """Return what clients may ask of tasks."""
        return (
            MethodBinding("tasks/get", _TaskParams, self._get, _VERSIONS),
            MethodBinding("tasks/update", _UpdateParams, self._update, _VERSIONS),
            MethodBinding("tasks/cancel", _TaskParams, self._cancel, _VERSIONS),
        )

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Answer with a task where the tool started one and the client takes tasks; else as the tool answers."""
        del params
        started: list[tuple[str, str]] = []
        mark = _STARTED.set(started)
        try:
            result = await call_next(ctx)
        finally:
            _STARTED.reset(mark)
        failed = isinstance(result, CallToolResult) and result.is_error
        if not started or failed or not takes_tasks(ctx):
            return result
        (run_id, space) = started[0]
        book = book_of(self._memory.within(space=space))
        run = await book.run(run_id)
        return {"resultType": "task", **await _task(book, run, space, "working")}

    async def _found(self, ctx: ServerRequestContext[Any, Any], task_id: str) -> tuple[Memory, Run, str]:
        """Return the run that a task is.

        Raises:
            MCPError: -32021 for a client that has not said that it takes tasks, -32020 for a header that names another
                task, -32602 for an unknown one.
        """
        require_client_extension(ctx, TASKS)
        headers = getattr(ctx.request, "headers", None)
        if headers is not None and decode_header_value(headers.get(MCP_NAME_HEADER)) != task_id:
            raise MCPError(HEADER_MISMATCH, f"the header {MCP_NAME_HEADER} must name the task that the request names")
        space, slash, run_id = task_id.rpartition("/")
        handle = self._memory.within(space=space if slash else None)
        try:
            return handle, await book_of(handle).run(run_id), space if slash else handle.space
        except NotFoundError as error:
            raise MCPError(INVALID_PARAMS, f"there is no task {task_id[:80]!r}", {"code": error.code}) from error
        except LatewoodError as error:
            raise _refused(error) from error

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: Any) -> HandlerResult:
        asked = cast("_TaskParams", params)
        handle, run, space = await self._found(ctx, asked.task_id)
        book = book_of(handle)
        far = (await progress_of(book, [run.id]))[run.id]
        status = _status(run, far)
        told = await _task(book, run, space, status)
        if status == "input_required":
            told["inputRequests"] = {step.id: _request(step) for step in far.questions}
        elif status == "completed":
            told["result"] = _result(run)
        elif status == "failed":
            told["error"] = {
                "code": _INTERNAL, "message": str(run.result.get("message", "")),
                "data": {"class": run.result.get("class"), "run": run.id},
            }  # fmt: skip
        return told

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: Any) -> HandlerResult:
        given = cast("_UpdateParams", params)
        handle, run, _ = await self._found(ctx, given.task_id)
        far = (await progress_of(book_of(handle), [run.id]))[run.id]
        mine = writer(handle, None, None, None)
        for step in far.questions:
            answer = _answer(given.input_responses.get(step.id))
            if answer is None:
                # Declined, or not among what came: the question stays open.
                continue
            owner = cast("str | None", (step.asked or {}).get("owner"))
            try:
                await runs_of(as_owner(mine, owner)).answer(step.id, answer)
            except ConflictError as error:
                if error.code != "question.settled":
                    raise _refused(error) from error
            except LatewoodError as error:
                raise _refused(error) from error
        return {}

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: Any) -> HandlerResult:
        asked = cast("_TaskParams", params)
        handle, run, _ = await self._found(ctx, asked.task_id)
        try:
            if not run.ended:
                await runs_of(writer(handle, None, None, None)).cancel(run.id)
        except ConflictError as error:
            if error.code != "run.ended":
                raise _refused(error) from error
        except LatewoodError as error:
            raise _refused(error) from error
        return {}


def takes_tasks(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Tell whether a request's client has said that it takes tasks."""
    able = ctx.session.client_capabilities
    declared = able.extensions if able is not None else None
    return ctx.protocol_version in _VERSIONS and TASKS in (declared or {})


def _refused(error: LatewoodError) -> MCPError:
    refused = isinstance(error, InvalidError | ForbiddenError | ConflictError)
    return MCPError(INVALID_PARAMS if refused else _INTERNAL, f"{error.code}: {error.message}", {"code": error.code})


def _status(run: Run, far: Progress) -> str:
    if not run.ended:
        return "input_required" if far.questions else "working"
    kind = run.result.get("class")
    if run.status is RunStatus.REFUSED and kind == CANCELLED:
        return "cancelled"
    return "failed" if kind in _BROKEN else "completed"


async def _task(book: Logbook, run: Run, space: str, status: str) -> dict[str, Any]:
    """Say what every answer about a task says. Runs are kept for good, so that a task has no end of its life."""
    moved = await book.store.facts(space, FactQuery(subjects=[run.id], predicates=["status"]), AsOf())
    latest = max((fact.recorded_at for fact in moved), default=run.started_at)
    return {
        "taskId": run.id if space == "default" else f"{space}/{run.id}", "status": status,
        "createdAt": _at(run.started_at), "lastUpdatedAt": _at(latest), "ttlMs": None, "pollIntervalMs": _POLL_MS,
    }  # fmt: skip


def _at(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _result(run: Run) -> dict[str, Any]:
    """Return what the call would have been answered with, had its client waited."""
    told: dict[str, Json] = {"notice": NOTICE, "run": run.id, "status": str(run.status)}
    if run.status in (RunStatus.DONE, RunStatus.DEGRADED):
        told["output"] = run.output
        text = run.output if isinstance(run.output, str) else json.dumps(run.output, ensure_ascii=False)
        return {"content": [{"type": "text", "text": text}], "structuredContent": told, "isError": False}
    told |= {"error_class": run.result.get("class"), "error": run.result.get("message")}
    text = f"{run.result.get('class')}: {run.result.get('message')}"
    return {"content": [{"type": "text", "text": text}], "structuredContent": told, "isError": True}


def _request(step: Step) -> dict[str, Any]:
    """Return a question as a form that the client shows to its human."""
    asked = step.asked or {}
    field: dict[str, Any] = {"type": "string", "title": "Answer"}
    if choices := asked.get("choices"):
        field["enum"] = choices
    schema = {"type": "object", "properties": {"answer": field}, "required": ["answer"]}
    context = asked.get("context")
    message = str(asked.get("question")) + ("" if context is None else f"\n{json.dumps(context, ensure_ascii=False)}")
    return {
        "method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}
    }  # fmt: skip


def _answer(given: object) -> object:
    """Return what the human answered: under the name that was asked for, or else whatever they gave."""
    if not isinstance(given, Mapping):
        return None
    told = cast("Mapping[str, object]", given)
    content = told.get("content")
    if told.get("action") != "accept" or not isinstance(content, Mapping):
        return None
    said = cast("Mapping[str, object]", content)
    if "answer" in said:
        return said["answer"]
    return dict(said) if len(said) != 1 else next(iter(said.values()))
