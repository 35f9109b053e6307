"""Rollback scenarios on real servers that take more than one bad release, or more than one place.

Played on the site of `tests.support.rollback_site`. A real Prometheus is asked for figures that
the test exports under the commit they are of: no figure changes while somebody measures.
"""

from __future__ import annotations

import asyncio
import json

import aiohttp

from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from tests.support.images import crashing_image, web_image
from tests.support.registry import PushedImage
from tests.support.rollback_files import THREE
from tests.support.rollback_shop import WITHIN, Shop
from tests.support.rollback_site import RollbackSite
from tests.support.rollback_table import Outcome
from tests.support.service_site import config_map

FINE, BAD = "0.01", "0.2"


async def play_chains(site: RollbackSite) -> list[Outcome]:
    """Play them side by side."""
    return list(
        await asyncio.gather(
            failing_metric(site),
            rollback_that_fails(site),
            newer_releases_during_an_approval(site),
            image_policy_after_a_quarantine(site),
            three_correlated_failures(site),
        )
    )


async def measure(site: RollbackSite, shop: Shop, subject: str, figure: str) -> None:
    """Let the figure of a commit be that, and wait until the metric server has it."""
    name = f'errors{{commit="{shop.seen[subject]}"}}'
    site.metrics.exporter.gauges[name] = figure
    await site.metrics.until(f"{name} == {figure}")


async def push(site: RollbackSite, shop: Shop, subject: str, figure: str, *manifests: str) -> None:
    """Push a release whose figure is known from its first moment on."""
    before = shop.commit(subject, site.images.good, *manifests)
    await measure(site, shop, subject, figure)
    await shop.ring(subject, before)


async def failing_metric(site: RollbackSite) -> Outcome:
    """A figure is over its bound with the bad release, and as it was with what comes back."""
    scenario = "failing metric"
    shop = site.shop(scenario)
    await push(site, shop, "good", FINE, config_map("kept", value="1"))
    await shop.until(RunKind.ROLLOUT, Phase.SUCCEEDED)
    before = shop.live()
    await push(
        site, shop, "bad", BAD, config_map("kept", value="2"), config_map("added", value="2")
    )
    failed = await shop.until(RunKind.ROLLOUT, Phase.FAILED)
    assert failed.step is Step.VERIFY
    assert failed.failure is not None
    assert "0.2 is not < 0.05" in failed.failure.message
    return await shop.tell(scenario, site.where, before)


async def rollback_that_fails(site: RollbackSite) -> Outcome:
    """What was good is not any more: it is tried once, and a person is called."""
    scenario = "rollback that fails"
    shop = site.shop(scenario)
    await push(site, shop, "good", FINE, config_map("kept", value="1"))
    await shop.until(RunKind.ROLLOUT, Phase.SUCCEEDED)
    before = shop.live()
    await measure(site, shop, "good", BAD)
    await push(site, shop, "bad", BAD, config_map("added", value="2"))
    back = await shop.until(RunKind.ROLLBACK, Phase.FAILED)
    assert back.step is Step.VERIFY
    assert await shop.stalled(StallReason.ROLLBACK_FAILED)
    assert [run.kind for run in await shop.runs()].count(RunKind.ROLLBACK) == 1
    return Outcome(scenario, site.where.value, shop.live() == before, str(back.release), None)


async def newer_releases_during_an_approval(site: RollbackSite) -> Outcome:
    """Of four that wait only the newest is approved and applied; bad, it gives way to the first."""
    scenario = "three newer releases during an approval"
    shop = site.shop(scenario)
    await shop.push("good", site.images.good, config_map("kept", value="1"))
    await _approve(site, shop)
    await shop.until(RunKind.ROLLOUT, Phase.SUCCEEDED)
    before = shop.live()
    for number in (5, 6, 7):
        await shop.push(f"{number}", site.images.good, config_map("kept", value=f"{number}"))
        await _at_gate(site, shop, f"{number}")
    await shop.push("bad", site.images.crashing, config_map("added", value="8"))
    await _at_gate(site, shop, "bad")
    assert shop.live() == before
    await _approve(site, shop)
    told = await shop.tell(scenario, site.where, before)
    # The newest that is not held waits for its approval by now; only what ended is told.
    ended = [run for run in await shop.runs() if run.kind is RunKind.ROLLOUT and not run.live]
    assert [run.phase for run in ended] == [Phase.SUCCEEDED, *[Phase.ABORTED] * 3, Phase.FAILED]
    return told


async def image_policy_after_a_quarantine(site: RollbackSite) -> Outcome:
    """The bad image stays out, whatever the policy says; a commit and a better image come."""
    scenario = "image policy after a quarantine"
    shop, image = site.shop(scenario), site.images.followed
    await shop.push("good", image, config_map("kept", value="1"))
    await shop.until(RunKind.ROLLOUT, Phase.SUCCEEDED)
    before, good = shop.live(), _image(shop)
    await _report(site, _push_image(site, "1.1.0", crashes=True))
    told = await shop.tell(scenario, site.where, before)

    await shop.push("more", image, config_map("kept", value="1"), config_map("more", value="1"))
    await shop.until(RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
    assert _image(shop) == good
    better = _push_image(site, "1.1.1", crashes=False)
    await _report(site, better)
    await shop.until(RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
    assert better.digest in _image(shop)
    return told


async def three_correlated_failures(site: RollbackSite) -> Outcome:
    """Three verified stages of one cluster turn bad at once: the third is left as it is."""
    scenario = "three correlated failures"
    shops = [site.shop(scenario, stage) for stage in THREE]
    await push(site, shops[0], "good", FINE, config_map("kept", value="1"))
    await _each(shops, 1)
    before = [shop.live() for shop in shops]
    await push(site, shops[0], "bad", FINE, config_map("kept", value="2"))
    await _each(shops, 2)
    applied = [shop.live() for shop in shops]
    await measure(site, shops[0], "bad", BAD)

    async def _is_over() -> bool:
        backs = [run for shop in shops for run in await shop.runs() if _is_back(run)]
        held = [await shop.stalled(StallReason.CLUSTER_TROUBLE) for shop in shops]
        return len(backs) == 2 and sum(held) == 1

    await site.site.until(_is_over, "two rollbacks, and one that was held back", WITHIN)
    for shop, was, is_bad in zip(shops, before, applied, strict=True):
        held = await shop.stalled(StallReason.CLUSTER_TROUBLE)
        assert shop.live() == (is_bad if held else was)
        assert len([run for run in await shop.runs() if run.kind is RunKind.ROLLBACK]) == (not held)
    return Outcome(scenario, site.where.value, restored=False, target="", seconds=None)


def _is_back(run: Run) -> bool:
    return run.kind is RunKind.ROLLBACK and run.phase is Phase.SUCCEEDED


async def _each(shops: list[Shop], count: int) -> None:
    for shop in shops:
        await shop.until(RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)


async def _at_gate(site: RollbackSite, shop: Shop, subject: str) -> None:
    """Wait until the release of a commit stands at the Gate, alone."""

    async def there() -> bool:
        live = [run for run in await shop.runs() if run.live]
        if [run.step for run in live] != [Step.GATE]:
            return False
        release = await site.site.read(lambda tx: tx.releases.get(live[0].release))
        return release is not None and release.commit.sha == shop.seen[subject]

    await site.site.until(there, f"{subject} waits in {shop.name}", WITHIN)


async def _approve(site: RollbackSite, shop: Shop) -> None:
    run = await shop.until(RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await site.site.call("POST", f"/api/v1/runs/{run.id}/approve", {"plan": run.plan})


def _push_image(site: RollbackSite, tag: str, *, crashes: bool) -> PushedImage:
    _, _, path = site.images.followed.partition("/")
    image = crashing_image(tag) if crashes else web_image(tag)
    return site.site.registry.push(image, f"{path}:{tag}")


async def _report(site: RollbackSite, pushed: PushedImage) -> None:
    """Say what the registry says when a tag was pushed."""
    host, _, path = pushed.repository.partition("/")
    target = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "repository": path,
        "tag": pushed.tag,
        "digest": pushed.digest,
    }
    event = {"id": pushed.tag, "action": "push", "target": target, "request": {"host": host}}
    secret = (site.site.directory / "config" / "registry.secret").read_text()
    headers = {"Authorization": f"Bearer {secret}"}
    address, body = f"{site.site.addresses['api']}/hooks/registry", json.dumps({"events": [event]})
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(address, data=body) as answer,
    ):
        assert answer.status == 202


def _image(shop: Shop) -> str:
    found = shop.live()["/apis/apps/v1/namespaces/{}/deployments api"]
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])
