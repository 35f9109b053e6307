"""``docs/helm.md``, typed from its first block to its last on a real control plane."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.git_http import GitHost, PushHook, run_git_http
from tests.support.helm import CHART, RELEASE, Helm, Installed
from tests.support.helm_document import Typist, list_blocks
from tests.support.images import web_image
from tests.support.left_namespaces import clear_namespaces
from tests.support.product_image import product_image
from tests.support.repositories import MAIN, Content

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.postgres import PostgresServer
    from tests.support.registry import RegistryServer

REPOSITORY = "shop-deploy.git"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop}}
spec:
  selector: {{matchLabels: {{app: shop}}}}
  template:
    metadata: {{labels: {{app: shop}}}}
    spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: web, image: {image}}}]}}
"""
APPLICATION = """\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {name: web}
spec:
  source: {repoURL: https://git.example/web.git, branch: main}
  stages: [{name: staging, cluster: here, path: ., namespace: shop-staging}]
"""


@pytest.fixture
def mark(control_plane: ControlPlane) -> Iterator[str]:
    """Makes this test's namespaces its own; they are emptied at the end, the volume goes."""
    made, since = secrets.token_hex(3), control_plane.audit_length()
    client = control_plane.client
    client.create(
        "/api/v1/persistentvolumes",
        {
            "metadata": {"name": f"volume-{made}"},
            "spec": {
                "capacity": {"storage": "5Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/nowhere"},
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": f"gitopsd-{made}", "name": "gitopsd-data"},
            },
        },
    )
    yield made
    names = [f"{name}-{made}" for name in ("gitopsd", "staging", "live")]
    clear_namespaces(control_plane, since, *names)
    client.delete(f"/api/v1/persistentvolumes/volume-{made}")


def programs(directory: Path, helm: Helm) -> Path:
    """A folder with the three programs that people have in their path."""
    directory.mkdir()
    (directory / "helm").symlink_to(helm.program)
    for name in ("kubectl", "gitopsd"):
        (directory / name).symlink_to(Path(sys.executable).with_name(name))
    git = shutil.which("git")
    assert git is not None
    (directory / "git").symlink_to(git)
    return directory


def make_account(installed: Installed, kubeconfig: Path) -> None:
    """Make gitopsd's account before helm does, as helm would, so that its kubeconfig is known."""
    release = {"meta.helm.sh/release-name": RELEASE}
    release["meta.helm.sh/release-namespace"] = installed.namespace
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    path = f"/api/v1/namespaces/{installed.namespace}/serviceaccounts"
    metadata: dict[str, Any] = {"name": RELEASE, "annotations": release, "labels": labels}
    installed.cluster.client.create(path, {"metadata": metadata})
    shutil.copy(installed.cluster.kubeconfig_for_account(installed.namespace, RELEASE), kubeconfig)


def own_words(mark: str, product: str) -> dict[str, str]:
    """What the document calls things -> what this test calls them."""
    repository, _, digest = product.partition("@")
    namespace = f"gitopsd-{mark}"
    return {
        " helm/gitopsd ": f" {CHART} ",
        "repository: registry.example/gitopsd, tag: 0.1.0": (
            f"repository: '{repository}', digest: '{digest}'"
        ),
        "namespace gitopsd": f"namespace {namespace}",
        "shop-staging": f"staging-{mark}",
        "namespace: shop\n": f"namespace: live-{mark}\n",
        "namespace: shop,": f"namespace: live-{mark},",
        "--namespace shop\n": f"--namespace live-{mark}\n",
        "{inCluster: true}": f"{{inCluster: true, inventoryNamespace: {namespace}}}",
    }


def make_overlays(image: str) -> dict[str, Content]:
    """What the repository of the document holds."""
    return {
        f"overlays/{stage}/{name}": text
        for stage in ("staging", "production")
        for name, text in (
            ("kustomization.yaml", "resources: [shop.yaml]\n"),
            ("shop.yaml", DEPLOYMENT.format(image=image)),
        )
    }


async def push_again(host: GitHost, overlays: dict[str, Content]) -> int:
    """Push another commit; returns what the webhook was answered."""
    repository = host.create(REPOSITORY)
    before = repository.refs()[MAIN]
    after = repository.commit({"overlays/staging/extra.yaml": "", **overlays}, message="second")
    return await host.send_push(REPOSITORY, MAIN, before, after)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("node")
async def test_every_block_does_what_it_says(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    helm: Helm,
    mark: str,
    postgres: PostgresServer,
    tmp_path: Path,
) -> None:
    """From an empty namespace to a release in production, on to the other mode, and away."""
    namespace, kubeconfig = f"gitopsd-{mark}", tmp_path / "account.kubeconfig"
    installed = Installed(control_plane, helm, namespace)
    product = cluster_registry.push(product_image("1", kubeconfig), f"doc{mark}/gitopsd:1").pinned
    shop = cluster_registry.push(web_image("1"), f"doc{mark}/shop:1").pinned
    address = str(control_plane.network.host_address)
    async with run_git_http(tmp_path / "git", host=address) as host:
        words = own_words(mark, product)
        words["https://git.example"] = host.url
        environment = {
            "HOME": str(tmp_path),
            "PATH": f"{programs(tmp_path / 'bin', helm)}:/usr/bin:/bin",
            "KUBECONFIG": str(control_plane.admin_kubeconfig),
        }
        typist = Typist(tmp_path, environment, words, [])

        async def type_block(beginning: str) -> str:
            return await asyncio.to_thread(typist.type, beginning)

        def find_api() -> str:
            (pod,) = installed.pods("server")
            words["https://gitopsd.example"] = f"http://{pod['status']['podIP']}:8080"
            return words["https://gitopsd.example"]

        overlays = make_overlays(shop)
        host.create(REPOSITORY).commit(overlays, message="first")
        await asyncio.to_thread(typist.write_values)
        await type_block("kubectl create namespace")
        make_account(installed, kubeconfig)
        pods = await type_block("kubectl get pods")
        host.push_hook = PushHook(
            f"{find_api()}/hooks/github", (tmp_path / "github-webhook").read_text().strip()
        )
        stages = await type_block("gitopsd get")
        history = await type_block("gitopsd history")
        hook = await push_again(host, overlays)
        await type_block("head -c 32")
        await type_block("kubectl scale")
        (tmp_path / "web.yaml").write_text(typist.translate(APPLICATION))
        await type_block("kubectl create configmap")
        versions = await type_block("helm history")
        with postgres.database() as url:
            socket = postgres.socket_url(url.rpartition("/")[2].partition("?")[0])
            (tmp_path / "database-url").write_text(socket)
            try:
                await type_block("kubectl create secret generic postgresql")
                parts = [len(installed.pods(part)) for part in ("server", "worker")]
            finally:
                left = await type_block("helm uninstall")

    assert "1/1" in pods
    assert "staging" in stages
    assert "Succeeded" in history
    assert hook == 202
    assert "superseded" in versions
    assert parts == [2, 2]
    assert "persistentvolumeclaim/gitopsd-data" in left
    assert "secret/encryption" in left
    live = control_plane.client.get(f"/apis/apps/v1/namespaces/live-{mark}/deployments/shop")
    assert live["status"]["availableReplicas"] == 1
    assert sorted(typist.typed) == sorted(list_blocks())


async def test_the_other_values_are_taken(helm: Helm, tmp_path: Path) -> None:
    """Files of values that no block installs render all the same."""
    typist = Typist(tmp_path, {}, {}, [])
    await asyncio.to_thread(typist.write_values)
    text = helm.template(
        "--values", str(tmp_path / "values.yaml"), "--values", str(tmp_path / "more.yaml")
    )

    assert "servicemonitors" in text
