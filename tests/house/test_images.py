"""The Dockerfile and docker-compose.yml, as far as they can be held to something where no engine runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from latewood.clients.cli import app
from latewood.clients.neo4j_local.releases import DEFAULT_VERSION
from latewood.server.guard import check_loopback

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((Path(__file__).parent / "compose" / "compose-spec.json").read_text(encoding="utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = [
    line.split(maxsplit=1)
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
_COMPOSE_S = 60
SERVE = json.loads(next(words for name, words in DOCKERFILE if name == "CMD"))


def copied() -> list[str]:
    words = [words for name, words in DOCKERFILE if name == "COPY" and not words.startswith("--from")]
    return [source for line in words for source in line.split()[:-1]]


def test_the_composition_is_one_of_the_specification() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(COMPOSE)


def test_the_schema_would_refuse_a_slip() -> None:
    slipped = {**COMPOSE, "services": {"neo4j": {**COMPOSE["services"]["neo4j"], "healthchecks": {}}}}

    assert not jsonschema.Draft7Validator(SCHEMA).is_valid(slipped)


def test_the_composition_is_one_that_compose_takes() -> None:
    tool = shutil.which("docker-compose")
    if tool is None:
        if os.environ.get("LATEWOOD_REQUIRE_COMPOSE") == "1":
            pytest.fail("docker-compose is not on the PATH (Debian: apt-get install docker-compose)")
        pytest.skip("docker-compose is not on the PATH; LATEWOOD_REQUIRE_COMPOSE=1 makes this a failure")
    given = {**os.environ, "NEO4J_PASSWORD": "correct1horse"}
    shown = subprocess.run(
        [tool, "config"], cwd=ROOT, env=given, timeout=_COMPOSE_S, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    resolved = yaml.safe_load(shown.stdout)
    assert resolved["services"]["neo4j"]["environment"]["NEO4J_AUTH"] == "neo4j/correct1horse"

    del given["NEO4J_PASSWORD"]
    refused = subprocess.run(
        [tool, "config"], cwd=ROOT, env=given, timeout=_COMPOSE_S, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "choose one" in refused.stderr


def test_nothing_is_published_beyond_loopback_and_no_password_is_baked_in() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    # With :? an unset or empty one is refused; :- would bring a default.
    assert re.findall(r"\$\{NEO4J_PASSWORD(..)", text) == [":?", ":?", ":?"]
    assert "${" not in re.sub(r"\$\{NEO4J_PASSWORD:\?[^}]*\}", "", text)


def test_the_services_wait_for_each_other_and_keep_their_data() -> None:
    services = COMPOSE["services"]

    for name in ("latewood", "team"):
        assert services[name]["depends_on"] == {"neo4j": {"condition": "service_healthy"}}
    assert all("healthcheck" in service for service in services.values())
    assert {volume.split(":")[0] for volume in services["neo4j"]["volumes"]} == set(COMPOSE["volumes"])
    assert services["neo4j"]["image"] == f"neo4j:{DEFAULT_VERSION}-community"


def test_the_image_copies_what_is_there_and_what_the_wheel_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert {path.split("/")[0] for path in wheel["packages"]} <= set(copied())
    assert set(wheel["force-include"]) <= set(copied())
    assert {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]} <= set(copied())
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


def test_the_image_runs_a_command_that_the_guard_allows_as_nobody_in_particular() -> None:
    shown = CliRunner().invoke(app, [*SERVE, "--help"])
    users = [words for name, words in DOCKERFILE if name == "USER"]
    host, port = SERVE[SERVE.index("--host") + 1], SERVE[SERVE.index("--port") + 1]

    assert json.loads(next(words for name, words in DOCKERFILE if name == "ENTRYPOINT")) == ["latewood"]
    assert shown.exit_code == 0, shown.output
    assert check_loopback(host) == "127.0.0.1"
    assert users == ["10001"]
    assert f":{port}/health" in " ".join(COMPOSE["services"]["latewood"]["healthcheck"]["test"])
    # A published port would lead to the container's own address, where nothing listens.
    assert COMPOSE["services"]["latewood"]["network_mode"] == "host"


def test_the_server_that_others_reach_asks_for_credentials() -> None:
    team, words = COMPOSE["services"]["team"], COMPOSE["services"]["team"]["command"]
    shown = CliRunner().invoke(app, [*words, "--help"])

    assert shown.exit_code == 0, shown.output
    assert "--auth" in words
    assert "network_mode" not in team
    assert team["profiles"] == ["team"]
    assert [port.split(":")[-1] for port in team["ports"]] == [words[words.index("--port") + 1]]
    assert team["environment"]["LATEWOOD_DB"].startswith("bolt://")
    assert {name: team[name] for name in ("read_only", "cap_drop", "security_opt")} == {
        name: COMPOSE["services"]["latewood"][name] for name in ("read_only", "cap_drop", "security_opt")
    }
