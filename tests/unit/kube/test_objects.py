"""Reading objects that nobody has validated."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given

from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.errors import PermanentError
from gitopsd.kube import objects
from tests.support.hostile import HOSTILE_OBJECTS

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def manifest(**fields: Json) -> dict[str, Json]:
    """Make a small Deployment, with fields replaced."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop"},
        **fields,
    }


@pytest.mark.parametrize(
    "path, found",
    [
        ((), {"a": {"b": 1}, "l": [1]}),
        (("a",), {"b": 1}),
        (("a", "b"), 1),
        (("a", "b", "c"), None),
        (("a", "x"), None),
        (("x", "b"), None),
        (("l", "0"), None),
    ],
)
def test_a_path_is_followed_or_ends_in_nothing(path: tuple[str, ...], found: Json) -> None:
    """A missing step, and a step into something that is no object, is None."""
    assert objects.value_at({"a": {"b": 1}, "l": [1]}, *path) == found


def test_accessors_answer_with_an_empty_value_of_their_type() -> None:
    """Each accessor gives what it promises, and its empty value for anything else."""
    obj: JsonObject = {
        "object": {"a": 1},
        "list": [{"a": 1}, 2, {"b": 2}],
        "pair": (1, 2),
        "text": "word",
        "number": 7,
        "yes": True,
        "no": False,
        "time": "2026-05-01T12:00:00Z",
    }
    assert objects.mapping_at(obj, "object") == {"a": 1}
    assert objects.mapping_at(obj, "list") == {}
    assert objects.sequence_at(obj, "pair") == (1, 2)
    assert objects.sequence_at(obj, "text") == ()
    assert objects.mappings_at(obj, "list") == ({"a": 1}, {"b": 2})
    assert objects.string_at(obj, "text") == "word"
    assert objects.string_at(obj, "number") == ""
    assert objects.int_at(obj, "number") == 7
    assert objects.int_at(obj, "yes") is None
    assert objects.int_at(obj, "text") is None
    assert objects.number_at(obj, "number") == 7
    assert objects.number_at(obj, "missing") == 0
    assert objects.flag_at(obj, "yes") is True
    assert objects.flag_at(obj, "no") is False
    assert objects.flag_at(obj, "number") is False
    assert objects.time_at(obj, "time") == NOON
    assert objects.time_at(obj, "number") is None


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2026-05-01T12:00:00Z", NOON),
        ("2026-05-01T12:00:00.5Z", NOON.replace(microsecond=500_000)),
        ("2026-05-01T14:00:00+02:00", NOON),
        ("2026-05-01T12:00:00", NOON),
        ("2026-05-01", NOON.replace(hour=0)),
        ("", None),
        ("soon", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_times_are_aware_and_utc(text: str, moment: datetime | None) -> None:
    """RFC 3339 times come out in UTC; what is no time, or none that exists, is None."""
    parsed = objects.parse_time(text)
    assert parsed == moment
    assert parsed is None or parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "text, number",
    [
        ("7", 7),
        (" -3 ", -3),
        ("+2", 2),
        ("999999999", 999_999_999),
        ("1234567890", None),
        ("", None),
        ("1.5", None),
        ("٣", None),
        ("x", None),
    ],
)
def test_integers_are_short_and_ascii(text: str, number: int | None) -> None:
    """Nine decimal digits at most, so that no text can cost time or memory."""
    assert objects.parse_integer(text) == number


def test_metadata_is_read() -> None:
    """Names, labels, owners and times of an object."""
    obj = manifest(
        metadata={
            "name": "api",
            "namespace": "shop",
            "uid": "u1",
            "labels": {"a": "b", "n": 1},
            "annotations": {"c": "d", "n": None},
            "creationTimestamp": "2026-05-01T12:00:00Z",
            "ownerReferences": [{"uid": "o1"}, {"uid": "o2", "controller": True}],
        }
    )
    assert objects.name_of(obj) == "api"
    assert objects.namespace_of(obj) == "shop"
    assert objects.uid_of(obj) == "u1"
    assert objects.kind_of(obj) == "Deployment"
    assert objects.group_of(obj) == "apps"
    assert objects.labels_of(obj) == {"a": "b"}
    assert objects.annotations_of(obj) == {"c": "d"}
    assert objects.controller_uid(obj) == "o2"
    assert objects.created_at(obj) == NOON
    assert objects.is_terminating(obj) is False
    assert objects.is_terminating({"metadata": {"deletionTimestamp": "x"}}) is True


def test_metadata_that_is_missing_reads_as_empty() -> None:
    """An empty object has no name, no group and no owner."""
    assert objects.name_of({}) == ""
    assert objects.namespace_of({}) == ""
    assert objects.uid_of({}) == ""
    assert objects.kind_of({}) == ""
    assert objects.group_of({}) == ""
    assert objects.group_of({"apiVersion": "v1"}) == ""
    assert objects.labels_of({}) == {}
    assert objects.controller_uid({}) == ""
    assert objects.created_at({}) is None


def test_conditions_are_found_by_type() -> None:
    """The first condition of a type counts, with its times."""
    obj: JsonObject = {
        "status": {
            "conditions": [
                "rubbish",
                {"type": "Ready", "status": "True", "reason": "Up", "message": "fine"},
                {"type": "Ready", "status": "False"},
                {
                    "type": "Progressing",
                    "status": "False",
                    "lastTransitionTime": "2026-05-01T11:00:00Z",
                    "lastUpdateTime": "2026-05-01T12:00:00Z",
                },
                {
                    "type": "Old",
                    "status": "Unknown",
                    "lastTransitionTime": "2026-05-01T12:00:00Z",
                },
            ]
        }
    }
    assert objects.condition_of(obj, "Ready") == objects.Condition("Ready", "True", "Up", "fine")
    assert objects.condition_of(obj, "Gone") is None
    progressing = objects.condition_of(obj, "Progressing")
    assert progressing is not None
    assert progressing.since == NOON.replace(hour=11)
    assert progressing.updated == NOON
    assert (progressing.true, progressing.false) == (False, True)
    old = objects.condition_of(obj, "Old")
    assert old is not None
    assert (old.since, old.updated) == (NOON, NOON)
    assert (old.true, old.false) == (False, False)
    assert objects.condition_true(obj, "Ready") == objects.condition_of(obj, "Ready")
    assert objects.condition_true(obj, "Progressing") is None
    assert objects.condition_true(obj, "Gone") is None


@pytest.mark.parametrize(
    "obj, ref",
    [
        (manifest(), ObjectRef(ObjectKey("apps", "Deployment", "shop", "api"), "v1")),
        (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
            ObjectRef(ObjectKey("", "Namespace", "", "shop"), "v1"),
        ),
        (
            manifest(apiVersion="a.example.com/v1beta1", metadata={"name": "x", "namespace": ""}),
            ObjectRef(ObjectKey("a.example.com", "Deployment", "", "x"), "v1beta1"),
        ),
        (
            manifest(kind="Role", metadata={"name": "system:reader", "namespace": None}),
            ObjectRef(ObjectKey("apps", "Role", "", "system:reader"), "v1"),
        ),
    ],
)
def test_an_identity_is_read(obj: JsonObject, ref: ObjectRef) -> None:
    """Group, version, kind, namespace and name; no namespace is an empty one."""
    assert objects.parse_ref(obj) == ref


@pytest.mark.parametrize(
    "obj, message",
    [
        ("text", "a document is a str, not an object with kind and name"),
        ({}, "an object: kind is missing; write a kind such as Deployment"),
        (
            {"metadata": {"name": "api"}},
            "an object api: kind is missing; write a kind such as Deployment",
        ),
        (manifest(kind=3), "an object api: kind is missing; write a kind such as Deployment"),
        (manifest(kind="De/ploy"), "an object api: kind is not a kind such as Deployment"),
        (
            {"kind": "Service", "metadata": {"name": "web"}},
            "Service web: apiVersion is missing; write it, e.g. apps/v1",
        ),
        (
            {"kind": "Service", "metadata": {"name": "a/b"}},
            "Service: apiVersion is missing; write it, e.g. apps/v1",
        ),
        (
            manifest(apiVersion=1),
            "Deployment api: apiVersion is missing; write it, e.g. apps/v1",
        ),
        (
            manifest(apiVersion=""),
            "Deployment api: apiVersion is missing; write it, e.g. apps/v1",
        ),
        (
            manifest(apiVersion="apps/V1"),
            "Deployment api: apiVersion is not group/version, e.g. apps/v1",
        ),
        (
            manifest(apiVersion="/v1"),
            "Deployment api: apiVersion is not group/version, e.g. apps/v1",
        ),
        (
            manifest(apiVersion="a/b/v1"),
            "Deployment api: apiVersion is not group/version, e.g. apps/v1",
        ),
        (manifest(metadata={}), "Deployment: metadata.name is missing"),
        (manifest(metadata=None), "Deployment: metadata.name is missing"),
        (manifest(metadata={"name": ""}), "Deployment: metadata.name is missing"),
        (
            manifest(metadata={"generateName": "job-"}),
            (
                "Deployment: metadata.generateName makes a new object each time; "
                "write a fixed metadata.name"
            ),
        ),
        (
            manifest(metadata={"name": 8080}),
            "Deployment: metadata.name is a int; quote it to make a name",
        ),
        (
            manifest(metadata={"name": "a/../b"}),
            "Deployment: metadata.name holds what an object name cannot",
        ),
        (
            manifest(metadata={"name": ".."}),
            "Deployment: metadata.name holds what an object name cannot",
        ),
        (
            manifest(metadata={"name": "."}),
            "Deployment: metadata.name holds what an object name cannot",
        ),
        (
            manifest(metadata={"name": "x" * 254}),
            "Deployment: metadata.name holds what an object name cannot",
        ),
        (
            manifest(metadata={"name": "a\n"}),
            "Deployment: metadata.name holds what an object name cannot",
        ),
        (
            manifest(metadata={"name": "api", "namespace": "a b"}),
            "Deployment api: metadata.namespace is not a namespace name",
        ),
        (
            manifest(metadata={"name": "api", "namespace": ["x"]}),
            "Deployment api: metadata.namespace is not a namespace name",
        ),
    ],
)
def test_an_impossible_identity_is_refused_with_its_reason(obj: JsonObject, message: str) -> None:
    """Names end up in request paths, so what cannot stand there is refused and named."""
    with pytest.raises(PermanentError) as caught:
        objects.parse_ref(obj)
    assert caught.value.message == message
    assert caught.value.reason == "InvalidObject"


def test_the_longest_name_is_accepted() -> None:
    """A name may have 253 characters."""
    ref = objects.parse_ref(manifest(metadata={"name": "x" * 253}))
    assert ref.key.name == "x" * 253


def test_server_fields_are_stripped() -> None:
    """Status and what the server writes into metadata go, everything else stays."""
    obj = manifest(
        metadata={
            "name": "api",
            "labels": {"a": "b"},
            "managedFields": [],
            "resourceVersion": "1",
            "uid": "u",
            "creationTimestamp": None,
            "generation": 2,
            "selfLink": "/x",
            "finalizers": ["f"],
        },
        spec={"status": "kept"},
        status={"replicas": 1},
    )
    before = dict(obj)
    assert objects.strip_server_fields(obj) == manifest(
        metadata={"name": "api", "labels": {"a": "b"}, "finalizers": ["f"]},
        spec={"status": "kept"},
    )
    assert obj == before
    assert objects.strip_server_fields({"metadata": "odd"}) == {"metadata": "odd"}
    assert objects.strip_server_fields({"a": 1}) == {"a": 1}


@given(HOSTILE_OBJECTS)
def test_no_object_makes_an_accessor_raise(obj: JsonObject) -> None:
    """Whatever a manifest holds, reading it raises nothing but the documented error."""
    objects.labels_of(obj)
    objects.annotations_of(obj)
    objects.controller_uid(obj)
    list(objects.conditions_of(obj))
    objects.created_at(obj)
    objects.strip_server_fields(obj)
    with contextlib.suppress(PermanentError):
        assert "/" not in objects.parse_ref(obj).key.name
