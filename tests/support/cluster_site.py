"""One namespace of a test cluster that has a node and a registry: what tests do and look at.

The fixture ``site`` gives a fresh one; see `tests.support.node_agent` for the node itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.support.processes import wait_until
from tests.support.waiting import Answer, Objects, ask, wait_for_objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitopsd.domain.manifests import JsonObject
    from tests.support.cluster_access import ClusterAccess
    from tests.support.images import Image
    from tests.support.registry import PushedImage, RegistryServer

    AllOf: TypeAlias = Callable[[Objects], object]
    OneOf: TypeAlias = Callable[[dict[str, Any]], object]

READY_PROBE = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1}


@dataclass(frozen=True, slots=True)
class Site:
    """One namespace of a cluster with a node and a registry."""

    cluster: ClusterAccess
    registry: RegistryServer
    namespace: str

    @property
    def base(self) -> str:
        """Core collections of the namespace."""
        return f"/api/v1/namespaces/{self.namespace}"

    def push(self, image: Image, tag: str) -> PushedImage:
        """Push an image of this test alone."""
        return self.registry.push(image, f"{self.namespace}/web:{tag}")

    def deploy(self, image: str, *, replicas: int = 1, **container: object) -> None:
        """Apply the Deployment ``web`` with a readiness probe."""
        spec = pod_spec(image, readinessProbe=READY_PROBE, **container)
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/web"
        self.cluster.client.apply(path, deployment(spec, replicas))

    def pods(self, condition: AllOf, what: str) -> Objects:
        """Wait until the namespace's pods are as wanted."""
        return wait_for_objects(self.cluster.client, f"{self.base}/pods", condition, what=what)

    def pod(self, condition: OneOf, what: str) -> dict[str, Any]:
        """Wait until one pod is as wanted and return it."""
        found = self.pods(lambda pods: any(condition(pod) for pod in pods), what)
        return next(pod for pod in found if condition(pod))

    def events(self, condition: AllOf, what: str) -> Objects:
        """Wait until the namespace's Events are as wanted."""
        return wait_for_objects(self.cluster.client, f"{self.base}/events", condition, what=what)

    def wait_available(self, replicas: int) -> None:
        """Wait until the Deployment's newest generation is there and available."""

        def available(found: Objects) -> bool:
            for item in found:
                status = item.get("status", {})
                seen = status.get("observedGeneration") == item["metadata"]["generation"]
                numbers = [
                    status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")
                ]
                if seen and numbers == [replicas] * 3:
                    return True
            return False

        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        wait_for_objects(self.cluster.client, path, available, what=f"{replicas} available")

    def serve(self) -> None:
        """Make the Service ``web``."""
        ports: list[JsonObject] = [{"name": "http", "port": 80, "targetPort": "http"}]
        self.cluster.client.create(
            f"{self.base}/services",
            {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}},
        )

    def wait_endpoints(self, count: int) -> None:
        """Wait until the Service has so many ready endpoints."""

        def ready(slices: Objects) -> bool:
            endpoints = [end for item in slices for end in item.get("endpoints") or []]
            return sum(end["conditions"]["ready"] is True for end in endpoints) == count

        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        wait_for_objects(self.cluster.client, path, ready, what=f"{count} endpoints")

    def wait_reachable(self) -> None:
        """Wait until the API server reaches the Service.

        Its proxy hears of endpoints a moment after those who list them.
        """
        wait_until(
            lambda: self.ask("/health").status == HTTPStatus.OK,
            what="the API server to reach the service web",
            within=timedelta(seconds=20),
        )

    def ask(self, path: str) -> Answer:
        """Ask the Service through the API server's proxy."""
        return ask(self.cluster.client, f"{self.base}/services/web:http/proxy{path}")

    def logs(self, pod: str, *arguments: str) -> str:
        """What ``kubectl logs`` prints, its errors included."""
        result = self.cluster.run_kubectl("logs", pod, "-n", self.namespace, *arguments)
        return result.stdout + result.stderr


def pod_spec(image: str, **container: object) -> dict[str, Any]:
    """A pod with one container that listens on ``http``."""
    ports = [{"name": "http", "containerPort": 8080}]
    return {
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "web", "image": image, "ports": ports, **container}],
    }


def deployment(spec: dict[str, Any], replicas: int) -> JsonObject:
    """The Deployment ``web`` that replaces its pods one by one."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    }


def container_status(pod: dict[str, Any]) -> dict[str, Any]:
    """The status of a pod's only container; empty before there is one."""
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    found: dict[str, Any] = statuses[0]
    return found


def waiting_reason(pod: dict[str, Any]) -> str:
    """Why the container waits."""
    return str(container_status(pod).get("state", {}).get("waiting", {}).get("reason", ""))


def condition_of(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    """One condition of a pod; empty when it is not there."""
    conditions = pod.get("status", {}).get("conditions") or []
    found: dict[str, Any] = next((item for item in conditions if item["type"] == kind), {})
    return found


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether the pod's condition Ready is true."""
    return condition_of(pod, "Ready").get("status") == "True"
