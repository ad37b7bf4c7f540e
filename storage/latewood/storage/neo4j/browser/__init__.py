"""What makes the Neo4j Browser a place to be: a style sheet and saved queries, as files that it takes in when dropped.

The Browser reads a ``.grass`` file as its style and a ``.zip`` of ``.cypher`` files as a folder of favorites. Its style
language has no comments, and every rule that fits a node is applied in order, so that a later rule wins.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Final

from latewood.graph_schema.errors import UnavailableError

__all__ = [
    "QUERIES_ARCHIVE",
    "STYLE_SHEET",
    "SavedQuery",
    "Written",
    "saved_queries",
    "style_sheet",
    "write_browser_files",
]

STYLE_SHEET: Final = "latewood.grass"
QUERIES_ARCHIVE: Final = "latewood-queries.zip"
_FOLDER: Final = "Latewood"
_SPACES_STYLED: Final = 100
# Zip files hold no time zone and nothing before 1980; the same files make the same archive.
_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """One favorite.

    Attributes:
        filename: its file; they sort in the order in which people meet them.
        title: what the Browser lists it as: the first line.
        text: the whole file.
    """

    filename: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """What was written for the Browser, and where."""

    folder: Path
    style: Path
    archive: Path
    queries: tuple[SavedQuery, ...]


def saved_queries() -> tuple[SavedQuery, ...]:
    """Return the saved queries in order."""
    folder = resources.files(__name__).joinpath("queries")
    found: list[SavedQuery] = []
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".cypher"):
            text = file.read_text(encoding="utf-8")
            found.append(SavedQuery(file.name, text.partition("\n")[0].removeprefix("// "), text))
    return tuple(found)


def style_sheet() -> str:
    """Return the style sheet, with a rule for the label of each of the first spaces.

    A label without a rule is given a color of its own by the Browser, after all others: every node of a space would
    lose the color of its kind.
    """
    text = resources.files(__name__).joinpath(STYLE_SHEET).read_text(encoding="utf-8")
    spaces = "".join(
        f"node.Space{number} {{\n  color: #A5ABB6;\n  border-color: #8B919C;\n  text-color-internal: #FFFFFF;\n}}\n\n"
        for number in range(1, _SPACES_STYLED + 1)
    )
    # In front of the rules of the kinds, which are to win.
    head, mark, tail = text.partition("node.Node {")
    return head + spaces + mark + tail


def write_browser_files(folder: Path) -> Written:
    """Write the style sheet, the archive of saved queries, and each query by itself into *folder*.

    Raises:
        UnavailableError: when they cannot be written there (``file.unreadable``).
    """
    queries = saved_queries()
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for one in queries:
            packed.writestr(zipfile.ZipInfo(f"{_FOLDER}/{one.filename}", _ZIP_DATE), one.text)
    try:
        (folder / "queries").mkdir(parents=True, exist_ok=True)
        (folder / STYLE_SHEET).write_text(style_sheet(), encoding="utf-8")
        (folder / QUERIES_ARCHIVE).write_bytes(archive.getvalue())
        for one in queries:
            (folder / "queries" / one.filename).write_text(one.text, encoding="utf-8")
    except OSError as error:
        msg = f"{folder} cannot be written to: {error}; name another folder with --out"
        raise UnavailableError(msg, code="file.unreadable") from error
    return Written(folder, folder / STYLE_SHEET, folder / QUERIES_ARCHIVE, queries)
