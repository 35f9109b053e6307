"""What reads from a cluster answer, in memory and on a real API server alike."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from gitopsd.cluster_ports import (
    ApiRefusal,
    AppliedObject,
    KindInfo,
)
from gitopsd.domain.manifests import ObjectKey, ObjectRef
from tests.support.cluster_objects import config_map, ref_of, widget, widget_definition

if TYPE_CHECKING:
    from gitopsd.cluster_ports import (
        Cluster,
    )
    from gitopsd.domain.manifests import JsonObject
    from tests.contracts.cluster.conftest import Rig


async def make(cluster: Cluster, *objects: JsonObject) -> None:
    """Apply objects."""
    for obj in objects:
        answer = await cluster.apply(obj, manager="gitopsd", force=True)
        assert isinstance(answer, AppliedObject), answer


def kind(group: str, version: str, name: str) -> ObjectRef:
    """Name a kind."""
    return ObjectRef(ObjectKey(group, name, "", ""), version)


async def test_what_does_not_exist_is_none(rig: Rig) -> None:
    """A missing object is no refusal."""
    assert await rig.cluster.get(ref_of(config_map("none", rig.namespace))) is None


async def test_what_may_not_be_read_is_a_refusal(rig: Rig) -> None:
    """Forbidden is told apart from missing."""
    secret = ObjectRef(ObjectKey("", "Secret", rig.namespace, "any"), "v1")

    answer = await rig.reader.get(secret)

    assert isinstance(answer, ApiRefusal)
    assert answer.code == 403


async def test_what_may_not_be_listed_is_a_refusal(rig: Rig) -> None:
    """Forbidden is told apart from empty."""
    answer = await rig.reader.fetch_list("v1", "Secret", rig.namespace)

    assert isinstance(answer, ApiRefusal)
    assert answer.code == 403


async def test_a_list_is_complete_over_all_pages(rig: Rig) -> None:
    """More objects than a page holds are all listed, each with its identity."""
    names = [f"settings-{number}" for number in range(8)]
    await make(rig.cluster, *(config_map(name, rig.namespace) for name in names))

    found = await rig.cluster.fetch_list("v1", "ConfigMap", rig.namespace)

    assert not isinstance(found, ApiRefusal)
    ours = [obj for obj in found if str(obj["metadata"]["name"]).startswith("settings-")]  # type: ignore[index,call-overload] # JSON
    assert sorted(str(obj["metadata"]["name"]) for obj in ours) == names  # type: ignore[index,call-overload] # JSON
    assert {(obj["apiVersion"], obj["kind"]) for obj in ours} == {("v1", "ConfigMap")}
    assert not any("managedFields" in dict(obj["metadata"]) for obj in ours)  # type: ignore[arg-type] # JSON


async def test_a_selector_narrows_a_list(rig: Rig) -> None:
    """Only objects with the label are listed."""
    marked = config_map("marked", rig.namespace)
    marked["metadata"]["labels"] = {"team": "a"}
    await make(rig.cluster, marked, config_map("plain", rig.namespace))

    found = await rig.cluster.fetch_list("v1", "ConfigMap", rig.namespace, label_selector="team=a")

    assert not isinstance(found, ApiRefusal)
    assert [obj["metadata"]["name"] for obj in found] == ["marked"]  # type: ignore[index,call-overload] # JSON


async def test_a_list_of_all_namespaces_has_those_of_one(rig: Rig) -> None:
    """An empty namespace means all of them."""
    await make(rig.cluster, config_map("somewhere", rig.namespace))

    found = await rig.cluster.fetch_list("v1", "ConfigMap", "")

    assert not isinstance(found, ApiRefusal)
    places = {(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in found}  # type: ignore[index,call-overload] # JSON
    assert (rig.namespace, "somewhere") in places


async def test_built_in_kinds_are_known(rig: Rig) -> None:
    """A kind's plural and scope come from the server."""
    deployments = await rig.cluster.fetch_kind(kind("apps", "v1", "Deployment"))
    namespaces = await rig.cluster.fetch_kind(kind("", "v1", "Namespace"))

    assert deployments is not None
    assert (deployments.plural, deployments.namespaced, deployments.has_status) == (
        "deployments",
        True,
        True,
    )
    assert namespaces is not None
    assert not namespaces.namespaced


async def test_a_kind_is_known_once_its_definition_is_there(rig: Rig) -> None:
    """An unknown kind is none, and after its definition and `forget_kinds` it is found."""
    wanted = kind(rig.group, "v1", "Widget")
    assert await rig.cluster.fetch_kind(wanted) is None

    await make(rig.cluster, widget_definition(rig.group))
    found = await known(rig.cluster, wanted)

    assert (found.plural, found.namespaced) == ("widgets", True)
    await make(rig.cluster, widget("one", rig.namespace, rig.group, size="s"))
    live = await rig.cluster.get(ref_of(widget("one", rig.namespace, rig.group)))
    assert isinstance(live, dict)
    assert live["spec"] == {"size": "s"}
    await rig.cluster.delete(ref_of(live))


async def known(cluster: Cluster, wanted: ObjectRef) -> KindInfo:
    """Look for a kind, each time anew, until it is served."""
    async with asyncio.timeout(20):
        while True:
            cluster.forget_kinds()
            found = await cluster.fetch_kind(wanted)
            if found is not None:
                return found


async def test_a_kind_that_nobody_serves_cannot_be_applied(rig: Rig) -> None:
    """The refusal names the kind; reading one finds nothing."""
    gadget = widget("one", rig.namespace, f"no.{rig.group}")

    answer = await rig.cluster.apply(gadget, manager="gitopsd", force=True)

    assert isinstance(answer, ApiRefusal)
    assert answer.code == 404
    assert "Widget" in answer.message
    assert await rig.cluster.get(ref_of(gadget)) is None
    assert await rig.cluster.delete(ref_of(gadget)) is None
    assert await rig.cluster.fetch_list(f"no.{rig.group}/v1", "Widget", rig.namespace) == ()


async def test_a_watch_says_relisted_and_then_what_changes(rig: Rig) -> None:
    """The first signal asks to look at everything; each later one brings an object."""
    seen: list[tuple[str, str]] = []
    watching: Any = rig.cluster.watch("v1", "ConfigMap", rig.namespace)
    async with asyncio.timeout(20), aclosing(watching) as signals:
        async for signal in signals:
            if signal.action == "Relisted":
                await make(rig.cluster, config_map("watched", rig.namespace, mode="a"))
                continue
            metadata: Any = signal.obj["metadata"]
            if metadata["name"] != "watched":
                continue
            assert "managedFields" not in metadata
            seen.append((signal.action, metadata["name"]))
            if signal.action == "Added":
                await make(rig.cluster, config_map("watched", rig.namespace, mode="b"))
            if signal.action == "Modified":
                await rig.cluster.delete(ref_of(config_map("watched", rig.namespace)))
            if signal.action == "Deleted":
                break

    assert seen == [("Added", "watched"), ("Modified", "watched"), ("Deleted", "watched")]
