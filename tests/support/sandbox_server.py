"""A simulated cluster as people run one: ``gitopsd sandbox``, in a process of its own.

    with SandboxServer.start(directory, registry.url) as cluster:
        cluster.client.create(...); cluster.run_kubectl("get", "pods", "-A")
        cluster.requests(); cluster.add_fault({"match": {"verb": "patch"}, "code": 503})

Fixtures: ``sandbox_server`` (one for the session, with ``sandbox_registry``), ``sandbox_site`` (a
fresh namespace of it). Pods really run, with the same probes and back-offs as on the real control
plane's node.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import pytest

from tests.support.cluster_access import ClusterAccess
from tests.support.cluster_client import ClusterClient
from tests.support.processes import ServerProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from tests.support.registry import RegistryServer

READY_WITHIN = timedelta(seconds=30)
_ROOT = Path(__file__).resolve().parents[2]
_INFO = "info.json"
_QUICK = ("--probe-scale", "0.2", "--back-off-base", "0.5", "--back-off-cap", "4")


@dataclass(slots=True)
class SandboxServer(ClusterAccess):
    """One running simulated cluster.

    Attributes:
        process: The sandbox.
        folder: Its info file, its log, and the kubeconfigs of those who ask it.
        client: The harness's own requests, as its administrator.
        admin_kubeconfig: The same identity's kubeconfig file, as the sandbox wrote it.
        control: Where it shows requests and takes faults.
    """

    process: ServerProcess
    folder: Path
    client: ClusterClient
    admin_kubeconfig: Path
    control: str

    @classmethod
    def start(cls, folder: Path, registry_url: str = "", *arguments: str) -> Self:
        """Start one and return it once it answers.

        Args:
            folder: A private folder for it.
            registry_url: Where every image is pulled from.
            arguments: More options of ``gitopsd sandbox``.
        """
        return cls.start_all([folder], registry_url, *arguments)[0]

    @classmethod
    def start_all(
        cls, folders: Sequence[Path], registry_url: str = "", *arguments: str
    ) -> list[Self]:
        """Start one for each private folder, together, and return them once all answer."""
        registry = ("--registry", registry_url) if registry_url else ()
        processes: list[ServerProcess] = []
        try:
            processes.extend(_begin(folder, *registry, *arguments) for folder in folders)
            for folder, process in zip(folders, processes, strict=True):
                info = folder / _INFO
                wait_until(info.exists, what="the sandbox", within=READY_WITHIN, servers=(process,))
        except BaseException:
            for process in processes:
                process.stop()
            raise
        return [cls._read(folder, own) for folder, own in zip(folders, processes, strict=True)]

    @classmethod
    def _read(cls, folder: Path, process: ServerProcess) -> Self:
        facts = json.loads((folder / _INFO).read_text())
        kubeconfig = Path(facts["kubeconfig"])
        return cls(process, folder, _client(kubeconfig), kubeconfig, facts["control"])

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
        return f"https://{self.client.address}:{self.client.port}"

    @property
    def authority(self) -> bytes:
        """The certificate (PEM) that the API server's is signed by."""
        document = json.loads(self.admin_kubeconfig.read_text())
        content = document["clusters"][0]["cluster"]["certificate-authority-data"]
        return base64.b64decode(content)

    def audit_events(self, since: int = 0) -> list[dict[str, Any]]:
        """The request log from number ``since`` on, in the words of an audit log."""
        return [
            {
                "verb": item["verb"],
                "requestURI": item["path"],
                "userAgent": item["userAgent"],
                "user": {"username": item["user"]},
                "responseStatus": {"code": item["status"]},
                **(
                    {"impersonatedUser": {"username": item["impersonated"]}}
                    if item["impersonated"]
                    else {}
                ),
            }
            for item in self.requests(since)
        ]

    def audit_length(self) -> int:
        """The number of the last request; events are asked for after it."""
        return self.last_request()

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """The requests that were made after one of a number."""
        found = self._control("GET", f"/requests?since={since}")
        return list(found)

    def last_request(self) -> int:
        """The number of the last request."""
        return max((item["seq"] for item in self.requests()), default=0)

    def add_fault(self, fault: dict[str, Any]) -> int:
        """Switch a fault on; returns its number."""
        return int(self._control("POST", "/faults", fault)["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are switched on."""
        return list(self._control("GET", "/faults"))

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self._control("DELETE", "/faults")

    def forget_history(self) -> None:
        """Let every watch that comes back hear that it must list again."""
        self._control("POST", "/compact")

    def disconnect(self) -> None:
        """Cut every connection of the API."""
        self._control("POST", "/disconnect")

    def close(self) -> None:
        """End it, as people do, and see that it leaves nothing. Safe to repeat."""
        self.process.stop()

    def _control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - any JSON
        connection = http.client.HTTPConnection(urlsplit(self.control).netloc, timeout=20)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def _begin(folder: Path, *arguments: str) -> ServerProcess:
    return ServerProcess.start(
        "gitopsd sandbox",
        [
            str(Path(sys.prefix) / "bin" / "gitopsd"),
            *("sandbox", "--info", str(folder / _INFO), *_QUICK, *arguments),
        ],
        folder / "sandbox.log",
        environment={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(_ROOT)},
    )


def _client(kubeconfig: Path) -> ClusterClient:
    document = json.loads(kubeconfig.read_text())
    cluster = document["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    place = urlsplit(cluster["server"])
    return ClusterClient(
        IPv4Address(place.hostname or ""),
        place.port or 0,
        ssl.create_default_context(cadata=authority),
        document["users"][0]["user"]["token"],
    )


@pytest.fixture(scope="session")
def sandbox_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A real registry on loopback, where the session's sandbox pulls its images from."""
    from tests.support.registry import RegistryServer  # noqa: PLC0415 - unit tests do without

    with RegistryServer(tmp_path_factory.mktemp("sandbox-registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def sandbox_server(
    sandbox_registry: RegistryServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxServer]:
    """The session's simulated cluster."""
    folder = tmp_path_factory.mktemp("sandbox")
    with SandboxServer.start(folder, sandbox_registry.url) as server:
        yield server


@pytest.fixture
def sandbox_namespace(sandbox_server: SandboxServer) -> Iterator[str]:
    """The name of a new namespace of the session's sandbox; it is deleted after the test."""
    client = sandbox_server.client
    made = client.create("/api/v1/namespaces", {"metadata": {"generateName": "test-"}})
    name = str(made["metadata"]["name"])
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(
        lambda: client.answers(account),
        what=f"the default service account of {name}",
        within=timedelta(seconds=20),
        servers=(sandbox_server.process,),
    )
    yield name
    client.delete(f"/api/v1/namespaces/{name}")
