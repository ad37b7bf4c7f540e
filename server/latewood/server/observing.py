"""What the server tells of itself: a log line and a span for each request, and counts for Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from opentelemetry import trace
from opentelemetry.metrics import Meter, Observation
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latewood.memory.counting import COUNTS, METER, Counts, Times
from latewood.server.identity import SEEN

__all__ = ["Metrics", "Observed"]

_PATHS: Final = ("/graphql", "/mcp", "/v1/traces", "/events", "/health", "/metrics", "/.well-known")
_FAULT: Final = 500
_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("latewood.server")


def _path_of(path: str) -> str:
    """Return a path's name for counting: one of ours, since a stranger can make up as many as there are."""
    return next((known for known in _PATHS if path == known or path.startswith(known + "/")), "other")


class Metrics:
    """Counts since the process began, in the text format of Prometheus."""

    def __init__(self, waiting: Callable[[], int], counts: Counts = COUNTS, meter: Meter = METER) -> None:
        """Count, and tell *meter*; *waiting* tells how many writes wait, *counts* what memory does."""
        self._waiting = waiting
        self._counts = counts
        self._answers: Counter[tuple[str, str, int]] = Counter()
        self._times: dict[str, Times] = {}
        self.running = 0
        self._told = meter.create_histogram("http.server.request.duration", "s", "Time until an answer was whole.")
        meter.create_observable_gauge(
            "latewood.requests.running",
            [lambda _: [Observation(self.running)]],
            "{request}",
            "Open requests and sockets.",
        )
        meter.create_observable_gauge(
            "latewood.writes.waiting", [lambda _: [Observation(self._waiting())]], "{unit}", "Writes that wait."
        )

    def see(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        method = method if method in ("GET", "POST", "OPTIONS", "DELETE", "WS") else "other"
        self._answers[path, method, status] += 1
        self._times.setdefault(path, Times()).see(seconds)
        said = {"http.request.method": method, "http.route": path, "http.response.status_code": status}
        self._told.record(seconds, said)

    def text(self) -> str:
        """Write everything down."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# HELP latewood_requests_total Requests answered."
        yield "# TYPE latewood_requests_total counter"
        for (path, method, status), count in sorted(self._answers.items()):
            yield f'latewood_requests_total{{path="{path}",method="{method}",status="{status}"}} {count}'
        yield "# HELP latewood_request_seconds Time until an answer was whole."
        yield "# TYPE latewood_request_seconds histogram"
        for path, times in sorted(self._times.items()):
            yield from times.lines("latewood_request_seconds", f'path="{path}"')
        yield "# HELP latewood_requests_running Requests and sockets that are open."
        yield "# TYPE latewood_requests_running gauge"
        yield f"latewood_requests_running {self.running}"
        yield "# HELP latewood_writes_waiting Writes that wait to be committed."
        yield "# TYPE latewood_writes_waiting gauge"
        yield f"latewood_writes_waiting {self._waiting()}"
        yield from self._counts.lines()


class Observed:
    """Watches each request go through; it never sees what is in it."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, log: bool) -> None:
        """Stand before *app*; *log* writes a line for each request."""
        self._app = app
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and tell of it afterwards."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        method = scope.get("method", "WS")
        path = _path_of(scope["path"])
        status = 101 if method == "WS" else _FAULT
        begun = time.perf_counter()

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.close" and method == "WS":
                status = message.get("code", 1000)
            await send(message)

        self._metrics.running += 1
        # What an exception says may hold users' words.
        with _tracer.start_as_current_span(
            f"{method} {path}", kind=SpanKind.SERVER, record_exception=False, set_status_on_exception=False,
            attributes={"http.request.method": method, "url.path": path},
        ) as span:  # fmt: skip
            try:
                await self._app(scope, receive, sent)
            finally:
                seconds = time.perf_counter() - begun
                self._metrics.running -= 1
                self._metrics.see(path, method, status, seconds)
                known = scope.get(SEEN)
                span.set_attribute("http.response.status_code", status)
                if known is not None:
                    span.set_attribute("enduser.id", known.id)
                if _FAULT <= status < 2 * _FAULT:
                    span.set_status(StatusCode.ERROR)
                if self._log:
                    _log.info(
                        "request", method=method, path=path, status=status, ms=round(seconds * 1_000, 1),
                        credential=None if known is None else known.id,
                        tenant=None if known is None else known.tenant,
                    )  # fmt: skip
