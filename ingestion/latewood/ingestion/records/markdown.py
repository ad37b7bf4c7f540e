"""The outline of a Markdown text: frontmatter, title, sections, links. Fences and comments are minded; nothing raises.

This is no renderer. It finds the structure that decision records use (ATX and underlined headings, bullets, inline and
reference links) in time linear in the text, and leaves all other words as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from latewood.ingestion.records.model import Problem, Reference

__all__ = [
    "Heading",
    "Outline",
    "Part",
    "bullets",
    "contain",
    "deepen",
    "inline_links",
    "one_line",
    "outline",
    "parts",
    "plain",
]

COMMENTS_MAX: Final = 1_000
"""Comments read in one text; more are left in it as words."""

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_ATX: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_DEFINITION: Final = re.compile(
    r" {0,3}\[([^\[\]]{1,300})\]:[ \t]*(?:<([^<>]{1,2000})>|(\S{1,2000}))?(?:[ \t]+[\"'(].{0,300})?[ \t]*$"
)
_BULLET: Final = re.compile(r"( {0,3})(?:[-*+]|\d{1,4}[.)])[ \t]+(.*)$")
_INLINE: Final = re.compile(
    r"(!?)\[([^\[\]]{0,500})\](?:\((?:<([^<>\n]{1,2000})>|((?:[^()\s]|\([^()\s]{0,200}\)){1,2000}))"
    r"(?:[ \t]+[\"'(][^\n]{0,300}?[\"')])?[ \t]*\)|\[([^\[\]]{0,300})\])?"
)
_AUTOLINK: Final = re.compile(r"<(https?://[^<>\s]{1,2000})>")
_BARE_URL: Final = re.compile(r"(?<![\w(<\[/])https?://[^\s<>()\[\]\"'`]{1,2000}")
_CODE: Final = re.compile(r"(`{1,3})(?!`)[^`\n]{1,1000}\1")
_EMPHASIS: Final = re.compile(r"[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading, its level (1 to 6) and its 0-based line."""

    level: int
    title: str
    at: int
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A heading with all that is under it, deeper headings included.

    `line` is the 1-based line of the heading, `text_line` that of the first line of the text.
    """

    title: str
    level: int
    text: str
    line: int
    text_line: int


@dataclass(frozen=True, slots=True)
class Outline:
    """The structure of one text.

    Attributes:
        frontmatter: the YAML between the leading ``---`` lines, or None; it begins on line 2.
        title: the first heading if it is one of level 1 (or the only first one), else None.
        preamble: what stands before the first section.
        sections: those of the level that comes first after the title.
        definitions: label (as written) to target of reference links.
    """

    frontmatter: str | None = None
    title: str | None = None
    title_line: int = 0
    preamble: str = ""
    preamble_line: int = 1
    sections: tuple[Part, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict[str, str])
    problems: tuple[Problem, ...] = ()


def one_line(text: str) -> str:
    """Bring *text* to one line with single blanks."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """Take emphasis and link syntax off a short text, keeping the words."""
    words = _INLINE.sub(lambda found: found.group(2), text)
    return one_line(_EMPHASIS.sub("", words).replace("`", ""))


def _fenced(lines: list[str], start: int) -> tuple[list[bool], int | None]:
    """Tell which lines from *start* on lie in code fences; and the line of a fence that never ends."""
    inside = [False] * len(lines)
    at = start
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        if opened is None or (opened.group(1)[0] == "`" and "`" in opened.group(2)):
            at += 1
            continue
        mark = opened.group(1)
        closing = re.compile(r" {0,3}" + re.escape(mark[0]) + "{" + str(len(mark)) + r",}[ \t]*$")
        end = next((n for n in range(at + 1, len(lines)) if closing.match(lines[n])), None)
        if end is None:
            return inside, at
        inside[at : end + 1] = [True] * (end + 1 - at)
        at = end + 1
    return inside, None


def _without_comments(lines: list[str], start: int) -> tuple[list[str], list[bool], list[Problem]]:
    """Blank out HTML comments, keeping line numbers; fences are looked for in what remains."""
    problems: list[Problem] = []
    fenced, _ = _fenced(lines, start)
    kept = list(lines)
    at = start
    for _ in range(COMMENTS_MAX + len(kept)):
        if at >= len(kept):
            break
        begin = -1 if fenced[at] else _CODE.sub(lambda f: "x" * len(f.group()), kept[at]).find("<!--")
        if begin < 0:
            at += 1
            continue
        end = next((n for n in range(at, len(kept)) if "-->" in kept[n][begin + 4 if n == at else 0 :]), None)
        if end is None:
            problems.append(Problem("markdown.unclosed_comment", "the comment `<!--` never ends", at + 1))
            break
        after = kept[end].index("-->", begin + 4 if end == at else 0) + 3
        tail = kept[end][after:]
        kept[at] = kept[at][:begin].rstrip() + (tail if end == at else "")
        for n in range(at + 1, end):
            kept[n] = ""
        if end > at:
            kept[end] = tail
    fenced, unclosed = _fenced(kept, start)
    if unclosed is not None:
        problems.append(Problem("markdown.unclosed_fence", "the code fence never ends", unclosed + 1))
    return kept, fenced, problems


def _headings(lines: list[str], fenced: list[bool], start: int) -> list[Heading]:
    found: list[Heading] = []
    for at in range(start, len(lines)):
        if fenced[at]:
            continue
        atx = _ATX.match(lines[at])
        if atx:
            found.append(Heading(len(atx.group(1)), one_line(atx.group(2) or ""), at))
            continue
        under = _UNDERLINE.match(lines[at])
        if not under or at == start or fenced[at - 1]:
            continue
        above = lines[at - 1]
        alone = at - 2 < start or not lines[at - 2].strip() or _ATX.match(lines[at - 2])
        if above.strip() and alone and not _ATX.match(above) and not _BULLET.match(above) and "|" not in above:
            found.append(Heading(1 if under.group(1)[0] == "=" else 2, one_line(above), at - 1, 2))
    return found


def _take_definitions(lines: list[str], fenced: list[bool], start: int) -> dict[str, str]:
    """Collect reference definitions and blank their lines, so that they do not count as words of a section."""
    taken: dict[str, str] = {}
    for at in range(start, len(lines)):
        found = None if fenced[at] else _DEFINITION.match(lines[at])
        if not found or found.group(1).startswith("^"):
            continue
        target, wrapped = found.group(2) or found.group(3), at + 1
        if target is None and wrapped < len(lines) and re.match(r"[ \t]*\S+[ \t]*$", lines[wrapped]):
            target, lines[wrapped] = lines[wrapped].strip(), ""
        if target is not None:
            taken.setdefault(found.group(1), target)
            lines[at] = ""
    return taken


def _join(lines: list[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).strip("\n").rstrip()


def _parts(lines: list[str], headings: list[Heading], level: int, line: int = 1) -> Iterator[Part]:
    """Cut at headings of *level* or above; inner headings move so that they begin below level 2."""
    starts = [n for n, heading in enumerate(headings) if heading.level <= level]
    for n, first in enumerate(starts):
        heading = headings[first]
        last = starts[n + 1] if n + 1 < len(starts) else len(headings)
        end = headings[last].at if last < len(headings) else len(lines)
        body = list(lines[heading.at + heading.lines : end])
        for inner in headings[first + 1 : last]:
            depth = min(6, max(3, inner.level - heading.level + 2))
            at = inner.at - heading.at - heading.lines
            body[at] = f"{'#' * depth} {inner.title}"
            if inner.lines > 1:
                body[at + 1] = ""
        blank = next((n for n, one in enumerate(body) if one.strip()), 0)
        begins = line + heading.at + heading.lines + blank
        yield Part(heading.title, heading.level, _join(body[blank:]), line + heading.at, begins)


def _frontmatter(lines: list[str]) -> tuple[str | None, int]:
    """Return the YAML block and the 0-based line where the Markdown begins."""
    if not lines or lines[0].rstrip() != "---":
        return None, 0
    end = next((n for n in range(1, len(lines)) if lines[n].rstrip() in {"---", "..."}), None)
    if end is None:
        return None, 0
    return "\n".join(lines[1:end]), end + 1


def outline(text: str, known: frozenset[str] = frozenset()) -> Outline:
    """Find the structure of *text*. A first heading named in *known* (lower case) is a section, not the title."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    front, start = _frontmatter(lines)
    lines, fenced, problems = _without_comments(lines, start)
    definitions = _take_definitions(lines, fenced, start)
    headings = _headings(lines, fenced, start)
    title = None
    if headings and plain(headings[0].title).rstrip(":").lower() not in known:
        title = headings.pop(0)
    begin = start if title is None else title.at + title.lines
    first = headings[0].at if headings else len(lines)
    above = [] if title is None else lines[start : title.at]
    return Outline(
        frontmatter=front,
        title=None if title is None else title.title,
        title_line=0 if title is None else title.at + 1,
        preamble="\n".join([*above, *lines[begin:first]]),
        preamble_line=begin + 1 - len(above),
        sections=tuple(_parts(lines, headings, headings[0].level)) if headings else (),
        definitions=definitions,
        problems=tuple(problems),
    )


def parts(text: str, line: int = 1) -> tuple[str, tuple[Part, ...]]:
    """Cut a section's text, which begins at *line*, at the first level of heading in it: words before, and parts."""
    lines = text.split("\n")
    fenced, _ = _fenced(lines, 0)
    headings = _headings(lines, fenced, 0)
    if not headings:
        return text, ()
    return _join(lines[: headings[0].at]), tuple(_parts(lines, headings, headings[0].level, line))


def contain(text: str) -> str:
    """Make *text* safe to stand in a section: headings below level 2, fences and comments closed, edges trimmed."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    fenced, unclosed = _fenced(lines, 0)
    for heading in _headings(lines, fenced, 0):
        lines[heading.at] = f"{'#' * max(3, heading.level)} {heading.title}"
        if heading.lines > 1:
            lines[heading.at + 1] = ""
    safe = _join(lines)
    return safe if unclosed is None else f"{safe}\n{_FENCE_END.get(lines[unclosed].lstrip()[:1], '```')}"


def deepen(text: str) -> str:
    """Move every heading of *text* one level down, as it is to stand under a heading itself."""
    lines = text.split("\n")
    fenced, _ = _fenced(lines, 0)
    for heading in _headings(lines, fenced, 0):
        lines[heading.at] = f"{'#' * min(6, heading.level + 1)} {heading.title}"
        if heading.lines > 1:
            lines[heading.at + 1] = ""
    return "\n".join(lines)


_FENCE_END: Final[Mapping[str, str]] = {"`": "`" * 40, "~": "~" * 40}


def bullets(text: str) -> tuple[str, list[str]]:
    """Split a text into the words outside its top-level list and the items of it, each with its inner lines."""
    outside: list[str] = []
    items: list[list[str]] = []
    lines = text.split("\n")
    fenced, _ = _fenced(lines, 0)
    margin = 0
    for at, line in enumerate(lines):
        found = None if fenced[at] else _BULLET.match(line)
        if found and (not items or len(found.group(1)) <= margin + 1):
            margin = len(found.group(1))
            items.append([found.group(2)])
        elif items and (not line.strip() or line[:1] in " \t" or (lines[at - 1].strip() and not fenced[at])):
            items[-1].append(line)
        else:
            outside.append(line)
    return _join(outside), [_join(item) for item in items]


def inline_links(text: str, definitions: Mapping[str, str], line: int = 1) -> Iterator[tuple[Reference, int, int]]:
    """Yield the links of *text* with where they begin and end in it; code and images are passed over."""
    labels = {one_line(label).lower(): target for label, target in definitions.items()}
    lines = text.split("\n")
    fenced, _ = _fenced(lines, 0)
    offset = 0
    for n, raw in enumerate(lines):
        if not fenced[n]:
            shown = _CODE.sub(lambda found: " " * len(found.group()), raw)
            for reference, begin, end in _links_of(shown, labels, line + n):
                yield reference, offset + begin, offset + end
        offset += len(raw) + 1


def _links_of(shown: str, labels: Mapping[str, str], line: int) -> Iterator[tuple[Reference, int, int]]:
    covered: list[tuple[int, int]] = []
    for found in _INLINE.finditer(shown):
        image, words, angled, target, label = found.groups()
        href = angled or target or labels.get(one_line(label or words).lower())
        if href is None:
            continue
        covered.append(found.span())
        if not image:
            yield Reference(_decoded(href), plain(words), line), *found.span()
    for pattern in (_AUTOLINK, _BARE_URL):
        for found in pattern.finditer(shown):
            if any(begin < found.end() and found.start() < end for begin, end in covered):
                continue
            covered.append(found.span())
            href = found.group(1) if pattern is _AUTOLINK else found.group().rstrip(".,;:!?*")
            yield Reference(href, href, line), *found.span()


def _decoded(href: str) -> str:
    """Percent-decode a path; a URL stays as it is written."""
    return href if "://" in href else unquote(href)
