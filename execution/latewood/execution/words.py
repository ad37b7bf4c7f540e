"""The words of the executor: how a run, a step and an attempt stand, and under which predicates they are kept.

A run, its steps and their attempts are nodes of the execution ledger, told by the same edges that imported traces use:
``run has_step step``, ``step has_attempt attempt``. A place is where a step stands in its workflow: ``3`` is the third
thing that the workflow waits for, ``3.2.1`` the first of the second branch of the fan-out at the third.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.values import Json

__all__ = [
    "ENDED", "INPUT", "LATE", "OPEN", "PLACE_PARTS_MAX", "RUN_S", "STOPPED", "Claim", "Place", "Run", "RunStatus",
    "Runner", "Step", "StepStatus", "place_of", "place_text",
]  # fmt: skip

Place: TypeAlias = tuple[int, ...]
Runner: TypeAlias = Literal["worker", "agent"]
PLACE_PARTS_MAX: Final = 16
"""Deepest nesting of branches and steps within steps."""
RUN_S: Final = 90 * 86_400.0
"""Seconds within which a run ends, one way or another, when nobody says another time."""


class RunStatus(StrEnum):
    """Where a run stands; the last four are ends."""

    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    DEGRADED = "degraded"
    ESCALATED = "escalated"
    REFUSED = "refused"


OPEN: Final = (RunStatus.READY, RunStatus.RUNNING, RunStatus.WAITING)
"""What a run is while it has not ended."""
ENDED: Final = (RunStatus.DONE, RunStatus.DEGRADED, RunStatus.ESCALATED, RunStatus.REFUSED)
"""How a run ends; an escalated one goes on when somebody resumes it."""


STOPPED: Final = (RunStatus.ESCALATED, RunStatus.REFUSED)
"""How a run ends that a resume may let go on."""
INPUT: Final = "input"
"""The class of a run that was begun with what its workflow does not take."""
LATE: Final = "the run did not end within its deadline"
"""The words of a run that its deadline ended, whoever saw to that."""


class StepStatus(StrEnum):
    """Where a step stands.

    ``started`` is kept of steps with an effect outside alone, before the effect; ``again`` is a failed step that a
    resumed run tries anew.
    """

    STARTED = "started"
    WAITING = "waiting"
    COMPLETED = "completed"
    DEGRADED = "degraded"
    FAILED = "failed"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Claim:
    """Which worker has a run: the holder of the lease ``worker:<worker>`` under *fence*.

    Attributes:
        lost: how many workers were lost since the run last got further; *steps* is how far it had got then.
    """

    worker: str
    fence: int
    steps: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a workflow, as the graph has it.

    Attributes:
        workflow: its name; *version* is pinned: no other one goes on with the run.
        owner: who is asked when it cannot go on.
        input: ``args`` and ``kwargs``.
        timed_from: since when its time counts: its start, or when it was last resumed.
        wake_at: when a waiting run goes on by itself.
        awaits: the consumer groups of one of whose messages it waits, with how long that is to be its own, in seconds.
        result: of an ended run ``output``, or ``class``, ``message`` and ``step``.
        cancel: who wants it to end, and why.
        parent: the id of the run that it is a part of.
        rules: of its policy, by class of trouble, as it was when the run began.
        amends: the id of the run whose steps it takes over where they would do the same.
        runner: who runs it: a worker, in Python, or an agent that runs it elsewhere and says what it does.
        node_version: pass it back as what the node must be at.
    """

    id: str
    workflow: str
    version: str
    policy: str
    status: RunStatus
    owner: str | None
    input: Mapping[str, Json]
    started_at: datetime
    deadline_at: Micros | None = None
    timed_from: datetime | None = None
    wake_at: Micros | None = None
    claim: Claim | None = None
    result: Mapping[str, Json] = field(default_factory=dict[str, Json])
    cancel: Mapping[str, Json] | None = None
    parent: str | None = None
    forked_from: str | None = None
    amends: str | None = None
    rules: Mapping[str, Json] = field(default_factory=dict[str, Json])
    runner: Runner = "worker"
    awaits: Mapping[str, float] = field(default_factory=dict[str, float])
    node_version: int = 0

    @property
    def ended(self) -> bool:
        """Whether it has come to an end."""
        return self.status in ENDED

    @property
    def output(self) -> Json:
        """What the workflow returned; None while it has not."""
        return self.result.get("output")


@dataclass(frozen=True, slots=True)
class Step:
    """One unit of a run's work.

    Attributes:
        sort: step, sleep, question, child or model_call.
        digest: of the name and the arguments; a replay that comes with another one stops.
        input: ``args`` and ``kwargs``, where they are short; else the blob that they are is `reads`'s first.
        reads: ids of the blobs that it was given.
        attempts: how often it was tried, in all workers.
        output: what it returned, once it is completed.
        usage: tokens of the attempt that counted; a count nobody gave is not in it.
        asked: of a question its words, owner, choices and deadline.
        answer: of a question what was answered, and by whom.
        child: of a child workflow the id of its run.
        awaits: of a step that waits for a message its channel and its group.
        then: of one that failed, what is to be done where that is not what its policy says: escalate or refuse.
        vouched: of one that was completed by somebody's word ``by`` whom, ``at`` which instant, and the ``reason``.
        erased: whether what it returned was erased, and is not known any more.
    """

    id: str
    place: Place
    name: str
    sort: str
    digest: str
    status: StepStatus
    attempts: int = 0
    input: Json = None
    reads: tuple[str, ...] = ()
    output: Json = None
    error: Mapping[str, Json] | None = None
    usage: Mapping[str, Json] | None = None
    wake_at: Micros | None = None
    asked: Mapping[str, Json] | None = None
    answer: Mapping[str, Json] | None = None
    child: str | None = None
    awaits: Mapping[str, Json] | None = None
    then: str | None = None
    vouched: Mapping[str, Json] | None = None
    erased: bool = False
    node_version: int = 0

    @property
    def completed(self) -> bool:
        """Whether it need not run again."""
        return self.status in (StepStatus.COMPLETED, StepStatus.DEGRADED)


def place_text(place: Place) -> str:
    """Write a place as people do: ``3.2.1``."""
    return ".".join(map(str, place))


def place_of(text: str) -> Place:
    """Read a place. Raises InvalidError (``query.invalid``)."""
    parts = text.split(".")
    if len(parts) > PLACE_PARTS_MAX or not all(part.isdecimal() and len(part) <= 9 for part in parts):  # noqa: PLR2004
        msg = f"{text[:40]!r} is no place of a step; write it as a run's steps are shown: 3, or 3.2.1"
        raise InvalidError(msg, code="query.invalid")
    return tuple(map(int, parts))
