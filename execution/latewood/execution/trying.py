"""What a step's function may ask about the try that it is, and say of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from latewood.execution.faults import Fault
from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.graph_schema.ids import is_id, normal_id
from latewood.graph_schema.values import Json

__all__ = ["LINKS_MAX", "TRYING", "Trying"]

LINKS_MAX: Final = 200
"""Most things that one step names as used or written."""


@dataclass(slots=True)
class Trying:
    """What a step's function may ask about the try that it is.

    Attributes:
        key: the same for every try of this step: an idempotency key for effects elsewhere.
        last: what the try before met, for a try that mends it.
        usage: tokens booked by this try, if any.
        about: what else is kept with the try: stage, policy and prices of a model call, its cost.
        links: what its step used and wrote, kept as edges once it is completed.
    """

    key: str
    number: int
    last: Fault | None = None
    usage: dict[str, Json] | None = None
    model: str | None = None
    about: dict[str, Json] = field(default_factory=dict[str, Json])
    links: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def used(self, *ids: str) -> None:
        """Let the graph say that this step rests on these facts, decisions or things of its space.

        Raises:
            InvalidError: one is no id.
            LimitError: above `LINKS_MAX` for one try.
        """
        self._link("step.used", ids)

    def wrote(self, *ids: str) -> None:
        """Let the graph say that this step wrote these. Raises as `used` does."""
        self._link("step.wrote", ids)

    def _link(self, predicate: str, ids: Sequence[str]) -> None:
        for one in ids:
            if not is_id(one):
                raise InvalidError(f"{one!r:.80} is not an id; a verb's result has one", code="query.invalid")
        if len(self.links) + len(ids) > LINKS_MAX:
            msg = f"a step names at most {LINKS_MAX} things that it used or wrote"
            raise LimitError(msg, limit="LINKS_MAX", maximum=LINKS_MAX)
        self.links += [(predicate, normal_id(one)) for one in ids]


TRYING: Final[ContextVar[Trying | None]] = ContextVar("latewood_try", default=None)
"""The try that this task is; None outside of steps."""
