"""`latewood keys` and `latewood serve --auth`, as processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.cli.test_processes import document, start

from latewood.memory import Memory

SPACES = {"query": "{ spaces { name } }"}
OBSERVE = 'mutation($n: JSON!, $key: String!) { observe(input: {subject: "carrier:A", predicate: "seen", value: $n, idempotencyKey: $key}) { id } }'


CREATE = ("keys", "create", "ci", "--actor", "agent:ci", "--scope", "read", "--scope", "write")


def test_a_key_is_shown_once_listed_rotated_and_revoked(cli: Any) -> None:
    made = cli.json(*CREATE, "--days", "0", "--on-behalf-of", "human:ada", "--trust", "untrusted")
    key = made["key"]
    assert made["secret"].startswith(f"lw_{key['id']}_")
    assert (key["scopes"], key["state"], key["endsAt"], key["tenant"]) == (["read", "write"], "active", None, "local")
    shown = cli.ok("keys", "list")
    assert "agent:ci, on behalf of human:ada, of the tenant local" in " ".join(shown.split())
    assert made["secret"][16:] not in shown
    assert "never shown again" in " ".join(cli.run(*CREATE).stderr.split())

    new = cli.json("keys", "rotate", key["id"], "--grace", "0")
    assert new["key"]["trust"] == "untrusted"
    assert cli.json("keys", "revoke", new["key"]["id"], "--because", "left")["state"] == "revoked"
    assert [one["state"] for one in cli.json("keys", "list")] == ["revoked", "active", "revoked"]
    assert cli.json("keys", "list", "--tenant", "blue") == []


def test_the_ledger_that_has_the_keys_is_checked_too(cli: Any) -> None:
    cli.json("observe", "carrier:A", "rate", "1")
    assert {one["space"] for one in cli.json("ledger", "verify", "--all")} == {"default"}
    cli.json(*CREATE)
    checked = cli.json("ledger", "verify", "--all")
    assert [one["verdict"]["badSeq"] for one in checked if one["space"] == "_system"] == [None]
    with contextlib.closing(sqlite3.connect(cli.db)) as db, db:
        db.execute(
            "update event set trust = trust + 1 where space = (select n from space where tenant = '_system') and seq = 1"
        )

    assert cli.run("ledger", "verify", "--all").exit_code == 5
    found = {check["name"]: check["state"] for check in json.loads(cli.run("doctor", "--json").stdout)["checks"]}
    assert (found["ledger default/knowledge"], found["ledger _system/knowledge"]) == ("ok", "failed")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [(["create", "x", "--actor", "ci", "--scope", "read"], 2, "credential.malformed"), (["create", "x", "--actor", "agent:ci", "--scope", "root"], 2, "credential.malformed"),
     (["create", "x", "--actor", "agent:ci", "--scope", "read", "--days", "-1"], 2, "credential.malformed"), (["revoke", "aaaaaaaaaaaa"], 3, "credential.unknown"),
     (["rotate", "x"], 3, "credential.unknown"), (["list", "--tenant", "_system"], 2, "credential.malformed")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(cli: Any, words: list[str], code: int, error: str) -> None:
    cli.json(*CREATE)
    assert cli.refused("keys", *words, exit_code=code)["code"] == error


def test_a_server_that_asks_takes_keys_until_they_are_revoked_elsewhere(tmp_path: Path, cli: Any) -> None:
    made = cli.json(*CREATE)
    process = start("serve", "--auth", "--port", "0", "--json", "--db", "t.db", cwd=tmp_path)
    try:
        url = document(process)["graphql"]
        headers = {"authorization": f"Bearer {made['secret']}"}
        assert httpx.post(url, json=SPACES, timeout=20).status_code == 401
        assert httpx.post(url, json=SPACES, headers=headers, timeout=20).json() == {
            "data": {"spaces": [{"name": "default"}]}
        }
        cli.json("keys", "revoke", made["key"]["id"])
        time.sleep(1.1)
        refused = httpx.post(url, json=SPACES, headers=headers, timeout=20)
        assert refused.json()["errors"][0]["extensions"]["code"] == "credential.expired"
    finally:
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=20)
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    assert [(one["path"], one["status"]) for one in lines if one["event"] == "request"] == [("/graphql", 401), ("/graphql", 200), ("/graphql", 401)]  # fmt: skip
    assert made["secret"][16:] not in logged


def test_a_stop_in_the_middle_of_many_writes_loses_none_that_was_answered(tmp_path: Path) -> None:
    process = start("serve", "--port", "0", "--json", "--db", "t.db", "--by", "agent:ci", cwd=tmp_path)
    answered: set[str] = set()
    stopped = threading.Event()

    async def writer(client: httpx.AsyncClient, url: str, name: int) -> None:
        for number in range(10_000):
            key = f"{name}-{number}"
            body = {"query": OBSERVE, "variables": {"n": name * 100_000 + number, "key": key}}
            try:
                found = (await client.post(url, json=body)).json()
            except (httpx.HTTPError, ValueError):
                return
            if "errors" in found:
                return
            answered.add(found["data"]["observe"]["id"])
            if len(answered) > 40 and not stopped.is_set():
                stopped.set()
                process.send_signal(signal.SIGTERM)

    async def write(url: str) -> None:
        async with httpx.AsyncClient(timeout=20) as client:
            await asyncio.gather(*(writer(client, url, name) for name in range(8)))

    try:
        asyncio.run(write(document(process)["graphql"]))
        process.wait(30)
    finally:
        process.kill()
        process.communicate()

    async def check() -> tuple[set[str], bool]:
        async with Memory.open(str(tmp_path / "t.db"), embedder="none") as memory:
            found = await memory.facts_by_id(sorted(answered))
            return set(found), (await memory.verify()).ok

    kept, sound = asyncio.run(check())
    assert process.returncode in (0, -signal.SIGTERM)
    assert len(answered) > 40
    assert kept == answered
    assert sound
