"""How many tokens a text costs a model, without the model's tokenizer: an estimate from above."""

from __future__ import annotations

from typing import Final

__all__ = ["BYTES_A_TOKEN", "tokens_of"]

BYTES_A_TOKEN: Final = 3
"""English has about 4.5 bytes a token in today's vocabularies, Chinese 3 to 4; ids and code come down to 3."""


def tokens_of(text: str) -> int:
    """Return how many tokens *text* costs at most, in UTF-8 bytes over `BYTES_A_TOKEN`, rounded up."""
    return -(-len(text.encode()) // BYTES_A_TOKEN)
