"""Gives gitopsd's account on a test cluster rights beyond those it documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.cluster_access import ClusterAccess

_GROUP = "rbac.authorization.k8s.io"
_EVERYTHING = ["get", "list", "watch", "create", "update", "patch", "delete"]


def widen_rights(cluster: ClusterAccess, name: str, *groups: str) -> None:
    """Let gitopsd manage every kind of some API groups, as a release with custom kinds needs."""
    grant(cluster, name, [{"apiGroups": list(groups), "resources": ["*"], "verbs": _EVERYTHING}])


def grant(
    cluster: ClusterAccess, name: str, rules: Sequence[dict[str, Any]], *, namespace: str = ""
) -> None:
    """Give gitopsd's account some rules, under a role of this name.

    Args:
        cluster: Where.
        name: Of the role; the same one is replaced.
        rules: What it may do from now on.
        namespace: Where it may do that; everywhere unless given. What a test of its documented
            rights asks for is given in a namespace only, for it shares the cluster.
    """
    account = {"kind": "ServiceAccount", "namespace": "gitopsd", "name": "gitopsd"}
    cluster.client.apply(
        f"/apis/{_GROUP}/v1/clusterroles/widened-{name}",
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": f"widened-{name}"},
            "rules": list(rules),
        },
    )
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    folder = f"namespaces/{namespace}/rolebindings" if namespace else "clusterrolebindings"
    cluster.client.apply(
        f"/apis/{_GROUP}/v1/{folder}/widened-{name}",
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": kind,
            "metadata": {"name": f"widened-{name}"},
            "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": f"widened-{name}"},
            "subjects": [account],
        },
    )


def let_impersonate(cluster: ClusterAccess, namespace: str) -> None:
    """Let gitopsd act as the service accounts of a namespace, the way ``manifests`` documents it.

    Raises:
        RuntimeError: kubectl refused; the message is what it said.
    """
    done = cluster.run_kubectl(
        *("create", "rolebinding", "gitopsd-deployer", "--namespace", namespace),
        *("--clusterrole=gitopsd-impersonate", "--serviceaccount=gitopsd:gitopsd"),
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
