"""The gate that asks another application's stage."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.config import StageSpec
from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.manifests import Health
from gitopsd.domain.releases import ApplicationName, Release, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import RunId, RunKind, Step
from gitopsd.domain.sources import Commit, CommitSha
from gitopsd.domain.stages import Observation, Stage
from gitopsd.pipeline.facts import DependencyFacts, GateFacts
from gitopsd.pipeline.gate_kinds.dependency import OLD_LOOK
from gitopsd.pipeline.gates import evaluate_gates
from tests.support.runs import KEY, NOON, run_at

RUN = run_at(RunKind.ROLLOUT, Step.GATE)
API = StageKey(ApplicationName("api"), StageName("production"))
GATE = DependencyGate(API)
SECOND = timedelta(seconds=1)


def look(
    health: Health = Health.HEALTHY,
    message: str = "",
    *,
    at: datetime = NOON,
    synced: bool | None = True,
) -> Observation:
    """A look at the other stage."""
    return Observation(health, synced, message, at)


FINE = DependencyFacts(running=ReleaseId("r-3"), observation=look())


def answer(found: DependencyFacts | None, gate: DependencyGate = GATE) -> GateAnswer:
    """What the gate answers."""
    facts = GateFacts(
        now=NOON,
        run=RUN,
        release=Release(RUN.release, KEY.application, Commit(CommitSha("a" * 40))),
        offer=None,
        stage=Stage(KEY),
        spec=StageSpec(KEY.stage, "one", "overlays/production", "shop", gates=(gate,)),
        dependencies={} if found is None else {API: found},
    )
    state = evaluate_gates(facts)[0]
    assert state.name == "dependency"
    return state.answer


def test_a_stage_that_runs_something_verified_and_healthy_opens_it() -> None:
    """It says what that is."""
    assert answer(FINE) == Open("api/production runs r-3, verified")


@pytest.mark.parametrize("found", [None, DependencyFacts(configured=False)])
def test_a_stage_that_nobody_configured_keeps_it_closed(found: DependencyFacts | None) -> None:
    """A missing fact closes it."""
    assert answer(found) == Closed(
        "api/production is not configured", "configure api/production, or remove the gate"
    )


def test_a_run_under_way_there_is_waited_for() -> None:
    """By its name: what it writes now is verified by nobody yet."""
    assert answer(replace(FINE, front=RunId("api-7"))) == Closed(
        "api-7 is under way in api/production", "wait until it ends"
    )


def test_a_stage_that_runs_nothing_verified_is_waited_for() -> None:
    """Never, or not any more."""
    assert answer(replace(FINE, running=None)) == Closed(
        "api/production runs nothing verified", "wait until api/production is verified"
    )


@pytest.mark.parametrize(
    "seen,why",
    [
        (look(Health.DEGRADED, "api crashes"), "api crashes"),
        (look(Health.PROGRESSING), "Progressing"),
        (look(Health.UNKNOWN, "no answer", synced=None), "no answer"),
        (look(synced=False, message="Service api is gone"), "Service api is gone"),
    ],
)
def test_a_last_look_that_saw_no_health_closes_it(seen: Observation, why: str) -> None:
    """With what the look saw."""
    assert answer(replace(FINE, observation=seen)) == Closed(
        f"api/production is not seen healthy: {why}", "mend api/production"
    )


@pytest.mark.parametrize("seen", [None, look(at=NOON - OLD_LOOK - SECOND)])
def test_an_old_look_says_nothing_of_now(seen: Observation | None) -> None:
    """While a run waits there are newer ones."""
    assert answer(replace(FINE, observation=seen)) == Closed(
        "nobody has looked at api/production lately", "wait for the next look"
    )
    assert isinstance(answer(replace(FINE, observation=look(at=NOON - OLD_LOOK))), Open)


def test_a_look_whose_agreement_is_unknown_is_enough_when_it_was_healthy() -> None:
    """Only what is known to differ counts against it."""
    assert isinstance(answer(replace(FINE, observation=look(synced=None))), Open)


def test_whoever_asks_for_no_health_gets_none() -> None:
    """What is verified is enough."""
    ill = replace(FINE, observation=look(Health.DEGRADED, "api crashes"))
    assert isinstance(answer(ill, replace(GATE, healthy=False)), Open)


def test_the_same_commit_may_be_asked_for() -> None:
    """For applications of one repository: the other one goes first."""
    same = replace(GATE, same_commit=True)
    assert answer(FINE, same) == Closed(
        "api/production runs r-3, which does not have aaaaaaaaaaaa",
        "wait until api/production is verified with it",
    )
    assert isinstance(answer(replace(FINE, has_commit=True), same), Open)
