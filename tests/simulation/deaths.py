"""The places at which a worker, or who publishes and consumes messages, is killed; tests and published page share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEATHS_OF_MESSAGES", "DEATHS_OF_RUNS", "Death"]

BOTH: Final = ("sqlite", "neo4j")
_ANY: Final = "test_a_worker_dies_at_every_point_and_another_ends_its_runs"
_AGAIN: Final = "test_a_worker_dies_while_it_takes_over"
_MESSAGE: Final = "test_a_process_dies_and_another_goes_on"
_AWAITED: Final = "test_a_worker_dies_with_runs_that_wait_and_each_gets_its_message_once"


@dataclass(frozen=True, slots=True)
class Death:
    """A process killed at *point*.

    Attributes:
        then: what whoever goes on does first.
        test: the name of the test that kills it there.
    """

    point: str
    then: str
    test: str
    stores: tuple[str, ...] = BOTH


DEATHS_OF_RUNS: Final = (
    Death("run.started", "claims the run and begins it", _ANY),
    Death("run.claimed", "claims it again, under its own fence", _ANY),
    Death("run.left", "goes through the run again, calls no completed step, and keeps its end", _ANY),
    Death("run.kept", "finds it ended, or waiting, and leaves it so", _ANY),
    Death("step.begun", "asks the probe, which knows of no effect, and lets it happen", _ANY),
    Death(
        "step.called", "calls the step again under the same key; one with an effect outside is asked after first", _ANY
    ),
    Death("step.kept", "takes what is kept and goes on behind it", _ANY),
    Death("step.failed", "tries again when the kept wait is over, as the next try and not as the first", _ANY),
    Death("sleep.kept", "wakes at the kept instant", _ANY),
    Death("question.kept", "waits for the answer to the question that is kept; nobody is asked twice", _ANY),
    Death("worker.over", "takes the lease over in its turn, and then the runs", _AGAIN),
    Death("journal.taken", "does what was not kept again", _ANY),
    Death("group.begin", "does what was not kept again", _ANY),
    # Neo4j writes the ledger and the views of a group in one statement, so there is no such place.
    Death("group.half_written", "does what was not kept again", _ANY, ("sqlite",)),
    Death("group.written", "does what was not kept again", _ANY),
    Death("group.committed", "takes what is kept and goes on behind it", _ANY),
    Death("journal.answered", "takes what is kept and goes on behind it", _ANY),
)
DEATHS_OF_MESSAGES: Final = (
    Death("message.published", "publishes again under the same key; there is one message", _MESSAGE),
    Death("message.awaited", "finds the run that waits, and gives it a message once one comes", _AWAITED),
    Death("message.taken", "gets the message when the lease is over", _MESSAGE),
    Death("message.settled", "is told that it is settled; its effect is kept once", _MESSAGE),
    Death("message.put_off", "gets it again when its wait is over, and counts on", _MESSAGE),
    Death("message.buried", "finds one dead letter", _MESSAGE),
    Death("journal.taken", "does what was not kept again", _MESSAGE),
    Death("group.half_written", "does what was not kept again", _MESSAGE, ("sqlite",)),
    Death("group.written", "does what was not kept again", _MESSAGE),
    Death("group.committed", "takes what is kept and goes on behind it", _MESSAGE),
    Death("journal.answered", "takes what is kept and goes on behind it", _MESSAGE),
)
