"""`latewood neo4j up`, `status`, `down`, for real: a server of its own, on ports that are free."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from neo4j import GraphDatabase
from neo4j_server import JARS

from latewood.clients.neo4j_local.assembly import assemble
from latewood.clients.neo4j_local.home import Home
from latewood.clients.neo4j_local.java import find_java
from latewood.clients.neo4j_local.releases import DEFAULT_VERSION, release
from latewood.storage.neo4j.database import Address

SMALL = ("--bolt-port", "0", "--http-port", "0", "--heap", "256m", "--page-cache", "64m")

pytestmark = pytest.mark.timeout(600)


class LocalNeo4j:
    """The command line, each command in a process of its own as people run it, with a data folder of its own."""

    def __init__(self, data: Path) -> None:
        self._environment = {**os.environ, "XDG_DATA_HOME": str(data)}
        self.home = data / "latewood" / "neo4j" / "home"
        self.home.parent.mkdir(parents=True)
        # The jars are the cached ones.
        (self.home.parent / "jars").symlink_to(assemble_once())

    def begin(self, *words: str) -> subprocess.Popen[str]:
        code = "from latewood.clients.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, "neo4j", *words, "--json"], env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, exit_code: int = 0) -> dict[str, Any]:
        with self.begin(*words) as running:
            out, err = running.communicate()
        assert running.returncode == exit_code, out + err
        assert err == ""
        return json.loads(out)


def assemble_once() -> Path:
    which = release(DEFAULT_VERSION)
    return assemble(JARS, which, find_java(which)).parent


@pytest.fixture
def local(tmp_path: Path) -> Any:
    local = LocalNeo4j(tmp_path / "users data")
    yield local
    local.run("down")


def count(url: str, query: str) -> Any:
    address = Address.parse(url)
    with GraphDatabase.driver(address.uri, auth=(address.user, address.password)) as driver:
        return driver.execute_query(query).records[0][0]


@pytest.mark.slow
def test_up_status_down_and_up_again_with_its_data(local: LocalNeo4j) -> None:
    password = "-@a\"b\\ c#d'e"  # noqa: S105 - of this test
    assert local.run("status")["running"] is False
    begun = local.run("up", *SMALL, "--password", password)
    assert (begun["started"], begun["ready"], begun["version"]) == (True, True, DEFAULT_VERSION)
    assert begun["home"] == str(local.home)
    assert begun["boltPort"] not in (0, 7687)
    assert count(begun["url"], "CREATE (n:Kept) RETURN count(n)") == 1
    assert password not in (local.home / "logs" / "console.log").read_text(encoding="utf-8")

    seen = local.run("status")
    assert seen == {**begun, "started": False}
    assert local.run("up") == seen
    refused = local.run("up", "--bolt-port", "7999", exit_code=2)
    assert refused["error"]["code"] == "neo4j.running"
    refused = local.run("up", "--password", "not the one", exit_code=4)
    assert refused["error"]["code"] == "neo4j.password_wrong"

    ended = local.run("down")
    assert (ended["stopped"], ended["killed"]) == (True, False)
    assert local.run("status")["running"] is False
    assert local.run("down")["stopped"] is False
    refused = local.run("up", "--version", "2026.08.1", exit_code=2)
    assert refused["error"]["code"] == "neo4j.other_version"

    # The password is kept, and so is what was written.
    again = local.run("up", *SMALL)
    assert again["pid"] != begun["pid"]
    assert count(again["url"], "MATCH (n:Kept) RETURN count(n)") == 1


@pytest.mark.slow
def test_a_server_whose_up_and_launcher_were_killed_is_still_stopped(local: LocalNeo4j) -> None:
    home = Home(local.home)
    with local.begin("up", *SMALL) as starting:
        while (note := home.note()) is None or not note.running:
            assert starting.poll() is None
            time.sleep(0.05)
        starting.kill()

    found = local.run("up")
    assert (found["running"], found["started"], found["ready"]) == (True, False, True)
    note = home.note()
    assert note is not None
    launcher = note.processes[0]
    os.kill(launcher.pid, signal.SIGKILL)
    assert local.run("down")["stopped"] is True
    assert local.run("status")["running"] is False


def test_a_server_that_does_not_start_leaves_its_last_words_and_no_process(local: LocalNeo4j) -> None:
    refused = local.run("up", *SMALL[:4], "--heap", "99999g", exit_code=4)

    assert refused["error"]["code"] == "neo4j.start_failed"
    assert "memory" in refused["error"]["message"].lower() or "heap" in refused["error"]["message"].lower()
    assert local.run("status")["running"] is False
