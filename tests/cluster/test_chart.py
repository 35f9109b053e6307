"""The chart under ``helm/gitopsd``, by the real helm and on the real control plane."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.domain.runs import Phase, RunKind
from tests.support.images import build_image, crashing_image, web_image
from tests.support.projects import REPOSITORY
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
    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer

CHART = REPOSITORY / "helm" / "gitopsd"
CASES = Path(__file__).parents[1] / "fixtures" / "chart"
DEPLOYER = "gitopsd-deployer"
READING = frozenset({"get", "list", "watch"})
CREATED = 201


@dataclass(frozen=True)
class Helm:
    """The helm that was built beside the control plane.

    Attributes:
        program: The executable.
        home: A home directory of its own.
    """

    program: Path
    home: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it; the exit code is the caller's to judge."""
        return subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(self.home), "PATH": os.defpath},
        )

    def succeed(self, *arguments: str) -> str:
        """Run it and return what it printed."""
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    """The real helm."""
    built = subprocess.run(
        ["sh", "tests/envtest/build.sh", "helm", "--where"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    home = tmp_path / "helm-home"
    home.mkdir()
    return Helm(Path(built) / "helm", home)


@pytest.mark.parametrize("case", ["single", "parts"])
def test_it_is_well_formed(helm: Helm, case: str) -> None:
    """Helm has nothing to object to, in either shape."""
    helm.succeed("lint", "--strict", str(CHART), "--values", str(CASES / f"{case}.values.yaml"))


@pytest.mark.parametrize("case", ["single", "parts"])
def test_it_renders_what_was_reviewed(helm: Helm, case: str) -> None:
    """What a change of the chart does is seen in review: the objects are files of the tests.

    To accept a change: ``helm template gitopsd helm/gitopsd -n gitopsd --values FILE.values.yaml``.
    """
    rendered = helm.succeed(
        "template",
        "gitopsd",
        str(CHART),
        "--namespace=gitopsd",
        "--values",
        str(CASES / f"{case}.values.yaml"),
    )
    assert rendered == (CASES / f"{case}.yaml").read_text()


@pytest.mark.parametrize(
    "setting, place",
    [
        ("mode=parts", "/parts/database/existingSecret"),
        ("mode=cluster", "/mode"),
        ("image.digest=latest", "/image/digest"),
        ("replicas=2", "replicas"),
        ("settings.LISTEN=:1", "LISTEN"),
        ("ingress.enabled=true", "/ingress/host"),
        ("targets[0].namespace=shop", "/targets/0"),
    ],
)
def test_values_that_cannot_work_are_refused(helm: Helm, setting: str, place: str) -> None:
    """The place is named before anything is sent to a cluster."""
    result = helm.run("template", "gitopsd", str(CHART), "--set", setting)
    assert result.returncode != 0
    assert place in result.stderr


@dataclass(frozen=True)
class Installed:
    """The chart, installed into a namespace of its own.

    Attributes:
        cluster: The control plane.
        helm: What installed it.
        namespace: Where.
    """

    cluster: ControlPlane
    helm: Helm
    namespace: str

    @property
    def _cluster(self) -> tuple[str, ...]:
        return (f"--kubeconfig={self.cluster.admin_kubeconfig}", f"--namespace={self.namespace}")

    def install(self, values: Mapping[str, Any], *arguments: str) -> None:
        """Install it, or bring it up to date."""
        file = self.helm.home / "values.json"
        file.write_text(json.dumps(values))
        command = ("upgrade", "--install", "gitopsd", str(CHART), "--values", str(file))
        self.helm.succeed(*command, *self._cluster, *arguments)

    def uninstall(self) -> None:
        """Remove it."""
        self.helm.succeed("uninstall", "gitopsd", "--wait", *self._cluster)

    def rules(self, namespace: str, role: str) -> list[dict[str, Any]]:
        """Read the rules of a Role."""
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{role}"
        found: list[dict[str, Any]] = self.cluster.client.get(path)["rules"]
        return found

    def requests(self) -> list[dict[str, Any]]:
        """List what the API server recorded of gitopsd's account, whoever it acted as."""
        account = f"system:serviceaccount:{self.namespace}:gitopsd"
        return [
            event
            for event in self.cluster.audit_events()
            if event["user"]["username"] == account and event["stage"] == "ResponseComplete"
        ]


@pytest.fixture
def installed(control_plane: ControlPlane, helm: Helm) -> Iterator[Installed]:
    """A namespace for the chart; what was installed is taken away again."""
    namespace = f"gitopsd-{secrets.token_hex(3)}"
    control_plane.client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    yield Installed(control_plane, helm, namespace)
    control_plane.client.delete(f"/api/v1/namespaces/{namespace}")


def test_it_installs_upgrades_and_leaves_what_was_decided(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    installed: Installed,
) -> None:
    """Pods come up by the chart's own probes, an upgrade replaces them, the volume outlives it.

    The image stands in for the product's: it answers what the probes ask on the same ports.
    """
    assert node.name
    name = f"chart{secrets.token_hex(3)}/gitopsd"
    routes: list[dict[str, object]] = [
        {"path": path, "json": {"status": "ok"}}
        for path in ("/health/live", "/health/ready", "/metrics")
    ]
    behaviour: dict[str, object] = {"ports": [8080, 9090], "routes": routes}
    images = [
        cluster_registry.push(build_image(version=tag, behaviour=behaviour), f"{name}:{tag}")
        for tag in ("1", "2")
    ]
    claim: dict[str, Any] = {
        "metadata": {"name": "kept"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
            "volumeName": f"volume-{installed.namespace}",
        },
    }
    client = control_plane.client
    client.create(
        "/api/v1/persistentvolumes",
        {
            "metadata": {"name": f"volume-{installed.namespace}"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": str(installed.helm.home)},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        },
    )
    client.create(f"/api/v1/namespaces/{installed.namespace}/persistentvolumeclaims", claim)
    file = {"clusters/here.yaml": "kind: Cluster"}
    path = f"/apis/apps/v1/namespaces/{installed.namespace}/deployments/gitopsd"
    for image in images:
        repository, _, digest = image.pinned.partition("@")
        installed.install(
            {
                "image": {"repository": repository, "digest": digest},
                "configuration": {"files": file},
                "single": {"storage": {"existingClaim": "kept"}},
            },
            "--wait",
            "--timeout=60s",
        )
        deployment = client.get(path)
        assert deployment["status"]["readyReplicas"] == 1
        assert digest in json.dumps(deployment["spec"])
    installed.uninstall()

    assert not client.answers(path)
    kept = f"/api/v1/namespaces/{installed.namespace}/persistentvolumeclaims/kept"
    assert client.get(kept)["status"]["phase"] == "Bound"
    client.delete(f"/api/v1/persistentvolumes/volume-{installed.namespace}")


def targets_of(site: ServiceSite) -> list[dict[str, Any]]:
    """Describe a site's namespaces as targets of the chart."""
    kinds = {"core": ["configmaps", "services"], "apps": ["deployments"]}
    return [
        {"namespace": namespace, "serviceAccount": DEPLOYER, "resources": kinds}
        for namespace in site.namespaces.values()
    ]


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
        text = text.replace(line, f"{line}      serviceAccount: {DEPLOYER}\n")
    application.write_text(text)


async def test_its_rights_are_enough_and_all_of_them_are_used(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    installed: Installed,
    tmp_path: Path,
) -> None:
    """A good release, a bad one and its rollback need every rule of the chart and nothing else.

    The API server's audit log is the witness: whatever is written in a target's namespace is
    written as its deployer, nothing is refused, and no rule lies idle.
    """
    name = f"chart{secrets.token_hex(3)}"
    good = cluster_registry.push(web_image("1"), f"{name}/api:1").pinned
    bad = cluster_registry.push(crashing_image("2"), f"{name}/api:2").pinned
    directory = tmp_path / node.name
    async with run_site(control_plane, cluster_registry, directory, gates="", start=False) as site:
        installed.install({"targets": targets_of(site)})
        kubeconfig = control_plane.kubeconfig_for_account(installed.namespace, "gitopsd")
        configure(site, kubeconfig, installed.namespace)
        site.start()
        await site.ready()
        release = (DEPLOYMENT.format(image=good), SERVICE, config_map("settings", mode="good"))
        old = [text.replace("name: api", "name: old") for text in release[:2]]
        await site.push("with an old part", *release, *old, config_map("old", a="b"))
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await site.push("without it", *release)
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await site.push("bad", DEPLOYMENT.format(image=bad), SERVICE, config_map("added", a="b"))
        await site.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        requests = installed.requests()
        namespaces = set(site.namespaces.values())
        written = [
            event
            for event in requests
            if event["verb"] not in READING
            and event.get("objectRef", {}).get("namespace") in namespaces
        ]
        assert written
        deployers = {f"system:serviceaccount:{own}:{DEPLOYER}" for own in namespaces}
        assert {event["impersonatedUser"]["username"] for event in written} == deployers
        assert [
            event["requestURI"] for event in requests if event["responseStatus"]["code"] == 403
        ] == []
        assert not [event for event in requests if "system:masters" in event["user"]["groups"]]

        held = [(installed.namespace, "gitopsd-inventories")]
        held += [(own, DEPLOYER) for own in namespaces]
        for places in (held[:1], held[1:]):
            where = {namespace for namespace, _ in places}
            for rule in installed.rules(*places[0]):
                assert find_idle(rule, requests, where) == set(), rule["resources"]
        rules = [rule for place in held for rule in installed.rules(*place)]
        assert not [rule for rule in rules if "*" in json.dumps(rule)]


def find_idle(
    rule: Mapping[str, Any], requests: list[dict[str, Any]], namespaces: AbstractSet[str]
) -> set[str]:
    """List the verbs and resources of a rule that no request in these namespaces needed."""
    used: set[str] = set()
    for event in requests:
        ref = event.get("objectRef", {})
        resource = "/".join(filter(None, (ref.get("resource"), ref.get("subresource"))))
        if (
            ref.get("namespace") in namespaces
            and ref.get("apiGroup", "") in rule["apiGroups"]
            and resource in rule["resources"]
        ):
            # What an apply makes is a patch in the log, and needs the right to create.
            made = event["verb"] == "patch" and event["responseStatus"]["code"] == CREATED
            used |= {"create" if made else event["verb"], resource}
    return {*rule["verbs"], *rule["resources"]} - used
