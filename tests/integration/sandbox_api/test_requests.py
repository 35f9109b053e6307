"""The REST interface, simulated and real: lists, forms of answers, writes, parts, deletions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cluster_objects import config_map
from tests.support.raw_requests import (
    JSON_PATCH,
    MERGE,
    PARTIAL,
    PARTIAL_LIST,
    STRATEGIC,
    TABLE,
    Reply,
    send,
)

if TYPE_CHECKING:
    from tests.support.cluster_client import ClusterClient
    from tests.support.cluster_site import Site

APPLY = "application/apply-patch+yaml"


class Api:
    """Requests in one namespace."""

    def __init__(self, client: ClusterClient, namespace: str) -> None:
        """Work there."""
        self.client = client
        self.namespace = namespace
        self.core = f"/api/v1/namespaces/{namespace}"
        self.apps = f"/apis/apps/v1/namespaces/{namespace}"
        self.maps = f"{self.core}/configmaps"

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """Send one."""
        return send(self.client, method, path, body, **headers)

    def make(self, name: str, **data: str) -> dict[str, Any]:
        """Create a ConfigMap."""
        return self.client.create(self.maps, config_map(name, self.namespace, **data))


@pytest.fixture
def api(cluster: Site) -> Api:
    """A namespace to work in, of each kind of cluster."""
    return Api(cluster.cluster.client, cluster.namespace)


def deployment(replicas: int = 0) -> dict[str, Any]:
    """A Deployment that makes no pods by itself."""
    containers = [{"name": "web", "image": "registry.test/web:1"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "paused": True,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": containers},
            },
        },
    }


def test_pages_show_what_the_first_one_was_a_part_of(api: Api) -> None:
    """Later pages are at the first one's version, whatever was written in between."""
    for name in "abcde":
        api.make(name)
    first = api("GET", f"{api.maps}?limit=2").body
    api.client.delete(f"{api.maps}/c")
    api.make("z")
    second = api("GET", f"{api.maps}?limit=10&continue={first['metadata']['continue']}").body

    names = [item["metadata"]["name"] for item in (*first["items"], *second["items"])]
    assert [name for name in names if len(name) == 1] == ["a", "b", "c", "d", "e"]
    assert first["metadata"]["remainingItemCount"] == len(second["items"])
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in second["metadata"]
    assert api("GET", f"{api.maps}?continue=rubbish").status == 400


def test_lists_are_narrowed_by_labels_and_fields(api: Api) -> None:
    """Every form of a label selector, and the fields that the kind can be selected by."""
    for name, labels in (("a", {"team": "x", "n": "3"}), ("b", {"team": "y"}), ("c", {})):
        obj = config_map(name, api.namespace)
        obj["metadata"]["labels"] = labels
        api.client.create(api.maps, obj)

    def found(query: str) -> list[str]:
        items = api("GET", f"{api.maps}?{query}").body["items"]
        return [item["metadata"]["name"] for item in items if len(item["metadata"]["name"]) == 1]

    assert found("labelSelector=team%3Dx") == ["a"]
    assert found("labelSelector=team%3D%3Dx") == ["a"]
    assert found("labelSelector=team!%3Dx") == ["b", "c"]
    assert found("labelSelector=team") == ["a", "b"]
    assert found("labelSelector=!team") == ["c"]
    assert found("labelSelector=team%20in%20(x,y),n") == ["a"]
    assert found("labelSelector=team%20notin%20(x)") == ["b", "c"]
    assert found("labelSelector=n%3E2") == ["a"]
    assert found("fieldSelector=metadata.name%3Db") == ["b"]
    assert found("fieldSelector=metadata.name!%3Db") == ["a", "c"]
    assert api("GET", f"{api.maps}?labelSelector=a%20b").status == 400
    refused = api("GET", f"{api.core}/pods?fieldSelector=spec.colour%3Dred")
    assert refused.body["message"] == "field label not supported: spec.colour"


def test_answers_come_in_the_form_that_was_asked_for(api: Api) -> None:
    """Whole objects, metadata alone, tables; anything else is not acceptable."""
    api.make("a", x="y")

    partial = api("GET", f"{api.maps}/a", Accept=PARTIAL).body
    listed = api("GET", api.maps, Accept=PARTIAL_LIST).body
    table = api("GET", f"{api.maps}?includeObject=Object", Accept=f"{TABLE},application/json")
    whole = api("GET", api.maps).body

    assert (partial["kind"], "data" in partial) == ("PartialObjectMetadata", False)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert table.body["kind"] == "Table"
    row = next(item for item in table.body["rows"] if item["cells"][0] == "a")
    assert row["object"]["data"] == {"x": "y"}
    assert whole["kind"] == "ConfigMapList"
    assert "kind" not in whole["items"][0]
    assert api("GET", api.maps, Accept="application/xml").status == 406


def test_a_dry_run_writes_nothing(api: Api) -> None:
    """Of any verb: the answer shows what would be, and the cluster stays at its version."""
    kept = api.make("kept", x="y")
    api.client.create(f"{api.apps}/deployments", deployment())
    before = api.client.get(api.maps)["items"]
    one, all_ = f"{api.maps}/kept?dryRun=All", f"{api.maps}?dryRun=All"

    made = api("POST", all_, config_map("new", api.namespace))
    put = api("PUT", one, {**kept, "data": {"x": "z"}})
    patched = api("PATCH", one, {"data": {"x": "z"}}, Content_Type=MERGE)
    applied = api(
        "PATCH",
        f"{one}&fieldManager=m&force=true",
        config_map("kept", api.namespace, x="z"),
        Content_Type=APPLY,
    )
    scaled = api(
        "PATCH",
        f"{api.apps}/deployments/web/scale?dryRun=All",
        {"spec": {"replicas": 3}},
        Content_Type=MERGE,
    )
    deleted = api("DELETE", one)
    by_body = api("DELETE", f"{api.maps}/kept", {"dryRun": ["All"]})
    swept = api("DELETE", all_)

    statuses = [
        item.status for item in (made, put, patched, applied, scaled, deleted, by_body, swept)
    ]
    assert statuses == [201, 200, 200, 200, 200, 200, 200, 200]
    assert [item.body["data"] for item in (put, patched, applied)] == [{"x": "z"}] * 3
    assert scaled.body["spec"]["replicas"] == 3
    assert api.client.get(api.maps)["items"] == before
    assert api.client.get(f"{api.apps}/deployments/web")["spec"]["replicas"] == 0
    assert api("POST", f"{api.maps}?dryRun=Some", config_map("n", api.namespace)).status == 422


def test_a_stale_update_is_refused(api: Api) -> None:
    """Of two who read the same version the second is told so; without a version anybody wins."""
    made = api.make("a")
    assert api("PUT", f"{api.maps}/a", {**made, "data": {"by": "one"}}).status == 200

    late = api("PUT", f"{api.maps}/a", {**made, "data": {"by": "two"}})

    assert (late.status, late.body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in late.body["message"]
    assert api("PUT", f"{api.maps}/a", config_map("a", api.namespace, by="three")).status == 200
    assert api("PUT", f"{api.maps}/none", config_map("none", api.namespace)).status == 404


def test_status_and_spec_do_not_touch_each_other(api: Api) -> None:
    """A write of the object leaves its status, one of the status its spec and generation."""
    made = api.client.create(f"{api.apps}/deployments", deployment())
    path = f"{api.apps}/deployments/web"

    lying = {"spec": {"replicas": 7}, "status": {"replicas": 5, "collisionCount": 3}}
    status = api("PATCH", f"{path}/status", lying, Content_Type=MERGE).body
    spec = api("PATCH", path, {**lying, "status": {"collisionCount": 9}}, Content_Type=MERGE).body

    assert status["spec"]["replicas"] == 0
    assert status["status"]["collisionCount"] == 3
    assert status["metadata"]["generation"] == made["metadata"]["generation"]
    assert spec["spec"]["replicas"] == 7
    assert spec["status"]["collisionCount"] == 3
    assert spec["metadata"]["generation"] == made["metadata"]["generation"] + 1
    entries = [item for item in status["metadata"]["managedFields"] if item.get("subresource")]
    assert any("f:collisionCount" in item["fieldsV1"].get("f:status", {}) for item in entries)


def test_a_workload_is_scaled_by_its_part(api: Api) -> None:
    """A Scale shows the numbers and the selector; a stale or negative one is refused."""
    api.client.create(f"{api.apps}/deployments", deployment())
    path = f"{api.apps}/deployments/web/scale"

    seen = api("GET", path).body
    bare = {**seen, "metadata": {"name": "web", "namespace": api.namespace}}
    put = api("PUT", path, {**bare, "spec": {"replicas": 2}})
    stale = api("PUT", path, {**seen, "spec": {"replicas": 3}})
    operation = [{"op": "replace", "path": "/spec/replicas", "value": 4}]
    patched = api("PATCH", path, operation, Content_Type=JSON_PATCH)
    negative = api("PATCH", path, {"spec": {"replicas": -1}}, Content_Type=MERGE)

    assert (seen["kind"], seen["status"]["selector"]) == ("Scale", "app=web")
    assert put.body["spec"]["replicas"] == 2
    assert stale.status == 409
    assert patched.body["spec"]["replicas"] == 4
    assert (negative.status, negative.body["reason"]) == (422, "Invalid")


def test_patches_of_every_type_are_taken(api: Api) -> None:
    """Merge, strategic and JSON patches; another type is refused, and so is one that is none."""
    api.make("a", x="1")
    path = f"{api.maps}/a"

    assert api("PATCH", path, {"data": {"y": "2"}}, Content_Type=MERGE).body["data"] == {
        "x": "1",
        "y": "2",
    }
    assert api("PATCH", path, {"data": {"y": None}}, Content_Type=STRATEGIC).body["data"] == {
        "x": "1"
    }
    operations = [{"op": "add", "path": "/data/z", "value": "3"}]
    assert api("PATCH", path, operations, Content_Type=JSON_PATCH).body["data"]["z"] == "3"
    assert api("PATCH", path, {}, Content_Type="text/plain").status == 415
    assert api("PATCH", path, b"{", Content_Type=MERGE).status == 400
    assert api("PATCH", f"{api.maps}/none", {}, Content_Type=MERGE).status == 404
    nobody = api("PATCH", path, config_map("a", api.namespace), Content_Type=APPLY)
    assert "fieldManager: Required value" in nobody.body["message"]


def test_bodies_may_be_yaml(api: Api) -> None:
    """A manifest as people write one is taken; an unknown format is not."""
    text = b"kind: ConfigMap\nmetadata: {name: first}\ndata:\n  key: 'yes'\n"

    made = api("POST", api.maps, text, Content_Type="application/yaml")
    applied = api(
        "PATCH",
        f"{api.maps}/second?fieldManager=m",
        b"apiVersion: v1\n" + text.replace(b"name: first", b"name: second"),
        Content_Type=APPLY,
    )

    assert (made.status, made.body["data"]) == (201, {"key": "yes"})
    assert applied.status == 201
    assert api("POST", api.maps, b"<a/>", Content_Type="application/xml").status == 415
    assert api("POST", api.maps, b"[1]").status == 400


def test_names_can_be_generated(api: Api) -> None:
    """A prefix is made a name; an object without either is refused; a taken name too."""
    made = api("POST", api.maps, {"metadata": {"generateName": "made-"}})
    taken = api("POST", api.maps, {"metadata": {"name": made.body["metadata"]["name"]}})

    assert made.body["metadata"]["name"].startswith("made-")
    assert (taken.status, taken.body["reason"]) == (409, "AlreadyExists")
    assert "name or generateName is required" in api("POST", api.maps, {}).body["message"]


def test_unknown_fields_are_refused_warned_of_or_ignored(api: Api) -> None:
    """As the request wishes."""
    body = {**config_map("a", api.namespace), "dtaa": {}}

    strict = api("POST", f"{api.maps}?fieldValidation=Strict&dryRun=All", body)
    warned = api("POST", f"{api.maps}?fieldValidation=Warn&dryRun=All", body)
    ignored = api("POST", f"{api.maps}?fieldValidation=Ignore&dryRun=All", body)

    assert strict.status == 400
    assert 'unknown field "dtaa"' in strict.body["message"]
    assert warned.headers["warning"] == '299 - "unknown field \\"dtaa\\""'
    assert ignored.status == 201
    assert "warning" not in ignored.headers


def test_a_namespace_that_ends_takes_nothing_new(api: Api) -> None:
    """The refusal says why, with the cause that controllers look for; then all of it is gone."""
    held = config_map("held", api.namespace)
    held["metadata"]["finalizers"] = ["example.com/hold"]
    api.client.create(api.maps, held)
    ended = api("DELETE", f"/api/v1/namespaces/{api.namespace}")

    refused = api("POST", api.maps, config_map("late", api.namespace))
    free = [{"op": "remove", "path": "/metadata/finalizers"}]
    api("PATCH", f"{api.maps}/held", free, Content_Type=JSON_PATCH)

    assert ended.body["status"]["phase"] == "Terminating"
    assert (refused.status, refused.body["reason"]) == (403, "Forbidden")
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    assert api("DELETE", "/api/v1/namespaces/default").status == 403


def test_a_deletion_answers_as_the_kind_does(api: Api) -> None:
    """Most kinds say Success with the uid, some show the object; preconditions hold."""
    made = api.make("a")
    api.client.create(
        f"{api.core}/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    )

    wrong = api("DELETE", f"{api.maps}/a", {"preconditions": {"uid": "other"}})
    right = api("DELETE", f"{api.maps}/a", {"preconditions": {"uid": made["metadata"]["uid"]}})
    shown = api("DELETE", f"{api.core}/services/s")

    assert (wrong.status, wrong.body["reason"]) == (409, "Conflict")
    assert right.body["status"] == "Success"
    assert right.body["details"]["uid"] == made["metadata"]["uid"]
    assert shown.body["kind"] == "Service"
    assert api("DELETE", f"{api.maps}/a").status == 404
    assert api("DELETE", f"{api.maps}/b", b"{").status == 400


def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    """Only what is chosen goes, and the answer lists it."""
    for name, team in (("a", "x"), ("b", "y")):
        obj = config_map(name, api.namespace)
        obj["metadata"]["labels"] = {"team": team}
        api.client.create(api.maps, obj)

    answer = api("DELETE", f"{api.maps}?labelSelector=team%3Dx")

    assert [item["metadata"]["name"] for item in answer.body["items"]] == ["a"]
    assert api("GET", f"{api.maps}/a").status == 404
    assert api("GET", f"{api.maps}/b").status == 200


def test_a_pod_is_bound_and_evicted(api: Api) -> None:
    """A binding gives it a node, once; an eviction heeds a budget."""
    spec: dict[str, Any] = {
        "schedulerName": "nobody",
        "containers": [{"name": "a", "image": "registry.test/a:1"}],
    }
    pod: dict[str, Any] = {"metadata": {"name": "p", "labels": {"app": "p"}}, "spec": spec}
    api.client.create(f"{api.core}/pods", pod)
    bind = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "elsewhere"}}
    nobody = api("POST", f"{api.core}/pods/p/binding", {"target": bind["target"]})
    first = api("POST", f"{api.core}/pods/p/binding", bind)
    again = api("POST", f"{api.core}/pods/p/binding", bind)
    running = {"status": {"phase": "Running"}}
    api("PATCH", f"{api.core}/pods/p/status", running, Content_Type=MERGE)
    budget: dict[str, Any] = {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}
    policies = f"/apis/policy/v1/namespaces/{api.namespace}"
    api.client.create(
        f"{policies}/poddisruptionbudgets", {"metadata": {"name": "b"}, "spec": budget}
    )
    held = api("POST", f"{api.core}/pods/p/eviction", {"metadata": {"name": "p"}})
    api.client.delete(f"{policies}/poddisruptionbudgets/b")
    body = {"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 0}}
    gone = api("POST", f"{api.core}/pods/p/eviction", body)

    assert (nobody.status, first.status, again.status) == (400, 201, 409)
    assert (held.status, held.body["details"]["causes"][0]["reason"]) == (429, "DisruptionBudget")
    assert gone.status == 201
    assert api("GET", f"{api.core}/pods/p").status == 404


def test_paths_that_are_none_say_so(api: Api) -> None:
    """An unknown kind, an unknown group, an unknown part, a verb that makes no sense."""
    assert api("GET", f"{api.core}/nothings").body["reason"] == "NotFound"
    assert api("GET", "/apis/none.example.com/v1").body == "404 page not found\n"
    assert api("GET", f"{api.maps}/a/status").status == 404
    assert api("PUT", api.maps, {}).status == 405
    assert api("POST", "/api/v1/configmaps", {}).status == 405
    assert api("POST", "/version").status == 405
    assert api("GET", f"{api.core}/nodes").status == 404


def test_discovery_speaks_both_forms(api: Api) -> None:
    """Old clients get groups, versions and kinds apart, new ones all in one answer."""
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    groups = {item["name"] for item in api("GET", "/apis").body["groups"]}
    kinds = api("GET", "/apis/apps/v1").body["resources"]
    whole = api("GET", "/apis", Accept=f"{aggregated},application/json")

    assert {"apps", "batch", "networking.k8s.io"} <= groups
    assert {"deployments", "deployments/scale"} <= {item["name"] for item in kinds}
    assert whole.headers["content-type"] == aggregated
    assert {"apps", "batch"} <= {item["metadata"]["name"] for item in whole.body["items"]}
    assert api("GET", "/apis/apps").body["preferredVersion"]["version"] == "v1"
    assert api("GET", "/api").body["versions"] == ["v1"]
    assert api("GET", "/openapi/v3").body["paths"]["apis/apps/v1"]
    for path in ("/healthz", "/livez", "/readyz"):
        assert api("GET", path).body == "ok"
