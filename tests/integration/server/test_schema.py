"""The schema that is checked in is the one that is served, every part of it described."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, build_schema

from latewood.server.graphql.context import OBJECTS_MAX
from latewood.server.graphql.cost import COST_MAX
from latewood.server.graphql.limits import ALIASES_MAX, DEPTH_MAX, TOKENS_MAX
from latewood.server.graphql.schema import print_schema
from latewood.server.guard import BODY_BYTES_MAX
from latewood.storage.port import PAGE_MAX

ROOT = Path(__file__).resolve().parents[3]
CHECKED_IN = (files("latewood.server.graphql") / "schema.graphql").read_text("utf-8")


def test_the_checked_in_schema_has_not_drifted() -> None:
    assert print_schema() == CHECKED_IN, "run: uv run python -m latewood.server.graphql.schema --write"


def parts() -> Iterator[tuple[str, Any]]:
    for name, kind in build_schema(CHECKED_IN).type_map.items():
        if name.startswith("__") or name in ("String", "Int", "Float", "Boolean", "ID"):
            continue
        yield name, kind
        if isinstance(kind, GraphQLEnumType):
            yield from ((f"{name}.{key}", value) for key, value in kind.values.items())
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            yield from ((f"{name}.{key}", field) for key, field in kind.fields.items())


def test_every_type_field_and_member_is_described() -> None:
    found = list(parts())
    assert len(found) > 200
    assert [name for name, part in found if not part.description] == []


def test_the_verbs_are_all_there() -> None:
    schema = build_schema(CHECKED_IN)
    assert schema.query_type is not None
    assert schema.mutation_type is not None
    assert schema.subscription_type is not None
    assert {
        "node",
        "decision",
        "decisions",
        "entity",
        "why",
        "timeline",
        "diff",
        "find",
        "stale",
        "brief",
        "pattern",
        "patterns",
        "proposals",
        "receipt",
        "spaces",
        "verifyLedger",
    } <= set(schema.query_type.fields)
    assert set(schema.mutation_type.fields) == {
        "decide", "observe", "relate", "correct", "end", "retract", "retractAll", "erase", "supersede", "merge", "split", "createSpace", "reindex", "ingest", "alias",
        "acceptProposal", "rejectProposal", "detectPatterns", "reviewPattern", "createKey", "rotateKey", "revokeKey",
        "amendRun", "answerQuestion", "askQuestion", "beginStep", "cancelRun", "claimRun", "completeStep", "eraseRun", "failStep", "finishRun", "forkRun", "handBackRun", "heartbeatRun", "resumeRun", "startRun", "vouchStep",
        "ack", "handBack", "heartbeat", "nack", "publish", "receive", "redrive", "registerChannel", "replay", "routeChannel", "subscribeGroup",
        "addWebhook", "pauseWebhook", "removeWebhook", "resumeWebhook", "rotateWebhook",
    }  # fmt: skip
    assert set(schema.subscription_type.fields) == {"changes", "messages", "patternChanges"}


def test_every_read_of_a_space_takes_a_space_and_most_an_as_of() -> None:
    schema = build_schema(CHECKED_IN)
    assert schema.query_type is not None
    fields = schema.query_type.fields
    assert {name for name, field in fields.items() if "space" not in field.args} == {"keys", "receipt", "spaces"}
    # A diff has its two instants, a ledger is what it is, and who is merged is merged now.
    assert {name for name, field in fields.items() if "asOf" not in field.args} == {
        "diff", "duplicates", "keys", "receipt", "run", "runs", "spaces", "stages", "verifyLedger",
        "channel", "channels", "deadLetter", "deadLetters", "deliveries", "message", "messages", "pendingMessages", "webhookReceipts", "webhooks",
    }  # fmt: skip


@pytest.mark.skipif(not (ROOT / "server").exists(), reason="the page is written from the checkout")
def test_the_reference_page_has_not_drifted() -> None:
    script, page = ROOT / "docs/graphql_reference.py", ROOT / "docs/reference/graphql.md"
    bounds = (TOKENS_MAX, ALIASES_MAX, DEPTH_MAX, COST_MAX, OBJECTS_MAX, BODY_BYTES_MAX, PAGE_MAX)
    assert [bound for bound in bounds if f"{bound:,}" not in page.read_text("utf-8").partition("## Queries")[0]] == []
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)

    assert done.stdout == page.read_text("utf-8"), "run: uv run python docs/graphql_reference.py --write"
