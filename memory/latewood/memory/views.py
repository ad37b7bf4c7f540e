"""The views that looks for patterns keep between two looks: a few in each process, the least used dropped first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from latewood.graph_schema.patterns import DeclaredRun
from latewood.reasoning.patterns.looking import Look
from latewood.reasoning.patterns.port import Detector
from latewood.reasoning.patterns.view import View
from latewood.storage.port import GraphStore

__all__ = ["VIEWS_MAX", "Views", "Watched"]

VIEWS_MAX: Final = 8
"""Most spaces whose view one process keeps; of the others each look reads all."""


@dataclass(slots=True)
class Watched:
    """What one process knows of a space that it looks at.

    Attributes:
        edges: of each pattern's node, the version at which its edges to evidence were known, and these: the edge by the
            fact it leads to.
        last: what the look before found, by which detectors.
        lock: hold it for the whole of a look.
    """

    view: View
    edges: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict[str, tuple[int, dict[str, str]]])
    last: tuple[Sequence[Detector], Look] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Views:
    """What one engine's looks keep, by tenant and space."""

    def __init__(self, declared: tuple[DeclaredRun, ...] = ()) -> None:
        """Keep none yet; *declared* is what packs declare."""
        self._declared = declared
        self._views: OrderedDict[tuple[str, str], Watched] = OrderedDict()

    def of(self, store: GraphStore, space: str) -> Watched:
        """Return what is known of *space*, which may be nothing yet."""
        key = (store.tenant, space)
        known = self._views.pop(key, None) or Watched(View(store, space, self._declared))
        self._views[key] = known
        while len(self._views) > VIEWS_MAX:
            self._views.popitem(last=False)
        return known
