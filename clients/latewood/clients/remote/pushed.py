"""What a server pushes: server-sent events, as GraphQL over SSE has them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, cast

from latewood.clients.remote.transport import error_of
from latewood.graph_schema.errors import CorruptError

__all__ = ["pushed"]

_OK: Final = 200


async def pushed(lines: AsyncGenerator[str]) -> AsyncGenerator[Mapping[str, Any]]:
    """Yield the data of each event until the server completes the stream.

    Raises:
        LatewoodError: what the server says went wrong.
    """
    event, data = "", list[str]()
    async with aclosing(lines):
        async for line in lines:
            if line.startswith("event:"):
                event = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                data.append(line.removeprefix("data:").removeprefix(" "))
            elif not line:
                if event == "complete":
                    return
                if event == "next":
                    yield _said("\n".join(data))
                event, data = "", []


def _said(text: str) -> Mapping[str, Any]:
    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise CorruptError("a pushed row is no JSON", code="remote.malformed") from error
    document = cast("Mapping[str, Any]", found if isinstance(found, dict) else {})
    errors = document.get("errors")
    if errors:
        raise error_of(errors[0], _OK)
    data = document.get("data")
    if not isinstance(data, dict):
        raise CorruptError("a pushed row has no data", code="remote.malformed")
    return cast("Mapping[str, Any]", data)
