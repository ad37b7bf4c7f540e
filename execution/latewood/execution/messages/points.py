"""Named places of a message at which a test may end the process, beside those of the write path and of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["POINTS"]

POINTS: Final[Mapping[str, str]] = {
    "message.published": "a message is kept; its publisher does not know",
    "message.awaited": "that a run waits for a message is kept; it is still in its worker",
    "message.taken": "messages are in a consumer's hands; it has not seen them",
    "message.settled": "a message is acknowledged; its consumer does not know",
    "message.put_off": "a failed try is kept and the message comes again; its consumer does not know",
    "message.buried": "a dead letter is kept; its consumer does not know",
}
"""Every place, and what is done and not done there. `latewood.storage.crashpoints.install` watches them too."""
