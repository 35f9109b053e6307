"""The sandbox's controllers do, write and say what a real control plane's do."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.sandbox.controllers.facts import (
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    JOB,
    POD,
    POD_AUTOSCALER,
    REPLICA_SET,
    RESOURCE_QUOTA,
    SERVICE,
    STATEFUL_SET,
    Kind,
)
from tests.support.cluster_client import ApiError
from tests.support.controller_twins import RealSide, SandboxSide, Side, chance_names, plain
from tests.support.processes import WaitTimeoutError, wait_until

if TYPE_CHECKING:
    from tests.cluster.conftest import PaperNode
    from tests.support.control_plane import ControlPlane

WITHIN = timedelta(seconds=30)
"""Much more than is needed; a machine with other work takes its time."""
MADE_OR_MOVED = {"NewReplicaSetCreated", "ReplicaSetUpdated"}
"""Which of them a progressing Deployment says is chance on a real cluster: the second is written
only where its controller sees the new ReplicaSet's pods in a look of its own."""
GENERATED = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b")
ROOM = {"cpu": "4", "memory": "8Gi", "pods": "10"}
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
UNREADY = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}


class Twins:
    """Both sides, and what has to become equal on them."""

    def __init__(self, real: RealSide, sandbox: SandboxSide, node: PaperNode) -> None:
        """Take both sides; pods are for `node` alone."""
        self.real = real
        self.sandbox = sandbox
        self.node = node

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both."""
        return self.real, self.sandbox

    def pod_spec(self, **fields: object) -> dict[str, Any]:
        """A pod's spec that only the test's own node takes."""
        ports = [{"name": "http", "containerPort": 8080}]
        container: dict[str, Any] = {"name": "web", "image": "web:1", "ports": ports}
        return {
            "containers": [container],
            "nodeSelector": {"kubernetes.io/hostname": self.node.name},
            "tolerations": [{**self.node.toleration}],
            **fields,
        }

    def template(self, **fields: object) -> dict[str, Any]:
        """A pod template labelled ``app: web``."""
        return {"metadata": {"labels": {"app": "web"}}, "spec": self.pod_spec(**fields)}

    def create(self, kind: Kind, name: str, **body: object) -> None:
        """Make an object on both sides."""
        for side in self.sides:
            given: dict[str, Any] = dict(body)
            side.create(kind, {"metadata": {"name": name, **given.pop("metadata", {})}, **given})

    def change(self, kind: Kind, name: str, patch: dict[str, Any]) -> None:
        """Change an object on both sides."""
        for side in self.sides:
            side.change(kind, name, patch)

    def report(self, phase: str, *conditions: dict[str, str]) -> None:
        """Report one more pod on each side: the first by name that is still Pending."""
        status: dict[str, Any] = {
            "phase": phase,
            "conditions": list(conditions),
            "podIP": "10.1.0.1",
            "podIPs": [{"ip": "10.1.0.1"}],
        }
        for side in self.sides:
            pods = [pod for pod in side.all(POD) if pod["status"]["phase"] == "Pending"]
            side.report(min(pod["metadata"]["name"] for pod in pods), status)

    def is_over_quota(self) -> bool:
        """Whether the real server refuses a pod by what a quota says, not for not knowing it yet.

        A ReplicaSet keeps the words of the first refusal.
        """
        path = f"/api/v1/namespaces/{self.real.namespace}/pods?dryRun=All"
        try:
            self.real.client.create(path, {"metadata": {"name": "any"}, "spec": self.pod_spec()})
        except ApiError as refusal:
            return "exceeded quota" in str(refusal)
        return False

    def agree(self, *kinds: Kind) -> None:
        """Wait until all objects of some kinds are the same on both sides."""
        wanted: dict[str, Any] = {}
        seen: dict[str, Any] = {}

        def equal() -> bool:
            self.sandbox.controllers.settle()
            wanted.update({kind.kind: _summary(self.sandbox, kind) for kind in kinds})
            seen.update({kind.kind: _summary(self.real, kind) for kind in kinds})
            return seen == wanted

        try:
            wait_until(equal, what="both sides to agree", within=WITHIN)
        except WaitTimeoutError:
            assert _lines(wanted) == _lines(seen), "\n".join(_differences(wanted, seen))

    def agree_on_conditions(self, kind: Kind) -> None:
        """The objects' conditions went through the same states in the same order.

        The sandbox shows every one; a controller of the real cluster that reads two changes at
        once passes over the state between them, but comes by no other, and ends in the same.
        """
        shown, seen = _states(self.sandbox, kind), _states(self.real, kind)
        assert seen[-1] == shown[-1]
        rest = iter(shown)
        assert all(state in rest for state in seen), "\n".join(_differences(shown, seen))

    def agree_on_events(self) -> None:
        """The same was told of the same objects by the same sources."""
        told = _told(self.sandbox)
        seen: list[Any] = []

        def equal() -> bool:
            seen[:] = _told(self.real)
            return seen == told

        try:
            wait_until(equal, what="both sides to tell the same", within=WITHIN)
        except WaitTimeoutError:
            assert told == seen, "\n".join(_differences(told, seen))


def _lines(value: object) -> list[str]:
    return json.dumps(value, indent=1, sort_keys=True).splitlines()


def _differences(sandbox: object, real: object) -> list[str]:
    return list(unified_diff(_lines(sandbox), _lines(real), "sandbox", "real", n=6))


def _all_named(side: Side) -> list[tuple[str, str]]:
    kinds = (
        REPLICA_SET,
        POD,
        CONTROLLER_REVISION,
        ENDPOINT_SLICE,
        DEPLOYMENT,
        STATEFUL_SET,
        DAEMON_SET,
        JOB,
        SERVICE,
    )
    found = [{**item, "kind": kind.kind} for kind in kinds for item in side.all(kind)]
    return [*chance_names(found), (side.namespace, "<namespace>")]


def _summary(side: Side, kind: Kind) -> list[Any]:
    names = _all_named(side)
    items = []
    for item in side.all(kind):
        shown = {key: value for key, value in item.items() if key not in {"apiVersion", "kind"}}
        shown["metadata"] = dict(item["metadata"])
        managed = shown["metadata"].pop("managedFields", [])
        if kind == ENDPOINT_SLICE:
            # How often it was written says nothing of what is in it.
            del shown["metadata"]["generation"]
        shown = plain(shown, names)
        shown["managed"] = sorted(
            # Whether the scheduler knew the node at once is chance on the real one.
            (plain(entry, names) for entry in managed if entry["manager"] != "kube-scheduler"),
            key=lambda entry: (entry["manager"], entry.get("subresource", "")),
        )
        conditions = shown.get("status", {}).get("conditions", [])
        conditions.sort(key=lambda entry: str(entry["type"]))
        for entry in conditions:
            if entry.get("reason") in MADE_OR_MOVED:
                entry.update(reason="<made or moved>", message="<made or moved>")
        items.append(_without_volumes(shown))
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def _without_volumes(item: dict[str, Any]) -> dict[str, Any]:
    """Pods of a real cluster get a token, which the sandbox's node gives without a volume."""
    spec = item.get("spec", {})
    if "containers" in spec:
        for part in (spec, *spec["containers"]):
            for key in ("volumes", "volumeMounts"):
                kept = [one for one in part.get(key, []) if "kube-api-access" not in one["name"]]
                part.pop(key, None)
                if kept:
                    part[key] = kept
    return item


def _states(side: Side, kind: Kind) -> list[dict[str, tuple[str, str]]]:
    states: list[dict[str, tuple[str, str]]] = []
    for item in side.history(kind):
        conditions = item.get("status", {}).get("conditions", [])
        state = {entry["type"]: (entry["status"], _reason(entry)) for entry in conditions}
        if not states or states[-1] != state:
            states.append(state)
    return states


def _reason(condition: dict[str, Any]) -> str:
    reason = str(condition.get("reason", ""))
    return "<made or moved>" if reason in MADE_OR_MOVED else reason


def _told(side: Side) -> list[Any]:
    names = _all_named(side)
    events = [
        (
            event["involvedObject"]["kind"],
            plain(event["involvedObject"]["name"], names),
            event["type"],
            event["reason"],
            plain(event["message"], names),
            event.get("source", {}),
            event.get("reportingComponent"),
            event.get("action"),
        )
        for event in side.all(EVENT)
        if event["reason"] != "FailedScheduling"
    ]
    # Pods that are gone are told of too.
    return sorted({GENERATED.sub("-<name>", str(event)) for event in events})


@pytest.fixture
def twins(control_plane: ControlPlane, namespace: str, paper_node: PaperNode) -> Twins:
    """A fresh namespace of the real cluster and a sandbox with the same node."""
    real = RealSide(control_plane.client, namespace)
    sandbox = SandboxSide(namespace)
    taint = {"key": "gitopsd.io/paper", "value": paper_node.name, "effect": "NoSchedule"}
    sandbox.make_node(paper_node.name, {"taints": [taint]}, ROOM)
    node = f"/api/v1/nodes/{paper_node.name}"
    wait_until(
        lambda: len(control_plane.client.get(node)["spec"]["taints"]) == 1,
        what="the node to be taken for ready",
        within=WITHIN,
    )
    return Twins(real, sandbox, paper_node)


def test_a_deployment_rolls_through_the_same_states(twins: Twins) -> None:
    """ReplicaSets, pods, statuses, owners of fields, and Events, from the first pod to the next."""
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": twins.template(),
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }
    twins.create(DEPLOYMENT, "web", spec=spec)
    twins.agree(DEPLOYMENT, REPLICA_SET, POD)
    for _ in range(2):
        twins.report("Running", READY)
        twins.agree(DEPLOYMENT, REPLICA_SET)
    image = [{"name": "web", "image": "web:2"}]
    twins.change(DEPLOYMENT, "web", {"spec": {"template": {"spec": {"containers": image}}}})
    twins.agree(DEPLOYMENT, REPLICA_SET)
    twins.report("Running", UNREADY)
    twins.agree(DEPLOYMENT, REPLICA_SET)

    twins.agree_on_conditions(DEPLOYMENT)
    twins.agree_on_events()


def test_a_deployment_that_may_not_have_pods_fails_alike(twins: Twins) -> None:
    """A quota's refusal reaches the ReplicaSet and the Deployment in the same words."""
    twins.create(RESOURCE_QUOTA, "none", spec={"hard": {"pods": "0"}})
    twins.agree(RESOURCE_QUOTA)
    wait_until(twins.is_over_quota, what="the real API server to know the quota", within=WITHIN)
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": twins.template()}
    twins.create(DEPLOYMENT, "web", spec=spec)

    wait_until(
        lambda: _states(twins.real, DEPLOYMENT)[-1:] == _states(twins.sandbox, DEPLOYMENT)[-1:],
        what="both Deployments to have failed",
        within=WITHIN,
    )
    (real,), (sandbox,) = (
        plain(side.all(REPLICA_SET), chance_names(side.all(REPLICA_SET))) for side in twins.sides
    )
    said = [item["status"]["conditions"][0]["message"] for item in (real, sandbox)]
    assert {text.partition(" is forbidden")[2] for text in said} == {
        ": exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"
    }
    assert [item["status"].get("replicas") for item in (real, sandbox)] == [0, 0]


def test_a_service_reaches_the_same_pods(twins: Twins) -> None:
    """Endpoints and slices, before and after pods are ready."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    spec = {"selector": {"app": "web"}, "ports": ports, "clusterIP": "None"}
    twins.create(SERVICE, "web", metadata={"labels": {"team": "a"}}, spec=spec)
    twins.agree(ENDPOINTS, ENDPOINT_SLICE)
    twins.create(POD, "web", metadata={"labels": {"app": "web"}}, spec=twins.pod_spec())
    twins.agree(POD)
    twins.report("Running", UNREADY)
    twins.agree(ENDPOINTS, ENDPOINT_SLICE)
    for side in twins.sides:
        side.report("web", {"conditions": [READY]})
    twins.agree(ENDPOINTS, ENDPOINT_SLICE)
    for side in twins.sides:
        side.delete(POD, "web")
    twins.agree(ENDPOINTS, ENDPOINT_SLICE)


def test_a_stateful_set_counts_alike(twins: Twins) -> None:
    """Pods by number, revisions, and the status after each."""
    spec = {
        "replicas": 2,
        "serviceName": "web",
        "selector": {"matchLabels": {"app": "web"}},
        "template": twins.template(),
    }
    twins.create(STATEFUL_SET, "web", spec=spec)
    twins.agree(STATEFUL_SET, POD, CONTROLLER_REVISION)
    for _ in range(2):
        twins.report("Running", READY)
        twins.agree(STATEFUL_SET)
    twins.change(STATEFUL_SET, "web", {"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}})
    twins.agree(STATEFUL_SET)
    twins.agree_on_events()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_job_ends_alike(twins: Twins, phase: str) -> None:
    """Its status at each step, its pod's finalizer, its Events."""
    template = {"spec": twins.pod_spec(restartPolicy="Never")}
    twins.create(JOB, "work", spec={"backoffLimit": 0, "template": template})
    twins.agree(JOB, POD)
    twins.report(phase, UNREADY)
    twins.agree(JOB, POD)
    twins.agree_on_conditions(JOB)
    twins.agree_on_events()


def test_a_job_that_is_suspended_says_so_alike(twins: Twins) -> None:
    """It has no pod, no time of start, and one condition."""
    template = {"spec": twins.pod_spec(restartPolicy="Never")}
    twins.create(JOB, "work", spec={"suspend": True, "template": template})
    twins.agree(JOB)
    twins.agree_on_events()


def test_a_job_that_is_late_ends_alike(twins: Twins) -> None:
    """It is marked while its pod ends, and has failed when that is gone."""
    template = {"spec": twins.pod_spec(restartPolicy="Never")}
    twins.create(JOB, "work", spec={"activeDeadlineSeconds": 2, "template": template})
    twins.agree(JOB, POD)
    wait_until(
        lambda: "FailureTarget" in str(_states(twins.real, JOB)),
        what="the Job to be late",
        within=WITHIN,
    )
    twins.agree(JOB, POD)
    for side in twins.sides:
        (pod,) = side.all(POD)
        side.delete(POD, pod["metadata"]["name"])
    twins.agree(JOB, POD)
    twins.agree_on_conditions(JOB)
    twins.agree_on_events()


def test_pods_are_recreated_alike(twins: Twins) -> None:
    """Nothing new comes before the old is gone."""
    spec = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": twins.template(),
        "strategy": {"type": "Recreate"},
    }
    twins.create(DEPLOYMENT, "web", spec=spec)
    twins.agree(DEPLOYMENT, REPLICA_SET, POD)
    twins.report("Running", READY)
    twins.agree(DEPLOYMENT, REPLICA_SET)
    image = [{"name": "web", "image": "web:2"}]
    twins.change(DEPLOYMENT, "web", {"spec": {"template": {"spec": {"containers": image}}}})
    twins.agree(DEPLOYMENT, REPLICA_SET)
    for side in twins.sides:
        (pod,) = side.all(POD)
        side.delete(POD, pod["metadata"]["name"])
    twins.agree(DEPLOYMENT, REPLICA_SET, POD)
    twins.agree_on_conditions(DEPLOYMENT)
    twins.agree_on_events()


def test_a_daemon_set_is_on_the_same_node(twins: Twins) -> None:
    """One pod, bound by its affinity."""
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": twins.template()}
    twins.create(DAEMON_SET, "web", spec=spec)
    twins.agree(DAEMON_SET, POD, CONTROLLER_REVISION)
    twins.report("Running", READY)
    twins.agree(DAEMON_SET)
    twins.agree_on_events()


def test_pods_that_fit_nowhere_say_the_same(twins: Twins) -> None:
    """Reasons and their order, as far as they are about the test's own node."""
    asked = [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "5"}}}]
    twins.create(POD, "large", spec=twins.pod_spec(containers=asked))
    missing = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    twins.create(POD, "claims", spec=twins.pod_spec(volumes=missing))

    def said(side: Side) -> set[str]:
        """What is said besides the number of nodes: other tests have theirs."""
        found = [pod["status"].get("conditions", [{}])[0] for pod in side.all(POD)]
        return {
            f"{item.get('reason')} {item.get('observedGeneration')}: "
            f"{item.get('message', '').partition('are available:')[2][:35].strip(' 1234567890')}"
            for item in found
        }

    def claims(side: Side) -> set[str]:
        return {text for text in said(side) if "claim" in text}

    wait_until(
        lambda: "Insufficient" in str(said(twins.real)) and bool(claims(twins.real)),
        what="the real scheduler",
        within=WITHIN,
    )
    assert "Insufficient cpu" in str(said(twins.sandbox))
    assert claims(twins.real) == claims(twins.sandbox)


def test_budgets_and_autoscalers_judge_alike(twins: Twins) -> None:
    """Numbers and conditions."""
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": twins.template(),
    }
    twins.create(DEPLOYMENT, "web", spec=spec)
    # The real autoscaler looks at once and then each 15 seconds: let it see what will stay.
    twins.agree(DEPLOYMENT, REPLICA_SET, POD)
    selector = {"matchLabels": {"app": "web"}}
    twins.create(DISRUPTION_BUDGET, "web", spec={"minAvailable": "50%", "selector": selector})
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    scaler = {"maxReplicas": 5, "scaleTargetRef": reference, "metrics": [metric]}
    twins.create(POD_AUTOSCALER, "web", spec=scaler)
    twins.agree(DISRUPTION_BUDGET, POD_AUTOSCALER)
    twins.report("Running", READY)
    twins.report("Running", READY)
    twins.agree(DISRUPTION_BUDGET)
