"""Several requests in one check, against a server that answers as told."""

from __future__ import annotations

import json
from datetime import timedelta

from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import HttpCheck, HttpListCheck
from gitopsd.ports import CheckAttempt, CheckTarget
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.cluster import MemoryClusters
from tests.support.lying_server import Answering, hang, reply, reply_json, run_lying_server

TARGET = CheckTarget("staging", "shop")
QUICK = timedelta(milliseconds=500)


async def attempt(**elsewhere: Answering) -> CheckAttempt:
    """Ask for three pages; each is right unless told otherwise."""
    async with run_lying_server(reply_json({"status": "healthy"})) as server:
        server.elsewhere |= {f"/{page}": answer for page, answer in elsewhere.items()}
        requests = tuple(
            HttpCheck(f"/{page}", url=f"{server.url}/{page}", timeout=QUICK)
            for page in ("health", "ready", "shop")
        )
        verifier = VerifierByKind(MemoryClusters({}), LoopClock(), allow_loopback=True)
        made = await verifier.run_check(HttpListCheck("pages", requests), TARGET)
        await verifier.close()
        assert len(server.requests) == 3
        return made


async def test_all_have_to_be_right() -> None:
    """The evidence has each answer."""
    made = await attempt()
    assert (made.passed, made.message) == (True, "all 3 requests were answered as expected")
    evidence = json.loads(json.dumps(made.evidence))
    assert [one["message"] for one in evidence["requests"]] == ["answered 200"] * 3


async def test_one_that_is_wrong_is_enough() -> None:
    """Whatever the others say; the sentence names the first and counts the others."""
    one = await attempt(ready=reply(503))
    two = await attempt(ready=reply(503), shop=reply(404))
    assert (one.passed, one.message) == (False, "/ready: answered 503; expected 200")
    assert (two.passed, two.message) == (False, "/ready: answered 503; expected 200 (and 1 more)")


async def test_the_bound_is_for_all_together() -> None:
    """They are asked at the same time: three that hang take no longer than one."""
    made = await attempt(health=hang(), ready=hang(), shop=hang())
    assert made.passed is False
    assert made.message == "/health: no complete answer within 0.5 s (and 2 more)"
    assert made.latency < 3 * QUICK
