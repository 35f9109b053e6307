"""Rollouts beyond what one fixture can say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.errors import PermanentError
from gitopsd.kube.findings import Applied, HealthSettings
from gitopsd.kube.objects import mapping_at, name_of
from gitopsd.kube.pod_events import PodEvent, group_events, parse_event
from gitopsd.kube.pod_signals import find_ends
from gitopsd.kube.restarts import count_restarts, restarts_of
from gitopsd.kube.revisions import find_new_pods, find_new_replica_set
from gitopsd.kube.rollouts import (
    EvidenceTarget,
    RolloutState,
    RolloutVerdict,
    compute_rollout_failure,
)
from tests.support.hostile import HOSTILE_OBJECTS, named_objects

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTINGS = HealthSettings()


def said(moment: datetime) -> str:
    """Spell a time as the API does."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def owned(owner_uid: str, **metadata: Json) -> dict[str, Json]:
    """Make metadata with a controller."""
    owner: Json = {"kind": "Any", "name": "any", "uid": owner_uid, "controller": True}
    return {"namespace": "shop", "ownerReferences": [owner], **metadata}


def deployment(template: Json = None, **status: Json) -> dict[str, Json]:
    """Make a Deployment whose controller has seen it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "uid": "d1", "generation": 3},
        "spec": {"replicas": 1, "template": template or {"spec": {"v": 2}}},
        "status": {"observedGeneration": 3, **status},
    }


def replica_set(name: str, template: Json, *, age: int = 0, revision: str = "") -> JsonObject:
    """Make a ReplicaSet of the Deployment."""
    metadata = owned(
        "d1",
        name=name,
        uid=f"uid-{name}",
        labels={"pod-template-hash": name},
        annotations={"deployment.kubernetes.io/revision": revision},
        creationTimestamp=said(NOW - timedelta(seconds=age)),
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata,
        "spec": {"template": template},
    }


def crashing(
    name: str, owner: str = "new", restarts: int = 2, template_hash: str = ""
) -> JsonObject:
    """Make a pod of a ReplicaSet that crash-loops."""
    metadata = owned(
        f"uid-{owner}",
        name=name,
        uid=f"uid-{name}",
        labels={"pod-template-hash": template_hash or owner},
    )
    status: Json = {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "api",
                "restartCount": restarts,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {
                    "terminated": {"exitCode": 3, "finishedAt": said(NOW - timedelta(seconds=1))}
                },
            }
        ],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


NEW = replica_set("new", {"metadata": {"labels": {"pod-template-hash": "new"}}, "spec": {"v": 2}})
OLD = replica_set("old", {"spec": {"v": 1}}, age=60, revision="1")


def judge(
    workload: JsonObject,
    pods: list[JsonObject],
    revisions: list[JsonObject] | None = None,
    applied: Applied | None = None,
) -> RolloutVerdict:
    """Judge a rollout."""
    sets = [OLD, NEW] if revisions is None else revisions
    return compute_rollout_failure(workload, sets, pods, [], NOW, SETTINGS, applied or Applied())


def test_a_failure_is_told_with_its_evidence() -> None:
    """Everything that is needed to fetch the last words."""
    verdict = judge(deployment(), [crashing("p")])
    assert verdict.state is RolloutState.FAILED
    assert verdict.reason == "CrashLoopBackOff"
    assert verdict.until is None
    assert verdict.rank == 1
    assert verdict.evidence == (
        EvidenceTarget(
            namespace="shop",
            pod="p",
            uid="uid-p",
            container="api",
            previous=True,
            reason="CrashLoopBackOff",
            message="container api: CrashLoopBackOff, exit code 3, restarted 2 times",
            exit_code=3,
        ),
    )


def test_nothing_to_say_is_clear() -> None:
    """An empty verdict about the workload."""
    verdict = judge(deployment(), [])
    assert verdict == RolloutVerdict(verdict.ref)
    assert (verdict.state, verdict.ref.key.name) == (RolloutState.CLEAR, "api")


def test_evidence_is_bounded_and_the_most_telling_comes_first() -> None:
    """Five pods at most; certain failures before suspicions, then by name."""
    pods = [crashing(f"p{number}", restarts=1) for number in range(6)] + [crashing("z")]
    verdict = judge(deployment(), pods)
    assert [target.pod for target in verdict.evidence] == ["z", "p0", "p1", "p2", "p3"]


@pytest.mark.parametrize(
    "generation, observed, asked, state",
    [
        (3, 3, 3, RolloutState.FAILED),
        (3, 3, 0, RolloutState.FAILED),
        (3, 3, 4, RolloutState.CLEAR),
        (3, 2, 3, RolloutState.CLEAR),
        (4, 3, 3, RolloutState.CLEAR),
        (4, 4, 3, RolloutState.FAILED),
        (3, None, 3, RolloutState.CLEAR),
        (None, None, 0, RolloutState.FAILED),
    ],
)
def test_only_the_applied_generation_is_judged(
    generation: int | None, observed: int | None, asked: int, state: RolloutState
) -> None:
    """The look is new enough, and the controller has seen what it shows."""
    workload = deployment(observedGeneration=observed)
    workload["metadata"] = {"name": "api", "uid": "d1", "generation": generation}
    assert judge(workload, [crashing("p")], applied=Applied(asked)).state is state


def test_the_oldest_of_equal_replica_sets_is_the_new_one() -> None:
    """As the controller chooses; then by name."""
    young = replica_set("young", {"spec": {"v": 2}}, age=1)
    old = replica_set("elder", {"spec": {"v": 2}}, age=9)
    twin = replica_set("a-twin", {"spec": {"v": 2}}, age=9)
    assert find_new_replica_set(deployment(), [young, old]) is old
    assert find_new_replica_set(deployment(), [young, old, twin]) is twin
    assert find_new_replica_set(deployment(), [twin, old]) is twin


@pytest.mark.parametrize(
    "template, equal",
    [
        ({"spec": {"v": 2}}, True),
        ({"spec": {"v": 2}, "metadata": {"labels": {"pod-template-hash": "x"}}}, True),
        ({"spec": {"v": 2}, "metadata": {"creationTimestamp": None}}, True),
        ({"spec": {"v": 2}, "metadata": {"labels": {"a": "b"}}}, False),
        ({"spec": {"v": 2}, "metadata": {"annotations": {"a": "b"}}}, False),
        ({"spec": {"v": 3}}, False),
    ],
)
def test_templates_are_compared_without_the_hash(template: Json, *, equal: bool) -> None:
    """Spec, labels and annotations count."""
    found = find_new_replica_set(deployment(), [replica_set("x", template)])
    assert (found is not None) is equal


def test_the_highest_revision_counts_where_no_template_is_equal() -> None:
    """As a number; and only once the Deployment counts updated replicas."""
    nine = replica_set("nine", {"spec": {"v": 7}}, revision="9")
    ten = replica_set("ten", {"spec": {"v": 8}}, revision="10")
    none = replica_set("none", {"spec": {"v": 9}})
    workload = deployment(updatedReplicas=1)
    assert find_new_replica_set(workload, [nine, ten, none]) is ten
    assert find_new_replica_set(workload, [none, nine]) is nine
    assert find_new_replica_set(deployment(updatedReplicas=0), [nine, ten]) is None
    assert find_new_replica_set(workload, []) is None


def test_replica_sets_of_others_do_not_count() -> None:
    """Only those that the Deployment controls."""
    foreign = {**NEW, "metadata": owned("d2", name="new")}
    assert find_new_replica_set(deployment(), [foreign]) is None
    anonymous = deployment()
    anonymous["metadata"] = {"name": "api"}
    orphan = {**NEW, "metadata": {"name": "new"}}
    assert find_new_replica_set(anonymous, [orphan]) is None
    assert find_new_pods(anonymous, [orphan], [crashing("p")]) == ()


def test_new_pods_are_listed_by_name() -> None:
    """Those of the new ReplicaSet with its hash; none while it has no uid."""
    pods = [crashing("b"), crashing("a"), crashing("c", "old")]
    found = find_new_pods(deployment(), [OLD, NEW], pods)
    assert [name_of(pod) for pod in found] == ["a", "b"]
    mislabelled = crashing("d", template_hash="other")
    assert find_new_pods(deployment(), [NEW], [mislabelled]) == ()
    nameless = {**NEW, "metadata": owned("d1", name="new")}
    stray: JsonObject = {"kind": "Pod", "metadata": {"name": "stray"}}
    assert find_new_pods(deployment(), [nameless], [stray]) == ()


def test_a_workload_without_identity_is_refused() -> None:
    """As everywhere."""
    with pytest.raises(PermanentError):
        compute_rollout_failure({}, [], [], [], NOW, SETTINGS)


def test_the_pod_of_a_job_that_failed_last_speaks() -> None:
    """By the time it ended; one that does not say when, last of all."""

    def pod(name: str, finished: str | None) -> JsonObject:
        ended: Json = {"exitCode": 1, "reason": "Error", "finishedAt": finished}
        status: Json = {
            "phase": "Failed",
            "containerStatuses": [{"name": name, "state": {"terminated": ended}}],
        }
        metadata = owned("j1", name=name, uid=name)
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}

    job: JsonObject = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "m", "namespace": "shop", "uid": "j1"},
        "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "Why"}]},
    }
    early, late = said(NOW - timedelta(seconds=9)), said(NOW - timedelta(seconds=1))
    pods = [pod("c", None), pod("b", early), pod("a", late)]
    assert judge(job, pods, []).message == "Job shop/m: Why; container a: Error, exit code 1"
    assert judge(job, pods[:2], []).message == "Job shop/m: Why; container b: Error, exit code 1"
    assert judge(job, pods[:1], []).message == "Job shop/m: Why; container c: Error, exit code 1"


def test_ends_are_those_with_an_exit_code_of_trouble() -> None:
    """Init containers too; without a reason it is an Error."""
    pod: JsonObject = {
        "metadata": {"name": "p", "namespace": "shop", "uid": "u"},
        "status": {
            "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 2}}}],
            "containerStatuses": [
                {"name": "a", "state": {"terminated": {"exitCode": 0}}},
                {"name": "b", "state": {"running": {}}},
            ],
        },
    }
    (end,) = find_ends(pod)
    assert (end.reason, end.message, end.container) == (
        "Error",
        "init container i: exit code 2",
        "i",
    )
    assert (end.pod, end.namespace, end.uid, end.exit_code) == ("p", "shop", "u", 2)
    assert (end.definite, end.since, end.rank, end.previous_log) == (True, None, 1, False)


def event(**fields: Json) -> JsonObject:
    """Make an event about the object with uid u."""
    return {"involvedObject": {"uid": "u"}, "reason": "R", "message": "m", **fields}


T1, T2, T3 = (NOW - timedelta(seconds=seconds) for seconds in (30, 20, 10))


@pytest.mark.parametrize(
    "obj, first, last",
    [
        (event(), None, None),
        (event(firstTimestamp=said(T1), lastTimestamp=said(T2)), T1, T2),
        (event(firstTimestamp=said(T1)), T1, T1),
        (event(eventTime=said(T2)), T2, T2),
        (event(eventTime=said(T1), series={"lastObservedTime": said(T3)}), T1, T3),
        (
            event(deprecatedFirstTimestamp=said(T1), deprecatedLastTimestamp=said(T3)),
            T1,
            T3,
        ),
        (event(metadata={"creationTimestamp": said(T2)}), T2, T2),
        (event(lastTimestamp=said(T2), eventTime=said(T1)), T1, T2),
    ],
)
def test_events_of_both_apis_have_a_first_and_a_last_time(
    obj: JsonObject, first: datetime | None, last: datetime | None
) -> None:
    """Whichever fields the reporter filled."""
    assert parse_event(obj) == PodEvent("R", "m", "", first, last)


def test_events_say_what_they_are_about() -> None:
    """The container from the field path; a note is a message."""
    old = event(involvedObject={"uid": "u", "fieldPath": "spec.initContainers{wait}"})
    new: JsonObject = {"regarding": {"uid": "u"}, "reason": "R", "note": "n"}
    assert parse_event(old).container == "wait"
    assert parse_event(new) == PodEvent("R", "n")


def test_events_are_grouped_by_object_and_sorted_by_age() -> None:
    """Oldest first, unknown times before all; an event about nothing is left out."""
    late = event(reason="late", lastTimestamp=said(T3))
    early = event(reason="early", lastTimestamp=said(T1))
    never = event(reason="never")
    other = event(involvedObject={"uid": "v"})
    nobody = event(involvedObject={})
    grouped = group_events([late, early, other, never, nobody])
    assert {uid: [found.reason for found in group] for uid, group in grouped.items()} == {
        "u": ["never", "early", "late"],
        "v": ["R"],
    }


def test_recent_events_are_those_of_a_while() -> None:
    """The bound itself is recent; so is an event without a time."""
    age = timedelta(seconds=30)
    assert PodEvent("R", "m", last=T1).is_recent(NOW, age) is True
    assert PodEvent("R", "m", last=T1 - timedelta(seconds=1)).is_recent(NOW, age) is False
    assert PodEvent("R", "m").is_recent(NOW, age) is True


@pytest.mark.parametrize(
    "reason, message, about",
    [
        ("Failed", 'Failed to pull image "x": no', True),
        ("Failed", "Error: ErrImagePull", False),
        ("BackOff", 'Failed to pull image "x": no', False),
    ],
)
def test_events_about_a_pull_hold_the_registrys_words(
    reason: str, message: str, *, about: bool
) -> None:
    """The others only repeat that it failed."""
    assert PodEvent(reason, message).about_pull is about


def test_restarts_are_counted_by_container() -> None:
    """Init containers too; a sum for those who need one number."""
    pod: JsonObject = {
        "metadata": {"name": "p"},
        "status": {
            "initContainerStatuses": [{"name": "i", "restartCount": 1}],
            "containerStatuses": [{"name": "a", "restartCount": 2}, {"name": "b"}],
        },
    }
    other: JsonObject = {
        "metadata": {"name": "q"},
        "status": {"containerStatuses": [{"name": "a", "restartCount": 4}]},
    }
    assert restarts_of([pod, other]) == {
        "pod p init container i": 1,
        "pod p container a": 2,
        "pod p container b": 0,
        "pod q container a": 4,
    }
    assert count_restarts([pod, other]) == 7
    assert count_restarts([]) == 0


def workload(kind: str, spec: Json = None, **status: Json) -> dict[str, Json]:
    """Make a workload whose controller has seen it."""
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": "w", "namespace": "shop", "uid": "w1", "generation": 1},
        "spec": spec,
        "status": {"observedGeneration": 1, **status},
    }


def member(name: str, **labels: str) -> JsonObject:
    """Make a crash-looping pod that a workload controls."""
    loop = crashing(name)
    metadata = owned("w1", name=name, namespace="shop", uid=name, labels=dict(labels))
    return {**loop, "metadata": metadata}


def revision(
    name: str, number: int, owner: str = "w1", kind: str = "ControllerRevision"
) -> JsonObject:
    """Make a ControllerRevision of a workload."""
    labels: Json = {"controller-revision-hash": name}
    return {"kind": kind, "revision": number, "metadata": owned(owner, name=name, labels=labels)}


def test_the_newest_revision_of_a_daemon_set_is_its_own_with_the_highest_number() -> None:
    """In whatever order they come; others' revisions and other kinds do not count."""
    pods = [member(name, **{"controller-revision-hash": name}) for name in ("a", "b", "c", "d")]
    revisions = [
        revision("a", 9),
        revision("b", 10),
        revision("c", 11, owner="other"),
        revision("d", 12, kind="ReplicaSet"),
    ]
    for order in (revisions, revisions[::-1]):
        found = find_new_pods(workload("DaemonSet"), order, pods)
        assert [name_of(pod) for pod in found] == ["b"]
    assert find_new_pods(workload("DaemonSet"), revisions[2:], pods) == ()


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_controllers_that_have_seen_nothing_yet_are_waited_for(kind: str) -> None:
    """Without an observed generation there is nothing to judge."""
    pods = [member("a", **{"controller-revision-hash": "x"})]
    seen = workload(kind, updateRevision="x")
    new = {**seen, "status": {"updateRevision": "x"}}
    assert judge(seen, pods, [revision("x", 1)]).state is RolloutState.FAILED
    assert judge(new, pods, [revision("x", 1)]).state is RolloutState.CLEAR


def refused(
    workload_: JsonObject, pods: int, *, last: int = 1, applied: int | None = None
) -> RolloutState:
    """Judge a workload whose pods may not be created, and of which some exist."""
    happened: JsonObject = {
        "involvedObject": {"uid": "w1"},
        "reason": "FailedCreate",
        "message": "exceeded quota",
        "firstTimestamp": said(NOW - timedelta(seconds=90)),
        "lastTimestamp": said(NOW - timedelta(seconds=last)),
    }
    fine = [
        {**member(f"p{number}", **{"controller-revision-hash": "x"}), "status": {}}
        for number in range(pods)
    ]
    moment = None if applied is None else NOW - timedelta(seconds=applied)
    verdict = compute_rollout_failure(
        workload_, [revision("x", 1)], fine, [happened], NOW, SETTINGS, Applied(0, moment)
    )
    return verdict.state


def test_refused_pods_are_missing_only_while_there_are_too_few() -> None:
    """As many as the workload wants; one where it does not say, and one of a Job."""
    stateful = workload("StatefulSet", {"replicas": 2}, updateRevision="x")
    assert [refused(stateful, pods) for pods in (1, 2)] == [RolloutState.FAILED, RolloutState.CLEAR]
    default = workload("StatefulSet", {}, updateRevision="x")
    assert [refused(default, pods) for pods in (0, 1)] == [RolloutState.FAILED, RolloutState.CLEAR]
    daemon = workload("DaemonSet", {}, desiredNumberScheduled=2)
    assert [refused(daemon, pods) for pods in (1, 2)] == [RolloutState.FAILED, RolloutState.CLEAR]
    job = workload("Job", {"replicas": 5})
    assert [refused(job, pods) for pods in (0, 1)] == [RolloutState.FAILED, RolloutState.CLEAR]


def test_an_event_at_the_moment_of_the_apply_speaks_of_it() -> None:
    """One second earlier it speaks of an older revision."""
    job = workload("Job")
    assert refused(job, 0, last=40, applied=40) is RolloutState.FAILED
    assert refused(job, 0, last=41, applied=40) is RolloutState.CLEAR


def exceed_deadline(updated: str | None, deadline: Json = None) -> JsonObject:
    """A Deployment that says that its progress deadline is exceeded."""
    condition: dict[str, Json] = {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}
    made = deployment(conditions=[{**condition, "lastUpdateTime": updated}])
    return {**made, "spec": {**mapping_at(made, "spec"), "progressDeadlineSeconds": deadline}}


@pytest.mark.parametrize(
    "deadline, seconds, state",
    [
        (1, -1, RolloutState.CLEAR),
        (1, 0, RolloutState.CLEAR),
        (1, 1, RolloutState.FAILED),
        (30, 29, RolloutState.CLEAR),
        (30, 30, RolloutState.FAILED),
        (None, 599, RolloutState.CLEAR),
        (None, 600, RolloutState.FAILED),
        (0, 0, RolloutState.CLEAR),
        (0, 1, RolloutState.FAILED),
        (10**30, 10**6, RolloutState.CLEAR),
    ],
)
def test_a_deadline_that_cannot_have_passed_since_the_apply_speaks_of_an_older_rollout(
    deadline: Json, seconds: int, state: RolloutState
) -> None:
    """A rollback follows so soon upon the failure that both happen within one second."""
    exceeded = exceed_deadline(said(NOW + timedelta(seconds=seconds)), deadline)

    assert judge(exceeded, [], applied=Applied(0, NOW)).state is state


def test_a_deadline_exceeded_at_an_unknown_time_counts() -> None:
    """Without a time of its own, or when nothing was changed by the apply."""
    assert judge(exceed_deadline(None), [], applied=Applied(0, NOW)).state is RolloutState.FAILED
    at = said(NOW - timedelta(days=1))
    assert judge(exceed_deadline(at), [], applied=Applied(0)).state is RolloutState.FAILED


LISTS = st.lists(HOSTILE_OBJECTS, max_size=2)


@given(named_objects(), LISTS, st.lists(named_objects(), max_size=2), LISTS)
def test_no_cluster_makes_the_judgement_raise(
    workload: JsonObject,
    revisions: list[JsonObject],
    pods: list[JsonObject],
    events: list[JsonObject],
) -> None:
    """Whatever a cluster answers, a rollout has some state."""
    verdict = compute_rollout_failure(workload, revisions, pods, events, NOW, SETTINGS)
    assert verdict.state in RolloutState
    assert bool(verdict.message) is (verdict.state is not RolloutState.CLEAR)
