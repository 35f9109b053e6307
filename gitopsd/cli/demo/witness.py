"""Looks at a cluster and its workloads from outside; gitopsd is never asked."""

from __future__ import annotations

import http.client
import json
from contextlib import closing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gitopsd.sandbox.container import SERVED_BY
from gitopsd.sandbox.kubeconfig import Connection, load_kubeconfig

SECONDS = 5
_COUNTS = ("replicas", "updatedReplicas", "availableReplicas")


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer of a workload.

    Attributes:
        status: HTTP status.
        served_by: The pod that answered.
        version: What it says its version is.
    """

    status: int
    served_by: str
    version: str


class Witness:
    """One cluster's.

    Args:
        kubeconfig: How it is reached.
        namespace: Where the application lives.
    """

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self._connection: Connection = load_kubeconfig(Path(kubeconfig))
        self._namespace = namespace

    def digest(self, name: str) -> str:
        """Digest of the image that a live Deployment asks for; empty when there is none."""
        found = self._get(f"/apis/apps/v1/namespaces/{self._namespace}/deployments/{name}")
        return _image(found["spec"]["template"]["spec"]) if found else ""

    def shows(self, name: str, digest: str, version: str) -> bool:
        """Tell whether a workload runs an image, wholly, and answers as that version.

        The Deployment asks for it and has rolled out, every pod runs it, and an answer through the
        Service names its pod and its version.
        """
        base = f"/apis/apps/v1/namespaces/{self._namespace}/deployments/{name}"
        deployment = self._get(base)
        if not deployment or _image(deployment["spec"]["template"]["spec"]) != digest:
            return False
        if not _rolled_out(deployment):
            return False
        pods = self._pods(name)
        images = {_image(pod["spec"]) for pod in pods}
        heard = self.ask(name)
        if images != {digest} or heard is None:
            return False
        named = any(pod["metadata"]["name"] in heard.served_by for pod in pods)
        return heard.status == HTTPStatus.OK and named and heard.version == version

    def ask(self, service: str) -> Heard | None:
        """Ask a workload through its Service; None: nobody answers."""
        path = "/" if service.endswith("-web") else "/health"
        base = f"/api/v1/namespaces/{self._namespace}/services/{service}:http/proxy{path}"
        answer = self._send(base)
        if answer is None:
            return None
        status, headers, body = answer
        version = ""
        with suppress(ValueError, AttributeError):
            version = str(json.loads(body).get("version", ""))
        return Heard(status, headers.get(SERVED_BY.lower(), ""), version)

    def _pods(self, name: str) -> list[dict[str, Any]]:
        query = f"/api/v1/namespaces/{self._namespace}/pods?labelSelector=app%3D{name}"
        found = self._get(query) or {"items": []}
        return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]

    def _get(self, path: str) -> dict[str, Any] | None:
        answer = self._send(path)
        if answer is None or answer[0] != HTTPStatus.OK:
            return None
        found: dict[str, Any] = json.loads(answer[2])
        return found

    def _send(self, path: str) -> tuple[int, dict[str, str], bytes] | None:
        place = urlsplit(self._connection.server)
        connection = http.client.HTTPSConnection(
            place.hostname or "", place.port, timeout=SECONDS, context=self._connection.tls
        )
        try:
            with closing(connection):
                headers = {
                    "Authorization": f"Bearer {self._connection.token}",
                    "User-Agent": "gitopsd-demo-witness",
                }
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                lowered = {key.lower(): value for key, value in answer.getheaders()}
                return answer.status, lowered, answer.read()
        except (OSError, http.client.HTTPException):
            return None  # who waits looks again, and sees whether the cluster is still there


def _image(pod_spec: dict[str, Any]) -> str:
    return str(pod_spec["containers"][0]["image"]).partition("@")[2]


def _rolled_out(deployment: dict[str, Any]) -> bool:
    status = deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return bool(seen and [status.get(key, 0) for key in _COUNTS] == [wanted] * len(_COUNTS))
