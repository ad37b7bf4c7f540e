"""Vectors from the command line: made with the writes, said to be missing by `doctor`, made again by `reindex`."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def dead() -> Iterator[str]:
    """An embedder whose server is not there."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"openai:m@http://127.0.0.1:{closed.getsockname()[1]}/v1"


def checks(cli: Any, **env: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = cli.run("doctor", "--port", "0", "--json", **env)
    return done.exit_code, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_what_a_dead_embedder_left_out_is_named_and_made_later(cli: Any, dead: str) -> None:
    done = cli.run("observe", "service:api", "note", "The certificate expired", LATEWOOD_EMBEDDER=dead)
    assert done.exit_code == 0, done.stderr
    assert "embedder_failed" in done.stderr
    assert "embedder_failed" not in done.stdout

    code, found = checks(cli, LATEWOOD_EMBEDDER=dead)
    assert code == 0
    assert (found["embedder"]["state"], found["embedder"]["code"]) == ("warning", "embedder.unavailable")
    assert "latewood reindex" in found["embedder"]["fix"]

    failed = cli.run("reindex", "--json", LATEWOOD_EMBEDDER=dead)
    assert failed.exit_code == 4
    assert json.loads(failed.stdout)["error"]["code"] == "embedder.unavailable"

    report = cli.run("reindex", "--json", LATEWOOD_EMBEDDER="light")
    assert report.exit_code == 0, report.stderr
    made = json.loads(report.stdout)
    assert (made["made"], made["model"], made["dimensions"]) == (1, "all-MiniLM-L6-v2-int8", 384)
    code, found = checks(cli, LATEWOOD_EMBEDDER="light")
    assert code == 0
    assert (found["embedder"]["state"], found["vectors default"]["state"]) == ("ok", "ok")
    asked = cli.run("recall", "Which TLS credentials ran out?", "--json", LATEWOOD_EMBEDDER="light")
    assert json.loads(asked.stdout)["hits"][0]["text"] == "The certificate expired"


def test_words_without_vectors_are_counted(cli: Any) -> None:
    cli.run("observe", "service:api", "note", "with a vector", LATEWOOD_EMBEDDER="light")
    cli.ok("observe", "service:web", "note", "without one")

    _, found = checks(cli)
    assert found["embedder"]["state"] == "ok"
    assert found["vectors default"]["state"] == "warning"
    assert "1 have none" in found["vectors default"]["found"]
    assert "latewood reindex --space default" in found["vectors default"]["fix"]


def test_another_model_is_said_with_what_to_set(cli: Any) -> None:
    cli.ok("observe", "service:api", "note", "words")
    done = cli.run("reindex", "--model", "light")

    assert done.exit_code == 0, done.stderr
    assert "1 vectors made by all-MiniLM-L6-v2-int8" in done.stdout
    assert "set LATEWOOD_EMBEDDER to the same" in done.stdout
    found = checks(cli, LATEWOOD_EMBEDDER="openai:other@http://127.0.0.1:9/v1")[1]
    assert "the embedder now is other" in found["vectors default"]["found"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LATEWOOD_EMBEDDER", "best"),
        ("LATEWOOD_EMBEDDER_THREADS", "many"),
        ("LATEWOOD_EMBEDDER_THREADS", "0"),
        ("LATEWOOD_EMBEDDER_DIMENSIONS", "-3"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_refused(cli: Any, name: str, value: str) -> None:
    cli.ok("observe", "service:api", "note", "words")
    done = cli.run("reindex", "--json", **{name: value})

    assert done.exit_code == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "setting.invalid"
    assert name in error["message"]


def test_without_an_embedder_there_is_nothing_to_make(cli: Any) -> None:
    cli.ok("observe", "service:api", "note", "words")

    assert cli.refused("reindex")["code"] == "setting.invalid"
