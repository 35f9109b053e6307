"""Server-side apply: what stays, what goes, who owns it and who is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitopsd.sandbox.objects.managed_fields import format_path, parse_fields, paths
from gitopsd.sandbox.objects.merging import LAST_APPLIED
from tests.support.api_talk import APPLY, MERGE, PLAIN, Said
from tests.support.paper_api import PaperApi
from tests.support.recorded_stage import prepare
from tests.support.write_sequences import KINDS, Kind

PATH = "/apis/apps/v1/namespaces/shop/deployments/api"
CONFIG = "/api/v1/namespaces/shop/configmaps/api"


def deployment(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """A Deployment with one container, and these fields of its specification."""
    container = {"name": "api", "image": "api:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api"},
        "spec": {
            "selector": {"matchLabels": {"app": "api"}},
            "template": {
                "metadata": {"labels": {"app": "api"}},
                "spec": {"containers": [container]},
            },
            **spec,
        },
    }


def config(**data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "api"}, "data": data}


def apply(api: PaperApi, body: dict[str, Any], manager: str, *, force: bool = False) -> Said:
    """Apply an object as a manager."""
    path = CONFIG if body["kind"] == "ConfigMap" else PATH
    query = f"?fieldManager={manager}{'&force=true' if force else ''}"
    return api.say("PATCH", path + query, body, APPLY)


def owners(said: Said, field: str) -> list[str]:
    """Who owns a field, as ``manager/operation``."""
    return sorted(
        f"{entry['manager']}/{entry['operation']}"
        for entry in said.answer["metadata"].get("managedFields", [])
        if field in {format_path(path) for path in paths(parse_fields(entry["fieldsV1"]))}
    )


@pytest.fixture
def api() -> PaperApi:
    """An API with nothing in it."""
    return PaperApi()


def test_same_apply_again_changes_nothing(api: PaperApi) -> None:
    """The second time, the object and its version stay."""
    first = apply(api, deployment(replicas=2), "gitopsd")
    second = apply(api, deployment(replicas=2), "gitopsd")

    assert (first.status, second.status) == (201, 200)
    assert second.answer["metadata"]["resourceVersion"] == "1"


def test_field_that_is_no_longer_applied_goes_back_to_its_default(api: PaperApi) -> None:
    """Replicas that only the applier owned are one again when it leaves them out."""
    apply(api, deployment(replicas=5), "gitopsd")

    said = apply(api, deployment(), "gitopsd")

    assert said.answer["spec"]["replicas"] == 1
    assert owners(said, ".spec.replicas") == []


def test_field_that_another_manager_owns_too_stays(api: PaperApi) -> None:
    """Leaving a shared field out gives up only one's own share of it."""
    apply(api, config(a="1", b="2"), "one")
    apply(api, config(a="1"), "two")

    said = apply(api, config(b="2"), "one")

    assert said.answer["data"] == {"a": "1", "b": "2"}
    assert owners(said, ".data.a") == ["two/Apply"]


def test_other_value_of_an_owned_field_conflicts(api: PaperApi) -> None:
    """Every field is told with its owner, and nothing is changed."""
    apply(api, config(a="1", b="2"), "one")

    said = apply(api, config(a="3", b="4"), "two")

    assert said.status == 409
    assert said.answer["message"] == (
        'Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\n- .data.b'
    )
    assert said.answer["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.b"},
    ]
    assert api.say("GET", CONFIG, None, PLAIN).answer["data"] == {"a": "1", "b": "2"}


def test_single_conflict_names_the_update_that_owns_the_field(api: PaperApi) -> None:
    """An owner that did not apply is named with the version it wrote in."""
    apply(api, config(a="1"), "one")
    api.say("PATCH", f"{CONFIG}?fieldManager=hand", {"data": {"a": "2"}}, MERGE)

    said = apply(api, config(a="1"), "one")

    assert said.answer["message"] == (
        'Apply failed with 1 conflict: conflict with "hand" using v1: .data.a'
    )


def test_force_takes_the_fields(api: PaperApi) -> None:
    """Who was overruled owns the rest only."""
    apply(api, config(a="1", b="2"), "one")

    said = apply(api, config(a="3"), "two", force=True)

    assert said.answer["data"] == {"a": "3", "b": "2"}
    assert owners(said, ".data.a") == ["two/Apply"]
    assert owners(said, ".data.b") == ["one/Apply"]


def test_items_are_merged_by_their_keys(api: PaperApi) -> None:
    """Two managers each bring a container; one that leaves takes its own along."""
    apply(api, deployment(), "one")
    sidecar = deployment()
    sidecar["spec"]["template"]["spec"]["containers"] = [{"name": "proxy", "image": "proxy:1"}]
    both = apply(api, sidecar, "two")
    without = deployment()
    del without["spec"]["template"]["spec"]["containers"]

    def names(said: Said) -> list[str]:
        return [item["name"] for item in said.answer["spec"]["template"]["spec"]["containers"]]

    assert sorted(names(both)) == ["api", "proxy"]
    assert names(apply(api, without, "two")) == ["api"]


def test_key_that_has_a_default_may_be_left_out(api: PaperApi) -> None:
    """A port without a protocol is the same item as one of TCP."""
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    apply(api, body, "one")
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = [
        {"containerPort": 80, "protocol": "TCP", "name": "http"}
    ]

    said = apply(api, body, "two")

    ports = said.answer["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert ports == [{"containerPort": 80, "protocol": "TCP", "name": "http"}]


def test_first_apply_leaves_what_was_there_to_an_unknown_updater(api: PaperApi) -> None:
    """An object without owners gets one for what it holds, so that nothing is taken silently."""
    api.say("POST", "/api/v1/namespaces/shop/configmaps?fieldManager=hand", config(a="1"), PLAIN)
    forget: dict[str, Any] = {"metadata": {"managedFields": [{}]}}
    api.say("PATCH", f"{CONFIG}?fieldManager=hand", forget, MERGE)

    said = apply(api, config(a="2"), "gitopsd")

    assert said.answer["message"] == (
        'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a'
    )


def test_kubectl_takes_over_what_it_applied_before(api: PaperApi) -> None:
    """Server-side kubectl is not stopped by client-side kubectl, and keeps its note true."""
    last = json.dumps(config(a="1"))
    body = config(a="1")
    body["metadata"]["annotations"] = {LAST_APPLIED: last}
    collection = "/api/v1/namespaces/shop/configmaps"
    api.say("POST", f"{collection}?fieldManager=kubectl-client-side-apply", body, PLAIN)

    refused = apply(api, config(a="2"), "gitopsd")
    said = apply(api, config(a="2"), "kubectl")

    assert refused.status == 409
    assert said.answer["data"] == {"a": "2"}
    note = json.loads(said.answer["metadata"]["annotations"][LAST_APPLIED])
    assert note["data"] == {"a": "2"}


def test_status_is_nobodys_who_writes_the_object(api: PaperApi) -> None:
    """An applied status is neither stored nor owned."""
    body = {**deployment(), "status": {"replicas": 7}}

    said = apply(api, body, "gitopsd")

    assert said.answer["status"] == {}
    assert owners(said, ".status.replicas") == []


def test_more_than_ten_updaters_become_one(api: PaperApi) -> None:
    """The oldest updates are counted together."""
    api.say("POST", "/api/v1/namespaces/shop/configmaps?fieldManager=first", config(a="1"), PLAIN)
    said = api.say("GET", CONFIG, None, PLAIN)
    for number in range(14):
        patch = {"data": {f"k{number}": "1"}}
        said = api.say("PATCH", f"{CONFIG}?fieldManager=m{number:02}", patch, MERGE)

    entries = said.answer["metadata"]["managedFields"]
    assert len(entries) == 10
    assert "ancient-changes" in {entry["manager"] for entry in entries}


@pytest.mark.parametrize(
    "change,message",
    [
        ({"replicaz": 1}, ".spec.replicaz: field not declared in schema"),
        ({"replicas": "two"}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"paused": "yes"}, ".spec.paused: expected boolean, got &{yes}"),
        ({"strategy": 1}, ".spec.strategy: expected map, got &{1}"),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(
    api: PaperApi, change: dict[str, Any], message: str
) -> None:
    """The path and the reason are told as structured-merge-diff tells them."""
    said = apply(api, deployment(**change), "gitopsd")

    assert said.status == 500
    assert said.answer["message"] == (
        f"failed to create typed patch object (/api; apps/v1, Kind=Deployment): {message}"
    )


def test_item_that_is_there_twice_is_refused(api: PaperApi) -> None:
    """Two containers of one name cannot be told apart."""
    body = deployment()
    body["spec"]["template"]["spec"]["containers"] *= 2

    said = apply(api, body, "gitopsd")

    assert said.answer["message"].endswith(
        '.spec.template.spec.containers: duplicate entries for key [name="api"]'
    )


def _without_empty(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        kept = {name: _without_empty(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in ({}, [], None)}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


@st.composite
def _applied(draw: st.DrawFn) -> tuple[Kind, list[dict[str, Any]]]:
    kind = draw(st.sampled_from(KINDS))
    return kind, draw(st.lists(kind.bodies, min_size=2, max_size=4))


def _say(kind: Kind, body: dict[str, Any], manager: str, api: PaperApi) -> Said:
    path = f"{kind.path.replace('NS', 'shop')}/x?fieldManager={manager}&force=true"
    named = {**body, "metadata": {**body["metadata"], "name": "x"}}
    return api.say("PATCH", path, named, APPLY)


@settings(max_examples=60)
@given(applied=_applied())
def test_applying_twice_is_applying_once(applied: tuple[Kind, list[dict[str, Any]]]) -> None:
    """Whatever was there before, repeating an apply changes neither object nor owners.

    Empty objects and lists are left out: one that takes the last label away owns an empty map only
    the second time, on a real server too.
    """
    kind, bodies = applied
    api = PaperApi()
    prepare(api.say, "shop")
    for number, full in enumerate(bodies):
        body = {"metadata": {}, **_without_empty(full)}
        first = _say(kind, body, f"m{number % 2}", api)
        second = _say(kind, body, f"m{number % 2}", api)

        if first.status < 300:
            assert second.answer == first.answer


@settings(max_examples=60)
@given(applied=_applied())
def test_every_applied_field_is_owned_by_its_applier(
    applied: tuple[Kind, list[dict[str, Any]]],
) -> None:
    """After a forced apply nobody owns a field whose value the applier changed."""
    kind, bodies = applied
    api = PaperApi()
    prepare(api.say, "shop")
    for number, body in enumerate(bodies):
        before = api.say("GET", f"{kind.path.replace('NS', 'shop')}/x", None, PLAIN).answer
        said = _say(kind, body, f"m{number}", api)
        if said.status >= 300:
            continue
        spec, old = said.answer.get("spec", {}), before.get("spec", {})
        for name, value in body.get("spec", {}).items():
            plain = not isinstance(value, dict | list) and value is not None
            if plain and name in old and old[name] != spec.get(name):
                assert owners(said, f".spec.{name}") == [f"m{number}/Apply"]
