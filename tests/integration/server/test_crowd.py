"""Fifty clients at once, who repeat themselves and race for one thing: nothing is lost, nothing is written twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.server.test_identity import guarded

CLIENTS, WRITES = 50, 12
OBSERVE = """mutation($subject: String!, $value: JSON!, $key: String) {
  observe(input: {subject: $subject, predicate: "said_by", value: $value, idempotencyKey: $key}) { id receipt { id } } }"""
RACE = """mutation($version: BigInt!, $value: JSON!) {
  observe(input: {subject: "race:1", predicate: "winner", value: $value, expectedVersion: $version}) { id } }"""
VERSION = '{ entity(key: "race:1") { version } }'


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_fifty_clients_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    async with guarded(tmp_path, rate=100_000.0, at_once=200) as asked:
        key = await asked.key("read", "write")
        headers = {"authorization": f"Bearer {key}"}
        url = f"http://127.0.0.1:{asked.served.port}/graphql"
        answered: dict[str, set[str]] = {}

        async def client(name: int) -> None:
            order = random.Random(name)
            async with httpx.AsyncClient(timeout=120, headers=headers) as speaker:
                for number in range(WRITES):
                    once = f"{name}-{number}"
                    variables = {"subject": f"client:{order.randrange(10)}", "value": once, "key": once}
                    # An agent that heard nothing asks again, perhaps before the first answer is there.
                    answers = await asyncio.gather(
                        *(
                            speaker.post(url, json={"query": OBSERVE, "variables": variables})
                            for _ in range(1 + number % 3)
                        )
                    )
                    for answer in answers:
                        found = answer.json()
                        assert "errors" not in found, found
                        answered.setdefault(once, set()).add(found["data"]["observe"]["id"])

        await asyncio.gather(*(client(name) for name in range(CLIENTS)))
        memory = asked.served.memory.within(tenant="acme")
        ids = [one for found in answered.values() for one in found]
        facts = await memory.facts_by_id(ids)

        assert len(answered) == len(ids) == CLIENTS * WRITES
        assert {fact.value.data for fact in facts.values() if fact.value is not None} == set(answered)
        rows: list[Any] = []
        while more := await memory.store.feed("default", "knowledge", len(rows), 1_000):
            rows += more
        kept: list[Any] = [
            row.event.id
            for row in rows
            if row.event.payload.get("predicate") == "said_by" and row.event.kind.value == "asserted"
        ]
        assert len(kept) == CLIENTS * WRITES
        assert (await memory.verify()).ok


async def test_of_those_who_saw_the_same_version_one_writes(tmp_path: Path) -> None:
    async with guarded(tmp_path, rate=100_000.0, at_once=200) as asked:
        key = await asked.key("read", "write")
        await asked.post(key, OBSERVE, subject="race:1", value="start", key="start")
        version = (await asked.post(key, VERSION)).json()["data"]["entity"]["version"]
        answers = [
            one.json()
            for one in await asyncio.gather(*(asked.post(key, RACE, version=version, value=name) for name in range(20)))
        ]
        lost = [one["errors"][0]["extensions"]["code"] for one in answers if "errors" in one]

        assert (len(lost), set(lost)) == (19, {"version.conflict"})
