"""The sandbox's store: versions, deletion, history and feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.sandbox.api.deletion import DeleteOptions
from gitopsd.sandbox.api.history import Action
from gitopsd.sandbox.api.keys import (
    AlreadyExists,
    HistoryLost,
    Key,
    Kind,
    NotFound,
    VersionConflict,
)
from gitopsd.sandbox.api.storage import ObjectStore
from gitopsd.sandbox.clock import Clock

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

MAPS = Kind("", "configmaps")
PODS = Kind("", "pods")


@pytest.fixture
def store() -> ObjectStore:
    """An empty store that keeps few changes."""
    return ObjectStore(Clock(), keep=8)


def key_of(name: str, kind: Kind = MAPS, namespace: str = "shop") -> Key:
    """Name an object."""
    return Key(*kind, namespace, name)


def config_map(name: str, **data: str) -> dict[str, Any]:
    """Make one."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def meta(obj: JsonObject) -> dict[str, Any]:
    """Read the metadata."""
    found: Any = obj["metadata"]
    return dict(found)


def test_each_write_gets_the_next_version(store: ObjectStore) -> None:
    """The version is one for the whole store, and is the object's resourceVersion."""
    first = store.create(key_of("a"), config_map("a"))
    second = store.create(key_of("b"), config_map("b"))

    assert [meta(obj)["resourceVersion"] for obj in (first, second)] == ["1", "2"]
    assert store.version == 2
    assert meta(first)["uid"] != meta(second)["uid"]
    assert meta(first)["namespace"] == "shop"


def test_what_was_read_before_stays_as_it_was(store: ObjectStore) -> None:
    """A write never changes an object that somebody holds."""
    first = store.create(key_of("a"), config_map("a", mode="x"))
    store.update(key_of("a"), {**first, "data": {"mode": "y"}})

    assert first["data"] == {"mode": "x"}


def test_an_update_that_changes_nothing_writes_nothing(store: ObjectStore) -> None:
    """The version stays, and no subscriber hears of it."""
    made = store.create(key_of("a"), config_map("a"))
    with store.subscribe(MAPS) as feed:
        assert store.update(key_of("a"), made) == made
        assert feed.take() == ()
    assert store.version == 1


def test_an_update_at_an_old_version_is_refused(store: ObjectStore) -> None:
    """Of two writers who read the same version, the second one loses."""
    made = store.create(key_of("a"), config_map("a"))
    store.update(key_of("a"), {**made, "data": {"by": "one"}}, expected="1")

    with pytest.raises(VersionConflict, match="has been modified"):
        store.update(key_of("a"), {**made, "data": {"by": "two"}}, expected="1")


def test_who_an_object_is_cannot_be_changed(store: ObjectStore) -> None:
    """An update keeps uid and creation time, whatever it says."""
    made = store.create(key_of("a"), config_map("a"))
    lying = {**made, "metadata": {**meta(made), "uid": "other"}, "data": {"x": "y"}}

    assert meta(store.update(key_of("a"), lying))["uid"] == meta(made)["uid"]


def test_a_dry_run_stores_nothing(store: ObjectStore) -> None:
    """Create, update and delete return what would be, and nothing is."""
    store.create(key_of("a"), config_map("a"))
    store.create(key_of("b"), config_map("b"), dry_run=True)
    store.update(key_of("a"), config_map("a", x="y"), dry_run=True)
    store.delete(key_of("a"), dry_run=True)

    found = store.list(MAPS)
    assert [meta(obj)["name"] for obj in found.items] == ["a"]
    assert found.items[0]["data"] == {}
    assert found.version == 1


def test_names_are_given_once(store: ObjectStore) -> None:
    """A second object of a name is refused; a missing one is not found."""
    store.create(key_of("a"), config_map("a"))

    with pytest.raises(AlreadyExists):
        store.create(key_of("a"), config_map("a"))
    with pytest.raises(NotFound, match='configmaps "b" not found'):
        store.update(key_of("b"), config_map("b"))


def test_a_name_can_be_generated(store: ObjectStore) -> None:
    """A prefix gets five letters."""
    wanted: dict[str, Any] = {"apiVersion": "v1", "metadata": {"generateName": "web-"}}
    name = meta(store.create(key_of("", PODS), wanted))["name"]

    assert name.startswith("web-")
    assert len(name) == 9
    assert store.get(key_of(name, PODS)) is not None


def test_a_finalizer_holds_a_deleted_object(store: ObjectStore) -> None:
    """The object is marked, stays, and goes with the update that takes the last finalizer."""
    held = config_map("a")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    store.create(key_of("a"), held)

    marked = store.delete(key_of("a"))
    assert meta(marked)["deletionTimestamp"]
    assert store.get(key_of("a")) == marked
    freed = {**marked, "metadata": {**meta(marked), "finalizers": []}}
    with store.subscribe(MAPS) as feed:
        store.update(key_of("a"), freed)
        assert [change.action for change in feed.take()] == [Action.DELETED]
    assert store.get(key_of("a")) is None


def test_a_pod_on_a_node_gets_its_grace_period(store: ObjectStore) -> None:
    """It stays until somebody deletes it with no grace; one that has no node goes at once."""
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}}
    store.create(key_of("free", PODS), pod)
    store.create(key_of("placed", PODS), {**pod, "spec": {"nodeName": "n"}})

    store.delete(key_of("free", PODS))
    marked = store.delete(key_of("placed", PODS))
    assert store.get(key_of("free", PODS)) is None
    assert meta(marked)["deletionGracePeriodSeconds"] == 30
    store.delete(key_of("placed", PODS), DeleteOptions(grace_seconds=0))
    assert store.get(key_of("placed", PODS)) is None


def test_a_delete_holds_to_its_preconditions(store: ObjectStore) -> None:
    """With another uid or version nothing is deleted."""
    store.create(key_of("a"), config_map("a"))

    for options in (DeleteOptions(uid="other"), DeleteOptions(version="99")):
        with pytest.raises(VersionConflict, match="precondition"):
            store.delete(key_of("a"), options)
    assert store.get(key_of("a")) is not None


def test_propagation_is_a_finalizer(store: ObjectStore) -> None:
    """Orphan and Foreground hold the object until the garbage collector has done its part."""
    for name, policy in (("a", "Orphan"), ("b", "Foreground")):
        store.create(key_of(name), config_map(name))
        store.delete(key_of(name), DeleteOptions(propagation=policy))

    names = [meta(obj)["finalizers"] for obj in store.list(MAPS).items]
    assert names == [["orphan"], ["foregroundDeletion"]]


def test_a_status_update_leaves_the_spec(store: ObjectStore) -> None:
    """What the status subresource writes is the status and annotations, and no generation."""
    key = Key("apps", "deployments", "shop", "web")
    made = store.create(key, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"x": 1}})
    wanted = {
        **made,
        "metadata": {**meta(made), "annotations": {"a": "b"}, "labels": {"c": "d"}},
        "spec": {"x": 2},
        "status": {"y": 3},
    }

    done = store.update(key, wanted, subresource="status")

    assert (done["spec"], done["status"]) == ({"x": 1}, {"y": 3})
    assert "labels" not in meta(done)
    assert meta(done)["generation"] == 1
    assert meta(store.update(key, wanted))["generation"] == 2


async def test_a_feed_brings_every_change_in_order(store: ObjectStore) -> None:
    """Nothing is lost between reading and waiting; other collections are left out."""
    with store.subscribe(MAPS) as feed:
        made = store.create(key_of("a"), config_map("a"))
        store.create(key_of("p", PODS), {"apiVersion": "v1", "kind": "Pod"})
        store.update(key_of("a"), {**made, "data": {"x": "y"}})
        store.delete(key_of("a"))

        changes = await feed.wait()

    assert [change.action.value for change in changes] == ["ADDED", "MODIFIED", "DELETED"]
    assert [change.version for change in changes] == [1, 3, 4]
    assert meta(changes[2].object)["resourceVersion"] == "4"
    assert changes[1].before == made


def test_a_feed_can_begin_in_the_past_or_with_everything(store: ObjectStore) -> None:
    """Since a version come the changes after it; since 0 come the objects there are."""
    for name in "abc":
        store.create(key_of(name), config_map(name))
    store.delete(key_of("a"))

    with store.subscribe(MAPS, since=2) as late, store.subscribe(MAPS, since=0) as whole:
        told = [(change.action.value, change.key.name) for change in late.take()]
        assert told == [("ADDED", "c"), ("DELETED", "a")]
        assert [change.key.name for change in whole.take()] == ["b", "c"]


def test_forgotten_history_is_said(store: ObjectStore) -> None:
    """Who asks for changes that are not kept any more must list again."""
    for number in range(20):
        store.create(key_of(f"n{number}"), config_map(f"n{number}"))

    with pytest.raises(HistoryLost, match="too old resource version: 3"):
        store.subscribe(MAPS, since=3)
    with store.subscribe(MAPS, since=12) as feed:
        assert len(feed.take()) == 8
    store.history.compact(15)
    with pytest.raises(HistoryLost):
        store.subscribe(MAPS, since=14)


def test_a_slow_subscriber_is_broken_off(store: ObjectStore) -> None:
    """With a limit, a feed that nobody reads takes no memory without end."""
    with store.subscribe(MAPS, limit=2) as feed:
        for number in range(3):
            store.create(key_of(f"n{number}"), config_map(f"n{number}"))
        with pytest.raises(HistoryLost):
            feed.take()


def test_a_collection_can_be_read_as_it_was(store: ObjectStore) -> None:
    """Later pages of a list show what the first one was a part of."""
    for name in "ab":
        store.create(key_of(name), config_map(name))
    store.update(key_of("a"), config_map("a", x="y"))
    store.delete(key_of("b"))
    store.create(key_of("c"), config_map("c"))

    then = store.list_at(MAPS, 2)

    assert [(place, obj["data"]) for place, obj in then] == [
        (("shop", "a"), {}),
        (("shop", "b"), {}),
    ]
