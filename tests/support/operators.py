"""Stand-ins for the operators that the systems' manifests count on.

    install_definitions(cluster)        # tests/fixtures/crds, once for a cluster
    with Operators.start(cluster.client) as operators:
        operators.keep_unready("Certificate", "web-tls", namespace="shop", reason="DoesNotExist")
        ...
        operators.let_ready("Certificate", "web-tls", namespace="shop")

Like the real ones they report on what they see: an ExternalSecret is ready once its Secret is
there, a Certificate once its key pair is, a ClusterIssuer once it is registered. A
SecretProviderClass has no status; its Secrets are made when it is, not when a pod mounts it. Kinds
that nobody reports on (ServiceMonitor, PrometheusRule) have nobody here either.

Values of Secrets are made up when they are first asked for. Remote keys that are extracted whole
must be put into ``vault`` first; without that an ExternalSecret says what it misses.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support import operator_reports as reports
from tests.support.cluster_access import ApplyError
from tests.support.cluster_client import ApiError
from tests.support.following import Follower
from tests.support.operator_secrets import Vault, VaultError, make_key_pair, secrets_of_class

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.support.cluster_access import ClusterAccess
    from tests.support.cluster_client import ClusterClient

DEFINITIONS = Path(__file__).resolve().parents[1] / "fixtures" / "crds"

_COLLECTIONS = {
    "ExternalSecret": "/apis/external-secrets.io/v1/externalsecrets",
    "Certificate": "/apis/cert-manager.io/v1/certificates",
    "ClusterIssuer": "/apis/cert-manager.io/v1/clusterissuers",
    "SecretProviderClass": "/apis/secrets-store.csi.x-k8s.io/v1/secretproviderclasses",
}
_NO_STATUS = frozenset({"SecretProviderClass"})
_MERGE = "application/merge-patch+json"


def install_definitions(cluster: ClusterAccess) -> None:
    """Make every kind of ``tests/fixtures/crds`` known to a cluster and wait until it is served.

    Safe to repeat: what is there stays as it is.

    Raises:
        ApplyError: A definition was refused or not established in time.
    """
    files = f"--filename={DEFINITIONS}"
    for command in (
        ("apply", "--server-side", files),
        ("wait", "--for=condition=Established", "--timeout=20s", files),
    ):
        said = cluster.run_kubectl(*command)
        if said.returncode != 0:
            raise ApplyError(said.stderr)


@dataclass(frozen=True, slots=True)
class _Name:
    kind: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        collection = _COLLECTIONS[self.kind]
        if self.namespace:
            collection, _, plural = collection.rpartition("/")
            collection = f"{collection}/namespaces/{self.namespace}/{plural}"
        return f"{collection}/{self.name}"


class Operators:
    """The operators of one cluster.

    Attributes:
        vault: Where ExternalSecrets and SecretProviderClasses take their values.
    """

    def __init__(self, client: ClusterClient, vault: Vault) -> None:
        """Use :meth:`start`."""
        self.vault = vault
        self._client = client
        self._lock = threading.Lock()
        self._unready: dict[_Name, reports.Unready] = {}
        self._provided: set[str] = set()
        self._followers = [
            Follower(client, collection, self._on_change) for collection in _COLLECTIONS.values()
        ]

    @classmethod
    def start(
        cls, client: ClusterClient, *, vault: Mapping[str, Mapping[str, str]] | None = None
    ) -> Self:
        """Report on everything there is and will be.

        Args:
            client: Of the cluster, as an administrator.
            vault: Remote keys with their properties, as ``dataFrom: [{extract: ...}]`` reads them.
        """
        made = cls(client, Vault(vault or {}))
        for follower in made._followers:
            follower.start()
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reporting. What was reported and made stays, as when an operator is scaled down.

        Raises:
            FollowingError: A report could not be written.
        """
        for follower in self._followers:
            follower.stop()
        for follower in self._followers:
            follower.close()

    def keep_unready(
        self, kind: str, name: str, *, namespace: str = "", reason: str = "", message: str = ""
    ) -> None:
        """Report an object as not ready from now on, whether it is there already or not.

        Its Secret is not made; one that was stays.

        Args:
            kind: ``ExternalSecret``, ``Certificate`` or ``ClusterIssuer``.
            name: The object's.
            namespace: The object's; none for a ClusterIssuer.
            reason: Of the condition; what its operator says first when left out.
            message: Of the condition; what its operator says first when left out.
        """
        first = reports.FIRST_TROUBLE[kind]
        wanted = reports.Unready(reason or first.reason, message or first.message)
        found = _Name(kind, namespace, name)
        with self._lock:
            self._unready[found] = wanted
        self._look_again(found)

    def let_ready(self, kind: str, name: str, *, namespace: str = "") -> None:
        """End :meth:`keep_unready`: the object's operator does its work.

        Safe to repeat: an object that nobody holds back is looked at once more.
        """
        found = _Name(kind, namespace, name)
        with self._lock:
            self._unready.pop(found, None)
        self._look_again(found)

    def _look_again(self, name: _Name) -> None:
        try:
            self._on_change(self._client.get(name.path))
        except ApiError as error:
            # Gone, not there yet, or written by a follower meanwhile: an event comes by itself.
            if error.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                raise

    def _on_change(self, item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        if "deletionTimestamp" in metadata:
            return
        name = _Name(item["kind"], metadata.get("namespace", ""), metadata["name"])
        with self._lock:
            unready = self._unready.get(name)
            if unready is None:
                unready = self._provide(name, item)
            if name.kind not in _NO_STATUS:
                self._report(name, item, unready)

    def _provide(self, name: _Name, item: dict[str, Any]) -> reports.Unready | None:
        """Make the Secrets of an object; return what keeps it from being ready."""
        mark = f"{item['metadata']['uid']}/{item['metadata']['generation']}"
        if mark in self._provided:
            return None
        try:
            for secret in self._secrets_of(name.kind, item):
                self._apply_secret(name.namespace, secret)
        except VaultError as error:
            return reports.Unready("SecretSyncedError", str(error))
        self._provided.add(mark)
        return None

    def _secrets_of(self, kind: str, item: dict[str, Any]) -> list[dict[str, Any]]:
        if kind == "ExternalSecret":
            return self.vault.secrets_of(item)
        if kind == "Certificate":
            return [make_key_pair(item)]
        return secrets_of_class(item, self.vault) if kind in _NO_STATUS else []

    def _apply_secret(self, namespace: str, secret: dict[str, Any]) -> None:
        name = secret["metadata"]["name"]
        self._client.request(
            "PATCH",
            f"/api/v1/namespaces/{namespace}/secrets/{name}?fieldManager=operators&force=true",
            secret,
            content_type="application/apply-patch+yaml",
        )

    def _report(self, name: _Name, item: dict[str, Any], unready: reports.Unready | None) -> None:
        """Write an object's status when it says something else.

        Safe to repeat: nothing is written when the status stands.
        """
        status = reports.status_of(item, unready)
        if status is None:
            return
        version = {"resourceVersion": item["metadata"]["resourceVersion"]}
        self._client.request(
            "PATCH",
            f"{name.path}/status?fieldManager=operators",
            {"metadata": version, "status": status},
            content_type=_MERGE,
        )
