"""Who decides whether a failed release is rolled back: the file, and a release that asks for less.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.config import ApplicationSpec, RollbackPolicy
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.verifications import StallReason
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import STAGING, config_map, deployment, running_world, shop_spec

pytestmark = pytest.mark.looptime

GOOD, BAD = "registry.example/api:1", "registry.example/api:2"


def under(policy: RollbackPolicy) -> ApplicationSpec:
    """Make the shop with a policy for staging."""
    spec = shop_spec()
    return replace(spec, stages=(replace(spec.stages[0], rollback_policy=policy), *spec.stages[1:]))


def asking(policy: str) -> JsonObject:
    """Make an object that asks for a policy for its release."""
    made = config_map("settings", mode="b")
    return {
        **made,
        "metadata": {"name": "settings", "annotations": {"gitopsd.io/rollback": policy}},
    }


@pytest.mark.parametrize(
    "policy,asked,restored",
    [
        (RollbackPolicy.AUTOMATIC, "manual", False),
        (RollbackPolicy.AUTOMATIC, "forbidden", False),
        (RollbackPolicy.AUTOMATIC, "automatic", True),
        (RollbackPolicy.MANUAL, "automatic", False),
        (RollbackPolicy.FORBIDDEN, "automatic", False),
        (RollbackPolicy.FORBIDDEN, "manual", False),
    ],
)
async def test_a_release_may_only_make_the_policy_stricter(
    policy: RollbackPolicy, asked: str, restored: bool
) -> None:
    """An annotation on any object keeps it from being rolled back, and never the reverse."""
    async with running_world(under(policy)) as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD), asking(asked))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        stall = (await world.stage(STAGING)).stall
        if restored:
            await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
            assert stall is None
            return
        assert stall is not None
        assert stall.reason is StallReason.MANUAL
        assert BAD in str(world.cluster.live()["Deployment shop-staging/api"])
