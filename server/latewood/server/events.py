"""CloudEvents 1.0 in: `POST /events`, so that a system of record tells what became of its entities as it happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from latewood.graph_schema.clock import parse_instant
from latewood.graph_schema.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    LatewoodError,
    NotFoundError,
    RefusedError,
)
from latewood.graph_schema.values import Json
from latewood.memory import Memory
from latewood.memory.credentials import BoundMemory
from latewood.memory.json import as_json
from latewood.memory.receiving import EntityChange, note_refusal, receive_change
from latewood.server.identity import Callers

__all__ = ["EVENTS_MAX", "EventsIn"]

EVENTS_MAX: Final = 100
"""Most events of a batch."""
_ONE: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch+json"
_CHARS_MAX: Final = 1_000
_PREFIX: Final = "ce-"


class EventsIn:
    """The receiver; each event of a batch is kept or refused for itself."""

    def __init__(self, callers: Callers) -> None:
        """Receive for whoever asks."""
        self._callers = callers

    async def __call__(self, request: Request) -> Response:
        """Answer one request with a receipt, or with one for each event of a batch."""
        memory = self._callers.memory().within(space=request.query_params.get("space"))
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await request.body()
        try:
            found = _json(body)
            if kind != _BATCH:
                return JSONResponse(as_json(await _keep(memory, _event(request, kind, found))))
            if not isinstance(found, list) or len(cast("list[object]", found)) > EVENTS_MAX:
                msg = f"a batch is a list of at most {EVENTS_MAX} events"
                raise InvalidError(msg, code="event.malformed")
        except LatewoodError as error:
            if error.branch == "refused" and not isinstance(error, NotFoundError):
                await note_refusal(memory, error, body)
            wait = {"retry-after": "1"} if error.branch == "unavailable" else None
            return JSONResponse({"error": _told(error)}, _status(error), headers=wait)
        return JSONResponse(await _each(memory, cast("list[object]", found), body))


async def _each(memory: Memory, listed: list[object], body: bytes) -> list[dict[str, Json]]:
    answers: list[dict[str, Json]] = []
    noted: str | None = None
    for one in listed:
        try:
            answers.append({"receipt": as_json(await _keep(memory, _structured(one)))})
        except LatewoodError as error:
            # What no event was made of is kept once for a batch, which may hold many such.
            if error.branch == "refused" and "receipt" not in error.details:
                noted = noted or await note_refusal(memory, error, body)
                error.details["receipt"] = noted
            answers.append({"error": _told(error)})
    return answers


async def _keep(memory: Memory, change: EntityChange) -> object:
    by = None if isinstance(memory, BoundMemory) else memory.default_actor()
    return await receive_change(memory, change, by=by)


def _told(error: LatewoodError) -> dict[str, Json]:
    return {"code": error.code, "message": error.message, "branch": error.branch, "details": as_json(error.details)}


def _status(error: LatewoodError) -> int:
    known = {NotFoundError: 404, ConflictError: 409, ForbiddenError: 403}
    for kind, status in known.items():
        if isinstance(error, kind):
            return status
    return 400 if isinstance(error, RefusedError) else 503 if error.branch == "unavailable" else 500


def _json(body: bytes) -> object:
    def refuse(name: str) -> object:
        raise ValueError(name)

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"the event is no JSON: {error}", code="event.malformed") from error


def _event(request: Request, kind: str, found: object) -> EntityChange:
    """Read a single event, whose attributes are in the headers (binary mode) or beside its data (structured)."""
    if kind == _ONE:
        return _structured(found)
    if kind != "application/json":
        msg = f"the content type is {kind[:80]!r}; it is application/json with ce- headers, {_ONE} or {_BATCH}"
        raise InvalidError(msg, code="event.malformed")
    named = {
        name[len(_PREFIX) :]: unquote(value) for name, value in request.headers.items() if name.startswith(_PREFIX)
    }
    return _change(named, found)


def _structured(found: object) -> EntityChange:
    if not isinstance(found, dict):
        raise InvalidError("an event is a JSON object", code="event.malformed")
    event = cast("dict[str, object]", found)
    if "data_base64" in event or event.get("datacontenttype", "application/json") != "application/json":
        raise InvalidError("the data of an event is JSON (application/json)", code="event.malformed")
    return _change(event, event.get("data"))


def _change(named: Mapping[str, object], data: object) -> EntityChange:
    def text(name: str) -> str:
        given = named.get(name)
        if not isinstance(given, str) or not given.strip() or len(given) > _CHARS_MAX:
            msg = f"an event needs {name}: a text of 1 to {_CHARS_MAX:,} characters"
            raise InvalidError(msg, code="event.malformed", attribute=name)
        return given

    if text("specversion") != "1.0":
        msg = f"the event is of CloudEvents {text('specversion')[:20]!r}; 1.0 is read"
        raise InvalidError(msg, code="event.malformed", attribute="specversion")
    if not isinstance(data, dict) or not data:
        msg = 'the data of an event is an object of predicates and values: {"status": "probation"}'
        raise InvalidError(msg, code="event.malformed", attribute="data")
    at = None if named.get("time") is None else parse_instant(text("time"))
    values = cast("dict[str, Json]", data)
    return EntityChange(text("id"), text("source"), text("type"), text("subject"), at, values)
