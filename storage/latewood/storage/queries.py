"""Named queries: each lives in a .sql or .cypher file beside its store, with a name and a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Final

__all__ = ["load_queries"]

_NAME: Final = re.compile(r"^(?:--|//) name: (\w+)$", re.MULTILINE)


@cache
def load_queries(package: str, filename: str) -> Mapping[str, str]:
    """Return the queries of *filename* in *package* by name.

    Raises:
        ValueError: when a name comes twice or a query has no sentence on what it is for.
    """
    text = resources.files(package).joinpath(filename).read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    found: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        sentence, _, query = body.strip().partition("\n")
        if name in found or not sentence.startswith(("-- ", "// ")) or not query.strip():
            raise ValueError(f"{filename}: query {name!r} is doubled, has no sentence, or is empty")
        found[name] = query.strip().rstrip(";")
    return found
