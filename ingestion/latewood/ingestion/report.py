"""What an import of decision records reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from latewood.graph_schema.values import Json

__all__ = ["AdrReport", "FileProblem"]


@dataclass(frozen=True, slots=True)
class FileProblem:
    """Something in a file that a person should look at; the file was taken all the same, unless it says otherwise."""

    path: str
    line: int
    code: str
    message: str


@dataclass(slots=True)
class AdrReport:
    """What an import of decision records found and wrote.

    Attributes:
        decisions: records that are in the folder now.
        supersessions: edges between them, each once.
        one_sided: supersessions that only one record mentions.
        dangling: claims about records that are not there.
        cyclic: rings of records that supersede each other.
        duplicate_numbers: numbers that several files carry, with the full keys they got.
        dead_links: links to files that do not exist.
        index_stale: entries of an index that show a dead record as live.
        missing_files: records without a history that an earlier import found and whose file is gone since.
        other_folder: records left out, since the space has another folder's decision under their path; give each folder
            a space of its own.
        deleted: records that the history has and the folder no longer.
        uncommitted: files that differ from the last commit; not imported, commit them first.
        skipped: Markdown files that are no records, with the reason.
        erased: records whose decision was erased here, and stays so.
        written: units that were new; *replayed* units were known already, *late* ones came after the space went live.
    """

    path: str
    space: str
    history: bool = False
    commits: int = 0
    decisions: int = 0
    supersessions: int = 0
    one_sided: list[Json] = field(default_factory=list[Json])
    dangling: list[Json] = field(default_factory=list[Json])
    cyclic: list[Json] = field(default_factory=list[Json])
    duplicate_numbers: list[Json] = field(default_factory=list[Json])
    dead_links: list[Json] = field(default_factory=list[Json])
    index_stale: list[Json] = field(default_factory=list[Json])
    missing_files: list[Json] = field(default_factory=list[Json])
    other_folder: list[Json] = field(default_factory=list[Json])
    deleted: list[str] = field(default_factory=list[str])
    uncommitted: list[Json] = field(default_factory=list[Json])
    skipped: list[Json] = field(default_factory=list[Json])
    problems: list[FileProblem] = field(default_factory=list[FileProblem])
    erased: int = 0
    written: int = 0
    replayed: int = 0
    late: int = 0
    space_created: bool = False
