"""The ways to promote with real Git: ``git push`` over HTTP, real fetches, real kustomize.

The service runs in this process; the cluster, the registry and the store are in memory.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.adapters.kustomize.renderer import KustomizeRenderer
from gitopsd.domain.config import ApplicationSpec, GitSource, StageSpec, UpstreamSpec
from gitopsd.domain.images import ImageSource, PinImages, SemverPolicy
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind
from gitopsd.domain.sources import ReceiverName, RefName, RepoURL
from gitopsd.engine.actions import Actions
from gitopsd.engine.intake import accept_delivery
from gitopsd.engine.queries import fetch_commit_statuses
from gitopsd.engine.services import Pace
from gitopsd.pipeline.commit_status import CommitState
from gitopsd.pipeline.tag_choice import TagSelector, format_selector
from tests.support.deliveries import sign
from tests.support.engine_world import (
    PRODUCTION,
    SECRET,
    SHOP,
    STAGING,
    World,
    config_map,
    deployment,
    make_world,
    started,
)
from tests.support.git_http import GitHost, run_git_http
from tests.support.repositories import run_git

pytestmark = pytest.mark.timeout(60)

NAME = "shop.git"
API, WORKER = "registry.example/team/api", "registry.example/team/worker"
DOCS = StageKey(ApplicationName("docs"), StageName("staging"))
ROLE: JsonObject = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "shop-reader"},
    "rules": [],
}
ZERO = "0" * 40
QUICK = Pace(sweep=timedelta(milliseconds=100), settle=timedelta(milliseconds=300))


@dataclass
class Desk:
    """Somebody who works in a clone of the repository."""

    world: World
    host: GitHost
    clone: Path

    async def git(self, *arguments: str) -> str:
        """Run git in the clone; returns what it printed."""
        return (await run_git(*arguments, cwd=self.clone)).strip()

    async def commit(self, branch: str, **overlays: tuple[JsonObject, ...]) -> str:
        """Write folders on a branch and commit them; ``a__b`` is ``a/b``."""
        await self.git("checkout", "-q", "-B", branch)
        for name, objects in overlays.items():
            folder = self.clone / name.replace("__", "/")
            folder.mkdir(parents=True, exist_ok=True)
            names = [f"{number}.json" for number in range(len(objects))]
            (folder / "kustomization.yaml").write_text(f"resources: {json.dumps(names)}\n")
            for file, obj in zip(names, objects, strict=True):
                (folder / file).write_text(json.dumps(obj))
        await self.git("add", "-A")
        await self.git("commit", "-q", "-m", f"Change {', '.join(overlays)}")
        return await self.git("rev-parse", "HEAD")

    async def push(self, ref: str, *options: str) -> None:
        """Push a ref, and send what the host would send then."""
        before = self.host.create(NAME).refs().get(ref, ZERO)
        await self.git("push", "-q", *options, self.host.address(NAME), ref)
        await self.ring(ref, before, self.host.create(NAME).refs().get(ref, ZERO))

    async def ring(self, ref: str, before: str, after: str) -> None:
        """Send the signed webhook of a push."""
        body = json.dumps(self.host.describe_push(NAME, ref, before, after)).encode()
        headers = {
            "content-type": "application/json",
            "x-github-event": "push",
            "x-github-delivery": f"{ref} {before} {after}",
            "x-hub-signature-256": sign(SECRET, body),
        }
        answer = await accept_delivery(self.world.services, ReceiverName("github"), headers, body)
        assert answer.status == 202

    async def live(self, key: StageKey, count: int) -> Run:
        """Wait until a stage went live so often."""
        return await self.world.until_run(key, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)

    async def states(self, wanted: str) -> Mapping[str, CommitState]:
        """Where something stands, by stage."""
        found = await fetch_commit_statuses(self.world.services, wanted)
        return {str(one.key): one.state for one in found}


def specs(repo: RepoURL) -> tuple[ApplicationSpec, ApplicationSpec]:
    """Two applications of one repository.

    The shop brings `develop` to staging, and to production what is tagged, with images of one
    build that staging verified. The docs follow `main`.
    """
    main = GitSource(repo, RefName("refs/heads/main"))
    common = {"cluster": "one", "health_timeout": timedelta(seconds=20)}
    staging = StageSpec(
        StageName("staging"), path="overlays/staging", namespace="shop-staging",
        ref=RefName("refs/heads/develop"), **common,  # type: ignore[arg-type] # fields by name
    )  # fmt: skip
    production = StageSpec(
        StageName("production"), path="overlays/production", namespace="shop",
        namespaces=("monitoring",), cluster_scoped=("ClusterRole",),
        ref=format_selector(TagSelector("v*", ">=1")),
        upstream=UpstreamSpec(StageName("staging")), **common,  # type: ignore[arg-type] # as above
    )  # fmt: skip
    images = tuple(ImageSource(name, SemverPolicy(">=1"), "build") for name in (API, WORKER))
    shop = ApplicationSpec(
        SHOP, {}, main, (staging, production), digest="1", images=images, pin_images=PinImages.ALL
    )
    docs = StageSpec(DOCS.stage, "one", "docs", "docs")
    return shop, ApplicationSpec(DOCS.application, {}, main, (docs,), digest="1")


@asynccontextmanager
async def desk(directory: Path) -> AsyncIterator[Desk]:
    """Run the service beside a Git host, with a clone of an empty repository."""
    async with run_git_http(directory / "host") as host:
        host.create(NAME)
        world = make_world(*specs(RepoURL(host.address(NAME))))
        repositories = GitRepositories(directory / "mirrors", lambda: ())
        renderer = KustomizeRenderer(repositories)
        world.services = replace(
            world.services, repositories=repositories, renderer=renderer, pace=QUICK
        )
        world.actions = Actions(world.services)
        clone = directory / "clone"
        await run_git("init", "-q", "-b", "main", str(clone))
        try:
            async with started(world):
                yield Desk(world, host, clone)
        finally:
            await renderer.close()
            await repositories.close()


def _images(world: World, namespace: str) -> set[str]:
    live = json.loads(json.dumps(world.cluster.live()))
    pods = [live[f"Deployment {namespace}/{name}"]["spec"]["template"] for name in ("api", "work")]
    return {pod["spec"]["containers"][0]["image"] for pod in pods}


async def test_branches_tags_builds_and_neighbours_in_one_repository(tmp_path: Path) -> None:
    """`develop` feeds staging, a tag production; images come as one build, once staging has them.

    Production has a cluster-scoped object and one in a second namespace; another application of
    the repository goes its own way; lies and deleted tags change nothing.
    """
    async with desk(tmp_path) as it:
        world = it.world
        parts = (deployment(API), deployment(WORKER, "work"))
        first = {world.registry.push(name, "1.0.0", content=name) for name in (API, WORKER)}
        beside: JsonObject = {
            **config_map("shop-alerts", level="page"),
            "metadata": {"name": "shop-alerts", "namespace": "monitoring"},
        }
        main = await it.commit(
            "main", overlays__production=(*parts, ROLE, beside), docs=(config_map("docs"),)
        )
        await it.push("refs/heads/main")
        await it.live(DOCS, 1)
        assert await world.runs(PRODUCTION) == []

        # Tagged before staging has anything: it waits, and goes on when staging has verified.
        await it.git("tag", "-a", "-m", "The first", "v1.0.0", main)
        await it.push("refs/tags/v1.0.0")

        async def waits() -> bool:
            return (await it.states("v1.0.0"))["shop/production"] is CommitState.HELD

        await world.until(waits, "the tag to stand at its Gate", timedelta(seconds=20))
        await it.commit("develop", overlays__staging=parts)
        await it.push("refs/heads/develop")
        await it.live(STAGING, 1)
        await it.live(PRODUCTION, 1)
        assert {image.rpartition("@")[2] for image in _images(world, "shop")} == first
        assert "ClusterRole shop-reader" in world.cluster.live()
        assert "ConfigMap monitoring/shop-alerts" in world.cluster.live()
        for wanted in ("v1.0.0", main):
            assert (await it.states(wanted))["shop/production"] is CommitState.LIVE, wanted

        # Half a build is no release; whole, it goes through staging to production by itself.
        half = world.registry.push(API, "1.1.0", content="api 1.1")
        await world.notify(API, "1.1.0", half)
        whole = world.registry.push(WORKER, "1.1.0", content="worker 1.1")
        await world.notify(WORKER, "1.1.0", whole)
        await it.live(STAGING, 2)
        await it.live(PRODUCTION, 2)
        assert _images(world, "shop") == {f"{API}:1.1.0@{half}", f"{WORKER}:1.1.0@{whole}"}
        assert _images(world, "shop") == _images(world, "shop-staging")

        # A lie, a lower version and a deleted one: looks, and no release. The docs go on.
        aside = await it.commit("main", docs=(config_map("docs", text="more"),))
        await it.ring("refs/tags/v9.0.0", ZERO, aside)
        await it.git("tag", "v0.9.0", aside)
        await it.push("refs/tags/v0.9.0")
        await it.push("refs/tags/v1.0.0", "--delete")
        await it.push("refs/heads/main")
        await it.live(DOCS, 2)
        assert [len(await world.runs(key)) for key in (STAGING, PRODUCTION)] == [2, 2]
        assert world.telemetry.reports == []

        # The next tag, of a commit that no branch has: fetched, rendered and brought.
        await it.git("checkout", "-q", "--detach", main)
        await it.commit("aside", overlays__production=(*parts, ROLE, config_map("new")))
        await it.git("tag", "v1.1.0")
        await it.push("refs/tags/v1.1.0")
        await it.live(PRODUCTION, 3)
        live = world.cluster.live()
        assert "ConfigMap shop/new" in live
        assert "ConfigMap monitoring/shop-alerts" not in live
