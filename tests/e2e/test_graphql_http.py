"""GraphQL over HTTP, judged by the specification's own audits (the npm package graphql-http), against `serve`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("graphql-http@1.23.1", "graphql@16.12.0")
AUDITS = 61
HERE = Path(__file__).parent / "graphql_http"


def run(*words: str, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    command = str(Path(sys.executable).parent / "latewood")
    words = [command, "serve", "--db", str(tmp_path / "t.db"), "--port", "0", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while not said.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, "the server ended before it was ready"
            said += line
        try:
            yield json.loads(said)["graphql"]
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_audit_passes(address: str, tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    assert node is not None, "Node 20 or later runs the audits; install it"
    assert npm is not None, "npm, which comes with Node, installs the audits"
    folder = tmp_path / "audits"
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
    run(npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES, cwd=folder)
    shutil.copy(HERE / "audit.mjs", folder)

    found = json.loads(run(node, "audit.mjs", address, cwd=folder))

    assert len(found) == AUDITS
    assert [one for one in found if one["status"] != "ok"] == []
