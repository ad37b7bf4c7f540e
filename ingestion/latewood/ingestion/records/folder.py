"""The files of a folder: which are records, which an index, which neither; and whether a link's file is there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from latewood.graph_schema.errors import InvalidError, LimitError, NotFoundError

__all__ = ["FILE_BYTES_MAX", "FileRole", "FolderFile", "FolderFiles", "disk_exists", "file_role", "scan_folder"]

FileRole = Literal["record", "index", "template", "other"]

FILES_MAX: Final = 20_000
"""Files looked at in one folder, its subfolders included."""
FILE_BYTES_MAX: Final = 1_000_000
"""Bytes read of one file; a record is cut well below (`parse.RECORD_CHARS_MAX`)."""

_MARKDOWN: Final = frozenset({".md", ".markdown"})
_TEMPLATE: Final = re.compile(
    r"(?:(?:adr|madr|nygard|decision|decision-record)-)?template(?:-(?:minimal|bare|short|long|full|example|madr|nygard))*"
)
_NUMBER: Final = re.compile(
    r"^(?:adr|madr|decision)?[-_ ]?\d{1,6}[-_ .]+|^(?:adr|madr|decision)[-_ ]?\d{1,6}", re.IGNORECASE
)
_INDEX: Final = frozenset({"readme", "index", "_index", "summary", "toc", "contents"})
_OTHER: Final = frozenset(
    {"contributing", "changelog", "license", "licence", "code_of_conduct", "security", "agents", "claude", "glossary"}
)


def file_role(path: str) -> FileRole | None:
    """Tell by its name what a file is; None if it is no Markdown or hidden. How it reads is the parser's to say."""
    pure = PurePosixPath(path)
    if pure.suffix.lower() not in _MARKDOWN or any(part.startswith(".") for part in pure.parts):
        return None
    stem = pure.stem.lower()
    if stem in _INDEX:
        return "index"
    bare = _NUMBER.sub("", stem).strip("-_ ").replace("_", "-").replace(" ", "-")
    if _TEMPLATE.fullmatch(bare) or _TEMPLATE.fullmatch(stem):
        return "template"
    return "other" if stem in _OTHER else "record"


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A file: its path relative to the folder that was scanned (forward slashes), its role and its first bytes."""

    path: str
    role: FileRole
    data: bytes


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """What a folder holds, sorted by path.

    Attributes:
        place: where the folder lies on this machine.
        whole: whether the folder was asked for, and not one file in it.
        skipped: (path, reason) of Markdown files that are not read: templates, links, unreadable ones.
    """

    root: Path
    records: tuple[FolderFile, ...]
    indexes: tuple[FolderFile, ...]
    skipped: tuple[tuple[str, str], ...]
    place: str
    whole: bool


def _walk(root: Path) -> Iterator[Path]:
    count = 0
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        for name in sorted(files):
            count += 1
            if count > FILES_MAX:
                msg = f"{root} holds more than {FILES_MAX} files; name the folder of the records"
                raise LimitError(msg, limit="FILES_MAX", maximum=FILES_MAX)
            yield Path(folder, name)


def _shown(path: Path, root: Path) -> str:
    """Write a path relative to *root*; bytes of a name that are not UTF-8 show as escapes."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def scan_folder(path: Path) -> FolderFiles:
    """Read the records, indexes and other Markdown files under *path*, a folder or one file.

    Raises:
        NotFoundError: code ``file.unreadable``; nothing is there.
        InvalidError: code ``file.unreadable``; the folder cannot be listed.
        LimitError: code ``limit.exceeded``; it holds more than `FILES_MAX` files.
    """
    if not path.exists():
        raise NotFoundError(
            f"{path} is not there; name a folder of decision records", code="file.unreadable", path=str(path)
        )
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise InvalidError(
            f"{path} cannot be listed; give yourself leave to read it", code="file.unreadable", path=str(path)
        )
    root = path if path.is_dir() else path.parent
    found: dict[str, list[FolderFile]] = {"record": [], "index": []}
    skipped: list[tuple[str, str]] = []
    for file in _walk(path) if path.is_dir() else (path,):
        shown = _shown(file, root)
        role = file_role(shown)
        if role is None:
            continue
        if file.is_symlink() or not file.is_file():
            skipped.append((shown, "not a plain file"))
        elif role in found:
            try:
                with file.open("rb") as stream:
                    found[role].append(FolderFile(shown, role, stream.read(FILE_BYTES_MAX)))
            except OSError as error:
                skipped.append((shown, error.strerror or "unreadable"))
        else:
            skipped.append((shown, role))
    place = os.fsencode(root.resolve()).decode("utf-8", "backslashreplace")
    return FolderFiles(root, tuple(found["record"]), tuple(found["index"]), tuple(skipped), place, path.is_dir())


def disk_exists(root: Path, top: Path | None = None) -> Callable[[str], bool]:
    """Return a test for `links.link_report`: is a path, relative to *root* (with a leading slash: to *top*), there?"""

    def exists(path: str) -> bool:
        try:
            return (top or root).joinpath(path.lstrip("/")).exists() if path.startswith("/") else (root / path).exists()
        except (OSError, ValueError):
            return False

    return exists
