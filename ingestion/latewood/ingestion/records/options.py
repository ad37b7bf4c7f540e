"""The options that were weighed, from lists, headings, and "Good/Bad, because" lines, and why they were not taken."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from latewood.ingestion.records.markdown import Part, bullets, one_line, parts, plain
from latewood.ingestion.records.model import ParsedOption

__all__ = ["choose", "embedded_options", "listed_options", "merge_options", "same_title"]

OPTIONS_MAX: Final = 100
_TITLE_CHARS_MAX: Final = 300
_SHORT: Final = 100
_REASON_CHARS_MAX: Final = 4_000

_BOLD: Final = re.compile(r"(?:\*\*|__)(.{1,300}?)(?:\*\*|__)\s*[:.,\u2013\u2014-]*\s*(.*)", re.DOTALL)
_PARTED: Final = re.compile(r"([^\n]{1,120}?)(?::\s+|\s+[\u2013\u2014-]{1,2}\s+|:$)(.*)", re.DOTALL)
_ITEM: Final = re.compile(r" {0,3}[-*+]\s+(.*)")
_BAD: Final = re.compile(
    r"\W*(?:bad|cons?|negative|disadvantage|drawback|against)\b\W{0,6}(?:because\b\s*(?:of\s+)?)?(.*)",
    re.IGNORECASE | re.DOTALL,
)
_GOOD: Final = re.compile(r"\W*(?:good|pros?|positive|advantage|neutral)\b", re.IGNORECASE)
_LABEL: Final = re.compile(
    r"[\s>*_#-]*(pros|cons|advantages|disadvantages|drawbacks|downsides|benefits)\W*$", re.IGNORECASE
)
_LABELS_BAD: Final = frozenset({"cons", "disadvantages", "drawbacks", "downsides"})
_REFUSED: Final = re.compile(
    r"\b(?:reject\w*|rul\w{1,3}\s+out|discard\w*|dismiss\w*|discount\w*|decided\s+against|cho(?:se|sen)\s+not|"
    r"not\s+(?:chosen|selected|taken|supported|viable|possible|suitable)|did\s+not\s+choose)\b",
    re.IGNORECASE,
)
_NEGATED: Final = re.compile(r" (?:not|no|never|instead|than|rather) ")
_NAME_CHARS_MIN: Final = 4
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(*`\[])")
_NUMBERED: Final = re.compile(
    r"(?:option|alternative|opt|action)\s*(?:#?\s*(\d{1,3}[a-z]?)|\s([A-Z]))\b\W*", re.IGNORECASE
)
_EMBEDDED: Final = re.compile(r"(?:option|alternative)\s*(?:#?\s*\d{1,3}[a-z]?|\s[A-Z])\b", re.IGNORECASE)


def _bare_title(text: str) -> str:
    return re.sub(r"[^\w]+", " ", _NUMBERED.sub("", plain(text))).strip().casefold()


def same_title(one: str, other: str) -> bool:
    """Whether two titles name one option, whatever their numbering, case and punctuation."""
    first, second = _bare_title(one), _bare_title(other)
    return bool(first) and first == second


def _split(item: str) -> tuple[str, str]:
    """Part an item into the option's title and what is said of it."""
    bold = _BOLD.match(item)
    if bold:
        return plain(bold.group(1)), bold.group(2).strip()
    first, _, below = item.partition("\n\n")
    parted = _PARTED.match(first)
    if parted and len(plain(parted.group(1))) <= _SHORT:
        return plain(parted.group(1)), (parted.group(2) + "\n\n" + below).strip()
    line, _, more = item.partition("\n")
    if len(line) > _TITLE_CHARS_MAX:
        return plain(line)[:_TITLE_CHARS_MAX], item
    if more and more.lstrip()[:1] not in "-*+" and not more.lstrip()[:1].isdigit() and "\n\n" not in item:
        joined = plain(item)
        return joined[:_TITLE_CHARS_MAX], item if len(joined) > _TITLE_CHARS_MAX else ""
    return plain(line), "\n".join(one.strip() for one in more.split("\n")).strip()


def _reason_of(body: str, *, whole: bool) -> tuple[str | None, str | None]:
    """Part what is said of an option into the reason against it and the rest; *whole*: all of it is the reason."""
    reasons, rest = _bad_items(body)
    if not reasons:
        reasons = _labelled(body)
    if not reasons:
        refused = [one_line(one) for one in _SENTENCE.split(body) if _REFUSED.search(one)]
        reasons = [one_line(body)] if whole and not refused else refused
        rest = "" if [one_line(body)] == reasons else body
    reason = "; ".join(one for one in reasons if one)[:_REASON_CHARS_MAX].strip()
    return reason or None, rest.strip() or None


def _bad_items(body: str) -> tuple[list[str], str]:
    """Take the "Bad, because ..." items out of *body*; return their reasons and all other lines as they are."""
    reasons: list[str] = []
    rest: list[str] = []
    within = False
    for line in body.split("\n"):
        item = _ITEM.match(line)
        bad = _BAD.match(item.group(1)) if item and not _GOOD.match(item.group(1)) else None
        if bad and bad.group(1).strip():
            reasons.append(one_line(bad.group(1)))
            within = True
        elif within and line.strip() and not item and not line.lstrip().startswith(("#", "```", "~~~")):
            reasons[-1] = f"{reasons[-1]} {one_line(line)}"
        else:
            within = False
            rest.append(line)
    return reasons, "\n".join(rest)


def _labelled(body: str) -> list[str]:
    """Collect the bullets under a "Cons:" line."""
    reasons: list[str] = []
    against = False
    for line in body.split("\n"):
        label = _LABEL.match(line)
        if label:
            against = label.group(1).lower() in _LABELS_BAD
        elif against and (item := re.match(r"\s*[-*+]\s+(.*)", line)):
            reasons.append(one_line(item.group(1)))
        elif against and reasons and line.strip():
            reasons[-1] = one_line(reasons[-1] + " " + line)
    return reasons


def _option(title: str, body: str, *, whole: bool) -> ParsedOption:
    reason, description = _reason_of(body, whole=whole) if body else (None, None)
    return ParsedOption(title[:_TITLE_CHARS_MAX], reason, description)


def _of_parts(found: Iterable[Part], *, whole: bool) -> list[ParsedOption]:
    options: list[ParsedOption] = []
    for part in found:
        title, body = plain(part.title), part.text
        if body and not _bare_title(title):
            # "Option 2:" alone names nothing; its first line does.
            first, _, rest = body.partition("\n\n")
            title, body = f"{title} {plain(first)}".strip(), rest.strip()
        if title:
            options.append(_option(title, body, whole=whole))
    return options[:OPTIONS_MAX]


def listed_options(
    text: str, *, whole: bool, titles: Sequence[str] = ()
) -> tuple[list[ParsedOption], str]:  # fmt: skip
    """Read the options of a section, from its headings or else its list, and the words outside of them.

    Args:
        text: the section's.
        whole: whether all that is said of an option is the reason against it ("Rejected", "Alternatives").
        titles: options known from elsewhere; an item that is one of these is not parted.
    """
    before, under = parts(text)
    if under:
        return _of_parts(under, whole=whole), before
    outside, items = bullets(text)
    options: list[ParsedOption] = []
    for item in items[:OPTIONS_MAX]:
        known = next((one for one in titles if plain(item) == one), None)
        title, body = (known, "") if known is not None else _split(item)
        if title:
            options.append(_option(title, body, whole=whole))
    return options, outside


def embedded_options(text: str) -> list[ParsedOption]:
    """Find the options that stand as headings ("Option 2: ...") in a section that is about something else."""
    _, under = parts(text)
    return _of_parts((part for part in under if _EMBEDDED.match(plain(part.title))), whole=False)


def merge_options(first: Sequence[ParsedOption], second: Sequence[ParsedOption]) -> list[ParsedOption]:
    """Add what *second* knows to *first*: the same option once, in the order it was first named."""
    merged = list(first)
    for option in second:
        at = next((n for n, one in enumerate(merged) if same_title(one.title, option.title)), None)
        if at is None:
            merged.append(option)
            continue
        there = merged[at]
        said = [one for one in (there.description, option.description) if one]
        merged[at] = replace(
            there,
            rejected_because=there.rejected_because or option.rejected_because,
            description="\n\n".join(dict.fromkeys(said)) or None,
        )
    return merged[:OPTIONS_MAX]


def choose(
    options: Sequence[ParsedOption], chosen: str | None, decision: str, refused: Collection[str] = ()
) -> tuple[ParsedOption, ...]:  # fmt: skip
    """Mark the one option that was taken.

    It is the one titled *chosen*; else "Option 2" if the decision begins so; else the only one whose title stands in
    the first sentence of the decision and is not among the *refused* titles.
    """
    at = _titled(options, chosen) if chosen is not None else _worded(options, decision, refused)
    return tuple(replace(one, chosen=True) if n == at else one for n, one in enumerate(options))


def _titled(options: Sequence[ParsedOption], chosen: str) -> int | None:
    bare = _bare_title(chosen)
    close = [n for n, one in enumerate(options) if bare and _bare_title(one.title).startswith(bare + " ")]
    return next((n for n, one in enumerate(options) if same_title(one.title, chosen)), close[0] if close else None)


def _worded(options: Sequence[ParsedOption], decision: str, refused: Collection[str]) -> int | None:
    words = plain(decision[:2_000])
    named = _NUMBERED.match(words)
    labels = [_label(one.title) for one in options]
    if named:
        label = (named.group(1) or named.group(2)).lower()
        if label in labels:
            return labels.index(label)
        if label.isdigit() and not any(labels):
            return int(label) - 1 if 0 < int(label) <= len(options) else None
    first = f" {_bare_title(_SENTENCE.split(words, maxsplit=1)[0])} "
    within = [
        n for n, one in enumerate(options)
        if one.title not in refused and len(_bare_title(one.title)) >= _NAME_CHARS_MIN
        and f" {_bare_title(one.title)} " in first
    ]  # fmt: skip
    return within[0] if len(within) == 1 and not _NEGATED.search(first) else None


def _label(title: str) -> str | None:
    found = _NUMBERED.match(title)
    return (found.group(1) or found.group(2)).lower() if found else None
