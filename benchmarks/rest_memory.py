"""*rest-memory*: what the service's whole process tree holds when nothing is to be done.

Three applications with two stages each reach production; a minute later the proportional set sizes
of the service and of its children are added up.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from benchmarks.figures import Measured
from benchmarks.installation import DidNotHappenError, Installation
from benchmarks.memory import read_tree
from benchmarks.monorepo import Monorepo
from benchmarks.world import REPOSITORY, World, run_world
from gitopsd.adapters.clock import SystemClock
from gitopsd.domain.manifests import Json
from gitopsd.domain.releases import ApplicationName, StageKey, StageName

APPLICATIONS = 3
REST = timedelta(seconds=60)
WITHIN = timedelta(seconds=90)
LIMIT_MEGABYTES = 150.0
STAGES = ("staging", "production")
_KILOBYTES_IN_MEGABYTE = 1000 / 1.024  # kB of the kernel are 1,024 bytes, MB of people 10**6


def measure(rounds: int | None = None) -> Measured:
    """Measure; a round is a look, ten seconds apart after the first."""
    return asyncio.run(_measure(rounds or 1))


async def _measure(rounds: int) -> Measured:
    async with run_world("memory") as world:
        repo = Monorepo(world.image, overlays=APPLICATIONS)
        files = repo.files()
        for number in range(APPLICATIONS):
            files |= repo.change(number, "0", "staging")
            patch = files[f"{repo.overlay(number)}/patch.yaml"]
            files[f"{repo.overlay(number, 'staging')}/patch.yaml"] = patch
        sha = await world.publish(files)
        service = _write_installation(world, repo)
        service.write_surroundings(world.cluster.gitopsd_kubeconfig())
        try:
            await service.start(world.host)
            for number in range(APPLICATIONS):
                key = StageKey(ApplicationName(f"app-{number}"), StageName("production"))
                await service.until_succeeded(key, sha, WITHIN)
            values, details = await _look(service, rounds)
        finally:
            await service.stop()
    return Measured("MB", values, (LIMIT_MEGABYTES,), "the limit", details=details)


def _write_installation(world: World, repo: Monorepo) -> Installation:
    service = Installation(world.directory / "gitopsd")
    for number in range(APPLICATIONS):
        stages = ""
        for stage in STAGES:
            namespace = f"app-{number}-{stage}"
            world.make_namespace(namespace)
            after = "" if stage == STAGES[0] else f"after: [{STAGES[0]}], "
            stages += (
                f"    - {{name: {stage}, cluster: one, {after}namespace: {namespace},\n"
                f"       path: {repo.overlay(number, stage)},\n"
                "       verify: [{http: {service: api, port: http, path: /health}}]}\n"
            )
        service.write(
            f"applications/app-{number}.yaml",
            "apiVersion: gitopsd.io/v1\nkind: Application\n"
            f"metadata: {{name: app-{number}}}\nspec:\n"
            f"  source: {{repoURL: {world.host.address(REPOSITORY)}, branch: main}}\n"
            f"  stages:\n{stages}",
        )
    return service


async def _look(service: Installation, rounds: int) -> tuple[list[float], dict[str, Json]]:
    clock = SystemClock()
    values: list[float] = []
    processes: list[Json] = []
    await clock.sleep(REST)
    for number in range(rounds):
        if number:
            await clock.sleep(timedelta(seconds=10))
        if service.service is None:
            raise DidNotHappenError("the service is not there")
        tree = read_tree(service.service.pid)
        values.append(sum(one.kilobytes for one in tree) / _KILOBYTES_IN_MEGABYTE)
        processes = [
            {"command": one.command[:120], "MB": round(one.kilobytes / _KILOBYTES_IN_MEGABYTE, 1)}
            for one in tree
        ]
    return values, {"applications": APPLICATIONS, "processes": processes}
