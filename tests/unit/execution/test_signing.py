"""Signatures of webhooks against the vector that Standard Webhooks publishes, and which addresses may be called."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from latewood.execution.faults import Fault
from latewood.execution.webhooks import Targets
from latewood.execution.webhooks.calling import Answer, trouble_of
from latewood.execution.webhooks.signing import secret_of, signed_headers
from latewood.graph_schema.errors import InvalidError

PUBLISHED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_signature_is_the_published_one() -> None:
    now = datetime.fromtimestamp(1_614_265_330, UTC)

    headers = signed_headers([PUBLISHED], "msg_p5jXN8AQM9LWM0D4loKWxJek", now, b'{"test": 2432232314}')

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_give_two_signatures_and_each_webhook_and_salt_its_own_secret() -> None:
    now = datetime.fromtimestamp(1_614_265_330, UTC)
    secrets = [secret_of(b"s" * 32, "a", "1"), secret_of(b"s" * 32, "a", "2"), secret_of(b"s" * 32, "b", "1")]

    headers = signed_headers(secrets[:2], "m", now, b"{}")

    assert len(set(secrets)) == 3
    assert [one.partition(",")[0] for one in headers["webhook-signature"].split(" ")] == ["v1", "v1"]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://10.1.2.3/x", "https://192.168.0.1/", "https://169.254.169.254/latest/meta-data",
        "https://[::1]/", "https://[fd00::1]/", "https://[fe80::1%25eth0]/", "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://0.0.0.0/", "https://224.0.0.1/",
        "https://100.64.0.1/", "http://93.184.215.14/", "ftp://a.example/", "https:///x", "https://ada:pw@a.example/",
        "https://a.example/#part", "a.example", "https://a.example/" + "x" * 2_000,
    ],
)  # fmt: skip
def test_what_is_not_public_https_is_refused(url: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Targets().check(url)

    assert caught.value.code == "webhook.target"


@pytest.mark.parametrize(
    "url", ["https://a.example/hooks?x=1", "https://93.184.215.14:8443/", "https://[2606:4700::1]/"]
)
def test_what_is_public_https_is_taken(url: str) -> None:
    assert Targets().check(url) == url


@pytest.mark.parametrize("name", ["2130706433", "0x7f.1", "localhost", "127.1"])
async def test_other_spellings_of_this_machine_are_judged_by_what_they_mean(name: str) -> None:
    with pytest.raises((InvalidError, Fault)) as caught:
        await Targets().place(f"https://{name}/")

    assert isinstance(caught.value, InvalidError) or "not found" in str(caught.value)


async def test_a_network_that_is_named_may_be_reached_over_plain_http_and_others_not() -> None:
    targets = Targets.read(["127.0.0.0/8", " 10.2.0.0/16"])

    place = await targets.place("http://127.0.0.1:8080/x?y=1")
    assert (str(place.url), place.host) == ("http://127.0.0.1:8080/x?y=1", "127.0.0.1:8080")
    assert targets.check("https://10.2.7.7/") == "https://10.2.7.7/"
    for url in ("https://10.3.0.1/", "http://93.184.215.14/"):
        with pytest.raises(InvalidError):
            targets.check(url)


@pytest.mark.parametrize("networks", [["127.0.0.1/8"], ["here"], ["10.0.0.0/8"] * 51])
def test_networks_that_are_none_are_refused(networks: list[str]) -> None:
    with pytest.raises(InvalidError) as caught:
        Targets.read(networks)

    assert caught.value.code == "setting.invalid"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, None), (204, None), (302, "permanent"), (400, "permanent"), (408, "transient"), (410, "permanent"),
     (425, "transient"), (429, "rate-limit"), (500, "transient"), (503, "transient")],
)  # fmt: skip
def test_each_status_has_its_class(status: int, kind: str | None) -> None:
    trouble = trouble_of(Answer(status, 1, ""))

    assert (None if trouble is None else str(trouble.kind)) == kind


def test_a_date_of_retry_after_is_waited_for_and_no_longer_than_a_day() -> None:
    from latewood.execution.webhooks.calling import RETRY_AFTER_S_MAX, retry_after

    assert retry_after(None) is None
    assert retry_after("7") == 7
    assert retry_after("soon") is None
    assert retry_after("9" * 12) == RETRY_AFTER_S_MAX
    assert retry_after(format_datetime(datetime(2001, 1, 1, tzinfo=UTC), usegmt=True)) == 0
    assert retry_after(format_datetime(datetime(2900, 1, 1, tzinfo=UTC), usegmt=True)) == RETRY_AFTER_S_MAX
