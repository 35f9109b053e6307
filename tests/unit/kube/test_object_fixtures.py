"""Every fixture under tests/fixtures/objects is judged as it says it must be."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import ryaml

from gitopsd.kube.findings import Applied, HealthSettings
from gitopsd.kube.health import Expected, compute_health, compute_set_health
from gitopsd.kube.objects import (
    flag_at,
    mapping_at,
    mappings_at,
    number_at,
    sequence_at,
    string_at,
    time_at,
)
from gitopsd.kube.rollouts import RolloutVerdict, compute_rollout_failure
from gitopsd.kube.verdicts import judge

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

ROOT = Path(__file__).parents[2] / "fixtures" / "objects"
FILES = sorted(ROOT.glob("*/*.yaml"))


def load(path: Path) -> JsonObject:
    """Read one fixture."""
    with path.open(encoding="utf-8") as file:
        document = ryaml.load(file)
    assert isinstance(document, dict)
    return document


def settings_of(fixture: JsonObject) -> HealthSettings:
    """Read the settings a fixture asks for; numbers are seconds."""
    given = mapping_at(fixture, "settings")
    grace = number_at(given, "unschedulable_grace")
    return HealthSettings(
        unschedulable_grace=timedelta(seconds=grace or 15),
        require_load_balancer=flag_at(given, "require_load_balancer"),
        require_ingress_address=flag_at(given, "require_ingress_address"),
    )


def now_of(fixture: JsonObject) -> datetime:
    """Read the fixture's time."""
    now = time_at(fixture, "now")
    assert now is not None
    return now


def expected_of(fixture: JsonObject) -> Expected:
    """Read what is judged."""
    live = mapping_at(fixture, "object")
    applied = mapping_at(fixture, "applied")
    return Expected(
        desired=live,
        live=live,
        applied=Applied(number_at(applied, "generation"), time_at(applied, "at")),
        has_status=flag_at(fixture, "hasStatus"),
    )


def rollout_of(fixture: JsonObject) -> RolloutVerdict:
    """Judge the fixture's rollout."""
    expected = expected_of(fixture)
    return compute_rollout_failure(
        expected.desired,
        mappings_at(fixture, "replicaSets"),
        mappings_at(fixture, "pods"),
        mappings_at(fixture, "events"),
        now_of(fixture),
        settings_of(fixture),
        expected.applied,
    )


def test_the_fixtures_are_there() -> None:
    """There are fixtures for every row of the tables of health and of failing fast."""
    assert len(FILES) >= 200
    assert len({path.parent.name for path in FILES}) >= 15


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_fixture_is_judged_as_it_says(path: Path) -> None:
    """Health, rollout and verdict of each fixture are exactly what the file expects."""
    fixture = load(path)
    expect = mapping_at(fixture, "expect")
    item = expected_of(fixture)
    beside = [Expected(obj, obj) for obj in mappings_at(fixture, "beside")]
    now, settings = now_of(fixture), settings_of(fixture)

    health = compute_set_health([item, *beside], now, settings)[0]
    assert health.health.value == string_at(expect, "health")
    assert health.definite == flag_at(expect, "definite")
    assert health.message == string_at(expect, "message")
    assert health.advisory == flag_at(expect, "advisory")
    if "since" in expect:
        assert health.since == time_at(expect, "since")
    alone = compute_health(
        mapping_at(fixture, "object"),
        now,
        settings,
        applied=item.applied,
        has_status=item.has_status,
    )
    assert (alone.health, alone.message) == (health.health, health.message)

    rollout = rollout_of(fixture)
    if "rollout" in expect:
        assert_rollout(rollout, mapping_at(expect, "rollout"))
    if "verdict" in expect:
        wanted = mapping_at(expect, "verdict")
        verdict = judge([health], [rollout])
        assert verdict.state.value == string_at(wanted, "state")
        assert verdict.reason == string_at(wanted, "reason")
        assert verdict.message == string_at(wanted, "message")


def assert_rollout(rollout: RolloutVerdict, wanted: JsonObject) -> None:
    """Compare a rollout's verdict with what a fixture expects of it."""
    assert rollout.state.value == string_at(wanted, "state")
    assert rollout.reason == string_at(wanted, "reason")
    assert rollout.message == string_at(wanted, "message")
    assert rollout.until == time_at(wanted, "until")
    if "evidence" in wanted:
        said = [
            f"{target.pod}/{target.container}{' previous' if target.previous else ''}"
            for target in rollout.evidence
        ]
        assert said == list(sequence_at(wanted, "evidence"))
