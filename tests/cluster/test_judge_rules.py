"""The rules that the judge of the systems' stories judges by, without a cluster."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.systems.object_sets import Comparison, Object, key_of, newcomers
from tests.support.systems.play import AstrayError, find_end
from tests.support.systems.promised import behind, lacks
from tests.support.systems.samples import (
    DIGEST,
    DIGESTS,
    FIRST,
    IMAGE,
    OTHER,
    config,
    job,
    with_value,
    workload,
)
from tests.support.systems.story import Outcome, Reach, Scenario
from tests.support.systems.written import Write, made_twice, not_done, out_of_order

ELSEWHERE = f"registry.example/shop/other@{DIGEST}"
STAGE = "production"


def live(**changes: object) -> Object:
    """The Deployment as an API server has it."""
    found = copy.deepcopy(workload(replicas=2))
    container = found["spec"]["template"]["spec"]["containers"][0]
    container["image"] = f"{IMAGE}@{DIGEST}"
    container["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    container["imagePullPolicy"] = "Always"
    del found["spec"]["template"]["spec"]["hostNetwork"]
    del found["spec"]["template"]["spec"]["volumes"]
    found["metadata"]["generation"] = 3
    counted = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 2)
    return {**found, "status": {"observedGeneration": 3, **counted, **changes}}


WRONG = {
    "a value": (
        with_value(live(), *FIRST, "env", 0, "value", value="slow"),
        ".spec.template.spec.containers[0].env[0].value is 'slow', not 'fast'",
    ),
    "a value that is gone": (
        with_value(live(), *FIRST, "env", 0, value={"name": "MODE"}),
        ".spec.template.spec.containers[0].env[0].value is not there",
    ),
    "an item too many": (
        with_value(live(), *FIRST, "env", value=[{"name": "A"}, {"name": "MODE"}]),
        ".spec.template.spec.containers[0].env has 2 items, not 1",
    ),
    "an amount": (
        with_value(live(), *FIRST, "resources", "limits", "memory", value="1G"),
        ".spec.template.spec.containers[0].resources.limits.memory is '1G', not '1024Mi'",
    ),
    "a digest": (
        with_value(live(), *FIRST, "image", value=f"{IMAGE}@{OTHER}"),
        f".spec.template.spec.containers[0].image is {IMAGE}@{OTHER}, not {IMAGE} with {DIGEST}",
    ),
    "a repository": (
        with_value(live(), *FIRST, "image", value=ELSEWHERE),
        f".spec.template.spec.containers[0].image is {ELSEWHERE}, not {IMAGE} with {DIGEST}",
    ),
    "an image without digest": (
        with_value(live(), *FIRST, "image", value=IMAGE),
        f".spec.template.spec.containers[0].image is {IMAGE}, not {IMAGE} with {DIGEST}",
    ),
    "a type": (with_value(live(), "spec", "replicas", value="2"), ".spec.replicas is '2', not 2"),
    "pods of before": (live(updatedReplicas=1), "updatedReplicas is 1, not 2"),
    "pods that do not answer": (live(availableReplicas=0), "availableReplicas is 0, not 2"),
    "pods too many": (live(replicas=3), "replicas is 3, not 2"),
    "a change that nobody saw": (live(observedGeneration=2), "generation 3 is not observed"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_each_leaf_counts(wrong: str) -> None:
    """What the API server spells in its own way is the same, anything else is told."""
    wanted = workload(replicas=2)
    assert lacks([wanted], [live()], DIGESTS) == []
    found, said = WRONG[wrong]
    complaints = lacks([wanted], [found], DIGESTS)
    assert f"Deployment shop/web: {said}" in complaints


def test_what_is_not_there_is_lacking() -> None:
    """Hooks are no objects; Secrets are kept encoded; a scaled workload may have more pods."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "namespace": "shop"},
        "stringData": {"user": "reader"},
    }
    kept = {**secret, "stringData": {}, "data": {"user": "cmVhZGVy"}}
    assert lacks([job("dump"), config("a"), secret], [kept], {}) == [
        "ConfigMap shop/a is not there"
    ]
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}},
    }
    more = with_value(live(), "spec", "replicas", value=5)
    wanted = [workload(replicas=2), scaler]
    assert lacks(wanted, [more, scaler], DIGESTS) == []
    assert "Deployment shop/web: availableReplicas is 2, not 5" in behind(wanted, [more])


# -- releases against each other


def test_a_bad_release_is_to_differ_in_everything() -> None:
    """One object added, one deleted, a ConfigMap and the workload changed; else it is told."""
    good = [config("settings", level="info"), config("old"), workload()]
    workload_changed = with_value(workload(), *FIRST, "image", value="web:2")
    bad = [config("settings", level="debug"), config("new"), workload_changed]
    same = "the bad release "
    rows: Iterable[tuple[list[Object], list[str]]] = (
        (bad, []),
        ([bad[0], workload_changed], [f"{same}adds no object"]),
        ([*bad, config("old")], [f"{same}deletes no object"]),
        ([good[0], *bad[1:]], [f"{same}changes no ConfigMap"]),
        ([*bad[:2], workload()], [f"{same}does not change Deployment/web"]),
    )
    for changed, said in rows:
        assert Comparison.of(good, changed).complaints("Deployment/web") == said
    hashed = [config("settings-bcdfghkm24"), job("dump")]
    assert Comparison.of([config("settings-24bcdfghkm")], hashed).added == frozenset()
    assert newcomers([config("settings-24bcdfghkm")], hashed) == hashed[:1]


def run(commit: str, kind: str, phase: str = "Failed") -> dict[str, Any]:
    """A run as gitopsd tells it."""
    return {"commit": commit, "kind": kind, "phase": phase}


ROLLBACK, BAD = run("good", "Rollback", "Succeeded"), run("bad", "Rollout")


@pytest.mark.parametrize(
    "runs, outcome, found",
    [
        ([ROLLBACK, BAD], "Restored", BAD),
        ([BAD], "Refused", BAD),
        ([BAD], "Restored", None),
        ([run("good", "Rollback", "Running"), BAD], "Restored", None),
        ([BAD, ROLLBACK], "Restored", None),
        ([run("good", "Rollout", "Succeeded")], "Refused", None),
    ],
)
def test_an_end_is_the_end_of_all_of_it(
    runs: list[dict[str, Any]], outcome: Outcome, found: dict[str, Any] | None
) -> None:
    """The run of the commit, once nothing goes on any more and what has to follow has followed."""
    scenario = Scenario(name="crashes", caught=STAGE, outcome=outcome)
    assert find_end(scenario, "bad", "Failed", runs) == found


def test_a_bad_release_that_is_live_is_astray() -> None:
    """Unless its story says that it is, for a while."""
    scenario = Scenario(name="degrades", caught=STAGE, late=True)
    assert find_end(scenario, "bad", "Live", [BAD]) is None
    with pytest.raises(AstrayError, match="the bad release is live in production"):
        find_end(Scenario(name="crashes", caught=STAGE), "bad", "Live", [BAD])


# -- what was written

KEYS = {name: ("ConfigMap", "shop", name) for name in ("new", "old")}


def write(verb: str, name: str, second: int = 1, *, made: bool = False) -> Write:
    """One write of a ConfigMap."""
    at = f"2026-01-01T00:00:{second:02}.000001Z"
    return Write(verb, ("ConfigMap", "shop", name), at, made)


WRITTEN = {
    "made": write("patch", "new", made=True),
    "unmade": write("delete", "new"),
    "deleted": write("delete", "old"),
    "again": write("patch", "old", made=True),
}


@pytest.mark.parametrize(
    "reach, written, said",
    [
        ("Hooks", (), []),
        ("Hooks", ("made", "unmade"), ["new was made"]),
        ("Added", ("made", "unmade"), []),
        ("Applied", ("made", "unmade"), []),
        ("Applied", (), ["new was never made"]),
        ("Applied", ("made",), ["new was not deleted again"]),
        ("Applied", ("made", "unmade", "deleted", "again"), ["old was deleted"]),
        ("Pruned", ("made", "unmade", "deleted", "again"), []),
        ("Pruned", ("made", "unmade"), ["old was never deleted"]),
        ("Pruned", ("made", "unmade", "deleted"), ["old was not made again"]),
    ],
)
def test_what_was_undone_had_been_done(
    reach: Reach, written: tuple[str, ...], said: list[str]
) -> None:
    """The audit log shows how far a release came, neither less nor more."""
    compared = Comparison(frozenset({KEYS["new"]}), frozenset({KEYS["old"]}), frozenset())
    found = not_done(reach, compared, [WRITTEN[name] for name in written])
    assert found == [f"ConfigMap shop/{one}" for one in said]


def test_steps_are_taken_in_order_and_hooks_once() -> None:
    """Each is written after the one before, and after that is complete when it is a hook."""
    order = ("ConfigMap/first", "Job/dump", "ConfigMap/last")
    rendered = [config("first"), job("dump"), config("last"), config("other")]
    done = [{**job("dump"), "status": {"completionTime": "2026-01-01T00:00:05Z"}}]
    made = Write("create", key_of(job("dump")), "2026-01-01T00:00:02.5Z", made=True)
    good = [write("patch", "first", 1), made, write("patch", "last", 5)]

    def told(
        writes: list[Write], live: list[Object] = done, *, everything: bool = True
    ) -> list[str]:
        return out_of_order(order, writes, rendered, live, everything=everything)

    assert told(good) == []
    assert told(good[1:]) == ["ConfigMap shop/first was not written"]
    assert told(good[1:], everything=False) == []
    assert told([*good, made]) == ["Job shop/dump was made 2 times"]
    assert "Job shop/dump was made 0 times" in told([good[0], good[2]])
    assert told([write("patch", "first", 3), *good[1:]]) == [
        "Job shop/dump was written before ConfigMap shop/first"
    ]
    too_early = "ConfigMap shop/last was written before Job shop/dump was complete"
    assert told([*good[:2], write("patch", "last", 4)]) == [too_early]
    assert told(good, [job("dump")]) == [too_early]
    assert made_twice(rendered, [made]) == []
    assert made_twice(rendered, [made, made]) == ["Job shop/dump was made 2 times"]
    again = with_value(
        job("dump"), "metadata", "annotations", "gitopsd.io/hook-on-rollback", value="true"
    )
    assert made_twice([again], [made, made]) == []
    assert made_twice([again], [made] * 3) == ["Job shop/dump was made 3 times"]
