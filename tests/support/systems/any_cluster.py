"""A cluster of the user's own, reached by kubectl alone: whatever its login, kubectl knows it."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.cluster_access import ApplyError, ClusterAccess
from tests.support.cluster_client import ClusterClient
from tests.support.processes import ServerProcess, inherited_environment, wait_until

if TYPE_CHECKING:
    from types import TracebackType

_KUBECTL = Path(sys.prefix) / "bin" / "kubectl"
_SERVES = re.compile(r"Starting to serve on 127\.0\.0\.1:(\d+)")
_START_WITHIN = timedelta(seconds=30)
_INHERITED = ("HOME", "PATH", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "HTTPS_PROXY")


@dataclass(frozen=True, slots=True)
class _ProxiedClient(ClusterClient):
    """Requests through ``kubectl proxy`` on this machine, as the user."""

    def connect(self, timeout_seconds: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(str(self.address), self.port, timeout=timeout_seconds)


class AnyCluster(ClusterAccess):
    """One cluster by its kubeconfig; a context manager that runs ``kubectl proxy`` meanwhile."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        """Use it as a context manager.

        Args:
            kubeconfig: The user's file; its current context counts.
            folder: For kubeconfigs that are made and the proxy's log.

        Raises:
            ApplyError: kubectl does not understand the file.
        """
        self.admin_kubeconfig = kubeconfig.resolve()
        self.folder = folder
        said = self.run_kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
        if said.returncode:
            raise ApplyError(said.stderr.strip())
        self._cluster = json.loads(said.stdout)["clusters"][0]["cluster"]
        self._proxy: ServerProcess | None = None

    @property
    def url(self) -> str:
        """The API server's URL."""
        return str(self._cluster["server"])

    @property
    def authority(self) -> bytes:
        """The certificate (PEM) that the API server's is signed by.

        Raises:
            ApplyError: The kubeconfig has none.
        """
        found = self._cluster.get("certificate-authority-data")
        if not found:
            message = f"{self.admin_kubeconfig} names no certificate authority for {self.url}"
            raise ApplyError(message)
        return base64.b64decode(found)

    def __enter__(self) -> Self:
        log = self.folder / "kubectl-proxy.log"
        command = [str(_KUBECTL), f"--kubeconfig={self.admin_kubeconfig}", "proxy", "--port=0"]
        self._proxy = ServerProcess.start(
            "kubectl proxy", command, log, environment=inherited_environment(*_INHERITED)
        )
        try:
            wait_until(
                lambda: _SERVES.search(log.read_text()) is not None,
                what="kubectl proxy",
                within=_START_WITHIN,
                servers=(self._proxy,),
            )
        except BaseException:
            self._proxy.stop()
            raise
        found = _SERVES.search(log.read_text())
        port = int(found[1]) if found else 0
        local = IPv4Address("127.0.0.1")
        self.client = _ProxiedClient(local, port, ssl.create_default_context())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._proxy is not None:
            self._proxy.stop()

    def run_kubectl(
        self, *arguments: str, kubeconfig: Path | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the user, with what a login plug-in may need of the environment."""
        return subprocess.run(
            [str(_KUBECTL), f"--kubeconfig={kubeconfig or self.admin_kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            env=inherited_environment(*_INHERITED),
        )
