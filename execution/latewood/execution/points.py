"""Named places of a run at which a test may end the process, beside those of the write path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["POINTS"]

POINTS: Final[Mapping[str, str]] = {
    "run.started": "the run is kept and claimed; nothing of it has run",
    "run.claimed": "a worker has claimed a run that was there before; nothing of it has run again",
    "run.left": "a run's code has ended or stopped to wait; nothing of that is kept",
    "run.kept": "the end of a run, or that it waits, is kept; nobody was told",
    "step.begun": "the begin of a step with an effect outside is kept; its effect has not begun",
    "step.called": "a step's function has returned; what it returned is not kept",
    "step.kept": "what a step returned is kept; the workflow has not gone on",
    "step.failed": "a try has failed and that is kept; what follows has not begun",
    "sleep.kept": "that a workflow sleeps is kept; nobody waits yet",
    "question.kept": "a question is kept; nobody waits for the answer yet",
    "worker.over": "the lease of a lost worker is taken over; none of its runs is claimed",
}
"""Every place, and what is done and not done there. `latewood.storage.crashpoints.install` watches them too."""
