"""Signs of trouble, to the last field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.kube import pod_signals
from gitopsd.kube.findings import HealthSettings
from gitopsd.kube.pod_events import PodEvent
from gitopsd.kube.pod_signals import Signal, find_signals, telling_order

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTINGS = HealthSettings()


def ago(seconds: int) -> datetime:
    """Tell the time some seconds ago."""
    return NOW - timedelta(seconds=seconds)


def said(seconds: int) -> str:
    """Spell the time some seconds ago."""
    return ago(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def container(name: str = "api", **status: Json) -> dict[str, Json]:
    """Make a container's status."""
    return {"name": name, **status}


def waiting(reason: str, message: str = "", name: str = "api", **status: Json) -> dict[str, Json]:
    """Make the status of a container that waits."""
    return container(name, state={"waiting": {"reason": reason, "message": message}}, **status)


def pod(
    *statuses: Json,
    phase: str = "Pending",
    created: int = 100,
    conditions: Json = None,
    **more: Json,
) -> JsonObject:
    """Make a pod."""
    return {
        "metadata": {
            "name": "p",
            "namespace": "shop",
            "uid": "u",
            "creationTimestamp": said(created),
        },
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": statuses, **more},
    }


def look(found: JsonObject, *events: PodEvent, retried: bool = False) -> tuple[Signal, ...]:
    """Find the signals of a pod."""
    return find_signals(found, events, NOW, SETTINGS, retried=retried)


def test_the_ranks_are_in_the_order_of_how_much_they_tell() -> None:
    """A container's own end tells most, a failing probe least."""
    assert [
        pod_signals.RANK_CRASH,
        pod_signals.RANK_IMAGE,
        pod_signals.RANK_CONFIGURATION,
        pod_signals.RANK_CONTAINER,
        pod_signals.RANK_CREATION,
        pod_signals.RANK_SCHEDULING,
        pod_signals.RANK_DEADLINE,
        pod_signals.RANK_VOLUME,
        pod_signals.RANK_PROBE,
    ] == [1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_ended_has_no_signs(phase: str) -> None:
    """Whatever its containers say."""
    assert look(pod(waiting("CrashLoopBackOff", restartCount=9), phase=phase)) == ()
    assert len(look(pod(waiting("CrashLoopBackOff", restartCount=9), phase="Running"))) == 1


def test_an_image_that_cannot_be() -> None:
    """Fails at once, since the pod could begin."""
    assert look(pod(waiting("InvalidImageName", "bad\n name"))) == (
        Signal(
            rank=2,
            reason="InvalidImageName",
            message="container api: InvalidImageName: bad name",
            namespace="shop",
            pod="p",
            uid="u",
            container="api",
            definite=True,
            since=ago(100),
        ),
    )


def test_an_image_of_a_pod_without_any_time_fails_now() -> None:
    """Nothing could make it come."""
    timeless: JsonObject = {"status": {"containerStatuses": [waiting("InvalidImageName")]}}
    (found,) = look(timeless)
    assert (found.definite, found.since, found.until) == (True, NOW, None)
    gone: JsonObject = {"status": {"containerStatuses": [waiting("ErrImagePull", "not found")]}}
    (found,) = look(gone)
    assert (found.definite, found.since, found.until) == (True, NOW, None)


SCHEDULED: Json = {"type": "PodScheduled", "status": "True", "lastTransitionTime": said(50)}
INITIALIZED: Json = {"type": "Initialized", "status": "True", "lastTransitionTime": said(40)}
NOT_YET: Json = {"type": "Initialized", "status": "False", "lastTransitionTime": said(40)}
ENDED: Json = {"terminated": {"exitCode": 1, "finishedAt": said(20)}}


@pytest.mark.parametrize(
    "conditions, last, since",
    [
        ([], None, 100),
        ([SCHEDULED], None, 50),
        ([SCHEDULED, INITIALIZED], None, 40),
        ([SCHEDULED, NOT_YET], None, 50),
        ([SCHEDULED, INITIALIZED], ENDED, 20),
        ([INITIALIZED], None, 40),
    ],
)
def test_a_container_could_begin_after_all_that_comes_before(
    conditions: Json, last: Json, since: int
) -> None:
    """Creation, scheduling, init containers, its own last end: the latest counts."""
    (found,) = look(
        pod(waiting("CreateContainerConfigError", lastState=last), conditions=conditions)
    )
    assert found.since == ago(since)


def pull(message: str, first: int, last: int, name: str = "") -> PodEvent:
    """Make an event about a failed pull."""
    return PodEvent("Failed", f"Failed to pull image {message}", name, ago(first), ago(last))


def test_the_first_failure_begins_the_grace_of_a_pull() -> None:
    """A slow pull that then fails has its minute; the last words are told."""
    (found,) = look(
        pod(waiting("ImagePullBackOff")), pull("x: EOF", 30, 20), pull("y: EOF", 25, 10)
    )
    assert found == Signal(
        rank=2,
        reason="ImagePullBackOff",
        message="container api: ImagePullBackOff: Failed to pull image y: EOF",
        namespace="shop",
        pod="p",
        uid="u",
        container="api",
        since=ago(30),
        until=NOW + timedelta(seconds=30),
    )


def test_a_failure_without_a_time_begins_nothing() -> None:
    """The pod's own times count then."""
    (found,) = look(pod(waiting("ErrImagePull")), PodEvent("Failed", "Failed to pull image"))
    assert (found.since, found.definite) == (ago(100), True)


def test_the_status_own_words_count_before_an_events() -> None:
    """Where they say whether the image will come."""
    denied = pull("x: denied", 5, 5)
    (found,) = look(pod(waiting("ErrImagePull", "i/o timeout"), created=9), denied)
    assert (found.definite, found.message) == (
        False,
        "container api: ErrImagePull: i/o timeout",
    )
    (found,) = look(pod(waiting("ErrImagePull", "unauthorized"), created=9), pull("EOF", 5, 5))
    assert (found.definite, found.message) == (
        True,
        "container api: ErrImagePull: unauthorized",
    )


@pytest.mark.parametrize(
    "message",
    [
        "toomanyrequests: denied",
        "Rate Limit: denied",
        "denied after i/o timeout",
        "not found: request timed out",
        "not found: context deadline exceeded",
        "denied: connection refused",
        "denied: connection reset by peer",
        "denied: lookup x: no such host",
        "denied: server misbehaving",
        "denied: status code: 503",
        "denied: status 500",
        "denied: status: 500",
        "denied: code 599",
        "denied: 500 Internal Server Error",
        "denied: 502 Bad Gateway",
        "denied: 503 Service Unavailable",
        "denied: 504 Gateway Timeout",
        'pulling "x: not found": EOF',
        "EOF",
    ],
)
def test_reasons_that_may_pass_have_their_minute(message: str) -> None:
    """Also where another word would mean that the image never comes; quotes are not words."""
    (found,) = look(pod(waiting("ErrImagePull", message), created=9))
    assert (found.definite, found.until) == (False, NOW + timedelta(seconds=51))


@pytest.mark.parametrize(
    "message",
    [
        "NOT FOUND",
        "manifest unknown",
        "name unknown",
        "pull access denied",
        "Unauthorized",
        "no match for platform in manifest",
        "no matching manifest for linux/arm64",
        "invalid reference format",
        'pulling "x:503 Service": not found',
    ],
)
def test_reasons_that_last_fail_at_once(message: str) -> None:
    """The registry's own words."""
    (found,) = look(pod(waiting("ErrImagePull", message), created=9))
    assert (found.definite, found.until, found.since) == (True, None, ago(9))


@pytest.mark.parametrize("reason", ["RegistryUnavailable", "ErrImagePull", "ImagePullBackOff"])
def test_pulls_of_every_kind_are_known(reason: str) -> None:
    """Each reason of the kubelet's for a pull that failed."""
    (found,) = look(pod(waiting(reason), created=59))
    assert (found.rank, found.reason, found.definite) == (2, reason, False)


def crash(**fields: Json) -> dict[str, Json]:
    """Make a last state."""
    return {"terminated": {"exitCode": 3, "reason": "Error", "finishedAt": said(10), **fields}}


def test_a_crash_loop_to_the_last_field() -> None:
    """With the exit code, and whose log to read."""
    loop = waiting("CrashLoopBackOff", restartCount=1, lastState=crash())
    assert look(pod(loop, phase="Running")) == (
        Signal(
            rank=1,
            reason="CrashLoopBackOff",
            message="container api: CrashLoopBackOff, exit code 3, restarted 1 time",
            namespace="shop",
            pod="p",
            uid="u",
            container="api",
            since=ago(10),
            until=NOW + timedelta(seconds=20),
            previous_log=True,
            exit_code=3,
        ),
    )


def test_a_crash_that_just_happened_to_the_last_field() -> None:
    """The log is that of the container that ended, which is still the current one."""
    ended = container(state=crash(), restartCount=0, lastState=crash(exitCode=4))
    assert look(pod(ended)) == (
        Signal(
            rank=1,
            reason="CrashLoopBackOff",
            message="container api: exit code 3, restarted 0 times",
            namespace="shop",
            pod="p",
            uid="u",
            container="api",
            since=ago(10),
            until=NOW + timedelta(seconds=20),
            exit_code=3,
        ),
    )


@pytest.mark.parametrize(
    "status, found",
    [
        (container(state={"running": {}}, restartCount=2, lastState=crash()), "open"),
        (container(state={"running": {}}, restartCount=3, lastState=crash()), "definite"),
        (container(state={"running": {}}, restartCount=3, lastState=crash(), ready=True), "none"),
        (container(state={"running": {}}, restartCount=3, lastState=crash(exitCode=0)), "none"),
        (container(state={"running": {}}, restartCount=3), "none"),
        (container(state=crash(exitCode=0), restartCount=3), "none"),
        (container(state=crash(), restartCount=1), "graced"),
        (container(state=crash(finishedAt=said(30)), restartCount=1), "definite"),
        (container(state=crash(), restartCount=2), "definite"),
        (waiting("CrashLoopBackOff", restartCount=2, lastState=crash(exitCode=0)), "definite"),
        (waiting("CrashLoopBackOff", restartCount=2, ready=True), "definite"),
        (waiting("CrashLoopBackOff", restartCount=1), "graced"),
        (waiting("ContainerCreating", restartCount=9, lastState=crash()), "none"),
    ],
)
def test_crashes_are_judged_by_how_often_and_how_long_ago(status: Json, found: str) -> None:
    """Two restarts in a loop, three while running, half a minute for the first."""
    signals = look(pod(status, phase="Running"))
    said_ = {
        (): "none",
        (True, None): "definite",
        (False, None): "open",
        (False, NOW + timedelta(seconds=20)): "graced",
        (False, NOW + timedelta(seconds=30)): "graced",
    }
    key = (signals[0].definite, signals[0].until) if signals else ()
    assert said_[key] == found


def test_crashes_that_somebody_else_counts_are_no_signs() -> None:
    """Those of a Job's pods; other signs of them are."""
    loop = waiting("CrashLoopBackOff", restartCount=9, lastState=crash())
    lost = waiting("InvalidImageName", name="side")
    found = look(pod(loop, container("x", state=crash()), lost), retried=True)
    assert [signal.container for signal in found] == ["side"]


def test_running_out_of_memory_is_the_reason() -> None:
    """It is told once, beside the state."""
    loop = waiting("CrashLoopBackOff", restartCount=2, lastState=crash(reason="OOMKilled"))
    (found,) = look(pod(loop))
    assert (found.reason, found.message) == (
        "OOMKilled",
        "container api: CrashLoopBackOff, OOMKilled, exit code 3, restarted 2 times",
    )
    odd = waiting("CrashLoopBackOff", restartCount=2, lastState=crash(reason=""))
    assert look(pod(odd))[0].reason == "CrashLoopBackOff"


@pytest.mark.parametrize(
    "reason, container_name, message",
    [
        ("OOMKilled", "api", "OOMKilled, exit code 3, memory limit 2Gi, restarted 2 times"),
        ("OOMKilled", "side", "OOMKilled, exit code 3, restarted 2 times"),
        ("Error", "api", "exit code 3, restarted 2 times"),
    ],
)
def test_the_limit_that_was_too_low_is_told(reason: str, container_name: str, message: str) -> None:
    """The container's own, and only when it ran out of memory."""
    loop = waiting("CrashLoopBackOff", restartCount=2, lastState=crash(reason=reason))
    spec: Json = {
        "containers": [{"name": container_name, "resources": {"limits": {"memory": "2Gi"}}}]
    }
    (found,) = look({**pod(loop), "spec": spec})
    assert found.message == f"container api: CrashLoopBackOff, {message}"


def test_a_pod_that_no_node_takes_to_the_last_field() -> None:
    """About the pod, not about a container; without words only the reason."""
    condition: dict[str, Json] = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "lastTransitionTime": said(3),
    }
    (found,) = look(pod(created=5, conditions=[condition]))
    assert found == Signal(
        rank=6,
        reason="Unschedulable",
        message="Unschedulable",
        namespace="shop",
        pod="p",
        uid="u",
        since=ago(5),
        until=NOW + timedelta(seconds=10),
    )
    unknown = {**condition, "status": "Unknown"}
    assert look(pod(conditions=[unknown])) == ()


def mount(reason: str, first: int | None, last: int | None) -> PodEvent:
    """Make an event about a volume."""
    return PodEvent(
        reason,
        f"{reason} words",
        "",
        None if first is None else ago(first),
        None if last is None else ago(last),
    )


def test_a_stuck_volume_to_the_last_field() -> None:
    """Since the first failure, in the words of the last."""
    (found,) = look(
        pod(waiting("ContainerCreating")),
        mount("FailedMount", 60, 50),
        mount("FailedAttachVolume", 70, 1),
    )
    assert found == Signal(
        rank=8,
        reason="FailedAttachVolume",
        message="FailedAttachVolume: FailedAttachVolume words",
        namespace="shop",
        pod="p",
        uid="u",
        since=ago(70),
        until=NOW + timedelta(seconds=50),
    )


@pytest.mark.parametrize(
    "event, since, until",
    [
        (mount("FailedMount", 119, 0), 119, 1),
        (mount("FailedMount", 120, 0), 120, None),
        (mount("FailedMount", None, None), None, 120),
    ],
)
def test_a_stuck_volume_is_open_after_its_grace(
    event: PodEvent, since: int | None, until: int | None
) -> None:
    """It never fails by itself; an unknown begin counts as now."""
    (found,) = look(pod(waiting("ContainerCreating")), event)
    assert found.definite is False
    assert found.since == (None if since is None else ago(since))
    assert found.until == (None if until is None else NOW + timedelta(seconds=until))


@pytest.mark.parametrize(
    "status, stuck",
    [
        ([], True),
        ([waiting("ContainerCreating"), waiting("PodInitializing")], True),
        ([waiting("")], True),
        ([container(state={"waiting": {}})], True),
        ([waiting("ContainerCreating"), container(state={"running": {}})], False),
        ([container(state={"terminated": {"exitCode": 0}})], False),
        ([container()], False),
    ],
)
def test_a_volume_is_stuck_only_while_nothing_has_started(
    status: list[Json], *, stuck: bool
) -> None:
    """A container that ran has its volumes."""
    found = look(pod(*status), mount("FailedMount", 9, 1))
    assert bool(found) is stuck


def test_old_and_other_events_say_nothing_about_volumes() -> None:
    """Five minutes are the limit."""
    creating = pod(waiting("ContainerCreating"))
    assert look(creating, mount("FailedMount", 999, 301)) == ()
    assert look(creating, mount("Scheduled", 9, 1)) == ()
    assert len(look(creating, mount("FailedMount", 999, 300))) == 1


def probe(message: str, name: str = "", first: int = 20, last: int = 1) -> PodEvent:
    """Make an event about a probe."""
    return PodEvent("Unhealthy", message, name, ago(first), ago(last))


def test_a_failing_probe_to_the_last_field() -> None:
    """In the words of the last one about the container."""
    (found,) = look(
        pod(container(state={"running": {}}), phase="Running"),
        probe("old", "api", first=90),
        probe("new\nwords"),
        probe("other", "side"),
    )
    assert found == Signal(
        rank=9,
        reason="Unhealthy",
        message="container api: new words",
        namespace="shop",
        pod="p",
        uid="u",
        container="api",
        since=ago(20),
    )


@pytest.mark.parametrize(
    "status, event, failing",
    [
        (container(state={"running": {}}), probe("x"), True),
        (container(state={"running": {}}), probe("x", "api"), True),
        (container(state={"running": {}}), probe("x", "side"), False),
        (container(state={"running": {}}), probe("x", last=300), True),
        (container(state={"running": {}}), probe("x", last=301), False),
        (container(state={"running": {}}), PodEvent("Killing", "x"), False),
        (container(state={"running": {}}, ready=True), probe("x"), False),
        (container(state={"waiting": {}}), probe("x"), False),
        (container(), probe("x"), False),
    ],
)
def test_probes_fail_only_of_containers_that_run(
    status: Json, event: PodEvent, *, failing: bool
) -> None:
    """And are not ready, and of events that are recent and theirs."""
    assert bool(look(pod(status, phase="Running"), event)) is failing


def test_signals_are_sorted_by_how_much_they_tell() -> None:
    """Failures first, then rank, pod, container and reason."""
    signals = [
        Signal(1, "A", "", pod="a", container="a", definite=True),
        Signal(1, "B", "", pod="a", container="a", definite=True),
        Signal(1, "A", "", pod="a", container="b", definite=True),
        Signal(1, "A", "", pod="b", container="a", definite=True),
        Signal(2, "A", "", pod="a", container="a", definite=True),
        Signal(1, "A", "", pod="a", container="a"),
    ]
    backwards = list(reversed(signals))
    assert sorted(backwards, key=telling_order) == signals
    early = waiting("CreateContainerConfigError", name="b")
    late = waiting("InvalidImageName", name="a")
    found = look(pod(early, late, waiting("ErrOdd", name="c"), created=1))
    assert [(item.container, item.definite) for item in found] == [
        ("a", True),
        ("b", False),
        ("c", False),
    ]


@pytest.mark.parametrize(
    "reason, rank",
    [
        ("ErrNeverSeen", 4),
        ("SomeError", 4),
        ("SomeBackOff", 4),
        ("RunContainerError", 4),
        ("PostStartHookError", 4),
        ("CreateContainerConfigError", 3),
        ("ContainerCreating", 0),
        ("Errors", 4),
        ("Odd", 0),
    ],
)
def test_reasons_of_trouble_are_known_by_their_shape(reason: str, rank: int) -> None:
    """Argo CD's rule: they begin with Err, or end with Error or BackOff."""
    found = look(pod(waiting(reason), created=1))
    assert [signal.rank for signal in found] == ([rank] if rank else [])
