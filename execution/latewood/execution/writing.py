"""What a run, a step and an attempt are in the graph: the commands that write each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from latewood.execution.faults import Action, Fault, Policy
from latewood.execution.words import Claim, Place, RunStatus, StepStatus, place_text
from latewood.graph_schema.clock import Micros, from_micros, iso
from latewood.graph_schema.commands import Assert, Command, Declare, Ref
from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Json, Scalar, Value, canonical_json

__all__ = ["OUTPUT_BYTES_MAX", "Attempt", "Writing", "checked_json"]

OUTPUT_BYTES_MAX: Final = 256_000
"""Most bytes of canonical JSON that a run takes in, or a step or a run returns."""
_NAME_CHARS_MAX: Final = 200
_SHORT_CHARS: Final = 4_000
"""Characters of a text that is within any bound, however it is written."""
_ERROR_CHARS_MAX: Final = 500
_INSTANTS: Final = frozenset({"deadline_at", "wake_at"})


def checked_json(given: object, where: str) -> Json:
    """Return *given* as it will be read again: a plain copy, of lists, objects, text, numbers and truth values.

    Raises:
        InvalidError: it is something else.
        LimitError: it is larger than `OUTPUT_BYTES_MAX`.
    """
    if given is not None and not isinstance(given, str | bool | int | float | list | tuple | Mapping):
        msg = f"{where} is a {type(given).__name__}, which is not kept; use text, finite numbers, lists and objects"
        raise InvalidError(msg)
    if given is None:
        return None
    if isinstance(given, str | int | float) and not (isinstance(given, str) and len(given) > _SHORT_CHARS):
        return Value.of(given, where=where).data
    document = Value.of(cast("dict[str, object]", {"value": given}), where=where).data
    size = len(canonical_json(document).encode())
    if size > OUTPUT_BYTES_MAX:
        msg = f"{where} has {size:,} bytes, more than {OUTPUT_BYTES_MAX:,}; keep it in a file and pass its address on"
        raise LimitError(msg, code="text.too_long", maximum=OUTPUT_BYTES_MAX, size=size)
    assert isinstance(document, dict)  # noqa: S101 - it was one two lines ago
    return document["value"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a step: its number, how long it took, and what became of it.

    Attributes:
        usage: tokens that were booked, of a try that failed too.
        about: what else is said of a model call: stage, data, policy, prices, cost.
        links: predicates and ids of what its step used and wrote.
    """

    number: int
    seconds: float
    policy: str
    fault: Fault | None = None
    usage: Mapping[str, Json] | None = None
    model: str | None = None
    about: Mapping[str, Json] = field(default_factory=dict[str, Json])
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Writing:
    """Makes the commands; *ids* are fresh each time."""

    ids: IdSource

    def fact(self, subject: str, predicate: str, value: Scalar, *, since: Micros | None = None) -> Assert:
        """Say that *predicate* of *subject* is *value*, from *since* or now on."""
        said = Value.of(value, where=f"the {predicate}")
        return Assert(self.ids.new(), Ref(id=subject), predicate, said, valid_from=since)

    def edge(self, subject: str, predicate: str, target: str) -> Assert:
        """Say that *subject* stands to *target* in the relation *predicate*."""
        return Assert(self.ids.new(), Ref(id=subject), predicate, object=Ref(id=target), relation=True)

    def run(self, run_id: str, workflow: str, spec: Mapping[str, Json], *, parent: str | None) -> list[Command]:
        """Declare a run; what is fixed at its start are its attributes."""
        made: list[Command] = [
            Declare(run_id, NodeKind.RUN, workflow, f"run:{run_id}", workflow[:_NAME_CHARS_MAX], _dated(spec))
        ]
        if parent is not None:
            made.append(self.edge(run_id, "part_of", parent))
        return made

    def run_status(self, run_id: str, status: RunStatus, *, wake_at: Micros | None = None) -> list[Command]:
        """Say how a run stands, and of a waiting one when it goes on by itself."""
        made: list[Command] = [self.fact(run_id, "status", str(status))]
        if wake_at is not None:
            made.append(self.fact(run_id, "run.wake", from_micros(wake_at)))
        return made

    def awaits(self, run_id: str, groups: Mapping[str, float]) -> Assert:
        """Say for messages of which groups a run waits, and how long one is to be its own, in seconds."""
        return self.fact(run_id, "run.awaits", {"groups": dict(groups)})

    def claim(self, run_id: str, claim: Claim) -> list[Command]:
        """Say which worker has a run, and that it runs."""
        said: dict[str, object] = {
            "worker": claim.worker, "fence": claim.fence, "steps": claim.steps, "lost": claim.lost
        }  # fmt: skip
        return [self.fact(run_id, "run.claim", said), *self.run_status(run_id, RunStatus.RUNNING)]

    def terms(self, run_id: str, owner: str | None, policy: Policy) -> Assert:
        """Say whom a run asks and by which policy it goes, where its start did not."""
        said: dict[str, object] = {"policy": policy.version, "rules": policy.document()}
        return self.fact(run_id, "run.terms", said if owner is None else {**said, "owner": owner})

    def let_go(self, run_id: str, claim: Claim, begun: Sequence[str]) -> list[Command]:
        """Say that nobody has a run any more, and of the steps in *begun* that they may have happened."""
        said: dict[str, object] = {
            "worker": claim.worker, "fence": claim.fence, "steps": claim.steps, "lost": claim.lost
        }  # fmt: skip
        again: list[Command] = [self.fact(step, "status", str(StepStatus.AGAIN)) for step in begun]
        return [self.fact(run_id, "run.claim", said), *again, *self.run_status(run_id, RunStatus.READY)]

    def denied(self, step_id: str, words: str) -> list[Command]:
        """Say that a question counts as denied."""
        return self.failed(step_id, Fault("ambiguous", words))

    def ended(self, run_id: str, status: RunStatus, result: Mapping[str, Json]) -> list[Command]:
        """Say how a run ended."""
        return [self.fact(run_id, "run.result", dict[str, object](result)), *self.run_status(run_id, status)]

    def step(
        self, run_id: str, step_id: str, place: Place, name: str, sort: str, digest: str, **more: Json
    ) -> list[Command]:  # fmt: skip
        """Declare a step of a run. Its key holds its place, so that no place of a run is ever taken twice."""
        spec: dict[str, Json] = {"place": place_text(place), "digest": digest, **more}
        key = f"step:{run_id}/{place_text(place)}"
        declared = Declare(step_id, NodeKind.STEP, sort, key, name[:_NAME_CHARS_MAX], _dated(spec))
        return [declared, self.edge(run_id, "has_step", step_id)]

    def attempt(
        self, step_id: str, name: str, attempt: Attempt, *, retry_at: Micros | None = None
    ) -> list[Command]:  # fmt: skip
        """Keep a try at a step; of a failed one, when the next is due."""
        outcome = "completed" if attempt.fault is None else "failed"
        spec: dict[str, Json] = {
            **attempt.about, "number": attempt.number, "seconds": round(attempt.seconds, 6), "policy": attempt.policy,
            "outcome": outcome,
        }  # fmt: skip
        if attempt.fault is not None:
            spec |= {"class": str(attempt.fault.kind), "message": attempt.fault.message[:_ERROR_CHARS_MAX]}
        if attempt.usage is not None:
            spec["usage"] = dict(attempt.usage)
        if attempt.model is not None:
            spec["model"] = attempt.model
        if retry_at is not None:
            spec["retry_at"] = iso(from_micros(retry_at))
        attempt_id = self.ids.new()
        title = f"{name[:_NAME_CHARS_MAX]}, try {attempt.number}"
        return [
            Declare(attempt_id, NodeKind.ATTEMPT, outcome, None, title, spec),
            self.edge(step_id, "has_attempt", attempt_id),
        ]

    def completed(
        self, step_id: str, output: Json, *, degraded: bool = False, large: bool = False
    ) -> list[Command]:  # fmt: skip
        """Say that a step is done, and what it returned; a *large* output is a blob of its own."""
        status = StepStatus.DEGRADED if degraded else StepStatus.COMPLETED
        said = self.fact(step_id, "status", str(status))
        return [said] if large else [said, self.fact(step_id, "step.output", {"value": output})]

    def failed(self, step_id: str, fault: Fault, then: Action | None = None) -> list[Command]:
        """Say that a step failed for good, of which class, with which words, and what *then* is not the policy's."""
        words = f"{fault.kind}: {fault.message}"[:_ERROR_CHARS_MAX]
        said: list[Command] = [self.fact(step_id, "status", str(StepStatus.FAILED))]
        said.append(self.fact(step_id, "error", words))
        return said if then is None else [*said, self.fact(step_id, "step.then", str(then))]

    def question(
        self, run_id: str, step_id: str, place: Place, digest: str, asked: Mapping[str, Json], deadline_at: Micros
    ) -> list[Command]:  # fmt: skip
        """Declare a question of a run, which waits for its owner."""
        commands = self.step(
            run_id, step_id, place, "ask", "question", digest, asked=dict(asked), wake_at=deadline_at
        )  # fmt: skip
        commands.append(self.waiting(step_id))
        if whose := asked.get("owner"):
            sort = str(whose).partition(":")[0] if ":" in str(whose) else "agent"
            actor = Ref(key=str(whose), kind=NodeKind.ACTOR, type=sort)
            commands.append(Assert(self.ids.new(), Ref(id=step_id), "asks", object=actor, relation=True))
        return commands

    def waiting(self, step_id: str) -> Command:
        """Say that a step waits."""
        return self.fact(step_id, "status", str(StepStatus.WAITING))

    def sleeping(self, step_id: str, since: Micros, until: Micros) -> list[Command]:
        """Say that a step waits, and that it is done from *until* on, whoever looks then."""
        # Both dated: a wait that began when it was recorded could begin after its own end.
        return [
            self.fact(step_id, "status", str(StepStatus.WAITING), since=since),
            self.fact(step_id, "status", str(StepStatus.COMPLETED), since=until),
        ]


def _dated(spec: Mapping[str, Json]) -> dict[str, Json]:
    """Write the instants of a node as all JSON has them: whoever looks at the node reads them."""
    return {
        name: iso(from_micros(value)) if name in _INSTANTS and isinstance(value, int) else value
        for name, value in spec.items()
    }  # fmt: skip
