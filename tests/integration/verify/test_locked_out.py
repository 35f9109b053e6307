"""Checks through an API server that refuses our credential say so, whatever their kind."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import Check, CommandCheck, HttpCheck, HttpListCheck, JobCheck
from gitopsd.domain.manifests import JsonObject
from gitopsd.errors import TemporaryError
from gitopsd.ports import CheckTarget
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.cluster import MemoryCluster, MemoryClusters

MINUTE = timedelta(minutes=1)
PAGE = HttpCheck("page", service="api", port="80")
SMOKE: JsonObject = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "smoke", "annotations": {"gitopsd.io/hook": "Verify"}},
    "spec": {"template": {"spec": {"containers": [{"name": "job", "image": "smoke:1"}]}}},
}
TARGET = CheckTarget("one", "shop", run="run-1", attempt="verify-1", templates=(SMOKE,))


@pytest.mark.parametrize("reason", ["Credential", "Tls", "Unavailable"])
@pytest.mark.parametrize(
    "check",
    [
        PAGE,
        HttpListCheck("pages", (PAGE,)),
        JobCheck("smoke", "smoke"),
        CommandCheck("migrated", ("./manage", "check"), workload="Deployment/api"),
    ],
    ids=["http", "list", "job", "command"],
)
async def test_who_is_locked_out_says_so(check: Check, reason: str) -> None:
    """Only a person ends that, so it is told from an API server that is away."""
    clock = LoopClock()
    cluster = MemoryCluster(clock)
    trouble = TemporaryError("one: it cannot be asked", retry_after=MINUTE, reason=reason)
    cluster.fault = lambda _method, _ref: trouble
    verifier = VerifierByKind(MemoryClusters({"one": cluster}), clock)
    attempt = await verifier.run_check(check, TARGET)
    await verifier.close()

    assert (attempt.passed, attempt.locked_out) == (None, reason != "Unavailable")
    assert attempt.retry_after == MINUTE
    assert attempt.underway is isinstance(check, JobCheck)
