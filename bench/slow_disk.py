"""A disk whose sync takes as long as one that keeps its promise, for ratios that do not hang on this machine's.

A virtual disk answers a sync in a tenth of a millisecond, since its host keeps the bytes in memory; a solid-state disk
with its write cache off, or a cloud volume, takes one to several. Under `slow_disk` every connection opened meanwhile
waits that much longer in each sync, the store's and the bare one's alike.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import apsw

__all__ = ["slow_disk"]


class _File(apsw.VFSFile):
    seconds = 0.0

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        time.sleep(self.seconds)


class _Disk(apsw.VFS):
    def __init__(self, usual: str, seconds: float) -> None:
        self._usual, self._seconds = usual, seconds
        super().__init__("slow-disk", usual, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802 - SQLite's name
        opened = _File(self._usual, name, flags)
        opened.seconds = self._seconds
        return opened


@contextmanager
def slow_disk(seconds: float) -> Generator[None]:
    """Let every sync of a file that is opened meanwhile take *seconds* more."""
    usual = apsw.vfs_names()[0]
    disk = _Disk(usual, seconds)
    try:
        yield
    finally:
        disk.unregister()
        apsw.set_default_vfs(usual)
