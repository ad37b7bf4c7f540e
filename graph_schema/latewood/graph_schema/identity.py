"""Two keys, one thing: the words in which a merge is written down.

That a node is another under a second name is an assertion like any other, `merged_into`, so both clocks work on it. It
says nothing about when, in the world, the two became one: they were all along. So it is valid from the beginning of
time, and what dates it is when it was recorded.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from latewood.graph_schema.clock import Micros, to_micros

__all__ = ["ALWAYS", "CARRIED", "MERGED_INTO", "MERGES_DEEP_MAX", "MOVED_REASON"]

MERGED_INTO: Final = "merged_into"
"""The predicate of a merge, and the attribute of a merged node by which writes find where it went."""
CARRIED: Final = "carried"
"""In the payload of a fact that says again what another did: that one's id."""
MOVED_REASON: Final = "moved by a merge or a split"
"""Why a fact was taken back whose words are said of another node from then on."""
ALWAYS: Final[Micros] = to_micros(datetime(1, 1, 1, tzinfo=UTC))
MERGES_DEEP_MAX: Final = 100
"""Most merges in a row that are followed from a key to the node that it means."""
