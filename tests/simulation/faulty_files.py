"""A file system for SQLite that fails when it is told to, at the operation with a given number."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import apsw

__all__ = ["Disk", "faulty_disk"]

_NAME: Final = "latewood-faulty"


@dataclass(slots=True)
class Disk:
    """What the disk does: from the operation numbered *fails_from* on each one of *kinds* raises *error*, until mended.

    Attributes:
        done: how many operations of these kinds there were since it was armed.
    """

    kinds: frozenset[str] = frozenset()
    fails_from: int = 0
    error: type[Exception] = apsw.FullError
    done: int = 0

    def arm(self, fails_from: int, error: type[Exception], *kinds: str) -> None:
        """Fail from the operation numbered *fails_from* on."""
        self.kinds, self.fails_from, self.error, self.done = frozenset(kinds), fails_from, error, 0

    def mend(self) -> bool:
        """Work again; return whether anything had failed."""
        failed = 0 < self.fails_from <= self.done
        self.fails_from = 0
        return failed

    def meet(self, kind: str) -> None:
        """Count one operation, and fail it if that is due."""
        if self.fails_from and kind in self.kinds:
            self.done += 1
            if self.done >= self.fails_from:
                raise self.error(f"{kind} failed as it was told to")


class _File(apsw.VFSFile):
    def __init__(self, below: str, name: object, flags: list[int], disk: Disk) -> None:
        super().__init__(below, name, flags)  # type: ignore[arg-type]
        self._disk = disk

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.meet("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.meet("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.meet("sync")
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.meet("truncate")
        super().xTruncate(size)


class _System(apsw.VFS):
    def __init__(self, below: str, disk: Disk) -> None:
        super().__init__(_NAME, below)
        self._below, self._disk = below, disk

    def xOpen(self, name: object, flags: list[int]) -> _File:  # noqa: N802
        return _File(self._below, name, flags, self._disk)


@contextmanager
def faulty_disk() -> Generator[Disk]:
    """Let every file that SQLite opens in this block lie on a disk that can fail."""
    usual = apsw.vfs_names()[0]
    disk = Disk()
    system = _System(usual, disk)
    apsw.set_default_vfs(_NAME)
    try:
        yield disk
    finally:
        apsw.set_default_vfs(usual)
        system.unregister()
