"""The installed program as a process of its own: the demo, the server, an interrupt, a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

PROGRAM = [sys.executable, "-c", "from latewood.clients.cli import main; main()"]
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("LATEWOOD_")}
# The model takes a second to load, in every process.
ENV = {**PLAIN, "LATEWOOD_EMBEDDER": "none"}


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *words], cwd=cwd, env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(*words: str, cwd: Path, env: Mapping[str, str] = ENV) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *words], cwd=cwd, env=env, text=True, capture_output=True, check=False)


def document(process: subprocess.Popen[str]) -> Any:
    """Read one indented JSON document from a process that goes on."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            return json.loads("".join(lines))
    raise AssertionError("".join(lines) + (process.stderr.read() if process.stderr else ""))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """`latewood serve`, with the folder that it runs in and what it said."""
    folder = tmp_path_factory.mktemp("served")
    process = start("serve", "--db", "t.db", "--port", "0", "--json", cwd=folder)
    try:
        yield folder, document(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.mark.timeout(180)
def test_the_demo_answers_three_questions_and_ends(tmp_path: Path, cli: Any) -> None:
    # As a newcomer has it, with the model that is there unless told.
    spoken = run("demo", "--exit", "--db", str(tmp_path / "demo.db"), cwd=tmp_path, env=PLAIN)

    assert spoken.returncode == 0, spoken.stderr
    assert "Ask more in GraphiQL: http://127.0.0.1:" in spoken.stdout
    assert [line[:2] for line in spoken.stdout.splitlines() if line[:1].isdigit()] == ["1.", "2.", "3."]
    decisions = json.loads(cli.run("decisions", "--json", "--first", "200", db="demo.db").stdout)["items"]
    assert f"Loaded {len(decisions)} of Latewood's own decisions" in spoken.stdout
    assert all(one["title"] for one in decisions)


def test_the_demo_goes_on_serving_until_it_is_stopped(tmp_path: Path) -> None:
    process = start("demo", "--json", "--port", "0", cwd=tmp_path)
    try:
        said = document(process)
        question = said["questions"][0]
        answer = httpx.post(
            said["graphql"], json={"query": question["operation"], "variables": question["variables"]}, timeout=20
        ).json()
        asked = answer["data"]["why"][0]["decision"]
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert asked["key"] in question["question"]
    assert len(said["questions"]) == 3
    assert all(one["answer"] for one in said["questions"])
    assert process.returncode == 0
    assert (out, err) == ("", "")
    assert not Path(said["db"]).exists()


def test_serve_serves_and_another_process_reads_beside_it(served: tuple[Path, Any], cli: Any) -> None:
    folder, said = served
    health = httpx.get(said["health"], timeout=20).json()
    page = httpx.get(said["graphql"], headers={"accept": "text/html"}, timeout=20)
    beside = cli.run("spaces", "list", "--json", db=str(folder / "t.db"))

    assert health["status"] == "ok"
    assert "graphiql" in page.text.lower()
    assert [space["name"] for space in json.loads(beside.stdout)] == ["default"]


def test_a_taken_port_is_an_error_with_a_way_out(served: tuple[Path, Any], cli: Any) -> None:
    folder, said = served
    port = said["url"].rpartition(":")[2]
    serve = run("serve", "--db", "t.db", "--port", port, "--json", cwd=folder)
    demo = cli.run("demo", "--exit", "--port", port, "--json", db="demo.db")

    assert (serve.returncode, demo.exit_code) == (2, 2)
    for printed in (serve.stdout, demo.stdout):
        assert json.loads(printed)["error"]["code"] == "setting.invalid"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_output_survives_any_encoding(tmp_path: Path, encoding: str) -> None:
    env = {**ENV, "PYTHONIOENCODING": encoding, "NO_COLOR": "1", "LATEWOOD_DB": "t.db"}
    written = subprocess.run(
        [*PROGRAM, "decide", "Größe 漢字", "--because", "x", "--key", "d:1"], cwd=tmp_path, env=env, check=False,
        capture_output=True,
    )  # fmt: skip
    spoken = subprocess.run([*PROGRAM, "decisions"], cwd=tmp_path, env=env, check=False, capture_output=True)
    listed = subprocess.run([*PROGRAM, "decisions", "--json"], cwd=tmp_path, env=env, check=False, capture_output=True)

    assert (written.returncode, spoken.returncode, listed.returncode) == (0, 0, 0)
    assert b"d:1" in spoken.stdout
    assert json.loads(listed.stdout.decode(encoding))["items"][0]["title"] == "Größe 漢字"
