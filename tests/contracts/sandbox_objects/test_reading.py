"""How objects are read: amounts, times, zero values, types and fields that are there twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.sandbox.objects.amounts import (
    AmountError,
    canonical_quantity,
    canonical_time,
    parse_quantity,
)
from gitopsd.sandbox.objects.bodies import duplicate_fields
from gitopsd.sandbox.objects.decoding import DecodeError, Strictness, decode
from gitopsd.sandbox.objects.image_tags import has_latest_tag
from gitopsd.sandbox.objects.quality import quality_of_service
from gitopsd.sandbox.objects.schemas import Schemas

SCHEMAS = Schemas.load()


@pytest.mark.parametrize(
    "text,expected",
    [
        ("1", "1"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1500m", "1500m"),
        ("0", "0"),
        ("0Gi", "0"),
        ("1024Mi", "1Gi"),
        ("1500Mi", "1500Mi"),
        ("0.5Gi", "512Mi"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("12e6", "12e6"),
        ("1E", "1E"),
        ("100u", "100u"),
        ("1n", "1n"),
        ("0.0000000001", "1n"),
        ("-1", "-1"),
        ("+5", "5"),
        (".5", "500m"),
        ("5.", "5"),
        ("512", "512"),
        ("0.25Ki", "256"),
    ],
)
def test_quantity_has_one_form(text: str, expected: str) -> None:
    """No fraction, and the largest suffix of its family that loses nothing."""
    assert canonical_quantity(text) == expected


@given(
    number=st.integers(min_value=0, max_value=10**9),
    suffix=st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]),
)
def test_one_form_means_the_same(number: int, suffix: str) -> None:
    """The canonical form is the same amount, and is its own canonical form."""
    text = f"{number}{suffix}"
    canonical = canonical_quantity(text)

    assert parse_quantity(canonical) == parse_quantity(text)
    assert canonical_quantity(canonical) == canonical


@pytest.mark.parametrize("text", ["", "abc", "1 Gi", "1ki", "1e", "1.2.3", "--1", "1Gib"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    """The rule is quoted, or the suffix is."""
    with pytest.raises(AmountError, match=r"quantities must match|unable to parse"):
        parse_quantity(text)


def test_exponents_are_numbers() -> None:
    """An exponent moves the point."""
    assert parse_quantity("1.5e2") == 150


@pytest.mark.parametrize(
    "text,micro,expected",
    [
        ("2026-01-01T02:00:00+02:00", False, "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.75Z", False, "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.000001Z", True, "2026-01-01T00:00:00.000001Z"),
    ],
)
def test_time_is_written_in_utc(text: str, micro: bool, expected: str) -> None:
    """Seconds or microseconds, never a zone."""
    assert canonical_time(text, micro=micro) == expected


@pytest.mark.parametrize(
    "text,micro",
    [("today", False), ("2026-13-01T00:00:00Z", False), ("2026-01-01T00:00:00.5Z", True)],
)
def test_what_is_no_time_is_refused(text: str, micro: bool) -> None:
    """The layout that was expected is told."""
    with pytest.raises(AmountError, match="parsing time"):
        canonical_time(text, micro=micro)


def _read(api_version: str, kind: str, **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    schema = SCHEMAS.schema_of(api_version, kind)
    assert schema is not None
    return dict(decode({"apiVersion": api_version, "kind": kind, **parts}, schema))


def test_zero_values_are_written_as_go_writes_them() -> None:
    """Pointers keep a zero, values lose it, and structs are there whatever is in them."""
    read = _read(
        "apps/v1",
        "Deployment",
        spec={"replicas": 0, "minReadySeconds": 0, "paused": False, "template": {}},
    )

    assert read["spec"]["replicas"] == 0
    assert "minReadySeconds" not in read["spec"]
    assert "paused" not in read["spec"]
    assert read["spec"]["selector"] is None
    assert read["spec"]["template"]["spec"]["containers"] is None
    assert read["status"] == {}


def test_nulls_and_empty_lists_are_left_out() -> None:
    """What says nothing is not written."""
    read = _read("v1", "ConfigMap", data=None, binaryData={}, metadata={"labels": {}})

    assert read == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}


def test_unknown_fields_fall_away_and_are_told() -> None:
    """Their paths are those of a strict reader, items by number."""
    strictness = Strictness(("spec.replicas",))
    schema = SCHEMAS.schema_of("apps/v1", "Deployment")
    assert schema is not None
    container = {"name": "a", "imag": "x"}
    spec: dict[str, Any] = {"template": {"spec": {"containers": [container]}}, "foo": 1}

    read = decode({"spec": spec}, schema, strictness)

    assert "foo" not in dict(read["spec"])  # type: ignore[arg-type] # an object
    assert strictness.complaints() == [
        'duplicate field "spec.replicas"',
        'unknown field "spec.template.spec.containers[0].imag"',
        'unknown field "spec.foo"',
    ]


@pytest.mark.parametrize(
    "spec,message",
    [
        (
            {"replicas": "x"},
            "string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"replicas": 2**31},
            "number 2147483648 into Go struct field DeploymentSpec.spec.replicas",
        ),
        ({"replicas": 1.5}, "number 1.5 into Go struct field DeploymentSpec.spec.replicas"),
        ({"paused": 1}, "number into Go struct field DeploymentSpec.spec.paused of type bool"),
        ({"selector": []}, "array into Go struct field DeploymentSpec.spec.selector"),
        ({"strategy": True}, "bool into Go struct field DeploymentSpec.spec.strategy"),
        ({"template": {"spec": {"containers": {}}}}, "of type []v1.Container"),
        ({"template": {"spec": {"containers": [1]}}}, "of type v1.Container"),
        ({"template": {"metadata": {"labels": {"a": 1}}}}, "of type string"),
        ({"template": {"metadata": {"labels": []}}}, "of type map[string]string"),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": True}}},
            "field RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type intstr",
        ),
    ],
)
def test_value_of_another_type_is_refused(spec: dict[str, Any], message: str) -> None:
    """The words are those of Go's decoder."""
    with pytest.raises(DecodeError, match="cannot unmarshal") as caught:
        _read("apps/v1", "Deployment", spec=spec)

    assert message in str(caught.value)


def test_null_items_are_zero_values() -> None:
    """Go reads a null as nothing: an empty struct, an empty text."""
    read = _read("v1", "Pod", spec={"containers": [None]}, metadata={"labels": {"a": None}})

    assert read["spec"]["containers"][0]["name"] == ""
    assert read["metadata"]["labels"] == {"a": ""}


def test_bytes_are_checked_and_written_in_one_form() -> None:
    """Line breaks in base64 are no part of it; other characters are told by their place."""
    read = _read("v1", "Secret", data={"a": "YQ=\n="})

    assert read["data"] == {"a": "YQ=="}
    with pytest.raises(DecodeError, match="illegal base64 data at input byte 2"):
        _read("v1", "Secret", data={"a": "YQ*="})


@pytest.mark.parametrize(
    "reference,expected",
    [
        ("api", True),
        ("api:latest", True),
        ("api:1", False),
        ("registry:5000/api", True),
        ("registry:5000/api:2", False),
        ("api@sha256:abc", False),
        ("", False),
        (" api", False),
    ],
)
def test_latest_images_are_told_by_their_tag(reference: str, expected: bool) -> None:
    """A port is no tag, and a digest stands for one image for ever."""
    assert has_latest_tag(reference) is expected


@pytest.mark.parametrize(
    "resources,expected",
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, "Burstable"),
        (
            {
                "limits": {"cpu": "1", "memory": "1Gi"},
                "requests": {"cpu": "1000m", "memory": "1024Mi"},
            },
            "Guaranteed",
        ),
        ({"limits": {"cpu": "0"}}, "BestEffort"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], expected: str) -> None:
    """Guaranteed needs equal limits and requests of both resources."""
    assert quality_of_service({"containers": [{"resources": resources}]}) == expected


@pytest.mark.parametrize(
    "text,expected",
    [
        ('{"a": 1, "b": 2}', ()),
        ('{"a": 1, "a": 2}', ("a",)),
        ('{"a": {"b": 1, "b": 1, "b": 1}}', ("a.b",)),
        ('{"a": [{}, {"b": 1, "b": 2}]}', ("a[1].b",)),
        ('{"a": "x\\": y"}', ()),
    ],
)
def test_fields_that_are_there_twice_are_found(text: str, expected: tuple[str, ...]) -> None:
    """Whatever a decoder would keep of them, and whatever stands in texts."""
    assert duplicate_fields(text.encode(), json.loads(text)) == expected


def test_body_that_cannot_be_read_has_no_duplicates() -> None:
    """What is not JSON (YAML, say) is not looked at."""
    assert duplicate_fields(b'a: "b": 1', {"a": 1}) == ()
