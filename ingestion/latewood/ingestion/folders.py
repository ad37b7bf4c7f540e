"""Which folder an imported record comes from: two folders may have files of one name.

A record is known by its path in its folder, and a decision keeps which folder that was. A folder is the same one when
it lies at the same place, or when most of what it shares by path with an earlier import has the same titles: it was
moved, cloned elsewhere, or read once with its history and once without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from latewood.graph_schema.values import Json
from latewood.ingestion.state import DELETED, Known

__all__ = ["Origins", "tell_apart"]


def _same(one: str, other: str) -> bool:
    return one.casefold().split() == other.casefold().split()


@dataclass(frozen=True, slots=True)
class Origins:
    """What of a space comes from the folder that is imported.

    Attributes:
        own: the names under which decisions of the space say that they come from it.
        foreign: paths of its records under which the space has the decisions of another folder.
    """

    own: frozenset[str]
    foreign: frozenset[str]

    def owns(self, known: Known, identity: str) -> bool:
        """Tell whether a decision may be of this folder; those imported before folders were kept may."""
        folder = known.folders.get(identity)
        return folder is None or folder in self.own

    def follow_renames(self, known: Known, keys: Mapping[str, str]) -> None:
        """Let a new file go on as a known record of this folder that is gone from it and had the same key.

        *keys* are those of the records that are there now, by path.
        """
        lost = {
            key: identity
            for identity, key in known.keys.items()
            if identity not in keys and identity not in self.foreign and self.owns(known, identity)
        }
        for path, key in keys.items():
            identity = lost.get(key)
            if identity is not None and path not in known.nodes:
                known.rename(identity, path)

    def findings(self, known: Known) -> list[Json]:
        """Name the records that were left out, with the folder that has their place."""
        return [{"path": one, "key": known.keys.get(one), "folder": known.folders[one]} for one in sorted(self.foreign)]

    def missing(self, known: Known, there: Iterable[str]) -> list[Json]:
        """Name the records that an earlier import of this folder found and that are not *there* any more."""
        gone = {one for one, folder in known.folders.items() if folder in self.own}.difference(there, known.erased)
        return [{"path": one, "key": known.keys.get(one)} for one in sorted(gone) if known.files.get(one) != DELETED]


def tell_apart(known: Known, titles: Mapping[str, str], folder: str) -> Origins:
    """Find which of the records, *titles* by path, of *folder* are other decisions than those known by their paths."""
    shared: dict[str, list[str]] = {}
    for path in titles:
        other = known.folders.get(path)
        if other is not None and other != folder:
            shared.setdefault(other, []).append(path)
    own, foreign = {folder}, set[str]()
    for other, paths in shared.items():
        if 2 * sum(_same(titles[path], known.names[path]) for path in paths) >= len(paths):
            own.add(other)
        else:
            foreign.update(paths)
    return Origins(frozenset(own), frozenset(foreign))
