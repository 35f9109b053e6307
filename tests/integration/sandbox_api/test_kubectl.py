"""The pinned kubectl, by exit status and text, with every check switched on.

One body for the simulated cluster and the real one: what kubectl says must be the same.
"""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

from tests.support.images import crashing_image, never_ready_image, web_image
from tests.support.raw_requests import send

if TYPE_CHECKING:
    from tests.integration.sandbox_api.conftest import Kubectl
    from tests.support.cluster_site import Site


def deployment(image: str = "registry.test/web:1", **spec: object) -> dict[str, Any]:
    """A Deployment of one container."""
    container = {"name": "web", "image": image, "env": [{"name": "MODE", "value": "a"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
            **spec,
        },
    }


def config(**data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": data,
    }


def test_an_apply_creates_an_object(kubectl: Kubectl) -> None:
    """The first apply makes it, with defaults, and its manager owns what was listed alone."""
    said = kubectl.apply(deployment())

    assert (said.code, said.err) == (0, "")
    assert said.out == "deployment.apps/web serverside-applied\n"
    made = kubectl.read("deployment", "web")
    assert made["spec"]["revisionHistoryLimit"] == 10
    entry = next(item for item in made["metadata"]["managedFields"] if item["operation"] == "Apply")
    assert entry["manager"] == "kubectl"
    assert set(entry["fieldsV1"]["f:spec"]) == {"f:replicas", "f:selector", "f:template"}


def test_the_same_apply_again_changes_nothing(kubectl: Kubectl) -> None:
    """Version and generation stay as they were."""
    kubectl.apply(config(mode="a"))
    before = kubectl.read("configmap", "settings")

    said = kubectl.apply(config(mode="a"))

    assert (said.code, said.out) == (0, "configmap/settings serverside-applied\n")
    assert kubectl.read("configmap", "settings") == before


def test_a_field_that_is_no_longer_applied_disappears(kubectl: Kubectl) -> None:
    """It was this manager's alone, so it goes with the manifest."""
    kubectl.apply(config(mode="a", old="x"))

    assert kubectl.apply(config(mode="a")).code == 0

    assert kubectl.read("configmap", "settings")["data"] == {"mode": "a"}


def test_an_unknown_field_is_refused(kubectl: Kubectl) -> None:
    """The refusal names the field by its path, and nothing is made."""
    wrong = deployment()
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"

    said = kubectl.apply(wrong)

    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "Error from server: failed to create typed patch object "
        f"({kubectl.namespace}/web; apps/v1, Kind=Deployment): "
        '.spec.template.spec.containers[name="web"].imagePolicy: field not declared in schema\n'
    )
    assert kubectl("get", "deployment", "web").code == 1


def test_a_missing_namespace_is_refused(kubectl: Kubectl) -> None:
    """The refusal names the namespace."""
    lost = config()
    lost["metadata"]["namespace"] = "no-such-place"

    said = kubectl("apply", "--server-side", "-f", "-", "-n", "no-such-place", stdin=lost)

    assert said.code == 1
    assert said.err == 'Error from server (NotFound): namespaces "no-such-place" not found\n'


def test_an_immutable_selector_is_refused(kubectl: Kubectl) -> None:
    """A Deployment keeps the selector it was made with."""
    kubectl.apply(deployment())
    other = deployment()
    other["spec"]["selector"]["matchLabels"] = {"app": "other"}
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}

    said = kubectl.apply(other)

    assert (said.code, said.out) == (1, "")
    assert said.err == (
        'The Deployment "web" is invalid: spec.selector: Invalid value: '
        '{"matchLabels":{"app":"other"}}: field is immutable\n'
    )
    assert kubectl.read("deployment", "web")["spec"]["selector"]["matchLabels"] == {"app": "web"}


def test_a_second_manager_meets_a_conflict(kubectl: Kubectl) -> None:
    """The refusal names field and manager, and says how to go on; the value stays."""
    kubectl.apply(config(mode="a"))

    said = kubectl.apply(config(mode="b"), "--field-manager=other")

    assert said.code == 1
    assert said.err.startswith(
        'error: Apply failed with 1 conflict: conflict with "kubectl": .data.mode\n'
    )
    assert "--force-conflicts" in said.err
    assert kubectl.read("configmap", "settings")["data"] == {"mode": "a"}


def test_a_conflict_can_be_forced(kubectl: Kubectl) -> None:
    """The field changes hands: only the second manager owns it."""
    kubectl.apply(config(mode="a"))

    said = kubectl.apply(config(mode="b"), "--field-manager=other", "--force-conflicts")

    assert said.code == 0
    live = kubectl.read("configmap", "settings")
    assert live["data"] == {"mode": "b"}
    owners = [
        entry["manager"]
        for entry in live["metadata"]["managedFields"]
        if "f:mode" in entry["fieldsV1"].get("f:data", {})
    ]
    assert owners == ["other"]


def test_a_diff_without_changes_ends_with_0(kubectl: Kubectl) -> None:
    """It prints nothing and changes nothing."""
    kubectl.apply(config(mode="a"))

    said = kubectl("diff", "--server-side", "-f", "-", stdin=config(mode="a"))

    assert (said.code, said.out) == (0, "")


def test_a_diff_with_changes_ends_with_1(kubectl: Kubectl) -> None:
    """It shows the change; a dry run writes nothing."""
    kubectl.apply(config(mode="a"))
    before = kubectl.read("configmap", "settings")

    said = kubectl("diff", "--server-side", "-f", "-", stdin=config(mode="b"))

    assert said.code == 1
    assert "-  mode: a\n+  mode: b\n" in said.out
    assert kubectl.read("configmap", "settings") == before


def test_get_prints_a_table(kubectl: Kubectl) -> None:
    """The columns are a real server's, with and without -o wide; a missing name ends with 1."""
    kubectl.apply(deployment(replicas=0))

    said = kubectl("get", "deployment")
    wide = kubectl("get", "deployment", "-o", "wide")
    missing = kubectl("get", "deployment", "none")

    assert said.out.splitlines()[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert re.fullmatch(r"web +0/0 +0 +0 +\d+s", said.out.splitlines()[1])
    assert wide.out.splitlines()[1].split()[-3:] == ["web", "registry.test/web:1", "app=web"]
    assert missing.code == 1
    assert missing.err == 'Error from server (NotFound): deployments.apps "none" not found\n'


def test_get_w_prints_what_changes(kubectl: Kubectl) -> None:
    """One line for the object as it is, and one for each change."""
    kubectl.apply(config(mode="a"))
    watching = kubectl.start("get", "configmap", "settings", "-w", "--no-headers")
    assert watching.stdout is not None
    first = watching.stdout.readline()

    kubectl.apply(config(mode="a", more="x"))
    second = watching.stdout.readline()
    watching.terminate()
    watching.communicate()

    assert first.split()[:2] == ["settings", "1"]
    assert second.split()[:2] == ["settings", "2"]


def test_rollout_status_ends_with_0_when_it_is_out(cluster: Site, kubectl: Kubectl) -> None:
    """It waits for the pods of the new generation."""
    image = cluster.push(web_image("1"), "1").pinned
    kubectl.apply(deployment(image, replicas=2))

    said = kubectl("rollout", "status", "deployment/web", "--timeout=20s")

    assert said.code == 0
    assert said.out.endswith('deployment "web" successfully rolled out\n')


def test_rollout_status_ends_with_1_at_its_timeout(cluster: Site, kubectl: Kubectl) -> None:
    """A pod that never becomes ready keeps the rollout from its end."""
    image = cluster.push(never_ready_image("1"), "1").pinned
    bad = deployment(image)
    bad["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {
        "httpGet": {"path": "/ready", "port": 8080},
        "periodSeconds": 1,
    }
    kubectl.apply(bad)

    said = kubectl("rollout", "status", "deployment/web", "--timeout=2s")

    assert said.code == 1
    assert "0 of 1 updated replicas are available" in said.out
    assert said.err == "error: timed out waiting for the condition\n"


def test_logs_are_read_and_followed(cluster: Site, kubectl: Kubectl) -> None:
    """As many lines as asked for; of the instance before; and what comes, while it comes."""
    image = cluster.push(crashing_image("1", line="fatal: no settings"), "1").pinned
    kubectl.apply(deployment(image))
    pod = cluster.pod(
        lambda item: bool(
            item.get("status", {}).get("containerStatuses", [{}])[0].get("restartCount")
        ),
        "a restart",
    )["metadata"]["name"]

    last = kubectl("logs", pod, "--tail=1")
    before = kubectl("logs", pod, "--previous")
    by_owner = kubectl("logs", "deployment/web", "--since=1h")
    wrong = kubectl("logs", pod, "-c", "none")

    assert (last.code, last.out) == (0, "fatal: no settings\n")
    assert (before.code, before.out) == (0, "web 1 starts\nfatal: no settings\n")
    assert by_owner.code == 0
    assert wrong.code == 1
    assert "container none is not valid for pod" in wrong.err


def test_logs_that_are_followed_end_with_the_container(cluster: Site, kubectl: Kubectl) -> None:
    """Lines come while the container runs; the stream ends when it does."""
    image = cluster.push(web_image("1"), "1").pinned
    kubectl.apply(deployment(image))
    cluster.wait_available(1)
    following = kubectl.start("logs", "-f", "deployment/web")
    assert following.stdout is not None
    first = following.stdout.readline()

    kubectl("delete", "deployment", "web")
    following.communicate(timeout=20)

    assert first.strip()
    assert following.returncode == 0


def test_a_finalizer_holds_a_deletion(kubectl: Kubectl) -> None:
    """The object stays, marked, until its finalizer is taken away; then kubectl's wait is over."""
    held = config(mode="a")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    kubectl.apply(held)

    said = kubectl("delete", "configmap", "settings", "--timeout=1s")
    assert said.code == 1
    assert "timed out waiting for the condition" in said.err
    assert kubectl.read("configmap", "settings")["metadata"]["deletionTimestamp"]

    waiting = kubectl.start("wait", "--for=delete", "configmap/settings")
    free = kubectl.apply(config(mode="a"))

    assert free.code == 0
    out, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 0, out
    assert kubectl("get", "configmap", "settings").code == 1


def test_kubectl_creates_what_it_sends_as_protobuf(kubectl: Kubectl) -> None:
    """Its typed commands make the same objects as their manifests would."""
    assert kubectl("create", "deployment", "api", "--image=a:1", "--replicas=0").code == 0
    assert kubectl("create", "configmap", "c", "--from-literal=a=b").code == 0
    assert kubectl("create", "secret", "generic", "s", "--from-literal=a=b").code == 0
    assert kubectl("create", "service", "clusterip", "v", "--tcp=80:8080").code == 0
    assert kubectl("create", "job", "j", "--image=a:1").code == 0
    assert kubectl("create", "cronjob", "n", "--image=a:1", "--schedule=@daily").code == 0
    assert kubectl("create", "ingress", "i", "--rule=a.test/=v:80").code == 0
    assert kubectl("create", "pdb", "b", "--selector=app=api", "--min-available=1").code == 0
    assert kubectl("create", "quota", "q", "--hard=configmaps=9").code == 0
    assert kubectl("create", "role", "r", "--verb=get,list", "--resource=pods").code == 0
    assert kubectl("create", "token", "default").code == 0

    assert kubectl.read("deployment", "api")["spec"]["replicas"] == 0
    assert kubectl.read("secret", "s")["data"] == {"a": "Yg=="}
    port = kubectl.read("service", "v")["spec"]["ports"][0]
    assert (port["port"], port["targetPort"], port["protocol"]) == (80, 8080, "TCP")
    assert kubectl.read("ingress", "i")["spec"]["rules"][0]["host"] == "a.test"
    assert kubectl.read("quota", "q")["spec"]["hard"] == {"configmaps": "9"}
    assert kubectl.read("role", "r")["rules"][0]["verbs"] == ["get", "list"]
    bad = send(
        kubectl.server.client,
        "POST",
        f"/api/v1/namespaces/{kubectl.namespace}/configmaps",
        b"k8s\x00\xff\xff",
        Content_Type="application/vnd.kubernetes.protobuf",
    )
    assert (bad.status, bad.body["reason"]) == (400, "BadRequest")


def test_kubectl_scales_and_patches(kubectl: Kubectl) -> None:
    """The scale subresource, and patches of three types, are what kubectl expects."""
    kubectl.apply(deployment(replicas=0))

    assert kubectl("scale", "deployment/web", "--replicas=2").out == "deployment.apps/web scaled\n"
    assert kubectl.read("deployment", "web")["spec"]["replicas"] == 2
    merged = {"spec": {"template": {"spec": {"containers": [{"name": "web", "stdin": True}]}}}}
    assert kubectl("patch", "deployment", "web", "-p", json.dumps(merged)).code == 0
    container = kubectl.read("deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert (container["stdin"], container["image"]) == (True, "registry.test/web:1")
    changed = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
    assert kubectl("patch", "deployment", "web", "--type=json", "-p", json.dumps(changed)).code == 0
    tested = [{"op": "test", "path": "/spec/replicas", "value": 7}]
    said = kubectl("patch", "deployment", "web", "--type=json", "-p", json.dumps(tested))
    assert said.code == 1
    assert "invalid" in said.err


def test_kubectl_explains_and_lists_kinds(kubectl: Kubectl) -> None:
    """OpenAPI and discovery are what kubectl reads them for."""
    explained = kubectl("explain", "deployment.spec.replicas")
    kinds = kubectl("api-resources", "--namespaced=true", "-o", "name")

    assert explained.code == 0
    assert "FIELD: replicas <integer>" in explained.out
    assert {"deployments.apps", "pods", "jobs.batch"} <= set(kinds.out.split())


def test_a_custom_kind_is_served_and_cleared_away(kubectl: Kubectl) -> None:
    """It is known once it is established, validated by its schema, and gone with its definition."""
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.kubectl.example.com"},
        "spec": {
            "group": "kubectl.example.com",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "properties": {"size": {"type": "integer"}},
                                }
                            },
                        }
                    },
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
                    ],
                }
            ],
        },
    }
    gadget: dict[str, Any] = {
        "apiVersion": "kubectl.example.com/v1",
        "kind": "Gadget",
        "metadata": {"name": "one"},
        "spec": {"size": 3},
    }
    assert kubectl("create", "-f", "-", stdin=definition).code == 0
    established = kubectl(
        "wait", "--for=condition=Established", "crd/" + "gadgets.kubectl.example.com"
    )
    assert established.code == 0, established

    assert kubectl.apply(gadget).code == 0
    wrong = copy.deepcopy(gadget)
    wrong["spec"]["size"] = "large"
    refused = kubectl.apply(wrong)

    assert refused.code == 1
    assert "size" in refused.err
    assert [line.split() for line in kubectl("get", "gadgets").out.splitlines()] == [
        ["NAME", "SIZE"],
        ["one", "3"],
    ]
    held = {**gadget, "metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    assert kubectl.apply(held).code == 0
    assert kubectl("delete", "crd", "gadgets.kubectl.example.com", "--wait=false").code == 0
    late = kubectl.apply({**gadget, "metadata": {"name": "late"}})
    assert late.code == 1
    assert "create not allowed while custom resource definition is terminating" in late.err
    free = '[{"op": "remove", "path": "/metadata/finalizers"}]'
    assert kubectl("patch", "gadget", "held", "--type=json", "-p", free).code == 0
    assert kubectl("wait", "--for=delete", "crd/gadgets.kubectl.example.com").code == 0
    assert kubectl("get", "gadgets").code == 1
