"""One application of the rollback scenarios on real servers: what it runs, pushes and leaves.

Judgements come from the cluster (`Shop.live`), never from gitopsd's word.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.domain.work import Page
from tests.support.images import crashing_image, job_image, web_image
from tests.support.repositories import MAIN, Content
from tests.support.rollback_table import Outcome, Where
from tests.support.service_site import DEPLOYMENT, SERVICE, ServiceSite, canonical, config_map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.registry import RegistryServer

WITHIN = timedelta(seconds=180)
ONLY = "production"
"""The stage, and the folder of its overlay, of an application that has one."""
_COLLECTIONS = (
    "/apis/apps/v1/namespaces/{}/deployments",
    "/api/v1/namespaces/{}/services",
    "/api/v1/namespaces/{}/configmaps",
)


class Images:
    """What the applications run.

    Attributes:
        good: Works.
        missing: Is not there.
        crashing: Crashes at its start.
        sick: Is never ready, and crashes after some seconds.
        fading: Answers well once.
        failing: Exits 1, for a Job.
        followed: Image without a tag, for an application that takes what is pushed; 1.0.0 is there.
    """

    def __init__(self, registry: RegistryServer, name: str) -> None:
        self.good = registry.push(web_image("1"), f"{name}/api:1").pinned
        # Under a name that gitopsd has no registry for: one that it asked would be missed earlier.
        self.missing = f"localhost:{registry.host.rpartition(':')[2]}/{name}/api:not-there"
        self.crashing = registry.push(crashing_image("2"), f"{name}/api:crash").pinned
        sick = web_image("3", ready_statuses=(503,), exits=[{"code": 1, "afterSeconds": 3}])
        self.sick = registry.push(sick, f"{name}/api:sick").pinned
        fading = web_image("4", health_statuses=(200, 500))
        self.fading = registry.push(fading, f"{name}/api:fading").pinned
        self.failing = registry.push(job_image("5", code=1), f"{name}/tool:1").pinned
        self.followed = f"{registry.host}/{name}/followed"
        registry.push(web_image("1.0.0"), f"{name}/followed:1.0.0")


@dataclass
class Shop:
    """One stage of an application; nearly always the only one.

    Attributes:
        site: The installation.
        images: What it can run.
        name: The application's name, which is its repository's and its first namespace's, too.
        stage: The stage.
        beside: Namespaces of the application's further stages, by stage.
        seen: Commits by subject.
    """

    site: ServiceSite
    images: Images
    name: str
    stage: str = ONLY
    beside: Mapping[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> StageKey:
        """Its stage."""
        return StageKey(ApplicationName(self.name), StageName(self.stage))

    @property
    def namespace(self) -> str:
        """Where its objects are."""
        return self.beside.get(self.stage, self.name)

    def commit(self, subject: str, image: str, *manifests: str) -> str:
        """Commit a release; tells what the branch was before."""
        repository = self.site.host.create(f"{self.name}.git")
        before = repository.refs().get(MAIN, "0" * 40)
        objects = (DEPLOYMENT.format(image=image), SERVICE, *manifests)
        names = [f"object-{number}.yaml" for number in range(len(objects))]
        listed = "".join(f"  - {name}\n" for name in names)
        files: dict[str, Content] = {}
        for stage, namespace in {ONLY: self.name, **self.beside}.items():
            files[f"{stage}/kustomization.yaml"] = f"namespace: {namespace}\nresources:\n{listed}"
            files |= {f"{stage}/{name}": text for name, text in zip(names, objects, strict=True)}
        self.seen[subject] = str(repository.commit(files, message=subject))
        return before

    async def ring(self, subject: str, before: str) -> None:
        """Send the signed webhook of a commit."""
        await self.site.host.send_push(f"{self.name}.git", MAIN, before, self.seen[subject])

    async def push(self, subject: str, image: str, *manifests: str) -> None:
        """Commit a release, and send the signed webhook."""
        await self.ring(subject, self.commit(subject, image, *manifests))

    async def runs(self) -> list[Run]:
        """Read its runs, oldest first."""
        found = await self.site.read(lambda tx: tx.runs.page(Page(50), stage=self.key))
        return list(reversed(found))

    async def until(
        self, kind: RunKind, phase: Phase, *, step: Step | None = None, count: int = 1
    ) -> Run:
        """Wait for runs of a kind in a phase (and step); the newest."""
        found: list[Run] = []

        async def there() -> bool:
            found[:] = [
                run
                for run in await self.runs()
                if (run.kind, run.phase) == (kind, phase) and step in (None, run.step)
            ]
            return len(found) >= count

        try:
            await self.site.until(there, f"{kind.value} {phase.value} in {self.name}", WITHIN)
        except AssertionError as error:
            told = [f"{run.id} {run.phase} {run.step} {run.failure}" for run in await self.runs()]
            raise AssertionError("\n".join([str(error), *told])) from error
        return found[-1]

    def live(self) -> dict[str, dict[str, Any]]:
        """Read its live objects, without what servers write; definitions of its group as well."""
        client, found = self.site.cluster.client, {}
        for path in _COLLECTIONS:
            for item in client.get(path.format(self.namespace))["items"]:
                if "gitopsd.io/stage" in item["metadata"].get("labels", {}):
                    found[f"{path} {item['metadata']['name']}"] = canonical(item)
        definition = definition_of(self.name)
        if client.answers(definition):
            found[definition] = {"versions": client.get(definition)["spec"]["versions"]}
        return found

    def uid_of(self, name: str) -> str:
        """Read which ConfigMap of a name is there."""
        path = f"/api/v1/namespaces/{self.name}/configmaps/{name}"
        return str(self.site.cluster.client.get(path)["metadata"]["uid"])

    def widgets(self, version: str) -> str:
        """Write a definition whose versions differ in a field."""
        schema = {"type": "object", "properties": {f"field{version}": {"type": "string"}}}
        served = {"name": "v1", "served": True, "storage": True}
        versions = [{**served, "schema": {"openAPIV3Schema": schema}}]
        names = {"kind": "Widget", "plural": "widgets", "singular": "widget"}
        group = f"{self.name}.example"
        spec = {"group": group, "names": names, "scope": "Namespaced", "versions": versions}
        return json.dumps(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"widgets.{group}"},
                "spec": spec,
            }
        )

    def smoke(self) -> str:
        """Write a Job that runs after each release, and fails."""
        container = {"name": "smoke", "image": self.images.failing}
        pod = {"restartPolicy": "Never", "containers": [container]}
        return json.dumps(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {
                    "name": "smoke",
                    "annotations": {"argocd.argoproj.io/hook": "PostSync"},
                },
                "spec": {"backoffLimit": 0, "template": {"spec": pod}},
            }
        )

    async def release(self, *more: str) -> dict[str, dict[str, Any]]:
        """Bring what is good; tells what is live then."""
        await self.push("good", self.images.good, config_map("kept", value="1"), *more)
        await self.until(RunKind.ROLLOUT, Phase.SUCCEEDED)
        return self.live()

    async def stalled(self, reason: StallReason) -> bool:
        """Tell whether a person was called for a reason."""
        stage = await self.site.read(lambda tx: tx.stages.get(self.key))
        return stage is not None and stage.stall is not None and stage.stall.reason is reason

    async def tell(self, scenario: str, where: Where, before: object) -> Outcome:
        """Wait until a Rollback succeeded, and compare."""
        back = await self.until(RunKind.ROLLBACK, Phase.SUCCEEDED)
        failed = await self.until(RunKind.ROLLOUT, Phase.FAILED)
        assert failed.ended_at is not None
        assert back.ended_at is not None
        seconds = round((back.ended_at - failed.ended_at).total_seconds(), 3)
        release = await self.site.read(lambda tx: tx.releases.get(back.release))
        assert release is not None
        assert release.commit.sha == self.seen["good"]
        return Outcome(scenario, where.value, self.live() == before, str(release.id), seconds)


def name_of(scenario: str, suffix: str) -> str:
    """Name a scenario's application, namespace and repository."""
    words = scenario.lower().replace(" at each boundary", "").split()
    return "-".join([*words, suffix])


def definition_of(name: str) -> str:
    """Tell where an application's definition is."""
    return f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{name}.example"
