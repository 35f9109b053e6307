"""What an object inside the boundary may not do outside of it."""

from __future__ import annotations

import pytest

from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.domain.verifications import Destination
from gitopsd.kube.boundary import Refusal
from gitopsd.kube.objects import parse_ref
from gitopsd.kube.reach import check_reach

STAGE = Destination("prod", "shop", ("monitoring",))
RBAC = "rbac.authorization.k8s.io"


def check(obj: JsonObject, *given: str) -> Refusal | None:
    """Check for a stage that was given some cluster-scoped objects."""
    return check_reach(obj, parse_ref(obj), destination=STAGE, cluster_scoped=given)


def binding(*subjects: Json, kind: str = "RoleBinding", group: str = RBAC) -> JsonObject:
    """Make a binding."""
    metadata: dict[str, Json] = {"name": "x", "namespace": "shop"}
    return {
        "apiVersion": f"{group}/v1",
        "kind": kind,
        "metadata": metadata,
        "subjects": list(subjects),
    }


def account(namespace: str) -> dict[str, Json]:
    """Name a service account."""
    return {"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}


def user(name: str) -> dict[str, Json]:
    """Name a user."""
    return {"kind": "User", "name": name}


def group(name: str) -> dict[str, Json]:
    """Name a group."""
    return {"kind": "Group", "name": name}


INSIDE = (
    account("shop"),
    account("monitoring"),
    account(""),
    user("jane@example.test"),
    group("release-managers"),
    user("system:serviceaccount:shop:deployer"),
    group("system:serviceaccounts:monitoring"),
)


@pytest.mark.parametrize("kind", ["RoleBinding", "ClusterRoleBinding"])
def test_people_and_accounts_of_the_stage_may_be_bound(kind: str) -> None:
    """However they are named; and nobody at all."""
    assert check(binding(*INSIDE, kind=kind)) is None
    assert check(binding(kind=kind)) is None


@pytest.mark.parametrize(
    "subject, said",
    [
        (account("other"), "ServiceAccount other/deployer"),
        (user("system:serviceaccount:other:deployer"), "User system:serviceaccount:other:deployer"),
        (group("system:serviceaccounts:other"), "Group system:serviceaccounts:other"),
    ],
)
def test_accounts_of_other_namespaces_may_not(subject: Json, said: str) -> None:
    """However they are named; the sentence says who it is and what would allow it."""
    assert check(binding(*INSIDE, subject)) == Refusal(
        "OutsideBoundary",
        f"RoleBinding shop/x: it gives rights to {said}, which is outside of the stage; "
        "add other to namespaces of the stage to allow it",
    )


@pytest.mark.parametrize(
    "subject",
    [
        group("system:serviceaccounts"),
        group("system:serviceaccounts:"),
        group("system:authenticated"),
        group("system:unauthenticated"),
        group("system:masters"),
        user("system:anonymous"),
        user("system:kube-scheduler"),
        user("system:serviceaccount:"),
    ],
)
def test_kubernetes_own_users_and_groups_may_not(subject: dict[str, Json]) -> None:
    """Accounts of every namespace are among them."""
    refusal = check(binding(subject))
    assert refusal is not None
    assert refusal.reason == "OutsideBoundary"
    assert f"{subject['kind']} {subject['name']}" in refusal.message
    assert refusal.message.endswith("name service accounts of the stage's namespaces instead")


def role(*labels: str) -> JsonObject:
    """Make a ClusterRole."""
    metadata: dict[str, Json] = {"name": "x", "labels": dict.fromkeys(labels, "true")}
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": metadata}


def test_a_role_is_not_added_to_roles_that_were_not_given() -> None:
    """Whoever has ``view`` would have its rules; the kind alone does not stand for ``view``."""
    label = f"{RBAC}/aggregate-to-view"

    assert check(role("app", label), "ClusterRole") == Refusal(
        "OutsideBoundary",
        f"ClusterRole x: label {label} adds its rules to ClusterRole view, which the stage may "
        "not write; add ClusterRole/view to clusterScoped of the stage to allow it",
    )


@pytest.mark.parametrize(
    "labels, given",
    [
        ((), "ClusterRole/x"),
        (("app",), "ClusterRole"),
        ((f"{RBAC}/aggregate-to-view",), "ClusterRole/view"),
        ((f"{RBAC}/aggregate-to-monitoring",), "ClusterRole"),
    ],
)
def test_a_role_may_be_added_to_roles_that_were_given(labels: tuple[str, ...], given: str) -> None:
    """By name, or by kind where the role is not the cluster's own."""
    assert check(role(*labels), given) is None


@pytest.mark.parametrize(
    "obj",
    [
        binding(account("other"), group="example.test"),
        binding(account("other"), kind="Role"),
    ],
)
def test_other_kinds_reach_nothing(obj: JsonObject) -> None:
    """Only bindings and roles of Kubernetes give rights."""
    assert check(obj) is None


@pytest.mark.parametrize(
    "odd", [None, "x", [None, 1, {}, {"kind": 1, "name": [], "namespace": {}}]]
)
def test_what_is_no_subject_is_left_to_the_server(odd: Json) -> None:
    """It refuses it in its own words."""
    obj = {**binding(), "subjects": odd, "metadata": odd}
    ref = ObjectRef(ObjectKey(RBAC, "RoleBinding", "shop", "x"), "v1")
    assert check_reach(obj, ref, destination=STAGE, cluster_scoped=()) is None
