"""What one read may ask for and answer with, refused by every store in the same words."""

from __future__ import annotations

from latewood.graph_schema.errors import LimitError
from latewood.storage.port import FACTS_MAX, IDS_MAX

__all__ = ["check_count", "check_facts"]


def check_count(count: int) -> None:
    """Refuse a read of too many ids. Raises LimitError."""
    if count > IDS_MAX:
        msg = f"{count:,} ids in one read, more than {IDS_MAX:,}; page them"
        raise LimitError(msg, limit="IDS_MAX", maximum=IDS_MAX)


def check_facts(count: int) -> None:
    """Refuse an answer of too many facts. Raises LimitError."""
    if count > FACTS_MAX:
        msg = f"more than {FACTS_MAX:,} facts in one read; ask for fewer ids or predicates"
        raise LimitError(msg, limit="FACTS_MAX", maximum=FACTS_MAX)
