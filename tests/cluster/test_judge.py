"""The judge of the systems' stories: whatever is not as it should be is a complaint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.systems.judge import Judge
from tests.support.systems.object_sets import Object, Snapshot, key_of
from tests.support.systems.samples import (
    DIGEST,
    DIGESTS,
    FIRST,
    IMAGE,
    OTHER,
    config,
    with_value,
    workload,
)
from tests.support.systems.written import PRODUCT, Place, misplaced, writes_of

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

STAGE = "production"
Change = Callable[["SmallStage"], None]
RENDERED = (config("settings", level="info", colour="blue"), workload())


@dataclass(frozen=True, slots=True)
class SmallStage:
    """Two objects on a real API server, applied as gitopsd applies."""

    cluster: ControlPlane
    namespace: str
    judge: Judge

    def rendered(self) -> list[Object]:
        """What was released."""
        return [self.place(one) for one in RENDERED]

    def place(self, one: Object) -> Object:
        """An object in this stage's namespace."""
        return {**one, "metadata": {**one["metadata"], "namespace": self.namespace}}

    def apply(self, one: Object, *, manager: str = "gitopsd", labelled: bool = True) -> None:
        """Apply an object on the server's side, and take what others have."""
        sent = copy.deepcopy(self.place(one))
        if labelled:
            labels = {"gitopsd.io/application": self.namespace, "gitopsd.io/stage": STAGE}
            sent["metadata"]["labels"] = labels
        for container in sent["spec"]["template"]["spec"]["containers"] if "spec" in one else ():
            container["image"] = container["image"].replace(IMAGE, f"{IMAGE}@{DIGEST}")
        self.cluster.client.request(
            "PATCH",
            f"{self.judge.kinds.path(sent)}?fieldManager={manager}&force=true",
            sent,
            content_type="application/apply-patch+yaml",
        )

    def delete(self, one: Object) -> None:
        """Delete an object."""
        self.cluster.client.delete(self.judge.kinds.path(self.place(one)))

    def snapshot(self) -> Snapshot:
        """What gitopsd owns here."""
        return self.judge.snapshot(STAGE)

    def complaints(self) -> list[str]:
        """What a look at a good release says."""
        return self.judge.lacks(self.rendered(), STAGE, DIGESTS, self.judge.items(STAGE))


@pytest.fixture
def small(control_plane: ControlPlane, namespace: str) -> SmallStage:
    """The stage after a good release."""
    made = SmallStage(control_plane, namespace, Judge(control_plane, namespace))
    for one in RENDERED:
        made.apply(one)
    return made


PLANTED: dict[str, tuple[Change, str]] = {
    "one object is left over": (
        lambda stage: stage.apply(config("forgotten")),
        "ConfigMap NAMESPACE/forgotten is left over",
    ),
    "one object is missing": (
        lambda stage: stage.delete(RENDERED[0]),
        "ConfigMap NAMESPACE/settings is missing",
    ),
    "one field is different": (
        lambda stage: stage.apply(with_value(RENDERED[0], "data", "level", value="debug")),
        "ConfigMap NAMESPACE/settings is ",
    ),
    "one field is there no more": (
        lambda stage: stage.apply(config("settings", level="info")),
        "ConfigMap NAMESPACE/settings is ",
    ),
    "one field is somebody else's": (
        lambda stage: stage.apply(
            config("settings", level="trace"), manager="somebody", labelled=False
        ),
        "ConfigMap NAMESPACE/settings is ",
    ),
    "another image": (
        lambda stage: stage.apply(with_value(RENDERED[1], *FIRST, "image", value=f"web@{OTHER}")),
        "Deployment NAMESPACE/web is ",
    ),
}


def test_a_stage_that_is_as_it_was_is_left_in_peace(small: SmallStage) -> None:
    """Nothing is said of what was released, nor of the same released once more."""
    before = small.snapshot()
    assert small.complaints() == []
    for one in RENDERED:
        small.apply(one)
    assert before.differences(small.snapshot()) == []
    assert small.judge.dry_run(before, small.snapshot()) == []
    assert small.judge.present([small.place(config("never-made"))]) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_not_as_it_was_is_told(small: SmallStage, planted: str) -> None:
    """One difference that is planted gives one complaint, by kind and name."""
    change, said = PLANTED[planted]
    before = small.snapshot()
    change(small)
    (complaint,) = before.differences(small.snapshot())
    assert complaint.startswith(said.replace("NAMESPACE", small.namespace))
    assert small.complaints()


def test_what_is_left_without_a_label_is_found(small: SmallStage) -> None:
    """An object that lost its labels is no part of a stage, and is there all the same."""
    small.apply(config("hidden"), labelled=False)
    assert small.snapshot().keys() == {key_of(one) for one in small.rendered()}
    assert small.judge.present([small.place(config("hidden"))]) == [
        f"ConfigMap {small.namespace}/hidden is still there"
    ]


def test_a_dry_run_tells_what_an_apply_would_change(small: SmallStage) -> None:
    """Also where gitopsd owns the field no more."""
    before = small.snapshot()
    stolen = config("settings", level="trace")
    small.apply(stolen, manager="somebody", labelled=False)
    (diff,) = small.judge.dry_run(before, small.snapshot())
    assert "level: trace" in diff


def test_a_workload_that_is_not_rolled_out_is_told(small: SmallStage) -> None:
    """Nobody runs its pod here."""
    small.apply(with_value(RENDERED[1], "spec", "template", "spec", "nodeName", value="nowhere"))
    small.apply(with_value(RENDERED[1], "spec", "replicas", value=1))
    assert any("availableReplicas is 0, not 1" in one for one in small.complaints())


def test_writes_are_told_by_place_and_identity(small: SmallStage) -> None:
    """Those in a stage's namespaces, its own objects elsewhere, and neither dry-runs nor reads."""

    def event(verb: str, resource: str, space: str, name: str, **more: object) -> dict[str, Any]:
        resource, _, group = resource.partition(".")
        reference = {"resource": resource, "apiGroup": group, "namespace": space, "name": name}
        return {
            "verb": verb,
            "user": {"username": PRODUCT},
            "objectRef": {key: value for key, value in reference.items() if value},
            "requestURI": "/somewhere",
            "responseStatus": {"code": 200},
            "requestReceivedTimestamp": "2026-01-01T00:00:00.000001Z",
            **more,
        }

    roles = "clusterroles.rbac.authorization.k8s.io"
    role, monitor = ("ClusterRole", "", "mine"), ("ConfigMap", "shared", "mine")
    place = Place(STAGE, frozenset({"shop"}), frozenset({role, monitor}), "somebody")
    events = [
        event("patch", "configmaps", "shop", "a", impersonatedUser={"username": "somebody"}),
        event("patch", roles, "", "mine"),
        event("delete", "configmaps", "shared", "mine"),
        event("delete", "configmaps", "shared", "not-mine"),
        event("patch", roles, "", "not-mine"),
        event("patch", "configmaps", "elsewhere", "a"),
        event("get", "configmaps", "shop", "a"),
        event("patch", "configmaps", "shop", "a", requestURI="/somewhere?dryRun=All"),
        event("patch", "configmaps", "shop", "a", responseStatus={"code": 403}),
        event("patch", "configmaps", "shop", "a", user={"username": "somebody-else"}),
    ]
    found = writes_of(events, small.judge.kinds, place)
    assert [str(one) for one in found] == [
        "patch ConfigMap shop/a",
        "patch ClusterRole mine",
        "delete ConfigMap shared/mine",
    ]
    assert misplaced(found, place) == [
        f"{one} as gitopsd, not as somebody" for one in ("patch ClusterRole mine", str(found[2]))
    ]
