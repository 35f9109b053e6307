"""Health beyond what one fixture can say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Health, Json, JsonObject, ObjectHealth, ObjectKey, ObjectRef
from gitopsd.errors import PermanentError
from gitopsd.kube.findings import NOT_APPLIED, Applied, HealthSettings, latest
from gitopsd.kube.health import (
    Expected,
    compute_health,
    compute_missing,
    compute_set_health,
    find_mounted_claims,
    worst,
)
from gitopsd.kube.pod_signals import judge_grace
from tests.support.hostile import named_objects

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTINGS = HealthSettings()


def make(kind: str, api_version: str = "v1", name: str = "x", **spec: Json) -> dict[str, Json]:
    """Make an object of a kind."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    }


def health(value: Health, *, advisory: bool = False) -> ObjectHealth:
    """Make the health of some object."""
    ref = ObjectRef(ObjectKey("", "ConfigMap", "shop", "x"), "v1")
    return ObjectHealth(ref, value, advisory=advisory)


def test_the_default_patience_is_that_of_the_table() -> None:
    """Grace periods that people rely on."""
    assert (
        HealthSettings(
            unschedulable_grace=timedelta(seconds=15),
            image_grace=timedelta(seconds=60),
            configuration_grace=timedelta(seconds=30),
            container_grace=timedelta(seconds=30),
            crash_grace=timedelta(seconds=30),
            crash_restarts=2,
            creation_grace=timedelta(seconds=30),
            volume_grace=timedelta(seconds=120),
            status_grace=timedelta(seconds=30),
            event_age=timedelta(minutes=5),
            require_load_balancer=False,
            require_ingress_address=False,
        )
        == HealthSettings()
    )
    assert Applied(0, None) == NOT_APPLIED


def test_the_worst_health_is_argo_cds() -> None:
    """Healthy < Suspended < Progressing < Missing < Degraded < Unknown."""
    order = [
        Health.HEALTHY,
        Health.SUSPENDED,
        Health.PROGRESSING,
        Health.MISSING,
        Health.DEGRADED,
        Health.UNKNOWN,
    ]
    for index, value in enumerate(order):
        assert worst([health(found) for found in order[: index + 1]]) is value
        assert worst([health(found) for found in reversed(order[: index + 1])]) is value
    assert worst([]) is Health.HEALTHY


def test_objects_that_inform_do_not_decide() -> None:
    """However bad they are."""
    found = [health(Health.DEGRADED, advisory=True), health(Health.SUSPENDED)]
    assert worst(found) is Health.SUSPENDED
    assert worst(found[:1]) is Health.HEALTHY


@pytest.mark.parametrize(
    "desired, value, message",
    [
        (make("Deployment", "apps/v1"), Health.MISSING, "it does not exist"),
        (make("Job", "batch/v1"), Health.MISSING, "it does not exist"),
        (
            make("Job", "batch/v1", ttlSecondsAfterFinished=0),
            Health.HEALTHY,
            "the Job is done and has deleted itself",
        ),
        (
            make("Job", "example.com/v1", ttlSecondsAfterFinished=9),
            Health.MISSING,
            "it does not exist",
        ),
        (
            make("CronJob", "batch/v1", ttlSecondsAfterFinished=9),
            Health.MISSING,
            "it does not exist",
        ),
    ],
)
def test_an_object_that_does_not_exist_is_missing(
    desired: JsonObject, value: Health, message: str
) -> None:
    """But for a Job that deletes itself when it is done."""
    found = compute_missing(desired)
    assert (found.health, found.message, found.definite) == (value, message, False)
    assert found.ref.key.name == "x"
    assert compute_set_health([Expected(desired, None)], NOW, SETTINGS) == (found,)


CLAIM: Json = {"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}
MOUNTS: Json = {"volumes": [{"name": "tmp"}, CLAIM]}
TEMPLATE: Json = {"spec": MOUNTS}


@pytest.mark.parametrize(
    "owner, mounts",
    [
        (make("Pod", volumes=[CLAIM]), True),
        (make("Deployment", "apps/v1", template=TEMPLATE), True),
        (make("Deployment", "apps/v1", template=TEMPLATE, replicas=1), True),
        (make("Deployment", "apps/v1", template=TEMPLATE, replicas=0), False),
        (make("StatefulSet", "apps/v1", template=TEMPLATE), True),
        (make("DaemonSet", "apps/v1", template=TEMPLATE), True),
        (make("ReplicaSet", "apps/v1", template=TEMPLATE), True),
        (make("Job", "batch/v1", template=TEMPLATE), True),
        (make("Job", "batch/v1", template=TEMPLATE, suspend=True), False),
        (make("CronJob", "batch/v1", jobTemplate={"spec": {"template": TEMPLATE}}), False),
        (make("Widget", "example.com/v1", template=TEMPLATE), False),
    ],
)
def test_claims_that_pods_mount_are_found(owner: JsonObject, *, mounts: bool) -> None:
    """Only pods that run as soon as the set is applied count."""
    found = find_mounted_claims([make("ConfigMap"), owner])
    assert (("shop", "claim") in found) is mounts


def test_a_claim_is_looked_up_in_its_own_namespace() -> None:
    """A claim of the same name elsewhere is another claim; so is another kind of that name."""
    claim = make("PersistentVolumeClaim", name="claim")
    elsewhere = {**claim, "metadata": {"name": "claim", "namespace": "other"}}
    custom = {**claim, "apiVersion": "example.com/v1"}
    owner = make("Deployment", "apps/v1", template=TEMPLATE)
    found = compute_set_health(
        [Expected(obj, obj) for obj in (claim, elsewhere, custom, owner)], NOW, SETTINGS
    )
    assert [item.advisory for item in found] == [False, True, False, False]


def test_health_keeps_the_order_and_the_identity_of_the_set() -> None:
    """One answer for each object, with what was known of its apply."""
    live = make("Widget", "example.com/v1")
    found = compute_set_health(
        [
            Expected(make("Service"), make("Service")),
            Expected(live, live, applied=Applied(4)),
            Expected(make("Secret"), None),
        ],
        NOW,
        SETTINGS,
    )
    assert [(item.ref.key.kind, item.health) for item in found] == [
        ("Service", Health.HEALTHY),
        ("Widget", Health.PROGRESSING),
        ("Secret", Health.MISSING),
    ]
    assert found[1].message == "generation 4 has not been seen yet"


def test_an_object_without_a_creation_time_is_not_waited_for() -> None:
    """Nothing says how long its status has been missing."""
    found = compute_health(make("Widget", "example.com/v1"), NOW, SETTINGS, has_status=True)
    assert (found.health, found.message) == (Health.HEALTHY, "")


def test_an_object_without_identity_has_no_health() -> None:
    """It is refused, as everywhere."""
    with pytest.raises(PermanentError):
        compute_health({}, NOW, SETTINGS)


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    "since, over, until",
    [
        (NOW - 10 * SECOND, True, None),
        (NOW - 11 * SECOND, True, None),
        (NOW - 9 * SECOND, False, NOW + SECOND),
        (NOW, False, NOW + 10 * SECOND),
        (NOW + SECOND, False, NOW + 10 * SECOND),
        (datetime.max.replace(tzinfo=UTC), False, NOW + 10 * SECOND),
        (None, False, NOW + 10 * SECOND),
    ],
)
def test_a_grace_period_ends_at_its_last_second(
    since: datetime | None, *, over: bool, until: datetime | None
) -> None:
    """Exactly then; a begin that is unknown or in the future counts as now."""
    assert judge_grace(since, 10 * SECOND, NOW) == (over, until)


def test_no_grace_at_all_is_over_at_once() -> None:
    """For signals that fail now; an unknown begin is never over."""
    assert judge_grace(NOW, timedelta(0), NOW) == (True, None)
    assert judge_grace(None, timedelta(0), NOW) == (False, NOW)


def test_the_latest_known_moment_counts() -> None:
    """Unknown ones are left out."""
    assert latest(None, NOW, NOW - SECOND, None) == NOW
    assert latest(None) is None
    assert latest() is None


@given(named_objects(), st.booleans(), st.integers(0, 2))
def test_no_live_object_makes_health_raise(
    obj: JsonObject, has_status: bool, generation: int
) -> None:
    """Whatever a cluster answers, an object has some health and a short message."""
    found = compute_health(
        obj, NOW, SETTINGS, applied=Applied(generation, NOW), has_status=has_status
    )
    assert found.health in Health
    assert len(found.message) <= 400
    assert found.definite is False or found.health is Health.DEGRADED


@pytest.mark.parametrize(
    "kind, api_version",
    [
        ("ConfigMap", "v1"),
        ("Secret", "v1"),
        ("Service", "v1"),
        ("CronJob", "batch/v1"),
        ("PodDisruptionBudget", "policy/v1"),
        ("Ingress", "networking.k8s.io/v1"),
    ],
)
def test_the_rule_of_a_kind_answers_before_a_ready_condition(kind: str, api_version: str) -> None:
    """What others write into such objects decides nothing."""
    unready: Json = {"conditions": [{"type": "Ready", "status": "False"}]}
    found = compute_health({**make(kind, api_version), "status": unready}, NOW, SETTINGS)
    assert found.health is Health.HEALTHY


def test_findings_say_since_when() -> None:
    """Where the condition does."""

    def condition(kind: str, api_version: str, type_: str, status: str, reason: str) -> JsonObject:
        item = {"type": type_, "status": status, "reason": reason}
        item["lastTransitionTime"] = "2026-05-01T11:00:00Z"
        return {**make(kind, api_version), "status": {"conditions": [item]}}

    hpa = ("HorizontalPodAutoscaler", "autoscaling/v2")
    crd = ("CustomResourceDefinition", "apiextensions.k8s.io/v1")
    for obj in (
        condition(*hpa, "AbleToScale", "False", "FailedGetScale"),
        condition(*crd, "NamesAccepted", "False", "Taken"),
        condition(*crd, "Established", "False", "Taken"),
        condition("Job", "batch/v1", "Failed", "True", "DeadlineExceeded"),
        condition("Certificate", "cert-manager.io/v1", "Issuing", "True", "Renewing"),
        condition("Widget", "example.com/v1", "Ready", "False", "Working"),
        condition("Widget", "example.com/v1", "Reconciling", "True", "Working"),
        condition("Widget", "example.com/v1", "Stalled", "True", "Broken"),
    ):
        found = compute_health(obj, NOW, SETTINGS)
        assert found.since == NOW.replace(hour=11), obj
