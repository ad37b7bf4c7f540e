"""Who may speak to the server, where it binds, and how it stops."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from latewood.graph_schema.errors import InvalidError
from latewood.server.serve import run_server

QUERY = json.dumps({"query": "{ spaces { name } }"})


async def send(served: Any, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await served.client.post("/graphql", content=QUERY, headers={"content-type": "application/json", **named})


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1", "127.9.9.9:1", "[::1]:8000", "LOCALHOST."]
)
async def test_this_machine_is_served(served: Any, host: str) -> None:
    assert (await send(served, host=host)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "0.0.0.0",  # noqa: S104
             "[::2]", "[", ""],
)  # fmt: skip
async def test_a_foreign_host_is_refused(served: Any, host: str) -> None:
    response = await send(served, host=host)
    # A name with a bracket alone is refused by the HTTP parser or by the guard.
    assert response.status_code in (400, 403)
    health = await served.client.get("/health", headers={"host": host})
    assert health.status_code in (400, 403)


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:3000", 200), ("http://127.0.0.1", 200), ("https://[::1]:9", 200), ("https://evil.example", 403),
     ("null", 403), ("file://", 403), ("http://localhost.evil.example", 403), ("http://[", 403)],
)  # fmt: skip
async def test_pages_of_other_sites_are_refused(served: Any, origin: str, status: int) -> None:
    response = await send(served, origin=origin)
    assert response.status_code == status
    if status == 403:
        error = response.json()["errors"][0]
        assert error["extensions"]["branch"] == "refused"
        assert error["extensions"]["code"] == "origin.refused"
        assert "may not call" in error["message"]


async def test_a_page_elsewhere_may_link_here_but_not_embed(served: Any) -> None:
    linked = await served.client.get(
        "/graphql", headers={"accept": "text/html", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    )
    embedded = await send(served, sec_fetch_site="cross-site", sec_fetch_mode="no-cors")

    assert linked.status_code == 200
    assert embedded.status_code == 403


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"host": "evil.example"}])
async def test_sockets_of_other_sites_are_refused(served: Any, headers: dict[str, str]) -> None:
    with pytest.raises((websockets.InvalidStatus, websockets.InvalidMessage)) as caught:
        async with websockets.connect(
            f"ws://127.0.0.1:{served.port}/graphql", subprotocols=["graphql-transport-ws"], additional_headers=headers
        ):
            pass
    if isinstance(caught.value, websockets.InvalidStatus):
        assert caught.value.response.status_code in (400, 403)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", "", "localhost.example.com"])  # noqa: S104
def test_no_other_host_is_bound(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidError, match="loopback only") as caught:
        run_server(str(tmp_path / "t.db"), host)

    assert caught.value.code == "setting.invalid"
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InvalidError, match=f"port {port}") as caught:
            run_server(str(tmp_path / "t.db"), port=port)

    assert caught.value.code == "setting.invalid"


async def test_answers_are_sent_at_once(served: Any) -> None:
    await send(served)
    # With Nagle's algorithm on, no answer comes before 40 ms; a busy machine needs some goes to be faster than that.
    took = 1.0
    for _ in range(200):
        began = time.perf_counter()
        await send(served)
        took = min(took, time.perf_counter() - began)
        if took < 0.035:
            break

    assert took < 0.035


def test_a_port_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="99999"):
        run_server(str(tmp_path / "t.db"), port=99_999)


@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_process_keeps_what_it_acknowledged(tmp_path: Path, wanted: signal.Signals) -> None:
    path = tmp_path / "t.db"
    program = (
        "import sys; from latewood.server.serve import run_server; "
        "run_server(sys.argv[1], port=0, by='agent:test', on_ready=lambda url: print(url, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            mutation = (
                'mutation { observe(input: {subject: "a:1", predicate: "p", value: 1}) { receipt { id state } } }'
            )
            answer = httpx.post(f"{url}/graphql", json={"query": mutation}, timeout=20).json()
            assert answer["data"]["observe"]["receipt"]["state"] == "stored"
            with httpx.stream(
                "POST", f"{url}/graphql", json={"query": "subscription { changes { seq } }"}, timeout=20,
                headers={"accept": "text/event-stream"},
            ) as stream:  # fmt: skip
                assert next(line for line in stream.iter_lines() if line.startswith("data:"))
                asked = time.monotonic()
                process.send_signal(wanted)
                process.wait(20)
                assert time.monotonic() - asked < 15
        finally:
            process.kill()

    # Closed in order: the write-ahead log was folded into the file and taken away.
    assert [found.name for found in tmp_path.iterdir()] == ["t.db"]
