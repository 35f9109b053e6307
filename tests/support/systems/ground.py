"""What administrators of a cluster make before gitopsd comes, and take away after it went."""

from __future__ import annotations

import base64
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.support.cluster_access import ApplyError
from tests.support.cluster_client import ApiError
from tests.support.operator_secrets import make_key_pair
from tests.support.systems.kinds import Kinds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.support.cluster_access import ClusterAccess
    from tests.support.systems.story import PlantedSecret, SystemStory

_CLUSTER_WIDE = ("ClusterRole", "ClusterRoleBinding", "ClusterIssuer")
_RBAC = "rbac.authorization.k8s.io"
_TLS = "kubernetes.io/tls"
_PULL = "kubernetes.io/dockerconfigjson"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ground:
    """One system's part of a cluster.

    Attributes:
        cluster: The cluster.
        story: The system's.
        stages: Stages of its fitted application file.
    """

    cluster: ClusterAccess
    story: SystemStory
    stages: Sequence[Mapping[str, Any]]

    @property
    def namespaces(self) -> list[str]:
        """Every namespace that the application may write to."""
        return sorted({name for stage in self.stages for name in namespaces_of(stage)})

    def prepare(self) -> None:
        """Make namespaces, accounts, rights and Secrets. Safe to repeat.

        Raises:
            ApplyError: The cluster refused something.
        """
        self._apply(_object("v1", "Namespace", name) for name in self.namespaces)
        self._apply([*self.story.owned_by_admins, *self._rights(), *self._secrets()])

    def remove(self) -> None:
        """Take away namespaces, and what is cluster-wide. Safe to repeat.

        What the cluster refuses to delete keeps nothing else from being deleted.
        """
        kinds = Kinds.discover(self.cluster.client)
        label = quote(f"gitopsd.io/application={self.story.name}")
        for kind in kinds.applied():
            # Namespaces know no deletion of many; the rest of what is cluster-wide does.
            if kind.kind in _CLUSTER_WIDE:
                self._delete(f"{kind.path()}?labelSelector={label}")
        for stage in self.stages:
            inventory = f"gitopsd-{self.story.name}-{stage['name']}"
            self._delete(f"/api/v1/namespaces/gitopsd/configmaps/{inventory}")
        for name in self.namespaces:
            self._delete(f"/api/v1/namespaces/{name}")
        for one in (*self.story.owned_by_admins, *self._rights()):
            if "namespace" not in one["metadata"]:
                self._delete(kinds.path(dict(one)))

    def _delete(self, path: str) -> None:
        with suppress(ApiError):
            self.cluster.client.delete(path)

    def _apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        stream = "\n---\n".join(json.dumps(one) for one in objects)
        if stream:
            said = self.cluster.run_kubectl("apply", "--server-side", "--filename=-", stdin=stream)
            if said.returncode:
                raise ApplyError(said.stderr)

    def _rights(self) -> list[Object]:
        if not self.story.rights:
            return []
        name, group = f"gitopsd-{self.story.name}", f"{_RBAC}/v1"
        account = {"kind": "ServiceAccount", "name": "gitopsd", "namespace": "gitopsd"}
        role = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}
        return [
            {**_object(group, "ClusterRole", name), "rules": list(self.story.rights)},
            {
                **_object(group, "ClusterRoleBinding", name),
                "roleRef": role,
                "subjects": [account],
            },
        ]

    def _secrets(self) -> list[Object]:
        places = {stage["name"]: stage["namespace"] for stage in self.stages}
        return [_secret(one, places[one.stage]) for one in self.story.secrets]


def namespaces_of(stage: Mapping[str, Any]) -> list[str]:
    """The namespaces of one stage of an application file."""
    return [stage["namespace"], *stage.get("namespaces", [])]


def _object(version: str, kind: str, name: str) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}


def _secret(planted: PlantedSecret, namespace: str) -> Object:
    values = {key: secrets.token_hex(16) for key in planted.keys}
    made = _object("v1", "Secret", planted.name)
    if planted.kind == _TLS:
        made = make_key_pair({"spec": {"secretName": planted.name}})
    elif planted.kind == _PULL:
        login = base64.b64encode(f"reader:{secrets.token_hex(8)}".encode()).decode()
        values = {".dockerconfigjson": json.dumps({"auths": {"ghcr.io": {"auth": login}}})}
    made["metadata"]["namespace"] = namespace
    made["type"] = planted.kind
    return made if planted.kind == _TLS else {**made, "stringData": values}
