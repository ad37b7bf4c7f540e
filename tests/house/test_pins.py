"""One resolved set for everyone, without a committed lock file (docs/adr/0003)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
UV = PROJECT["tool"]["uv"]


def test_what_uv_resolved_is_what_is_pinned() -> None:
    # Every `uv run` writes the lock file, for all platforms, from pyproject.toml and its constraints.
    lock = ROOT / "uv.lock"
    assert lock.exists(), "run through `uv run`, which writes uv.lock"
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    resolved = {f"{package['name']}=={package['version']}" for package in packages if package["name"] != "latewood"}
    pinned = set(UV["constraint-dependencies"])

    assert {"to pin": sorted(resolved - pinned), "to drop": sorted(pinned - resolved)} == {"to pin": [], "to drop": []}


def test_what_builds_the_wheel_is_pinned() -> None:
    pinned = {pin.split("==")[0] for pin in UV["build-constraint-dependencies"] if "==" in pin}

    assert {re.split(r"[<>=]", name)[0] for name in PROJECT["build-system"]["requires"]} <= pinned


def test_every_runtime_dependency_says_its_first_and_its_last_major_version() -> None:
    loose = [name for name in PROJECT["project"]["dependencies"] if not re.search(r">=.+,<\d+$", name)]

    assert loose == []
