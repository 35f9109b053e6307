"""The chart, installed by the real helm on a real control plane; its pods run the product."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support.cluster_client import ApiError
from tests.support.product_image import product_image

if TYPE_CHECKING:
    from tests.support.cluster_client import ClusterClient
    from tests.support.helm import Installed
    from tests.support.node_agent import Node
    from tests.support.postgres import PostgresServer
    from tests.support.registry import RegistryServer

QUICK = ("--wait", "--timeout=90s")
VOLUMES = "/api/v1/persistentvolumes"
MORE_THAN_A_DAY = 1000


@pytest.fixture
def images(cluster_registry: RegistryServer, node: Node) -> dict[str, dict[str, str]]:
    """The product, twice, and once with migrations that fail: version -> value of `image`."""
    assert node.name
    name = f"chart{secrets.token_hex(3)}/gitopsd"
    made = {}
    for version in ("1", "2", "broken"):
        image = product_image(version, migrations_fail=version == "broken")
        repository, _, digest = cluster_registry.push(image, f"{name}:{version}").pinned.partition(
            "@"
        )
        made[version] = {"repository": repository, "digest": digest}
    return made


@pytest.fixture
def volume(installed: Installed) -> Iterator[str]:
    """A volume for the chart's own claim."""
    client: ClusterClient = installed.cluster.client
    name = f"volume-{installed.namespace}"
    claim = {"namespace": installed.namespace, "name": "gitopsd-data"}
    spec: dict[str, Any] = {
        "capacity": {"storage": "5Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": str(installed.helm.home)},
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": claim,
    }
    client.create(VOLUMES, {"metadata": {"name": name}, "spec": spec})
    yield name
    client.delete(f"{VOLUMES}/{name}")


def ask(pod: dict[str, Any], path: str, token: str) -> int:
    """Ask a pod's API."""
    url = f"http://{pod['status']['podIP']}:8080{path}"
    request = Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - a pod's
            return int(answer.status)
    except HTTPError as error:
        return error.code


@pytest.mark.timeout(600)
def test_one_process_installs_upgrades_goes_back_and_leaves_its_data(
    installed: Installed, images: dict[str, dict[str, str]], volume: str
) -> None:
    """Pods pass the strictest admission and the chart's own probes; the claim outlives it all.

    A second installation of the same name finds the claim of the first.
    """
    token = secrets.token_hex(32)
    installed.make_secret("first", token=token)
    values: dict[str, Any] = {
        "firstToken": {"existingSecret": "first"},
        "configuration": {"files": {"people.yaml": _people()}},
    }
    seen = []

    def look() -> None:
        (pod,) = installed.pods("server")
        status = ask(pod, "/api/v1/tokens", token)
        seen.append((pod["spec"]["containers"][0]["image"].partition("@")[2], status))

    for version in ("1", "2"):
        installed.install({**values, "image": images[version]}, *QUICK)
        look()
    installed.succeed("rollback", "1", *QUICK)
    look()
    installed.succeed("uninstall", "--wait")
    gone = [*installed.pods("server"), *installed.get("apps/v1/deployments")["items"]]
    kept = installed.get("v1/persistentvolumeclaims/gitopsd-data")
    installed.install({**values, "image": images["1"]}, *QUICK)
    again = installed.get("v1/persistentvolumeclaims/gitopsd-data")

    one, two = images["1"]["digest"], images["2"]["digest"]
    assert seen == [(one, 200), (two, 200), (one, 200)]
    assert gone == []
    assert kept["spec"]["volumeName"] == volume
    assert again["metadata"]["uid"] == kept["metadata"]["uid"]


def _people() -> str:
    return (
        "apiVersion: gitopsd.io/v1\nkind: People\nmetadata: {name: people}\nspec: {persons: []}\n"
    )


@pytest.mark.timeout(900)
def test_parts_share_a_database_and_their_first_token(
    installed: Installed, images: dict[str, dict[str, str]], postgres: PostgresServer
) -> None:
    """Tables first, then servers and workers; every server knows the token that was given.

    A migration that fails ends the upgrade, and what ran before runs on.
    """
    token = secrets.token_hex(32)
    with postgres.database() as url:
        socket = postgres.socket_url(url.rpartition("/")[2].partition("?")[0])
        installed.make_secret("database", url=socket)
        installed.make_secret("first", token=token)
        values: dict[str, Any] = {
            "mode": "parts",
            "parts": {
                "database": {"existingSecret": "database"},
                "migration": {"tries": 0},
                "worker": {"replicas": 1},
            },
            "firstToken": {"existingSecret": "first"},
            "configuration": {"files": {"people.yaml": _people()}},
        }
        try:
            installed.install({**values, "image": images["1"]}, *QUICK)
            servers, workers = installed.pods("server"), installed.pods("worker")
            statuses = [ask(pod, "/api/v1/tokens", token) for pod in servers]
            leaked = [_log(installed, pod).count(token) for pod in (*servers, *workers)]
            done = installed.get("batch/v1/jobs")["items"]

            broken = installed.try_install({**values, "image": images["broken"]}, *QUICK)
            (failed,) = installed.get("batch/v1/jobs")["items"]
            still = {pod["metadata"]["name"] for pod in installed.pods("server")}
            status = ask(installed.pods("server")[0], "/health/ready", token)

            installed.install({**values, "image": images["2"]}, *QUICK)
            running = {
                pod["spec"]["containers"][0]["image"].partition("@")[2]
                for part in ("server", "worker")
                for pod in installed.pods(part)
            }
            jobs = installed.get("batch/v1/jobs")["items"]
        finally:
            installed.succeed("uninstall", "--wait")

    assert statuses == [200, 200]
    assert leaked == [0, 0, 0]
    assert done == []
    assert broken.returncode != 0
    assert "pre-upgrade hooks failed" in broken.stderr
    assert failed["spec"]["ttlSecondsAfterFinished"] > MORE_THAN_A_DAY
    assert still == {pod["metadata"]["name"] for pod in servers}
    assert status == 200
    assert running == {images["2"]["digest"]}
    assert jobs == []


def _log(installed: Installed, pod: dict[str, Any]) -> str:
    name = pod["metadata"]["name"]
    said = installed.cluster.run_kubectl("logs", name, "-n", installed.namespace)
    assert said.returncode == 0, said.stderr
    assert said.stdout
    return said.stdout


def test_pods_that_ask_for_more_would_not_run(installed: Installed) -> None:
    """The namespace of these tests refuses a pod that the restricted standard does not allow."""
    pod: dict[str, Any] = {
        "metadata": {"name": "greedy"},
        "spec": {"containers": [{"name": "greedy", "image": "x", "tty": True}]},
    }
    path = f"/api/v1/namespaces/{installed.namespace}/pods"
    with pytest.raises(ApiError, match="violates PodSecurity") as refused:
        installed.cluster.client.create(path, pod)

    assert refused.value.status == 403
