"""How the servers of a test cluster are started: their arguments and configuration files.

Admission, authorisation and controllers stay as upstream ships them. What differs is said here:
data is not flushed to disk, nothing elects a leader (each server is alone), clients inside the
control plane are not throttled, a node that stops reporting is noticed within seconds, and the
servers take memory and one core each rather than time of all cores.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

API_PORT = 6443
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
_ETCD = "http://127.0.0.1:2379"
_ISSUER = "https://kubernetes.default.svc"


GO_RUNTIME = {"GOGC": "200", "GOMAXPROCS": "1"}
"""Variables of each server: it clears up half as often, and not on a core that a test could use.

Left alone, Go's runtime wakes another thread for nearly every request and marks memory on cores
that are idle at that moment: a tenth of the control plane's processor time, more on a busy machine.
"""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a cluster's files are.

    Attributes:
        programs: The four executables.
        private: Keys, kubeconfigs and etcd's data, removed when the cluster ends.
        records: Logs and the audit log, kept.
    """

    programs: Path
    private: Path
    records: Path

    @property
    def audit(self) -> Path:
        """The API server's audit log: one JSON event a line."""
        return self.records / "audit.log"

    def secret(self, name: str) -> str:
        """Return the path of a file in ``private`` as an argument."""
        return str(self.private / name)


AUDIT_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
        {"level": "Metadata"},
    ],
}
"""Who did what to which object and how it was answered; never a body, bodies hold secrets."""


def scheduler_configuration(paths: Paths) -> dict[str, Any]:
    """Return the scheduler's configuration file."""
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {
            "kubeconfig": paths.secret("kube-scheduler.kubeconfig"),
            "qps": 500,
            "burst": 1000,
        },
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 2,
    }


def etcd_command(paths: Paths) -> list[str]:
    """Return etcd's command; it is reached from inside the network namespace only."""
    return [
        str(paths.programs / "etcd"),
        f"--data-dir={paths.secret('etcd')}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server_command(paths: Paths, address: IPv4Address, services: IPv4Network) -> list[str]:
    """Return the API server's command.

    Args:
        paths: The cluster's files.
        address: Where it listens; not loopback, else it could not be proxied to.
        services: Cluster IPs are taken from it.
    """
    return [
        str(paths.programs / "kube-apiserver"),
        f"--etcd-servers={_ETCD}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={services}",
        f"--tls-cert-file={paths.secret('kube-apiserver.crt')}",
        f"--tls-private-key-file={paths.secret('kube-apiserver.key')}",
        f"--client-ca-file={paths.secret('ca.crt')}",
        f"--kubelet-client-certificate={paths.secret('kubelet-client.crt')}",
        f"--kubelet-client-key={paths.secret('kubelet-client.key')}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={_ISSUER}",
        f"--service-account-key-file={paths.secret('service-accounts.pub')}",
        f"--service-account-signing-key-file={paths.secret('service-accounts.key')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--audit-policy-file={paths.secret('audit-policy.json')}",
        f"--audit-log-path={paths.audit}",
        "--audit-log-maxsize=4096",
        "--audit-log-mode=blocking",
        "--profiling=false",
    ]


def controller_manager_command(
    paths: Paths, address: IPv4Address, services: IPv4Network
) -> list[str]:
    """Return the controller manager's command.

    Args:
        paths: The cluster's files.
        address: Where it answers about its health.
        services: As the API server's.
    """
    kubeconfig = paths.secret("kube-controller-manager.kubeconfig")
    return [
        str(paths.programs / "kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={address}",
        f"--tls-cert-file={paths.secret('kube-apiserver.crt')}",
        f"--tls-private-key-file={paths.secret('kube-apiserver.key')}",
        f"--root-ca-file={paths.secret('ca.crt')}",
        f"--cluster-signing-cert-file={paths.secret('ca.crt')}",
        f"--cluster-signing-key-file={paths.secret('ca.key')}",
        f"--service-account-private-key-file={paths.secret('service-accounts.key')}",
        f"--service-cluster-ip-range={services}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--node-monitor-period=1s",
        "--node-monitor-grace-period=16s",
        f"--flex-volume-plugin-dir={paths.secret('volume-plugins')}",
        "--profiling=false",
    ]


def scheduler_command(paths: Paths, address: IPv4Address) -> list[str]:
    """Return the scheduler's command.

    Args:
        paths: The cluster's files.
        address: Where it answers about its health.
    """
    kubeconfig = paths.secret("kube-scheduler.kubeconfig")
    return [
        str(paths.programs / "kube-scheduler"),
        f"--config={paths.secret('kube-scheduler.json')}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={address}",
        f"--tls-cert-file={paths.secret('kube-apiserver.crt')}",
        f"--tls-private-key-file={paths.secret('kube-apiserver.key')}",
        "--profiling=false",
    ]
