"""What a stage may write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.domain.verifications import Destination
from gitopsd.kube import boundary
from gitopsd.kube.boundary import Refusal
from tests.support.hostile import HOSTILE, HOSTILE_OBJECTS

STAGE = Destination("prod", "shop", ("monitoring",))


def ref(kind: str, namespace: str) -> ObjectRef:
    """Make a reference."""
    return ObjectRef(ObjectKey("", kind, namespace, "x"), "v1")


@pytest.mark.parametrize("namespace", ["", "shop", "monitoring"])
def test_objects_inside_the_boundary_pass(namespace: str) -> None:
    """The stage's namespaces; no namespace means its own."""
    found = boundary.check_boundary(
        ref("Service", namespace), namespaced=True, destination=STAGE, cluster_scoped=()
    )
    assert found is None


def test_another_namespace_is_outside() -> None:
    """The sentence says what to add, and where."""
    assert boundary.check_boundary(
        ref("Service", "kube-system"),
        namespaced=True,
        destination=STAGE,
        cluster_scoped=["Service"],
    ) == Refusal(
        "OutsideBoundary",
        "Service kube-system/x: the stage writes to namespace shop only; "
        "add kube-system to namespaces of the stage to allow it",
    )


@pytest.mark.parametrize("given", ["ClusterRole", "ClusterRole/x"])
def test_cluster_scoped_kinds_and_objects_are_allowed_by_name(given: str) -> None:
    """Whatever namespace a cluster-scoped object claims."""
    allowed = boundary.check_boundary(
        ref("ClusterRole", "shop"), namespaced=False, destination=STAGE, cluster_scoped=[given]
    )
    assert allowed is None


@pytest.mark.parametrize("given", [[], ["Namespace"], ["ClusterRole/xx", "Namespace/x"]])
def test_what_was_not_given_is_outside(given: list[str]) -> None:
    """The sentence says how to give this one object and no other."""
    assert boundary.check_boundary(
        ref("ClusterRole", "shop"), namespaced=False, destination=STAGE, cluster_scoped=given
    ) == Refusal(
        "OutsideBoundary",
        "ClusterRole x: the stage may not write this cluster-scoped object; "
        "add ClusterRole/x to clusterScoped of the stage to allow it",
    )


@pytest.mark.parametrize(
    "kind, name, given",
    [
        ("Namespace", "shop", True),
        ("Namespace", "monitoring", True),
        ("Namespace", "other", False),
        ("ClusterRole", "reader", True),
        ("ClusterRole", "view", False),
        ("ClusterRole", "system:node", False),
        ("ClusterRoleBinding", "cluster-admin", False),
        ("StorageClass", "view", True),
    ],
)
def test_a_kind_does_not_stand_for_what_is_plainly_others(
    kind: str, name: str, given: bool
) -> None:
    """Other namespaces, and the roles that every cluster has, are given by name only."""
    kinds = ["Namespace", "ClusterRole", "ClusterRoleBinding", "StorageClass"]

    assert boundary.is_given(kind, name, STAGE, kinds) is given
    assert boundary.is_given(kind, name, STAGE, [f"{kind}/{name}"])


def live(
    labels: Json = None, annotations: Json = None, managers: Json = None, namespace: str = "shop"
) -> JsonObject:
    """Make a live Deployment."""
    metadata: dict[str, Json] = {"name": "api", "labels": labels, "annotations": annotations}
    if namespace:
        metadata["namespace"] = namespace
    if managers is not None:
        metadata["managedFields"] = managers
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}


OURS = {"gitopsd.io/application": "shop", "gitopsd.io/stage": "production"}


def check(found: JsonObject | None, *, adopt: bool = False) -> Refusal | None:
    """Check for stage production of application shop."""
    return boundary.check_owner(found, application="shop", stage="production", adopt=adopt)


@pytest.mark.parametrize(
    "found",
    [
        None,
        live(),
        live(OURS),
        live({**OURS, "argocd.argoproj.io/instance": "x"}),
        live({"app.kubernetes.io/instance": "x"}),
        live(annotations={"argocd.argoproj.io/tracking-id": "x:apps/Deployment:other/api"}),
        live(annotations={"argocd.argoproj.io/tracking-id": "x:/Deployment:shop/api"}),
        live(annotations={"argocd.argoproj.io/tracking-id": "x:apps/Deployment:api"}),
        live(annotations={"argocd.argoproj.io/tracking-id": "apps/Deployment:shop/api"}),
        live(managers=[{"manager": "kubectl"}, {"manager": "gitopsd"}, "odd"]),
    ],
)
def test_nobodys_and_our_own_objects_may_be_written(found: JsonObject | None) -> None:
    """Also a copy that still carries the original's tracking id."""
    assert check(found) is None


@pytest.mark.parametrize(
    "labels, owner",
    [
        ({**OURS, "gitopsd.io/stage": "staging"}, "stage staging of application shop"),
        ({**OURS, "gitopsd.io/application": "blog"}, "stage production of application blog"),
        ({"gitopsd.io/stage": "production"}, "stage production of application "),
    ],
)
def test_an_object_of_another_stage_is_owned_elsewhere(labels: Json, owner: str) -> None:
    """The sentence says whose it is and how to take it over."""
    assert check(live(labels)) == Refusal(
        "OwnedElsewhere",
        f"Deployment shop/api: it belongs to {owner}; "
        'annotate it gitopsd.io/adopt: "true" to take it over',
    )
    assert check(live(labels), adopt=True) is None


@pytest.mark.parametrize(
    "found, manager",
    [
        (live({"argocd.argoproj.io/instance": "x"}), "Argo CD"),
        (
            live(annotations={"argocd.argoproj.io/tracking-id": "x:apps/Deployment:shop/api"}),
            "Argo CD",
        ),
        (live(managers=[{"manager": "argocd-controller"}]), "Argo CD"),
        (live(managers=[{"manager": "argocd-application-controller"}]), "Argo CD"),
        (live({"kustomize.toolkit.fluxcd.io/name": "x"}), "Flux"),
        (live({"helm.toolkit.fluxcd.io/name": "x"}), "Flux"),
        (live(managers=[{"manager": "kustomize-controller"}]), "Flux"),
        (live(managers=[{"manager": "helm-controller"}]), "Flux"),
    ],
)
def test_an_object_of_another_tool_is_managed_by_it(found: JsonObject, manager: str) -> None:
    """Two tools that write one object would undo each other for ever."""
    assert check(found) == Refusal(
        "ManagedBy",
        f"Deployment shop/api: it is managed by {manager}; "
        'annotate it gitopsd.io/adopt: "true" to take it over',
    )
    assert check(found, adopt=True) is None


@pytest.mark.parametrize("said", ["/api", "shop/api", "anywhere/api"])
def test_a_cluster_scoped_object_is_named_without_a_namespace(said: str) -> None:
    """In the sentence; in Argo CD's tracking id it is where the application is deployed to."""
    found = live(
        annotations={"argocd.argoproj.io/tracking-id": f"x:apps/Deployment:{said}"}, namespace=""
    )
    refusal = check(found)
    assert refusal is not None
    assert refusal.message.startswith("Deployment api: it is managed by Argo CD; ")


def test_a_person_may_let_a_live_object_be_taken_over() -> None:
    """Annotated on the cluster; what a stage has taken over keeps that, and stays the stage's."""
    adopt = {"gitopsd.io/adopt": "true"}

    assert check(live({"kustomize.toolkit.fluxcd.io/name": "x"}, adopt)) is None
    refusal = check(live({**OURS, "gitopsd.io/application": "blog"}, adopt))
    assert refusal is not None
    assert refusal.reason == "OwnedElsewhere"


def test_a_manifest_names_no_owner_of_its_object() -> None:
    """Owners are told apart by uid; with a wrong one Kubernetes deletes the object at once."""
    owner: Json = [{"apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "1"}]
    (refusal,) = boundary.validate_set([config_map("a", ownerReferences=owner)])

    assert refusal.reason == "InvalidObject"
    assert refusal.message.startswith("ConfigMap shop/a: metadata.ownerReferences name objects")


def config_map(name: str = "a", **metadata: Json) -> dict[str, Json]:
    """Make a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop", **metadata},
    }


def test_a_fine_set_has_no_refusals() -> None:
    """Two objects of one kind with two names; one name in two groups."""
    other = {**config_map(), "apiVersion": "example.com/v1"}
    assert boundary.validate_set([config_map("a"), config_map("b"), other]) == ()
    assert boundary.validate_set([]) == ()


def test_everything_that_is_wrong_with_a_set_is_said() -> None:
    """In the order of its documents, each by its number or its name."""
    newer = {**config_map("a"), "apiVersion": "v2"}
    documents: list[JsonObject] = [
        config_map("a"),
        {"kind": "Service"},
        newer,
        config_map("b", annotations={"gitopsd.io/adopt": "maybe"}),
        {**config_map("c"), "data": {"x": float("nan")}},
        config_map("a"),
    ]
    assert boundary.validate_set(documents) == (
        Refusal(
            "InvalidObject",
            "document 2: Service: apiVersion is missing; write it, e.g. apps/v1",
        ),
        Refusal(
            "DuplicateObject",
            "ConfigMap shop/a: documents 1 and 3 are the same object; keep one",
        ),
        Refusal(
            "BadAnnotation",
            'ConfigMap shop/b: annotation gitopsd.io/adopt: write "true" or "false"',
        ),
        Refusal(
            "InvalidObject",
            "ConfigMap shop/c: data.x is nan, which JSON does not have",
        ),
        Refusal(
            "DuplicateObject",
            "ConfigMap shop/a: documents 1 and 6 are the same object; keep one",
        ),
    )


def nest(levels: int) -> Json:
    """Nest a value a number of levels deep."""
    value: Json = 1
    for _ in range(levels):
        value = {"x": value}
    return value


def nest_lists(levels: int) -> Json:
    """Nest a value a number of lists deep."""
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value, problem",
    [
        ({"a": [1, 2.5, "x", True, None, (1,)]}, ""),
        ("text", ""),
        ({1: "x"}, "the object has the key 1; quote it to make a string"),
        ({"a": {"b": [{}, {None: 1}]}}, "a.b[1] has the key None; quote it to make a string"),
        ({"a": [1, float("inf")]}, "a[1] is inf, which JSON does not have"),
        ({"a": b"bytes"}, "a is b'bytes', which JSON does not have"),
        ({"a": {"b": {1, 2}}}, "a.b is {1, 2}, which JSON does not have"),
        ({"a": b"x" * 100}, "a is b'" + "x" * 38 + ", which JSON does not have"),
        ([[[1]]], ""),
        (nest_lists(64), ""),
        (nest_lists(65), "[0]" * 26 + "[0... is nested deeper than 64 levels"),
        (nest(64), ""),
        (nest(65), "x." * 40 + "... is nested deeper than 64 levels"),
    ],
)
def test_what_is_no_json_is_found(value: Json, problem: str) -> None:
    """Where it is, and what it is."""
    assert boundary.find_foreign(value) == problem


@given(HOSTILE_OBJECTS, st.booleans())
def test_no_live_object_makes_the_check_raise(obj: JsonObject, adopt: bool) -> None:
    """Whatever is found in the cluster."""
    found = check(obj, adopt=adopt)
    assert found is None or not adopt


@given(st.lists(HOSTILE_OBJECTS | st.builds(config_map, st.just("x")), max_size=4), HOSTILE)
def test_no_set_makes_validation_raise(objects: list[JsonObject], odd: Json) -> None:
    """Whatever was rendered, each refusal has a reason and a sentence."""
    documents: list[JsonObject] = [*objects, odd]  # type: ignore[list-item] # what YAML may hold
    for refusal in boundary.validate_set(documents):
        assert refusal.reason
        assert refusal.message
