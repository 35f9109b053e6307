"""What may be deleted, and what stays however old it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import Phase, Run, RunId, RunKind
from gitopsd.domain.stages import AppliedSet, Stage, Stall
from gitopsd.domain.verifications import (
    Destination,
    Quarantine,
    RestoreTarget,
    StallReason,
    Verification,
    VerificationId,
)
from gitopsd.pipeline.retention import (
    BATCH,
    RetentionFacts,
    StageNeeds,
    compute_expired,
    may_drop_sets,
    needed_runs,
    needed_sets,
)
from tests.support.runs import KEY, NOON

OLD = NOON - timedelta(days=100)
BEFORE = NOON - timedelta(days=90)
STAGE = Stage(KEY)
PLACE = Destination("one", "shop")


def ended(number: int, phase: Phase = Phase.SUCCEEDED, *, days: int = 100) -> Run:
    """A Rollout of a release and a set of its own that ended so many days ago."""
    return Run(
        id=RunId(f"run-{number}"),
        stage=KEY,
        release=ReleaseId(f"r-{number}"),
        kind=RunKind.ROLLOUT,
        phase=phase,
        ended_at=NOON - timedelta(days=days),
        rendered=Digest(f"set-{number}"),
    )


def verified(number: int, restore: int | None = None) -> Verification:
    """A verification of a run's set."""
    target = None
    if restore is not None:
        before = VerificationId(f"v-run-{restore}")
        target = RestoreTarget(before, ReleaseId(f"r-{restore}"), Digest(f"set-{restore}"), 1)
    return Verification(
        VerificationId(f"v-run-{number}"),
        KEY,
        ReleaseId(f"r-{number}"),
        Digest(f"set-{number}"),
        PLACE,
        1,
        OLD,
        restore=target,
    )


def quarantined(number: int) -> Quarantine:
    """A quarantine of a run's set."""
    digest = Digest(f"set-{number}")
    return Quarantine(f"q-run-{number}", KEY, digest, (), ReleaseId(f"r-{number}"), "bad", OLD)


def facts(*runs: Run, needs: StageNeeds | None = None) -> RetentionFacts:
    """A stage with these runs."""
    return RetentionFacts(BEFORE, needs or StageNeeds(STAGE), runs)


def gone(given: RetentionFacts) -> tuple[set[str], set[str]]:
    """List the runs and sets that go."""
    batches = compute_expired(given)
    return (
        {run for batch in batches for run in batch.runs},
        {digest for batch in batches for digest in batch.rendered},
    )


def test_what_is_old_goes_with_its_set() -> None:
    """And what is young, live or never ended stays."""
    live = replace(ended(3), phase=Phase.RUNNING)
    unended = replace(ended(4), ended_at=None)
    assert gone(facts(ended(1), ended(2, days=90), live, unended)) == ({"run-1"}, {"set-1"})


def test_a_set_stays_while_a_run_that_stays_refers_to_it() -> None:
    """By what it rendered, or by what its plan was made against."""
    same = replace(ended(2, days=1), rendered=Digest("set-1"))
    against = replace(ended(4, days=1), plan_base=Digest("set-3"))
    unrendered = replace(ended(5), rendered=None)
    runs, sets = gone(facts(ended(1), same, ended(3), against, unrendered))
    assert (runs, sets) == ({"run-1", "run-3", "run-5"}, set())


@pytest.mark.parametrize(
    "needs",
    [
        StageNeeds(replace(STAGE, front=RunId("run-1"))),
        StageNeeds(replace(STAGE, next=RunId("run-1"))),
        StageNeeds(
            replace(STAGE, stall=Stall(StallReason.MANUAL, "look at it", OLD, RunId("run-1")))
        ),
        StageNeeds(
            replace(
                STAGE,
                applied=AppliedSet(ReleaseId("r-1"), Digest("set-1"), RunId("run-1"), OLD),
            )
        ),
        StageNeeds(replace(STAGE, verified=VerificationId("v-run-1"))),
        StageNeeds(STAGE, quarantines=(quarantined(1),)),
    ],
)
def test_a_run_that_the_stage_refers_to_stays(needs: StageNeeds) -> None:
    """With its set, and however old; the others go."""
    assert gone(facts(ended(1), ended(2), needs=needs)) == ({"run-2"}, {"set-2"})


def test_everything_that_could_be_restored_stays() -> None:
    """Sets that were verified, what a failure of theirs restores, what live runs restore to."""
    target = RestoreTarget(VerificationId("v-run-4"), ReleaseId("r-4"), Digest("set-4"), 1)
    live = replace(ended(9), phase=Phase.RUNNING, restore_target=target)
    needs = StageNeeds(STAGE, live=(live,), verifications=(verified(1, restore=2),))
    runs, sets = gone(facts(*(ended(number) for number in range(1, 6)), live, needs=needs))
    assert runs == {f"run-{number}" for number in range(1, 6)}
    assert sets == {"set-3", "set-5"}


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.ABORTED, Phase.ERRORED])
def test_the_reason_why_a_release_is_not_taken_again_stays(phase: Phase) -> None:
    """As long as selection looks at the release; a Rollout that went well is no such reason."""
    last = {ReleaseId(f"r-{number}"): RunId(f"run-{number}") for number in (1, 2, 3)}
    given = replace(
        facts(ended(1, phase), ended(2, phase), ended(3)),
        last_rollouts=last,
        offered=frozenset({ReleaseId("r-1"), ReleaseId("r-3")}),
    )
    assert gone(given)[0] == {"run-2", "run-3"}


def test_batches_are_small_and_stand_by_themselves() -> None:
    """A set goes with the last run that refers to it, not before."""
    runs = [ended(number) for number in range(BATCH + 2)]
    runs[-1] = replace(runs[-1], rendered=runs[0].rendered)
    first, second = compute_expired(facts(*runs))
    assert (len(first.runs), len(second.runs)) == (BATCH, 2)
    assert "set-0" not in first.rendered
    assert "set-0" in second.rendered


def test_no_set_goes_while_a_run_may_be_rendering_it_again() -> None:
    """A run without bytes yet may put the same set a moment before it refers to it."""
    rendering = replace(ended(1), phase=Phase.RUNNING, rendered=None)
    assert not may_drop_sets(StageNeeds(STAGE, live=(rendering,)))
    assert may_drop_sets(StageNeeds(STAGE, live=(ended(1),)))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nothing_that_anything_refers_to_is_ever_deleted(data: st.DataObject) -> None:
    """Whatever a stage holds on to, each batch leaves it, and leaves no run without its set."""
    numbers = st.integers(0, 5)
    runs = tuple(
        replace(
            ended(
                number,
                data.draw(st.sampled_from([Phase.SUCCEEDED, Phase.FAILED, Phase.RUNNING])),
                days=data.draw(st.sampled_from([1, 100])),
            ),
            rendered=Digest(f"set-{data.draw(numbers)}"),
        )
        for number in range(6)
    )
    applied = data.draw(st.none() | numbers)
    stage = STAGE
    if applied is not None:
        digest, run = Digest(f"set-{applied}"), RunId(f"run-{applied}")
        stage = replace(STAGE, applied=AppliedSet(ReleaseId("r"), digest, run, OLD))
    needs = StageNeeds(
        stage,
        live=tuple(run for run in runs if run.live),
        verifications=tuple(map(verified, data.draw(st.lists(numbers, max_size=2)))),
        quarantines=tuple(map(quarantined, data.draw(st.lists(numbers, max_size=2)))),
    )
    dropped, sets = gone(facts(*runs, needs=needs))
    left = [run for run in runs if run.id not in dropped]
    assert not sets & needed_sets(needs)
    assert not dropped & needed_runs(needs)
    assert not sets & {run.rendered for run in left}
    old = {run.id for run in runs if run.ended_at is not None and run.ended_at < BEFORE}
    assert dropped <= old - {run.id for run in needs.live}
