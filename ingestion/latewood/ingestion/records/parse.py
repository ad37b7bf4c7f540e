"""Read one decision record, whatever layout it has. Nothing raises; what cannot be read is a problem with its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import PurePosixPath
from typing import Final

from latewood.ingestion.records.dates import DateReading, read_date
from latewood.ingestion.records.frontmatter import read_frontmatter
from latewood.ingestion.records.markdown import (
    Outline,
    Part,
    bullets,
    deepen,
    inline_links,
    one_line,
    outline,
    parts,
    plain,
)
from latewood.ingestion.records.model import (
    LinkKind,
    ParsedOption,
    ParsedRecord,
    Problem,
    RecordLink,
    Reference,
    Section,
)
from latewood.ingestion.records.options import choose, embedded_options, listed_options, merge_options
from latewood.ingestion.records.relations import (
    file_number,
    relation_kind,
    relations,
    says_no_more,
    settle_links,
    value_links,
)
from latewood.ingestion.records.roles import SECTION_NAMES, header_role, section_role
from latewood.ingestion.records.statuses import StatusReading, read_status

__all__ = ["RECORD_CHARS_MAX", "parse_bytes", "parse_record", "split_number"]

RECORD_CHARS_MAX: Final = 200_000
"""Characters of a record that are read; real ones have a tenth of it."""
REFERENCES_MAX: Final = 500
PEOPLE_MAX: Final = 100
_TITLE_CHARS_MAX: Final = 1_000

_HEADER_LINE: Final = re.compile(
    r"\s*(?:[-*+]\s+)?(?:\*\*|__)?([A-Za-z][A-Za-z -]{1,40}?)\s*(?::(?:\*\*|__)?|(?:\*\*|__):)\s*(.*)$"
)
_BARE_DATE: Final = re.compile(r"\s*(?:[-*+]\s+)?[*_]*Date[*_]*\s+(\d.*)$", re.IGNORECASE)
_TABLE_ROW: Final = re.compile(r"\s*\|\s*([^|]{2,40}?)\s*\|\s*([^|]{1,500}?)\s*\|\s*$")
_TITLE_NUMBER: Final = re.compile(
    r"\s*\[?\s*(?:(?P<word>adr|madr|decision(?: record)?|record)[\s_#№-]*)?"
    r"#?0*(?P<number>\d{1,6})\]?(?P<mark>\s*[:.)]|\s+[\u2013\u2014-])?(?:\s+|$)",
    re.IGNORECASE,
)
_ASIDE: Final = frozenset({"confirmation", "validation", "compliance"})
"""Parts that MADR puts under the decision and that are none of it."""
_RELATES: Final = re.compile(r"\W*relates to\b", re.IGNORECASE)
_CHOSEN: Final = re.compile(
    r"\W*Chosen (?:option|alternative|solution)s?\W*?:\W*?(?=[\w\"“'\u2018*`\[])", re.IGNORECASE
)
_QUOTED: Final = re.compile(
    r"(?:\"([^\"]+)\"|“([^”]+)”|'([^']+)'(?!\w)|\u2018([^\u2019]+)\u2019|\*\*([^*]+)\*\*|`([^`]+)`|\[([^\]]+)\](?:\([^)\s]*\))?)"
)
_BECAUSE: Final = re.compile(r"[\s,;:.\u2013\u2014-]*\bbecause\b[\s:]*", re.IGNORECASE)
_REASONED: Final = re.compile(r"\b(?:because|due to|in order to|the reason|so that)\b", re.IGNORECASE)
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(*`\[])")
_PLACEHOLDER: Final = re.compile(r"^\W*\{.*\}\W*$|^\W*\[(?:list|YYYY|none)[^\]]*\]\W*$", re.IGNORECASE)


@dataclass(slots=True)
class _Draft:
    """What has been read so far."""

    path: str
    outline: Outline
    day_first: bool | None
    near: date | None
    status: StatusReading | None = None
    status_text: str = ""
    day: DateReading | None = None
    title: str | None = None
    number: int | None = None
    people: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    texts: dict[str, str] = field(default_factory=dict[str, str])
    considered: list[ParsedOption] = field(default_factory=list[ParsedOption])
    weighed: list[ParsedOption] = field(default_factory=list[ParsedOption])
    refused: list[str] = field(default_factory=list[str])
    claims: list[RecordLink] = field(default_factory=list[RecordLink])
    metadata: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    others: list[Section] = field(default_factory=list[Section])
    problems: list[Problem] = field(default_factory=list[Problem])

    def relate(self, text: str, line: int, *, status: bool = False) -> None:
        self.claims += relations(text, self.outline.definitions, line, status=status)

    def problem(self, code: str, message: str, line: int = 0) -> None:
        self.problems.append(Problem(code, message, line))

    def add_text(self, role: str, text: str) -> None:
        if text:
            there = self.texts.get(role)
            self.texts[role] = f"{there}\n\n{text}" if there else text


def parse_bytes(data: bytes, *, path: str, day_first: bool | None = None, near: date | None = None) -> ParsedRecord:
    """Read a record from the bytes of its file; bytes that are not UTF-8 become U+FFFD and a problem."""
    try:
        text, odd = data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text, odd = data.decode("utf-8", "replace"), Problem("record.not_text", f"byte {error.start} is no UTF-8", line)
    return _parse(text, path=path, day_first=day_first, near=near, problems=[odd] if odd else [])


def parse_record(text: str, *, path: str, day_first: bool | None = None, near: date | None = None) -> ParsedRecord:
    """Read a decision record in a Nygard or MADR layout.

    Args:
        text: the file's.
        path: its path with forward slashes; the name gives the number.
        day_first: how the folder's other dates are written (`dates.day_order`), for dates such as 04/07/2019.
        near: the day of the commit that brought the record, for the same.
    """
    return _parse(text, path=path, day_first=day_first, near=near)


def _parse(
    text: str, *, path: str, day_first: bool | None, near: date | None, problems: Iterable[Problem] = ()
) -> ParsedRecord:  # fmt: skip
    found = outline(text[:RECORD_CHARS_MAX].replace("\0", "\ufffd"), SECTION_NAMES)
    draft = _Draft(path, found, day_first, near, problems=[*problems, *found.problems])
    if len(text) > RECORD_CHARS_MAX:
        draft.problem("record.too_long", f"{len(text)} characters, more than {RECORD_CHARS_MAX}; the rest was not read")
    if not text.strip():
        draft.problem("record.empty", "the file is empty")
    if found.frontmatter is not None:
        _read_frontmatter(draft, found.frontmatter)
    _read_preamble(draft)
    roles = [section_role(part.title) for part in found.sections]
    for part, role in zip(found.sections, roles, strict=True):
        stands_in = role == "proposal" and "decision" not in roles
        _read_section(draft, part, "decision" if stands_in else role)
    return _finish(draft)


def _read_frontmatter(draft: _Draft, block: str) -> None:
    entries, problems = read_frontmatter(block)
    draft.problems += problems
    for key, values, line in entries:
        joined = ", ".join(values)
        kind = relation_kind(key)
        if kind is not None and values:
            links = [link for value in values for link in value_links(value, kind, line)]
            draft.claims += links
            if links:
                continue
        if not _read_header(draft, key, values, line, quoted=True) and joined:
            draft.metadata.append((key, joined))


def _read_header(draft: _Draft, key: str, values: tuple[str, ...], line: int, *, quoted: bool = False) -> bool:
    """Take a `key: value` whose key is known; tell whether it was."""
    role = header_role(key)
    value = ", ".join(values)
    if role is None or (role in {"title", "number"} and not quoted):
        return False
    if _PLACEHOLDER.match(value):
        value, values = ("", ()) if role != "status" else (value, values)
    if role == "status" and (draft.status is None or draft.status.raw is None):
        draft.status, draft.status_text = read_status(value, line), value
        draft.relate(value, line, status=True)
    elif role == "date" and draft.day is None and value:
        draft.day = read_date(value, line, day_first=draft.day_first, near=draft.near)
    elif role == "title":
        draft.title = value or None
    elif role == "number":
        digits = re.search(r"\d{1,6}", value)
        draft.number = int(digits.group()) if digits else None
        return digits is not None
    elif role in {"deciders", "consulted", "informed"}:
        people = values if len(values) > 1 else _people(value)
        draft.people.setdefault(role, []).extend(plain(one) for one in people if plain(one))
    else:
        return not value
    return True


def _people(text: str) -> list[str]:
    return [one for one in re.split(r"\s*[,;\n]\s*", text) if one.strip(" *-_")][:PEOPLE_MAX]


def _read_preamble(draft: _Draft) -> None:
    """Take the header lines between the title and the first section; keep the other words."""
    kept: list[str] = []
    for n, line in enumerate(draft.outline.preamble.split("\n")):
        at = draft.outline.preamble_line + n
        found = _HEADER_LINE.match(line) or _TABLE_ROW.match(line)
        bare = _BARE_DATE.match(line)
        if found and header_role(found.group(1)) and _read_header(draft, found.group(1), (found.group(2).strip(),), at):
            continue
        if bare and draft.day is None:
            draft.day = read_date(bare.group(1), at, day_first=draft.day_first, near=draft.near)
            continue
        links = relations(line, draft.outline.definitions, at)
        draft.claims += links
        if not links or not says_no_more(line):
            kept.append(line)
    words = "\n".join(kept).strip("\n")
    if words.strip() and not re.fullmatch(r"[\s|:-]*", words):
        draft.others.append(Section("", re.sub(r"\n{3,}", "\n\n", words).strip(), draft.outline.preamble_line))


def _read_section(draft: _Draft, part: Part, role: str | None) -> None:
    kind = relation_kind(part.title) if role is None else None
    if role == "status":
        _read_status_section(draft, part)
    elif role == "date" and draft.day is None:
        draft.day = read_date(part.text, part.text_line, day_first=draft.day_first, near=draft.near)
    elif role == "deciders":
        _, items = bullets(part.text)
        people = items or _people(part.text)
        draft.people.setdefault("deciders", []).extend(plain(one) for one in people if plain(one))
    elif role in {"context", "decision", "rationale", "consequences"}:
        _read_text(draft, part, role)
    elif role in {"considered", "pros", "alternatives", "rejected"}:
        _read_options(draft, part, role)
    elif kind is not None and (links := value_links(part.text, kind, part.text_line)):
        draft.claims += links
    elif role == "relations":
        _read_relations(draft, part)
    else:
        draft.relate(part.text, part.text_line)
        draft.others.append(Section(plain(part.title), part.text, part.line))


def _read_status_section(draft: _Draft, part: Part) -> None:
    words, under = parts(part.text, part.text_line)
    if draft.status is not None and draft.status.raw is not None:
        draft.problem("section.repeated", "a second status; the first was read", part.line)
        draft.others.append(Section(plain(part.title), part.text, part.line))
        return
    draft.status, draft.status_text = read_status(words, part.text_line), words
    draft.relate(words, part.text_line, status=True)
    later = [one for one in re.split(r"\n\s*\n", words.strip())[1:] if one.strip()]
    kept = [one for one in later if not all(says_no_more(line) for line in one.split("\n"))]
    if kept:
        draft.others.append(Section(plain(part.title), "\n\n".join(kept), part.line))
    for inner in under:
        _read_section(draft, inner, section_role(inner.title))


def _read_text(draft: _Draft, part: Part, role: str) -> None:
    """Take one of the main texts, with the parts inside it that have a role of their own."""
    if role in draft.texts and role not in {"consequences", "rationale"}:
        draft.problem("section.repeated", f"a second {plain(part.title)!r}; the first was read", part.line)
        draft.others.append(Section(plain(part.title), part.text, part.line))
        return
    before, under = parts(part.text, part.text_line)
    draft.relate(part.text, part.text_line)
    own = [before]
    for inner in under:
        inner_role = section_role(inner.title)
        nested = role == "decision" and inner_role in {
            "rationale",
            "consequences",
            "rejected",
            "alternatives",
            "considered",
            "pros",
        }
        if nested and inner_role in {"rationale", "consequences"}:
            draft.add_text(inner_role, _titled(inner) if "consequences" not in inner.title.lower()[:12] else inner.text)
        elif nested or (role == "context" and inner_role in {"considered", "alternatives", "rejected"}):
            _read_options(draft, inner, inner_role or "considered")
        elif role == "decision" and plain(inner.title).casefold() in _ASIDE:
            draft.others.append(Section(plain(inner.title), inner.text, inner.line))
        else:
            own.append(f"### {inner.title}\n\n{deepen(inner.text)}".strip())
    if role in {"context", "decision"}:
        draft.weighed += embedded_options(part.text)
    text = "\n\n".join(one for one in own if one.strip())
    draft.add_text(role, _titled(replace(part, text=text)) if role == "consequences" else text)


def _titled(part: Part) -> str:
    """Keep the heading of "Positive Consequences" and the like, which says something of its own."""
    own = re.match(r"(positive|negative|neutral)\b", plain(part.title), re.IGNORECASE)
    return f"### {plain(part.title)}\n\n{deepen(part.text)}" if own and part.text else part.text


def _read_options(draft: _Draft, part: Part, role: str) -> None:
    draft.relate(part.text, part.text_line)
    titles = [one.title for one in draft.considered]
    whole = role in {"alternatives", "rejected"}
    if role == "considered":
        titles = [plain(one.title) for section in draft.outline.sections if section_role(section.title) == "pros"
                  for one in parts(section.text)[1]]  # fmt: skip
    found, outside = listed_options(part.text, whole=whole, titles=titles)
    if role == "considered":
        draft.considered += found
    else:
        draft.weighed += found
    if whole:
        draft.refused += [one.title for one in found]
    if outside.strip():
        draft.others.append(Section(plain(part.title), outside, part.line))


def _read_relations(draft: _Draft, part: Part) -> None:
    """Take the relation lines of a links section; keep its other lines, among which links to records are RELATED."""
    kept: list[str] = []
    for n, line in enumerate(part.text.split("\n")):
        at = part.text_line + n
        links = relations(line, draft.outline.definitions, at)
        if not links:
            links = [
                one
                for one in relations(line, draft.outline.definitions, at, status=True)
                if one.file or _RELATES.match(line)
            ]
        draft.claims += links
        if not links or not says_no_more(line):
            kept.append(line)
    words = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    if words:
        draft.others.append(Section(plain(part.title), words, part.line))


def split_number(title: str, expected: int | None) -> tuple[int | None, str]:
    """Part a title into its number and the rest. A number alone counts only with a mark ("3. ") or where *expected*."""
    found = _TITLE_NUMBER.match(title)
    if not found or (not found.group("word") and not found.group("mark") and int(found.group("number")) != expected):
        return None, title
    return int(found.group("number")), title[found.end() :].strip()


def _settle_title(draft: _Draft) -> tuple[int | None, str]:
    """Decide the number (file name, then frontmatter, then title) and the title without it."""
    of_file = file_number(draft.path)
    stem = PurePosixPath(draft.path).stem
    expected = draft.number if of_file is None else of_file
    written = plain(draft.outline.title or draft.title or "")[:_TITLE_CHARS_MAX]
    if not written:
        draft.problem("title.missing", "no title; the file's name was taken")
        written = re.sub(r"[-_]+", " ", stem) or draft.path
    of_title, title = split_number(written, expected)
    line = draft.outline.title_line
    if expected is None:
        return of_title, title or written
    loose = re.match(r"\s*(\d{1,6})\s", written) if of_title is None else None
    stated = of_title if of_title is not None else (int(loose.group(1)) if loose else None)
    if stated is not None and stated != expected:
        draft.problem("number.mismatch", f"the title {written[:80]!r} says {stated}, the file {expected}", line)
    return expected, title or written


def _settle_decision(draft: _Draft) -> tuple[str | None, str | None, str | None]:
    """Return the choice, the chosen option's title, and the rationale."""
    text = draft.texts.get("decision", "").strip()
    rationale = draft.texts.get("rationale")
    first, _, rest = text.partition("\n\n")
    stated = _CHOSEN.match(first)
    if not stated:
        return text or None, None, rationale or _reasons(text)
    words = first[stated.end() :].strip()
    quoted = _QUOTED.match(words)
    if quoted:
        title, after = next(one for one in quoted.groups() if one is not None), words[quoted.end() :]
        because = _BECAUSE.match(after)
        reason = after[because.end() :] if because else after.strip(" .,;:\n")
    else:
        title, _, reason = _split_because(words)
    reasons = [one.strip() for one in (reason, rationale or "") if one.strip()]
    title = plain(title)
    return rest.strip() or title or None, title or None, "\n\n".join(dict.fromkeys(reasons)) or None


def _split_because(words: str) -> tuple[str, str, str]:
    because = _BECAUSE.search(words)
    if not because:
        return words.rstrip(" ."), "", ""
    return words[: because.start()], because.group(), words[because.end() :]


def _reasons(text: str) -> str | None:
    """Pick the sentences of a decision that give its reason."""
    lines = re.split(r"\n\s*(?:\n|(?=[-*+] |\d{1,2}[.)] ))", text)
    said = [re.sub(r"^(?:[-*+]|\d{1,2}[.)]) ", "", one_line(one)) for line in lines for one in _SENTENCE.split(line)]
    return " ".join(one for one in said if _REASONED.search(one) and not one.startswith("#")) or None


def _references(text: str, definitions: Mapping[str, str], line: int) -> dict[tuple[str, str], Reference]:
    found: dict[tuple[str, str], Reference] = {}
    for reference, _, _ in inline_links(text, definitions, line):
        found.setdefault((reference.target, reference.text), reference)
    return found


def _all_references(draft: _Draft) -> tuple[Reference, ...]:
    """Collect the links of the whole text, and the definitions that nothing uses but that lead somewhere."""
    found = _references(draft.outline.preamble, draft.outline.definitions, draft.outline.preamble_line)
    for part in draft.outline.sections:
        for key, reference in _references(part.text, draft.outline.definitions, part.text_line).items():
            found.setdefault(key, reference)
    if draft.outline.frontmatter is not None:
        for key, reference in _references(draft.outline.frontmatter, {}, 2).items():
            found.setdefault(key, reference)
    if len(found) > REFERENCES_MAX:
        draft.problem("references.too_many", f"{len(found)} links, more than {REFERENCES_MAX}")
    return tuple(found[key] for key in sorted(found)[:REFERENCES_MAX])


def _finish(draft: _Draft) -> ParsedRecord:
    number, title = _settle_title(draft)
    status = draft.status or StatusReading(None, None, (Problem("status.missing", "no status is stated"),))
    choice, chosen, rationale = _settle_decision(draft)
    decision = draft.texts.get("decision", "")
    options = choose(merge_options(draft.considered, draft.weighed), chosen, decision, draft.refused)
    links, disagreeing = settle_links(_without_own(draft.claims, draft.path))
    references = _all_references(draft)
    day = draft.day
    return ParsedRecord(
        path=draft.path, title=title, number=number, status=status.status, status_raw=status.raw,
        date=day.day if day else None, date_raw=day.raw if day else None,
        deciders=_unique(draft, "deciders"), consulted=_unique(draft, "consulted"), informed=_unique(draft, "informed"),
        context=draft.texts.get("context"), choice=choice, rationale=rationale,
        consequences=draft.texts.get("consequences"),
        options=options, links=links, references=references,
        definitions=tuple(sorted(draft.outline.definitions.items())), metadata=tuple(draft.metadata),
        others=tuple(draft.others),
        problems=(*draft.problems, *status.problems, *(day.problems if day else ()), *disagreeing),
    )  # fmt: skip


def _unique(draft: _Draft, role: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(draft.people.get(role, ())))[:PEOPLE_MAX]


def _without_own(claims: Iterable[RecordLink], path: str) -> list[RecordLink]:
    """Drop a mere mention of the record itself; a record that supersedes itself is kept, as it is an error to name."""
    name = PurePosixPath(path).name
    return [
        one for one in claims
        if one.kind is not LinkKind.RELATED or one.file is None or PurePosixPath(one.file).name != name
    ]  # fmt: skip
