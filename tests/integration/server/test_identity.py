"""Who may come in, as whom, and how much they may ask for: keys, tokens, hosts, pages, rates."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from integration.server.conftest import Served, serving
from jwt.algorithms import OKPAlgorithm

from latewood.graph_schema.errors import InvalidError, UnavailableError
from latewood.memory import Memory
from latewood.memory.keys import Keys, NewKey
from latewood.server.identity import Callers, Identity
from latewood.server.options import ServerOptions, read_options
from latewood.server.serve import bind, run_server

SPACES = "{ spaces { name } }"
OBSERVE = 'mutation($by: String) { observe(input: {subject: "carrier:A", predicate: "rate", value: 1, by: $by}) { id receipt { state } } }'
ENTITY = '{ entity(key: "carrier:A") { facts { value { data } source { id } } } }'


@dataclass
class Guarded:
    """A server that asks for credentials, over a store whose keys the test makes."""

    served: Served
    keys: Keys
    made: list[NewKey] = field(default_factory=list)

    async def key(self, *scopes: str, tenant: str = "acme", actor: str = "agent:a", **more: Any) -> str:
        new = await self.keys.create("test", tenant=tenant, actor=actor, scopes=scopes, by="human:root", **more)
        self.made.append(new)
        return new.secret

    async def post(self, secret: str | None, query: str, **variables: Any) -> httpx.Response:
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        body = {"query": query, "variables": variables}
        return await self.served.client.post("/graphql", json=body, headers=headers)

    async def code(self, secret: str | None, query: str, **variables: Any) -> str:
        (error,) = (await self.post(secret, query, **variables)).json()["errors"]
        return error["extensions"]["code"]


@asynccontextmanager
async def guarded(path: Path, **options: Any) -> AsyncIterator[Guarded]:
    async with (
        Memory.open(str(path / "t.db"), sync="normal", embedder="none") as memory,
        serving(memory, Counter(), options=ServerOptions(auth=True, **options)) as served,
    ):
        yield Guarded(served, Keys(memory))


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path) as found:
        yield found


async def test_nobody_comes_in_without_a_credential(asked: Guarded) -> None:
    for path in ("/graphql", "/mcp", "/metrics", "/v1/traces", "/nothing"):
        response = await asked.served.client.post(path, json={"query": SPACES})
        assert response.status_code == 401, path
        assert response.json()["errors"][0]["extensions"]["code"] == "credential.missing"
        assert response.headers["www-authenticate"].startswith('Bearer realm="latewood", resource_metadata="http://127.0.0.1:')  # fmt: skip
    first = await asked.served.client.get("/", headers={"accept": "text/html"})
    assert (first.status_code, first.headers["location"]) == (307, "graphql")
    page = await asked.served.client.get("/graphql", headers={"accept": "text/html"})
    assert (page.status_code, "GraphiQL" in page.text) == (200, True)
    assert (await asked.served.client.get("/graphql", params={"query": SPACES}, headers={"accept": "text/html"})).status_code == 401  # fmt: skip


async def test_strangers_learn_of_health_only_whether(asked: Guarded) -> None:
    stranger = (await asked.served.client.get("/health")).json()
    key = await asked.key("read")
    known = (await asked.served.client.get("/health", headers={"authorization": f"Bearer {key}"})).json()

    assert set(stranger) == {"status", "version"}
    assert stranger["status"] == known["status"] == "ok"
    assert "spaces" in known


@pytest.mark.parametrize(
    ("said", "code"),
    [("Bearer", "credential.invalid"), ("Basic YTpi", "credential.invalid"), ("Bearer x", "credential.invalid"),
     (f"Bearer lw_{'a' * 12}_{'A' * 43}", "credential.invalid"), ("Bearer a.b.c", "credential.invalid"), ("Bearer " + "x" * 9_000, "credential.invalid"),
     ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.", "credential.invalid")],
)  # fmt: skip
async def test_what_is_no_credential_is_refused(asked: Guarded, said: str, code: str) -> None:
    response = await asked.served.client.post("/graphql", json={"query": SPACES}, headers={"authorization": said})

    assert response.status_code == 401
    assert response.json()["errors"][0]["extensions"]["code"] == code
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_a_key_writes_as_its_actor_and_the_ledger_says_so(asked: Guarded) -> None:
    key = await asked.key("read", "write", actor="agent:planner", on_behalf_of="human:ada")
    assert (await asked.post(key, OBSERVE)).json()["data"]["observe"]["receipt"]["state"] == "stored"
    assert (await asked.post(key, OBSERVE, by="agent:planner")).status_code == 200
    assert await asked.code(key, OBSERVE, by="human:ada") == "credential.actor"
    (fact,) = (await asked.post(key, ENTITY)).json()["data"]["entity"]["facts"]
    assert fact["value"] == {"data": 1}
    feed = await asked.served.memory.within(tenant="acme").store.feed("default", "knowledge", 0)
    assert {entry.event.payload["key"] for entry in feed if entry.event.payload.get("kind") == "actor"} >= {"agent:planner"}  # fmt: skip


async def test_scopes_hold_for_every_way_in(asked: Guarded) -> None:
    reader, writer = await asked.key("read"), await asked.key("write")
    assert await asked.code(reader, OBSERVE) == "credential.scope"
    assert await asked.code(writer, SPACES) == "credential.scope"
    assert (await asked.post(writer, OBSERVE)).json()["data"]["observe"]["receipt"]["state"] == "stored"
    for query in ("{ keys { id } }", 'mutation { createKey(input: {name: "x", actor: "agent:x", scopes: [ADMIN]}) { secret } }', 'mutation { createSpace(input: {name: "x"}) { space { id } } }'):  # fmt: skip
        assert await asked.code(reader, query) == "credential.scope"


RECEIPT = "query($id: ID!) { receipt(id: $id) { state code } }"


async def test_what_was_refused_can_be_asked_after(asked: Guarded) -> None:
    writer, other = await asked.key("write"), await asked.key("read", tenant="blue")
    queries = (
        '{ a: spaces { name } b: recall(query: "x") { hits { __typename } } }',
        ENTITY,
        "{ keys { id } }",
        OBSERVE,
    )
    for query, key in zip(queries, (writer, writer, writer, await asked.key("read")), strict=True):
        errors = (await asked.post(key, query)).json()["errors"]
        (receipt,) = {error["extensions"]["details"]["receipt"] for error in errors}
        found = (await asked.post(key, RECEIPT, id=receipt)).json()["data"]["receipt"]
        assert found == {"state": "failed", "code": "credential.scope"}, query
        assert (await asked.post(other, RECEIPT, id=receipt)).json()["data"] == {"receipt": None}


async def test_keys_are_looked_after_over_graphql_in_ones_own_tenant(asked: Guarded) -> None:
    admin, other = await asked.key("admin", actor="human:ada"), await asked.key("admin", tenant="blue")
    make = 'mutation { createKey(input: {name: "ci", actor: "agent:ci", scopes: [READ, WRITE]}) { secret key { id tenant state endsAt scopes } } }'
    made = (await asked.post(admin, make)).json()["data"]["createKey"]
    assert made["key"] | {"id": "-"} == {"id": "-", "tenant": "acme", "state": "ACTIVE", "endsAt": None, "scopes": ["READ", "WRITE"]}  # fmt: skip
    assert (await asked.post(made["secret"], SPACES)).json() == {"data": {"spaces": [{"name": "default"}]}}
    revoke = "mutation($id: ID!) { revokeKey(input: {id: $id}) { state } }"
    rotate = "mutation($id: ID!) { rotateKey(input: {id: $id, graceHours: 0}) { secret } }"
    for query in (revoke, rotate):
        assert await asked.code(other, query, id=made["key"]["id"]) == "credential.unknown"
    new = (await asked.post(admin, rotate, id=made["key"]["id"])).json()["data"]["rotateKey"]["secret"]
    assert (await asked.post(made["secret"], SPACES)).status_code == 401
    listed = (await asked.post(admin, "{ keys { id name actor state } }")).json()["data"]["keys"]
    assert {(one["name"], one["state"]) for one in listed} == {("test", "ACTIVE"), ("ci", "ACTIVE"), ("ci", "REVOKED")}
    assert new[16:] not in json.dumps(listed)
    newest = listed[0]["id"]
    assert (await asked.post(admin, revoke, id=newest)).json()["data"]["revokeKey"]["state"] == "REVOKED"
    assert await asked.code(new, SPACES) == "credential.expired"


async def ws_says(asked: Guarded, payload: object, **headers: str) -> Any:
    address = f"ws://127.0.0.1:{asked.served.port}/graphql"
    async with websockets.connect(address, subprotocols=["graphql-transport-ws"], additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": SPACES}}))
        return json.loads(await socket.recv())


async def test_a_socket_shows_its_credential_first(asked: Guarded) -> None:
    key = await asked.key("read")
    for payload, headers in (
        ({"Authorization": f"Bearer {key}"}, {}), ({"authorization": f"bearer {key}"}, {}),
        ({}, {"authorization": f"Bearer {key}"}),
    ):  # fmt: skip
        assert (await ws_says(asked, payload, **headers))["payload"]["data"] == {"spaces": [{"name": "default"}]}
    for payload in ({}, {"authorization": "Bearer x"}, {"authorization": 5}):
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            await ws_says(asked, payload)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4403
    with pytest.raises(websockets.InvalidStatus):
        await ws_says(asked, {}, authorization="Bearer x")


async def test_a_subscription_ends_with_its_key(asked: Guarded) -> None:
    key = await asked.key("read", "write")
    address = f"ws://127.0.0.1:{asked.served.port}/graphql"
    async with websockets.connect(address, subprotocols=["graphql-transport-ws"]) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {key}"}}))
        await socket.recv()
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": "subscription { changes { seq } }"}}))  # fmt: skip
        await asked.post(key, OBSERVE)
        assert "changes" in json.loads(await socket.recv())["payload"]["data"]
        writer = await asked.key("write")
        # By another handle, as from another process: it is seen when what is cached is a second old.
        await asked.keys.revoke(asked.made[0].key.id, "acme", by="human:root")
        await asyncio.sleep(1.1)
        await asked.post(writer, OBSERVE)
        answer: dict[str, Any] = {}
        while answer.get("type") not in ("error", "complete"):
            answer = json.loads(await asyncio.wait_for(socket.recv(), 10))
            errors = (
                answer["payload"].get("errors") if isinstance(answer.get("payload"), dict) else answer.get("payload")
            )
            if errors:
                break
        assert "credential" in json.dumps(answer)
        await socket.send(json.dumps({"id": "2", "type": "subscribe", "payload": {"query": SPACES}}))
        while (answer := json.loads(await asyncio.wait_for(socket.recv(), 10))).get("id") != "2":
            pass
        assert "credential.missing" in json.dumps(answer)


async def test_a_caller_that_asks_too_much_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with guarded(tmp_path, rate=2.0) as asked:
        key, other = await asked.key("read"), await asked.key("read")
        answers = [await asked.post(key, SPACES) for _ in range(4)]
        assert [one.status_code for one in answers] == [200] * 4
        # A slow machine asks for a while until it has asked too much.
        while answers[-1].status_code != 429:
            assert len(answers) < 60
            answers.append(await asked.post(key, SPACES))
        refused = answers[-1]
        assert refused.json()["errors"][0]["extensions"]["code"] == "rate.exceeded"
        assert (await asked.post(other, SPACES)).status_code == 200
        await asyncio.sleep(float(refused.headers["retry-after"]))
        assert (await asked.post(key, SPACES)).status_code == 200


async def test_a_socket_spends_from_the_same_account(tmp_path: Path) -> None:
    async with guarded(tmp_path, rate=2.0) as asked:
        key = await asked.key("read")
        address = f"ws://127.0.0.1:{asked.served.port}/graphql"
        codes: list[str] = []
        async with websockets.connect(address, subprotocols=["graphql-transport-ws"]) as socket:
            await socket.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {key}"}}))
            await socket.recv()
            # Many at once; then one by one, as a slow machine takes a while until it has asked too much.
            for number in range(60):
                await socket.send(json.dumps({"id": str(number), "type": "subscribe", "payload": {"query": SPACES}}))
                while number >= 11 and len(codes) <= number:
                    answer = json.loads(await asyncio.wait_for(socket.recv(), 10))
                    if answer["type"] in ("next", "error"):
                        codes.append(
                            answer["payload"][0]["extensions"]["code"] if answer["type"] == "error" else "fine"
                        )
                if "rate.exceeded" in codes:
                    break
            assert codes.count("fine") >= 4
            assert "rate.exceeded" in codes
            assert (await asked.post(key, SPACES)).status_code in (200, 429)


async def test_named_hosts_and_pages_may_call(tmp_path: Path) -> None:
    options = {"hosts": frozenset({"memory.example"}), "origins": frozenset({"https://app.example"})}
    async with guarded(tmp_path, **options) as asked:
        key = await asked.key("read")

        async def status(**headers: str) -> int:
            given = {"authorization": f"Bearer {key}", **headers}
            return (await asked.served.client.post("/graphql", json={"query": SPACES}, headers=given)).status_code

        assert [await status(host=host) for host in ("memory.example", "memory.example:443", "localhost")] == [200] * 3
        assert await status(host="evil.example") == 403
        assert await status(origin="https://app.example") == 200
        assert [await status(origin=one) for one in ("https://evil.example", "http://app.example", "null")] == [403] * 3
        preflight = await asked.served.client.options(
            "/graphql", headers={"origin": "https://app.example", "access-control-request-method": "POST",
                                 "access-control-request-headers": "authorization"},
        )  # fmt: skip
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"


async def test_clients_of_mcp_learn_how_to_be_let_in(tmp_path: Path) -> None:
    async with guarded(tmp_path, public_url="https://memory.example", issuer="https://login.example") as asked:
        found = (await asked.served.client.get("/.well-known/oauth-protected-resource/mcp")).json()
        refused = await asked.served.client.post("/mcp", json={})

    assert found["resource"] == "https://memory.example/mcp"
    assert found["authorization_servers"] == ["https://login.example"]
    assert set(found["scopes_supported"]) == {"read", "write", "erase", "run", "admin"}
    assert "https://memory.example/.well-known/oauth-protected-resource/mcp" in refused.headers["www-authenticate"]


ISSUER, AUDIENCE = "https://login.example", "https://memory.example/mcp"


def signed(key: Any, *, kid: str = "k1", algorithm: str = "EdDSA", **claims: Any) -> str:
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 600, "tenant": "acme", "scope": "openid read write", **claims}  # fmt: skip
    return jwt.encode({name: value for name, value in whole.items() if value is not None}, key, algorithm, {"kid": kid})


async def test_tokens_of_a_known_issuer_are_taken_and_no_others(tmp_path: Path) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = json.loads(OKPAlgorithm.to_jwk(key.public_key()))
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [{**public, "kid": "k1", "alg": "EdDSA"}]}), encoding="utf-8")
    tokens = read_options(jwks=file, issuer=ISSUER, audience=AUDIENCE).tokens
    async with guarded(tmp_path, tokens=tokens) as asked:
        good = signed(key)
        assert (await asked.post(good, OBSERVE)).json()["data"]["observe"]["receipt"]["state"] == "stored"
        assert (await asked.post(await asked.key("read"), ENTITY)).json()["data"]["entity"]["facts"]
        acting = signed(key, act={"sub": "agent:helper"})
        assert await asked.code(acting, OBSERVE, by="human:ada") == "credential.actor"
        assert (await asked.post(acting, OBSERVE, by="agent:helper")).status_code == 200
        now = int(time.time())
        for token, code in (
            (signed(other), "credential.invalid"), (signed(key, kid="k2"), "credential.invalid"),
            (signed(key, exp=now - 60), "credential.expired"), (signed(key, exp=None), "credential.invalid"),
            (signed(key, iss="https://evil.example"), "credential.invalid"), (signed(key, aud="other"), "credential.invalid"),
            (signed(key, tenant="_system"), "credential.invalid"), (signed(key, tenant=None), "credential.invalid"),
            (signed(key, scope="openid"), "credential.invalid"), (signed("x" * 64, algorithm="HS256"), "credential.invalid"),
            (good[:-4] + "AAAA", "credential.invalid"), (signed(key, sub=None), "credential.invalid"),
        ):  # fmt: skip
            response = await asked.post(token, SPACES)
            assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (401, code)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "YQ", "kid": "1", "alg": "HS256"}]}']
)
def test_a_key_set_that_cannot_be_honoured_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidError) as caught:
        read_options(jwks=file, issuer=ISSUER, audience=AUDIENCE)
    assert caught.value.code == "setting.invalid"


def test_settings_that_cannot_be_honoured_are_refused(tmp_path: Path) -> None:
    for given in (
        {"issuer": ISSUER},
        {"rate": 0.0},
        {"origins": ["app.example"]},
        {"origins": ["https://a/b"]},
        {"public_url": "x"},
    ):
        with pytest.raises(InvalidError):
            read_options(**given)  # type: ignore[arg-type]
    with pytest.raises(InvalidError) as caught:
        run_server(str(tmp_path / "t.db"), "0.0.0.0", 0)  # noqa: S104
    assert "--auth" in caught.value.message
    bind("0.0.0.0", 0, anywhere=True).close()  # noqa: S104


async def test_without_auth_a_key_still_says_who_it_is(tmp_path: Path) -> None:
    async with (
        Memory.open(str(tmp_path / "t.db"), by="human:me", sync="normal", embedder="none") as memory,
        serving(memory, Counter()) as served,
    ):
        asked = Guarded(served, Keys(memory))
        key = await asked.key("read")
        assert await asked.code(key, OBSERVE) == "credential.scope"
        assert (await asked.post(None, OBSERVE)).json()["data"]["observe"]["receipt"]["state"] == "stored"
        assert (await asked.post(key, ENTITY)).json() == {"data": {"entity": None}}
        assert (await asked.post("lw_x", SPACES)).status_code == 401


async def test_a_store_that_does_not_answer_closes_a_handshake(tmp_path: Path) -> None:
    class Silent:
        async def verify(self, token: str) -> None:
            raise UnavailableError("the store does not answer")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    async with Memory.open(str(tmp_path / "t.db"), embedder="none") as memory:
        layer = Identity(nothing, Callers(memory, [Silent()], required=True), None)
        scope = {"headers": [(b"authorization", b"Bearer lw_x")], "path": "/graphql", "method": "GET"}
        await layer({**scope, "type": "websocket"}, nothing, send)
        await layer({**scope, "type": "http"}, nothing, send)

    assert sent[0] == {"type": "websocket.close", "code": 1013, "reason": ""}
    assert (sent[1]["type"], sent[1]["status"]) == ("http.response.start", 503)
