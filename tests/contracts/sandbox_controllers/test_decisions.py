"""The pure parts of the sandbox's controllers, by tables of facts and what follows from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.controllers.amounts import scaled
from gitopsd.sandbox.controllers.conditions import set_in_place, set_last
from gitopsd.sandbox.controllers.cron_schedule import ScheduleError, parse_schedule
from gitopsd.sandbox.controllers.deployment_numbers import REVISION, REVISION_HISTORY
from gitopsd.sandbox.controllers.deployment_numbers import surge_and_unavailable as fenceposts
from gitopsd.sandbox.controllers.deployment_revisions import Generations, noted, sort_out
from gitopsd.sandbox.controllers.deployment_scaling import grow_new, shrink_old, spread
from gitopsd.sandbox.controllers.hashing import safe_hash, template_hash
from gitopsd.sandbox.controllers.job_indexes import parse_indexes, say_indexes
from gitopsd.sandbox.controllers.pod_resources import pod_total
from gitopsd.sandbox.controllers.pods import first_to_go
from gitopsd.sandbox.controllers.selectors import matches

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value, total, up, expected",
    [
        (2, 10, True, 2),
        ("25%", 10, True, 3),
        ("25%", 10, False, 2),
        ("0%", 10, True, 0),
        ("100%", 3, False, 3),
        (None, 10, True, 7),
        ("many", 10, True, 7),
        ("x%", 10, True, 7),
        (True, 10, True, 7),
    ],
)
def test_parts_of_a_number(value: Json, total: int, up: bool, expected: int) -> None:
    """Percentages are rounded as asked; what is no number is the default."""
    assert scaled(value, total, up=up, default=7) == expected


@pytest.mark.parametrize(
    "surge, unavailable, replicas, expected",
    [
        ("25%", "25%", 10, (3, 2)),
        ("0%", "1%", 2, (0, 1)),
        ("1%", "0%", 2, (1, 0)),
        (0, 0, 4, (0, 1)),
        (5, 3, 2, (5, 3)),
    ],
)
def test_a_rollout_never_stands_still(
    surge: Json, unavailable: Json, replicas: int, expected: tuple[int, int]
) -> None:
    """Where both come to nothing, one pod may be missing."""
    numbers: JsonObject = {"maxSurge": surge, "maxUnavailable": unavailable}
    spec: JsonObject = {"replicas": replicas, "strategy": {"rollingUpdate": numbers}}
    assert fenceposts({"spec": spec}) == expected


def deployment(replicas: int, surge: int = 1, unavailable: int = 0) -> JsonObject:
    """A Deployment of some size."""
    numbers: JsonObject = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy: JsonObject = {"type": "RollingUpdate", "rollingUpdate": numbers}
    return {"metadata": {"name": "web"}, "spec": {"replicas": replicas, "strategy": strategy}}


def replica_set(
    name: str, replicas: int, available: int, *, told: int = 0, most: int = 0
) -> JsonObject:
    """A ReplicaSet of some size."""
    annotations = {
        "deployment.kubernetes.io/desired-replicas": str(told),
        "deployment.kubernetes.io/max-replicas": str(most),
    }
    return {
        "metadata": {"name": name, "creationTimestamp": name, "annotations": annotations},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": available, "replicas": replicas},
    }


def sizes(writes: Any) -> dict[str, int]:  # noqa: ANN401 - writes of either kind
    """What the writes make of each ReplicaSet."""
    return {
        write.manifest["metadata"]["name"]: write.manifest["spec"]["replicas"] for write in writes
    }


@pytest.mark.parametrize(
    "total, surge, unavailable, old, new, up, down",
    [
        (10, 3, 2, (10, 10), (0, 0), {"b": 3}, {"a": 8}),
        (10, 3, 2, (8, 8), (5, 0), {}, {}),
        (10, 3, 2, (8, 8), (5, 5), {}, {"a": 3}),
        (10, 3, 2, (8, 7), (5, 0), {}, {}),
        (3, 1, 0, (3, 3), (1, 1), {}, {"a": 2}),
        (3, 1, 0, (2, 2), (1, 1), {"b": 2}, {}),
        (3, 0, 1, (3, 3), (0, 0), {}, {"a": 2}),
        (3, 0, 1, (2, 2), (0, 0), {"b": 1}, {}),
        (3, 1, 0, (3, 1), (1, 0), {}, {}),
        (3, 1, 1, (3, 0), (1, 0), {}, {"a": 2}),
        (2, 1, 0, (0, 0), (3, 3), {"b": 2}, {}),
        (0, 1, 0, (2, 2), (0, 0), {}, {"a": 0}),
    ],
)
def test_a_rollout_takes_one_step_at_a_time(
    total: int,
    surge: int,
    unavailable: int,
    old: tuple[int, int],
    new: tuple[int, int],
    up: dict[str, int],
    down: dict[str, int],
) -> None:
    """Up as far as the surge allows, down as far as enough are available, the broken first.

    Old and new are each (how many are wanted, how many are available).
    """
    item = deployment(total, surge, unavailable)
    found = Generations(replica_set("b", *new), (replica_set("a", *old),))
    assert sizes(grow_new(item, found)) == up
    assert sizes(shrink_old(item, found)) == down


@pytest.mark.parametrize(
    "total, before, sets, expected",
    [
        (15, 10, [("a", 8), ("b", 5)], {"a": 11, "b": 7}),
        (5, 10, [("a", 8), ("b", 5)], {"a": 5, "b": 3}),
        (0, 10, [("a", 8), ("b", 5)], {"a": 0, "b": 0}),
        (12, 10, [("a", 10)], {"a": 12}),
        (10, 10, [("a", 10)], {}),
    ],
)
def test_a_new_size_is_shared(
    total: int, before: int, sets: list[tuple[str, int]], expected: dict[str, int]
) -> None:
    """In proportion; what is left over goes to the largest; one alone takes all."""
    item = deployment(total, 3)
    made = [replica_set(name, size, 0, told=before, most=before + 3) for name, size in sets]
    assert sizes(spread(item, Generations(made[-1], tuple(made[:-1])))) == expected


def with_template(name: str, image: str, **annotations: str) -> JsonObject:
    """Something with a pod template."""
    labels = {"app": "web", "pod-template-hash": name}
    container = {"image": image}
    return {
        "metadata": {"name": name, "creationTimestamp": name, "annotations": annotations},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    }


def test_the_oldest_replica_set_with_the_template_is_the_new_one() -> None:
    """The hash in its labels does not count."""
    sets = [with_template("c", "2"), with_template("b", "2"), with_template("a", "1")]
    found = sort_out(with_template("web", "2"), sets)
    assert found.new is sets[1]
    assert found.old == (sets[2], sets[0])


def test_a_revision_that_comes_back_remembers_what_it_was() -> None:
    """Its number is the newest, its history grows within a limit, its own notes are its own."""
    web = with_template("web", "1", team="a", **{REVISION: "3", REVISION_HISTORY: "not copied"})
    old = [with_template("b", "2", **{REVISION: "3"})]
    new = with_template("a", "1", **{REVISION: "2", REVISION_HISTORY: "1"})
    annotations: Any = noted(web, new, old)["metadata"]
    assert annotations["annotations"] == {"team": "a", REVISION: "4", REVISION_HISTORY: "1,2"}

    long = with_template("a", "1", **{REVISION: "2", REVISION_HISTORY: ",".join(["1000"] * 400)})
    text: Any = noted(web, long, old)["metadata"]
    history = text["annotations"][REVISION_HISTORY]
    assert len(history) <= 2000
    assert history.endswith(",2")


def pod(name: str, *, node: str = "n", phase: str = "Running", **more: Any) -> JsonObject:  # noqa: ANN401 - JSON
    """A pod to be ranked."""
    ready = more.get("ready", "2026-03-01T11:00:00Z")
    conditions = [{"type": "Ready", "status": str(bool(ready)), "lastTransitionTime": ready}]
    restarts = [{"restartCount": more.get("restarts", 0)}]
    cost = {"controller.kubernetes.io/pod-deletion-cost": more.get("cost", "0")}
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": more.get("made", "2026-03-01T10:00:00Z"),
            "annotations": cost,
        },
        "spec": {"nodeName": node},
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": restarts},
    }


@pytest.mark.parametrize(
    "first, then",
    [
        (pod("a", node=""), pod("b", phase="Pending")),
        (pod("a", phase="Pending"), pod("b", ready="")),
        (pod("a", ready=""), pod("b", cost="-5")),
        (pod("a", cost="-5"), pod("b")),
        (pod("a", ready="2026-03-01T11:59:00Z"), pod("b")),
        (pod("a", restarts=3), pod("b")),
        (pod("a", made="2026-03-01T11:59:59Z"), pod("b")),
        (pod("a"), pod("b")),
    ],
)
def test_who_goes_first_when_there_are_too_many(first: JsonObject, then: JsonObject) -> None:
    """Whoever is missed least."""
    assert first_to_go([then, first], (), NOON) == [first, then]


def test_pods_that_share_a_node_go_before_others() -> None:
    """So that what is left is spread."""
    pods = [pod("a", node="one"), pod("b", node="two"), pod("c", node="two")]
    assert [item["metadata"] for item in first_to_go(pods, pods, NOON)[:2]] == [
        item["metadata"] for item in pods[1:]
    ]


def test_a_pod_asks_for_what_its_greediest_moment_needs() -> None:
    """Init containers one by one, sidecars all along."""

    def container(cpu: str, **more: str) -> JsonObject:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec: JsonObject = {
        "initContainers": [
            container("100m", restartPolicy="Always"),
            container("3"),
            container("1"),
        ],
        "containers": [container("1"), container("500m")],
        "overhead": {"cpu": "10m"},
    }
    assert pod_total({"spec": spec}, "requests") == {"cpu": Fraction(311, 100)}


@pytest.mark.parametrize(
    "expression, labels, expected",
    [
        (("In", ["a", "b"]), {"k": "a"}, True),
        (("In", ["a"]), {}, False),
        (("NotIn", ["a"]), {}, True),
        (("NotIn", ["a"]), {"k": "a"}, False),
        (("Exists", []), {"k": ""}, True),
        (("DoesNotExist", []), {"k": ""}, False),
        (("Gt", ["5"]), {"k": "10"}, True),
        (("Lt", ["5"]), {"k": "10"}, False),
        (("Gt", ["x"]), {"k": "10"}, False),
        (("Like", ["a"]), {"k": "a"}, False),
    ],
)
def test_label_expressions(
    expression: tuple[str, list[str]], labels: dict[str, str], expected: bool
) -> None:
    """A missing label is not in anything, and does not exist."""
    operator, values = expression
    requirement: JsonObject = {"key": "k", "operator": operator, "values": values}
    assert matches({"matchExpressions": [requirement]}, labels) is expected


@pytest.mark.parametrize(
    "schedule, zone, expected",
    [
        ("*/15 * * * *", "", "2026-03-01T12:15:00+00:00"),
        ("0 0 * * *", "", "2026-03-02T00:00:00+00:00"),
        ("@hourly", "", "2026-03-01T13:00:00+00:00"),
        ("30 8 * * MON-FRI", "", "2026-03-02T08:30:00+00:00"),
        ("0 9 * * 7", "", "2026-03-08T09:00:00+00:00"),
        ("0 0 31 * *", "", "2026-03-31T00:00:00+00:00"),
        ("0 0 15 * FRI", "", "2026-03-06T00:00:00+00:00"),
        ("0 0 29 FEB *", "", "2028-02-29T00:00:00+00:00"),
        ("0 9 * * *", "America/New_York", "2026-03-01T14:00:00+00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-02T01:30:00+00:00"),
        ("5-10/5 12 * * *", "", "2026-03-01T12:05:00+00:00"),
        ("0 0 30 2 *", "", None),
    ],
)
def test_when_a_schedule_is_due_next(schedule: str, zone: str, expected: str | None) -> None:
    """In UTC, wherever its time zone is."""
    due = parse_schedule(schedule, zone).next_after(NOON)
    assert (due.isoformat() if due is not None else None) == expected


def test_an_hour_that_the_clocks_skip_is_skipped() -> None:
    """In spring there is no half past two."""
    schedule = parse_schedule("30 2 * * *", "Europe/Berlin")
    eve = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    due = schedule.next_after(eve)
    assert due is not None
    assert due.isoformat() == "2026-03-30T00:30:00+00:00"


@pytest.mark.parametrize(
    "text", ["* * * *", "60 * * * *", "a * * * *", "*/0 * * * *", "5-1 * * * *"]
)
def test_a_schedule_that_makes_no_sense_is_refused(text: str) -> None:
    """The message says which part."""
    with pytest.raises(ScheduleError):
        parse_schedule(text)


def test_an_unknown_time_zone_is_refused() -> None:
    """It is named."""
    with pytest.raises(ScheduleError, match="Mars/Olympus"):
        parse_schedule("* * * * *", "Mars/Olympus")


def test_what_was_due_last_is_found_without_counting_up() -> None:
    """Also after a year of silence."""
    schedule = parse_schedule("*/5 * * * *")
    latest = schedule.latest_between(NOON - timedelta(days=365), NOON + timedelta(seconds=30))
    assert latest == NOON
    assert schedule.latest_between(NOON, NOON + timedelta(minutes=4)) is None


@pytest.mark.parametrize("text", ["", "0", "0,1", "0-2", "1,3-5,7,8", "0-9"])
def test_indexes_are_read_and_said(text: str) -> None:
    """Runs of three and more are shortened."""
    assert say_indexes(parse_indexes(text)) == text


def test_hashes_are_names_that_spell_nothing() -> None:
    """They depend on the template and on how often it collided."""
    template: JsonObject = {"spec": {"containers": [{"image": "web:1"}]}}
    marks = {template_hash(template, count) for count in (None, 0, 1)}
    assert len(marks) == 3
    assert template_hash({**template}, None) in marks
    assert all(set(mark) <= set("bcdfghjklmnpqrstvwxz2456789") for mark in marks)
    assert safe_hash(b"") == safe_hash(b"")


def test_conditions_keep_their_time_while_their_status_stays() -> None:
    """Deployments move what they say anew to the end; others say it where it stands."""
    old = {"type": "A", "status": "True", "reason": "X", "lastTransitionTime": "1"}
    other = {"type": "B", "status": "True", "reason": "Y", "lastTransitionTime": "1"}
    same = {**old, "message": "new words", "lastTransitionTime": "2"}
    changed = {**old, "reason": "Z", "lastTransitionTime": "2"}
    turned = {**changed, "status": "False"}

    assert set_last([old, other], same) == [old, other]
    assert set_last([old, other], changed) == [other, {**changed, "lastTransitionTime": "1"}]
    assert set_last([old, other], turned) == [other, turned]
    assert set_in_place([old, other], changed) == [{**changed, "lastTransitionTime": "1"}, other]
    assert set_in_place([other], turned) == [other, turned]
