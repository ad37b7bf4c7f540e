"""Memories as lines that each name their id, so that a model can ask on from any of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from latewood.reasoning.brief import Brief
from latewood.reasoning.recalled import Recalled, compose
from latewood.reasoning.why import Why

__all__ = ["brief_with_ids", "chain_with_ids", "lines_with_ids"]

_ELSEWHERE: Final = frozenset({"before", "trigger", "evidence", "replaced", "followed"})


def lines_with_ids(hits: Sequence[Recalled], budget_tokens: int) -> tuple[str, int]:
    """Return as many of *hits* as cost *budget_tokens* without their ids, a line each, and how many these are."""
    found = compose("", hits, budget_tokens=budget_tokens, ranked=0, hidden=0, notes=())
    lines = found.text.split("\n") if found.hits else []
    named = (
        line.replace("- [", f"- [{hit.fact.id}, ", 1) for line, hit in zip(lines, found.hits, strict=True)
    )  # fmt: skip
    return "\n".join(named), len(found.hits)


def brief_with_ids(found: Brief) -> str:
    """Return the text of a brief with the id of what each line is about."""
    return "\n".join(_named(found.text.split("\n"), [line.ref for line in found.lines]))


def _named(lines: Sequence[str], refs: Sequence[str]) -> Iterator[str]:
    waiting = iter(refs)
    for line in lines:
        yield f"{line} [{next(waiting)}]" if line.startswith("- ") else line


def chain_with_ids(chain: Why) -> list[str]:
    """Return the lines of a chain; those that rest on something else, or led to it, with its id."""
    return [f"{line.role}: {line.text}" + (f" [{line.ref}]" if line.role in _ELSEWHERE else "") for line in chain.lines]
