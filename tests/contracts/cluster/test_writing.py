"""What writes to a cluster do, in memory and on a real API server alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitopsd.cluster_ports import (
    ApiRefusal,
    AppliedObject,
)
from gitopsd.domain.manifests import JsonObject
from gitopsd.kube.field_managers import parse_losers
from gitopsd.kube.statuses import Cause, Status, StatusKind, classify
from tests.support.cluster_objects import config_map, ref_of

if TYPE_CHECKING:
    from gitopsd.cluster_ports import (
        Cluster,
    )
    from tests.contracts.cluster.conftest import Rig


def status_of(refusal: ApiRefusal) -> Status:
    """Read a refusal as the rules of `gitopsd.kube` do."""
    causes = tuple(Cause(reason, field, message) for field, reason, message in refusal.causes)
    return Status(refusal.code, refusal.reason, refusal.message, causes)


async def applied(
    cluster: Cluster, obj: JsonObject, manager: str = "gitopsd", dry_run: bool = False
) -> AppliedObject:
    """Apply with force; it must be taken."""
    answer = await cluster.apply(obj, manager=manager, force=True, dry_run=dry_run)
    assert isinstance(answer, AppliedObject), answer
    return answer


async def refused(cluster: Cluster, obj: JsonObject, force: bool = True) -> ApiRefusal:
    """Apply as gitopsd; it must be refused."""
    answer = await cluster.apply(obj, manager="gitopsd", force=force)
    assert isinstance(answer, ApiRefusal), answer
    return answer


async def stored(cluster: Cluster, obj: JsonObject) -> dict[str, Any]:
    """Read an object that exists."""
    found = await cluster.get(ref_of(obj))
    assert isinstance(found, dict), found
    return found


async def test_an_apply_creates_what_does_not_exist(rig: Rig) -> None:
    """A first apply creates the object, says so, and gives it a uid."""
    wanted = config_map("settings", rig.namespace, mode="a")

    answer = await applied(rig.cluster, wanted)

    assert answer.created
    live = await stored(rig.cluster, wanted)
    assert live["data"] == {"mode": "a"}
    assert live["metadata"]["uid"]


async def test_the_same_bytes_again_change_nothing(rig: Rig) -> None:
    """A second apply of the same manifest leaves even the version as it is."""
    wanted = config_map("settings", rig.namespace, mode="a")
    first = await applied(rig.cluster, wanted)

    second = await applied(rig.cluster, wanted)

    assert not second.created
    assert version(second.live) == version(first.live)


async def test_a_field_that_left_the_manifest_leaves_the_object(rig: Rig) -> None:
    """What a manager listed alone and no longer lists is removed."""
    await applied(rig.cluster, config_map("settings", rig.namespace, mode="a", old="x"))

    answer = await applied(rig.cluster, config_map("settings", rig.namespace, mode="b"))

    assert answer.live["data"] == {"mode": "b"}


async def test_a_field_that_another_manager_owns_too_stays(rig: Rig) -> None:
    """Leaving a field that somebody else lists as well does not remove it."""
    await applied(rig.cluster, config_map("settings", rig.namespace, mode="a", shared="x"))
    await applied(rig.cluster, config_map("settings", rig.namespace, shared="x"), manager="other")

    answer = await applied(rig.cluster, config_map("settings", rig.namespace, mode="a"))

    assert answer.live["data"] == {"mode": "a", "shared": "x"}


async def test_a_dry_run_shows_the_change_and_changes_nothing(rig: Rig) -> None:
    """The answer of a dry run has the new value; the object keeps the old one."""
    before = config_map("settings", rig.namespace, mode="a")
    await applied(rig.cluster, before)

    tried = await applied(
        rig.cluster, config_map("settings", rig.namespace, mode="b"), dry_run=True
    )

    assert tried.live["data"] == {"mode": "b"}
    assert (await stored(rig.cluster, before))["data"] == {"mode": "a"}


async def test_a_dry_run_of_something_new_creates_nothing(rig: Rig) -> None:
    """A dry run says that it would create the object, and there is none afterwards."""
    wanted = config_map("settings", rig.namespace, mode="a")

    tried = await applied(rig.cluster, wanted, dry_run=True)

    assert tried.created
    assert await rig.cluster.get(ref_of(wanted)) is None


async def test_without_force_a_field_of_another_manager_is_a_conflict(rig: Rig) -> None:
    """The conflict names the field and its manager, and nothing is taken."""
    await applied(rig.cluster, config_map("settings", rig.namespace, mode="a"), manager="other")

    answer = await refused(
        rig.cluster, config_map("settings", rig.namespace, mode="b"), force=False
    )

    assert classify(status_of(answer)) is StatusKind.FIELD_CONFLICT
    losers = parse_losers(status_of(answer))
    assert [(loser.manager, loser.field) for loser in losers] == [("other", "data.mode")]
    live = await stored(rig.cluster, config_map("settings", rig.namespace))
    assert live["data"] == {"mode": "a"}


async def test_with_force_the_field_is_taken(rig: Rig) -> None:
    """A forced apply sets the field and the other manager no longer owns it."""
    await applied(rig.cluster, config_map("settings", rig.namespace, mode="a"), manager="other")

    answer = await applied(rig.cluster, config_map("settings", rig.namespace, mode="b"))

    assert answer.live["data"] == {"mode": "b"}
    gone = await applied(rig.cluster, config_map("settings", rig.namespace))
    assert not gone.live.get("data")


async def test_an_apply_at_an_old_version_is_refused(rig: Rig) -> None:
    """A manifest with a resourceVersion is taken only while the object is at it."""
    first = await applied(rig.cluster, config_map("settings", rig.namespace, mode="a"))
    await applied(rig.cluster, config_map("settings", rig.namespace, mode="b"))
    late = config_map("settings", rig.namespace, mode="c")
    late["metadata"]["resourceVersion"] = version(first.live)

    answer = await refused(rig.cluster, late)

    assert classify(status_of(answer)) is StatusKind.CONFLICT
    assert (await stored(rig.cluster, late))["data"] == {"mode": "b"}


async def test_an_apply_at_a_version_that_no_object_has_only_makes_one(rig: Rig) -> None:
    """What is not there is created as by any apply; what is there by now is left as it is."""
    wanted = config_map("settings", rig.namespace, mode="a")
    never = config_map("settings", rig.namespace, mode="a")
    never["metadata"]["resourceVersion"] = "1"

    made = await applied(rig.cluster, never)
    theirs = config_map("settings", rig.namespace, mode="b")
    theirs["metadata"]["resourceVersion"] = "1"
    answer = await refused(rig.cluster, theirs)

    assert made.created
    assert (answer.code, classify(status_of(answer))) == (409, StatusKind.CONFLICT)
    assert (await stored(rig.cluster, wanted))["data"] == {"mode": "a"}
    assert version((await applied(rig.cluster, wanted)).live) == version(made.live)


async def test_an_unknown_field_is_refused(rig: Rig) -> None:
    """A misspelt field is an error of its own kind, not silently dropped."""
    wanted = {**config_map("settings", rig.namespace, mode="a"), "dtaa": {"mode": "b"}}

    answer = await refused(rig.cluster, wanted)

    assert classify(status_of(answer)) is StatusKind.UNKNOWN_FIELD
    assert "dtaa" in answer.message
    assert await rig.cluster.get(ref_of(wanted)) is None


async def test_a_missing_namespace_is_said(rig: Rig) -> None:
    """An apply into a namespace that does not exist names the namespace."""
    answer = await refused(rig.cluster, config_map("settings", "no-such-place", mode="a"))

    assert classify(status_of(answer)) is StatusKind.NAMESPACE_MISSING
    assert "no-such-place" in answer.message


async def test_what_the_identity_may_not_do_is_forbidden(rig: Rig) -> None:
    """A refusal by RBAC is a value with the server's own words."""
    answer = await refused(rig.reader, config_map("settings", rig.namespace, mode="a"))

    assert (answer.code, answer.reason) == (403, "Forbidden")
    assert "cannot" in answer.message


async def test_a_second_create_is_refused(rig: Rig) -> None:
    """Create makes an object once; the next one is told that it exists."""
    wanted = config_map("settings", rig.namespace, mode="a")
    first = await rig.cluster.create(wanted)
    assert isinstance(first, AppliedObject)
    assert first.created

    second = await rig.cluster.create(config_map("settings", rig.namespace, mode="b"))

    assert isinstance(second, ApiRefusal)
    assert (second.code, second.reason) == (409, "AlreadyExists")
    assert (await stored(rig.cluster, wanted))["data"] == {"mode": "a"}


async def test_a_create_with_an_unknown_field_is_refused(rig: Rig) -> None:
    """Create is as strict as apply."""
    answer = await rig.cluster.create({**config_map("settings", rig.namespace), "dtaa": {}})

    assert isinstance(answer, ApiRefusal)
    assert classify(status_of(answer)) is StatusKind.UNKNOWN_FIELD


async def test_a_replace_takes_the_version_it_was_read_at(rig: Rig) -> None:
    """Of two replacements of one version the second is refused, and changes nothing."""
    made = await rig.cluster.create(config_map("settings", rig.namespace, mode="a"))
    assert isinstance(made, AppliedObject)
    first, second = dict(made.live), dict(made.live)
    first["data"], second["data"] = {"mode": "b"}, {"mode": "c"}

    won, lost = await rig.cluster.replace(first), await rig.cluster.replace(second)

    assert isinstance(won, AppliedObject)
    assert won.live["data"] == {"mode": "b"}
    assert isinstance(lost, ApiRefusal)
    assert (lost.code, lost.reason) == (409, "Conflict")
    assert (await stored(rig.cluster, first))["data"] == {"mode": "b"}


async def test_a_replace_of_nothing_is_refused(rig: Rig) -> None:
    """There is nothing to replace where no object is."""
    wanted = config_map("settings", rig.namespace)
    wanted["metadata"]["resourceVersion"] = "1"

    answer = await rig.cluster.replace(wanted)

    assert isinstance(answer, ApiRefusal)
    assert answer.code in (404, 409)


async def test_a_json_patch_changes_what_it_names(rig: Rig) -> None:
    """Operations are done in order, after a test of the version."""
    made = await applied(rig.cluster, config_map("settings", rig.namespace, mode="a", old="x"))

    answer = await rig.cluster.patch(
        ref_of(made.live),
        [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version(made.live)},
            {"op": "replace", "path": "/data/mode", "value": "b"},
            {"op": "remove", "path": "/data/old"},
        ],
    )

    assert isinstance(answer, AppliedObject)
    assert answer.live["data"] == {"mode": "b"}


async def test_a_json_patch_whose_test_fails_changes_nothing(rig: Rig) -> None:
    """A failed test refuses the whole patch."""
    made = await applied(rig.cluster, config_map("settings", rig.namespace, mode="a"))

    answer = await rig.cluster.patch(
        ref_of(made.live),
        [
            {"op": "test", "path": "/metadata/resourceVersion", "value": "0"},
            {"op": "replace", "path": "/data/mode", "value": "b"},
        ],
    )

    assert isinstance(answer, ApiRefusal)
    assert answer.code == 422
    assert (await stored(rig.cluster, made.live))["data"] == {"mode": "a"}


async def test_a_json_patch_can_hand_over_ownership(rig: Rig) -> None:
    """Managed fields can be rewritten: what became ours goes when we stop listing it."""
    wanted = config_map("settings", rig.namespace, mode="a", theirs="x")
    made = await applied(rig.cluster, wanted, manager="kubectl")
    entries: Any = made.live["metadata"]["managedFields"]  # type: ignore[index,call-overload] # JSON
    ours = [{**entry, "manager": "gitopsd"} for entry in entries]
    answer = await rig.cluster.patch(
        ref_of(wanted), [{"op": "replace", "path": "/metadata/managedFields", "value": ours}]
    )
    assert isinstance(answer, AppliedObject)

    left = await applied(rig.cluster, config_map("settings", rig.namespace, mode="a"))

    assert left.live["data"] == {"mode": "a"}


async def test_a_deleted_object_is_gone(rig: Rig) -> None:
    """A delete with the right uid deletes; a second one has nothing to do."""
    made = await applied(rig.cluster, config_map("settings", rig.namespace, mode="a"))

    assert await rig.cluster.delete(ref_of(made.live), uid=uid(made.live)) is None
    assert await rig.cluster.get(ref_of(made.live)) is None
    assert await rig.cluster.delete(ref_of(made.live), uid=uid(made.live)) is None


async def test_another_object_of_the_name_is_not_deleted(rig: Rig) -> None:
    """With the uid of an earlier object the delete is refused."""
    first = await applied(rig.cluster, config_map("settings", rig.namespace, mode="a"))
    await rig.cluster.delete(ref_of(first.live))
    await applied(rig.cluster, config_map("settings", rig.namespace, mode="b"))

    answer = await rig.cluster.delete(ref_of(first.live), uid=uid(first.live))

    assert isinstance(answer, ApiRefusal)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert (await stored(rig.cluster, first.live))["data"] == {"mode": "b"}


async def test_an_object_with_a_finalizer_stays_until_that_is_done(rig: Rig) -> None:
    """Its deletion is accepted, and it goes when the finalizer does."""
    wanted = config_map("settings", rig.namespace, mode="a")
    wanted["metadata"]["finalizers"] = ["example.com/wait"]
    await applied(rig.cluster, wanted)

    assert await rig.cluster.delete(ref_of(wanted)) is None
    assert (await stored(rig.cluster, wanted))["metadata"]["deletionTimestamp"]
    await rig.cluster.patch(ref_of(wanted), [{"op": "remove", "path": "/metadata/finalizers"}])

    assert await rig.cluster.get(ref_of(wanted)) is None


def version(obj: JsonObject) -> str:
    """Read the resourceVersion."""
    metadata: Any = obj["metadata"]
    return str(metadata["resourceVersion"])


def uid(obj: JsonObject) -> str:
    """Read the uid."""
    metadata: Any = obj["metadata"]
    return str(metadata["uid"])
