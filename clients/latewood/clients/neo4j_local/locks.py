"""A lock on a file: the system lets go of it when its holder dies, however that comes."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from latewood.graph_schema.errors import UnavailableError

__all__ = ["locked"]

_POLL_S: Final = 0.1


@contextmanager
def locked(path: Path, *, seconds: float) -> Generator[None]:
    """Hold the lock *path* while the block runs.

    Raises:
        UnavailableError: code ``store.busy`` when another process has held it for *seconds*.
    """
    until = time.monotonic() + seconds
    with path.open("a", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    msg = f"another process has held {path} for {seconds:.0f} s; let it end, then try again"
                    raise UnavailableError(msg, code="store.busy", path=str(path)) from error
                time.sleep(_POLL_S)
        yield
