"""From the words people write to the eight statuses: synonyms, misspellings, emoji, struck-out and ticked choices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from latewood.graph_schema.model import DecisionStatus
from latewood.ingestion.records.markdown import one_line, plain
from latewood.ingestion.records.model import Problem

__all__ = ["StatusReading", "read_status"]

_S = DecisionStatus
_SYNONYMS: Final[Mapping[DecisionStatus, str]] = {
    _S.PROPOSED: "proposed|proposal|propose|draft|drafted|pending|in progress|in review|under review|review|"
    "in discussion|under discussion|discussing|discussion|under consideration|open|incomplete|wip|work in progress|"
    "rfc|new|todo|request for comments|idea|unfinished|not yet accepted|not yet approved|not yet decided|undecided|"
    "tbd|to be decided|started|trial|experimental|awaiting approval|for review",
    _S.ACCEPTED: "accepted|accept|approved|approve|agreed|adopted|active|decided|done|implemented|final|"
    "finalised|finalized|ratified|committed|complete|completed|in force|current|enacted|confirmed|amended|supplemented|"
    "in effect|valid|in use|established|passed|signed off",
    _S.REJECTED: "rejected|reject|declined|denied|not accepted|not approved|refused|dismissed|"
    "wontfix|won't do|no-go|turned down|disapproved",
    _S.DEFERRED: "deferred|defer|postponed|on hold|onhold|parked|paused|on ice|delayed|shelved|blocked",
    _S.WITHDRAWN: "withdrawn|withdraw|abandoned|cancelled|canceled|dropped|retracted|discarded",
    _S.SUPERSEDED: "superseded|superceded|superseeded|supersceded|superceeded|supercede|superseed|"  # codespell:ignore
    "replaced|obsoleted|"
    "overridden|overtaken|superseded by",
    _S.REVERSED: "reversed|reverted|revoked|rescinded|undone|overturned|rolled back|repealed",
    _S.DEPRECATED: "deprecated|depreciated|obsolete|outdated|retired|expired|sunset|archived|decommissioned|"
    "no longer relevant|no longer valid|no longer in force|historical",
}
_WORDS: Final = {word: status for status, words in _SYNONYMS.items() for word in words.split("|")}
_LEADING: Final = re.compile(
    r"(?:" + "|".join(re.escape(word) for word in sorted(_WORDS, key=len, reverse=True)) + r")(?![\w'-])", re.IGNORECASE
)
_NO_STATUS: Final = frozenset(
    "supersedes supercedes replaces amends supplements extends obsoletes".split()  # noqa: SIM905  # codespell:ignore
)

_EMOJI_SIGNS: Final[Mapping[DecisionStatus, str]] = {
    _S.PROPOSED: "🤔 ❓ ❔ ⏳ 🚧 📝 💡 🟡 :thinking_face: :thinking: :question: :grey_question: :construction: "
    ":hourglass_flowing_sand: :memo: :bulb: :yellow_circle:",
    _S.ACCEPTED: "✅ ✔ ☑ 👍 🟢 🎉 ♻ :white_check_mark: :heavy_check_mark: :ballot_box_with_check: :+1: :thumbsup: "
    ":green_circle: :recycle: :tada:",
    _S.REJECTED: "❌ ✖ ❎ 🚫 ⛔ 👎 🔴 🛑 :x: :no_entry: :no_entry_sign: :-1: :thumbsdown: :red_circle: "
    ":octagonal_sign:",
    _S.DEFERRED: "⏸ 💤 :zzz: :pause_button:",
    _S.WITHDRAWN: "↩ :leftwards_arrow_with_hook:",
    _S.SUPERSEDED: "⌛ 🔄 :hourglass: :arrows_counterclockwise:",
    _S.DEPRECATED: "🗑 ⚰ 🪦 :wastebasket: :coffin:",
}
_EMOJI: Final = {sign: status for status, signs in _EMOJI_SIGNS.items() for sign in signs.split()}
_SIGN: Final = re.compile("|".join(re.escape(sign) for sign in sorted(_EMOJI, key=len, reverse=True)))
_NOISE: Final = re.compile(r"^(?:[\W_]+|status\s*[:=-]\s*|(?:it|this) (?:is|has been)\s+)+", re.IGNORECASE)
_DATED: Final = re.compile(r"^\W*\d{4}-\d{2}-\d{2}\W*")
_ISO: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_STRUCK: Final = re.compile(r"~~[^~\n]{1,500}~~|<(del|s|strike)>[^<\n]{1,500}</\1>", re.IGNORECASE)
_CHECKBOX: Final = re.compile(r"\s*[-*+]\s*\[([ xX])\]\s*(.*)")
_PARTLY: Final = re.compile(r"\b(?:partial(?:ly)?|partly|in part)\s+(?=superse|superce|replac|obsolet)", re.IGNORECASE)
_CHOICES: Final = re.compile(r"[|/{}]|\bor\b", re.IGNORECASE)

_ENDS: Final = re.compile(
    r"\s*(?:$|[,.;:()|#\[]|by\b|on\b|in favou?r\b|as of\b|since\b|at\b|[-\u2013\u2014]|\d)", re.IGNORECASE
)

_NEAR: Final = 0.84
_GUESS_CHARS_MIN: Final = 6
_SEVERAL_MIN: Final = 3
_LINES_MAX: Final = 200
STATUS_CHARS_MAX: Final = 2_000
_END_STATES: Final = (
    _S.SUPERSEDED, _S.REVERSED, _S.WITHDRAWN, _S.REJECTED, _S.DEPRECATED, _S.DEFERRED, _S.ACCEPTED, _S.PROPOSED
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StatusReading:
    """What a status text says: the status (None if unreadable), its first paragraph on one line, what was odd."""

    status: DecisionStatus | None
    raw: str | None
    problems: tuple[Problem, ...] = ()


def read_status(text: str, line: int = 0) -> StatusReading:
    """Read the text of a status section, line or frontmatter value that begins at *line*."""
    paragraphs = [one for one in re.split(r"\n\s*\n", text.strip()) if one.strip()]
    if not paragraphs:
        return StatusReading(None, None, (Problem("status.missing", "the status is empty", line),))
    raw = one_line(paragraphs[0])[:STATUS_CHARS_MAX]
    if _is_template(raw):
        return StatusReading(None, raw, (Problem("status.template", f"{raw[:80]!r} lists choices", line),))
    claims, guesses = _claims(_chosen_lines(text.split("\n")[:_LINES_MAX]))
    problems = [Problem("status.guessed", f"{word!r} was taken for {status}", line) for word, status in guesses]
    if not claims:
        return _by_sign(raw, line)
    status, odd = _settle(claims, line)
    if status is _S.SUPERSEDED and _PARTLY.search(raw):
        status = _S.ACCEPTED
        odd.append(Problem("status.partial", f"{raw[:80]!r} is read as accepted and amended", line))
    sign = _SIGN.search(raw[:40])
    if sign and {_EMOJI[sign.group()], status} == {_S.ACCEPTED, _S.REJECTED}:
        odd.append(Problem("status.disagrees", f"{sign.group()} stands before a word for {status}", line))
    return StatusReading(status, raw, (*problems, *odd))


def _is_template(raw: str) -> bool:
    """Whether *raw* lists choices: three or more status words parted by bars, slashes or "or"."""
    if not _CHOICES.search(raw):
        return False
    shown = re.sub(r"\[([^\[\]]{0,500})\]\([^()]{0,2000}\)", r"\1", raw)
    pieces = [_NOISE.sub("", piece) for piece in re.split(_CHOICES, shown)]
    return sum(1 for piece in pieces if _LEADING.match(piece)) >= _SEVERAL_MIN


def _chosen_lines(lines: Sequence[str]) -> list[str]:
    """Drop what is struck out, and what is not ticked where boxes are."""
    boxes = [_CHECKBOX.match(line) for line in lines]
    if any(boxes):
        return [box.group(2) for box in boxes if box and box.group(1) in "xX"]
    return [_STRUCK.sub("", line) for line in lines]


def _claims(lines: Sequence[str]) -> tuple[list[tuple[DecisionStatus, str | None]], list[tuple[str, DecisionStatus]]]:
    """Find each line that begins with a status word: (status, its ISO date), and the spellings that were guessed."""
    claims: list[tuple[DecisionStatus, str | None]] = []
    guesses: list[tuple[str, DecisionStatus]] = []
    for number, line in enumerate(lines):
        words = _NOISE.sub("", _DATED.sub("", plain(_SIGN.sub(" ", line))))
        words = _PARTLY.sub("", words)
        found = _LEADING.match(words)
        day = _ISO.search(line)
        if found and number and not _ENDS.match(words[found.end() :]):
            continue  # "Accepted" above, then "Replaced servers are sold": a sentence of its own, no second status
        if found and one_line(words.lower()).split(" ")[0].rstrip(",.:;") not in _NO_STATUS:
            claims.append((_WORDS[one_line(found.group().lower())], day.group() if day else None))
        elif not claims and not any(one.strip() for one in lines[:number]):
            guess = _guess(words)
            if guess:
                claims.append((guess[1], day.group() if day else None))
                guesses.append(guess)
    return claims, guesses


def _guess(words: str) -> tuple[str, DecisionStatus] | None:
    first = (re.findall(r"[A-Za-z]+", words[:60]) or [""])[0].lower()
    if len(first) < _GUESS_CHARS_MIN or first in _NO_STATUS:
        return None
    near = get_close_matches(first, [word for word in _WORDS if " " not in word], n=1, cutoff=_NEAR)
    return (first, _WORDS[near[0]]) if near else None


def _settle(
    claims: Sequence[tuple[DecisionStatus, str | None]], line: int
) -> tuple[DecisionStatus, list[Problem]]:  # fmt: skip
    """Choose among several: the last by date where all are dated, else the one that ends a decision's life."""
    statuses = {status for status, _ in claims}
    if len(statuses) == 1:
        return claims[0][0], []
    listed = ", ".join(status.value for status, _ in claims[:8])
    if all(day for _, day in claims):
        latest = max(enumerate(claims), key=lambda one: (one[1][1] or "", one[0]))[1][0]
        return latest, [Problem("status.several", f"of {listed} the last by date, {latest}, was taken", line)]
    final = next(status for status in _END_STATES if status in statuses)
    return final, [Problem("status.several", f"of {listed}, {final} was taken: it ends the others", line)]


def _by_sign(raw: str, line: int) -> StatusReading:
    """Read a status without a known word by its emoji."""
    sign = _SIGN.search(raw)
    if sign and not re.search(r"\w", _SIGN.sub("", raw)):
        return StatusReading(_EMOJI[sign.group()], raw)
    return StatusReading(None, raw, (Problem("status.unreadable", f"{raw[:80]!r} is no known status", line),))
