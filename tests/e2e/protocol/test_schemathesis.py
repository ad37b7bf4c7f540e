"""Every query and mutation, called with what schemathesis makes up from the schema: an answer or a refusal, never a fault."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.protocol.installed import python
from graphql import GraphQLField, GraphQLObjectType
from integration.server.test_tenants import SCHEMA, seed

from latewood.graph_schema.errors import CODES
from latewood.memory import Memory

WANTED = "schemathesis==4.32.5"
HERE = Path(__file__).parent / "schemathesis"
EXAMPLES = 15
RUN_S_MAX = 500


def _configuration(names: list[str]) -> str:
    """Let what there is be asked for often: of what is only made up, nothing is ever found."""
    return f"""
[dictionaries.known]
values = {json.dumps(names)}
[dictionaries.small]
values = [1, 2, 10]
[dictionaries.space]
values = ["default"]
[dictionaries.who]
values = ["agent:fuzz"]
[generation.dictionaries]
string = {{dictionary = "known", probability = 0.8}}
integer = {{dictionary = "small", probability = 0.8}}
[parameters]
"*.*.space" = {{dictionary = "space", probability = 0.9}}
"*.*.by" = {{dictionary = "who", probability = 0.9}}
"*.*.input.by" = {{dictionary = "who", probability = 0.9}}
"""


def _fields(root: str) -> dict[str, GraphQLField]:
    found = SCHEMA.type_map[root]
    assert isinstance(found, GraphQLObjectType)
    return found.fields


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_whatever_the_schema_allows_is_answered_or_refused(
    memory: Memory, speaking: Callable[..., Any], run: Callable[..., Any], tmp_path: Path
) -> None:
    program = await asyncio.to_thread(python, "schemathesis", WANTED)
    names = await seed(memory, "quokka")
    (tmp_path / "schemathesis.toml").write_text(_configuration(sorted(names.values())), encoding="utf-8")
    (tmp_path / "codes.json").write_text(json.dumps(sorted(CODES)), encoding="utf-8")
    seen = tmp_path / "seen.jsonl"
    told = {
        "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "FUZZ_CODES": str(tmp_path / "codes.json"),
        "FUZZ_SEEN": str(seen),
    }  # fmt: skip
    words = [
        "env", *(f"{name}={value}" for name, value in told.items()), str(program.with_name("schemathesis")),
        "run", "--phases", "fuzzing,stateful", "--mode", "all", "--max-examples", str(EXAMPLES), "--seed", "1",
        # To the one a refusal beside a path is a fault, to the other an id that is not there: the hook looks closer.
        "--exclude-checks", "not_a_server_error,positive_data_acceptance", "--continue-on-failure",
    ]  # fmt: skip

    async with speaking() as url:
        done = await run([*words, url.removesuffix("/mcp") + "/graphql"], cwd=tmp_path, seconds=RUN_S_MAX)

    assert done.code == 0, done.out[-8_000:] + done.err[-2_000:]
    answers: dict[str, set[str]] = defaultdict(set)
    for line in seen.read_text(encoding="utf-8").splitlines():
        operation, codes = json.loads(line)
        answers[operation].update(codes or ["answered"])
    fields = {f"{root}.{name}" for root in ("Query", "Mutation") for name in _fields(root)}
    assert set(answers) == fields
    # It came further than to a wall of refusals.
    assert sum("answered" in codes for codes in answers.values()) > len(fields) / 3, answers
