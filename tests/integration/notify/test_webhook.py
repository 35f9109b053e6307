"""The signed webhook against a server that lies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.notify.outgoing import LONGEST_PAUSE, parse_retry_after
from gitopsd.adapters.notify.webhook import WebhookNotifier, compute_message_id
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.manifests import Json
from gitopsd.domain.work import Notification
from gitopsd.errors import PermanentError, SignatureError, TemporaryError
from gitopsd.testing.clock import START, ManualClock
from gitopsd.webhooks.signatures import check_standard_webhook
from tests.support.lying_server import (
    Answering,
    LyingServer,
    drip,
    drop,
    garbage,
    hang,
    pour,
    reply,
    reset_in_body,
    run_lying_server,
)
from tests.support.redis import find_free_port

SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOTIFICATION = Notification(
    id="run-1.7.on-stalled",
    trigger="on-stalled",
    application="shop",
    stage="production",
    message="production is stalled",
    at=START,
    details={"run": "run-1", "attempts": 3, "links": ["https://gitopsd.example/runs/run-1"]},
)


@pytest.fixture
async def server() -> AsyncIterator[LyingServer]:
    """A receiver of messages."""
    async with run_lying_server() as running:
        yield running


@pytest.fixture
async def notifier() -> AsyncIterator[WebhookNotifier]:
    """A notifier."""
    made = WebhookNotifier(ManualClock())
    yield made
    await made.close()


@pytest.fixture
async def impatient() -> AsyncIterator[WebhookNotifier]:
    """A notifier that waits for no answer longer than a moment."""
    made = WebhookNotifier(ManualClock(), timeout=timedelta(milliseconds=300))
    yield made
    await made.close()


@pytest.fixture
def channel(server: LyingServer, tmp_path: Path) -> ChannelSpec:
    """A channel to the receiver."""
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    return ChannelSpec(
        name="on-call",
        type=ChannelType.WEBHOOK,
        url=f"{server.url}/hook?team=a",
        secret_file=str(tmp_path / "secret"),
    )


async def test_a_message_is_signed(
    server: LyingServer, notifier: WebhookNotifier, channel: ChannelSpec
) -> None:
    """The receiver can check it by Standard Webhooks and read what happened."""
    await notifier.send(channel, NOTIFICATION)
    [request] = server.requests
    assert (request.method, request.target) == ("POST", "/hook?team=a")
    assert request.headers["content-type"] == "application/json"
    check_standard_webhook(request.headers, request.body, [SECRET], START)
    with pytest.raises(SignatureError):
        check_standard_webhook(request.headers, request.body + b" ", [SECRET], START)
    assert json.loads(request.body) == {
        "type": "on-stalled",
        "timestamp": "2026-01-05T09:00:00Z",
        "data": {
            "id": "run-1.7.on-stalled",
            "application": "shop",
            "stage": "production",
            "message": "production is stalled",
            "details": dict(NOTIFICATION.details),
        },
    }


async def test_a_message_keeps_its_id(
    server: LyingServer, notifier: WebhookNotifier, channel: ChannelSpec
) -> None:
    """Sent again it has the same id; another message or channel has another one."""
    server.answer(reply(500), reply())
    with pytest.raises(TemporaryError):
        await notifier.send(channel, NOTIFICATION)
    await notifier.send(channel, NOTIFICATION)
    await notifier.send(channel, replace(NOTIFICATION, id="run-1.8.on-stalled"))
    await notifier.send(replace(channel, name="other"), NOTIFICATION)
    ids = [request.headers["webhook-id"] for request in server.requests]
    assert ids[0] == ids[1] == compute_message_id(channel, NOTIFICATION)
    assert len(set(ids)) == 3
    assert all(len(one) == 36 and one.startswith("msg_") and "." not in one for one in ids)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_success_is_every_2xx(
    server: LyingServer, notifier: WebhookNotifier, channel: ChannelSpec, status: int
) -> None:
    """Receivers differ in what they say."""
    server.answer(reply(status))
    await notifier.send(channel, NOTIFICATION)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_refusals_are_final(
    server: LyingServer, notifier: WebhookNotifier, channel: ChannelSpec, status: int
) -> None:
    """The receiver will not take it later either; its words are kept, redacted."""
    server.answer(reply(status, b"no: password=hunter22\nsecond line"))
    with pytest.raises(PermanentError) as caught:
        await notifier.send(channel, NOTIFICATION)
    assert caught.value.message == (
        f"channel on-call answered {status}: no: password=*** second line"
    )


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_trouble_is_temporary(
    server: LyingServer, notifier: WebhookNotifier, channel: ChannelSpec, status: int
) -> None:
    """Time-outs, limits and the receiver's own trouble pass; it may say for how long."""
    server.answer(reply(status, Retry_After="120"), reply(status))
    with pytest.raises(TemporaryError) as caught:
        await notifier.send(channel, NOTIFICATION)
    assert caught.value.retry_after == timedelta(seconds=120)
    with pytest.raises(TemporaryError) as caught:
        await notifier.send(channel, NOTIFICATION)
    assert caught.value.retry_after is None
    assert caught.value.message == f"channel on-call answered {status}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(
    server: LyingServer, notifier: WebhookNotifier, channel: ChannelSpec, status: int
) -> None:
    """A signed message goes to the configured address and nowhere else."""
    async with run_lying_server() as other:
        server.answer(reply(status, Location=other.url))
        with pytest.raises(PermanentError) as caught:
            await notifier.send(channel, NOTIFICATION)
        assert other.requests == []
    assert caught.value.message.endswith("Redirects are not followed: write the final url")


@pytest.mark.parametrize(
    "answer",
    [hang(), drip(headers_too=True), drop(), garbage()],
    ids=["hangs", "drips", "drops", "garbage"],
)
async def test_no_answer_is_temporary(
    server: LyingServer, impatient: WebhookNotifier, channel: ChannelSpec, answer: Answering
) -> None:
    """A receiver that says nothing, or no HTTP, is asked again later."""
    server.answer(answer)
    with pytest.raises(TemporaryError) as caught:
        await impatient.send(channel, NOTIFICATION)
    assert caught.value.message.startswith("channel on-call: ")


@pytest.mark.parametrize("answer", [pour(2**30), reset_in_body()], ids=["1 GB", "reset"])
async def test_a_long_answer_is_not_read(
    server: LyingServer, notifier: WebhookNotifier, channel: ChannelSpec, answer: Answering
) -> None:
    """Taken is taken, whatever follows the status."""
    server.answer(answer)
    await notifier.send(channel, NOTIFICATION)
    assert server.sent < 64 * 2**20


async def test_nobody_there_is_temporary(notifier: WebhookNotifier, channel: ChannelSpec) -> None:
    """A receiver that is being restarted gets the message afterwards."""
    away = replace(channel, url=f"http://127.0.0.1:{find_free_port()}/")
    with pytest.raises(TemporaryError):
        await notifier.send(away, NOTIFICATION)


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "http://[fd00:ec2::254]/", "http://[::ffff:a9fe:a9fe]/"],
)
async def test_metadata_addresses_get_no_messages(
    notifier: WebhookNotifier, channel: ChannelSpec, url: str
) -> None:
    """Not even when the configuration says so."""
    with pytest.raises(PermanentError) as caught:
        await notifier.send(replace(channel, url=url), NOTIFICATION)
    assert caught.value.reason == "RefusedAddress"


async def test_loopback_can_be_refused(server: LyingServer, channel: ChannelSpec) -> None:
    """By name and by address."""
    strict = WebhookNotifier(ManualClock(), allow_loopback=False)
    for url in (server.url, f"http://localhost:{server.port}/"):
        with pytest.raises(PermanentError) as caught:
            await strict.send(replace(channel, url=url), NOTIFICATION)
        assert caught.value.reason == "RefusedAddress"
    assert server.requests == []
    await strict.close()


async def test_a_secret_that_is_away_is_temporary(
    server: LyingServer, notifier: WebhookNotifier, channel: ChannelSpec, tmp_path: Path
) -> None:
    """A secret that is being replaced stops no message for good, and none goes unsigned."""
    (tmp_path / "secret").unlink()
    with pytest.raises(TemporaryError) as caught:
        await notifier.send(channel, NOTIFICATION)
    assert "secret" in caught.value.message
    assert server.requests == []
    (tmp_path / "secret").write_bytes(b"another")
    await notifier.send(channel, NOTIFICATION)
    [request] = server.requests
    check_standard_webhook(request.headers, request.body, [b"another"], START)


async def test_a_bad_address_is_final(notifier: WebhookNotifier, channel: ChannelSpec) -> None:
    """What is no URL will not become one."""
    with pytest.raises(PermanentError):
        await notifier.send(replace(channel, url="http://:80:80/"), NOTIFICATION)


async def test_secrets_are_not_told(
    server: LyingServer, notifier: WebhookNotifier, channel: ChannelSpec
) -> None:
    """Messages and details are redacted once more on their way out."""
    deep: Json = "x"
    for _ in range(20):
        deep = {"inner": deep}
    planted = "ghp_" + "0123456789abcdefABCDEF0123456789abcd"
    notification = replace(
        NOTIFICATION,
        message=f"cloning https://bot:{planted}@git.example/ failed",
        details={"token": "plain", "list": [{"log": f"Bearer {planted}"}], "deep": deep, "n": None},
    )
    await notifier.send(channel, notification)
    body = server.requests[0].body.decode()
    assert planted not in body
    assert "plain" not in body
    assert json.loads(body)["data"]["details"]["n"] is None


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("0", 0),
        ("120", 120),
        ("99999999999999999999", LONGEST_PAUSE.total_seconds()),
        ("Mon, 05 Jan 2026 09:01:00 GMT", 60),
        ("Mon, 05 Jan 2026 09:01:00 -0000", 60),
        ("Mon, 05 Jan 2026 08:00:00 GMT", 0),
        ("Mon, 05 Jan 2099 08:00:00 GMT", LONGEST_PAUSE.total_seconds()),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("Mon, 99 Foo 2026", None),
    ],
)
def test_retry_after_is_read(value: str, seconds: float | None) -> None:
    """Seconds or a date, an hour at most; anything else says nothing."""
    pause = parse_retry_after(value, START)
    assert (None if pause is None else pause.total_seconds()) == seconds
