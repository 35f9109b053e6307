"""Who owns which field, and how ownership comes to gitopsd."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given

from gitopsd.domain.manifests import Json, JsonObject, ObjectKey
from gitopsd.kube import field_managers
from gitopsd.kube.field_managers import FieldLoser
from gitopsd.kube.statuses import Cause, Status
from tests.support.hostile import HOSTILE_OBJECTS

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def manager(
    name: str,
    fields: Json = None,
    operation: str = "Apply",
    *,
    subresource: str = "",
    api_version: str = "apps/v1",
    time: str = "",
) -> dict[str, Json]:
    """Make an entry of managedFields."""
    made: dict[str, Json] = {
        "manager": name,
        "operation": operation,
        "apiVersion": api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields or {},
    }
    if subresource:
        made["subresource"] = subresource
    if time:
        made["time"] = time
    return made


def live(*managers: Json, annotations: Json = None, **spec: Json) -> dict[str, Json]:
    """Make a live Deployment."""
    metadata: dict[str, Json] = {
        "name": "api",
        "namespace": "shop",
        "resourceVersion": "42",
        "managedFields": list(managers),
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    "entry, migrates",
    [
        (manager("kubectl-client-side-apply", operation="Update"), True),
        (manager("argocd-controller", operation="Update"), True),
        (manager("kustomize-controller", operation="Apply"), True),
        (manager("kubectl", operation="Apply"), True),
        (manager("kubectl-edit", operation="Update"), True),
        (manager("before-first-apply", operation="Update"), True),
        (manager("before-first-apply", operation="Apply"), False),
        (manager("kubectl", operation="Update", subresource="scale"), False),
        (manager("gitopsd"), False),
        (manager("kube-controller-manager", operation="Update"), False),
        ("odd", False),
    ],
)
def test_fields_of_client_side_kubectl_need_migration(entry: Json, *, migrates: bool) -> None:
    """Every manager that begins with kubectl, and what the server makes of older objects."""
    assert field_managers.needs_migration(live(manager("gitopsd"), entry)) is migrates
    assert bool(field_managers.migration_patch(live(manager("gitopsd"), entry))) is migrates


def test_ownership_is_united_into_ours() -> None:
    """One JSON patch: fields united, others untouched, kubectl's annotation and its path gone."""
    before = live(
        manager(
            "kubectl-client-side-apply",
            {
                "f:metadata": {"f:annotations": {".": {}, f"f:{LAST_APPLIED}": {}}},
                "f:spec": {"f:replicas": {}, "f:template": {"f:a": {}}},
            },
            "Update",
            api_version="apps/v1beta1",
            time="T1",
        ),
        manager("kube-controller-manager", {"f:status": {}}, "Update", subresource="status"),
        manager("gitopsd", {"f:spec": {"f:template": {"f:b": {}}}}, time="T2"),
        manager("kubectl-edit", {"f:spec": {"f:paused": {}}}, "Update"),
        annotations={LAST_APPLIED: "{}", "a": "b"},
    )
    kept = copy.deepcopy(before)
    assert field_managers.migration_patch(before) == (
        {"op": "test", "path": "/metadata/resourceVersion", "value": "42"},
        {
            "op": "replace",
            "path": "/metadata/managedFields",
            "value": [
                {
                    "manager": "gitopsd",
                    "operation": "Apply",
                    "apiVersion": "apps/v1",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {
                        "f:metadata": {},
                        "f:spec": {
                            "f:template": {"f:b": {}, "f:a": {}},
                            "f:replicas": {},
                            "f:paused": {},
                        },
                    },
                    "time": "T2",
                },
                manager(
                    "kube-controller-manager", {"f:status": {}}, "Update", subresource="status"
                ),
            ],
        },
        {
            "op": "remove",
            "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
        },
    )
    assert before == kept


def test_ownership_is_taken_where_we_have_none_yet() -> None:
    """Without a time where no entry has one; other annotations of kubectl's stay ours."""
    fields: Json = {
        "f:metadata": {"f:annotations": {f"f:{LAST_APPLIED}": {}, "f:a": {}}, "f:labels": {}}
    }
    patch = field_managers.migration_patch(live(manager("kubectl", fields, "Update")))
    assert patch[1:] == (
        {
            "op": "replace",
            "path": "/metadata/managedFields",
            "value": [
                manager("gitopsd", {"f:metadata": {"f:annotations": {"f:a": {}}, "f:labels": {}}})
            ],
        },
    )


def test_fields_without_kubectls_annotation_are_united_as_they_are() -> None:
    """Nothing else is dropped; an entry of ours under a subresource is not ours."""
    ours = manager("gitopsd", {"f:x": {}}, subresource="scale")
    update = manager("gitopsd", {"f:y": {}}, "Update")
    fields: Json = {"f:metadata": {"f:annotations": {"f:a": {}}}, "v": 1}
    patch = field_managers.migration_patch(live(ours, update, manager("kubectl", fields, "Update")))
    assert patch[1]["value"] == [manager("gitopsd", fields), ours, update]


def test_the_first_of_two_different_leaves_stays() -> None:
    """Field sets hold only empty objects; odd ones are not mixed."""
    one = manager("gitopsd", {"f:x": "odd", "f:y": {}})
    two = manager("kubectl", {"f:x": {"f:z": {}}, "f:y": "odd"}, "Update")
    patch = field_managers.migration_patch(live(one, two))
    assert patch[1]["value"] == [manager("gitopsd", {"f:x": "odd", "f:y": {}})]


def nest(levels: int, end: str) -> Json:
    """Nest a field set a number of levels deep."""
    value: Json = {end: {}}
    for _ in range(levels):
        value = {"f:x": value}
    return value


def test_deep_field_sets_are_united_down_to_a_depth() -> None:
    """And nothing overflows below it."""
    for levels, both in ((99, True), (100, True), (101, False), (5000, False)):
        one = manager("gitopsd", nest(levels, "f:a"))
        two = manager("kubectl", nest(levels, "f:b"), "Update")
        value = field_managers.migration_patch(live(one, two))[1]["value"]
        assert isinstance(value, list)
        fields: Json = value[0]
        for _ in range(levels):
            assert isinstance(fields, dict)
            fields = fields.get("fieldsV1", fields).get("f:x")
        assert fields == ({"f:a": {}, "f:b": {}} if both else {"f:a": {}})


def test_stale_versions_are_rewritten() -> None:
    """Every entry gets the object's own version, in one guarded patch."""
    stale = manager("kube-controller-manager", {"f:s": {}}, "Update", api_version="apps/v1beta2")
    patch = field_managers.version_patch(live(manager("gitopsd"), stale))
    assert patch == (
        {"op": "test", "path": "/metadata/resourceVersion", "value": "42"},
        {
            "op": "replace",
            "path": "/metadata/managedFields",
            "value": [
                manager("gitopsd"),
                manager("kube-controller-manager", {"f:s": {}}, "Update"),
            ],
        },
    )
    assert field_managers.version_patch(live(manager("gitopsd"))) == ()
    assert field_managers.version_patch(live()) == ()


@pytest.mark.parametrize(
    "entry, ours",
    [
        (manager("gitopsd"), True),
        (manager("gitopsd", operation="Update"), False),
        (manager("other"), False),
    ],
)
def test_an_object_we_have_applied_is_owned(entry: Json, *, ours: bool) -> None:
    """Only an Apply makes an owner."""
    assert field_managers.owns(live(entry)) is ours
    assert field_managers.owns(live(manager("other")), "other") is True


CONFLICT = "FieldManagerConflict"


def test_losers_of_a_forced_apply_are_named() -> None:
    """Who loses which field, sorted, each once; other causes are none."""
    status = Status(
        409,
        causes=(
            Cause(CONFLICT, ".spec.replicas", 'conflict with "kubectl-edit" using apps/v1'),
            Cause(
                CONFLICT,
                ".spec.paused",
                'conflict with "kubectl-edit" with subresource "scale" using apps/v1',
            ),
            Cause(CONFLICT, "spec.x", "conflict with somebody"),
            Cause("Other", ".spec.y", 'conflict with "x"'),
            Cause(CONFLICT, ".spec.replicas", 'conflict with "kubectl-edit" using apps/v1'),
        ),
    )
    losers = field_managers.parse_losers(status)
    assert losers == (
        FieldLoser("another manager", "spec.x"),
        FieldLoser("kubectl-edit", "spec.paused"),
        FieldLoser("kubectl-edit", "spec.replicas"),
    )
    assert field_managers.describe_losers(reversed(losers)) == (
        "another manager loses spec.x; kubectl-edit loses spec.paused, spec.replicas"
    )
    assert field_managers.describe_losers([]) == ""
    assert field_managers.parse_losers(Status(409)) == ()


def scaler(
    target: Json,
    api_version: str = "autoscaling/v2",
    kind: str = "HorizontalPodAutoscaler",
) -> JsonObject:
    """Make an autoscaler."""
    metadata: Json = {"name": "s", "namespace": "shop"}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": metadata,
        "spec": {"scaleTargetRef": target},
    }


KEDA = ("keda.sh/v1alpha1", "ScaledObject")


@pytest.mark.parametrize(
    "obj, found",
    [
        (
            scaler({"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}),
            [ObjectKey("apps", "Deployment", "shop", "api")],
        ),
        (
            scaler({"kind": "ReplicationController", "name": "api"}),
            [ObjectKey("", "ReplicationController", "shop", "api")],
        ),
        (scaler({"name": "api"}, *KEDA), [ObjectKey("apps", "Deployment", "shop", "api")]),
        (
            scaler({"name": "api", "kind": "StatefulSet"}, *KEDA),
            [ObjectKey("apps", "StatefulSet", "shop", "api")],
        ),
        (
            scaler({"name": "w", "kind": "Widget", "apiVersion": "example.com/v1"}, *KEDA),
            [ObjectKey("example.com", "Widget", "shop", "w")],
        ),
        (scaler({"kind": "Deployment", "apiVersion": "apps/v1"}), []),
        (scaler({"name": "api"}, "example.com/v1", "HorizontalPodAutoscaler"), []),
        (scaler("odd"), []),
        ({}, []),
    ],
)
def test_scaled_workloads_are_found(obj: JsonObject, found: list[ObjectKey]) -> None:
    """By the autoscaler's own words for its target."""
    assert field_managers.find_scaled([{}, obj, {}]) == frozenset(found)


def test_replicas_are_left_out() -> None:
    """Of a copy; a workload without them is returned as it is."""
    obj = live(replicas=3, paused=False)
    assert field_managers.strip_replicas(obj) == live(paused=False)
    assert obj == live(replicas=3, paused=False)
    without = live(paused=False)
    assert field_managers.strip_replicas(without) is without


OWNED: Json = {"f:spec": {"f:replicas": {}}}


def test_replicas_that_only_we_own_are_handed_over() -> None:
    """With the live number, or they would be reset to 1."""
    assert field_managers.replicas_handover(
        live(manager("gitopsd", OWNED), manager("kubectl", {"f:x": {}}), replicas=5)
    ) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {"replicas": 5},
    }
    scoped = live(manager("gitopsd", OWNED), replicas=0)
    scoped["metadata"] = {"name": "api", "managedFields": [manager("gitopsd", OWNED)]}
    handover = field_managers.replicas_handover(scoped)
    assert handover is not None
    assert (handover["metadata"], handover["spec"]) == ({"name": "api"}, {"replicas": 0})


@pytest.mark.parametrize(
    "found",
    [
        live(manager("gitopsd", {"f:spec": {}}), replicas=5),
        live(replicas=5),
        live(manager("gitopsd", OWNED)),
        live(
            manager("gitopsd", OWNED),
            manager("kube-controller-manager", OWNED, "Update", subresource="scale"),
            replicas=5,
        ),
        live(manager("gitopsd", OWNED), manager("gitopsd-handover", OWNED), replicas=5),
        live(manager("kubectl", OWNED, "Update"), replicas=5),
    ],
)
def test_replicas_that_others_own_need_no_handover(found: JsonObject) -> None:
    """Somebody keeps them, or we never had them."""
    assert field_managers.replicas_handover(found) is None


@given(HOSTILE_OBJECTS)
def test_no_live_object_makes_these_rules_raise(obj: JsonObject) -> None:
    """Whatever is found in the cluster."""
    field_managers.migration_patch(obj)
    field_managers.version_patch(obj)
    field_managers.replicas_handover(obj)
    field_managers.strip_replicas(obj)
    field_managers.find_scaled([obj])
    assert field_managers.owns(obj, "nobody") is False
