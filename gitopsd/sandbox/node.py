"""The node's own objects: registers the Node, keeps it Ready and renews its Lease."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.errors import GitopsdError
from gitopsd.sandbox.api_client import CONFLICT, ApiRefusal
from gitopsd.sandbox.clock import jittered
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.node_context import NodeContext

LOG = logging.getLogger(__name__)
# The kubelet's own figures: a lease of 40 s renewed each 10 s, a full status each 5 minutes.
LEASE_SECONDS = 40
RENEW_INTERVAL = timedelta(seconds=10)
STATUS_INTERVAL = timedelta(minutes=5)
FIRST_RETRY = timedelta(milliseconds=200)
LONGEST_RETRY = timedelta(seconds=5)
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
VERSION = "v1.0.0-gitopsd-sandbox"
# A node that takes what tests ask for: the scheduler's own arithmetic decides beyond that.
CAPACITY: JsonObject = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "256Gi", "pods": "500"}
HEALTHY = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


class NodeObjects:
    """Keeps the API server believing in this node."""

    def __init__(self, context: NodeContext, *, logs_port: int) -> None:
        self._context = context
        self._logs_port = logs_port
        self._started_at = context.clock.now()
        self._uid = ""

    async def register(self) -> None:
        """Create the Node, or take over the one that is there, and its Lease.

        Safe to repeat: everything is written as it shall be. Trouble is retried for ever.
        """
        retry = FIRST_RETRY
        while True:
            try:
                await self._send_node()
                await self._renew()
            except GitopsdError as error:
                self._log("the node could not be registered yet", error)
                await self._context.clock.sleep(jittered(retry))
                retry = min(retry * 2, LONGEST_RETRY)
            else:
                return

    async def run(self) -> None:
        """Renew the Lease and, less often, the status, for ever."""
        clock = self._context.clock
        told = clock.now()
        while True:
            await clock.sleep(RENEW_INTERVAL)
            try:
                await self._renew()
                if clock.now() - told >= STATUS_INTERVAL:
                    await self._send_node()
                    told = clock.now()
            except GitopsdError as error:
                self._log("the node's lease was not renewed", error)

    async def _send_node(self) -> None:
        node = self._node()
        path = f"/api/v1/nodes/{self._context.settings.name}"
        try:
            made = await self._context.api.send_new("/api/v1/nodes", node)
        except ApiRefusal as error:
            if error.status != CONFLICT:
                raise
            patch: JsonObject = {"metadata": node["metadata"]}
            await self._context.api.send_patch(path, patch)
            made = await self._context.api.send_patch(f"{path}/status", {"status": node["status"]})
        self._uid = text_at(made, "metadata", "uid")

    async def _renew(self) -> None:
        name = self._context.settings.name
        now = self._context.clock.now()
        spec: JsonObject = {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        owner: JsonObject = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self._uid}
        lease: JsonObject = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "ownerReferences": [owner]},
            "spec": spec,
        }
        try:
            await self._context.api.send_patch(f"{LEASES}/{name}", {"spec": spec})
        except ApiRefusal:
            await self._context.api.send_new(LEASES, lease)

    def _node(self) -> JsonObject:
        settings = self._context.settings
        now = self._context.clock.now()
        conditions: list[Json] = [
            _condition(kind, "False", reason, message, now, self._started_at)
            for kind, reason, message in HEALTHY
        ]
        conditions.append(
            _condition(
                "Ready", "True", "KubeletReady", "node agent is ready", now, self._started_at
            )
        )
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": settings.name,
                "labels": {
                    "kubernetes.io/hostname": settings.name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                },
            },
            "spec": {},
            "status": {
                "capacity": CAPACITY,
                "allocatable": CAPACITY,
                "conditions": conditions,
                "addresses": [{"type": "InternalIP", "address": settings.address}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self._logs_port}},
                "nodeInfo": {
                    "architecture": "amd64",
                    "operatingSystem": "linux",
                    "osImage": "gitopsd sandbox",
                    "kernelVersion": "",
                    "machineID": "",
                    "systemUUID": "",
                    "bootID": "",
                    "containerRuntimeVersion": f"gitopsd://{VERSION}",
                    "kubeletVersion": VERSION,
                    "kubeProxyVersion": "",
                },
            },
        }

    def _log(self, message: str, error: Exception) -> None:
        LOG.warning(message, extra={"action": "run-node", "problem": str(error)})


def _condition(
    kind: str, status: str, reason: str, message: str, now: datetime, since: datetime
) -> JsonObject:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": stamp(now),
        "lastTransitionTime": stamp(since),
    }
