"""The list of applied objects, and what may be deleted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.config import PruneLimits
from gitopsd.domain.manifests import (
    Inventory,
    InventoryEntry,
    Json,
    JsonObject,
    ObjectKey,
    ObjectRef,
)
from gitopsd.errors import PermanentError
from gitopsd.kube import inventory
from gitopsd.kube.inventory import PruneItem, PrunePlan
from tests.support.hostile import HOSTILE_OBJECTS


def ref(
    kind: str = "ConfigMap", name: str = "a", group: str = "", version: str = "v1"
) -> ObjectRef:
    """Make a reference."""
    return ObjectRef(ObjectKey(group, kind, "shop", name), version)


def entry(
    name: str = "a", uid: str = "u", applied: str = "d", kind: str = "ConfigMap"
) -> InventoryEntry:
    """Make an entry."""
    return InventoryEntry(ref(kind, name), uid, applied)


def live(
    uid: str = "u", application: str = "shop", stage: str = "production", **annotations: str
) -> JsonObject:
    """Make a live object; keyword arguments are annotations of ours."""
    labels = {"gitopsd.io/application": application, "gitopsd.io/stage": stage}
    return {
        "metadata": {
            "name": "a",
            "uid": uid,
            "labels": {key: value for key, value in labels.items() if value},
            "annotations": {f"gitopsd.io/{key}": value for key, value in annotations.items()},
        }
    }


FULL = Inventory(
    installation="i1",
    application="shop",
    stage="production",
    fence=7,
    release="r-1",
    rendered="sha256:ab",
    entries=(entry("a"), InventoryEntry(ref("Deployment", "b", "apps"))),
    paused=True,
    resource_version="42",
)


def test_an_inventory_is_one_small_config_map() -> None:
    """The exact shape: people read it with kubectl, and annotate it to stop every writer."""
    assert inventory.encode_inventory(FULL, "gitopsd") == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "gitopsd-shop-production",
            "namespace": "gitopsd",
            "labels": {
                "gitopsd.io/application": "shop",
                "gitopsd.io/stage": "production",
                "app.kubernetes.io/managed-by": "gitopsd",
            },
            "annotations": {
                "gitopsd.io/installation": "i1",
                "gitopsd.io/fence": "7",
                "gitopsd.io/release": "r-1",
                "gitopsd.io/rendered": "sha256:ab",
                "gitopsd.io/paused": "true",
            },
            "resourceVersion": "42",
        },
        "data": {
            "objects": (
                '["","v1","ConfigMap","shop","a","u","d"]\n'
                '["apps","v1","Deployment","shop","b","",""]\n'
            )
        },
    }


def test_a_new_inventory_has_no_precondition_and_is_not_paused() -> None:
    """Neither resourceVersion nor the annotation are written."""
    new = Inventory("i1", "shop", "production")
    assert inventory.encode_inventory(new, "gitopsd") == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "gitopsd-shop-production",
            "namespace": "gitopsd",
            "labels": {
                "gitopsd.io/application": "shop",
                "gitopsd.io/stage": "production",
                "app.kubernetes.io/managed-by": "gitopsd",
            },
            "annotations": {
                "gitopsd.io/installation": "i1",
                "gitopsd.io/fence": "0",
                "gitopsd.io/release": "",
                "gitopsd.io/rendered": "",
            },
        },
        "data": {"objects": ""},
    }


TEXT = st.text(max_size=12)
KEYS = st.builds(ObjectKey, TEXT, TEXT, TEXT, TEXT)
ENTRIES = st.builds(InventoryEntry, st.builds(ObjectRef, KEYS, TEXT), TEXT, TEXT)


@given(st.lists(ENTRIES, max_size=6), st.integers(0, 999_999_999), st.booleans(), TEXT)
def test_writing_and_reading_gives_the_inventory(
    entries: list[InventoryEntry], fence: int, paused: bool, release: str
) -> None:
    """Whatever the entries hold; they come back sorted."""
    given_ = Inventory(
        "i", "a", "s", fence, release, "r", tuple(entries), paused, resource_version="1"
    )
    read = inventory.decode_inventory(inventory.encode_inventory(given_, "gitopsd"))
    assert sorted(read.entries, key=repr) == sorted(entries, key=repr)
    assert list(read.entries) == sorted(read.entries, key=lambda found: found.ref)
    assert replace(read, entries=()) == replace(given_, entries=())


def stored(**changes: Json) -> dict[str, Json]:
    """Encode the full inventory with parts of its metadata or its objects replaced."""
    encoded = inventory.encode_inventory(FULL, "gitopsd")
    if "objects" in changes:
        encoded["data"] = {"objects": changes.pop("objects")}
    metadata = encoded["metadata"]
    assert isinstance(metadata, dict)
    encoded["metadata"] = {**metadata, **changes}
    return encoded


OURS = {"gitopsd.io/application": "shop", "gitopsd.io/stage": "production"}
MARKS = {"gitopsd.io/installation": "i1", "gitopsd.io/fence": "7"}


@pytest.mark.parametrize(
    "config_map, problem",
    [
        ({}, "annotation gitopsd.io/fence is no number"),
        (
            stored(annotations={**MARKS, "gitopsd.io/fence": "x"}),
            "annotation gitopsd.io/fence is no number",
        ),
        (
            stored(annotations={**MARKS, "gitopsd.io/fence": "-1"}),
            "annotation gitopsd.io/fence is no number",
        ),
        (stored(annotations={"gitopsd.io/fence": "7"}), "it does not say whose it is"),
        (stored(labels={"gitopsd.io/stage": "production"}), "it does not say whose it is"),
        (stored(labels={"gitopsd.io/application": "shop"}), "it does not say whose it is"),
        (stored(objects=3), "data.objects is no text"),
        (stored(objects="[]"), "line 1 of data.objects is no entry"),
        (
            stored(objects='["","v1","ConfigMap","shop","a","u","d"]\n{'),
            "line 2 of data.objects is no JSON",
        ),
        (stored(objects="[" * 100_000), "line 1 of data.objects is no JSON"),
        (
            stored(objects='["","v1","ConfigMap","shop","a","u"]'),
            "line 1 of data.objects is no entry",
        ),
        (
            stored(objects='["","v1","ConfigMap","shop","a","u",1]'),
            "line 1 of data.objects is no entry",
        ),
        (stored(objects='"1234567"'), "line 1 of data.objects is no entry"),
    ],
)
def test_a_damaged_inventory_is_refused(config_map: JsonObject, problem: str) -> None:
    """Guessing would delete or forget objects, so a person is told what is wrong."""
    with pytest.raises(PermanentError) as caught:
        inventory.decode_inventory(config_map)
    name = "gitopsd-shop-production" if config_map else ""
    assert caught.value.message == (
        f"inventory ConfigMap {name}: {problem}; restore it, or delete it; then what left Git "
        "before is yours to delete"
    )
    assert caught.value.reason == "BadInventory"


def test_a_fence_of_zero_and_no_objects_are_fine() -> None:
    """A fresh inventory, also one whose data the server dropped because they were empty."""
    fresh = stored(annotations={**MARKS, "gitopsd.io/fence": "0"}, resourceVersion="9")
    fresh.pop("data")
    assert inventory.decode_inventory(fresh) == Inventory(
        "i1", "shop", "production", resource_version="9"
    )


@pytest.mark.parametrize(
    "application, stage, name",
    [
        ("shop", "production", "gitopsd-shop-production"),
        ("ai-core", "staging", "gitopsd-ai-core-staging"),
        ("a", "b-c", "gitopsd-a-b-c-b88f83c840"),
        ("a-b", "c", "gitopsd-a-b-c"),
        ("x" * 240, "abcd", "gitopsd-" + "x" * 240 + "-abcd"),
        ("x" * 241, "abcd", "gitopsd-" + "x" * 234 + "-122067007f"),
    ],
)
def test_names_of_inventories(application: str, stage: str, name: str) -> None:
    """Readable, at most 253 characters, and never the same for two stages."""
    found = inventory.inventory_name(application, stage)
    assert (len(found) <= 253, found) == (True, name)


NAMES = st.sampled_from(["a", "b", "a-b", "b-a", "a-b-a", "b-a-b", "a-b-a-b"])


@given(NAMES, NAMES, NAMES, NAMES)
def test_two_stages_never_share_a_name(one: str, two: str, three: str, four: str) -> None:
    """Hyphens in names of applications and stages cannot make them ambiguous."""
    same = (one, two) == (three, four)
    assert (inventory.inventory_name(one, two) == inventory.inventory_name(three, four)) == same


def test_old_and_new_are_united_before_anything_is_applied() -> None:
    """Everything that may exist is on the list, and nothing claims bytes that may not be there."""
    old = [entry("gone"), entry("same"), entry("changed"), entry("known")]
    new = [
        entry("same", uid=""),
        entry("changed", uid="", applied="other"),
        entry("known", uid="v"),
        entry("new", uid="", applied="d"),
    ]
    assert inventory.union(old, new) == (
        entry("changed", applied=""),
        entry("gone"),
        entry("known", uid="v"),
        entry("new", uid="", applied=""),
        entry("same"),
    )
    assert inventory.union([], []) == ()


def test_the_new_version_of_a_reference_wins() -> None:
    """The same object under another API version is one entry."""
    old = [InventoryEntry(ref("HPA", group="autoscaling", version="v1"), "u", "d")]
    new = [InventoryEntry(ref("HPA", group="autoscaling", version="v2"), "", "d")]
    assert inventory.union(old, new) == (
        InventoryEntry(ref("HPA", group="autoscaling", version="v2"), "u", "d"),
    )


def plan(
    old: list[InventoryEntry],
    new: list[ObjectRef],
    found: dict[ObjectKey, JsonObject | None],
) -> PrunePlan:
    """Plan for stage production of application shop."""
    return inventory.compute_prune(old, new, found, application="shop", stage="production")


KEPT = ref(name="kept")
A = ref().key


@pytest.mark.parametrize(
    "item, found, fate, reason",
    [
        (entry(), live(), "delete", "it left Git"),
        (entry(uid=""), live("new"), "delete", "it left Git"),
        (entry(), None, "drop", "it is gone already"),
        (entry(), live("other"), "drop", "another object has its name now"),
        (
            entry(),
            live(application="blog"),
            "drop",
            "it belongs to blog/production now",
        ),
        (entry(), live(stage="staging"), "drop", "it belongs to shop/staging now"),
        (entry(), live(application=""), "drop", "it belongs to /production now"),
        (entry(), live(application="", stage=""), "drop", "it no longer carries our labels"),
        (
            entry(),
            live(prune="disabled"),
            "keep",
            "its annotation says that it is not pruned",
        ),
        (
            entry(kind="Namespace"),
            live(),
            "keep",
            "a Namespace is not pruned unless annotated gitopsd.io/prune: enabled",
        ),
        (
            entry(kind="PersistentVolume"),
            live(),
            "keep",
            "a PersistentVolume is not pruned unless annotated gitopsd.io/prune: enabled",
        ),
        (
            entry(kind="PersistentVolumeClaim"),
            live(prune="disabled"),
            "keep",
            "its annotation says that it is not pruned",
        ),
        (entry(kind="PersistentVolumeClaim"), live(prune="enabled"), "delete", "it left Git"),
    ],
)
def test_the_fate_of_an_object_that_left_git(
    item: InventoryEntry, found: JsonObject | None, fate: str, reason: str
) -> None:
    """Deleted only if list, uid and labels agree and nothing protects it."""
    made = plan([item], [KEPT], {item.ref.key: found})
    fates = {"delete": made.delete, "keep": made.keep, "drop": made.drop}
    assert [said.reason for said in fates.pop(fate)] == [reason]
    assert list(fates.values()) == [(), ()]


def test_a_definition_is_protected() -> None:
    """Deleting a CustomResourceDefinition deletes everything of its kind."""
    crd = ObjectKey("apiextensions.k8s.io", "CustomResourceDefinition", "", "x")
    assert inventory.is_protected(crd) is True
    assert inventory.is_protected(replace(crd, group="example.com")) is False
    assert inventory.is_protected(ObjectKey("", "Secret", "shop", "x")) is False
    assert inventory.is_protected(ObjectKey("example.com", "Namespace", "", "x")) is False


def test_an_object_that_is_being_deleted_stays_on_the_list() -> None:
    """Until it is gone; deleting it again says nothing new."""
    going: JsonObject = {
        "metadata": {"uid": "u", "labels": OURS, "deletionTimestamp": "2026-05-01T12:00:00Z"}
    }
    made = plan([entry()], [KEPT], {A: going})
    assert made == PrunePlan(keep=(PruneItem(entry(), "it is being deleted already"),))


def test_a_deletion_names_the_live_uid() -> None:
    """It is the precondition of the delete, also when the list did not know it."""
    made = plan([entry(uid="")], [KEPT], {A: live("seen")})
    assert made.delete == (PruneItem(entry(uid="seen"), "it left Git"),)


def test_what_is_still_in_git_is_not_considered() -> None:
    """Whatever its version."""
    assert plan([entry()], [ref(version="v2")], {A: live()}) == PrunePlan()


def test_an_empty_render_never_prunes() -> None:
    """A mistake in Git must not delete everything."""
    made = plan([entry()], [], {A: live()})
    reason = "nothing is pruned when nothing was rendered"
    assert made == PrunePlan(keep=(PruneItem(entry(), reason),))


def test_what_could_not_be_looked_at_stays() -> None:
    """Not looked at is not the same as gone."""
    made = plan([entry()], [KEPT], {})
    assert made == PrunePlan(keep=(PruneItem(entry(), "it could not be looked at"),))


def test_a_plan_is_sorted_and_survivors_stay_tracked() -> None:
    """Kept objects and failed deletions stay on the list, dropped ones leave it."""
    old = [entry(name) for name in ("d", "c", "b", "a", "Kept", "_")]
    made = plan(
        old,
        [KEPT, ref(name="Kept")],
        {
            ref(name="_").key: None,
            ref(name="a").key: live(),
            ref(name="b").key: live(prune="disabled"),
            ref(name="c").key: live(),
            ref(name="d").key: None,
        },
    )
    assert [item.entry.ref.key.name for item in made.delete] == ["a", "c"]
    assert inventory.survivors(made) == (entry("b"),)
    assert inventory.survivors(made, {ref(name="a").key}) == (entry("a"), entry("b"))
    assert inventory.survivors(made, {ref(name="c").key}) == (entry("b"), entry("c"))
    assert inventory.survivors(PrunePlan()) == ()


@pytest.mark.parametrize(
    "limits, deletions, total, exceeded",
    [
        (PruneLimits(), 0, 0, False),
        (PruneLimits(), 20, 100, False),
        (PruneLimits(), 21, 100, True),
        (PruneLimits(), 5, 10, False),
        (PruneLimits(), 6, 10, True),
        (PruneLimits(objects=1, share=1.0), 2, 2, True),
        (PruneLimits(objects=2, share=1.0), 2, 2, False),
        (PruneLimits(objects=100, share=0.0), 1, 1000, True),
    ],
)
def test_many_deletions_need_a_person(
    limits: PruneLimits, deletions: int, total: int, *, exceeded: bool
) -> None:
    """More than so many, or more than such a share; the limits themselves are allowed."""
    assert inventory.exceeds(limits, deletions, total) is exceeded


@given(HOSTILE_OBJECTS)
def test_no_live_object_makes_planning_raise(obj: JsonObject) -> None:
    """Whatever is found in the cluster, one fate is chosen, and foreign objects are not deleted."""
    made = plan([entry(uid="")], [KEPT], {A: obj})
    assert len(made.delete) + len(made.keep) + len(made.drop) == 1
    assert made.delete == ()


def test_the_same_destination_goes_on_with_its_list() -> None:
    """An inventory of the present destination, or of one that was never named, is kept."""
    known = Inventory("id", "shop", "production", 4, entries=(entry(),), destination="shop")
    unnamed = replace(known, destination="")

    assert inventory.begin_anew(known, "shop") == (known, None)
    assert inventory.begin_anew(unnamed, "shop") == (known, None)
    assert inventory.begin_anew(replace(known, entries=()), "other") == (
        replace(known, entries=(), destination="other"),
        None,
    )


def test_another_destination_begins_a_new_list_and_keeps_the_old_one() -> None:
    """The old list is written beside the new one, under a name no run uses, never pruned by."""
    known = Inventory(
        "id", "shop", "production", 4, entries=(entry(),), resource_version="9", destination="shop"
    )

    fresh, left = inventory.begin_anew(known, "other")

    assert fresh == replace(known, entries=(), destination="other")
    assert left == replace(known, resource_version="")
    assert left is not None
    body = inventory.encode_retired(left, "gitopsd")
    assert body["metadata"] == {
        **inventory.encode_inventory(left, "gitopsd")["metadata"],  # type: ignore[dict-item] # a mapping
        "name": inventory.inventory_name("shop", "production-left-4"),
        "labels": {"app.kubernetes.io/managed-by": "gitopsd"},
    }
    assert body["data"] == inventory.encode_inventory(left, "gitopsd")["data"]


def test_the_destination_survives_the_way_to_the_cluster_and_back() -> None:
    """What is written as the destination is what is read."""
    known = Inventory("id", "shop", "production", 4, destination="shop,extra as deployer")

    assert (
        inventory.decode_inventory(inventory.encode_inventory(known, "gitopsd")).destination
        == known.destination
    )
