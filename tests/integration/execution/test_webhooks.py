"""Webhooks: each message of a channel is posted, signed, tried again by class, and never lost without a word."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from integration.execution.hook_server import Hook, hooked
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError
from waiting import until

from latewood.execution.faults import Action, FaultClass, Rule
from latewood.execution.messages import Messages
from latewood.execution.webhooks import Targets, WebhookReceipt, Webhooks
from latewood.execution.webhooks.words import POLICY
from latewood.graph_schema.errors import ConflictError, InvalidError, LatewoodError, NotFoundError
from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.webhooks import deliver, webhooks_of

HERE: Final = Targets.read(["127.0.0.0/8"])
QUICK: Final = POLICY.changed("quick", {
    FaultClass.TRANSIENT: Rule(4, Action.ESCALATE, first_s=0.0, longest_s=0.0),
    FaultClass.RATE_LIMIT: Rule(4, Action.ESCALATE, first_s=0.0, longest_s=0.0),
})  # fmt: skip


@asynccontextmanager
async def opened(url: str = "reference:") -> AsyncGenerator[tuple[Memory, Messages, Webhooks]]:
    async with Memory.open(url, by="agent:sender", embedder="none") as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders", owner="human:ada")
        yield memory, messages, webhooks_of(memory, HERE)


@asynccontextmanager
async def delivering(memory: Memory, targets: Targets = HERE) -> AsyncGenerator[None]:
    task = asyncio.create_task(deliver(lambda: [memory], targets, look_s=0.1))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def receipts_of(webhooks: Webhooks, calls: int, name: str = "erp") -> list[WebhookReceipt]:
    async def enough() -> list[WebhookReceipt]:
        page = await webhooks.receipts(name)
        return list(reversed(page.items)) if len(page.items) >= calls else []

    return await until(enough)


def verified(hook: Hook, secret: str, place: int = -1) -> Any:
    return Verifier(secret).verify(hook.bodies[place], hook.headers[place])


async def refusal(call: Awaitable[object]) -> LatewoodError:
    with pytest.raises(LatewoodError) as caught:
        await call
    return caught.value


@pytest.fixture(params=["reference:", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "reference:" if request.param == "reference:" else str(tmp_path / "hooks.db")


async def test_a_message_is_posted_as_a_signed_cloud_event_and_leaves_a_receipt(url: str) -> None:
    async with hooked(204) as hook, opened(url) as (memory, messages, webhooks), delivering(memory):
        made = await webhooks.add("erp", "orders", hook.url, owner="human:grace")
        sent = await messages.publish("orders", {"amount": 3, "für": "Zoë"}, subject="order 7")
        (receipt,) = await receipts_of(webhooks, 1)
        rest = await messages.waiting("orders")

    event = verified(hook, made.secret)
    assert (event["specversion"], event["subject"], event["data"]) == ("1.0", "order 7", {"amount": 3, "für": "Zoë"})
    headers = hook.headers[0]
    assert headers["line"] == "POST /in?from=latewood HTTP/1.1"
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert headers["webhook-id"] == sent.id
    assert (receipt.outcome, receipt.status, receipt.number, receipt.message) == ("acked", 204, 1, sent.id)
    assert receipt.digest == hashlib.sha256(b"").hexdigest() or receipt.digest == hashlib.sha256(b"ok").hexdigest()
    assert receipt.took_ms is not None
    assert rest == {"default": 1, "webhook.erp": 0}


async def test_what_fails_twice_and_is_too_much_once_arrives_under_one_id() -> None:
    async with (
        hooked(500, 503, (429, "retry-after: 1\r\n"), 200) as hook, opened() as (memory, messages, webhooks),
        delivering(memory),
    ):  # fmt: skip
        made = await webhooks.add("erp", "orders", hook.url, owner="human:grace", policy=QUICK)
        await messages.publish("orders", {"amount": 3})
        receipts = await receipts_of(webhooks, 4)

    assert [(one.status, one.outcome, one.fault) for one in receipts] == [
        (500, "failed", "transient"), (503, "failed", "transient"), (429, "failed", "rate-limit"), (200, "acked", None),
    ]  # fmt: skip
    assert len({one["webhook-id"] for one in hook.headers}) == 1
    assert (receipts[3].recorded_at - receipts[2].recorded_at).total_seconds() >= 1
    assert verified(hook, made.secret, 3)["data"] == {"amount": 3}


async def test_silence_ends_in_a_dead_letter_of_the_webhooks_owner_and_comes_again_when_redriven() -> None:
    policy = QUICK.changed("once", {FaultClass.TRANSIENT: Rule(2, Action.ESCALATE, first_s=0.0, longest_s=0.0)})
    async with hooked(None, None, 200) as hook, opened() as (memory, messages, webhooks), delivering(memory):
        await webhooks.add("erp", "orders", hook.url, owner="human:grace", policy=policy, timeout_s=1.0)
        await messages.publish("orders", {"amount": 3})
        before = await receipts_of(webhooks, 2)
        (letter,) = (await messages.dead_letters()).items
        await messages.redrive(letter.id)
        after = await receipts_of(webhooks, 3)

    assert [(one.outcome, one.status) for one in before] == [("failed", None), ("dead", None)]
    assert before[0].words == "no answer within 1 s"
    assert (letter.group, letter.owner, letter.fault, letter.tries) == ("webhook.erp", "human:grace", "transient", 2)
    assert (after[2].outcome, after[2].status) == ("acked", 200)


async def test_one_that_is_gone_is_not_called_again_until_it_is_resumed() -> None:
    async with hooked(410, 200) as hook, opened() as (memory, messages, webhooks), delivering(memory):
        await webhooks.add("erp", "orders", hook.url, owner="human:grace")
        await messages.publish("orders", {"amount": 1})
        await until(lambda: is_in(webhooks, "gone"))
        await messages.publish("orders", {"amount": 2})
        receipts = await receipts_of(webhooks, 2)
        called = len(hook.bodies)
        await webhooks.resume("erp")
        await messages.publish("orders", {"amount": 3})
        resumed = await until(lambda: taken_by(webhooks))

    assert [(one.status, one.outcome, one.fault) for one in receipts] == [
        (410, "dead", "permanent"), (None, "dead", "permanent"),
    ]  # fmt: skip
    assert called == 1
    assert resumed[0].status == 200


async def test_what_comes_once_it_is_paused_waits_until_it_is_resumed() -> None:
    async with hooked(200) as hook, opened() as (memory, messages, webhooks), delivering(memory):
        await webhooks.add("erp", "orders", hook.url, owner="human:grace")
        await messages.publish("orders", {"amount": 1})
        # Whoever delivers has seen it on, a moment ago.
        await receipts_of(webhooks, 1)
        await webhooks.pause("erp")
        await messages.publish("orders", {"amount": 2})
        await asyncio.sleep(0.5)
        called, waiting = len(hook.bodies), await messages.waiting("orders")
        await webhooks.resume("erp")
        receipts = await receipts_of(webhooks, 2)

    assert (called, waiting["webhook.erp"]) == (1, 1)
    assert [(one.outcome, one.number) for one in receipts] == [("acked", 1), ("acked", 1)]


async def test_what_was_taken_for_a_call_that_never_began_is_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def never(*_: object) -> NoReturn:
        asked.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async with hooked(200) as hook, opened() as (memory, messages, webhooks):
        await webhooks.add("erp", "orders", hook.url, owner="human:grace", timeout_s=60)
        await messages.publish("orders", {"amount": 1})
        with monkeypatch.context() as patched:
            patched.setattr(Webhooks, "webhook", never)
            async with delivering(memory):
                await asked.wait()
        # Not after its lease of ninety seconds.
        async with delivering(memory):
            receipts = await receipts_of(webhooks, 1)

    assert [(one.outcome, one.number) for one in receipts] == [("acked", 1)]


async def is_in(webhooks: Webhooks, state: str) -> bool:
    return (await webhooks.webhook("erp")).state == state


async def taken_by(webhooks: Webhooks) -> list[WebhookReceipt]:
    return [one for one in (await webhooks.receipts("erp")).items if one.outcome == "acked"]


async def test_nobody_is_followed_elsewhere() -> None:
    async with (
        hooked(200) as other, hooked((302, f"location: {other.url}\r\n")) as hook,
        opened() as (memory, messages, webhooks), delivering(memory),
    ):  # fmt: skip
        await webhooks.add("erp", "orders", hook.url, owner="human:grace")
        await messages.publish("orders", {"amount": 1})
        (receipt,) = await receipts_of(webhooks, 1)

    assert (receipt.status, receipt.outcome, receipt.fault) == (302, "dead", "permanent")
    assert other.bodies == []


async def test_for_a_while_both_secrets_sign_and_then_the_new_one_alone() -> None:
    async with hooked(200) as hook, opened() as (memory, messages, webhooks), delivering(memory):
        old = (await webhooks.add("erp", "orders", hook.url, owner="human:grace")).secret
        rotated = await webhooks.rotate("erp", grace_s=3_600)
        await messages.publish("orders", {"amount": 1})
        await receipts_of(webhooks, 1)
        newest = await webhooks.rotate("erp", grace_s=0)
        await messages.publish("orders", {"amount": 2})
        await receipts_of(webhooks, 2)
        told = json.dumps([one.event.payload async for one in feed(memory)], default=str)

    assert len({old, rotated.secret, newest.secret}) == 3
    assert rotated.webhook.previous_until is not None
    assert verified(hook, old, 0) == verified(hook, rotated.secret, 0)
    assert verified(hook, newest.secret, 1)["data"] == {"amount": 2}
    with pytest.raises(WebhookVerificationError):
        verified(hook, rotated.secret, 1)
    # What signs is nowhere in the history.
    assert not any(one.removeprefix("whsec_") in told for one in (old, rotated.secret, newest.secret))


async def feed(memory: Memory) -> AsyncGenerator[Any]:
    for row in await memory.store.feed(memory.space, "execution", 0, 1_000):
        yield row


async def test_a_removed_one_gets_nothing_more_and_its_name_is_free_again() -> None:
    async with hooked(200) as hook, opened() as (memory, messages, webhooks):
        await webhooks.add("erp", "orders", hook.url, owner="human:grace")
        taken = await refusal(webhooks.add("erp", "orders", hook.url, owner="human:grace"))
        first = await messages.publish("orders", {"amount": 1})
        dropped = await webhooks.remove("erp")
        outcomes = [one.outcome for one in await messages.deliveries(first.id)]
        waiting = await messages.waiting("orders")
        unknown = await refusal(webhooks.rotate("erp", grace_s=0))
        again = await webhooks.add("erp", "orders", hook.url, owner="human:ada")
        async with delivering(memory):
            await messages.publish("orders", {"amount": 2})
            await receipts_of(webhooks, 1)
        listed = await webhooks.webhooks()

    assert (taken.code, dropped, outcomes, waiting) == ("key.taken", 1, ["dropped"], {"default": 1})
    assert unknown.code == "webhook.unknown"
    assert [json.loads(body)["data"] for body in hook.bodies] == [{"amount": 2}]
    assert [(one.id, one.owner) for one in listed] == [(again.webhook.id, "human:ada")]


async def test_a_name_that_comes_to_mean_a_private_address_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    async def rebound(*_: object, **__: object) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 443)),
        ]

    async with opened() as (memory, messages, webhooks):
        await webhooks.add("erp", "orders", "https://hooks.example/in", owner="human:grace")
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebound)
        async with delivering(memory):
            await messages.publish("orders", {"amount": 1})
            (receipt,) = await receipts_of(webhooks, 1)

    assert (receipt.outcome, receipt.fault, receipt.status) == ("dead", "permanent", None)
    assert "169.254.169.254" in str(receipt.words)


async def test_what_cannot_be_a_webhook_is_refused() -> None:
    async with opened() as (memory, _, webhooks):
        public = webhooks_of(memory)
        named = await refusal(webhooks.add("no way", "orders", "https://a.example/", owner="human:ada"))
        plain = await refusal(public.add("erp", "orders", "http://a.example/", owner="human:ada"))
        near = await refusal(public.add("erp", "orders", "https://10.0.0.8/", owner="human:ada"))
        slow = await refusal(public.add("erp", "orders", "https://a.example/", owner="human:ada", timeout_s=61))
        nowhere = await refusal(public.add("erp", "nowhere", "https://a.example/", owner="human:ada"))
        nobody = await refusal(public.rotate("erp", grace_s=0))
        listed = await public.webhooks()

    assert isinstance(named, InvalidError)
    assert (plain.code, near.code, slow.code) == ("webhook.target", "webhook.target", "query.invalid")
    assert isinstance(nowhere, NotFoundError)
    assert (nobody.code, listed) == ("webhook.unknown", ())


async def test_two_that_deliver_share_the_work_and_call_once_each(tmp_path: Path) -> None:
    place = str(tmp_path / "shared.db")
    async with hooked(200) as hook, opened(place) as (memory, messages, webhooks):
        await webhooks.add("erp", "orders", hook.url, owner="human:grace")
        sent = [await messages.publish("orders", {"n": n}) for n in range(20)]
        async with (
            Memory.open(place, by="agent:other", embedder="none") as other, delivering(memory), delivering(other),
        ):  # fmt: skip
            await receipts_of(webhooks, 20)

    assert sorted(one["webhook-id"] for one in hook.headers) == sorted(one.id for one in sent)


@pytest.mark.slow  # A call under way is given five seconds.
async def test_what_is_under_way_at_the_end_is_handed_back() -> None:
    async with hooked(None, 200) as hook, opened() as (memory, messages, webhooks):
        await webhooks.add("erp", "orders", hook.url, owner="human:grace", timeout_s=60)
        await messages.publish("orders", {"n": 1})

        async def called() -> bool:
            return bool(hook.bodies)

        async with delivering(memory):
            await until(called)
        # Not after its lease of ninety seconds.
        async with delivering(memory):
            receipts = await receipts_of(webhooks, 1)

    assert [one.outcome for one in receipts] == ["acked"]
    assert hook.headers[0]["webhook-id"] == hook.headers[1]["webhook-id"]


async def test_two_cannot_take_one_name_at_once() -> None:
    async with opened() as (_, __, webhooks):
        made = await asyncio.gather(
            *(webhooks.add("erp", "orders", "https://a.example/", owner="human:ada") for _ in range(4)),
            return_exceptions=True,
        )
        listed = await webhooks.webhooks()

    assert len(listed) == 1
    assert [type(one) for one in made].count(ConflictError) == 3
