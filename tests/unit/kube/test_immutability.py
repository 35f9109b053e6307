"""Immutable fields."""

from __future__ import annotations

import pytest

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.errors import PermanentError
from gitopsd.kube.boundary import Refusal
from gitopsd.kube.immutability import Recreation, decide_recreation, is_immutable_refusal
from gitopsd.kube.statuses import Cause, Status


@pytest.mark.parametrize(
    "message",
    [
        "spec.template: Invalid value: field is immutable",
        "an immutable field changed",
        "spec.selector is immutable",
        "cannot change roleRef",
        "Forbidden: updates to statefulset spec for fields other than 'replicas'",
        "spec.clusterIP: may not change once set",
        "updates to parameters are forbidden.",
        "spec is immutable after creation except resources.requests",
    ],
)
def test_the_servers_words_for_immutable_fields_are_known(message: str) -> None:
    """In the message, or in any cause."""
    assert is_immutable_refusal(Status(422, "Invalid", message)) is True
    causes = (Cause(message="something else"), Cause(message=message))
    assert is_immutable_refusal(Status(422, "Invalid", "x", causes)) is True


@pytest.mark.parametrize(
    "status",
    [
        Status(422, "Invalid", "spec.replicas: must be positive"),
        Status(422, "Invalid"),
        Status(409, "Conflict", "field is immutable"),
        Status(409, "Invalid", "field is immutable"),
        Status(422, "Conflict", "field is immutable"),
    ],
)
def test_other_refusals_are_no_immutable_fields(status: Status) -> None:
    """A conflict, or another invalid value, would not be helped by recreating anything."""
    assert is_immutable_refusal(status) is False


STATUS = Status(422, "Invalid", "spec.template:\n field is immutable, password=x")


def make(kind: str, api_version: str = "v1", **annotations: Json) -> JsonObject:
    """Make an object; keyword arguments are annotations of ours."""
    spelled = {f"gitopsd.io/{key}": value for key, value in annotations.items()}
    metadata: Json = {"name": "x", "namespace": "shop", "annotations": spelled}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


@pytest.mark.parametrize(
    "obj, propagation",
    [
        (make("Job", "batch/v1", recreate="true"), "Background"),
        (make("Service", recreate="true"), "Background"),
        (make("Deployment", "apps/v1", recreate="true"), "Orphan"),
        (make("StatefulSet", "apps/v1", recreate="true"), "Orphan"),
        (make("StatefulSet", "example.com/v1", recreate="true"), "Background"),
    ],
)
def test_annotated_objects_are_made_anew(obj: JsonObject, propagation: str) -> None:
    """Deployments and StatefulSets leave their pods running."""
    assert decide_recreation(obj, STATUS) == Recreation(propagation)


def test_other_objects_are_refused_with_the_remedy() -> None:
    """The server's words, redacted, and what to write."""
    assert decide_recreation(make("Job", "batch/v1"), STATUS) == Refusal(
        "ImmutableField",
        "Job shop/x: spec.template: field is immutable, password=***; restore the field, or "
        'annotate gitopsd.io/recreate: "true" to have it deleted and made anew',
    )


@pytest.mark.parametrize(
    "kind, api_version",
    [
        ("Namespace", "v1"),
        ("PersistentVolume", "v1"),
        ("PersistentVolumeClaim", "v1"),
        ("CustomResourceDefinition", "apiextensions.k8s.io/v1"),
    ],
)
def test_what_holds_others_or_data_is_never_made_anew(kind: str, api_version: str) -> None:
    """Not even when annotated."""
    assert decide_recreation(make(kind, api_version, recreate="true"), STATUS) == Refusal(
        "ImmutableField",
        f"{kind} shop/x: spec.template: field is immutable, password=***; "
        f"a {kind} is never recreated, restore the field in Git",
    )


def test_an_object_without_identity_is_refused() -> None:
    """As everywhere."""
    with pytest.raises(PermanentError):
        decide_recreation({}, STATUS)
