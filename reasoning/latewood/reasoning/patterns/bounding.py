"""Arrays that are asked for again and again: kept by how many bytes they have, not by how many they are.

A thousand small ones are nothing, and a thousand of the longest series are gigabytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import ParamSpec, TypeVar

__all__ = ["kept_within"]

P = ParamSpec("P")
T = TypeVar("T")


def kept_within(bytes_max: int, size_of: Callable[[T], int]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep what a function made, up to *bytes_max* together; what was used longest ago goes first.

    Looks at several spaces run in threads of their own, and share it. What is larger than all of it is not kept.
    """

    def around(make: Callable[P, T]) -> Callable[P, T]:
        kept: OrderedDict[object, tuple[T, int]] = OrderedDict()
        guard = Lock()
        total = 0

        @wraps(make)
        def ask(*given: P.args, **named: P.kwargs) -> T:
            nonlocal total
            key = (given, tuple(sorted(named.items())))
            with guard:
                held = kept.get(key)
                if held is not None:
                    kept.move_to_end(key)
                    return held[0]
            made = make(*given, **named)
            size = size_of(made)
            with guard:
                if size <= bytes_max and key not in kept:
                    kept[key] = (made, size)
                    total += size
                while total > bytes_max:
                    _, (_, gone) = kept.popitem(last=False)
                    total -= gone
            return made

        return ask

    return around
