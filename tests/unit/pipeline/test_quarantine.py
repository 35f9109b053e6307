"""What a failure holds back, and what falls under it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.manifests import Digest, Json, JsonObject, RenderedSet
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import RunKind, Step
from gitopsd.domain.verifications import Quarantine
from gitopsd.pipeline.quarantine import (
    compute_quarantine,
    compute_quarantined_images,
    is_quarantined,
)
from tests.support.runs import BYTES, KEY, NOON, run_at

OLD, NEW, SAME = Digest("sha256:1"), Digest("sha256:2"), Digest("sha256:3")
HELD = Quarantine("q-1", KEY, BYTES, (NEW,), ReleaseId("r-7"), "it crashes", NOON)


def deployment(image: str, replicas: Json = 1, /, **more: Json) -> JsonObject:
    """A Deployment with one container."""
    return {
        "kind": "Deployment",
        "spec": {"replicas": replicas, "containers": [{"name": "api", "image": image}]},
        **more,
    }


def rendered(*objects: JsonObject, **images: Digest) -> RenderedSet:
    """A rendered set of these objects and image digests."""
    return RenderedSet(BYTES, objects, images)


def test_a_failed_run_holds_its_bytes() -> None:
    """Without the sets themselves, only the rendered digest is held."""
    run = run_at(RunKind.ROLLOUT, Step.VERIFY)
    assert compute_quarantine(run, "it crashes", NOON) == Quarantine(
        "q-run-7", KEY, BYTES, (), ReleaseId("r-7"), "it crashes", NOON
    )


def test_a_run_that_rendered_nothing_holds_nothing() -> None:
    """There are no bytes to hold."""
    run = replace(run_at(RunKind.ROLLOUT, Step.RENDER), rendered=None)
    assert compute_quarantine(run, "it crashes", NOON) is None


def test_images_are_held_when_they_alone_changed() -> None:
    """The new digests are to blame, wherever they appear next."""
    failed = rendered(deployment("api@2"), api=NEW, web=SAME)
    restored = rendered(deployment("api@1"), api=OLD, web=SAME)
    run = run_at(RunKind.ROLLOUT, Step.VERIFY)
    held = compute_quarantine(run, "it crashes", NOON, failed=failed, restored=restored)
    assert held is not None
    assert held.images == (NEW,)
    for known in ({"failed": failed}, {"restored": restored}):
        alone = compute_quarantine(run, "it crashes", NOON, **known)
        assert alone is not None
        assert alone.images == ()


def test_held_images_are_sorted() -> None:
    """The same failure is stored the same way each time."""
    failed = rendered(deployment("api@2"), b=SAME, a=NEW)
    restored = rendered(deployment("api@1"), a=OLD)
    assert compute_quarantined_images(failed, restored) == (NEW, SAME)


@pytest.mark.parametrize(
    "failed,restored",
    [
        (deployment("api@2", 2), deployment("api@1", 1)),
        (deployment("api@2", 2), deployment("api@1", "2")),
        (deployment("api@2", 1), deployment("api@1", True)),
        (deployment("api@2", 1), deployment("api@1", None)),
        (deployment("api@2", [1]), deployment("api@1", [1, 2])),
        (deployment("api@2", [1, 2]), deployment("api@1", [1, 3])),
        (deployment("api@2", {"a": 1}), deployment("api@1", {"b": 1})),
        (deployment("api@2", {"a": 1}), deployment("api@1", {"a": 2})),
        (deployment("api@2", {"a": 1}), deployment("api@1", [1])),
        (deployment("api@2", [1]), deployment("api@1", {"a": 1})),
        (deployment("api@2", "ab"), deployment("api@1", ["a", "b"])),
        (deployment("api@2", ["a", "b"]), deployment("api@1", "ab")),
        (deployment("api@2", name="x"), deployment("api@1", name="y")),
        (deployment("api@2", image="x"), deployment("api@1", image=["x"])),
        (deployment("api@2", image={"x": 1}), deployment("api@1", image="x")),
        (deployment("api@2", name="x"), deployment("api@1")),
    ],
)
def test_images_are_innocent_when_anything_else_changed(
    failed: JsonObject, restored: JsonObject
) -> None:
    """One other difference, and only the whole set is held."""
    assert compute_quarantined_images(rendered(failed, a=NEW), rendered(restored, a=OLD)) == ()


def test_an_added_object_is_another_difference() -> None:
    """Sets of different size differ in more than images."""
    failed = rendered(deployment("api@2"), deployment("job@2"), api=NEW)
    restored = rendered(deployment("api@1"), api=OLD)
    assert compute_quarantined_images(failed, restored) == ()


def test_equal_values_of_any_type_are_no_difference() -> None:
    """Numbers, booleans, nothing, lists and nested objects are compared by value."""
    values: list[Json] = [1, 2.5, True, None, "text", [1, {"a": []}], {"a": {"b": 1}}]
    for value in values:
        failed = rendered(deployment("api@2", value), a=NEW)
        restored = rendered(deployment("api@1", value), a=OLD)
        assert compute_quarantined_images(failed, restored) == (NEW,)


def test_a_list_of_images_is_not_an_image_reference() -> None:
    """Only the value right under the key counts as one."""
    failed = rendered(deployment("api@2", image=["x"]), a=NEW)
    restored = rendered(deployment("api@1", image=["y"]), a=OLD)
    assert compute_quarantined_images(failed, restored) == ()


def test_no_new_image_means_none_is_to_blame() -> None:
    """A set whose images were all there before cannot fail by them."""
    failed = rendered(deployment("api@1"), a=OLD)
    restored = rendered(deployment("api@2"), a=OLD, b=NEW)
    assert compute_quarantined_images(failed, restored) == ()


def test_bytes_and_images_that_are_held_are_found() -> None:
    """Either is enough; what is not known cannot match."""
    assert is_quarantined(BYTES, (), [HELD]) == HELD
    assert is_quarantined(OLD, (SAME, NEW), [HELD]) == HELD
    assert is_quarantined(OLD, (SAME,), [HELD]) is None
    assert is_quarantined(None, (), [HELD]) is None
    assert is_quarantined(BYTES, (NEW,), []) is None


def test_a_lifted_quarantine_holds_nothing() -> None:
    """The next one in force is found behind it."""
    lifted = replace(HELD, lifted_at=NOON)
    assert is_quarantined(BYTES, (NEW,), [lifted]) is None
    other = replace(HELD, id="q-2")
    assert is_quarantined(BYTES, (), [lifted, other]) == other
