"""One scene, played through every door into a space of its own: afterwards all the spaces tell the same story."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from e2e.test_surfaces import Served
from mcp import Client
from typer.testing import CliRunner

from latewood.clients.cli import app
from latewood.clients.remote import BlockingRemoteMemory, RemoteMemory
from latewood.memory import Alternative, BlockingMemory, DecisionStatus, Memory
from latewood.memory.json import as_json
from latewood.memory.messages import messages_of

MARCH, MAY, JUNE = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 5, 6))
BY = "agent:planner"
HUMAN = "human:ada"
LONG_AGO, FAR_OFF = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Door(Protocol):
    """A way to write; each verb returns the id of what it wrote."""

    def __call__(self, verb: str, **given: Any) -> str: ...


def through_python(memory: BlockingMemory, space: str) -> Door:
    handle = memory.within(space=space)

    def call(verb: str, **given: Any) -> str:
        return getattr(handle, verb)(**_named(verb, given)).id

    return call


def through_remote(remote: BlockingRemoteMemory) -> Door:
    def call(verb: str, **given: Any) -> str:
        return getattr(remote, verb)(**_named(verb, given)).id

    return call


def _named(verb: str, given: dict[str, Any]) -> dict[str, Any]:
    if "alternatives" in given:
        given = {**given, "alternatives": [Alternative(*one) for one in given["alternatives"]]}
    return given


def plain(value: Any) -> Any:
    """As JSON and the command line have it."""
    return value.isoformat() if isinstance(value, datetime) else value.value if isinstance(value, Enum) else value


def through_graphql(url: str, space: str) -> Door:
    def camel(name: str) -> str:
        head, *rest = name.split("_")
        return head + "".join(part.capitalize() for part in rest)

    def call(verb: str, **given: Any) -> str:
        own = {camel(name): value.name if isinstance(value, Enum) else plain(value) for name, value in given.items()}
        if "alternatives" in own:
            own["alternatives"] = [{"title": title, "rejectedBecause": why} for title, why in own["alternatives"]]
        kind = f"{verb.capitalize()}Input"
        query = f"mutation($input: {kind}!, $space: String) {{ answer: {verb}(input: $input, space: $space) {{ id }} }}"
        answer = httpx.post(
            f"{url}/graphql", json={"query": query, "variables": {"input": own, "space": space}}, timeout=20
        ).json()
        assert "errors" not in answer, answer
        return answer["data"]["answer"]["id"]

    return call


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def through_cli(db: str, space: str) -> Door:
    arguments = {
        "observe": ("subject", "predicate", "value"), "relate": ("subject", "predicate", "target"),
        "decide": ("choice",), "correct": ("fact", "value"), "end": ("fact",), "retract": ("fact",),
        "supersede": ("old", "new"),
    }  # fmt: skip
    flags = {"alternatives": "--alternative"}

    def call(verb: str, **given: Any) -> str:
        words = [verb, *(_word(given.pop(name)) for name in arguments[verb])]
        for name, value in given.items():
            for one in value if isinstance(value, list) else [value]:
                said = " | ".join(one) if isinstance(one, tuple) else str(plain(one))
                words += [flags.get(name, f"--{name.replace('_', '-')}"), said]
        done = CliRunner().invoke(app, [*words, "--db", db, "--space", space, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.stdout
        return json.loads(done.stdout)["id"]

    return call


def through_mcp(url: str, space: str) -> Door:
    actions = {"correct": "fact", "end": "fact", "retract": "fact", "supersede": "old"}

    def told(verb: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if verb in ("observe", "relate"):
            return "record", given
        if verb == "decide":
            if "alternatives" in given:
                given["alternatives"] = [{"title": one, "rejected_because": why} for one, why in given["alternatives"]]
            return "decide", given
        given = {"action": verb, "target": given.pop(actions[verb]), **given}
        if verb == "supersede":
            given["with_decision"] = given.pop("new")
        return "amend", given

    def call(verb: str, **given: Any) -> str:
        tool, own = told(verb, {name: plain(value) for name, value in given.items()})

        async def ask() -> Any:
            async with Client(f"{url}/mcp") as client:
                return await client.call_tool(tool, {**own, "space": space})

        done = asyncio.run(ask())
        assert not done.is_error, done.content
        return done.structured_content["id"]

    return call


def play(door: Door) -> None:
    """Every verb that writes, but `erase`, which is not for models."""
    late = door(
        "observe", subject="carrier:A", predicate="on_time_rate", value=0.81, unit="%", valid_from=MARCH,
        quote="81 of 100", source="https://tms.example/weekly", session="s-1", by=BY,
    )  # fmt: skip
    door("observe", subject="carrier:A", predicate="on_time_rate", value=0.95, valid_from=MARCH, by=HUMAN)
    busy = door("observe", subject="carrier:A", predicate="busy", value=True, valid_from=MARCH, valid_to=MAY, by=BY)
    serves = door("relate", subject="carrier:A", predicate="serves", target="lane:lyon", valid_from=MARCH, by=BY)
    keep = door("decide", choice="Keep carrier A", because="it is cheap", about=["carrier:A"], by=BY)
    move = door(
        "decide", choice="Move to carrier B", because="A is late", title="Move", question="Who drives to Lyon?",
        about=["carrier:A", "carrier:B"], evidence=[late, serves], alternatives=[("stay", "late again"), ("rail", "slow")],
        supersedes=[keep], confidence=0.8, expected="nine in ten", session="s-1", by=BY,
    )  # fmt: skip
    rail = door("decide", choice="Rail after all", because="oil", status=DecisionStatus.PROPOSED, by=HUMAN)
    door("correct", fact=late, value=0.91, because="counted twice", by=HUMAN)
    door("end", fact=serves, at=JUNE, because="contract ran out", by=BY)
    door("retract", fact=busy, because="wrong carrier", by=BY)
    door("supersede", old=move, new=rail, at=JUNE, by=HUMAN)


def story(memory: BlockingMemory, space: str) -> str:
    """All that a space tells, with its own ids and times numbered in the order of their telling."""
    own = memory.within(space=space)
    told = [
        own.timeline("carrier:A"), own.timeline("lane:lyon"), own.decisions(), own.diff(LONG_AGO, FAR_OFF),
        *(own.why(one.id) for one in own.decisions().items), own.stale(), own.conflicts(), own.entity("carrier:A"),
        own.brief(since=LONG_AGO).text, [node.key for node in own.nodes(first=100).items],
        [fact.trust for fact in own.timeline("carrier:A").items],
        [(entry.event.kind, entry.event.payload) for entry in _rows(own)],
    ]  # fmt: skip
    numbers: dict[str, str] = {}
    given = {one.isoformat().replace("+00:00", "Z") for one in (MARCH, MAY, JUNE, LONG_AGO, FAR_OFF)}

    def numbered(found: re.Match[str]) -> str:
        return found[0] if found[0] in given else numbers.setdefault(found[0], f"#{len(numbers)}")

    text = json.dumps(as_json(told), indent=1, sort_keys=True)
    return _TIME.sub(numbered, _ID.sub(numbered, text))


def _rows(own: BlockingMemory) -> Iterator[Any]:
    last = next(space.seq["knowledge"] for space in own.spaces() if space.name == own.space)
    for entry in own.watch():
        yield entry
        if entry.seq == last:
            return


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    db: Path = tmp_path_factory.mktemp("doors") / "t.db"
    with (
        BlockingMemory.open(str(db), sync="normal") as memory, Served(str(db)) as url,
        BlockingRemoteMemory.open(url, space="remote") as remote,
    ):  # fmt: skip
        doors = {
            "python": through_python(memory, "python"), "remote": through_remote(remote),
            "graphql": through_graphql(url, "graphql"), "cli": through_cli(str(db), "cli"),
            "mcp": through_mcp(url, "mcp"),
        }  # fmt: skip
        for space, door in doors.items():
            memory.create_space(space)
            play(door)
        return {space: story(memory, space) for space in doors}


@pytest.mark.slow
@pytest.mark.parametrize("door", ["remote", "graphql", "cli", "mcp"])
def test_a_scene_is_the_same_through_every_door(stories: dict[str, str], door: str) -> None:
    assert stories[door].splitlines() == stories["python"].splitlines()


@pytest.mark.slow
def test_the_scene_tells_of_every_verb(stories: dict[str, str]) -> None:
    """What holds the comparison up: had a door written nothing, all would be equally empty."""
    for words in (
        "0.91", "counted twice", "contract ran out", "wrong carrier", "nine in ten", "81 of 100", "late again", '"corrected"',
        '"ended"', '"retracted"', '"superseded"', "https://tms.example/weekly", "session:s-1", "human:ada",
    ):  # fmt: skip
        assert words in stories["python"], words


def test_an_erasure_is_the_same_through_every_door_that_has_it(tmp_path: Path) -> None:
    db = str(tmp_path / "t.db")
    with BlockingMemory.open(db, sync="normal") as memory, Served(db) as url:
        reports = []
        for space in ("python", "remote", "graphql", "cli"):
            memory.create_space(space)
            own = memory.within(space=space, by=BY)
            mail = own.observe("person:jane", "mail", "jane@example.org", valid_from=MARCH)
            reports.append(_erased(memory, url, db, space))
            assert own.fact(mail.id).erased

    wanted = {"kind", "reason", "places", "scrub"}
    assert all(one == reports[0] for one in reports)
    assert set(reports[0]) == wanted


def _erased(memory: BlockingMemory, url: str, db: str, space: str) -> dict[str, Any]:
    given = {"target": "person:jane", "reason": "ticket 481", "by": HUMAN}
    if space == "python":
        report = as_json(memory.within(space=space).erase(**given))
    elif space == "remote":
        with BlockingRemoteMemory.open(url, space=space) as remote:
            report = as_json(remote.erase(**given))
    elif space == "graphql":
        query = 'mutation($input: EraseInput!) { answer: erase(input: $input, space: "graphql") { kind reason places scrub { state detail } } }'
        report = httpx.post(f"{url}/graphql", json={"query": query, "variables": {"input": given}}).json()["data"][
            "answer"
        ]
    else:
        words = ["erase", "person:jane", "--reason", "ticket 481", "--by", HUMAN, "--yes", "--db", db, "--space", space]
        report = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    return {name: report[name] for name in ("kind", "reason", "places", "scrub")}


def test_a_message_is_the_same_through_every_door(tmp_path: Path) -> None:
    db = str(tmp_path / "t.db")
    words: dict[str, Any] = {"subject": "lane:lyon", "ordering_key": "lyon", "priority": 3}
    data = {"lane_name": "Lyon", "rates": [0.81, None]}
    with BlockingMemory.open(db, sync="normal") as memory, Served(db) as url:
        for space in ("python", "remote", "graphql", "cli", "mcp"):
            memory.create_space(space)
        told = asyncio.run(_sent_everywhere(db, url, data, words))

    assert told[0]["data"] == data
    assert told[0]["source"] == BY
    assert all(one == told[0] for one in told[1:])


async def _sent_everywhere(db: str, url: str, data: dict[str, Any], words: dict[str, Any]) -> list[dict[str, Any]]:
    async with Memory.open(db, by=BY) as memory:
        posts = {
            space: messages_of(memory.within(space=space)) for space in ("python", "remote", "graphql", "cli", "mcp")
        }
        for own in posts.values():
            await own.make_channel("orders")
        await posts["python"].publish("orders", data, **words)
        async with RemoteMemory.open(url, space="remote", by=BY) as remote:
            await remote.messages.publish("orders", data, **words)
        given = {
            "channel": "orders",
            "data": data,
            "by": BY,
            "subject": "lane:lyon",
            "orderingKey": "lyon",
            "priority": 3,
        }
        query = 'mutation($input: PublishInput!) { publish(input: $input, space: "graphql") { id } }'
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{url}/graphql", json={"query": query, "variables": {"input": given}})
        assert "errors" not in answer.json(), answer.text
        flags = [
            "--subject",
            "lane:lyon",
            "--ordering-key",
            "lyon",
            "--priority",
            "3",
            "--by",
            BY,
            "--db",
            db,
            "--space",
            "cli",
        ]
        done = await asyncio.to_thread(
            CliRunner().invoke, app, ["messages", "send", "orders", json.dumps(data), *flags], catch_exceptions=False
        )
        assert done.exit_code == 0, done.stdout
        async with Client(f"{url}/mcp") as model:
            sent = await model.call_tool("send", {"channel": "orders", "data": data, "by": BY, "space": "mcp", **words})
        assert not sent.is_error, sent.content
        told: list[dict[str, Any]] = []
        for own in posts.values():
            (message,) = (await own.messages()).items
            shown = as_json(message)
            assert isinstance(shown, dict)
            told.append(
                {name: one for name, one in shown.items() if name not in ("id", "eventId", "time", "recordedAt")}
            )
        return told
