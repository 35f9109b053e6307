"""Labels and pins: put on values, on the right places, and nowhere else."""

from __future__ import annotations

import pytest

from gitopsd.domain.manifests import Digest, Json, JsonObject
from gitopsd.errors import PermanentError
from gitopsd.kube.images import find_images
from gitopsd.kube.marking import add_labels, find_pins, pin_images

ONE = Digest(f"sha256:{'1' * 64}")
TWO = Digest(f"sha256:{'2' * 64}")
MANAGED_BY = "app.kubernetes.io/managed-by"


def test_labels_are_added_beside_those_that_are_there() -> None:
    """Our labels join the object's own; nothing else of it changes."""
    obj: JsonObject = {"metadata": {"name": "a", "labels": {"team": "x"}}, "data": {"k": "v"}}

    marked = add_labels(obj, {"gitopsd.io/stage": "staging"})

    assert marked == {
        "metadata": {
            "name": "a",
            "labels": {"team": "x", "gitopsd.io/stage": "staging", MANAGED_BY: "gitopsd"},
        },
        "data": {"k": "v"},
    }
    assert obj["metadata"] == {"name": "a", "labels": {"team": "x"}}


def test_our_labels_win_but_for_managed_by() -> None:
    """A label of ours that Git sets too gets our value; ``managed-by`` keeps Git's."""
    obj: JsonObject = {"metadata": {"labels": {"gitopsd.io/stage": "mine", MANAGED_BY: "Helm"}}}

    marked = add_labels(obj, {"gitopsd.io/stage": "staging"})

    assert marked == {"metadata": {"labels": {"gitopsd.io/stage": "staging", MANAGED_BY: "Helm"}}}


@pytest.mark.parametrize("metadata", [None, "text", {}, {"labels": None}, {"labels": "text"}])
def test_labels_are_added_where_there_were_none(metadata: Json) -> None:
    """Odd or missing metadata gets a set of labels all the same."""
    marked = add_labels({"metadata": metadata}, {"a": "b"})

    assert marked["metadata"] == {"labels": {"a": "b", MANAGED_BY: "gitopsd"}}


def test_object_without_metadata_is_labelled() -> None:
    """An object that has no metadata at all gets some."""
    assert add_labels({}, {}) == {"metadata": {"labels": {MANAGED_BY: "gitopsd"}}}


def test_pins_are_found_by_reference_then_name_then_full_name() -> None:
    """The most exact name that has a digest counts."""
    digests = {"nginx:1": ONE, "nginx": TWO, "docker.io/library/redis": ONE, "other": TWO}

    assert find_pins(("nginx:1", "nginx:2", "redis:7", "busybox"), digests) == {
        "nginx:1": ONE,
        "nginx:2": TWO,
        "redis:7": ONE,
    }


def test_the_tag_of_a_digest_is_written_beside_it() -> None:
    """A digest that was found under another tag than Git writes is shown with that tag."""
    images: list[Json] = [{"image": "nginx:1"}, {"image": "redis"}, {"image": "busybox:1"}]
    obj: JsonObject = {"spec": {"containers": images}}
    pins = {"nginx:1": ONE, "redis": TWO, "busybox:1": ONE}

    pinned = pin_images(obj, pins, find_pins(tuple(pins), {"nginx": "1.27", "redis": "7"}))

    assert find_images([pinned]) == (f"busybox:1@{ONE}", f"nginx:1.27@{ONE}", f"redis:7@{TWO}")


def test_what_is_no_reference_has_no_pin() -> None:
    """A value that is no image reference is left to validation."""
    assert find_pins(("Not An Image",), {"Not An Image": ONE}) == {}


def test_images_are_pinned_wherever_a_pod_spec_stands() -> None:
    """Every list of containers and every image volume counts, at any depth; nothing else does."""
    spec: JsonObject = {
        "initContainers": [{"name": "i", "image": "a"}],
        "containers": [{"name": "c", "image": "b:1"}, "odd", {"name": "none"}, {"image": 7}],
        "ephemeralContainers": [{"name": "e", "image": "a"}],
        "volumes": [{"name": "v", "image": {"reference": "a"}}, {"name": "w"}, "odd"],
    }
    obj: JsonObject = {
        "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}, "image": "a"},
        "data": ["a", {"image": "a"}],
    }

    pinned = pin_images(obj, {"a": ONE, "b:1": TWO})

    assert find_images([pinned]) == (f"a@{ONE}", f"b:1@{TWO}")
    assert pinned["data"] == ["a", {"image": "a"}]
    template = pinned["spec"]
    assert isinstance(template, dict)
    assert template["image"] == "a"


def test_odd_volumes_are_left_alone() -> None:
    """An image volume that is no mapping stays as it is."""
    obj: JsonObject = {"spec": {"volumes": [{"image": "text"}]}, "tuple": ({"x": 1},)}

    assert pin_images(obj, {"a": ONE}) == {
        "spec": {"volumes": [{"image": "text"}]},
        "tuple": [{"x": 1}],
    }


def test_nothing_to_pin_is_the_object_itself() -> None:
    """Without pins nothing is copied."""
    obj: JsonObject = {"spec": {"containers": [{"image": "a"}]}}

    assert pin_images(obj, {}) is obj


def test_endless_nesting_ends() -> None:
    """Beyond any depth that a pod spec has, values are left as they are."""
    value: Json = {"containers": [{"image": "a"}]}
    for _ in range(100):
        value = {"inner": value}

    assert pin_images({"spec": value}, {"a": ONE}) == {"spec": value}


def test_pin_that_is_no_digest_is_refused() -> None:
    """A set is never pinned to something that names no content."""
    with pytest.raises(PermanentError) as caught:
        pin_images({"spec": {"containers": [{"image": "a"}]}}, {"a": Digest("latest")})

    assert caught.value.reason == "InvalidImage"
