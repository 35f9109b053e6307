"""The folder that the demo writes, copied, runs against a real control plane.

What is believed is what the API server holds and recorded, and what the workloads answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest

from gitopsd.cli.demo.configuration import API_IMAGE, WEB_IMAGE
from gitopsd.cli.demo.pushing import find_manifests
from tests.support.control_plane import ControlPlane
from tests.support.demo_on_cluster import DemoOnCluster, read_folder, run_demo_on_cluster

STAGING, PRODUCTION = "staging", "production"
API, WEB = "ai-core-api", "ai-core-web"
PROBE_SCALE = 0.1
HEALTH_TIMEOUT = timedelta(minutes=10)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[DemoOnCluster]:
    """The demo's folder and hosts in front of a control plane of their own."""
    with (
        ControlPlane.start("demo") as cluster,
        run_demo_on_cluster(cluster, tmp_path, probe_scale=PROBE_SCALE) as made,
    ):
        yield made


@pytest.mark.timeout(480)
def test_the_demos_folder_plays_its_scenarios_on_a_real_control_plane(
    site: DemoOnCluster,
) -> None:
    """Every scenario comes out as in the demo; no file of the folder but the clusters' differs."""
    only_clusters = {
        "clusters/staging.yaml",
        "clusters/production.yaml",
        "clusters/token",
        "clusters/ca.pem",
    }
    assert site.changed_files() == only_clusters

    play_good_release(site)
    play_never_ready(site)
    play_production_smoke_fails(site)
    play_fix_overtakes_stuck(site)
    play_image_push(site)

    assert site.changed_files() == only_clusters
    assert changed_manifests(site) == {"apps/api/kustomization.yaml": {b"    newTag: 1.4.4"}}


def play_good_release(site: DemoOnCluster) -> None:
    """Staging by itself, production after the approver said so."""
    site.push_web("1.0.0")
    site.work.make()
    commit = site.push_api("1.4.0")
    site.await_run(STAGING, "Rollout", "Succeeded")
    assert site.serves(STAGING, API, "1.4.0")
    assert site.writes(PRODUCTION) == []
    site.approve(lambda run: run["commit"] == commit)
    site.await_run(PRODUCTION, "Rollout", "Succeeded")
    assert site.serves(PRODUCTION, API, "1.4.0")
    assert site.serves(PRODUCTION, WEB, "1.0.0")
    assert site.answer(PRODUCTION, API).digest == site.digests[API_IMAGE, "1.4.0"]


def play_never_ready(site: DemoOnCluster) -> None:
    """Staging is restored, object by object; nothing is written to production."""
    before, written = site.live(STAGING), site.writes(PRODUCTION)
    site.push_api("1.4.1", ready=503)
    site.until(
        lambda: site.asked_image(STAGING, API).endswith(site.digests[API_IMAGE, "1.4.1"]) or None,
        "staging to be asked for 1.4.1",
    )
    site.await_run(STAGING, "Rollback", "Succeeded")
    assert site.live(STAGING) == before
    site.await_serving(STAGING, API, "1.4.0")
    assert site.writes(PRODUCTION) == written


def play_production_smoke_fails(site: DemoOnCluster) -> None:
    """Production is restored, object by object, and the bytes do not come back."""
    before = site.live(PRODUCTION)
    commit = site.push_api("1.4.2", smoke_in_production=500)
    site.approve(lambda run: run["commit"] == commit)
    site.await_serving(PRODUCTION, API, "1.4.2")
    assert site.answer(PRODUCTION, API, "/smoke").status == 500
    site.await_run(PRODUCTION, "Rollback", "Succeeded")
    assert site.live(PRODUCTION) == before
    site.await_serving(PRODUCTION, API, "1.4.0")
    assert site.serves(STAGING, API, "1.4.2")

    written = site.writes(PRODUCTION)
    overlay = site.work.directory / "overlays" / "staging" / "kustomization.yaml"
    as_it_was = overlay.read_text()
    overlay.write_text(f"{as_it_was}# the same objects once more\n")
    again = site.work.release("1.4.2")
    site.until(
        lambda: site.state(again, PRODUCTION) == "Quarantined" or None,
        "the second push of the same bytes to be held back",
    )
    assert site.state(again, STAGING) == "Live"
    assert site.writes(PRODUCTION) == written
    overlay.write_text(as_it_was)


def play_fix_overtakes_stuck(site: DemoOnCluster) -> None:
    """The fix takes over from the run that hangs, long before its health timeout."""
    known = {run["id"] for run in site.runs(PRODUCTION)}
    began = monotonic()
    commit = site.push_api("1.4.3", ready_in_production=503)
    stuck = site.approve(lambda run: run["commit"] == commit)
    site.until(
        lambda: next(
            (True for run in site.runs(PRODUCTION) if (run["id"], run["step"]) == hangs(stuck)),
            None,
        ),
        "the release to hang in production",
    )
    assert site.asked_image(PRODUCTION, API).endswith(site.digests[API_IMAGE, "1.4.3"])
    fix = site.push_api("1.4.4")
    site.approve(lambda run: run["commit"] == fix)
    site.await_serving(PRODUCTION, API, "1.4.4")
    site.await_run(PRODUCTION, "Rollout", "Succeeded", count=2)
    assert monotonic() - began < HEALTH_TIMEOUT.total_seconds() / 2
    since = {run["id"]: run for run in site.runs(PRODUCTION) if run["id"] not in known}
    assert (since[stuck]["phase"], since[stuck]["reason"]) == ("Aborted", "Superseded")
    assert {run["kind"] for run in since.values()} == {"Rollout"}


def hangs(run: str) -> tuple[str, str]:
    """The run, waiting for its pods."""
    return run, "WaitHealthy"


def play_image_push(site: DemoOnCluster) -> None:
    """An image goes live by its digest; nothing is pushed to Git."""
    known = {run["id"] for run in site.runs(PRODUCTION)}
    pushed = site.pushed_files()
    digest = site.push_web("1.1.0")
    site.approve(lambda run: run["id"] not in known)
    site.await_serving(PRODUCTION, WEB, "1.1.0")
    site.await_run(PRODUCTION, "Rollout", "Succeeded", count=3)
    assert site.asked_image(PRODUCTION, WEB) == f"{WEB_IMAGE}:1.1.0@{digest}"
    assert site.serves(PRODUCTION, API, "1.4.4")
    assert site.pushed_files() == pushed


def changed_manifests(site: DemoOnCluster) -> dict[str, set[bytes]]:
    """Lines in which the pushed repository differs from the manifests that come with gitopsd."""
    ours, pushed = read_folder(find_manifests()), site.pushed_files()
    assert ours.keys() == pushed.keys()
    return {
        name: set(pushed[name].splitlines()) - set(ours[name].splitlines())
        for name in ours
        if pushed[name] != ours[name]
    }
