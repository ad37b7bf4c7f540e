"""Webhooks over GraphQL: added, looked at, paused, rotated and removed, by whoever administers and nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from integration.execution.hook_server import hooked
from integration.server.conftest import serving

from latewood.execution.webhooks import Targets
from latewood.memory import Memory
from latewood.memory.keys import Keys
from latewood.memory.messages import messages_of
from latewood.memory.webhooks import deliver
from latewood.server.options import ServerOptions

WEBHOOK = "id name channel group url owner timeoutSeconds state previousUntil waiting"
RECEIPTS = (
    "{ webhookReceipts(name: %s) { edges { node { message number outcome status tookMs digest fault words } } } }"
)


async def test_a_webhook_is_looked_after_over_graphql(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "t.db"), by="human:ada", embedder="none") as memory, hooked(200) as hook:
        await messages_of(memory).make_channel("orders", owner="human:ada")
        targets = Targets.read(["127.0.0.0/8"])
        async with serving(memory, Counter(), options=ServerOptions(targets=targets)) as served:
            # What `latewood serve` does beside, looking more often for the first webhook of a space.
            delivering = asyncio.create_task(deliver(lambda: [memory], targets, look_s=0.05))
            asked = {"name": "erp", "channel": "orders", "url": hook.url, "owner": "human:zoe", "timeoutSeconds": 5}
            made = await served.written("addWebhook", "AddWebhookInput", f"webhook {{ {WEBHOOK} }} secret", **asked)
            added = made["webhook"]
            paused = await served.written("pauseWebhook", "WebhookInput", "webhook { state }", name="erp")
            sent = await served.written("publish", "PublishInput", "id", channel="orders", data={"n": 1})
            (listed,) = (await served.ask(f"{{ webhooks {{ {WEBHOOK} }} }}"))["webhooks"]
            before = (await served.ask(RECEIPTS % '"erp"'))["webhookReceipts"]["edges"]
            rotated = await served.written("rotateWebhook", "RotateWebhookInput", "secret webhook { previousUntil }", name="erp")  # fmt: skip
            resumed = await served.written("resumeWebhook", "WebhookInput", "webhook { state }", name="erp")
            while not (edges := (await served.ask(RECEIPTS % '"erp"'))["webhookReceipts"]["edges"]):  # noqa: ASYNC110 - it is called over the network
                await asyncio.sleep(0.05)
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
            removed = await served.written("removeWebhook", "WebhookInput", "dropped", name="erp")
            gone = (await served.ask("{ webhooks { name } }"))["webhooks"]
            unknown = await served.refused('mutation { resumeWebhook(input: {name: "erp"}) { webhook { id } } }')
            inward = await served.refused(
                'mutation { addWebhook(input: {name: "x", channel: "orders", url: "http://10.0.0.1/", owner: "human:z"})'
                " { secret } }"
            )

        shown = {"name": "erp", "url": hook.url, "owner": "human:zoe", "timeoutSeconds": 5.0, "channel": "orders"}
        assert added.items() >= {**shown, "state": "ON", "waiting": 0}.items()
        assert (paused["webhook"]["state"], resumed["webhook"]["state"]) == ("PAUSED", "ON")
        assert listed.items() >= {**shown, "state": "PAUSED", "waiting": 1}.items()
        assert before == []
        assert rotated["webhook"]["previousUntil"] is not None
        assert len({made["secret"], rotated["secret"]}) == 2
        (one,) = [edge["node"] for edge in edges]
        assert (one["message"], one["number"], one["outcome"], one["status"]) == (sent["id"], 1, "acked", 200)
        assert (removed, gone) == ({"dropped": 0}, [])
        assert (unknown["code"], inward["code"]) == ("webhook.unknown", "webhook.target")


async def test_only_who_administers_sees_or_changes_webhooks(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "t.db"), by="human:ada", embedder="none") as memory:
        keys = Keys(memory)
        scopes: dict[str, list[Any]] = {"all": ["read", "write", "run", "admin"], "agent": ["read", "write", "run"]}
        made = {
            name: (await keys.create(name, tenant="local", actor="agent:a", scopes=some, by="human:ada")).secret
            for name, some in scopes.items()
        }  # fmt: skip
        await messages_of(memory).make_channel("orders", owner="human:ada")
        fields = 'name: "erp", channel: "orders", url: "https://erp.example/in", owner: "human:zoe"'
        calls = [
            f"mutation {{ addWebhook(input: {{{fields}}}) {{ secret }} }}", "{ webhooks { name url } }",
            '{ webhookReceipts(name: "erp") { edges { cursor } } }',
            'mutation { rotateWebhook(input: {name: "erp"}) { secret } }',
            'mutation { pauseWebhook(input: {name: "erp"}) { webhook { state } } }',
            'mutation { resumeWebhook(input: {name: "erp"}) { webhook { state } } }',
            'mutation { removeWebhook(input: {name: "erp"}) { dropped } }',
        ]  # fmt: skip
        async with serving(memory, Counter(), options=ServerOptions(auth=True)) as served:
            for call in calls:
                refused = await served.post(call, authorization=f"Bearer {made['agent']}")
                assert refused["errors"][0]["extensions"]["code"] == "credential.scope", call
            for call in calls:
                answer = await served.post(call, authorization=f"Bearer {made['all']}")
                assert "errors" not in answer, answer
