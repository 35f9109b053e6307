"""A real Kubernetes control plane for tests: etcd, API server, controllers and scheduler.

    with ControlPlane.start("shop") as cluster:
        kubeconfig = cluster.gitopsd_kubeconfig()       # what gitopsd is given: no administrator
        cluster.client.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        cluster.audit_events()                          # who did what, as the API server saw it
        cluster.run_kubectl("get", "namespaces")

Tests ask for the session's cluster by the fixture ``control_plane`` and for a namespace of their
own by ``namespace``. Nothing runs pods by itself: the fixture ``site`` adds a node and a registry
(:mod:`tests.support.node_agent`). A node agent:

* runs inside the cluster's network namespace, as a process started behind
  ``cluster.network.prefix``: there it may bind every address of ``cluster.network.nodes`` (its own,
  for logs) and ``cluster.network.pods``, and both are reached from the root namespace too;
* talks to ``cluster.url`` with ``cluster.kubeconfig_for("system:node:NAME", ("system:nodes",))``;
* reaches servers of the root namespace, a registry say, if those listen on
  ``cluster.network.host_address``: loopback is not shared.

The programs are built by ``make envtest``. Start a cluster from the main thread (see
:mod:`tests.support.processes`). Logs and ``audit.log`` stay in ``build/cluster/<name>-<mark>/``.
"""

import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import control_plane_commands as commands
from tests.support.audit_log import AuditLog
from tests.support.cluster_access import ClusterAccess
from tests.support.cluster_certificates import CertificateAuthority, KeyPair, make_signing_key
from tests.support.cluster_client import (
    ClusterClient,
    certificate_user,
    save_private,
)
from tests.support.netns import ClusterNetwork
from tests.support.processes import (
    ServerProcess,
    inherited_environment,
    is_mark_alive,
    process_mark,
    wait_until,
)

_REPOSITORY = Path(__file__).resolve().parents[2]
_BUILD = _REPOSITORY / "tests" / "envtest" / "build.sh"
_RECORDS = _REPOSITORY / "build" / "cluster"
_RECORDS_KEPT = 8
_PRIVATE_PREFIX = "gitopsd-cluster-"
_MEMORY_NEEDED_BYTES = 1024**3  # etcd's log alone takes 128 MiB; containers often have only 64
_START_WITHIN = timedelta(seconds=60)
_INHERITED = ("HOME", "KUBEBUILDER_ASSETS", "PATH", "XDG_CACHE_HOME")


class NotBuiltError(Exception):
    """The control plane's programs are missing; the message says how to build them."""


def find_programs() -> Path:
    """Return the directory of the four executables.

    Raises:
        NotBuiltError: They are not built.
    """
    result = subprocess.run(
        ["sh", str(_BUILD), "--where"],
        env=inherited_environment(*_INHERITED),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise NotBuiltError(result.stderr.strip())
    return Path(result.stdout.splitlines()[-1])


def _make_private_folder() -> Path:
    """Make the folder for keys and etcd's data, in memory where there is room for it.

    Folders of runs that crashed are removed first.
    """
    memory = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
    has_room = memory.is_dir() and shutil.disk_usage(memory).free >= _MEMORY_NEEDED_BYTES
    parent = memory if has_room else Path(tempfile.gettempdir())
    for stale in parent.glob(f"{_PRIVATE_PREFIX}*"):
        if not is_mark_alive(stale.name):
            shutil.rmtree(stale, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PRIVATE_PREFIX}{process_mark()}-", dir=parent))


def _make_records_folder(name: str) -> Path:
    """Make the folder for logs, and remove the oldest of runs that are over."""
    _RECORDS.mkdir(parents=True, exist_ok=True)
    over = [entry for entry in _RECORDS.iterdir() if not is_mark_alive(entry.name)]
    over.sort(key=lambda entry: entry.stat().st_mtime)
    for entry in over[:-_RECORDS_KEPT]:
        shutil.rmtree(entry, ignore_errors=True)
    folder = _RECORDS / f"{name}-{process_mark()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


class ControlPlane(ClusterAccess):
    """One running cluster; see the module's text.

    Attributes:
        name: What it was started as.
        network: Its addresses and its network namespace.
        paths: Its files.
        client: The harness's own requests, as a member of ``system:masters``.
        servers: The running servers by name.
    """

    def __init__(self, name: str, network: ClusterNetwork, paths: commands.Paths) -> None:
        """Use :meth:`start`."""
        self.name = name
        self.network = network
        self.paths = paths
        self.folder = paths.private
        self._audit = AuditLog(paths.audit)
        self.servers: dict[str, ServerProcess] = {}
        self._authority = CertificateAuthority.create()
        admin = self._authority.issue_client("harness", ("system:masters",))
        self.admin_kubeconfig = self._save_kubeconfig("admin", certificate_user(admin))
        self.client = self._make_client(admin)

    @classmethod
    def start(cls, name: str = "tests") -> Self:
        """Start a cluster and return it once it answers, has its controllers and schedules.

        Raises:
            NotBuiltError: ``make envtest`` has not been run.
            NetworkError: No network namespace can be made here.
            ServerEndedError: A server ended while starting.
            WaitTimeoutError: It was not ready within a minute.
        """
        programs = find_programs()
        with ExitStack() as undo:
            network = ClusterNetwork.create()
            undo.callback(network.close)
            private = _make_private_folder()
            undo.callback(shutil.rmtree, private, ignore_errors=True)
            paths = commands.Paths(programs, private, _make_records_folder(name))
            cluster = cls(name, network, paths)
            undo.callback(cluster.close)
            cluster._write_files()
            cluster._start_servers()
            undo.pop_all()
        return cluster

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://{self.network.api_address}:{commands.API_PORT}"

    @property
    def authority(self) -> bytes:
        """The certificate (PEM) that the API server's is signed by."""
        return self._authority.pair.certificate

    def _write_files(self) -> None:
        private = self.paths.private
        self._authority.pair.save(private, "ca")
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
        addresses = (self.network.api_address, self.network.services[1], IPv4Address("127.0.0.1"))
        self._authority.issue_server((*names, *addresses)).save(private, "kube-apiserver")
        kubelet_client = self._authority.issue_client("kube-apiserver", ("system:masters",))
        kubelet_client.save(private, "kubelet-client")
        key, public = make_signing_key()
        KeyPair(public, key).save(private, "service-accounts")
        (private / "service-accounts.crt").rename(private / "service-accounts.pub")
        for server in ("kube-controller-manager", "kube-scheduler"):
            pair = self._authority.issue_client(f"system:{server}")
            self._save_kubeconfig(server, certificate_user(pair))
        save_private(private / "audit-policy.json", commands.AUDIT_POLICY)
        save_private(private / "kube-scheduler.json", commands.scheduler_configuration(self.paths))

    def _start_servers(self) -> None:
        address, services = self.network.api_address, self.network.services
        self._start_server("etcd", commands.etcd_command(self.paths))
        self._start_server(
            "kube-apiserver", commands.api_server_command(self.paths, address, services)
        )
        self._wait_until("the API server to be ready", lambda: self.client.answers("/readyz"))
        self._start_server(
            "kube-controller-manager",
            commands.controller_manager_command(self.paths, address, services),
        )
        self._start_server("kube-scheduler", commands.scheduler_command(self.paths, address))
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait_until("the controllers to work", lambda: self.client.answers(account))
        scheduler = ClusterClient(address, commands.SCHEDULER_PORT, self.client.tls)
        self._wait_until("the scheduler to be ready", lambda: scheduler.answers("/readyz"))

    def _start_server(self, name: str, command: Sequence[str]) -> None:
        log = self.paths.records / f"{name}.log"
        environment = {**inherited_environment("HOME", "PATH"), **commands.GO_RUNTIME}
        self.servers[name] = ServerProcess.start(
            name, command, log, prefix=self.network.prefix, environment=environment
        )

    def _wait_until(self, what: str, condition: Callable[[], bool]) -> None:
        servers = tuple(self.servers.values())
        wait_until(condition, what=what, within=_START_WITHIN, servers=servers)

    def _make_client(self, pair: KeyPair) -> ClusterClient:
        tls = ssl.create_default_context(cadata=self.authority.decode("ascii"))
        certificate, key = pair.save(self.paths.private, "harness")
        tls.load_cert_chain(certificate, key)
        return ClusterClient(self.network.api_address, commands.API_PORT, tls)

    def kubeconfig_for(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """Return the kubeconfig file of a client certificate for ``user``.

        The user may do what RBAC grants it: at first next to nothing.
        """
        pair = self._authority.issue_client(user, groups)
        return self._save_numbered_kubeconfig(certificate_user(pair))

    def audit_events(self, since: int = 0) -> list[dict[str, Any]]:
        """Return what the API server recorded from number ``since`` on, oldest first.

        An event is written when its answer has been sent: one that must be there may take a
        moment to be, so wait for it.
        """
        return self._audit.events(since)

    def audit_length(self) -> int:
        """Return the number of the next event."""
        return self._audit.length()

    def close(self) -> None:
        """Stop every server, by its id, and remove the namespace and the private files.

        Safe to repeat: what is gone is left alone.
        """
        for server in self.servers.values():
            if server.name != "etcd":
                server.terminate()
        for server in reversed(self.servers.values()):
            server.stop()
        self.network.close()
        shutil.rmtree(self.paths.private, ignore_errors=True)
