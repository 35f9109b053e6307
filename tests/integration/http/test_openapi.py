"""The API describes itself, and its answers are what it describes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import jsonschema_rs
import pytest

from gitopsd import __version__
from gitopsd.entrypoints.http.api.all_routes import ROUTES
from gitopsd.entrypoints.http.api.openapi import describe_api
from tests.support.http_world import Document, Reply, make_busy, serving_world

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def described() -> Document:
    """The document, made from the routes."""
    return describe_api(ROUTES)


def references(value: Document) -> Iterator[str]:
    """Every reference in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def test_every_route_is_described_once() -> None:
    """Paths, methods, names of operations and parameters are those of the router."""
    listed = {
        (method.upper(), path): operation
        for path, operations in described()["paths"].items()
        for method, operation in operations.items()
    }
    names = [operation["operationId"] for operation in listed.values()]

    assert set(listed) == {(route.method, f"/api/v1{route.path}") for route in ROUTES}
    assert len(set(names)) == len(names)
    for (_, path), operation in listed.items():
        said = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert said == set(re.findall(r"\{(\w+)\}", path))
        assert operation["summary"].endswith(".")
        assert operation["responses"]["default"]["content"]["application/problem+json"]


def test_writes_offer_an_idempotency_key() -> None:
    """Everything that changes something can be sent twice."""
    for operations in described()["paths"].values():
        for method, operation in operations.items():
            headers = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
            assert headers == ({"Idempotency-Key"} if method == "post" else set())


def test_every_reference_resolves_and_every_schema_is_one() -> None:
    """A generator of clients can read it."""
    document = described()
    schemas = document["components"]["schemas"]

    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == __version__
    assert document["security"] == [{"token": []}]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    for schema in schemas.values():
        jsonschema_rs.meta.validate({"$schema": _DIALECT, **schema})


def check(reply: Reply, path: str, method: str = "get") -> None:
    """Hold an answer against what is said about it."""
    operation = described()["paths"][f"/api/v1{path}"][method]
    response = operation["responses"].get(str(reply.status), operation["responses"]["default"])
    (content,) = response["content"].values()
    schema = {
        "$schema": _DIALECT,
        "components": described()["components"],
        "unevaluatedProperties": False,
        **content["schema"],
    }
    jsonschema_rs.validator_for(schema).validate(reply.document)


async def test_every_answer_is_what_is_described() -> None:
    """Each resource of a busy installation, each verb and a problem fit their schemas."""
    async with serving_world() as http:
        busy = await make_busy(http)
        values = {
            "app": "shop",
            "stage": "production",
            "run": busy.waiting,
            "release": busy.release,
            "sha": busy.commit,
        }
        readable = [
            route.path for route in ROUTES if route.method == "GET" and route.answer is not None
        ]
        for path in readable:
            check(await http.ask("GET", path.format(**values)), path)
        for verb, body in (("suspend", {"reason": "audit"}), ("resume", None)):
            path = f"/applications/{{app}}/stages/{{stage}}/{verb}"
            check(await http.ask("POST", path.format(**values), body=body), path, "post")
        made = await http.ask("POST", "/tokens", body={"subject": "kim", "role": "viewer"})
        check(made, "/tokens", "post")
        frozen = await http.ask("POST", "/freezes", body={"scope": "*", "seconds": 60})
        check(frozen, "/freezes", "post")
        check(await http.ask("GET", "/runs/none"), "/runs/{run}")
        served = await http.get("/openapi.json")

    assert len(readable) == 20
    assert made.status == frozen.status == 201
    assert served == described()


def test_a_wrong_answer_would_be_noticed() -> None:
    """The check itself can fail: an answer with a field too many does not fit."""
    wrong = Reply(200, {}, "", {"items": [], "next": None, "surprise": 1})

    with pytest.raises(jsonschema_rs.ValidationError):
        check(wrong, "/applications")
