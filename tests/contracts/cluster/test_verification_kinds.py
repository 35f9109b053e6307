"""Checks by Jobs and by commands, on clusters that run them: simulated and real."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import CommandCheck, JobCheck
from gitopsd.domain.manifests import JsonObject
from gitopsd.ports import CheckAttempt, CheckTarget
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.cluster_site import is_ready
from tests.support.images import build_image, job_image, web_image
from tests.support.processes import wait_until
from tests.support.widening import grant

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.cluster.conftest import Plane
    from tests.support.cluster_site import Site

SECOND_TIME = b"""
import os, pathlib, sys
mark = pathlib.Path(os.environ["OUT"])
if mark.exists():
    print("second time: all is well")
    sys.exit(0)
mark.touch()
print("first time: page 7 is empty")
sys.exit(1)
"""
SLOW = b"""
import os
print("page 1 is well", flush=True)
open(os.environ["GO"]).read()
print("page 2 is well", flush=True)
"""
RIGHTS: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create", "delete"]},
]


@pytest.fixture
async def verifier(plane: Plane, site: Site) -> AsyncIterator[VerifierByKind]:
    """A verifier of the cluster, with the rights that the document names in the site."""
    grant(plane.access, "verification", RIGHTS, namespace=site.namespace)
    clusters = ConfiguredClusters(lambda: plane.specs, MemoryTelemetry())
    made = VerifierByKind(clusters, SystemClock())
    yield made
    await made.close()
    await clusters.close()


def template(image: str, **env: str) -> JsonObject:
    """A Job with as many tries as a careless author gives it."""
    container: JsonObject = {
        "name": "smoke",
        "image": image,
        "env": [{"name": name, "value": value} for name, value in env.items()],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "smoke", "annotations": {"gitopsd.io/hook": "Verify"}},
        "spec": {
            "backoffLimit": 4,
            "template": {"spec": {"restartPolicy": "OnFailure", "containers": [container]}},
        },
    }


def target_of(site: Site, *templates: JsonObject, attempt: str = "verify-1") -> CheckTarget:
    """An attempt of a run in the site."""
    labels = {"gitopsd.io/application": "shop", "gitopsd.io/stage": "staging"}
    return CheckTarget(
        "gitopsd",
        site.namespace,
        run=f"run-{site.namespace}",
        attempt=attempt,
        templates=templates,
        labels=labels,
    )


async def follow(
    verifier: VerifierByKind, check: JobCheck, target: CheckTarget
) -> tuple[CheckAttempt, int]:
    """Look at an attempt's Job until it has ended; how it ended, and how often it was looked at."""
    looks = 0
    async with asyncio.timeout(40):
        while True:
            attempt = await verifier.run_check(check, target)
            looks += 1
            if not (attempt.underway or attempt.passed is None):
                return attempt, looks


def jobs_in(site: Site) -> list[str]:
    """Names of the Jobs of the site."""
    path = f"/apis/batch/v1/namespaces/{site.namespace}/jobs"
    found = site.cluster.client.get(path)
    return [item["metadata"]["name"] for item in found["items"]]


@pytest.mark.timeout(90)
async def test_a_job_passes_and_is_taken_away(site: Site, verifier: VerifierByKind) -> None:
    """It is made once, however often it is looked at, and its log is the evidence."""
    image = site.push(job_image("1", lines=["42 pages are well"]), "smoke").pinned
    check, target = JobCheck("smoke", "smoke"), target_of(site, template(image))

    attempt, looks = await follow(verifier, check, target)
    made = jobs_in(site)
    again, _ = await follow(verifier, check, target)
    await verifier.tidy(check, target)

    assert (attempt.passed, again.passed) == (True, True)
    assert looks > 1
    assert len(made) == 1
    assert made[0].startswith("smoke-")
    assert "42 pages are well" in str(attempt.evidence)
    gone: Callable[[], bool] = lambda: not jobs_in(site)  # noqa: E731 - a condition to wait for
    wait_until(gone, what="the Job to go", within=timedelta(seconds=20))
    await verifier.tidy(check, target)


@pytest.mark.timeout(90)
async def test_a_job_that_would_succeed_on_its_second_pod_fails(
    site: Site, verifier: VerifierByKind, tmp_path: Path
) -> None:
    """Its template has four tries; the attempt has one, and the failure's words are told."""
    built = build_image(
        version="1",
        behaviour={},
        runtime="process",
        entrypoint=["python3", "/app/twice.py"],
        files={"/app/twice.py": SECOND_TIME},
    )
    image = site.push(built, "twice").pinned
    check = JobCheck("smoke", "smoke")
    first = target_of(site, template(image, OUT=str(tmp_path / "mark")))
    second = target_of(site, template(image, OUT=str(tmp_path / "mark")), attempt="verify-2")

    failed, _ = await follow(verifier, check, first)
    passed, _ = await follow(verifier, check, second)

    assert failed.passed is False
    assert "first time: page 7 is empty" in failed.message
    assert passed.passed is True
    assert len(jobs_in(site)) == 2


@pytest.mark.timeout(90)
async def test_a_log_is_read_while_its_job_runs(
    site: Site, verifier: VerifierByKind, tmp_path: Path
) -> None:
    """What a pod has said is there before it ends, and all of it afterwards."""
    go = tmp_path / "go"
    os.mkfifo(go)
    built = build_image(
        version="1",
        behaviour={},
        runtime="process",
        entrypoint=["python3", "/app/slow.py"],
        files={"/app/slow.py": SLOW},
    )
    image = site.push(built, "slow").pinned
    check, target = JobCheck("smoke", "smoke"), target_of(site, template(image, GO=str(go)))

    async with asyncio.timeout(40):
        seen = await verifier.run_check(check, target)
        while "page 1 is well" not in str(seen.evidence):
            assert seen.underway or seen.passed is None, seen
            seen = await verifier.run_check(check, target)
    assert seen.underway
    assert "page 2" not in str(seen.evidence)
    await asyncio.to_thread(go.write_text, "on")
    ended, _ = await follow(verifier, check, target)

    assert ended.passed is True
    assert "page 2 is well" in str(ended.evidence)


@pytest.mark.timeout(90)
async def test_a_job_has_a_bound(site: Site, verifier: VerifierByKind) -> None:
    """The cluster itself ends it."""
    image = site.push(web_image("1"), "endless").pinned
    check = JobCheck("smoke", "smoke", timeout=timedelta(seconds=2))

    attempt, _ = await follow(verifier, check, target_of(site, template(image)))

    assert attempt.passed is False
    assert "it did not end within 2 s" in attempt.message


@pytest.mark.timeout(90)
async def test_a_command_is_judged_by_its_exit_code_first(
    site: Site, verifier: VerifierByKind
) -> None:
    """One that prints success and exits 1 fails; one that exits 0 must still print what it must."""
    image = web_image(
        "1",
        exec={"check": 0, "lie": 1},
        execOutput={"check": {"stdout": "all is well"}, "lie": {"stdout": "all is well"}},
    )
    site.deploy(site.push(image, "1").pinned)
    site.pod(is_ready, "a ready pod")
    target = target_of(site)

    async def run(word: str, *, contains: str = "all is well", where: str = "web") -> CheckAttempt:
        check = CommandCheck("a", (word,), workload=f"Deployment/{where}", stdout_contains=contains)
        async with asyncio.timeout(30):
            while True:
                attempt = await verifier.run_check(check, target)
                if attempt.passed is not None:
                    return attempt

    assert (await run("check")).message == "exited with 0"
    assert (await run("lie")).message == "exited with 1, expected 0: all is well"
    assert (await run("check", contains="nothing")).passed is False
    assert "could not be started" in (await run("nonesuch")).message
    absent = await run("check", where="none")
    assert absent.message == f"there is no Deployment {site.namespace}/none"
