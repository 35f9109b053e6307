"""kubectl's apply on the client's side, and the way from it to the server's and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.integration.sandbox_api.conftest import Kubectl

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def config(**data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": data,
    }


def owners(live: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """What each manager owns of the object, and how it wrote."""
    return {
        entry["manager"]: (entry["operation"], entry["fieldsV1"])
        for entry in live["metadata"]["managedFields"]
    }


def last_applied(live: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """The data that kubectl remembers to have applied."""
    return json.loads(live["metadata"]["annotations"][LAST_APPLIED])["data"]


def test_client_side_apply_works(kubectl: Kubectl) -> None:
    """It creates, configures, and removes a field by its annotation."""
    said = [
        kubectl("apply", "-f", "-", stdin=config(**data))
        for data in ({"mode": "a", "old": "x"}, {"mode": "b"}, {"mode": "b"})
    ]

    assert [(item.code, item.out, item.err) for item in said] == [
        (0, "configmap/settings created\n", ""),
        (0, "configmap/settings configured\n", ""),
        (0, "configmap/settings unchanged\n", ""),
    ]
    live = kubectl.read("configmap", "settings")
    assert live["data"] == last_applied(live) == {"mode": "b"}
    assert list(owners(live)) == ["kubectl-client-side-apply"]


def test_a_misspelled_field_is_refused(kubectl: Kubectl) -> None:
    """The refusal shows the patch that kubectl made, and names every unknown field in order."""
    kubectl("apply", "-f", "-", stdin=config(mode="a"))
    before = kubectl.read("configmap", "settings")

    said = kubectl("apply", "-f", "-", stdin={**config(mode="a"), "datum": 1, "binaryDate": {}})

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(
        'The request is invalid: patch: Invalid value: "map[binaryDate:map[]'
    )
    assert said.err.endswith(
        ': strict decoding error: unknown field "binaryDate", unknown field "datum"\n'
    )
    assert kubectl.read("configmap", "settings") == before


def test_kubectl_migrates_from_client_side_apply(kubectl: Kubectl) -> None:
    """What it applied on the client's side becomes its server-side manager's to remove.

    Its annotation stays, kept up to date under a manager of its own, for the way back.
    """
    kubectl("apply", "-f", "-", stdin=config(mode="a", old="x"))
    moved = kubectl.apply(config(mode="a", old="x"))

    assert (moved.code, moved.out, moved.err) == (0, "configmap/settings serverside-applied\n", "")
    annotation: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{LAST_APPLIED}": {}}}}
    assert owners(kubectl.read("configmap", "settings")) == {
        "kubectl": ("Apply", {"f:data": {"f:mode": {}, "f:old": {}}}),
        "kubectl-last-applied": ("Apply", annotation),
    }

    assert kubectl.apply(config(mode="a")).code == 0
    live = kubectl.read("configmap", "settings")
    assert live["data"] == last_applied(live) == {"mode": "a"}
    assert owners(live) == {
        "kubectl": ("Apply", {"f:data": {"f:mode": {}}}),
        "kubectl-last-applied": ("Apply", annotation),
    }


def test_the_way_back_takes_the_fields_that_change(kubectl: Kubectl) -> None:
    """A client-side apply after that removes what was applied last; other managers conflict."""
    kubectl("apply", "-f", "-", stdin=config(mode="a", old="x"))
    kubectl.apply(config(mode="a", old="x"))

    back = kubectl("apply", "-f", "-", stdin=config(mode="b"))
    other = kubectl.apply(config(mode="c"), "--field-manager=other")

    assert (back.code, back.out) == (0, "configmap/settings configured\n")
    live = kubectl.read("configmap", "settings")
    assert live["data"] == last_applied(live) == {"mode": "b"}
    assert other.code == 1
    assert 'conflict with "kubectl-client-side-apply" using v1: .data.mode' in other.err
