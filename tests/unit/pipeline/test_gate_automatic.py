"""A stage without gates of its own: releases go on by themselves, but for what stops all stages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import StageMode
from gitopsd.domain.gates import Closed
from gitopsd.domain.releases import OfferKind, ReleaseId, StageName
from gitopsd.domain.runs import RunId, RunKind, Step
from gitopsd.domain.stages import Condition, Freeze, Stage, Stall
from gitopsd.domain.verifications import Quarantine, StallReason
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import all_open, evaluate_gates, first_refusal, lacks_approval
from tests.support.gate_facts import FACTS, KEY, NOON, RUN
from tests.support.runs import BYTES, run_at

HOUR = timedelta(hours=1)
PEOPLE = Condition("maria", "inventory", NOON)
OFFER = FACTS.offer
assert OFFER is not None
ROLLBACK = replace(run_at(RunKind.ROLLBACK, Step.VERIFY), id=RunId("run-6"))


def at(stage: Stage) -> GateFacts:
    """Facts about a stage in this state."""
    return replace(FACTS, stage=stage)


STOPS: dict[str, tuple[GateFacts, str, str]] = {
    "slot": (replace(FACTS, front_run=ROLLBACK), "run-6 (Rollback) is in Verify", "wait until"),
    "freeze": (
        replace(FACTS, freezes=(Freeze("f-1", "*", "maria", "a fair", NOON - HOUR),)),
        "* frozen by maria: a fair",
        "gitopsd thaw f-1",
    ),
    "suspend": (
        at(replace(FACTS.stage, suspended=PEOPLE)),
        "suspended by maria: inventory",
        "gitopsd resume shop production",
    ),
    "hold": (
        at(replace(FACTS.stage, hold=PEOPLE)),
        "held by maria: inventory",
        "gitopsd resume shop production",
    ),
    "stall": (
        at(replace(FACTS.stage, stall=Stall(StallReason.ROLLBACK_LOOP, "back and forth", NOON))),
        "stalled (RollbackLoop): back and forth",
        "gitopsd resume shop production",
    ),
    "upstream": (
        replace(FACTS, spec=replace(FACTS.spec, after=(StageName("staging"),))),
        "not verified in staging",
        "wait until it is verified in staging",
    ),
    "quarantine": (
        replace(
            FACTS,
            quarantines=(Quarantine("q-1", KEY, BYTES, (), ReleaseId("r-6"), "crashes", NOON),),
        ),
        "quarantined: crashes",
        "gitopsd quarantine lift q-1",
    ),
    "rewind": (
        replace(FACTS, offer=replace(OFFER, kind=OfferKind.REWOUND)),
        "its branch was force-pushed back to an older commit",
        f"gitopsd promote shop production {RUN.release}",
    ),
    "prune": (
        replace(FACTS, deletions=21, owned=40),
        "the plan deletes 21 of 40 objects",
        f"gitopsd approve {RUN.id}",
    ),
    "budget": (
        replace(FACTS, fronts_on_cluster=10),
        "10 rollouts are under way on one, its budget is 10",
        "wait until one ends",
    ),
    "brake": (
        replace(FACTS, failed_with_commit=3),
        "aaaaaaaaaaaa failed 3 times in stages named production",
        "push a fix, or: gitopsd promote",
    ),
    "group": (
        replace(FACTS, spec=replace(FACTS.spec, group="world")),
        "group world is not configured",
        "write it under groups",
    ),
    "observe": (
        replace(FACTS, spec=replace(FACTS.spec, mode=StageMode.OBSERVE)),
        "the stage only observes",
        "set mode: apply",
    ),
}


def test_nothing_is_waited_for() -> None:
    """No person, no time and no other stage: the run leaves its Gate as it comes there."""
    states = evaluate_gates(FACTS)
    assert all_open(states)
    assert all(state.implicit for state in states)
    assert {state.name for state in states} >= set(STOPS)
    assert not lacks_approval(states)
    assert first_refusal(states) is None


@pytest.mark.parametrize("name", STOPS)
def test_what_stops_every_stage_stops_it_too(name: str) -> None:
    """One at a time, with what is the matter and who or what ends it; no run ends by it."""
    facts, reason, opener = STOPS[name]
    states = evaluate_gates(facts)
    closed = {state.name: state.answer for state in states if isinstance(state.answer, Closed)}
    assert set(closed) == {name}
    assert closed[name].reason == reason
    assert closed[name].opener.startswith(opener)
    assert not all_open(states)
    assert first_refusal(states) is None
    assert lacks_approval(states) is (name == "prune")
