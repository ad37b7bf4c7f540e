"""Where one record speaks of another: "Superseded by [ADR028](ADR028-x.md) and #31", in words, links or frontmatter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from latewood.ingestion.records.markdown import inline_links, plain
from latewood.ingestion.records.model import LinkKind, Problem, RecordLink, Reference

__all__ = ["file_number", "relation_kind", "relations", "says_no_more", "settle_links", "value_links", "word_number"]

_STEMS: Final = (
    r"(supers[ce]{1,3}d|superced|"
    r"replac|obsolet|overrid|amend|supplement|extend|updat|clarif|refin|modif)"  # codespell:ignore
)
_VERB: Final = re.compile(
    rf"\b{_STEMS}(eded|ed|den|ied|es|ies|ing|e|s)?\b(\s+(?:in\s+part\s+)?(?:by|with|in\s+favou?r\s+of)\b)?"
    r"|\b(see(?:\s+also)?|relate[sd](?:\s+to)?|depends\s+on)\b",
    re.IGNORECASE,
)
_SUPERSEDING: Final = ("super", "replac", "obsolet", "overrid")
_PARTLY: Final = re.compile(r"\b(?:partial(?:ly)?|partly|in\s+part)\W+$", re.IGNORECASE)
_FILE_NUMBER: Final = re.compile(r"^(?:adr|dr|madr|decision)?[-_ ]?0*(\d{1,6})(?!\d)", re.IGNORECASE)
_WORD_NUMBER: Final = re.compile(
    r"(?:^|\b)(?:adr|decision|record)[-_ #№]*0*(\d{1,6})\b|^\W*#?0*(\d{1,6})(?=$|[\s.:),-])", re.IGNORECASE
)
_BARE: Final = re.compile(
    r"(?P<file>(?<![\w/.-])[\w./-]{1,200}\.(?:md|markdown)\b)"
    r"|\b(?:adr|decision|record)[-_ #№]*0*(?P<named>\d{1,6})\b|(?<![\w/#&])#0*(?P<hash>\d{1,6})\b",
    re.IGNORECASE,
)
_MERE: Final = re.compile(r"\s*(?:(?:,|and|&|:|=)\s*)*0*(\d{1,6})(?![\w/.-]*\d)(?!\w)")
_RECORD_FILE: Final = re.compile(r"\.(?:md|markdown|mdx)$", re.IGNORECASE)
_LEAD: Final = re.compile(r"^[\s>*+_-]*(?:\d{1,3}[.)]\s+)?[*_]*")
_KINDS_ACTIVE: Final = {True: LinkKind.SUPERSEDES, False: LinkKind.AMENDS}
_KINDS_PASSIVE: Final = {True: LinkKind.SUPERSEDED_BY, False: LinkKind.AMENDED_BY}

LINKS_MAX: Final = 200
_TEXT_CHARS_MAX: Final = 300


def file_number(path: str) -> int | None:
    """Return the number a file name begins with (``ADR012-x.md``, ``0012-x.md``), or None; a date is no number."""
    found = _FILE_NUMBER.match(PurePosixPath(path).stem)
    if not found or re.match(r"\d{4}-\d{2}-\d{2}", PurePosixPath(path).stem):
        return None
    return int(found.group(1))


def word_number(text: str) -> int | None:
    """Return the number that words give a record ("ADR-0028 Tools", "#12", "036. Multi-cluster"), or None."""
    found = _WORD_NUMBER.search(text)
    return int(found.group(1) or found.group(2)) if found else None


def relation_kind(words: str) -> LinkKind | None:
    """Return the relation that a frontmatter key or heading names ("superseded-by", "Replaces"), or None."""
    found = _VERB.match(re.sub(r"[-_]", " ", words.strip()))
    return _kind(found, passive_alone=False) if found and not found.group(4) else None


def _kind(found: re.Match[str], *, passive_alone: bool) -> LinkKind:
    """Tell the relation of a verb; "superseded [x]" without "by" is passive where *passive_alone* (a status)."""
    stem, ending, by, other = found.groups()
    if other:
        return LinkKind.RELATED
    superseding = stem.lower().startswith(_SUPERSEDING)
    past = (ending or "").lower() in {"ed", "den", "ied", "eded"}
    if past and (by or passive_alone):
        return _KINDS_PASSIVE[superseding]
    return _KINDS_ACTIVE[superseding]


def _target(reference: Reference, kind: LinkKind) -> RecordLink | None:
    """Turn a Markdown link into a claim, if it leads to a record."""
    path = reference.target.partition("#")[0]
    words = word_number(reference.text)
    named = re.match(r"\W*(?:adr|decision|#)", reference.text, re.IGNORECASE)
    if reference.is_url:
        by_file = file_number(path) if _RECORD_FILE.search(path) else None
        number = by_file if by_file is not None else (words if named else None)
        return None if number is None else RecordLink(kind, number, path, _words(reference.text), reference.line)
    if not _RECORD_FILE.search(path):
        return None if words is None else RecordLink(kind, words, path or None, _words(reference.text), reference.line)
    number = file_number(path)
    return RecordLink(
        kind, words if number is None else number, path, _words(reference.text), reference.line
    )  # fmt: skip


def _words(text: str) -> str:
    return plain(text)[:_TEXT_CHARS_MAX].strip()


def _bare(segment: str, kind: LinkKind, line: int) -> Iterator[RecordLink]:
    """Find targets that are no links: file names, "ADR 31", "#31", and numbers right after the verb."""
    at = 0
    if kind is not LinkKind.RELATED:
        while found := _MERE.match(segment, at):
            yield RecordLink(kind, int(found.group(1)), None, found.group(1), line)
            at = found.end()
    for found in _BARE.finditer(segment, at):
        file = found.group("file")
        if file:
            yield RecordLink(kind, file_number(file), file, file, line)
        else:
            number = int(found.group("named") or found.group("hash"))
            yield RecordLink(kind, number, None, found.group().strip("- _"), line)


def _segment(
    text: str, start: int, end: int, kind: LinkKind, found: Iterable[tuple[Reference, int, int]], line: int
) -> Iterator[RecordLink]:  # fmt: skip
    """Yield the claims between two verbs."""
    rest = list(text[start:end])
    for reference, begin, stop in found:
        if start <= begin < end:
            claim = _target(reference, kind)
            rest[begin - start : stop - start] = " " * (stop - begin) if claim or reference.is_url else text[begin:stop]
            if claim:
                yield claim
    yield from _bare("".join(rest), kind, line + text.count("\n", 0, start))


def relations(text: str, definitions: Mapping[str, str], line: int = 1, *, status: bool = False) -> list[RecordLink]:
    """Read the claims in *text* that begins at *line*.

    In a *status* every verb counts and a link without one is RELATED; elsewhere a verb counts where it begins a line.
    """
    claims: list[RecordLink] = []
    at = 0
    for block in re.split(r"(\n\s*\n)", text) if status else text.splitlines(keepends=True):
        if len(claims) >= LINKS_MAX:
            break
        first = line + text.count("\n", 0, at)
        at += len(block)
        claims += _block(block, definitions, first, status=status)
    return claims[:LINKS_MAX]


def says_no_more(line: str) -> bool:
    """Whether a relation line is nothing but its verb and targets, so that the claims hold all it says."""
    bare = re.sub(r"!?\[[^\[\]]{0,500}\](?:\([^()\n]{0,2000}\)|\[[^\[\]]{0,300}\])?", " ", line)
    bare = _BARE.sub(" ", _VERB.sub(" ", bare))
    return not re.search(
        r"[^\W\d_]",
        re.sub(r"\b(?:and|by|in part|partial(?:ly)?|partly)\b|<[^<>]{0,2000}>", " ", bare, flags=re.IGNORECASE),
    )


def _block(block: str, definitions: Mapping[str, str], line: int, *, status: bool) -> Iterator[RecordLink]:
    found = list(inline_links(block, definitions, line))
    shown = list(block)
    for _, begin, end in found:
        shown[begin:end] = "\0" * (end - begin)
    verbs = list(_VERB.finditer("".join(shown).replace("\n", " ")))
    lead = _LEAD.match(block)
    begins = lead.end() if lead else 0
    if not status and (not verbs or verbs[0].start() != begins or verbs[0].group(4)):
        return
    if status:
        yield from _segment(block, 0, verbs[0].start() if verbs else len(block), LinkKind.RELATED, found, line)
    for n, verb in enumerate(verbs[:LINKS_MAX]):
        end = verbs[n + 1].start() if n + 1 < len(verbs) else len(block)
        kind = _kind(verb, passive_alone=status)
        if _PARTLY.search(block[max(0, verb.start() - 40) : verb.start()]) and kind in _SOFTER:
            kind = _SOFTER[kind]
        yield from _segment(block, verb.end(), end, kind, found, line)


_SOFTER: Final = {LinkKind.SUPERSEDED_BY: LinkKind.AMENDED_BY, LinkKind.SUPERSEDES: LinkKind.AMENDS}


def value_links(value: str, kind: LinkKind, line: int) -> list[RecordLink]:
    """Read a frontmatter value as targets of *kind*: numbers, file names, links, parted by commas."""
    found = list(inline_links(value, {}, line))
    return list(_segment(value, 0, len(value), kind, found, line))[:LINKS_MAX]


def settle_links(claims: Iterable[RecordLink]) -> tuple[tuple[RecordLink, ...], tuple[Problem, ...]]:
    """Keep each claim once (the one with a file, else the first), sorted; name those whose words and file disagree."""
    kept: dict[tuple[LinkKind, int | None, str | None], RecordLink] = {}
    problems: list[Problem] = []
    for claim in claims:
        key = (claim.kind, claim.number, claim.file if claim.number is None else None)
        there = kept.get(key)
        if there is None or (there.file is None and claim.file is not None):
            kept[key] = claim
        words = word_number(claim.text) if re.match(r"\W*(?:adr|#)", claim.text, re.IGNORECASE) else None
        if claim.file is not None and words is not None and claim.number not in {None, words}:
            message = f"{claim.text!r} leads to {claim.file}, number {claim.number}"
            problems.append(Problem("link.mismatch", message, claim.line))
    order = list(LinkKind)
    ranked = sorted(
        kept.values(),
        key=lambda one: (order.index(one.kind), -1 if one.number is None else one.number, one.file or "", one.text),
    )
    return tuple(ranked), tuple(problems)
