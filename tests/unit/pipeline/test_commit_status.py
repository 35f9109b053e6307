"""Where a commit stands: the answers that CI jobs act on, with their sentences."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.gates import Closed, GateAnswer, GateState, Open, Refused
from gitopsd.domain.manifests import Digest, Health
from gitopsd.domain.releases import ReleaseId, StageKey, StageName
from gitopsd.domain.runs import Failure, Phase, Run, RunId, RunKind, Step
from gitopsd.domain.stages import Condition, Observation, Stage
from gitopsd.domain.verifications import Quarantine, VerificationId
from gitopsd.pipeline.commit_status import (
    CommitFacts,
    CommitState,
    CommitStatus,
    compute_after_upstream,
    compute_commit_status,
    find_rollback,
)
from tests.support.runs import KEY, NOON, run_at

MINE = ReleaseId("r-7")
OTHER = ReleaseId("r-6")
VERIFIED = VerificationId("v-7")
GOOD_LOOK = Observation(Health.HEALTHY, synced=True, message="", at=NOON)
QUARANTINE = Quarantine("q-1", KEY, Digest("sha256:new"), (), MINE, "api crashes", NOON)
EMPTY = Stage(KEY)
BY = Condition("alex", "audit", NOON)


def facts_of(
    *,
    release: ReleaseId | None = MINE,
    stage: Stage | None = EMPTY,
    running: ReleaseId | None = None,
    run: Run | None = None,
) -> CommitFacts:
    """Facts of a stage that runs ``running`` and looked good just now."""
    if stage is not None and running is not None:
        stage = replace(stage, verified=VERIFIED)
    return CommitFacts(
        key=KEY,
        release=release,
        stage=stage,
        running=running,
        run=run,
        observation=GOOD_LOOK,
        fresh=True,
        live_since=NOON - timedelta(hours=1) if running is not None else None,
    )


def ended(phase: Phase, *, reason: str = "", message: str = "", step: Step = Step.VERIFY) -> Run:
    """A rollout that ended."""
    run = replace(run_at(RunKind.ROLLOUT, step), phase=phase, command=None, ended_at=NOON)
    return replace(run, failure=Failure(reason, message, step)) if reason else run


FAILED = ended(Phase.FAILED, reason="CrashLoopBackOff", message="Deployment api crashes")
SUCCEEDED = ended(Phase.SUCCEEDED)


def gate(name: str, answer: GateAnswer) -> GateState:
    """One gate's answer."""
    return GateState(name, implicit=False, answer=answer)


def short(status: CommitStatus) -> tuple[CommitState, str, str]:
    """What a person reads."""
    return status.state, status.reason, status.waiting_for


def test_the_words_of_the_api() -> None:
    """CI jobs compare these; they never change."""
    assert " ".join(state.value for state in CommitState) == (
        "NotSeen Waiting Running Live Failed RolledBack Quarantined Superseded Held NotConcerned"
    )


@pytest.mark.parametrize("state", list(CommitState))
def test_what_can_still_change_by_itself_is_not_terminal(state: CommitState) -> None:
    """Waiting goes on for what is not seen, waits, runs or is held; everything else is an end."""
    going_on = {"NotSeen", "Waiting", "Running", "Held"}

    assert state.terminal == (state.value not in going_on)


def test_a_commit_that_was_never_a_head_is_not_seen() -> None:
    """NotSeen is an answer, and the newest release may turn out to contain the commit."""
    status = compute_commit_status(facts_of(release=None))

    assert short(status) == (
        CommitState.NOT_SEEN,
        "gitopsd has not seen this commit on the stage's line",
        "",
    )
    assert status.overtaken
    assert not status.exact
    assert status.run is None
    assert status.observed_at == NOON


def test_a_stage_that_is_not_stored_yet_has_seen_nothing() -> None:
    """Without a stored stage there is nothing to ask further about."""
    status = compute_commit_status(facts_of(stage=None))

    assert status.state is CommitState.NOT_SEEN
    assert not status.overtaken


def test_its_own_verified_release_is_live_exactly() -> None:
    """Live, exact, with the time of its verification and of the look that agreed."""
    status = compute_commit_status(facts_of(running=MINE, run=SUCCEEDED))

    assert short(status) == (CommitState.LIVE, "", "")
    assert status.exact
    assert status.release == MINE
    assert status.since == NOON - timedelta(hours=1)
    assert status.observed_at == NOON
    assert status.run == SUCCEEDED


@pytest.mark.parametrize("how", ["contained", "same_bytes"])
def test_a_release_that_contains_it_or_renders_the_same_makes_it_live(how: str) -> None:
    """Live through another release is said, and is not exact."""
    facts = facts_of(running=OTHER)
    contained = replace(facts, contained=True)
    status = compute_commit_status(
        contained if how == "contained" else replace(facts, same_bytes=True)
    )

    assert short(status) == (
        CommitState.LIVE,
        "through a release that contains it or renders the same",
        "",
    )
    assert not status.exact
    assert status.release == OTHER


def test_a_commit_never_seen_is_live_when_what_runs_contains_it() -> None:
    """Several commits pushed at once are all live with the last of them."""
    facts = replace(facts_of(release=None, running=OTHER), contained=True)

    assert compute_commit_status(facts).state is CommitState.LIVE


def test_its_carrier_is_live_without_being_exact() -> None:
    """Followed through a newer release, the commit is live but not by itself."""
    status = compute_commit_status(replace(facts_of(running=MINE), through=True))

    assert (status.state, status.exact) == (CommitState.LIVE, False)


def test_nothing_is_live_once_its_verification_is_revoked() -> None:
    """A stage without a verification in force runs nothing verified."""
    facts = replace(facts_of(running=MINE, run=SUCCEEDED), stage=Stage(KEY))

    assert compute_commit_status(facts).state is CommitState.SUPERSEDED


@pytest.mark.parametrize(
    "seen,fresh,reason,waiting_for",
    [
        (
            None,
            False,
            "it is verified; its live objects could not be looked at within the last minute",
            "a look at the cluster",
        ),
        (
            GOOD_LOOK,
            False,
            "it is verified; its live objects could not be looked at within the last minute",
            "a look at the cluster",
        ),
        (
            replace(GOOD_LOOK, health=Health.DEGRADED, message="Pod api-1 restarts"),
            True,
            "it is verified, but the last look disagrees: Pod api-1 restarts",
            "healthy objects",
        ),
        (
            replace(GOOD_LOOK, health=Health.PROGRESSING),
            True,
            "it is verified, but the last look disagrees: Progressing",
            "healthy objects",
        ),
        (
            replace(GOOD_LOOK, synced=False, message="Service api is gone"),
            True,
            "it is verified, but the last look disagrees: Service api is gone",
            "healthy objects",
        ),
    ],
)
def test_live_needs_a_fresh_look_that_agrees(
    seen: Observation | None, fresh: bool, reason: str, waiting_for: str
) -> None:
    """Without a look of the last minute that agrees, nobody is told Live."""
    facts = replace(facts_of(running=MINE), observation=seen, fresh=fresh)

    assert short(compute_commit_status(facts)) == (CommitState.RUNNING, reason, waiting_for)


def test_a_look_that_could_not_compare_does_not_contradict() -> None:
    """Unknown agreement with healthy objects is still live."""
    facts = replace(facts_of(running=MINE), observation=replace(GOOD_LOOK, synced=None))

    assert compute_commit_status(facts).state is CommitState.LIVE


@pytest.mark.parametrize(
    "at,reason",
    [(Phase.PENDING, "run-7 is in Pending"), (Step.WAIT_HEALTHY, "run-7 is in WaitHealthy")],
)
def test_a_run_under_way_says_where_it_is(at: Phase | Step, reason: str) -> None:
    """Running names the run and its step, and since when."""
    status = compute_commit_status(facts_of(run=run_at(RunKind.ROLLOUT, at)))

    assert short(status) == (CommitState.RUNNING, reason, "")
    assert status.since == (None if at is Phase.PENDING else NOON)


@pytest.mark.parametrize(
    "gates,reason,waiting_for",
    [
        ((), "it stands at its Gate", ""),
        ((gate("slot", Open()),), "it stands at its Gate", ""),
        (
            (
                gate("approval", Closed("0 of 1 approvals", "gitopsd approve run-7")),
                gate("slot", Open()),
                gate("freeze", Closed("frozen", "gitopsd thaw f-1")),
            ),
            "approval: 0 of 1 approvals; freeze: frozen",
            "gitopsd approve run-7",
        ),
        ((gate("approval", Refused("sam rejected it")),), "approval: sam rejected it", ""),
    ],
)
def test_a_run_at_its_gate_is_held_and_says_what_opens_it(
    gates: tuple[GateState, ...], reason: str, waiting_for: str
) -> None:
    """Held names every closed gate and what opens the first."""
    facts = replace(facts_of(run=run_at(RunKind.ROLLOUT, Step.GATE)), gates=gates)

    assert short(compute_commit_status(facts)) == (CommitState.HELD, reason, waiting_for)


def test_a_failed_run_is_failed_with_the_runs_sentence() -> None:
    """Failed tells the cause and what helps."""
    status = compute_commit_status(facts_of(run=FAILED))
    quarantined = compute_commit_status(replace(facts_of(run=FAILED), quarantine=QUARANTINE))

    assert short(status) == (CommitState.FAILED, "Deployment api crashes", "a fix")
    assert short(quarantined) == (
        CommitState.FAILED,
        "Deployment api crashes",
        "a fix, or: gitopsd quarantine lift q-1",
    )
    assert status.since == NOON


@pytest.mark.parametrize(
    "phase,state,reason,waiting_for",
    [
        (Phase.SUCCEEDED, CommitState.ROLLED_BACK, "Deployment api crashes", "a fix"),
        (
            Phase.RUNNING,
            CommitState.RUNNING,
            "Deployment api crashes; what it replaced is being restored by run-7-rb",
            "the rollback",
        ),
        (
            Phase.ERRORED,
            CommitState.RUNNING,
            "Deployment api crashes; what it replaced is being restored by run-7-rb",
            "the rollback",
        ),
        (
            Phase.FAILED,
            CommitState.FAILED,
            "Deployment api crashes; what it replaced was not restored: run-7-rb is Failed",
            "a person",
        ),
        (
            Phase.ABORTED,
            CommitState.FAILED,
            "Deployment api crashes; what it replaced was not restored: run-7-rb is Aborted",
            "a person",
        ),
    ],
)
def test_rolled_back_is_said_when_the_old_state_is_back(
    phase: Phase, state: CommitState, reason: str, waiting_for: str
) -> None:
    """While the rollback runs the answer is not final; a rollback that fails is a failure."""
    rollback = replace(run_at(RunKind.ROLLBACK, Step.CERTIFY), id=RunId("run-7-rb"), phase=phase)
    facts = replace(facts_of(run=FAILED), rollback=rollback)

    assert short(compute_commit_status(facts)) == (state, reason, waiting_for)


def test_what_was_live_and_is_rolled_back_says_why() -> None:
    """After the watch window's verdict the quarantine gives the reason; after a person's, none."""
    rollback = replace(run_at(RunKind.ROLLBACK, Step.CERTIFY), phase=Phase.SUCCEEDED)
    facts = replace(facts_of(run=SUCCEEDED), rollback=rollback)

    assert short(compute_commit_status(facts)) == (
        CommitState.ROLLED_BACK,
        "it was live here and was rolled back",
        "a fix",
    )
    assert short(compute_commit_status(replace(facts, quarantine=QUARANTINE))) == (
        CommitState.ROLLED_BACK,
        "api crashes",
        "a fix, or: gitopsd quarantine lift q-1",
    )


@pytest.mark.parametrize("run", [None, SUCCEEDED])
def test_quarantined_bytes_without_a_failed_run_of_their_own(run: Run | None) -> None:
    """A release that contains what failed before is told so without having been tried."""
    status = compute_commit_status(replace(facts_of(run=run), quarantine=QUARANTINE))

    assert short(status) == (
        CommitState.QUARANTINED,
        "api crashes",
        "a fix, or: gitopsd quarantine lift q-1",
    )


@pytest.mark.parametrize(
    "run,state,reason,waiting_for,overtaken",
    [
        (
            ended(Phase.ABORTED, reason="Superseded", message="calm-lake took over"),
            CommitState.SUPERSEDED,
            "calm-lake took over",
            "",
            True,
        ),
        (
            ended(Phase.ABORTED, reason="Quarantined", message="contains what failed"),
            CommitState.QUARANTINED,
            "contains what failed",
            "a fix",
            False,
        ),
        (
            ended(Phase.ABORTED, reason="Rejected", message="sam rejected it"),
            CommitState.FAILED,
            "sam rejected it",
            "gitopsd retry run-7",
            False,
        ),
        (
            ended(Phase.ERRORED, reason="Unreachable", message="the cluster does not answer"),
            CommitState.WAITING,
            "the cluster does not answer",
            "the next attempt, by itself",
            True,
        ),
        (
            ended(Phase.ERRORED),
            CommitState.WAITING,
            "Errored",
            "the next attempt, by itself",
            True,
        ),
    ],
)
def test_other_ends_of_a_run(
    run: Run, state: CommitState, reason: str, waiting_for: str, overtaken: bool
) -> None:
    """Each way a run can end has its own answer, and says what to do."""
    status = compute_commit_status(facts_of(run=run))

    assert short(status) == (state, reason, waiting_for)
    assert status.overtaken is overtaken


def test_superseded_by_what_runs_now() -> None:
    """What was live, or never came here, gave way to another release."""
    was_live = compute_commit_status(facts_of(running=OTHER, run=SUCCEEDED))
    never = compute_commit_status(replace(facts_of(running=OTHER), running_is_newer=True))

    assert short(was_live) == (
        CommitState.SUPERSEDED,
        "it was live here; another release is now",
        "",
    )
    assert short(never) == (
        CommitState.SUPERSEDED,
        "a newer release took over before it came here",
        "",
    )
    assert was_live.overtaken
    assert never.overtaken


@pytest.mark.parametrize(
    "stage,waiting_for",
    [
        (Stage(KEY), "what is before it, or the stages before this one"),
        (Stage(KEY, suspended=BY), "gitopsd resume shop production"),
        (Stage(KEY, hold=BY), "gitopsd resume shop production"),
    ],
)
def test_a_release_without_a_run_waits_for_its_turn(stage: Stage, waiting_for: str) -> None:
    """Waiting says who or what has to move; a newer release may carry the commit instead."""
    status = compute_commit_status(facts_of(stage=stage))
    older = compute_commit_status(replace(facts_of(stage=stage), newest=False))

    assert short(status) == (CommitState.WAITING, "it waits for its turn", waiting_for)
    assert (status.overtaken, older.overtaken) == (False, True)
    assert status.since is None


def test_a_commit_that_changes_nothing_follows_what_it_stands_on() -> None:
    """Live with it, running with it; when that ends badly the commit itself is not concerned."""
    live = compute_commit_status(replace(facts_of(running=MINE), reads_nothing=True))
    running = compute_commit_status(
        replace(facts_of(run=run_at(RunKind.ROLLOUT, Step.APPLY)), reads_nothing=True)
    )
    failed = compute_commit_status(replace(facts_of(run=FAILED), reads_nothing=True))
    through = compute_commit_status(
        replace(facts_of(running=OTHER), reads_nothing=True, same_bytes=True)
    )

    assert short(live) == (
        CommitState.LIVE,
        "the commit changes nothing that a stage reads; what it stands on is live",
        "",
    )
    assert not live.exact
    assert running.state is CommitState.RUNNING
    assert short(failed) == (
        CommitState.NOT_CONCERNED,
        "the commit changes nothing that a stage reads; before it: Deployment api crashes",
        "",
    )
    assert through.reason == "through a release that contains it or renders the same"


def _upstream(state: CommitState) -> CommitStatus:
    key = StageKey(KEY.application, StageName("staging"))
    return CommitStatus(key, state, MINE, reason="it broke", waiting_for="a fix")


@pytest.mark.parametrize(
    "before,state,reason,waiting_for",
    [
        (CommitState.FAILED, CommitState.FAILED, "it did not pass staging: it broke", "a fix"),
        (CommitState.ROLLED_BACK, CommitState.FAILED, "it did not pass staging: it broke", "a fix"),
        (CommitState.QUARANTINED, CommitState.FAILED, "it did not pass staging: it broke", "a fix"),
        (CommitState.SUPERSEDED, CommitState.SUPERSEDED, "staging: it broke", ""),
        (CommitState.LIVE, CommitState.WAITING, "it waits", "staging"),
        (CommitState.RUNNING, CommitState.WAITING, "it waits", "staging"),
    ],
)
def test_what_ended_upstream_does_not_come_here(
    before: CommitState, state: CommitState, reason: str, waiting_for: str
) -> None:
    """Who waits for production learns at once that staging was the end."""
    waits = CommitStatus(KEY, CommitState.WAITING, MINE, reason="it waits", waiting_for="staging")

    status = compute_after_upstream(waits, (_upstream(CommitState.LIVE), _upstream(before)))

    assert short(status) == (state, reason, waiting_for)


def test_one_stage_before_is_enough_where_the_file_says_so() -> None:
    """The commit has ended only when it has in all of them."""
    waits = CommitStatus(KEY, CommitState.WAITING, MINE, reason="it waits", waiting_for="staging")
    lost, open_ = _upstream(CommitState.FAILED), _upstream(CommitState.RUNNING)
    gone = _upstream(CommitState.SUPERSEDED)

    assert compute_after_upstream(waits, (lost, open_), any_of=True) == waits
    assert compute_after_upstream(waits, (lost, gone), any_of=True).state is CommitState.FAILED
    assert compute_after_upstream(waits, (lost, open_)).state is CommitState.FAILED


def test_what_a_group_took_back_says_why() -> None:
    """Nothing failed in this stage itself."""
    run = replace(_wrote("run-7", RunKind.ROLLOUT, 1), phase=Phase.SUCCEEDED)
    back = replace(_wrote("rb", RunKind.ROLLBACK, 2), phase=Phase.SUCCEEDED)
    given = replace(facts_of(run=run), rollback=back, stopped="r-7 failed in eu")
    status = compute_commit_status(given)

    assert (status.state, status.reason) == (CommitState.ROLLED_BACK, "r-7 failed in eu")


def _wrote(name: str, kind: RunKind, minute: int | None, *, mutated: bool = True) -> Run:
    at = NOON + timedelta(minutes=minute) if minute is not None else None
    return Run(RunId(name), KEY, MINE, kind, mutated=mutated, ended_at=at)


def test_the_rollback_that_came_right_after_is_found() -> None:
    """Only what wrote next counts: not runs that never wrote, not what came after a rollout."""
    rollback = _wrote("rb", RunKind.ROLLBACK, 2)
    again = _wrote("rb2", RunKind.ROLLBACK, None)
    fix = _wrote("fix", RunKind.ROLLOUT, 5)
    waiting = _wrote("waiting", RunKind.ROLLOUT, 1, mutated=False)
    sync = _wrote("sync", RunKind.SYNC, 1)

    assert find_rollback(()) is None
    assert find_rollback((fix, rollback, waiting, sync)) == rollback
    assert find_rollback((again, rollback)) == again
    assert find_rollback((_wrote("late", RunKind.ROLLBACK, 7), fix)) is None
    assert find_rollback((_wrote("running", RunKind.ROLLOUT, None), rollback)) == rollback
