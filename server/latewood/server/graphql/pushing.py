"""Server-sent events that end when their reader leaves.

A subscription is a chain of generators, from the ledger to the socket. When a reader leaves, the last of them is
dropped where it stands, and the others with it: each would be closed whenever Python comes to it, in any order, go on
costing until then, and be logged as a fault. Here they are closed at once, from the socket to the ledger.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, cast

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from strawberry.fastapi import GraphQLRouter

from latewood.server.graphql.context import Context

__all__ = ["PushingRouter"]


class _Ending(StreamingResponse):
    """Closes what it sends from, however the sending ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Who left has cancelled this task; closing takes a few steps of its own.
            with anyio.CancelScope(shield=True):
                await cast("AsyncGenerator[str]", self.body_iterator).aclose()


class PushingRouter(GraphQLRouter[Context, None]):
    """A router whose streams end with their readers."""

    def _stream_result(self, request: Any, result: Any, transport: Any) -> Callable[[], AsyncGenerator[str]]:
        merged = super()._stream_result(request, result, transport)

        async def stream() -> AsyncGenerator[str]:
            # The events come from a task of their own. It is ended first, so that nothing runs in what is below it.
            async with aclosing(result), aclosing(merged()) as events:
                async for event in events:
                    yield event

        return stream

    async def create_streaming_response(
        self, request: Request, stream: Callable[[], AsyncIterator[str]], sub_response: Response,  # noqa: ARG002
        headers: Mapping[str, str],
    ) -> Response:  # fmt: skip
        """Answer with what *stream* yields."""
        status = sub_response.status_code or 200
        return _Ending(stream(), status_code=status, headers={**sub_response.headers, **headers})
