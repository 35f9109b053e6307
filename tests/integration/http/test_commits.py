"""Is my commit live? One request that waits for the answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.manifests import Digest, Health
from gitopsd.domain.releases import Line, OfferKind, Release, ReleaseId, SeenCommit
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.sources import Commit, CommitSha, RefName
from gitopsd.domain.stages import Observation, Stage, StageRendering
from gitopsd.domain.verifications import Verification, VerificationId
from gitopsd.engine.effects import destination_of
from gitopsd.errors import TemporaryError
from gitopsd.store_ports import Transaction
from gitopsd.testing.verifier import MemoryAnswer
from tests.support.engine_world import (
    MAIN,
    PRODUCTION,
    REPO,
    SHOP,
    STAGING,
    config_map,
    deployment,
    shop_spec,
)
from tests.support.http_world import IMAGE, Document, HttpWorld, serving_world

IMAGE_DIGEST = IMAGE.partition("@")[2]


async def ask(http: HttpWorld, sha: str, query: str = "") -> dict[str, Document]:
    """Ask about a commit; returns what is said of each stage."""
    found = await http.get(f"/commits/{sha}{query}")
    assert found["commit"] == sha
    return {one["stage"]: one for one in found["stages"]}


def impatient_spec() -> ApplicationSpec:
    """The shop with a check in staging that is given up after a second."""
    spec = shop_spec()
    staging, production = spec.stages
    check = replace(staging.verify[0], within=timedelta(seconds=1))
    return replace(spec, stages=(replace(staging, verify=(check,)), production))


def states(found: dict[str, Document]) -> dict[str, str]:
    """The states alone."""
    return {stage: one["state"] for stage, one in found.items()}


async def test_an_unknown_commit_is_not_seen_with_200() -> None:
    """CI jobs may ask before the webhook arrives."""
    async with serving_world() as http:
        await http.world.push("one", deployment(IMAGE))
        found = await ask(http, "f" * 40)
        nothing = await ask(http, "f" * 40, "?application=none")

    assert states(found) == {"staging": "NotSeen", "production": "NotSeen"}
    assert not found["staging"]["terminal"]
    assert nothing == {}


async def test_a_request_that_waits_is_answered_by_the_first_terminal_state() -> None:
    """Sent before the push is even known, it returns when staging is live."""
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE), hint=False)
        waiting = asyncio.create_task(ask(http, sha, "?application=shop&stage=staging&wait=30"))
        await http.world.ring(None, sha)
        found = await waiting

    assert states(found) == {"staging": "Live"}
    assert found["staging"]["exact"]
    assert found["staging"]["observedAt"]
    assert found["staging"]["run"]


async def test_held_at_a_gate_goes_on_waiting_until_somebody_opens_it() -> None:
    """Held says whom to ask; the approval ends the wait."""
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE))
        waiting = asyncio.create_task(ask(http, sha, "?stage=production&wait=30"))
        run = await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        held = await ask(http, sha, "?stage=production")
        assert not waiting.done()
        await http.post(f"/runs/{run.id}/approve")
        found = await waiting

    assert states(held) == {"production": "Held"}
    assert run.id in held["production"]["waitingFor"]
    assert states(found) == {"production": "Live"}


async def test_a_commit_that_fails_is_failed_or_rolled_back_everywhere() -> None:
    """The first failure ends the wait; production learns that staging was the end."""
    async with serving_world(impatient_spec()) as http:
        first = await http.world.push("one", deployment(IMAGE))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        http.world.verifier.serve("api", MemoryAnswer(status=500), path="/health")
        bad = await http.world.push("two", deployment(IMAGE), config_map("c", v="2"))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.VERIFY)
        waiting = asyncio.create_task(ask(http, bad, "?stage=production&wait=90"))
        await http.world.until_run(STAGING, RunKind.ROLLBACK, Phase.RUNNING)
        http.world.verifier.serve("api", MemoryAnswer(), path="/health")
        production = await waiting
        staging = await ask(http, bad, "?stage=staging&wait=30")
        before = await ask(http, first, "?stage=staging")

    assert states(production) == {"production": "Failed"}
    assert production["production"]["reason"].startswith(
        "it did not pass staging: Service shop-staging/api: check api"
    )
    assert states(staging) == {"staging": "RolledBack"}
    assert "gitopsd quarantine lift" in staging["staging"]["waitingFor"]
    assert states(before) == {"staging": "Live"}


async def test_a_commit_that_was_overtaken_is_live_through_the_newer_one() -> None:
    """Two pushes in a row: the first is live with the second, though it never ran to its end."""
    async with serving_world(shop_spec()) as http:
        first = await http.world.push("one", deployment(IMAGE), hint=False)
        second = await http.world.push("two", deployment(IMAGE), config_map("c", v="2"))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        found = await ask(http, first, "?stage=staging&wait=30")
        own = await ask(http, second, "?stage=staging&wait=30")

    assert states(found) == {"staging": "Live"}
    assert not found["staging"]["exact"]
    assert found["staging"]["reason"] == "through a release that contains it or renders the same"
    assert own["staging"]["exact"]


async def test_a_tag_and_an_image_digest_name_a_release_too() -> None:
    """What people and registries call a version is understood."""
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        http.world.repositories.push(REPO, RefName("refs/tags/v1.0"), sha)
        tag = await ask(http, "v1.0", "?stage=staging")
        none = await ask(http, "v2.0", "?stage=staging")
        digest = await ask(http, IMAGE_DIGEST, "?stage=staging")
        other = await ask(http, f"sha256:{'b' * 64}", "?stage=staging")
        waiting = asyncio.create_task(ask(http, "v3.0", "?stage=staging&wait=30"))
        await http.world.clock.sleep(timedelta(milliseconds=300))
        http.world.repositories.push(REPO, RefName("refs/tags/v3.0"), sha)
        later = await waiting
        http.world.repositories.fail(REPO, TemporaryError("the host does not answer"))
        down = await ask(http, "v1.0", "?stage=staging")

    assert states(later) == {"staging": "Live"}
    assert states(tag) == states(digest) == {"staging": "Live"}
    assert states(none) == states(other) == states(down) == {"staging": "NotSeen"}


async def test_a_wait_ends_with_its_time_and_with_the_process() -> None:
    """Nothing terminal: the state as it is then; a process that ends answers at once."""
    async with serving_world(run=False) as http:
        clock = http.world.clock
        began = clock.monotonic()
        await ask(http, "f" * 40, "?wait=0.3")
        took = clock.monotonic() - began
        waiting = asyncio.create_task(ask(http, "f" * 40, "?wait=60"))
        await http.until(lambda: _is_asked(http), "the request is there")
        http.service.changes.close()
        async with asyncio.timeout(5):
            await waiting

    assert 0.25 < took < 5


async def _is_asked(http: HttpWorld) -> bool:
    await http.world.clock.sleep(timedelta(milliseconds=50))
    return True


def go_live(tx: Transaction, number: int) -> None:
    """Store that commit ``number`` is verified in staging and looked well just now."""
    spec = shop_spec()
    release = ReleaseId(f"r-{number}")
    destination = destination_of(spec.stages[0])
    found = Verification(
        id=VerificationId(f"v-{number}"),
        stage=STAGING,
        release=release,
        rendered=Digest(f"sha256:{number}"),
        destination=destination,
        spec=1,
        recorded_at=tx.now,
    )
    tx.verifications.add(found)
    stage = tx.stages.get(STAGING)
    assert stage is not None
    seen = Observation(Health.HEALTHY, synced=True, message="", at=tx.now)
    tx.stages.save(replace(stage, verified=found.id, observation=seen))


def offer(tx: Transaction, number: int) -> None:
    """Store that commit ``number`` is the head of its line."""
    line, sha = Line(SHOP, MAIN), CommitSha(f"{number:040x}")
    release = Release(ReleaseId(f"r-{number}"), SHOP, Commit(sha))
    if number == 1:
        tx.specs.add(shop_spec(), tx.now)
        tx.stages.add(Stage(STAGING, spec=1))
    tx.releases.add(release)
    tx.releases.see(SeenCommit(line, sha, release.id, tx.now, concerned=True))
    tx.releases.offer(line, release.id, tx.now, OfferKind.ADVANCED)
    tx.releases.put_rendering(StageRendering(STAGING, release.id, Digest(f"sha256:{number}")))


async def test_the_answer_comes_within_a_tenth_of_a_second() -> None:
    """A commit that is live is told at once, not at the next sweep.

    The best of five is asked for: what a busy machine adds is not the service's.
    """
    async with serving_world(run=False) as http:
        clock, late = http.world.clock, []
        for number in range(1, 6):
            await http.service.services.store.transact(partial(offer, number=number))
            sha = f"{number:040x}"
            waiting = asyncio.create_task(ask(http, sha, "?stage=staging&wait=30"))
            await clock.sleep(timedelta(milliseconds=300))
            assert not waiting.done()
            await http.service.services.store.transact(partial(go_live, number=number))
            began = clock.monotonic()
            assert states(await waiting) == {"staging": "Live"}
            late.append(clock.monotonic() - began)

    assert min(late) < 0.1
    assert max(late) < 0.9, "the sweep of one second is not what answers"


@pytest.mark.parametrize("known,stays", [("", False), ("?known=shop/staging", True)])
async def test_an_end_that_is_known_already_ends_no_further_wait(known: str, stays: bool) -> None:
    """Who asks again for all stages says which ends it has seen; nothing in between is missed."""
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE))
        await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        clock = http.world.clock
        began = clock.monotonic()
        mark = known or "?known=shop/nothing"
        found = await ask(http, sha, f"{mark}&wait=0.4")
        took = clock.monotonic() - began

    assert states(found) == {"staging": "Live", "production": "Held"}
    assert (took >= 0.35) is stays
