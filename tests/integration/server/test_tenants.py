"""Two tenants behind one server: through every resolver, subscription, tool and resource, one finds nothing of the other.

Another tenant's ids and keys are put wherever a text can be given. The answer must be that for a name which nobody has:
what is not yours does not exist.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    build_schema,
    get_named_type,
    is_leaf_type,
)
from integration.server.conftest import Served, serving

from latewood.execution import Workflow
from latewood.execution.faults import Fault
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import LedgerName
from latewood.memory import Alternative, Memory
from latewood.memory.handing import hold_of
from latewood.memory.json import as_json
from latewood.memory.keys import Keys
from latewood.memory.messages import messages_of
from latewood.memory.runs import runs_of
from latewood.memory.webhooks import webhooks_of
from latewood.server.options import ServerOptions

SCHEMA = build_schema(resources.files("latewood.server.graphql").joinpath("schema.graphql").read_text(encoding="utf-8"))
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Names of one's own that resemble what was asked for: another spelling has other neighbours, or none.
NEAR = re.compile(
    r"""; near: [^"\\]*|; things go by id or key: `find` looks for words|\\?"suggestions\\?": ?\[[^\]]*\]"""
)
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?")
SCOPES = ("read", "write", "erase", "run", "admin")
WORDS = ("zeppelin", "quokka")
LEDGERS: tuple[LedgerName, ...] = ("knowledge", "execution")


async def _told(words: str) -> str:
    return words


async def seed(memory: Memory, mark: str) -> dict[str, str]:
    """Write a little of everything, each word of it with the tenant's mark; return what it goes by."""
    fact = await memory.observe(f"carrier:{mark}", f"{mark}_rate", f"{mark} says late", session=f"s-{mark}", quote=f"{mark} quote")  # fmt: skip
    relation = await memory.relate(f"carrier:{mark}", f"{mark}_serves", f"lane:{mark}", source=f"https://{mark}.example")  # fmt: skip
    old = await memory.decide(f"Keep {mark}", because=f"{mark} is cheap", about=[f"carrier:{mark}"], key=f"{mark}:d1")
    new = await memory.decide(
        f"Drop {mark}", because=f"{mark} is late", about=[f"carrier:{mark}"], evidence=[fact, old], supersedes=[old], key=f"{mark}:d2",
        alternatives=[Alternative(f"wait for {mark}", rejected_because=f"{mark} never came")], session=f"s-{mark}",
    )  # fmt: skip
    await memory.correct(fact, f"{mark} says later", because=f"{mark} counted twice")
    await memory.create_space(f"space-{mark}")
    run = await runs_of(memory).start(Workflow(_told, f"{mark} flow", owner=f"human:{mark}"), f"{mark} input")
    messages = messages_of(memory)
    await messages.make_channel(f"{mark}-orders", owner=f"human:{mark}")
    await messages.publish(f"{mark}-orders", {"lane": f"{mark} lane"}, subject=f"{mark} subject")
    (failed,) = await messages.receive(f"{mark}-orders")
    dead = await messages.nack(failed, Fault("permanent", f"{mark} is broken"))
    await messages.publish(f"{mark}-orders", f"{mark} waits", ordering_key=f"{mark} key")
    (held,) = await messages.receive(f"{mark}-orders", lease_s=3_600)
    await webhooks_of(memory).add(f"{mark}-hook", f"{mark}-orders", f"https://{mark}.example/in", owner=f"human:{mark}")
    names = {
        "fact": fact.id,
        "relation": relation.id,
        "old": old.id,
        "new": new.id,
        "receipt": new.receipt.id,
        "run": run.id,
        "message": held.message.id,
        "dead letter": str(dead.dead_letter),
    }
    entity = await memory.node(f"carrier:{mark}")
    session = await memory.node(f"session:s-{mark}")
    return {
        **names, "entity": entity.id, "session": session.id, "entity key": f"carrier:{mark}", "decision key": f"{mark}:d2",
        "session name": f"s-{mark}", "space": f"space-{mark}", "words": mark,
        "channel": f"{mark}-orders", "hold": hold_of(held), "webhook": f"{mark}-hook",
    }  # fmt: skip


@dataclass
class Tenants:
    served: Served
    secret: str
    foreign: dict[str, str]
    foreign_ids: frozenset[str]
    hold: str

    async def ask(self, query: str, variables: Mapping[str, Any]) -> str:
        response = await self.served.client.post(
            "/graphql", json={"query": query, "variables": variables}, headers={"authorization": f"Bearer {self.secret}"}
        )  # fmt: skip
        return response.text

    def check(self, said: str, probe: str, where: str, *, wrote: bool = False) -> None:
        """Fail when *said* holds anything of the other tenant but what was asked with, or what was written before."""
        rest = said
        for known in self.foreign.values() if wrote else [probe]:
            rest = rest.replace(known, "")
        assert not self.foreign_ids & set(UUID.findall(rest)), (where, said)
        assert WORDS[0] not in rest.lower().replace("space-zeppelin", "") or WORDS[0] in probe, (where, said)


@pytest.fixture(params=["sqlite", "neo4j"])
async def tenants(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tenants]:
    if request.param == "neo4j":
        from conformance.stores import empty_neo4j

        url: str = request.getfixturevalue("neo4j_url")
        empty_neo4j(url)
    else:
        url = str(tmp_path / "t.db")
    async with Memory.open(url, by="human:root", sync="normal", embedder="none") as memory:
        first, second = (memory.within(tenant=name) for name in ("acme", "blue"))
        foreign = await seed(first, WORDS[0])
        # Longer than what an error repeats of a name: what is left of it is no leak.
        hold = foreign.pop("hold")
        await seed(second, WORDS[1])
        rows = [as_json(row) for ledger in LEDGERS for row in await first.store.feed("default", ledger, 0, 1_000)]
        spaces = [as_json(space) for space in await first.spaces()]
        keys = Keys(memory)
        other = await keys.create(WORDS[0], tenant="acme", actor="human:zoe", scopes=SCOPES, by="human:root")
        mine = await keys.create("mine", tenant="blue", actor="human:bob", scopes=SCOPES, by="human:root")
        foreign["key"] = other.key.id
        ids = frozenset(UUID.findall(json.dumps([rows, spaces]))) | {foreign["receipt"]}
        assert len(ids) > 15
        async with serving(memory, Counter(), options=ServerOptions(auth=True, rate=100_000.0)) as served:
            yield Tenants(served, mine.secret, foreign, ids, hold)
        assert (await first.verify()).ok
        after = [as_json(row) for ledger in LEDGERS for row in await first.store.feed("default", ledger, 0, 1_000)]
        assert after == rows


def selection(kind: GraphQLOutputType, depth: int) -> str:
    named = get_named_type(kind)
    if is_leaf_type(named):
        return ""
    if not isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
        return "{ __typename }"
    parts = ["__typename"]
    for name, field in named.fields.items():
        needed = any(isinstance(one.type, GraphQLNonNull) and one.default_value is None for one in field.args.values())
        if needed or (depth == 0 and not is_leaf_type(get_named_type(field.type))):
            continue
        parts.append(f"{name} {selection(field.type, depth - 1)}")
    return "{ " + " ".join(parts) + " }"


def value(kind: GraphQLInputType, probe: str, wanted: str | None, at: str) -> tuple[bool, Any]:
    """Make a value for an argument: what is required, and the text at the place *wanted*."""
    required = isinstance(kind, GraphQLNonNull)
    inner = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    if isinstance(inner, GraphQLList):
        found, made = value(GraphQLNonNull(get_named_type(inner)) if at == wanted else inner.of_type, probe, wanted, at)
        return (required or at == wanted), ([made] if found or required else [])
    if isinstance(inner, GraphQLInputObjectType):
        fields = {name: value(one.type, probe, wanted, f"{at}.{name}") for name, one in inner.fields.items()}
        given = {name: made for name, (found, made) in fields.items() if found}
        return (required or any(place.startswith(f"{at}.") for place in [wanted or ""])), given
    if isinstance(inner, GraphQLEnumType):
        return required, next(iter(inner.values))
    made = {"DateTime": "2026-01-01T00:00:00Z", "Int": 5, "BigInt": 0, "Float": 0.5, "Boolean": True}.get(inner.name, probe)  # fmt: skip
    return (required or at == wanted), made


def places(kind: GraphQLInputType, at: str) -> Iterator[str]:
    """Name each place under an argument where a text goes."""
    named = get_named_type(kind)
    if isinstance(named, GraphQLInputObjectType):
        for name, one in named.fields.items():
            yield from places(one.type, f"{at}.{name}")
    elif named.name in ("String", "ID", "JSON", "Scalar", "Value"):
        yield at


def operations(root: GraphQLObjectType, keyword: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    """Make one operation for each place of each root field, as a function of the probe."""
    for name, field in root.fields.items():
        declared = ", ".join(f"${one}: {argument.type}" for one, argument in field.args.items())
        passed = ", ".join(f"{one}: ${one}" for one in field.args)
        head = f"{keyword}({declared})" if declared else keyword
        query = f"{head} {{ {name}{f'({passed})' if passed else ''} {selection(field.type, depth)} }}"
        wanted = [place for one, argument in field.args.items() for place in places(argument.type, one)] or [""]
        for place in wanted:

            def variables(probe: str, field: Any = field, place: str = place) -> dict[str, Any]:
                made = {one: value(argument.type, probe, place, one) for one, argument in field.args.items()}
                return {one: given for one, (found, given) in made.items() if found}

            yield f"{name}: {place}", query, variables


def twin(probe: str) -> str:
    """Return a name of the same form that nobody has."""
    if UUID.fullmatch(probe):
        # Of the same minute: the keys of runs hold their ids, and a search for words finds one's own by that part.
        return probe[:8] + RandomIds().new()[8:]
    return probe.replace(WORDS[0], "nautilus") if WORDS[0] in probe else "b" * len(probe)


def plain(said: str, probe: str) -> str:
    """Write an answer without what differs between two calls anyhow."""
    said = NEAR.sub("", said)
    said = re.sub(r"(</?memory) [0-9a-f]+>", r"\1>", said)
    return TIME.sub("TIME", UUID.sub("ID", said.replace(probe, "PROBE").replace(probe.lower(), "PROBE")))


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
async def test_every_read_answers_as_if_the_other_tenant_were_not_there(tenants: Tenants, *, whole: bool) -> None:
    probes = tenants.foreign if whole else {name: tenants.foreign[name] for name in ("new", "entity key")}
    assert SCHEMA.query_type is not None
    answered = 0
    for where, query, variables in operations(SCHEMA.query_type, "query", 4 if whole else 2):
        for probe in probes.values():
            other = twin(probe)
            said, expected = await tenants.ask(query, variables(probe)), await tenants.ask(query, variables(other))
            tenants.check(said, probe, where)
            assert plain(said, probe) == plain(expected, other), (where, probe)
            answered += '"errors"' not in said
    assert answered > (100 if whole else 20)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_write_reaches_the_other_tenant(tenants: Tenants) -> None:
    assert SCHEMA.mutation_type is not None
    kept = 0
    for where, query, variables in operations(SCHEMA.mutation_type, "mutation", 3):
        for probe in tenants.foreign.values():
            said = await tenants.ask(query, variables(probe))
            tenants.check(said, probe, where, wrote=True)
            kept += '"errors"' not in said
    assert kept > 20


async def test_a_subscription_shows_ones_own_ledger_only(tenants: Tenants) -> None:
    assert SCHEMA.subscription_type is not None
    assert set(SCHEMA.subscription_type.fields) == {"changes", "messages", "patternChanges"}
    for field, space in (("changes", "default"), ("changes", "space-zeppelin"), ("patternChanges", "space-zeppelin")):
        query = (
            f'subscription {{ {field}(space: "{space}") {selection(SCHEMA.subscription_type.fields[field].type, 3)} }}'
        )
        headers = {"authorization": f"Bearer {tenants.secret}", "accept": "text/event-stream"}
        seen = ""
        async with tenants.served.client.stream("POST", "/graphql", json={"query": query}, headers=headers) as stream:
            async for line in stream.aiter_lines():
                seen += line
                if "event: complete" in line or f"Drop {WORDS[1]}" in seen or "error" in line:
                    break
        tenants.check(seen, "space-zeppelin", field)
        assert ("space.unknown" in seen) is (space != "default")
        assert ("Drop " + WORDS[1] in seen) is (space == "default")


async def test_a_subscription_shows_the_messages_of_ones_own_channels_only(tenants: Tenants) -> None:
    assert SCHEMA.subscription_type is not None
    for mark in WORDS:
        fields = selection(SCHEMA.subscription_type.fields["messages"].type, 3)
        query = f'subscription {{ messages(channel: "{mark}-orders") {fields} }}'
        headers = {"authorization": f"Bearer {tenants.secret}", "accept": "text/event-stream"}
        seen = ""
        async with tenants.served.client.stream("POST", "/graphql", json={"query": query}, headers=headers) as stream:
            async for line in stream.aiter_lines():
                seen += line
                if "event: complete" in line or f"{WORDS[1]} waits" in seen or "error" in line:
                    break
        tenants.check(seen, f"{WORDS[0]}-orders", "messages")
        assert (f"{WORDS[1]} waits" in seen, "channel.unknown" in seen) == (mark == WORDS[1], mark == WORDS[0])


async def call(tenants: Tenants, method: str, params: dict[str, Any], **headers: str) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    given = {"authorization": f"Bearer {tenants.secret}", "accept": "application/json, text/event-stream", **headers}
    return await tenants.served.client.post("/mcp", json=body, headers=given)


HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}


async def session(tenants: Tenants, secret: str) -> dict[str, str]:
    mine = {"authorization": f"Bearer {secret}"}
    began = await call(tenants, "initialize", HELLO, **mine)
    assert began.status_code == 200, began.text
    kept = {**mine, "mcp-protocol-version": "2025-11-25"}
    if "mcp-session-id" in began.headers:
        kept["mcp-session-id"] = began.headers["mcp-session-id"]
    body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    accept = {"accept": "application/json, text/event-stream"}
    await tenants.served.client.post("/mcp", json=body, headers={**kept, **accept})
    return kept


def arguments(tool: Mapping[str, Any], probe: str, wanted: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    shape = tool["inputSchema"]
    for name, one in shape["properties"].items():
        kinds = one.get("anyOf", [one])
        if name != wanted and name not in shape.get("required", []):
            continue
        first = next((kind for kind in kinds if kind.get("type") != "null"), {})
        if "enum" in one or "enum" in first:
            given[name] = (one.get("enum") or first["enum"])[0]
        elif first.get("format") == "date-time":
            given[name] = "2026-01-01T00:00:00Z"
        elif first.get("type") == "array":
            given[name] = [probe]
        else:
            given[name] = {"integer": 500, "number": 1, "boolean": True}.get(first.get("type", ""), probe)
    return given


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_tool_and_resource_answers_as_if_the_other_tenant_were_not_there(tenants: Tenants) -> None:
    kept = await session(tenants, tenants.secret)
    listed = await call(tenants, "tools/list", {}, **kept)
    tools = json.loads(listed.text.partition("data: ")[2] or listed.text)["result"]["tools"]
    assert len(tools) == 15
    for kind in ("decision", "entity", "session"):
        for probe in tenants.foreign.values():
            said = (await call(tenants, "resources/read", {"uri": f"latewood://{kind}/{probe}"}, **kept)).text
            tenants.check(said, probe, f"latewood://{kind}")
    said = (await call(tenants, "resources/read", {"uri": "latewood://brief"}, **kept)).text
    tenants.check(said, "", "latewood://brief")
    assert WORDS[1] in said
    answered = 0
    # Those that only read come first, before what was asked with is among one's own words.
    for tool in sorted(tools, key=lambda one: not one["annotations"]["readOnlyHint"]):
        reads = tool["annotations"]["readOnlyHint"]
        for name in tool["inputSchema"]["properties"]:
            for probe in tenants.foreign.values():
                params = {"name": tool["name"], "arguments": arguments(tool, probe, name)}
                said = (await call(tenants, "tools/call", params, **kept)).text
                tenants.check(said, probe, f"{tool['name']}: {name}", wrote=not reads)
                answered += '"isError":false' in said
                if reads:
                    other = twin(probe)
                    params = {"name": tool["name"], "arguments": arguments(tool, other, name)}
                    expected = (await call(tenants, "tools/call", params, **kept)).text
                    assert plain(said, probe) == plain(expected, other), (tool["name"], name, probe)
    assert answered > 100


async def test_a_session_of_another_caller_does_not_exist(tenants: Tenants) -> None:
    theirs = await Keys(tenants.served.memory).create("theirs", tenant="acme", actor="human:zoe", scopes=SCOPES, by="human:root")  # fmt: skip
    kept = await session(tenants, theirs.secret)
    params = {"name": "brief", "arguments": {}}
    assert WORDS[0] in (await call(tenants, "tools/call", params, **kept)).text
    stolen = await call(tenants, "tools/call", params, **{**kept, "authorization": f"Bearer {tenants.secret}"})

    if "mcp-session-id" in kept:
        assert stolen.status_code == 404
    assert WORDS[0] not in stolen.text


async def test_a_hold_of_the_other_tenant_is_a_hold_of_nothing(tenants: Tenants) -> None:
    kept = await session(tenants, tenants.secret)
    mine = await call(tenants, "tools/call", {"name": "receive", "arguments": {"channel": "quokka-orders"}}, **kept)
    assert '"empty":true' in mine.text.replace(" ", "").replace("\\", "")
    foreign = tenants.hold
    # Through one's own channel too: the message itself is not there.
    for hold in (foreign, foreign.replace(WORDS[0], WORDS[1])):
        calls: list[dict[str, Any]] = [
            {"name": "receive", "arguments": {"action": action, "hold": hold, "error_class": "schema", "error": "x"}}
            for action in ("ack", "nack", "heartbeat", "hand_back")
        ]
        calls.append({"name": "send", "arguments": {"channel": "quokka-orders", "data": 1, "handing_on": hold}})
        texts = [(await call(tenants, "tools/call", params, **kept)).text for params in calls]
        for verb, kind in (("ack", "AckInput"), ("heartbeat", "HeartbeatInput"), ("publish", "PublishInput")):
            onward = {"channel": "quokka-orders", "handingOn": hold} if verb == "publish" else {"hold": hold}
            query = f"mutation($input: {kind}!) {{ {verb}(input: $input) {{ __typename }} }}"
            texts.append(await tenants.ask(query, {"input": onward}))
        for said in texts:
            assert ("channel.unknown" in said) is (hold == foreign), said
            assert ("message.unknown" in said) is (hold != foreign), said
