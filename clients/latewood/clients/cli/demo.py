"""The demo: Latewood's own decision records, served, and three questions put to the running server.

Which questions is decided by rule from what the records say on the day; every answer is what GraphQL returned.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import uvicorn

from latewood.clients.cli.call import Call, print_json
from latewood.graph_schema.clock import iso, parse_instant
from latewood.graph_schema.errors import InvalidError, NotFoundError, UnavailableError
from latewood.memory import Memory
from latewood.memory.imports import ingest_adr
from latewood.server.app import create_app
from latewood.server.guard import BODY_BYTES_MAX

__all__ = ["Answered", "Asker", "Loaded", "Records", "Story", "answers", "records_folder", "run_demo"]

_HOST: Final = "127.0.0.1"
_ACTOR: Final = "agent:demo"
_ASK_S: Final = 30
_START_S: Final = 20
_LISTED_MAX: Final = 200

_LIST: Final = """query($first: Int!, $asOf: AsOf, $space: String) {
  decisions(first: $first, asOf: $asOf, space: $space) { edges { node {
    id key title status question choice rationale recordedAt
    alternatives { title rejectedBecause } supersededBy { key title status } supersedes { key title } } } } }"""
_WHY: Final = """query($id: ID!, $space: String) {
  why(id: $id, space: $space) { decision { key title status } inForce { key title }
    lines { role text source { origin } } } }"""
_STATUSES: Final = """query($key: String!, $space: String) {
  timeline(key: $key, predicates: ["status"], space: $space) { edges { node { recordedAt value { data } } } } }"""
_THEN: Final = """query($id: ID!, $asOf: AsOf, $space: String) {
  decision(id: $id, asOf: $asOf, space: $space) { key title status supersededBy { key title } } }"""


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, the lines of its answer, and the GraphQL operation that gave it."""

    question: str
    answer: tuple[str, ...]
    operation: str
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a story has put into the space: *said* in one sentence, and in *fields* for JSON."""

    said: str
    fields: Mapping[str, Any]


class Story(Protocol):
    """What a demo tells: it loads a space, and asks the running server about it."""

    async def load(self, memory: Memory, progress: Callable[[int, int], None] | None) -> Loaded:
        """Fill the space."""
        ...

    async def ask(self, asker: Asker) -> tuple[Answered, ...]:
        """Ask three questions."""
        ...


class Records:
    """The story of Latewood's own decisions."""

    def __init__(self) -> None:
        """Find the records. Raises NotFoundError (``demo.data_missing``)."""
        self._folder = records_folder()
        self._history = False

    async def load(self, memory: Memory, progress: Callable[[int, int], None] | None) -> Loaded:
        """Read the records in."""
        report = await ingest_adr(memory, self._folder, progress=progress)
        self._history = report.history
        past = (
            f"with their history of {report.commits} commits" if report.history else "as files, without a git history"
        )
        fields = {"decisions": report.decisions, "commits": report.commits, "supersessions": report.supersessions}
        return Loaded(f"Loaded {report.decisions} of Latewood's own decisions, {past}, and served them.", fields)

    async def ask(self, asker: Asker) -> tuple[Answered, ...]:
        """Ask what the records say."""
        return await answers(asker, history=self._history)


def _shipped() -> Path:
    return Path(str(resources.files("latewood.memory"))) / "demo" / "adr"


def records_folder() -> Path:
    """Return where Latewood's own records are: in the checkout with their history, else as they ship in the wheel.

    Raises:
        NotFoundError: code ``demo.data_missing``.
    """
    checkout = Path(__file__).parents[4]
    shipped = _shipped()
    # A folder above an installed package may be anyone's; ours has this file where it belongs.
    own = checkout / "clients" / "latewood" / "clients" / "cli" / "demo.py"
    candidates = [checkout / "docs" / "adr"] if own == Path(__file__) else []
    for folder in (*candidates, shipped):
        if any(folder.glob("*.md")):
            return folder
    raise NotFoundError(
        f"the demo's decision records are not in {shipped}; install Latewood again, or run it in a checkout",
        code="demo.data_missing",
    )


class Asker:
    """Asks the running server over HTTP."""

    def __init__(self, client: httpx.AsyncClient, space: str) -> None:
        """Ask about *space*."""
        self._client = client
        self._space = space

    async def ask(self, operation: str, **variables: Any) -> dict[str, Any]:
        """Run an operation. Raises UnavailableError when the server does not answer it."""
        body = {"query": operation, "variables": {**variables, "space": self._space}}
        try:
            reply = await self._client.post("/graphql", json=body)
            found = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(f"the demo's server does not answer: {error!r}") from error
        if "errors" in found:
            raise UnavailableError(f"the demo's server answers {found['errors'][0]['message']}")
        return found["data"]

    async def decisions(self, known_at: str | None = None) -> list[dict[str, Any]]:
        """List the decisions, as known at an instant."""
        as_of = None if known_at is None else {"knownAt": known_at}
        found = await self.ask(_LIST, first=_LISTED_MAX, asOf=as_of)
        return [edge["node"] for edge in found["decisions"]["edges"]]


def _name(decision: Mapping[str, Any]) -> str:
    return f"{decision['key']} {decision['title']}" if decision.get("key") else str(decision["title"])


def _line(text: str, chars_max: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def _reasons(decision: Mapping[str, Any]) -> int:
    return sum(1 for one in decision["alternatives"] if one["rejectedBecause"])


def _words(decision: Mapping[str, Any]) -> int:
    return sum(len(decision[name] or "") for name in ("question", "choice", "rationale"))


async def _what_and_why(asker: Asker, decision: Mapping[str, Any]) -> Answered:
    """Ask why a decision was taken: the chain, line by line."""
    variables = {"id": decision["id"]}
    (chain,) = (await asker.ask(_WHY, **variables))["why"]
    roles = ("trigger", "question", "choice", "rationale", "evidence", "alternative")
    lines = [
        f"{'rejected' if one['role'] == 'alternative' else one['role']}: {_line(one['text'])}"
        for one in chain["lines"] if one["role"] in roles
    ]  # fmt: skip
    origins = sorted({one["source"]["origin"] for one in chain["lines"] if one["source"] is not None})
    lines.append(f"status: {chain['decision']['status'].lower()}; source: {', '.join(origins)}")
    return Answered(f"What was decided in {_name(decision)!r}, and why?", tuple(lines), _WHY, variables)


async def _what_superseded(asker: Asker, decision: Mapping[str, Any]) -> Answered:
    """Ask what took a decision's place, and what is in force now."""
    variables = {"id": decision["id"]}
    (chain,) = (await asker.ask(_WHY, **variables))["why"]
    lines = [f"superseded by: {_name(one)} ({one['status'].lower()})" for one in decision["supersededBy"]]
    lines.append("in force now: " + (", ".join(_name(one) for one in chain["inForce"]) or "nothing"))
    return Answered(f"What became of {_name(decision)!r}?", tuple(lines), _WHY, variables)


async def _what_was_rejected(asker: Asker, decision: Mapping[str, Any]) -> Answered:
    """Ask which alternatives fell, and why."""
    variables = {"id": decision["id"]}
    (chain,) = (await asker.ask(_WHY, **variables))["why"]
    lines = [f"rejected: {_line(one['text'])}" for one in chain["lines"] if one["role"] == "alternative"]
    question = f"What was rejected when {_name(decision)!r} was decided, and why?"
    return Answered(question, tuple(lines), _WHY, variables)


async def _status_before(asker: Asker, decision: Mapping[str, Any]) -> Answered | None:
    """Ask how a superseded decision stood just before that was known; None when it never stood otherwise."""
    found = await asker.ask(_STATUSES, key=decision["id"])
    moments = sorted({edge["node"]["recordedAt"] for edge in found["timeline"]["edges"]}, key=parse_instant)
    if len(moments) < 2:  # noqa: PLR2004 - one status has no before
        return None
    then = iso(parse_instant(moments[-1]) - timedelta(microseconds=1))
    variables = {"id": decision["id"], "asOf": {"knownAt": then}}
    before = (await asker.ask(_THEN, **variables))["decision"]
    now = (await asker.ask(_THEN, id=decision["id"], asOf=None))["decision"]
    lines = [f"known at {then}: {before['status'].lower()}", f"known now: {now['status'].lower()}"]
    lines += [f"superseded by: {_name(one)}" for one in now["supersededBy"]]
    return Answered(f"What was known of {_name(decision)!r} at {then}?", tuple(lines), _THEN, variables)


async def _known_then(asker: Asker, decisions: Sequence[Mapping[str, Any]], *, history: bool) -> Answered:
    """Ask which decisions were known half way through the records."""
    moments = sorted((one["recordedAt"] for one in decisions), key=parse_instant)
    then = moments[(len(moments) - 1) // 2]
    variables = {"first": _LISTED_MAX, "asOf": {"knownAt": then}}
    known = {one["id"] for one in await asker.decisions(then)}
    later = [one for one in decisions if one["id"] not in known]
    lines = [f"known at {then}: {len(known)} of {len(decisions)} decisions"]
    if later:
        lines.append("not known yet: " + "; ".join(_name(one) for one in later[:3]) + (" …" if later[3:] else ""))
    lines.append(
        "recorded time is the commit's, from the git history"
        if history
        else "there is no git history here, so a record was known from the moment it was read in"
    )
    return Answered(f"Which decisions were known at {then}?", tuple(lines), _LIST, variables)


async def answers(asker: Asker, *, history: bool) -> tuple[Answered, ...]:
    """Choose three questions by what the records hold, and ask them.

    Raises:
        InvalidError: code ``demo.data_missing``; there is no decision to ask about.
    """
    decisions = await asker.decisions()
    if not decisions:
        raise InvalidError("the space holds no decision to ask about", code="demo.data_missing")
    standing = [one for one in decisions if one["status"] == "ACCEPTED"] or decisions
    first = max(standing, key=lambda one: (_reasons(one), _words(one)))
    others = [one for one in standing if one["id"] != first["id"]] or standing
    superseded = [one for one in decisions if one["supersededBy"]]
    if superseded:
        second = await _what_superseded(asker, superseded[0])
    else:
        second = await _what_was_rejected(asker, max(others, key=lambda one: (_reasons(one), _words(one))))
    third = None
    for one in superseded:
        third = third or await _status_before(asker, one)
    return (
        await _what_and_why(asker, first),
        second,
        third or await _known_then(asker, decisions, history=history),
    )


def _listen(port: int | None, default_port: int) -> socket.socket:
    """Bind the port asked for, or, when none was, the usual one or any that is free.

    Raises:
        InvalidError: code ``setting.invalid`` when the port asked for cannot be had.
    """
    tried = (default_port, 0) if port is None else (port,)
    failure: Exception | None = None
    for number in tried:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, number))
            listener.listen()
        except (OSError, OverflowError) as error:
            listener.close()
            failure = error
        else:
            listener.setblocking(False)
            return listener
    msg = f"port {tried[0]} of {_HOST} cannot be bound: {failure}; leave --port out for any that is free"
    raise InvalidError(msg, code="setting.invalid", port=tried[0])


@asynccontextmanager
async def _serving(memory: Memory, listener: socket.socket) -> AsyncGenerator[asyncio.Task[None]]:
    """Serve *memory* while the block runs; the task ends when the process is asked to stop."""
    config = uvicorn.Config(
        create_app(memory), log_level="warning", access_log=False, server_header=False, ws="websockets-sansio",
        ws_max_size=BODY_BYTES_MAX, timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(_START_S):
            while not server.started and not running.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        if running.done():
            raise UnavailableError("the demo's server did not start; see the lines above")
        yield running
    finally:
        server.should_exit = True
        await running


async def run_demo(
    call: Call, story: Story, *, port: int | None, default_port: int, leave: bool, answered: Callable[[], None]
) -> None:  # fmt: skip
    """Load *story*, serve, ask, print, say so to *answered*; then serve on unless *leave*.

    Raises:
        LatewoodError: the records are not there, the port is taken, the database cannot be had.
    """
    listener = _listen(port, default_port)
    try:
        if call.given["db"] is not None:
            await _demonstrate(call, call.db, story, listener, leave=leave, answered=answered)
            return
        with tempfile.TemporaryDirectory(prefix="latewood-demo-") as temporary:
            await _demonstrate(call, str(Path(temporary) / "demo.db"), story, listener, leave=leave, answered=answered)
    finally:
        listener.close()


async def _demonstrate(
    call: Call, db: str, story: Story, listener: socket.socket, *, leave: bool, answered: Callable[[], None]
) -> None:  # fmt: skip
    async with Memory.open(db, space=call.space, by=call.given["by"] or _ACTOR, sync=call.settings.sync) as memory:
        with call.progress("reading") as move:
            loaded = await story.load(memory, move)
        url = f"http://{_HOST}:{listener.getsockname()[1]}"
        async with _serving(memory, listener) as running:
            async with httpx.AsyncClient(base_url=url, timeout=_ASK_S, trust_env=False) as client:
                found = await story.ask(Asker(client, call.space))
            _print(call, found, loaded, url, db)
            answered()
            if not leave:
                if not call.as_json:
                    call.screen.note("serving on; stop with Ctrl-C (--exit stops here)")
                await running


def _print(call: Call, found: Sequence[Answered], loaded: Loaded, url: str, db: str) -> None:
    if call.as_json:
        questions = [
            {"question": one.question, "answer": list(one.answer), "operation": one.operation,
             "variables": dict(one.variables)}
            for one in found
        ]  # fmt: skip
        print_json(
            {
                "graphql": f"{url}/graphql", "db": db, **loaded.fields, "questions": questions,
            }
        )  # fmt: skip
        return
    screen = call.screen
    screen.say(loaded.said)
    for place, one in enumerate(found, 1):
        screen.say()
        screen.say(f"{place}. {one.question}", style="bold")
        for line in one.answer:
            screen.say(line, indent=3)
    screen.say()
    screen.say(f"Ask more in GraphiQL: {url}/graphql", style="bold")
