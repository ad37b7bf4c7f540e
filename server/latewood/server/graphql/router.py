"""GraphQL over HTTP: https://graphql.github.io/graphql-over-http, with GraphiQL for browsers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from importlib.resources import files
from typing import Any, Final, cast

from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.websockets import WebSocket
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.exceptions import ConnectionRejectionError, MissingQueryError
from strawberry.http import GraphQLRequestData
from strawberry.http.base import BaseRequestProtocol
from strawberry.http.exceptions import NonJsonMessageReceived
from strawberry.http.types import QueryParams
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import SubscribeMessage
from strawberry.types.execution import ExecutionResult
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UNSET, UnsetType

from latewood.execution.webhooks import Targets
from latewood.graph_schema.errors import LatewoodError, NotFoundError
from latewood.memory.keys import Keys
from latewood.server.graphql.context import Context
from latewood.server.graphql.documents import TrustedDocuments
from latewood.server.graphql.limits import limit_error
from latewood.server.graphql.pushing import PushingRouter
from latewood.server.graphql.schema import schema
from latewood.server.guard import error_body
from latewood.server.identity import Callers, bearer_of, caller

__all__ = ["Router"]

_HOW: Final = {
    OperationType.QUERY: "a query is sent by GET or POST",
    OperationType.MUTATION: "a mutation is sent by POST",
    OperationType.SUBSCRIPTION: (
        "a subscription is sent over a WebSocket (graphql-transport-ws) or by POST with Accept: text/event-stream"
    ),
}

_RESPONSE: Final = "application/graphql-response+json"
_SUBSCRIPTIONS_MAX: Final = 20
"""Most subscriptions over one socket."""
_INIT_WAIT: Final = timedelta(seconds=10)
_PROTOCOLS: Final = ("graphql-transport-ws", "graphql-sse")


class _Socket(ASGIWebSocketAdapter):
    """A socket that is closed (4400) over a message whose parts are of the wrong kind, as over one that is no JSON."""

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object]:
        view = cast("object", self.view)  # pyright: ignore[reportUnknownMemberType]
        trusted = view.trusted if isinstance(view, Router) else None
        async for message in super().iter_json(ignore_parsing_errors=ignore_parsing_errors):
            if trusted is not None:
                # One that is unknown stays without a query, over which the socket is closed.
                with contextlib.suppress(NotFoundError):
                    _put_document(_payload(message), trusted)
            if not _is_message(message):
                raise NonJsonMessageReceived
            yield message


class _Operations(BaseGraphQLTransportWSHandler[Any, Any]):
    """The operations of one socket, which is told by a code and a way out when it asks for too many."""

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        if len(self.operations) < _SUBSCRIPTIONS_MAX or message["id"] in self.operations:
            await super().handle_subscribe(message)
            return
        words = f"a socket has at most {_SUBSCRIPTIONS_MAX} operations at a time; complete one, or open another socket"
        error = limit_error(words, "SUBSCRIPTIONS_MAX", _SUBSCRIPTIONS_MAX)
        await self.send_message({"id": message["id"], "type": "error", "payload": [error.formatted]})


def _put_document(request: object, trusted: TrustedDocuments) -> None:
    """Put the document that a request names by its id into it. Raises NotFoundError (``document.unknown``)."""
    if isinstance(request, dict):
        given = cast("dict[str, object]", request)
        name = given.get("documentId")
        if isinstance(name, str) and not given.get("query"):
            given["query"] = trusted.text(name)


def _payload(message: object) -> object:
    return cast("dict[str, object]", message).get("payload") if isinstance(message, dict) else None


def _is_message(message: object) -> bool:
    if not isinstance(message, dict):
        return False
    payload = cast("dict[str, object]", message).get("payload")
    if cast("dict[str, object]", message).get("type") != "subscribe" or not isinstance(payload, dict):
        return True
    given = cast("dict[str, object]", payload)
    words = isinstance(given.get("query"), str) and isinstance(given.get("operationName"), str | None)
    return words and isinstance(given.get("variables"), dict | None)


class Router(PushingRouter):
    """The endpoint: queries by GET and POST, mutations by POST, subscriptions by WebSocket or server-sent events."""

    websocket_adapter_class = _Socket
    graphql_transport_ws_handler_class = _Operations

    def __init__(
        self, callers: Callers, keys: Keys, trusted: TrustedDocuments | None = None,
        take: Callable[[str], int | None] | None = None, targets: Targets | None = None,
    ) -> None:  # fmt: skip
        """Serve whom *callers* knows; with *trusted*, a request may name a document by its id."""
        self.trusted = trusted
        self._callers = callers

        def context() -> Context:
            return Context(callers.open_memory(), keys, trusted, caller(), take, targets)

        super().__init__(
            schema, path="", context_getter=context, subscription_protocols=_PROTOCOLS,
            connection_init_wait_timeout=_INIT_WAIT, max_subscriptions_per_connection=_SUBSCRIPTIONS_MAX,
        )  # fmt: skip
        self._ide = self.graphql_ide_html.replace(
            "</body>", files("latewood.server.graphql").joinpath("offline.html").read_text("utf-8") + "</body>"
        )

    async def render_graphql_ide(self, request: Request) -> HTMLResponse:  # noqa: ARG002
        """Show GraphiQL; its scripts come from unpkg.com, and without the net a plain editor takes its place."""
        return HTMLResponse(self._ide)

    async def on_ws_connect(self, context: Context) -> UnsetType:
        """Let a socket in whose handshake had no credential, by the one that its connection_init has.

        Raises:
            ConnectionRejectionError: for none, and for one that does not count.
        """
        given = cast("dict[str, object]", context.connection_params or {})
        said = next((value for name, value in given.items() if name.lower() == "authorization"), None)
        if not isinstance(said, str):
            if context.known:
                return UNSET
            raise ConnectionRejectionError
        try:
            token = bearer_of(said)
            if token is not None:
                context.admit(await self._callers.admit(token))
        except LatewoodError as error:
            raise ConnectionRejectionError from error
        return UNSET

    def should_render_graphql_ide(self, request: BaseRequestProtocol) -> bool:
        """Show GraphiQL to a browser that asked for nothing else."""
        return "documentId" not in request.query_params and super().should_render_graphql_ide(request)

    def is_websocket_origin_allowed(self, request: WebSocket, origin: str) -> bool:  # noqa: ARG002
        """Leave it to the guard, which let only this machine's pages through."""
        return True

    def decode_json(self, data: str | bytes) -> object:
        """Read a body, a parameter or a socket's message.

        Raises:
            JSONDecodeError: for what is no JSON, is nested too deep, or holds NaN or a number of thousands of digits.
        """
        try:
            return cast("object", json.loads(data, parse_constant=_refuse_constant))
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error

    def parse_json(self, data: str | bytes) -> Any:
        """Read a body or a parameter.

        Raises:
            HTTPException: 400 for what is no JSON object.
        """
        try:
            found = self.decode_json(data)
        except json.JSONDecodeError as error:
            raise HTTPException(400, f"the request is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise HTTPException(400, "the request is no JSON object; batches of operations are not taken")
        self._trust(cast("dict[str, object]", found))
        return cast("object", found)

    def parse_query_params(self, params: QueryParams) -> dict[str, Any]:
        """Read the parameters of a GET. Raises HTTPException as `parse_json` does."""
        found = super().parse_query_params(params)
        self._trust(found)
        return found

    def _trust(self, request: dict[str, Any]) -> None:
        if self.trusted is None:
            return
        try:
            _put_document(request, self.trusted)
        except NotFoundError as error:
            raise HTTPException(400, error.message) from error

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData | list[GraphQLRequestData]:
        """Read a request.

        Raises:
            HTTPException: 400 for what is no GraphQL request.
        """
        found = await super().parse_http_body(request)
        # Declared a string, but nobody has looked.
        named = None if isinstance(found, list) else cast("object", found.operation_name)
        if not isinstance(named, str | None):
            raise HTTPException(400, "operationName must be a string")
        return found

    async def execute_single(
        self,
        request: Request,  # noqa: ARG002
        request_adapter: AsyncHTTPRequestAdapter,
        sub_response: Response,  # noqa: ARG002
        context: Context,
        root_value: None,  # noqa: ARG002
        request_data: GraphQLRequestData,
    ) -> ExecutionResult:
        """Run one operation that is answered at once.

        Raises:
            HTTPException: 400 for a mutation by GET, for a subscription that asked for no stream, and without a query.
        """
        allowed = {OperationType.QUERY, OperationType.MUTATION}
        try:
            return await self.schema.execute(
                request_data.query, variable_values=request_data.variables, context_value=context,
                operation_name=request_data.operation_name,
                allowed_operation_types=allowed if request_adapter.method == "POST" else {OperationType.QUERY},
            )  # fmt: skip
        except InvalidOperationTypeError as error:
            raise HTTPException(400, _HOW[error.operation_type]) from error
        except (CannotGetOperationTypeError, MissingQueryError) as error:
            raise HTTPException(400, "the request has no query, or none of the operation's name") from error

    async def run(self, request: Any, context: Any = None, root_value: Any = None) -> Any:
        """Answer in the media type that is asked for; what goes wrong before GraphQL runs is JSON as well."""
        # The base's overloads do not name their types to a checker.
        answer = cast("Callable[..., Awaitable[object]]", super().run)
        try:
            response = await answer(request, context=context, root_value=root_value)
        except HTTPException as error:
            code = error.__cause__.code if isinstance(error.__cause__, NotFoundError) else "query.invalid"
            return Response(error_body(error.reason, code), error.status_code, media_type="application/json")
        # Streams, GraphiQL's page and sockets are something else than a plain response.
        if type(response) is not Response or _RESPONSE not in request.headers.get("accept", ""):
            return response
        body = cast("dict[str, Any]", json.loads(bytes(response.body)))
        status = response.status_code
        if body.get("data") is None and not any("path" in error for error in body.get("errors") or ()):
            # Nothing ran: the document was not valid.
            body.pop("data", None)
            status = 400
        return Response(json.dumps(body, separators=(",", ":")), status, media_type=_RESPONSE)


def _refuse_constant(name: str) -> object:
    msg = f"{name} is no JSON"
    raise ValueError(msg)
