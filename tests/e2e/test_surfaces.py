"""One question, five doors: Python, the command line, GraphQL, the remote client and MCP give equal JSON."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import httpx
import pytest
import uvicorn
from conformance.stores import empty_neo4j
from graphql import (
    GraphQLEnumType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    is_leaf_type,
)
from mcp import Client
from typer.testing import CliRunner

from latewood.clients.cli import app
from latewood.clients.remote import BlockingRemoteMemory
from latewood.graph_schema.errors import LatewoodError
from latewood.memory import Alternative, AsOf, BlockingMemory, DecisionStatus, Memory, NodeKind
from latewood.memory.json import as_json
from latewood.memory.messages import messages_of
from latewood.server.app import create_app
from latewood.server.mcp.answers import pruned

SCHEMA = build_schema(resources.files("latewood.server.graphql").joinpath("schema.graphql").read_text(encoding="utf-8"))
EARLY, LATE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def seed(memory: BlockingMemory) -> None:
    late = memory.observe("carrier:A", "on_time_rate", 0.81, valid_from=datetime(2026, 3, 1, tzinfo=UTC), unit="%")
    memory.observe(
        "carrier:A", "on_time_rate", 0.95, valid_from=datetime(2026, 3, 1, tzinfo=UTC), source="https://a.example",
        quote="95 of 100", unit="%",
    )  # fmt: skip
    memory.observe("carrier:A", "fleet", {"vans": 3, "sizes": [1, 2]}, as_written="three vans")
    serves = memory.relate("carrier:A", "serves", "lane:lyon", valid_from=datetime(2026, 1, 1, tzinfo=UTC))
    first = memory.decide("Keep carrier A", because="it is cheap", about=["carrier:A"], key="lane:d1")
    second = memory.decide(
        "Move to carrier B", because="A is late", about=["carrier:A", "carrier:B"], evidence=[late, first],
        alternatives=[Alternative("keep A", rejected_because="penalties did not help"), Alternative("rail")],
        supersedes=[first], key="lane:d2", session="s-1", confidence=0.8, question="Who drives to Lyon?",
        expected="nine in ten on time", decided_by=["human:ada"], trigger=[serves],
    )  # fmt: skip
    memory.correct(late, 0.91, because="two trucks were counted twice")
    memory.end(serves, at=datetime(2026, 6, 1, tzinfo=UTC), because="contract ran out")
    memory.decide("Rail after all", because="x", supersedes=[second], key="lane:d3", status=DecisionStatus.PROPOSED)
    memory.create_space("team")


@dataclass
class Doors:
    """One store behind five doors."""

    db: str
    python: BlockingMemory
    http: httpx.Client
    remote: BlockingRemoteMemory

    def graphql(self, query: str) -> dict[str, Any]:
        return self.http.post("/graphql", json={"query": query}).json()

    def cli(self, *words: str) -> tuple[int, Any]:
        done = CliRunner().invoke(app, [*words, "--json", "--db", self.db], catch_exceptions=False)
        return done.exit_code, json.loads(done.stdout)

    def mcp(self, tool: str, **arguments: Any) -> dict[str, Any]:
        async def call() -> Any:
            async with Client(f"{self.http.base_url}/mcp") as client:
                return await client.call_tool(tool, arguments)

        done = asyncio.run(call())
        assert not done.is_error, done.content
        return done.structured_content


class Served:
    """A server on a thread of its own, over the store that the others open too."""

    def __init__(self, db: str) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._db = db
        self._server: uvicorn.Server | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        async with Memory.open(self._db, sync="normal") as memory:
            self._server = uvicorn.Server(uvicorn.Config(create_app(memory), log_level="critical", access_log=False))
            running = asyncio.create_task(self._server._serve(sockets=[self.listener]))
            while not self._server.started and not running.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            self._ready.set()
            await running

    def __enter__(self) -> str:
        self._thread.start()
        assert self._ready.wait(20)
        return self.url

    def __exit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(20)
        self.listener.close()


@pytest.fixture(scope="module", params=["sqlite", "neo4j"])
def doors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    if request.param == "neo4j":
        db: str = request.getfixturevalue("neo4j_url")
        empty_neo4j(db)
    else:
        db = str(tmp_path_factory.mktemp("surfaces") / "t.db")
    with BlockingMemory.open(db, by="agent:planner", sync="normal") as memory:
        seed(memory)
        with (
            Served(db) as url, httpx.Client(base_url=url, timeout=20, trust_env=False) as client,
            BlockingRemoteMemory.open(url) as remote,
        ):  # fmt: skip
            yield Doors(db, memory, client, remote)


def selection(schema: GraphQLSchema, kind: GraphQLOutputType, documents: Sequence[Any]) -> str:
    """Select just what *documents*, the same thing as Python shows it, have."""
    named = get_named_type(kind)
    if is_leaf_type(named):
        return ""
    assert isinstance(named, GraphQLObjectType)
    flat = [one for document in documents for one in (document if isinstance(document, list) else [document])]
    objects = [one for one in flat if isinstance(one, Mapping)]
    parts: list[str] = []
    for name in dict.fromkeys(name for one in objects for name in one):
        assert name in named.fields, f"GraphQL's {named.name} has no {name}"
        below = selection(schema, named.fields[name].type, [one[name] for one in objects if name in one])
        parts.append(f"{name} {below}")
    return "{ " + (" ".join(parts) or "__typename") + " }"


def spoken(kind: GraphQLOutputType, document: Any) -> Any:
    """Write GraphQL's answer with the words of Python: the names of enums are its values in capitals."""
    named = get_named_type(kind)
    if isinstance(document, list) and not (is_leaf_type(named) and not isinstance(named, GraphQLEnumType)):
        return [spoken(kind, one) for one in document]
    if isinstance(named, GraphQLEnumType):
        return document.lower() if isinstance(document, str) else document
    if isinstance(named, GraphQLObjectType) and isinstance(document, Mapping):
        return {name: spoken(named.fields[name].type, value) for name, value in document.items()}
    return document


def through_graphql(doors: Doors, field: str, arguments: str, expected: Any) -> Any:
    """Ask GraphQL for all that Python shows, and return it in Python's form; a connection becomes a page."""
    assert SCHEMA.query_type is not None
    kind = SCHEMA.query_type.fields[field].type
    named = get_named_type(kind)
    call = f"{field}{arguments}"
    if not named.name.endswith("Connection"):
        answer = doors.graphql(f"{{ {call} {selection(SCHEMA, kind, [expected])} }}")
        assert "errors" not in answer, answer
        return spoken(kind, answer["data"][field])
    assert isinstance(named, GraphQLObjectType)
    edge = get_named_type(named.fields["edges"].type)
    assert isinstance(edge, GraphQLObjectType)
    node = edge.fields["node"].type
    items = selection(SCHEMA, node, [expected["items"]])
    answer = doors.graphql(f"{{ {call} {{ edges {{ node {items} }} pageInfo {{ hasNextPage }} }} }}")
    assert "errors" not in answer, answer
    found = answer["data"][field]
    assert found["pageInfo"]["hasNextPage"] == (expected["next"] is not None)
    return {"items": [spoken(node, one["node"]) for one in found["edges"]], "next": expected["next"]}


THEN = "2026-03-02T00:00:00Z"
AT = AsOf(valid_at=datetime(2026, 3, 2, tzinfo=UTC))
AS_OF = f'asOf: {{validAt: "{THEN}"}}'
ASKED: list[tuple[str, str, list[str], Any]] = [
    ("decision", '(key: "lane:d2")', ["decision", "lane:d2"], lambda m: m.decision("lane:d2")),
    ("decision", '(key: "lane:d1")', ["decision", "lane:d1"], lambda m: m.decision("lane:d1")),
    ("decisions", "", ["decisions"], lambda m: m.decisions()),
    ("decisions", "(first: 2)", ["decisions", "--first", "2"], lambda m: m.decisions(first=2)),
    (
        "decisions", '(status: [SUPERSEDED], about: "carrier:B")',
        ["decisions", "--status", "superseded", "--about", "carrier:B"],
        lambda m: m.decisions(status=[DecisionStatus.SUPERSEDED], about="carrier:B"),
    ),
    ("entity", '(key: "carrier:A")', ["entity", "carrier:A"], lambda m: m.entity("carrier:A")),
    (
        "entity", f'(key: "carrier:A", {AS_OF})', ["entity", "carrier:A", "--valid-at", THEN],
        lambda m: m.entity("carrier:A", None, AT),
    ),
    ("entities", "(kind: ENTITY)", ["entities", "--kind", "entity"], lambda m: m.nodes(kind=NodeKind.ENTITY)),
    ("why", '(id: "lane:d2")', ["why", "lane:d2"], lambda m: m.why("lane:d2")),
    ("why", '(about: "carrier:A")', ["why", "--about", "carrier:A"], lambda m: m.why_about("carrier:A")),
    ("timeline", '(key: "carrier:A")', ["timeline", "carrier:A"], lambda m: m.timeline("carrier:A")),
    (
        "diff", '(since: "2020-01-01", until: "2100-01-01")', ["diff", "2020-01-01", "2100-01-01"],
        lambda m: m.diff(EARLY, LATE),
    ),
    ("find", '(text: "lyon")', ["find", "lyon"], lambda m: m.find("lyon")),
    ("conflicts", "", ["conflicts"], lambda m: m.conflicts()),
    ("stale", "", ["stale"], lambda m: m.stale()),
    ("precedents", '(text: "late carrier")', ["precedents", "late", "carrier"], lambda m: m.precedents("late carrier")),
    (
        "recall", '(query: "why is A late?", limit: 5)', ["recall", "why is A late?", "--limit", "5"],
        lambda m: m.recall("why is A late?", limit=5),
    ),
    (
        "brief", '(since: "2020-01-01", budgetTokens: 2000)', ["brief", "--since", "2020-01-01", "--budget-tokens", "2000"],
        lambda m: m.brief(since=EARLY, budget_tokens=2_000),
    ),
    ("spaces", "", ["spaces", "list"], lambda m: m.spaces()),
    ("verifyLedger", "", ["ledger", "verify"], lambda m: m.verify()),
]  # fmt: skip


@pytest.mark.parametrize(("field", "arguments", "words", "ask"), ASKED, ids=[f"{one[0]}{one[1]}" for one in ASKED])
def test_the_doors_give_equal_json(doors: Doors, field: str, arguments: str, words: list[str], ask: Any) -> None:
    expected = as_json(ask(doors.python))

    assert doors.cli(*words) == (0, expected)
    # GraphQL always answers why with a list: it may be about many.
    wanted = [expected] if field == "why" and isinstance(expected, dict) else expected
    assert through_graphql(doors, field, arguments, wanted) == wanted
    assert through_remote(doors, ask, expected) == expected


def through_remote(doors: Doors, ask: Any, expected: Any) -> Any:
    """Ask the remote client as Python is asked. Where a list goes on is each door's own word."""
    found = as_json(ask(doors.remote))
    if isinstance(found, dict) and "next" in found:
        assert (found["next"] is None) == (expected["next"] is None)
        found["next"] = expected["next"]
    return found


MCP: list[tuple[str, dict[str, Any], str, Any]] = [
    ("get", {"thing": "lane:d2"}, "answer", lambda m: m.decision("lane:d2")),
    ("get", {"thing": "carrier:A"}, "answer", lambda m: m.entity("carrier:A")),
    ("get", {"thing": "carrier:A", "valid_at": THEN}, "answer", lambda m: m.entity("carrier:A", None, AT)),
    ("timeline", {"thing": "carrier:A"}, "items", lambda m: m.timeline("carrier:A").items),
    ("diff", {"since": EARLY.isoformat(), "until": LATE.isoformat()}, "items", lambda m: m.diff(EARLY, LATE).items),
    ("review", {"what": "conflicts"}, "items", lambda m: m.conflicts().items),
    ("review", {"what": "stale"}, "items", lambda m: m.stale().items),
]


@pytest.mark.parametrize(("tool", "arguments", "part", "ask"), MCP, ids=[f"{one[0]}{one[1]}" for one in MCP])
def test_tools_answer_with_the_same_without_its_empty_parts(
    doors: Doors, tool: str, arguments: dict[str, Any], part: str, ask: Any
) -> None:
    found = doors.mcp(tool, **arguments, budget_tokens=20_000)

    assert found.get(part, []) == pruned(as_json(ask(doors.python)))
    assert "cut" not in found
    assert "cursor" not in found


def test_tools_tell_the_same_in_words(doors: Doors) -> None:
    brief = doors.mcp("brief", since=EARLY.isoformat(), budget_tokens=4_000)["text"]
    recalled = doors.mcp("recall", query="why is A late?", limit=5, budget_tokens=4_000)["text"]
    why = doors.mcp("why", decision="lane:d2", budget_tokens=4_000)["answer"][0]["chain"]

    for line in doors.python.brief(since=EARLY, budget_tokens=3_000).lines:
        assert f"- {line.text} [{line.ref}]" in brief
    for hit in doors.python.recall("why is A late?", limit=5).hits:
        assert hit.fact.id in recalled
    for told, line in zip(why, doors.python.why("lane:d2").lines, strict=True):
        assert told.startswith(f"{line.role}: {line.text}")


def test_a_receipt_is_the_same_at_every_door(doors: Doors) -> None:
    written = doors.python.observe("carrier:C", "rate", 1, valid_to=datetime(2200, 1, 1, tzinfo=UTC))
    expected = as_json(doors.python.receipt(written.receipt.id))

    assert doors.cli("receipt", written.receipt.id) == (0, expected)
    assert through_graphql(doors, "receipt", f'(id: "{written.receipt.id}")', expected) == expected
    assert as_json(doors.remote.receipt(written.receipt.id)) == expected


@pytest.mark.parametrize(
    ("query", "words", "exit_code", "code"),
    [
        ('{ decisions(space: "default1") { edges { cursor } } }', ["decisions", "--space", "default1"], 3, "space.unknown"),
        (
            '{ entity(key: "carrier:A", asOf: {knownAt: "2026-01-01T00:00:00"}) { id } }',
            ["entity", "carrier:A", "--known-at", "2026-01-01T00:00:00"], 2, "time.naive",
        ),
        (
            '{ diff(since: "2026-02-01", until: "2026-01-01") { edges { cursor } } }',
            ["diff", "2026-02-01", "2026-01-01"], 2, "period.empty",
        ),
        ('{ decisions(after: "nonsense") { edges { cursor } } }', ["decisions", "--after", "nonsense"], 2, "cursor.invalid"),
        ('{ why(id: "lane:d2", about: "x") { truncated } }', ["why", "lane:d2", "--about", "x"], 2, "query.invalid"),
    ],
)  # fmt: skip
def test_errors_have_the_same_code_at_every_door(
    doors: Doors, query: str, words: list[str], exit_code: int, code: str
) -> None:
    status, document = doors.cli(*words)
    (error,) = doors.graphql(query)["errors"]

    assert (status, document["error"]["code"]) == (exit_code, code)
    assert error["extensions"]["code"] == code
    assert error["extensions"]["branch"] == document["error"]["branch"] == "refused"


def test_python_raises_the_same_code(doors: Doors) -> None:
    with pytest.raises(LatewoodError) as raised:
        doors.python.within(space="default1").decisions()
    with pytest.raises(type(raised.value)) as remote:
        doors.remote.within(space="default1").decisions()

    assert (remote.value.code, remote.value.message) == (raised.value.code, raised.value.message)
    assert remote.value.details == as_json(raised.value.details)
    status, document = doors.cli("decisions", "--space", "default1")
    assert status == 3
    assert document["error"] == {
        "code": raised.value.code, "message": raised.value.message, "branch": raised.value.branch,
        "details": as_json(raised.value.details),
    }  # fmt: skip


def test_messages_are_the_same_at_every_door(doors: Doors) -> None:
    """Sent through one, they are found, handed out and settled through the others."""
    far = doors.remote.within(space="team", by="agent:planner").messages
    far.make_channel("orders", schema={"type": "object"}, owner="human:ada")
    assert (
        doors.cli("messages", "send", "orders", '{"from": "cli"}', "--space", "team", "--by", "agent:planner")[0] == 0
    )
    by_tool = doors.mcp("send", channel="orders", data={"from": "mcp"}, space="team", by="agent:planner")
    publish = 'mutation { publish(space: "team", input: {channel: "orders", data: {from: "graphql"}, by: "agent:planner"}) { id } }'
    assert "errors" not in doors.graphql(publish)
    far.publish("orders", {"from": "remote"})
    (held,) = far.receive("orders")
    far.nack(held, "permanent", "no such lane")
    taken = doors.mcp("receive", channel="orders", space="team")
    doors.mcp("receive", action="ack", hold=taken["hold"], space="team")

    async def seen() -> dict[str, Any]:
        async with Memory.open(doors.db) as memory:
            own = messages_of(memory.within(space="team"))
            found = {
                "channels": await own.channels(), "messages": await own.messages(), "letters": await own.dead_letters(),
                "tries": await own.deliveries(by_tool["message"]), "envelope": (await own.message(taken["message"])).envelope(),
            }  # fmt: skip
            return {name: as_json(one) for name, one in found.items()}

    expected = asyncio.run(seen())
    assert [one["data"]["from"] for one in expected["messages"]["items"]] == ["remote", "graphql", "mcp", "cli"]
    assert [one["message"]["data"]["from"] for one in expected["letters"]["items"]] == ["cli"]
    assert [one["outcome"] for one in expected["tries"]] == ["acked"]
    assert json.loads(taken["text"].split("\n")[1]) == expected["envelope"]
    message = by_tool["message"]
    rows = [
        ("channels", "channels", '(space: "team")', ["messages", "channels"], far.channels()),
        ("messages", "messages", '(space: "team")', ["messages", "list"], far.messages()),
        ("letters", "deadLetters", '(space: "team")', ["dead-letters", "list"], far.dead_letters()),
        ("tries", "deliveries", f'(message: "{message}", space: "team")', ["messages", "tries", message], far.deliveries(message)),
    ]  # fmt: skip
    for name, field, arguments, words, remote in rows:
        assert doors.cli(*words, "--space", "team") == (0, expected[name]), name
        assert through_graphql(doors, field, arguments, expected[name]) == expected[name], name
        assert as_json(remote) == expected[name], name
