"""The chart's rights, with the API server's audit log as the witness of what gitopsd does."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import AsyncIterator, Iterable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gitopsd.domain.runs import Phase, RunKind
from tests.support.images import crashing_image, job_image, web_image
from tests.support.service_site import (
    DEPLOYMENT,
    PRODUCTION,
    SERVICE,
    STAGING,
    ServiceSite,
    config_map,
    run_site,
)

if TYPE_CHECKING:
    from tests.support.helm import Installed
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer

DEPLOYER = "gitopsd-deployer"
PRUNING = "      prune: {objects: 100, share: 1}\n"
READING = frozenset({"get", "list", "watch"})
CREATED, FORBIDDEN = 201, 403

Event: TypeAlias = dict[str, Any]
Right: TypeAlias = tuple[str, str, str]
"""API group, resource with its subresource, verb."""

# One object of each kind that `defaultResources` lists beside those of the usual release.
EVERY_KIND = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: extra, annotations: {{step: "{step}", gitopsd.io/prune: "true"}}}}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: none
  resources: {{requests: {{storage: 1Mi}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
stringData: {{password: of this test}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
data: {{a: b}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
spec:
  serviceName: extra
  selector: {{matchLabels: {{app: extra}}}}
  template:
    metadata: {{labels: {{app: extra}}}}
    spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: web, image: {web}}}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
spec:
  template: {{spec: {{restartPolicy: Never, containers: [{{name: job, image: {job}}}]}}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      template: {{spec: {{restartPolicy: Never, containers: [{{name: job, image: {job}}}]}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: StatefulSet, name: extra}}, maxReplicas: 1}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
spec: {{defaultBackend: {{service: {{name: extra, port: {{number: 80}}}}}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
spec: {{podSelector: {{matchLabels: {{app: extra}}}}, policyTypes: [Egress], egress: [{{}}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: extra, annotations: {{step: "{step}"}}}}
spec: {{selector: {{matchLabels: {{app: extra}}}}, maxUnavailable: 1}}
"""


@dataclass(frozen=True)
class Witness:
    """What the audit log says of gitopsd.

    Attributes:
        installed: The chart.
        events: The requests of gitopsd's account.
        targets: The namespaces that releases go to.
    """

    installed: Installed
    events: list[Event]
    targets: AbstractSet[str]

    def written(self) -> list[Event]:
        """What was not only read."""
        return [event for event in self.events if event["verb"] not in READING]

    def refused(self) -> set[str]:
        """What the API server said no to."""
        return {
            f"{event['verb']} {event['requestURI']}"
            for event in self.events
            if event["responseStatus"]["code"] == FORBIDDEN
        }

    def held(self, places: Iterable[tuple[str, str]]) -> set[Right]:
        """Every right that Roles give."""
        return {
            (group, resource, verb)
            for place in places
            for rule in self.installed.rules(*place)
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    def used(self, namespaces: AbstractSet[str]) -> set[Right]:
        """Every right that a request in these namespaces needed."""
        rights: set[Right] = set()
        for event in self.events:
            ref = event.get("objectRef", {})
            if ref.get("namespace") in namespaces:
                resource = "/".join(filter(None, (ref.get("resource"), ref.get("subresource"))))
                # What an apply makes is a patch in the log, and needs the right to create.
                made = event["verb"] == "patch" and event["responseStatus"]["code"] == CREATED
                verb = "create" if made else event["verb"]
                rights.add((ref.get("apiGroup", ""), resource, verb))
                if "impersonatedUser" in event:
                    rights.add(("", "serviceaccounts", "impersonate"))
        return rights


@asynccontextmanager
async def site_with_chart(
    installed: Installed, registry: RegistryServer, directory: Path, **values: object
) -> AsyncIterator[ServiceSite]:
    """Run gitopsd with the chart's account, its stages with the chart's deployers."""
    async with run_site(installed.cluster, registry, directory, gates="", start=False) as site:
        key = directory / "key"
        key.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
        site.environment["GITOPSD_ENCRYPTION_KEY_FILE"] = str(key)
        targets = [
            {"namespace": namespace, "serviceAccount": DEPLOYER, **values}
            for namespace in site.namespaces.values()
        ]
        installed.install({"targets": targets})
        kubeconfig = installed.cluster.kubeconfig_for_account(installed.namespace, "gitopsd")
        configure(site, kubeconfig, installed.namespace)
        site.start()
        await site.ready()
        yield site


def configure(site: ServiceSite, kubeconfig: Path, namespace: str) -> None:
    """Give the service the chart's account, and its stages their deployers."""
    config = site.directory / "config"
    (config / "clusters" / "one.yaml").write_text(
        "apiVersion: gitopsd.io/v1\nkind: Cluster\nmetadata: {name: one}\n"
        f"spec: {{kubeconfig: {kubeconfig}, inventoryNamespace: {namespace}}}\n"
    )
    application = config / "applications" / "shop.yaml"
    text = application.read_text()
    for own in site.namespaces.values():
        line = f"      namespace: {own}\n"
        text = text.replace(line, f"{line}      serviceAccount: {DEPLOYER}\n{PRUNING}")
    application.write_text(text)


def watch(installed: Installed, site: ServiceSite) -> Witness:
    """Ask the audit log."""
    return Witness(installed, installed.requests(), set(site.namespaces.values()))


async def test_its_rights_are_enough_and_all_of_them_are_used(
    cluster_registry: RegistryServer,
    node: Node,
    installed: Installed,
    tmp_path: Path,
) -> None:
    """Releases of every kind, one without, a bad one and its rollback need just these rights.

    Whatever is written in a target's namespace is written as its deployer, nothing else is written
    but inventories, nothing is refused, and no verb on any resource lies idle.
    """
    name = f"chart{secrets.token_hex(3)}"
    good = cluster_registry.push(web_image("1"), f"{name}/api:1").pinned
    bad = cluster_registry.push(crashing_image("2"), f"{name}/api:2").pinned
    job = cluster_registry.push(job_image("1"), f"{name}/job:1").pinned
    async with site_with_chart(installed, cluster_registry, tmp_path / node.name) as site:
        release = (DEPLOYMENT.format(image=good), SERVICE, config_map("settings", mode="good"))
        old = [text.replace("name: api", "name: old") for text in release[:2]]
        pushes = [[*release, EVERY_KIND.format(web=good, job=job, step=step)] for step in "ab"]
        for count, manifests in enumerate([[*pushes[0], *old], pushes[1], release], start=1):
            await site.push(f"number {count}", *manifests)
            await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)
        await site.push("bad", DEPLOYMENT.format(image=bad), SERVICE, config_map("added", a="b"))
        await site.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        site.stop()
        witness = watch(installed, site)
        own = [(installed.namespace, "gitopsd-inventories")]
        deployers = [(target, DEPLOYER) for target in sorted(witness.targets)]
        becoming = [(target, f"{DEPLOYER}-impersonation") for target in sorted(witness.targets)]
        held_own, held_there = witness.held(own), witness.held(deployers + becoming)
        rules = [installed.rules(*place) for place in own + deployers + becoming]

    written = witness.written()
    in_targets = [event for event in written if event["objectRef"]["namespace"] in witness.targets]
    elsewhere = [event for event in written if event not in in_targets]
    impersonated = {event.get("impersonatedUser", {}).get("username") for event in in_targets}
    groups = {
        group
        for event in witness.events
        for who in (event["user"], event.get("impersonatedUser", {}))
        for group in who.get("groups", ())
    }

    assert impersonated == {f"system:serviceaccount:{at}:{DEPLOYER}" for at in witness.targets}
    assert {
        (event["objectRef"]["namespace"], event["objectRef"]["resource"]) for event in elsewhere
    } == {(installed.namespace, "configmaps")}
    assert witness.refused() == set()
    assert "system:masters" not in groups
    assert held_own - witness.used({installed.namespace}) == set()
    assert held_there - witness.used(witness.targets) == set()
    assert "*" not in json.dumps(rules)


QUOTA = """\
apiVersion: v1
kind: ResourceQuota
metadata: {name: small}
spec: {hard: {pods: "10"}}
"""


async def test_what_its_rights_do_not_hold_is_refused(
    cluster_registry: RegistryServer, node: Node, installed: Installed, tmp_path: Path
) -> None:
    """A kind that a target does not list, and an account that is no target's, end in a sentence.

    It names the account and the right; nothing was written, and gitopsd never tries as itself.
    """
    kinds = {"core": ["configmaps"]}
    directory = tmp_path / node.name
    async with site_with_chart(installed, cluster_registry, directory, resources=kinds) as site:
        await site.push("a kind too many", config_map("settings", a="b"), QUOTA)
        kind = await site.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        site.stop()
        application = site.directory / "config" / "applications" / "shop.yaml"
        application.write_text(application.read_text().replace(DEPLOYER, "default"))
        site.start()
        await site.ready()
        await site.push("as somebody else", config_map("settings", a="b"))
        account = await site.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED, count=2)
        live = site.live(STAGING)
        site.stop()
        witness = watch(installed, site)

    said = [run.failure.message for run in (kind, account) if run.failure is not None]
    tried = [
        event for event in witness.written() if event["objectRef"]["namespace"] in witness.targets
    ]
    assert live == {}
    assert f'{DEPLOYER}" cannot get resource "resourcequotas"' in said[0]
    assert 'cannot impersonate resource "serviceaccounts"' in said[1]
    assert f"{installed.namespace}:gitopsd" in said[1]
    done = [event for event in tried if event["responseStatus"]["code"] != FORBIDDEN]
    assert all("impersonatedUser" in event for event in done)
