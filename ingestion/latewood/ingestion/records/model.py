"""What a decision record says once it is read, with no store in sight.

Line numbers say where something stood (1-based, in the text as given) and take no part in equality: two texts that say
the same thing are equal however they are laid out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final

from latewood.graph_schema.model import DecisionStatus

__all__ = [
    "PROBLEM_CODES",
    "LinkKind",
    "ParsedOption",
    "ParsedRecord",
    "Problem",
    "RecordLink",
    "Reference",
    "Section",
]

PROBLEM_CODES: Final[Mapping[str, str]] = {
    "date.ambiguous": "A date can be read day first or month first and nothing decides; it was left out.",
    "date.inferred": "A date can be read in two ways; the message says which was taken and on what evidence.",
    "date.month_only": "A date names no day; the first of its month was taken.",
    "date.unreadable": "A date could not be read; it was left out.",
    "frontmatter.broken": "The YAML frontmatter does not parse; its plain `key: value` lines were read one by one.",
    "frontmatter.too_long": "The frontmatter is longer than its limit and was not read.",
    "git.clock_skew": "A commit is stamped earlier than one it builds on; it was placed right after that one.",
    "git.renames_skipped": "Git gave up on finding renames in a commit that moves too many files.",
    "git.shallow": "The clone is shallow: commits before its edge are not there. Run `git fetch --unshallow`.",
    "git.unreadable": "The path lies in a git repository that cannot be read; the message has git's reason.",
    "link.mismatch": "A link's words name another number than its file; the file was believed.",
    "markdown.unclosed_comment": "An HTML comment never ends; it was read as text.",
    "markdown.unclosed_fence": "A code fence never ends; it was read as text.",
    "number.mismatch": "The title begins with another number than the file name; the file name was believed.",
    "record.empty": "The file holds no words.",
    "record.not_text": "The file is not UTF-8; the bytes that could not be read show as U+FFFD.",
    "record.too_long": "The file is longer than its limit; only its beginning was read.",
    "references.too_many": "More links than the limit; the rest were left out.",
    "section.repeated": "A section comes twice; the later one was kept beside the others.",
    "status.disagrees": "An emoji and a word say different statuses; the word was believed.",
    "status.guessed": "A status word is misspelt beyond the known spellings; the nearest known one was taken.",
    "status.missing": "The record states no status.",
    "status.partial": "The record is superseded in part; it is read as accepted and amended.",
    "status.several": "The record states several statuses; the message says which was taken and why.",
    "status.template": "The status still lists the choices of a template.",
    "status.unreadable": "The status is none of the known words.",
    "title.missing": "The record has no title; its file name was taken.",
}
"""What each problem's code means, in one sentence."""


class LinkKind(StrEnum):
    """How one record speaks of another. The `_by` kinds are the passive side of the kind before them."""

    SUPERSEDES = "supersedes"
    SUPERSEDED_BY = "superseded_by"
    AMENDS = "amends"
    AMENDED_BY = "amended_by"
    RELATED = "related"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a record that a person should look at. Reading went on.

    Attributes:
        code: one of `PROBLEM_CODES`, stable.
        line: 1-based; 0 where the problem is of the whole file.
    """

    code: str
    message: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class RecordLink:
    """One record's claim about its relation to another, as written; `links.resolve` says which record is meant.

    Attributes:
        number: the target's number by its file name, else by its words; None if neither has one.
        file: the link's path (percent-decoded) or URL as written, without fragment; None for a mere number.
        text: the target's words as written ("ADR028", "#12").
    """

    kind: LinkKind
    number: int | None = None
    file: str | None = None
    text: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Reference:
    """Any Markdown link in the record.

    Attributes:
        target: a URL, or a path as written (fragment kept, percent-decoded).
        text: the link's words.
    """

    target: str
    text: str
    line: int = field(default=0, compare=False)

    @property
    def is_url(self) -> bool:
        """Whether the target names its scheme or host."""
        return "://" in self.target or self.target.startswith(("mailto:", "//"))


@dataclass(frozen=True, slots=True)
class Section:
    """A section that is none of the known ones, kept whole.

    Attributes:
        title: its heading; empty for words between the title and the first section.
        text: its Markdown, inner headings at level 3 and deeper.
    """

    title: str
    text: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ParsedOption:
    """One option that was weighed.

    Attributes:
        title: its name.
        rejected_because: why it was not taken, on one line; None where the record does not say.
        description: what else is said of it (advantages among it), as Markdown.
        chosen: whether it is the one that was taken.
    """

    title: str
    rejected_because: str | None = None
    description: str | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class ParsedRecord:
    """A decision record as read. Texts are Markdown, trimmed; what is not there is None or empty.

    Attributes:
        path: as given by the caller, with forward slashes.
        number: by the file name, else by the title.
        title: without its number.
        status: None where it is missing or unreadable (then `problems` says so).
        status_raw: the first paragraph of the status as written, on one line, emoji and links included.
        date: the day the record gives itself, in no time zone; never a guess without evidence.
        date_raw: that day as written.
        context: the problem, question or background.
        choice: what was decided; the title of the chosen option where nothing more is said.
        rationale: why; from "because", a section of its own, or the sentences of the choice that say so.
        options: all that were weighed, the chosen one among them.
        links: claims about other records, sorted, each once.
        references: all Markdown links, sorted, each once.
        definitions: (label, target) of the reference links, which the texts still use.
        metadata: (key, value) of frontmatter entries that are none of the known ones.
        others: sections that are none of the known ones, in order.
    """

    path: str
    title: str
    number: int | None = None
    status: DecisionStatus | None = None
    status_raw: str | None = None
    date: date | None = None
    date_raw: str | None = None
    deciders: tuple[str, ...] = ()
    consulted: tuple[str, ...] = ()
    informed: tuple[str, ...] = ()
    context: str | None = None
    choice: str | None = None
    rationale: str | None = None
    consequences: str | None = None
    options: tuple[ParsedOption, ...] = ()
    links: tuple[RecordLink, ...] = ()
    references: tuple[Reference, ...] = ()
    definitions: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    others: tuple[Section, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def alternatives(self) -> tuple[ParsedOption, ...]:
        """The options that were not taken."""
        return tuple(option for option in self.options if not option.chosen)

    @property
    def evidence(self) -> tuple[Reference, ...]:
        """The links that lead to something else than another record's relation: what the decision rests on."""
        related = {link.file for link in self.links if link.file}
        return tuple(one for one in self.references if one.target.partition("#")[0] not in related)

    @property
    def is_record(self) -> bool:
        """Whether this reads as a decision record at all, and not as some other Markdown file beside them."""
        said = (self.context, self.choice, self.consequences)
        return self.status_raw is not None or self.number is not None or sum(one is not None for one in said) > 1
