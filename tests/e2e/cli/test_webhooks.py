"""`latewood webhooks`, as one types it."""

from __future__ import annotations

import asyncio
from typing import Any

from latewood.memory import Memory
from latewood.memory.messages import messages_of

ADD = ("webhooks", "add", "erp", "orders", "https://erp.example/in", "--owner", "human:ada")


async def make_channel(db: str) -> None:
    async with Memory.open(db, by="agent:a") as memory:
        await messages_of(memory).make_channel("orders")


async def publish(db: str) -> None:
    async with Memory.open(db, by="agent:a") as memory:
        await messages_of(memory).publish("orders", {"amount": 3})


def test_a_webhook_is_added_rotated_listed_and_removed(cli: Any) -> None:
    asyncio.run(make_channel(str(cli.db)))
    made = cli.json(*ADD, "--within", "5")
    assert made["secret"].startswith("whsec_")
    assert (made["webhook"]["state"], made["webhook"]["timeoutS"]) == ("on", 5.0)
    assert cli.refused(*ADD)["code"] == "key.taken"
    rotated = cli.ok("webhooks", "rotate", "erp", "--grace", "48")
    assert "old secret" in rotated
    assert made["secret"] not in rotated
    (listed,) = cli.json("webhooks", "list")
    assert listed["url"] == "https://erp.example/in"
    assert "secret" not in listed
    assert cli.json("webhooks", "receipts", "erp")["items"] == []
    assert "not called yet" in cli.run("webhooks", "receipts", "erp").stderr
    asyncio.run(publish(str(cli.db)))
    assert cli.json("webhooks", "pause", "erp")["state"] == "paused"
    assert cli.json("webhooks", "resume", "erp")["state"] == "on"
    assert cli.json("webhooks", "remove", "erp") == {"dropped": 1}
    assert cli.json("webhooks", "list") == []


def test_what_cannot_be_called_is_refused_until_its_network_is_named(cli: Any) -> None:
    asyncio.run(make_channel(str(cli.db)))
    near = ("webhooks", "add", "near", "orders", "http://127.0.0.1:9/", "--owner", "human:ada")
    assert cli.refused(*near)["code"] == "webhook.target"
    assert cli.refused("webhooks", "receipts", "near", exit_code=3)["code"] == "webhook.unknown"
    cli.env["LATEWOOD_WEBHOOK_NETWORKS"] = "127.0.0.0/8"
    assert cli.json(*near)["webhook"]["owner"] == "human:ada"
    cli.env["LATEWOOD_WEBHOOK_NETWORKS"] = "here"
    assert cli.refused("webhooks", "remove", "near", exit_code=2)["code"] == "setting.invalid"
