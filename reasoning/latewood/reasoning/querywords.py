"""The words of a question that can tell one memory from another."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["WORDS_MAX", "content_words", "tokens"]

WORDS_MAX: Final = 64
"""Words of a question that are searched for; the rest is left out."""
_TOKEN: Final = re.compile(r"\w+")
# Words that ask, bind or point, in English. Others' are not known and match like any word: they cost rank, no recall.
_BARE_TEXT: Final = """
    a about after again all also am an and any are aren as at be because been before being but by can cannot could
    couldn d did didn do does doesn doing don during each ever few for from further get give given had hadn has hasn
    have haven having he her here hers him his how i if in into is isn it its just ll m many may me might more most
    much must my no nor not now of off on once only or other our ours out over own re s same shall she should so some
    such t tell than that the their theirs them then there these they this those through to too under until up us ve
    very was wasn we were weren what when where whether which while who whom whose why will with won would wouldn you
    your yours
"""
_BARE: Final = frozenset(_BARE_TEXT.split())


def tokens(text: str, *, each_once: bool = True) -> tuple[str, ...]:
    """Return the words of *text*, folded, in order."""
    found = _TOKEN.findall(text.casefold())
    return tuple(dict.fromkeys(found) if each_once else found)


def content_words(text: str) -> tuple[str, ...]:
    """Return the words of *text* without those that say nothing of what is sought; all when nothing else is left."""
    found = tokens(text)
    return (tuple(word for word in found if word not in _BARE) or found)[:WORDS_MAX]
