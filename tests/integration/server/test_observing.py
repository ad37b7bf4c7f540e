"""What the server tells of itself, without a word of what it was told; and what it does with what takes too long."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog
from integration.server.test_identity import OBSERVE, SPACES, guarded
from opentelemetry.metrics import NoOpMeter
from starlette.types import Message, Receive, Scope, Send

from latewood.memory.counting import Counts
from latewood.server import guard
from latewood.server.observing import Metrics
from latewood.server.throttle import Throttle

LINE = re.compile(r"[a-z_]+(\{([a-z]+=\"[^\"]*\",?)+\})? [0-9.e+-]+")


def number(text: str, name: str) -> float:
    (line,) = (one for one in text.splitlines() if one.startswith(name + " "))
    return float(line.rpartition(" ")[2])


async def test_counts_are_what_prometheus_reads(served: Any) -> None:
    await served.ask(SPACES)
    for path in ("/wp-admin", "/a", "/b", "/graphql/x"):
        await served.client.get(path)
    response = await served.client.get("/metrics")
    text = response.text

    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert all(LINE.fullmatch(one) for one in text.splitlines() if not one.startswith("#")), text
    assert number(text, 'latewood_requests_total{path="/graphql",method="POST",status="200"}') == 1
    assert number(text, 'latewood_requests_total{path="other",method="GET",status="404"}') == 3
    assert "wp-admin" not in text
    assert number(text, 'latewood_request_seconds_bucket{path="/graphql",le="+Inf"}') == number(text, 'latewood_request_seconds_count{path="/graphql"}')  # fmt: skip
    assert number(text, "latewood_requests_running") == 1


def test_buckets_hold_what_took_no_longer() -> None:
    metrics = Metrics(lambda: 7)
    for seconds in (0.005, 0.006, 3.0, 60.0):
        metrics.see("/mcp", "BREW", 200, seconds)
    text = metrics.text()

    assert [number(text, f'latewood_request_seconds_bucket{{path="/mcp",le="{bound}"}}') for bound in ("0.005", "0.01", "2.5", "5.0", "+Inf")] == [1, 2, 2, 3, 4]  # fmt: skip
    assert number(text, 'latewood_requests_total{path="/mcp",method="other",status="200"}') == 4
    assert number(text, "latewood_writes_waiting") == 7


async def test_writes_refusals_and_recalls_are_counted(tmp_path: Path) -> None:
    async with guarded(tmp_path) as asked:
        admin, writer = await asked.key("admin"), await asked.key("read", "write")

        async def counted() -> dict[str, float]:
            text = (await asked.served.client.get("/metrics", headers={"authorization": f"Bearer {admin}"})).text
            assert all(LINE.fullmatch(one) for one in text.splitlines() if not one.startswith("#")), text
            return {one.rpartition(" ")[0]: float(one.rpartition(" ")[2]) for one in text.splitlines() if one[0] != "#"}

        before = await counted()
        for _ in range(2):
            await asked.post(writer, OBSERVE.replace("by: $by", 'by: $by, idempotencyKey: "k"'))
        await asked.code(writer, 'mutation { retract(input: {fact: "0197d4a0-0000-7000-8000-000000000000"}) { id } }')
        await asked.code(admin, SPACES.replace("spaces { name }", 'recall(query: "late") { hits { __typename } }'))
        await asked.post(writer, '{ recall(query: "late") { hits { __typename } } }')
        after = await counted()

    names = [
        *(f'latewood_writes_total{{outcome="{one}"}}' for one in ("stored", "replayed", "refused")),
        'latewood_refusals_total{code="credential.scope"}', 'latewood_verb_seconds_count{verb="recall"}',
    ]  # fmt: skip
    assert [after[name] - before.get(name, 0) for name in names] == [1, 1, 1, 1, 2]


class Told(NoOpMeter):
    """A meter that keeps what it is told, as an SDK would export it."""

    def __init__(self) -> None:
        super().__init__("test")
        self.said: dict[str, list[tuple[float, Any]]] = {}
        self.looked: dict[str, Any] = {}

    def _instrument(self, name: str) -> Any:
        said = self.said.setdefault(name, [])

        def take(value: float, attributes: Any) -> None:
            said.append((value, attributes))

        return SimpleNamespace(add=take, record=take)

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        return self._instrument(name)

    def create_histogram(self, name: str, unit: str = "", description: str = "", **_more: Any) -> Any:
        return self._instrument(name)

    def create_observable_gauge(self, name: str, callbacks: Any = None, unit: str = "", description: str = "") -> Any:
        self.looked[name] = lambda: next(iter(callbacks[0](None))).value


def test_opentelemetry_is_told_the_same_numbers() -> None:
    meter = Told()
    counts = Counts(meter)
    shown = Metrics(lambda: 7, counts, meter)
    shown.running = 2
    shown.see("/mcp", "BREW", 200, 3.0)
    counts.wrote("stored")
    counts.refused("trust.too_low")
    counts.took("recall", 0.25, "query.invalid")
    text = shown.text()

    assert meter.said == {
        "http.server.request.duration": [(3.0, {"http.request.method": "other", "http.route": "/mcp", "http.response.status_code": 200})],
        "latewood.writes": [(1, {"latewood.outcome": "stored"})], "latewood.refusals": [(1, {"error.type": "trust.too_low"})],
        "latewood.verb.duration": [(0.25, {"latewood.verb": "recall", "error.type": "query.invalid"})],
    }  # fmt: skip
    assert {name: look() for name, look in meter.looked.items()} == {"latewood.requests.running": 2, "latewood.writes.waiting": 7}  # fmt: skip
    assert number(text, 'latewood_writes_total{outcome="stored"}') == number(text, 'latewood_refusals_total{code="trust.too_low"}') == 1  # fmt: skip
    assert number(text, 'latewood_verb_seconds_sum{verb="recall"}') == 0.25


async def test_counts_take_the_scope_admin(tmp_path: Path) -> None:
    async with guarded(tmp_path) as asked:
        for scope, status in (("read", 403), ("admin", 200)):
            key = await asked.key(scope)
            response = await asked.served.client.get("/metrics", headers={"authorization": f"Bearer {key}"})
            assert response.status_code == status


async def test_a_request_is_a_line_without_secrets_and_words(tmp_path: Path) -> None:
    async with guarded(tmp_path, log=True) as asked:
        key = await asked.key("write")
        with structlog.testing.capture_logs() as lines:
            await asked.post(key, OBSERVE)
            await asked.post(key[:-1] + "x", SPACES)
        told = [line for line in lines if line["event"] == "request"]

        assert [(line["path"], line["status"], line["tenant"]) for line in told] == [("/graphql", 200, "acme"), ("/graphql", 401, None)]  # fmt: skip
        assert told[0]["credential"] == f"key:{asked.made[0].key.id}"
        written = json.dumps(lines)
        assert key[16:] not in written
        assert "carrier" not in written


async def test_health_shows_a_tenant_its_own_spaces(tmp_path: Path) -> None:
    async with guarded(tmp_path) as asked:
        await asked.served.memory.within(tenant="blue").create_space("secret-plans")
        for tenant, seen in (("acme", False), ("blue", True)):
            key = await asked.key("read", tenant=tenant)
            found = await asked.served.client.get("/health", headers={"authorization": f"Bearer {key}"})
            assert ("secret-plans" in found.text) is seen
        writer = await asked.served.client.get(
            "/health", headers={"authorization": f"Bearer {await asked.key('write')}"}
        )
        assert set(writer.json()) == {"status", "version"}


async def asgi(app: Any, receive: Any = None) -> list[Message]:
    sent: list[Message] = []

    async def take(message: Message) -> None:
        sent.append(message)

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": [(b"host", b"localhost")], "query_string": b""}
    await app(scope, receive or nothing, take)
    return sent


async def test_an_answer_that_does_not_begin_in_time_is_given_up() -> None:
    async def slow(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    sent = await asgi(Throttle(slow, request_s=0.05))

    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"retry-after"] == b"5"
    assert json.loads(sent[1]["body"])["errors"][0]["extensions"]["code"] == "request.timeout"


async def test_a_stream_that_began_may_go_on() -> None:
    async def streams(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"done"})

    sent = await asgi(Throttle(streams, request_s=0.05))

    assert [one.get("status", one.get("body")) for one in sent] == [200, b"done"]


async def test_a_time_out_of_the_works_own_is_not_taken_for_ours() -> None:
    async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await asgi(Throttle(fails, request_s=5))


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_WAIT_S", 0.05)

    async def never() -> Message:
        return await asyncio.get_running_loop().create_future()

    async def unreached(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError

    sent = await asgi(guard.Guard(unreached), never)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["errors"][0]["extensions"]["code"] == "request.timeout"


async def test_a_client_that_hangs_up_mid_write_loses_nothing(served: Any) -> None:
    body = json.dumps({"query": OBSERVE}).encode()
    head = (
        b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % len(body)
    )
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head + body)
        await writer.drain()
        writer.close()
    for _ in range(200):
        if len((await served.memory.timeline("carrier:A")).items if await there(served) else ()) == 20:
            break
        await asyncio.sleep(0.05)

    assert len((await served.memory.timeline("carrier:A")).items) == 20
    assert (await served.memory.verify()).ok
    assert (await served.client.get("/health")).status_code == 200


async def there(served: Any) -> bool:
    return bool(await served.memory.find("carrier"))


async def test_one_callers_requests_at_once_are_bounded(tmp_path: Path) -> None:
    async with guarded(tmp_path, at_once=1) as asked:
        key = await asked.key("read")
        answers: list[httpx.Response] = await asyncio.gather(*(asked.post(key, SPACES) for _ in range(20)))
        refused = [one for one in answers if one.status_code == 429]

        assert any(one.status_code == 200 for one in answers)
        assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
        assert (await asked.post(key, SPACES)).status_code == 200
