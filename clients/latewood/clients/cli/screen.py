"""What people see: tables, trees and lines; plain where there is no terminal, and safe whatever the text says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Screen", "clean", "counted"]

_PLAIN_WIDTH: Final = 10_000
"""Lines of a pipe are not wrapped: they are for other programs."""
_CONTROLS: Final = {code: "\N{REPLACEMENT CHARACTER}" for code in [*range(32), *range(127, 160)] if code not in (9, 10)}


def clean(text: str) -> str:
    """Take out control characters: what somebody once wrote must not steer the reader's terminal."""
    return text.translate(_CONTROLS)


def counted(count: int, one: str, many: str) -> str:
    """Say how many there are, in *one* word or the other."""
    return f"{count:,} {one if count == 1 else many}"


class Screen:
    """Standard output for answers, standard error for what goes wrong and how far things are."""

    def __init__(self) -> None:
        """Look at where the output goes."""
        self._out = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._err = Console(highlight=False, markup=False, emoji=False, stderr=True)
        self.plain = not self._out.is_terminal
        if self.plain:
            self._out = Console(highlight=False, markup=False, emoji=False, width=_PLAIN_WIDTH)
            self._err.width = _PLAIN_WIDTH

    def _print(self, shown: Text, indent: int) -> None:
        if self.plain:
            for line in shown.plain.split("\n"):
                self._out.out((" " * indent + line).rstrip(), highlight=False)
        else:
            self._out.print(Padding(shown, (0, 0, 0, indent), expand=False))

    def say(self, text: str = "", *, style: str = "", indent: int = 0) -> None:
        """Write a paragraph."""
        self._print(Text(clean(text), style=style), indent)

    def field(self, name: str, text: str | None, *, indent: int = 0) -> None:
        """Write a named paragraph; nothing when there is no text."""
        if not text:
            return
        lines = clean(text).strip().splitlines()
        if len(lines) == 1 and len(lines[0]) + len(name) < self._out.width - indent:
            self._print(Text.assemble((f"{name}: ", "bold"), lines[0]), indent)
            return
        self._print(Text(f"{name}:", "bold"), indent)
        self._print(Text("\n".join(lines)), indent + 2)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; without rows, say that there is nothing."""
        if not rows:
            self.say("nothing", style="dim")
            return
        # A column that no row fills says nothing.
        used = [place for place in range(len(columns)) if any(row[place] for row in rows)]
        cells = [[clean(row[place]) for place in used] for row in rows]
        if self.plain:
            self._lines([[columns[place] for place in used], *cells])
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for place in used:
            table.add_column(columns[place], overflow="fold")
        for row in cells:
            table.add_row(*map(Text, row))
        self._out.print(table)

    def _lines(self, rows: Sequence[Sequence[str]]) -> None:
        """Write rows in columns, one row a line whatever a cell holds."""
        flat = [[" ".join(cell.split()) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
        for row in flat:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self._out.out("  ".join(cells).rstrip(), highlight=False)

    def error(self, text: str, code: str, hints: Sequence[str] = ()) -> None:
        """Write what went wrong, its code and the way out, to standard error."""
        self._err.print(Text.assemble((f"error [{code}] ", "bold red"), (clean(text), "red")))
        for hint in hints:
            self._err.print(Text(f"  {clean(hint)}"))

    def note(self, text: str) -> None:
        """Write a remark to standard error, so that it does not mix with the answer."""
        self._err.print(Text(clean(text), "dim"))

    @contextmanager
    def progress(self, what: str) -> Generator[Callable[[int, int], None] | None]:
        """Show a bar while the block runs; None where nobody would see it."""
        if not self._err.is_terminal or self.plain or not sys.stderr.isatty():
            yield None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._err, transient=True) as bar:
            task = bar.add_task(what, total=None)

            def move(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            yield move
