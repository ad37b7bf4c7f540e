"""The tools `run` and `status`: runs of workflows, for the models that look after them and the agents that run them."""

# Annotations are not put off in this module: the SDK looks up those of a question, which are made where it is asked.

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, cast

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel, ConfigDict, Field, create_model

from latewood.execution import RunStatus, Step
from latewood.execution.external import CLAIM_S_MAX, Agents
from latewood.execution.external_words import Begun, Claimed, Held, StepCall, call_of, done_of, trouble_of
from latewood.execution.faults import DEFAULT, Action, FaultClass, Rule
from latewood.execution.logbook import Logbook
from latewood.execution.policies import told_policy
from latewood.execution.showing import NextAct, Parts, is_overdue, next_act, parts_of, progress_of, saved_of
from latewood.execution.standing import last_trouble, unsettled, waits_for
from latewood.execution.words import RUN_S, Run, place_of, place_text
from latewood.graph_schema.clock import from_micros
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.values import Json
from latewood.memory import Memory
from latewood.memory.runs import agents_of, book_of, runs_of
from latewood.server.mcp.answers import Answer, Budget, answered, fitted, paged, whole
from latewood.server.mcp.arguments import (
    READS,
    WRITES,
    AnyJson,
    By,
    Cursor,
    Once,
    Session,
    Space,
    Tool,
    as_owner,
    writer,
)
from latewood.server.mcp.tasks import answer_with_task
from latewood.storage.port import Page

__all__ = ["add_running"]

_Asked = Context[Any, Any]
_OnTimeout = Literal["hold", "escalate", "deny"]
_Action = Literal[
    "start", "claim", "heartbeat", "hand_back", "begin", "complete", "fail", "ask", "finish", "answer", "cancel",
    "resume", "fork", "amend", "vouch",
]  # fmt: skip
_Runner = Literal["agent", "worker"]
_Status = Literal["ready", "running", "waiting", "done", "degraded", "escalated", "refused"]
_Class = Literal[
    "transient", "rate-limit", "permanent", "invalid-tool-call", "schema", "ambiguous", "poison", "lost-worker"
]
_SHARE: Final = 4
"""A run's own texts take this part of the budget, its steps the rest."""
_TEXTS_MIN: Final = 150
_DAY_S: Final = 86_400.0


class PolicyRule(BaseModel):
    """What is done about one class of trouble, in the place of what is usual."""

    model_config = ConfigDict(extra="forbid")
    error_class: _Class
    tries: int = Field(description="In all; of lost-worker how many workers may be lost at one place.")
    then: Literal["escalate", "refuse"] = "escalate"
    first_seconds: float = Field(default=0.5, description="Before the second try; then twice as long each time.")
    longest_seconds: float = 60.0

    def rule(self) -> tuple[FaultClass, Rule]:
        """Return it as policies have it."""
        said = Rule(self.tries, Action(self.then), self.first_seconds, self.longest_seconds)
        return FaultClass(self.error_class), said


class Reply(BaseModel):
    """The answer to a run's question."""

    answer: str = Field(min_length=1, max_length=20_000, title="Answer", description="Your answer.")


_TOLD = Reply.model_construct(answer="")
"""Nobody had to be asked."""


def add_running(tool: Tool, memory: Memory) -> None:
    """Add the tools about runs."""
    _showing(tool, memory)
    _acting(tool, memory)


def _run_line(run: Run) -> dict[str, Json]:
    """Say how a run stands, without what it took in and returned."""
    return {
        "run": run.id, "workflow": run.workflow, "version": run.version, "status": str(run.status),
        "policy": run.policy, "runner": run.runner, "owner": run.owner, "started_at": _at(run.started_at),
        "deadline_at": None if run.deadline_at is None else _at(from_micros(run.deadline_at)),
        "wakes_at": None if run.wake_at is None else _at(from_micros(run.wake_at)),
        "error_class": run.result.get("class"), "error": run.result.get("message"),
        "failed_step": run.result.get("step"), "parent": run.parent, "forked_from": run.forked_from,
        "claimed_by": None if run.claim is None else run.claim.worker,
    }  # fmt: skip


def _part_line(run: Run) -> dict[str, Json]:
    """Say at which part a run failed, whose that is, and what is wrong there."""
    return {
        "run": run.id, "workflow": run.workflow, "owner": run.owner, "status": str(run.status),
        "error_class": run.result.get("class"), "error": str(run.result.get("message", ""))[:200],
    }  # fmt: skip


def _at(instant: Any) -> str:
    return str(instant.isoformat()).replace("+00:00", "Z")


def _step_line(
    step: Step, now: int, *, output: bool = True, tried: Sequence[Mapping[str, Json]] = ()
) -> dict[str, Json]:  # fmt: skip
    kind, words = last_trouble(step, tried) or (None, None)
    found: dict[str, Json] = {
        "place": place_text(step.place), "name": step.name, "sort": step.sort, "status": str(step.status),
        "tries": step.attempts, "input_digest": step.digest, "usage": dict(step.usage or {}),
        "error_class": kind, "error": words, "child": step.child,
    }  # fmt: skip
    if step.asked is not None:
        found |= {"asks": dict(step.asked), "overdue": is_overdue(step, now), "answer": dict(step.answer or {})}
    if step.vouched is not None:
        found["vouched"] = dict(step.vouched)
    if output:
        found["output"] = step.output
    return found


def _next_call(run: Run, steps: Sequence[Step], parts: Parts) -> str | None:
    """Say what to do about a run as a call of the tool `run`: whoever reads this has no command line."""
    act = next_act(run, steps, parts)
    return None if act is None else _call_of(act)


def _call_of(act: NextAct) -> str:
    if act.verb == "answer":
        return f"run action=answer question={act.name} answer=CHOICE"
    if act.verb == "show":
        return f"status run={act.name}"
    if act.verb == "vouch":
        run, _, place = act.name.partition("/")
        call = f"run action=vouch run={run} place={place} output=OUTPUT reason=WHY"
        return call if act.otherwise is None else f"{call} if it happened, else {_call_of(act.otherwise)}"
    given = " input=INPUT" if act.verb == "amend" else "" if act.place is None else f" place={act.place}"
    return f"run action={act.verb} run={act.name}{given}"


async def _told(book: Logbook, run: Run, cursor: str | None, budget: int) -> Answer:
    """Return a run with as many of its steps as the budget holds."""
    far = (await progress_of(book, [run.id]))[run.id]
    now, saved = book.clock.now(), await saved_of(book, far.steps)
    tried = await book.attempts(unsettled(far.steps))
    parts = await parts_of(run, far.steps, book.run_by_id, book.steps)
    # What somebody wrote may be long; how the run stands is not.
    texts: dict[str, Json] = {
        "input": dict(run.input), "output": run.output, "error": run.result.get("message")
    }  # fmt: skip
    told: dict[str, Json] = {
        **_run_line(run), **cast("dict[str, Json]", fitted(texts, max(budget // _SHARE, _TEXTS_MIN))),
        "progress": f"{far.done} of {len(far.steps)} steps done", "tokens": far.tokens,
        "resume_saves": ", ".join(filter(None, (f"{far.done} steps", f"{far.tokens} tokens", saved.words()))),
        "waits_for": waits_for(run, far.steps, tried), "next": _next_call(run, far.steps, parts),
        "failed_part": None if parts.failed is None else _part_line(parts.failed),
        "open_questions": [
            {"question": f"{run.id}/{place_text(step.place)}", "words": str((step.asked or {}).get("question"))[:300],
             "owner": (step.asked or {}).get("owner"), "overdue": is_overdue(step, now)}
            for step in far.questions[:5]
        ],
    }  # fmt: skip

    async def read(first: int, after: str | None) -> Page[dict[str, Json]]:
        left = [step for step in far.steps if after is None or step.place > place_of(after)]
        shown = await book.steps_by_id([step.id for step in left[:first]])
        more = place_text(shown[-1].place) if len(left) > first and shown else None
        return Page(tuple(_step_line(step, now, tried=tried.get(step.id, ())) for step in shown), more)

    return await paged(read, cursor, budget, **told)


def _showing(tool: Tool, memory: Memory) -> None:
    @tool(READS)
    async def status(
        run: Annotated[str | None, Field(description="One run with its steps, by id; left out, a list.")] = None,
        statuses: Annotated[list[_Status] | None, Field(description="List only these.")] = None,
        workflow: Annotated[str | None, Field(description="List only runs of this workflow.")] = None,
        cursor: Cursor = None, budget_tokens: Budget = 1_500, space: Space = None,
    ) -> Answer:  # fmt: skip
        """See how runs of workflows stand: what is done, what failed and why, what is asked, what a resume saves, and
        what to do next.
        """
        handle = memory.within(space=space)

        async def look() -> Answer:
            book = book_of(handle)
            if run is not None:
                return await _told(book, await book.run(run), cursor, budget_tokens)

            async def read(first: int, after: str | None) -> Page[dict[str, Json]]:
                page = await book.runs(
                    statuses=[RunStatus(one) for one in statuses or ()], workflow=workflow, first=first, after=after
                )
                return Page(tuple(_run_line(one) for one in page.items), page.next)

            return await paged(read, cursor, budget_tokens)

        return await answered(look())


def _needed(value: str | None, name: str, action: str) -> str:
    if value is None:
        raise InvalidError(f"{action} needs {name}", code="query.invalid")
    return value


def _claim_told(one: Claimed) -> dict[str, Json]:
    return {**_run_line(one.run), "fence": one.fence, "until": _at(one.until), "input": dict(one.run.input)}


def _begun_told(one: Begun, now: int) -> dict[str, Json]:
    return {
        "step": _step_line(one.step, now), "attempt": one.attempt, "again": one.again or None,
        "retry_at": None if one.retry_at is None else _at(from_micros(one.retry_at)),
    }  # fmt: skip


class _Said(BaseModel):
    """What a call of `run` came with, without how its answer is to be."""

    action: _Action
    run: str | None
    workflow: str | None
    version: str | None
    input: dict[str, Any] | None
    runner: _Runner
    policy: list[PolicyRule] | None
    policy_version: str | None
    owner: str | None
    worker: str | None
    fence: int | None
    place: str | None
    step: str | None
    input_digest: str | None
    output: Any
    error_class: _Class | None
    error: str | None
    attempt: int | None
    usage: dict[str, int] | None
    model: str | None
    seconds: float | None
    question: str | None
    choices: list[str] | None
    on_timeout: _OnTimeout
    answer: str | None
    reason: str | None
    idempotency_key: str | None

    @property
    def held(self) -> Held:
        """The claim that the call goes by."""
        if self.run is None or self.worker is None or self.fence is None:
            msg = f"{self.action} needs run, worker and fence, as claim gave them"
            raise InvalidError(msg, code="query.invalid")
        return Held(self.run, self.worker, self.fence)

    @property
    def call(self) -> StepCall:
        """The step that the call is about."""
        name, place = _needed(self.step, "step", self.action), _needed(self.place, "place", self.action)
        return call_of(
            place_of(place), name, self.input, self.input_digest, model_call=self.model is not None
        )  # fmt: skip


async def _logged(agents: Agents, said: _Said, seconds: float | None, now: int) -> Mapping[str, Json]:
    """Do what an agent says of the run that it has claimed."""
    held = said.held
    if said.action == "heartbeat":
        return _claim_told(await agents.heartbeat(held, lease_s=60.0 if seconds is None else seconds))
    if said.action == "hand_back":
        return _run_line(await agents.hand_back(held))
    if said.action == "begin":
        return _begun_told(await agents.begin(held, said.call), now)
    if said.action == "complete":
        done = done_of(said.output, seconds=said.seconds, usage=said.usage, model=said.model)
        step = await agents.complete(held, said.call, done)
        return _begun_told(Begun(step, step.attempts + 1), now)
    if said.action == "ask":
        words, place = _needed(said.question, "question", "ask"), _needed(said.place, "place", "ask")
        step = await agents.ask(
            held, place_of(place), words, owner=said.owner, choices=said.choices or (),
            deadline_s=_DAY_S if seconds is None else seconds, on_timeout=said.on_timeout, context=said.input,
        )  # fmt: skip
        return _begun_told(Begun(step, step.attempts + 1), now)
    trouble = None
    if said.error_class is not None or said.action == "fail":
        trouble = trouble_of(
            _needed(said.error_class, "error_class", said.action), _needed(said.error, "error", said.action),
            retry_after_s=seconds, seconds=said.seconds, usage=said.usage, model=said.model,
            step=said.place if said.action == "finish" else None,
        )  # fmt: skip
    if said.action == "fail":
        if said.attempt is None or trouble is None:
            raise InvalidError("fail needs attempt, as begin gave it", code="query.invalid")
        return _begun_told(await agents.fail(held, said.call, said.attempt, trouble), now)
    return _run_line(await agents.finish(held, said.output, trouble=trouble))


async def _settled(handle: Memory, said: _Said, seconds: float | None) -> Mapping[str, Json]:
    """Do what somebody wants of a run from outside of it."""
    runs, agents = runs_of(handle), agents_of(handle)
    if said.action == "start":
        deadline_s = RUN_S if seconds is None else seconds
        rules = None if said.policy is None else [one.rule() for one in said.policy]
        run = await agents.start(
            _needed(said.workflow, "workflow", "start"), said.input, version=said.version or "1", owner=said.owner,
            deadline_s=deadline_s, runner=said.runner, once=said.idempotency_key,
            policy=told_policy(rules, said.policy_version) or DEFAULT,
        )  # fmt: skip
        if run.runner == "worker":
            answer_with_task(run.id, handle.space)
        return _run_line(run)
    if said.action == "answer":
        name = _needed(said.question, "question: its id, or RUN/PLACE", "answer")
        return _run_line(await runs.answer(name, said.answer))
    name = _needed(said.run, "run", said.action)
    if said.action == "claim":
        worker = _needed(said.worker, "worker: a name of your own for each process", "claim")
        return _claim_told(await agents.claim(name, worker, lease_s=60.0 if seconds is None else seconds))
    if said.action == "cancel":
        return _run_line(await runs.cancel(name, said.reason or ""))
    if said.action == "resume":
        return _run_line(await runs.resume(name, version=said.version))
    if said.action == "amend":
        return _run_line(await runs.amend_by_name(name, said.input or {}))
    if said.action == "vouch":
        step = f"{name}/{_needed(said.place, 'place', 'vouch')}"
        return _run_line(await runs.vouch(step, said.output, _needed(said.reason, "reason", "vouch")))
    return _run_line(await runs.fork(name, _needed(said.place, "place", "fork")))


def _form(choices: Sequence[str]) -> type[Reply]:
    """Return the form of an answer, which is one of *choices* where there are any."""
    if not choices:
        return Reply
    one = Field(title="Answer", description="One of the choices.", json_schema_extra={"enum": list(choices)})
    return create_model("Reply", __base__=Reply, answer=(str, one))


def _acting(tool: Tool, memory: Memory) -> None:
    async def reply(
        action: str, question: str | None, answer: str | None, space: str | None, ctx: _Asked
    ) -> Reply | Elicit[Reply]:
        able = ctx.client_capabilities
        asks = able is not None and able.elicitation is not None
        if action != "answer" or answer is not None or question is None or not asks:
            return _TOLD
        step = await answered(runs_of(memory.within(space=space)).question(question))
        asked = step.asked or {}
        choices = [str(one) for one in cast("Sequence[Json]", asked.get("choices") or ())]
        context = asked.get("context")
        more = "" if context is None else f" Context: {str(context)[:1_000]}"
        return Elicit(f"{str(asked.get('question'))[:2_000]}{more}", _form(choices))

    @tool(WRITES)
    async def run(
        action: Annotated[_Action, Field(description=(
            "start a workflow; claim a run to work on it (keep its fence), then begin, complete or fail each step, ask "
            "somebody, heartbeat, hand_back or finish. Whoever looks after runs: answer, cancel, resume, fork, amend, "
            "or vouch for a step that failed as ambiguous and whose effect did happen."
        ))],
        run: Annotated[str | None, Field(description="The run's id.")] = None, *,
        workflow: Annotated[str | None, Field(description="start: the workflow's name.")] = None,
        version: Annotated[str | None, Field(description="start, resume: of the workflow's code.")] = None,
        input: Annotated[dict[str, Any] | None, Field(description="start, begin, complete, fail: what the run or step was given; amend: what it should have been. ask: what whoever answers should see.")] = None,  # noqa: A002, E501
        input_digest: Annotated[str | None, Field(description="Of a step, for input: its SHA-256 in hex.")] = None,
        runner: Annotated[_Runner, Field(description="start: agent: whoever claims it; worker: Python.")] = "agent",
        policy: Annotated[list[PolicyRule] | None, Field(description="start, for an agent: what differs from the usual, by class of trouble.")] = None,  # noqa: E501
        policy_version: Annotated[str | None, Field(description="start: a name for that policy.")] = None,
        owner: Annotated[str | None, Field(description="start, ask: who is asked, such as human:ada.")] = None,
        worker: Annotated[str | None, Field(description="Your process's own name, the same in each call.")] = None,
        fence: Annotated[int | None, Field(description="As claim gave it.")] = None,
        place: Annotated[str | None, Field(description="Of a step in its run: 3 is the third, 3.2 the second within it. fork: the first step run again.")] = None,  # noqa: E501
        step: Annotated[str | None, Field(description="The step's name.")] = None,
        attempt: Annotated[int | None, Field(ge=1, description="fail: the try, as begin gave it.")] = None,
        output: Annotated[AnyJson, Field(description="complete, finish, vouch: what came of it.")] = None,
        error_class: Annotated[_Class | None, Field(description="fail, finish: the class of the trouble.")] = None,
        error: Annotated[str | None, Field(description="fail, finish: the trouble, in words.")] = None,
        usage: Annotated[dict[str, int] | None, Field(description="Tokens by name: input, output, cached.")] = None,
        model: Annotated[str | None, Field(description="The model that a step asked.")] = None,
        took_seconds: Annotated[float | None, Field(description="How long the try took.")] = None,
        seconds: Annotated[float | None, Field(description=f"claim, heartbeat: how long you may be silent, 1 to {CLAIM_S_MAX:g}. start, ask: the deadline. fail: how long to wait, if told.")] = None,  # noqa: E501
        question: Annotated[str | None, Field(description="ask: the words. answer: which one, RUN/PLACE.")] = None,
        choices: Annotated[list[str] | None, Field(description="ask: the answer is one of these.")] = None,
        on_timeout: Annotated[_OnTimeout, Field(description="ask: what when nobody answers in time.")] = "hold",
        answer: Annotated[str | None, Field(description="As you were told it. Do not make one up: left out, the human is asked.")] = None,  # noqa: E501
        reply: Annotated[Reply, Resolve(reply)],
        reason: Annotated[str | None, Field(description="cancel: why. vouch: what was seen, and where.")] = None,
        budget_tokens: Budget = 1_500, by: By = None, session: Session = None, idempotency_key: Once = None,
        space: Space = None,
    ) -> Answer:  # fmt: skip
        """Work on a run of a workflow, or settle one. What begin shows as completed is not done again. Every call may
        be repeated; a call after another worker's claim is refused.
        """
        handle = writer(memory, space, by, session)
        elicited = reply.answer if answer is None else None
        said = _Said(
            action=action, run=run, workflow=workflow, version=version, input=input, runner=runner, policy=policy,
            policy_version=policy_version, owner=owner, worker=worker, fence=fence, place=place, step=step,
            input_digest=input_digest, output=output, error_class=error_class, error=error, attempt=attempt,
            usage=usage, model=model, seconds=took_seconds, question=question, choices=choices, on_timeout=on_timeout,
            answer=answer or elicited or None, reason=reason, idempotency_key=idempotency_key,
        )  # fmt: skip

        async def work() -> Answer:
            mine = handle
            if action == "answer":
                if said.answer is None:
                    raise InvalidError("answer needs answer: what somebody said", code="query.invalid")
                if by is None and elicited:
                    asked = (await runs_of(handle).question(question or "")).asked or {}
                    mine = as_owner(handle, cast("str | None", asked.get("owner")))
            if action in ("start", "claim", "answer", "cancel", "resume", "fork", "amend", "vouch"):
                return whole(await _settled(mine, said, seconds), budget_tokens)
            book = book_of(mine)
            return whole(await _logged(agents_of(mine), said, seconds, book.clock.now()), budget_tokens)

        return await answered(work())
