"""Labels and pins on rendered objects."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given

from gitopsd.domain.manifests import Digest, Json, JsonObject
from gitopsd.errors import PermanentError
from gitopsd.kube.images import find_images
from gitopsd.kube.marking import add_labels, find_pins, pin_images
from tests.support.hostile import HOSTILE_OBJECTS

A = Digest("sha256:" + "a" * 64)
B = Digest("sha256:" + "b" * 64)
OURS = {"gitopsd.io/application": "shop"}
MANAGED = "app.kubernetes.io/managed-by"


@pytest.mark.parametrize(
    "metadata, marked",
    [
        ({"name": "x"}, {"name": "x", "labels": {MANAGED: "gitopsd", **OURS}}),
        (
            {"labels": {"a": "b", "gitopsd.io/application": "other"}},
            {"labels": {MANAGED: "gitopsd", "a": "b", **OURS}},
        ),
        ({"labels": {MANAGED: "Helm"}}, {"labels": {MANAGED: "Helm", **OURS}}),
        ({"labels": "odd"}, {"labels": {MANAGED: "gitopsd", **OURS}}),
        (None, {"labels": {MANAGED: "gitopsd", **OURS}}),
        ("odd", {"labels": {MANAGED: "gitopsd", **OURS}}),
    ],
)
def test_labels_are_added_to_the_object_alone(metadata: Json, marked: Json) -> None:
    """Ours win; managed-by is only set where Git sets none; pod templates are left alone."""
    spec: Json = {"template": {"metadata": {"labels": {"a": "b"}}}, "selector": {"a": "b"}}
    obj: JsonObject = {"kind": "Deployment", "metadata": metadata, "spec": spec}
    before = copy.deepcopy(obj)
    assert add_labels(obj, OURS) == {"kind": "Deployment", "metadata": marked, "spec": spec}
    assert obj == before


def test_pins_are_found_by_reference_then_by_name() -> None:
    """As written, as named, as named in full; what has no digest has no pin."""
    references = ("nginx:1", "nginx:2", "acme/api", "docker.io/acme/web:3", "redis", "Not An Image")
    digests = {"nginx:1": A, "nginx": B, "docker.io/acme/api": A, "docker.io/acme/web": B}
    assert find_pins(references, digests) == {
        "nginx:1": A,
        "nginx:2": B,
        "acme/api": A,
        "docker.io/acme/web:3": B,
    }
    assert find_pins((), digests) == {}
    assert find_pins(("Not An Image",), {"Not An Image": A}) == {}


def test_images_are_pinned_wherever_a_pod_spec_stands() -> None:
    """All containers and image volumes; nothing else, and not the argument."""
    spec: Json = {
        "containers": [{"name": "a", "image": "nginx:1"}, {"name": "b", "image": "other"}, "odd"],
        "initContainers": [{"image": "nginx:1"}, {"image": 3}],
        "ephemeralContainers": [{"image": "nginx:1"}],
        "volumes": [
            {"name": "v", "image": {"reference": "nginx:1", "pullPolicy": "Always"}},
            {"name": "w", "image": "nginx:1"},
            {"name": "x"},
            "nginx:1",
        ],
        "image": "nginx:1",
        "args": ["nginx:1"],
    }
    obj: JsonObject = {"kind": "Deployment", "spec": {"template": {"spec": spec}}}
    before = copy.deepcopy(obj)
    pinned = f"nginx:1@{A}"
    assert pin_images(obj, {"nginx:1": A}) == {
        "kind": "Deployment",
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "a", "image": pinned},
                        {"name": "b", "image": "other"},
                        "odd",
                    ],
                    "initContainers": [{"image": pinned}, {"image": 3}],
                    "ephemeralContainers": [{"image": pinned}],
                    "volumes": [
                        {"name": "v", "image": {"reference": pinned, "pullPolicy": "Always"}},
                        {"name": "w", "image": "nginx:1"},
                        {"name": "x"},
                        "nginx:1",
                    ],
                    "image": "nginx:1",
                    "args": ["nginx:1"],
                }
            }
        },
    }
    assert obj == before


def test_nothing_to_pin_changes_nothing() -> None:
    """The object itself is returned."""
    obj: JsonObject = {"spec": {"containers": [{"image": "nginx"}]}}
    assert pin_images(obj, {}) is obj


def test_only_digests_are_pinned_to() -> None:
    """Anything else is refused before an object is touched."""
    with pytest.raises(PermanentError):
        pin_images({}, {"nginx": Digest("latest")})


def nest(levels: int) -> JsonObject:
    """Put a pod spec below a number of levels."""
    value: JsonObject = {"containers": [{"image": "nginx"}]}
    for _ in range(levels):
        value = {"x": value}
    return value


def test_pinning_ends_where_the_search_for_images_ends() -> None:
    """What is too deep to be found is too deep to be pinned, and nothing overflows."""
    pins = {"nginx": A}
    assert find_images([pin_images(nest(64), pins)]) == (f"nginx@{A}",)
    assert pin_images(nest(70), pins) == nest(70)
    pin_images(nest(50_000), pins)
    listed: Json = {"containers": [{"image": "nginx"}]}
    for _ in range(80):
        listed = [listed]
    assert pin_images({"x": listed}, pins) == {"x": listed}


@given(HOSTILE_OBJECTS)
def test_every_image_that_is_found_is_pinned(obj: JsonObject) -> None:
    """Whatever a manifest holds, no image of a known reference stays without a digest."""
    pins = find_pins(find_images([obj]), {"docker.io/library/api": A, "docker.io/library/v1": B})
    again = find_images([pin_images(obj, pins)])
    assert not set(again) & set(pins)
