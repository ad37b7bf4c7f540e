"""`latewood --help` must be quick, so the parts that take long to load wait until they are needed."""

from __future__ import annotations

import subprocess
import sys

from latewood.clients.cli.screen import clean

HEAVY = ("apsw", "fastapi", "httpx", "strawberry", "structlog", "uvicorn", "latewood.memory", "latewood.server")


def test_the_command_line_loads_without_its_heavy_parts() -> None:
    code = f"import sys, latewood.clients.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_control_characters_are_shown_and_not_sent() -> None:
    assert clean("a\x1b[2Jb\x9b\r\tc\nd") == "a\ufffd[2Jb\ufffd\ufffd\tc\nd"
