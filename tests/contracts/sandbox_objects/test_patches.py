"""JSON merge patch, JSON patch and strategic merge patch, as values."""

from __future__ import annotations

from typing import Any

import pytest

from gitopsd.sandbox.objects.patches import PatchError, json_patch, merge_patch
from gitopsd.sandbox.objects.schema_tree import Schema
from gitopsd.sandbox.objects.schemas import Schemas
from gitopsd.sandbox.objects.strategic_patch import strategic_patch


@pytest.fixture(scope="module")
def pod_spec() -> Schema:
    """The type of a pod's specification."""
    pod = Schemas.load().schema_of("v1", "Pod")
    assert pod is not None
    return pod.fields["spec"].schema


@pytest.fixture(scope="module")
def deployment_spec() -> Schema:
    """The type of a Deployment's specification."""
    deployment = Schemas.load().schema_of("apps/v1", "Deployment")
    assert deployment is not None
    return deployment.fields["spec"].schema


@pytest.mark.parametrize(
    "value,patch,expected",
    [
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": "x"}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({}, {"a": {"b": None}}, {"a": {}}),
        ({}, {"a": [{"b": None, "c": 1}]}, {"a": [{"c": 1}]}),
        ({"a": 1}, {"a": 1}, {"a": 1}),
        ({"a": 1}, "text", "text"),
    ],
)
def test_merge_patch(value: Any, patch: Any, expected: Any) -> None:  # noqa: ANN401 - any JSON
    """Null removes, objects merge, everything else replaces; the old value stays."""
    before = repr(value)

    assert merge_patch(value, patch) == expected
    assert repr(value) == before


@pytest.mark.parametrize(
    "operations,expected",
    [
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ([{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2]}),
        ([{"op": "add", "path": "/b~1c", "value": 1}], {"a": [1, 2], "b/c": 1}),
        ([{"op": "add", "path": "/b~0c", "value": 1}], {"a": [1, 2], "b~c": 1}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ([{"op": "remove", "path": "/a/-1"}], {"a": [1]}),
        ([{"op": "replace", "path": "/a/1", "value": 9}], {"a": [1, 9]}),
        ([{"op": "replace", "path": "", "value": {"z": 1}}], {"z": 1}),
        ([{"op": "replace", "path": "/new", "value": 1}], {"a": [1, 2], "new": 1}),
        ([{"op": "move", "from": "/a/0", "path": "/b"}], {"a": [2], "b": 1}),
        ([{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1, 2], "b": [1, 2]}),
        ([{"op": "test", "path": "/a/0", "value": 1}], {"a": [1, 2]}),
        ([{"op": "test", "path": "/b", "value": None}], {"a": [1, 2]}),
        ([{"op": "test", "path": "", "value": {"a": [1, 2]}}], {"a": [1, 2]}),
    ],
)
def test_json_patch(operations: list[Any], expected: Any) -> None:  # noqa: ANN401 - any JSON
    """Each operation does what RFC 6902 says, and leaves the old value alone."""
    value = {"a": [1, 2]}

    assert json_patch(value, operations) == expected
    assert value == {"a": [1, 2]}


@pytest.mark.parametrize(
    "operation,message",
    [
        ({"op": "add", "path": "/x/y", "value": 1}, 'doc is missing path: "/x/y"'),
        ({"op": "add", "path": "/a/9", "value": 1}, "Unable to access invalid index: 9"),
        ({"op": "add", "path": "/a/b", "value": 1}, "value was not a proper array index: 'b'"),
        ({"op": "remove", "path": "/x"}, "Unable to remove nonexistent key: x"),
        ({"op": "remove", "path": "/x/y"}, 'doc is missing path: "/x/y"'),
        ({"op": "remove", "path": "/a/b"}, 'strconv.Atoi: parsing "b": invalid syntax'),
        ({"op": "replace", "path": "/a/7", "value": 1}, "doc is missing key: /a/7"),
        ({"op": "replace", "path": "/x/y", "value": 1}, "doc is missing path: /x/y"),
        ({"op": "move", "from": "/x", "path": "/y"}, "Unable to remove nonexistent key: x"),
        ({"op": "move", "from": "/x/y", "path": "/y"}, "doc is missing from path: /x/y"),
        ({"op": "move", "from": "/a/0", "path": "/x/y"}, "missing destination path: /x/y"),
        ({"op": "move", "from": "/a/0", "path": "/a/9"}, "error in move for path: '/a/9'"),
        ({"op": "copy", "from": "/a/9", "path": "/y"}, "error in copy for from: '/a/9'"),
        ({"op": "copy", "from": "/x/y", "path": "/y"}, "doc is missing from path: /x/y"),
        ({"op": "copy", "from": "/a", "path": "/x/y"}, "missing destination path: /x/y"),
        ({"op": "copy", "from": "/a", "path": "/a/9"}, "error while adding value during copy"),
        ({"op": "test", "path": "/a/0", "value": 2}, "testing value /a/0 failed: test failed"),
        ({"op": "test", "path": "/a/0", "value": True}, "testing value /a/0 failed"),
        ({"op": "test", "path": "/a/9", "value": 2}, "error in test for path: '/a/9'"),
        ({"op": "test", "path": "/x/y", "value": 2}, "is missing path: /x/y"),
        ({"op": "zip", "path": "/a"}, "Unexpected kind: zip"),
        ("no operation", "Unexpected kind: unknown"),
    ],
)
def test_json_patch_that_does_not_apply(operation: Any, message: str) -> None:  # noqa: ANN401 - any JSON
    """The reason is told in the words of the server's library."""
    with pytest.raises(PatchError) as caught:
        json_patch({"a": [1, 2]}, [operation])

    assert message in str(caught.value)


def _names(value: dict[str, Any], field: str = "containers") -> list[str]:
    return [item["name"] for item in value[field]]


SPEC: dict[str, Any] = {
    "containers": [
        {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]},
        {"name": "b", "image": "b:1"},
    ],
    "nodeSelector": {"zone": "1", "disk": "ssd"},
    "volumes": [{"name": "v", "emptyDir": {}}],
}


def test_items_of_a_list_merge_by_its_key(pod_spec: Schema) -> None:
    """An item that is named changes, the others stay, and a new one comes before them."""
    patch: dict[str, Any] = {
        "containers": [{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}]
    }

    merged = strategic_patch(SPEC, patch, pod_spec)

    images = {item["name"]: item["image"] for item in merged["containers"]}  # type: ignore[union-attr, call-overload, index] # objects
    assert images == {"a": "a:1", "b": "b:2", "c": "c:1"}
    assert _names(SPEC) == ["a", "b"]


@pytest.mark.parametrize(
    "patch,expected",
    [
        ({"containers": [{"name": "a", "$patch": "delete"}]}, ["b"]),
        ({"containers": [{"$patch": "replace"}, {"name": "z", "image": "z"}]}, ["z"]),
        ({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}, ["b", "a"]),
        (
            {
                "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}],
                "containers": [{"name": "c", "image": "c"}],
            },
            ["c", "a", "b"],
        ),
        ({"containers": []}, ["a", "b"]),
    ],
)
def test_directives_of_keyed_lists(
    pod_spec: Schema, patch: dict[str, Any], expected: list[str]
) -> None:
    """Items are deleted, replaced all at once, and put in the order that the patch names."""
    assert _names(dict(strategic_patch(SPEC, patch, pod_spec))) == expected


def test_maps_are_replaced_or_deleted_on_request(pod_spec: Schema) -> None:
    """A directive inside an object means the whole object."""
    replaced = strategic_patch(SPEC, {"nodeSelector": {"$patch": "replace", "q": "1"}}, pod_spec)
    deleted = strategic_patch(SPEC, {"nodeSelector": {"$patch": "delete"}}, pod_spec)
    dropped = strategic_patch(SPEC, {"nodeSelector": None, "absent": None}, pod_spec)

    assert replaced["nodeSelector"] == {"q": "1"}
    assert deleted["nodeSelector"] == {}
    assert "nodeSelector" not in dropped
    assert "absent" not in dropped


def test_kept_keys_clear_the_others(deployment_spec: Schema) -> None:
    """A strategy of another type loses the settings of the old one."""
    value: dict[str, Any] = {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
    }
    patch: dict[str, Any] = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}

    assert strategic_patch(value, patch, deployment_spec) == {"strategy": {"type": "Recreate"}}


def test_values_are_taken_out_of_plain_lists() -> None:
    """Lists of plain values merge without doubles, and lose what a directive names."""
    meta = Schemas.load().facts.compiler.definition(
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    )
    value: dict[str, Any] = {"finalizers": ["a/b", "c/d"]}

    added = strategic_patch(value, {"finalizers": ["c/d", "e/f"]}, meta)
    taken = strategic_patch(value, {"$deleteFromPrimitiveList/finalizers": ["a/b"]}, meta)
    ordered = strategic_patch(
        value,
        {
            "$setElementOrder/finalizers": ["e/f", "c/d"],
            "$deleteFromPrimitiveList/finalizers": ["a/b"],
            "finalizers": ["e/f"],
        },
        meta,
    )

    assert sorted(added["finalizers"]) == ["a/b", "c/d", "e/f"]  # type: ignore[arg-type, type-var] # a list
    assert taken == {"finalizers": ["c/d"]}
    assert ordered == {"finalizers": ["e/f", "c/d"]}


def test_what_was_not_there_comes_without_directives(pod_spec: Schema) -> None:
    """Directives and nulls mean nothing where there is nothing to change."""
    patch: dict[str, Any] = {
        "initContainers": [{"name": "i", "image": "i"}, {"name": "j", "$patch": "delete"}],
        "dnsConfig": {"$patch": "delete"},
        "securityContext": {"runAsUser": None, "fsGroup": 1},
    }

    merged = strategic_patch({}, patch, pod_spec)

    assert merged == {
        "initContainers": [{"name": "i", "image": "i"}],
        "securityContext": {"fsGroup": 1},
    }


@pytest.mark.parametrize(
    "patch,message",
    [
        ({"$patch": "zip"}, "unknown patch type: zip"),
        ({"containers": [{"image": "x"}]}, "does not contain declared merge key: name"),
        ({"containers": [{"name": "a", "$patch": "zip"}]}, "unknown patch type: zip"),
        ({"$retainKeys": ["a"], "b": 1}, "invalid patch format of retainKeys"),
        ({"$setElementOrder/containers": "x"}, "invalid patch format of setElementOrder list"),
        (
            {
                "$setElementOrder/containers": [{"name": "a"}],
                "containers": [{"name": "q", "image": "q"}],
            },
            "The order in patch list:\n[map[image:q name:q]]\n doesn't match",
        ),
    ],
)
def test_strategic_patch_that_makes_no_sense(
    pod_spec: Schema, patch: dict[str, Any], message: str
) -> None:
    """The reason is told in the server's words."""
    with pytest.raises(PatchError) as caught:
        strategic_patch(SPEC, patch, pod_spec)

    assert message in str(caught.value)
