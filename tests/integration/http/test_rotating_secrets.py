"""A receiver whose secret is being rotated, and one of its two files is not there."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.domain.sources import ReceiverName
from gitopsd.domain.work import Page
from tests.support.deliveries import sign
from tests.support.engine_world import MAIN, REPO
from tests.support.http_world import HttpWorld, Reply, serving_world

OLD, NEW = b"the secret of last year", b"the secret of this year"


def rotate(http: HttpWorld, old: bytes | None, new: bytes | None) -> None:
    """Give the receiver two secret files; None is one that is gone."""
    configuration = http.world.configuration[0]
    name = ReceiverName("github")
    spec = replace(configuration.receivers[name], secret_files=("/old", "/new"))
    http.world.configuration[0] = replace(configuration, receivers={name: spec})
    http.world.secrets.update({"/old": old, "/new": new})


async def deliver(http: HttpWorld, secret: bytes) -> Reply:
    """Send a push signed with a secret."""
    payload: Json = {
        "ref": MAIN,
        "before": "0" * 40,
        "after": "b" * 40,
        "repository": {"clone_url": REPO, "full_name": "example/shop-deploy"},
    }
    body = json.dumps(payload).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "guid-1",
        "X-Hub-Signature-256": sign(secret, body),
    }
    async with http.session.post(f"{http.url}/hooks/github", data=body, headers=headers) as answer:
        text = await answer.text()
        return Reply(answer.status, dict(answer.headers), text, json.loads(text))


async def inbox(http: HttpWorld) -> tuple[int, int]:
    """Count what was stored, and what was refused."""
    return await http.world.store.read(
        lambda tx: (len(tx.deliveries.page(Page())), sum(tx.deliveries.refused().values()))
    )


@pytest.mark.parametrize("readable, gone", [("old", "/new"), ("new", "/old")])
async def test_the_readable_one_of_two_secrets_is_enough(
    readable: str, gone: str, caplog: pytest.LogCaptureFixture
) -> None:
    """202; the log names the file that is missing, once, and the health warns without its name."""
    caplog.set_level(logging.INFO)
    secrets = {"old": OLD, "new": NEW}
    async with serving_world(run=False) as http:
        rotate(http, OLD if readable == "old" else None, NEW if readable == "new" else None)
        told = [(await deliver(http, secrets[readable])).status for _ in range(3)]
        health = await http.ask("GET", "/health", token="")
        ready = await http.ask("GET", "/health/ready", token="")
        rotate(http, OLD, NEW)
        told.append((await deliver(http, OLD)).status)
        well = await http.ask("GET", "/health", token="")

    said = [record.message for record in caplog.records if "receiver github" in record.message]
    assert told == [202] * 4
    assert len(said) == 2
    assert f"secret file {gone} cannot be read" in said[0]
    assert "can be read again" in said[1]
    assert health.document["status"] == "warn"
    assert health.document["components"]["receivers"] == {"status": "warn", "unreadableSecrets": 1}
    assert gone not in health.text
    assert ready.status == 200
    assert well.document["components"]["receivers"]["status"] == "pass"


async def test_a_signature_that_may_fit_the_missing_secret_is_asked_for_again() -> None:
    """503: the sender tries again, and succeeds once the file is back; no forgery is counted."""
    async with serving_world(run=False) as http:
        rotate(http, OLD, None)
        early = await deliver(http, NEW)
        before = await inbox(http)
        rotate(http, OLD, NEW)
        later = await deliver(http, NEW)
        after = await inbox(http)

    assert (early.status, early.document["message"]) == (
        503,
        "The receiver's secret cannot be read.",
    )
    assert before == (0, 0)
    assert later.status == 202
    assert after == (1, 0)


async def test_with_every_secret_readable_a_wrong_signature_is_refused() -> None:
    """401, and counted, however many secrets there are."""
    async with serving_world(run=False) as http:
        rotate(http, OLD, NEW)
        told = await deliver(http, b"another secret")
        counted = await inbox(http)

    assert told.status == 401
    assert counted == (0, 1)


async def test_without_any_readable_secret_nothing_is_taken() -> None:
    """503, whatever the signature."""
    async with serving_world(run=False) as http:
        rotate(http, None, None)
        told = await deliver(http, OLD)
        stored = await inbox(http)

    assert told.status == 503
    assert stored == (0, 0)
