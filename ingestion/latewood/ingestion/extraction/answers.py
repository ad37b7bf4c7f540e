"""From a model's answer to drafts of proposals: each is checked and grounded to its quote, or refused."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from latewood.graph_schema.values import Json, canonical_json
from latewood.ingestion.extraction.turns import Chunk, Turn

__all__ = ["PROPOSALS_MAX", "Draft", "Refused", "read_answer"]

PROPOSALS_MAX: Final = 50
"""Most proposals of one answer; what comes after is refused."""
_QUOTE_CHARS: Final = (8, 600)
_WORDS_MAX: Final = 2_000
_LIST_MAX: Final = 20
_PREDICATE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_KEY: Final = re.compile(r"[A-Za-z][\w-]{0,39}:[^\s:][^\n]{0,199}")
_RESERVED: Final = frozenset({"human", "agent", "model", "system", "session", "predicate", "source", "proposal"})
_THINKING: Final = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE: Final = re.compile(r"^```(?:json)?\s*\n(.*)\n```$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposal before it is kept.

    Attributes:
        document: what is proposed: kind, and the arguments of the verb that would write it.
        quote: the words of *turn* that it rests on, as they stand there.
        digest: the same for the same proposal from the same session's words, whichever model made it.
    """

    document: Mapping[str, Json]
    turn: Turn
    quote: str
    confidence: float | None
    digest: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A part of an answer that became no proposal: why, and how it began."""

    code: str
    reason: str
    excerpt: str


class _Wrong(Exception):  # noqa: N818 - caught within this module alone
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def _bad(reason: str) -> _Wrong:
    return _Wrong("proposal.malformed", reason)


def _text(item: Mapping[str, Any], name: str, *, needed: bool = True) -> str | None:
    found = item.get(name)
    if isinstance(found, str) and found.strip():
        if len(found) > _WORDS_MAX:
            raise _bad(f"{name!r} has {len(found):,} characters, more than {_WORDS_MAX:,}")
        return found.strip()
    if needed:
        raise _bad(f"{name!r} is missing")
    return None


def _key(item: Mapping[str, Any], name: str) -> str:
    found = _text(item, name) or ""
    if _KEY.fullmatch(found) is None or found.partition(":")[0].casefold() in _RESERVED:
        raise _bad(f"{name} {found[:60]!r} is no key of a thing, such as carrier:A")
    return found


def _predicate(item: Mapping[str, Any]) -> str:
    found = _text(item, "predicate") or ""
    if _PREDICATE.fullmatch(found) is None:
        raise _bad(f"the predicate {found[:60]!r} is not in snake_case")
    return found


def _list(item: Mapping[str, Any], name: str) -> list[Any]:
    found = item.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or len(cast("list[Any]", found)) > _LIST_MAX:
        raise _bad(f"{name!r} is no list of at most {_LIST_MAX}")
    return cast("list[Any]", found)


def _decision(item: Mapping[str, Any]) -> dict[str, Json]:
    alternatives: list[Json] = []
    for one in _list(item, "alternatives"):
        if not isinstance(one, dict):
            raise _bad("an alternative is no object")
        named = cast("Mapping[str, Any]", one)
        because = _text(named, "rejected_because", needed=False)
        alternatives.append({"title": _text(named, "title"), "rejected_because": because})
    choice = _text(item, "choice")
    return {
        "title": _text(item, "title", needed=False) or choice, "choice": choice,
        "rationale": _text(item, "rationale", needed=False), "alternatives": alternatives,
        "about": [_key({"about": one}, "about") for one in _list(item, "about")],
    }  # fmt: skip


def _fact(item: Mapping[str, Any]) -> dict[str, Json]:
    value = item.get("value")
    if isinstance(value, str):
        value = _text(item, "value")
    elif type(value) not in (int, float, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise _bad("'value' is no text, number or boolean")
    return {
        "subject": _key(item, "subject"), "predicate": _predicate(item), "value": value,
        "unit": _text(item, "unit", needed=False),
    }  # fmt: skip


def _relation(item: Mapping[str, Any]) -> dict[str, Json]:
    return {"subject": _key(item, "subject"), "predicate": _predicate(item), "object": _key(item, "object")}


_KINDS: Final = {"decision": _decision, "fact": _fact, "relation": _relation}


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()


def _grounded(item: Mapping[str, Any], chunk: Chunk) -> tuple[Turn, str]:
    """Return the turn and the quote. Raises _Wrong when the turn does not have these words."""
    number, quote = item.get("turn"), item.get("quote")
    if type(number) is not int or not 1 <= number <= len(chunk.turns):
        raise _Wrong("proposal.ungrounded", f"turn {number!r} is none of 1 to {len(chunk.turns)}")
    low, high = _QUOTE_CHARS
    if not isinstance(quote, str) or not low <= len(quote.strip()) <= high:
        raise _Wrong("proposal.ungrounded", f"a quote of {low} to {high} characters is missing")
    turn = chunk.turns[number - 1]
    if _flat(quote) not in _flat(turn.text):
        raise _Wrong("proposal.ungrounded", f"turn {number} does not say {quote[:80]!r}")
    return turn, " ".join(quote.split())


def _draft(item: Any, chunk: Chunk) -> Draft:
    if not isinstance(item, dict):
        raise _bad("a proposal is no object")
    given = cast("Mapping[str, Any]", item)
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise _bad(f"kind {kind!r:.60} is none of {', '.join(_KINDS)}")
    turn, quote = _grounded(given, chunk)
    document: dict[str, Json] = {
        "kind": kind, **{name: value for name, value in _KINDS[kind](given).items() if value not in (None, [])},
    }  # fmt: skip
    said = given.get("confidence")
    confidence = float(said) if isinstance(said, int | float) and not isinstance(said, bool) else None
    if confidence is not None and not 0 <= confidence <= 1:
        confidence = None
    named = canonical_json([document, turn.origin]).casefold()
    digest = hashlib.sha256(named.encode()).hexdigest()[:32]
    return Draft(document, turn, quote, confidence, digest)


def read_answer(text: str, chunk: Chunk) -> tuple[list[Draft], list[Refused]]:
    """Read what a model answered for *chunk*; nonsense, and what no turn says, is refused piece by piece."""
    bare = _THINKING.sub("", text).strip()
    fenced = _FENCE.match(bare)
    try:
        read: Any = json.loads(fenced[1] if fenced is not None else bare)
    except (ValueError, RecursionError):
        return [], [Refused("proposal.malformed", "the answer is no JSON", text[:200])]
    listed = cast("Mapping[str, Any]", read).get("proposals") if isinstance(read, dict) else None
    if not isinstance(listed, list):
        return [], [Refused("proposal.malformed", "the answer has no list 'proposals'", text[:200])]
    items = cast("list[Any]", listed)
    drafts: dict[str, Draft] = {}
    refused: list[Refused] = []
    for place, item in enumerate(items):
        excerpt = json.dumps(item)[:200]
        if place >= PROPOSALS_MAX:
            rest = len(items) - PROPOSALS_MAX
            refused.append(Refused("limit.exceeded", f"{rest} more than {PROPOSALS_MAX} proposals", excerpt))
            break
        try:
            draft = _draft(item, chunk)
        except _Wrong as error:
            refused.append(Refused(error.code, str(error), excerpt))
        else:
            drafts.setdefault(draft.digest, draft)
    return list(drafts.values()), refused
