"""Which release a stage takes next, and when it takes over."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.config import Promotion, StageSpec
from gitopsd.domain.gates import Decision, Vote
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import Line, Offer, OfferKind, ReleaseId, StageName
from gitopsd.domain.runs import (
    HOOK_OUTCOME_UNKNOWN,
    AbortReason,
    Failure,
    Phase,
    Run,
    RunId,
    RunKind,
    Step,
)
from gitopsd.domain.sources import RefName
from gitopsd.domain.stages import Condition, Stage, StageRendering
from gitopsd.domain.verifications import Quarantine
from gitopsd.pipeline.facts import SelectionFacts
from gitopsd.pipeline.selection import (
    Selection,
    find_obstacle,
    may_admit,
    select,
)
from tests.support.runs import KEY, NOON, run_at

A, B, C, D = (ReleaseId(f"r-{letter}") for letter in "abcd")
LINE = Line(KEY.application, RefName("refs/heads/main"))
STAGING = StageName("staging")
SPEC = StageSpec(StageName("production"), "one", "overlays/production", "shop")
STAGE = Stage(KEY)
MINUTE = timedelta(minutes=1)
PLAN = Digest("sha256:plan")


def offers(*releases: ReleaseId) -> tuple[Offer, ...]:
    """These releases were offered in this order; facts have the newest first."""
    made = [Offer(number, LINE, release, NOON) for number, release in enumerate(releases, 1)]
    return tuple(reversed(made))


def facts(*releases: ReleaseId, stage: Stage = STAGE) -> SelectionFacts:
    """A stage that these releases were offered to."""
    return SelectionFacts(NOON, stage, SPEC, offers=offers(*releases))


def rollout(
    release: ReleaseId, step: Step = Step.GATE, phase: Phase = Phase.RUNNING, why: str = ""
) -> Run:
    """A Rollout of a release."""
    run = replace(run_at(RunKind.ROLLOUT, step), release=release, phase=phase)
    failure = Failure(why, why) if why else None
    ended_at = None if run.live else NOON - MINUTE
    return replace(run, id=RunId(f"run-{release}"), failure=failure, ended_at=ended_at)


def rendering(release: ReleaseId, rendered: str, *images: str) -> StageRendering:
    """What a release rendered to."""
    return StageRendering(
        KEY, release, Digest(rendered), images=tuple(Digest(image) for image in images)
    )


def held(rendered: str, *images: str) -> Quarantine:
    """A quarantine in force."""
    digests = tuple(Digest(image) for image in images)
    return Quarantine("q-1", KEY, Digest(rendered), digests, A, "it crashes", NOON)


def vote(plan: Digest = PLAN, void_at: datetime | None = None) -> Vote:
    """A vote for the run in *next*."""
    return Vote("vote-1", RunId("run-r-a"), plan, "maria", (), Decision.APPROVE, "", NOON, void_at)


def condition(reason: str) -> Condition:
    """Something that maria set on the stage."""
    return Condition("maria", reason, NOON)


def test_the_newest_offer_is_taken() -> None:
    """The order is that of the last offers, whatever the releases' names or dates."""
    assert select(facts(A, C, B)) == Selection(B, reason="r-b is the newest")


def test_nothing_offered_means_nothing_to_do() -> None:
    """An empty line gives nothing."""
    assert select(facts()) == Selection(reason="nothing is offered that may go here")


def test_a_rewind_offers_an_old_release_anew() -> None:
    """Its last offer is the newest of all, so it is taken though a newer commit runs."""
    rewound = Offer(9, LINE, A, NOON, OfferKind.REWOUND)
    given = replace(facts(A, B), running=B, running_rendered=Digest("b"))
    given = replace(given, offers=(rewound, *offers(B)))
    assert select(given).release == A


def test_what_was_known_when_a_person_kept_the_cluster_is_not_brought() -> None:
    """Something newer is, and so is what a person asks for."""
    kept = replace(STAGE, kept_offer=2)
    assert select(facts(A, B, stage=kept)).release is None
    assert select(facts(A, B, C, stage=kept)).release == C
    assert select(facts(A, B, stage=replace(kept, requested=A))).release == A


def test_the_search_ends_at_what_the_stage_runs() -> None:
    """Nothing older than what runs is taken, though it was never tried."""
    given = replace(facts(A, B), running=B, running_rendered=Digest("b"))
    assert select(given) == Selection(reason="r-b is what the stage runs")


def test_equal_bytes_count_as_running() -> None:
    """A release that is known to render to what runs verified changes nothing."""
    given = replace(facts(A, B, C), running=A, running_rendered=Digest("a"))
    given = replace(given, renderings={C: rendering(C, "a"), B: rendering(B, "b")})
    assert select(given) == Selection(reason="r-c is what the stage runs")


def test_other_bytes_do_not_count_as_running() -> None:
    """Nor does a rendering when nothing is verified."""
    known = {C: rendering(C, "c")}
    given = replace(facts(A, C), running=A, running_rendered=Digest("a"), renderings=known)
    assert select(given).release == C
    assert select(replace(given, running=None, running_rendered=Digest("c"))).release == C


def test_what_is_on_its_way_is_not_taken_twice() -> None:
    """The front run, or the run in *next*, brings the newest release already."""
    in_front = replace(facts(A, B), front_run=rollout(B, Step.APPLY))
    assert select(in_front) == Selection(reason="r-b is being brought")
    waiting = replace(facts(A, B), next_run=rollout(B))
    assert select(waiting) == Selection(reason="r-b is next already")


@pytest.mark.parametrize(
    "front",
    [
        rollout(B, Step.CERTIFY, Phase.FAILED),
        replace(run_at(RunKind.ROLLBACK, Step.APPLY), release=B),
        replace(run_at(RunKind.SYNC, Step.APPLY), release=B),
    ],
)
def test_only_a_live_rollout_brings_a_release(front: Run) -> None:
    """A run that ended, a Rollback or a Sync does not bring it."""
    assert select(replace(facts(A, B), front_run=front)).release == B
    assert select(replace(facts(A, B), next_run=front)).release == B


def test_a_release_that_is_not_verified_upstream_is_passed_over() -> None:
    """Every stage before must have verified it; the newest that passed is taken."""
    spec = replace(SPEC, after=(StageName("eu"), StageName("us")))
    given = replace(
        facts(A, B, C), spec=spec, upstream={"eu": frozenset({A, C}), "us": frozenset({A, B})}
    )
    assert select(given) == Selection(
        A,
        reason="r-a is the newest",
        skipped=((C, "not verified in us"), (B, "not verified in eu")),
    )
    assert select(replace(given, upstream={})).skipped[0] == (C, "not verified in eu, us")


def test_quarantined_releases_are_passed_over() -> None:
    """By their bytes, by images in what they rendered to, or by images they carry."""
    given = replace(
        facts(A, B, C, D),
        renderings={D: rendering(D, "d"), C: rendering(C, "c", "sha256:bad")},
        release_images={B: (Digest("sha256:bad"),)},
        quarantines=(held("d", "sha256:bad"),),
    )
    why = "quarantined here (q-1): it crashes"
    assert select(given) == Selection(
        A, reason="r-a is the newest", skipped=((D, why), (C, why), (B, why))
    )


def test_the_last_run_knows_the_bytes_too() -> None:
    """Without a stored rendering, what the last run rendered is held against the quarantines."""
    failed = replace(rollout(B, Step.VERIFY, Phase.FAILED), rendered=Digest("b"))
    given = replace(facts(A, B), last_runs={B: failed}, quarantines=(held("b"),))
    assert select(given).release == A
    assert select(replace(given, renderings={B: rendering(B, "other")})).release == B


def test_a_lifted_quarantine_makes_a_failed_release_eligible_again() -> None:
    """Only what is in force holds a release back."""
    failed = rollout(B, Step.VERIFY, Phase.FAILED, "CrashLoopBackOff")
    assert select(replace(facts(A, B), last_runs={B: failed})).release == B


def test_a_release_that_failed_without_bytes_is_not_tried_for_ever() -> None:
    """There is nothing to quarantine, so its last run itself holds it back."""
    failed = replace(rollout(B, Step.RENDER, Phase.FAILED, "Invalid"), rendered=None)
    given = replace(facts(A, B), last_runs={B: failed})
    assert select(given).skipped == (
        (B, "its last run run-r-b failed before there were bytes to quarantine"),
    )


@pytest.mark.parametrize(
    "reason,eligible",
    [
        (AbortReason.REJECTED, False),
        (AbortReason.EXPIRED, False),
        (AbortReason.OVERDUE, True),
        (AbortReason.REQUESTED, False),
        (AbortReason.SUPERSEDED, True),
        (AbortReason.QUARANTINED, True),
        (AbortReason.STAGE_REMOVED, True),
        (AbortReason.REDIRECTED, True),
    ],
)
def test_what_people_ended_is_not_taken_again_by_itself(
    reason: AbortReason, eligible: bool
) -> None:
    """Rejected, expired and aborted releases stay out; superseded ones are eligible again."""
    ended = rollout(B, Step.GATE, Phase.ABORTED, reason.value)
    choice = select(replace(facts(A, B), last_runs={B: ended}))
    assert choice.release == (B if eligible else A)
    why = f"its last run run-r-b ended Aborted ({reason.value})"
    assert choice.skipped == (() if eligible else ((B, why),))


def test_only_an_abort_counts_as_ended_by_people() -> None:
    """A failure that happens to carry such a word does not hold a release back."""
    odd = rollout(B, Step.VERIFY, Phase.FAILED, "Rejected")
    nameless = rollout(B, Step.GATE, Phase.ABORTED)
    for last in (odd, nameless):
        assert select(replace(facts(A, B), last_runs={B: last})).release == B


def test_a_person_who_asks_overrides_what_people_ended() -> None:
    """What was rejected, or failed without bytes, goes again when it is asked for."""
    stage = replace(STAGE, requested=A)
    rejected = rollout(A, Step.GATE, Phase.ABORTED, "Rejected")
    given = replace(facts(A, B, stage=stage), last_runs={A: rejected})
    assert select(given).release == A
    failed = replace(rollout(A, Step.RENDER, Phase.FAILED), rendered=None)
    assert select(replace(given, last_runs={A: failed})).release == A


@pytest.mark.parametrize("attempt,minutes", [(1, 1), (2, 2), (3, 5), (4, 10), (9, 10)])
def test_an_errored_release_waits_and_nothing_older_is_taken(attempt: int, minutes: int) -> None:
    """The same release is tried again after 1, 2, 5, then every 10 minutes."""
    errored = replace(rollout(B, Step.RENDER, Phase.ERRORED), attempt_number=attempt)
    given = replace(facts(A, B), last_runs={B: errored})
    again = NOON + (minutes - 1) * MINUTE
    early = replace(given, now=again - timedelta(microseconds=1))
    assert select(early) == Selection(reason="r-b is tried again later", not_before=again)
    assert select(replace(given, now=again)).release == B


def test_a_release_whose_hook_nobody_knows_the_end_of_waits_for_a_person() -> None:
    """It is not tried again by itself; a person who asks has found out."""
    unknown = rollout(B, Step.PREPARE, Phase.ERRORED, HOOK_OUTCOME_UNKNOWN)
    given = replace(facts(A, B), last_runs={B: unknown})
    chosen = select(given)
    assert chosen.release != B
    assert chosen.skipped == ((B, f"nobody knows what a hook of its last run {unknown.id} did"),)
    assert select(replace(given, stage=replace(STAGE, requested=B))).release == B


def test_only_an_errored_run_makes_a_release_wait() -> None:
    """A superseded release, or an errored one whose end is unknown, goes at once."""
    early = replace(facts(A, B), now=NOON - MINUTE)
    superseded = rollout(B, Step.GATE, Phase.ABORTED, "Superseded")
    unknown = replace(rollout(B, Step.RENDER, Phase.ERRORED), ended_at=None)
    for last in (superseded, unknown):
        assert select(replace(early, last_runs={B: last})).release == B


def test_skipped_releases_are_named_with_every_answer() -> None:
    """Whatever the search ends with, the newer ones it passed over are listed."""
    rejected = rollout(C, Step.GATE, Phase.ABORTED, "Rejected")
    skipped = ((C, "its last run run-r-c ended Aborted (Rejected)"),)
    base = replace(facts(A, B, C), last_runs={C: rejected})
    errored = rollout(B, Step.RENDER, Phase.ERRORED)
    for given in (
        replace(base, running=B),
        replace(base, front_run=rollout(B, Step.APPLY)),
        replace(base, next_run=rollout(B)),
        replace(base, now=NOON - MINUTE, last_runs={C: rejected, B: errored}),
        replace(base, next_run=rollout(A), next_votes=(vote(),)),
        replace(base, next_run=rollout(A)),
        replace(base, last_runs={C: rejected}, offers=offers(C)),
    ):
        assert select(given).skipped == skipped


def test_an_older_release_in_next_is_superseded() -> None:
    """The newer one takes its place."""
    given = replace(facts(A, B), next_run=rollout(A))
    assert select(given) == Selection(B, supersede_next=True, reason="r-b is newer than r-a")


def test_a_run_in_next_that_ended_is_nothing_to_supersede() -> None:
    """The slot is as good as free."""
    given = replace(facts(A, B), next_run=rollout(A, Step.GATE, Phase.ABORTED))
    assert select(given) == Selection(B, reason="r-b is the newest")


def test_a_standing_vote_keeps_what_is_next() -> None:
    """A vote for its present plan keeps the run; one for an older plan or a void one does not."""
    given = replace(facts(A, B), next_run=rollout(A))
    kept = select(replace(given, next_votes=(vote(),)))
    assert kept == Selection(reason="a vote has been given for r-a")
    for vain in (vote(plan=Digest("sha256:before")), vote(void_at=NOON)):
        assert select(replace(given, next_votes=(vain,))).supersede_next


@pytest.mark.parametrize(
    "stage,spec,reason",
    [
        (STAGE, None, "shop/production is not configured any more"),
        (
            replace(STAGE, retired_at=NOON),
            SPEC,
            "shop/production is not configured any more",
        ),
        (
            replace(STAGE, suspended=condition("inventory")),
            SPEC,
            "suspended by maria: inventory",
        ),
    ],
)
def test_a_stage_that_takes_nothing_says_why(
    stage: Stage, spec: StageSpec | None, reason: str
) -> None:
    """Nothing is selected for a stage that left the configuration, or is suspended."""
    given = replace(facts(A, stage=stage), spec=spec)
    assert select(given) == Selection(reason=reason)
    assert not may_admit(given, A)
    assert may_admit(facts(A), A)


def test_a_release_with_an_obstacle_is_not_admitted() -> None:
    """What selection passes over is not let in by another way."""
    given = replace(facts(A), renderings={A: rendering(A, "a")}, quarantines=(held("a"),))
    assert find_obstacle(given, A) == "quarantined here (q-1): it crashes"
    assert not may_admit(given, A)
    unconfigured = replace(facts(A), spec=None)
    assert find_obstacle(unconfigured, A) == ""


GONE = "shop/production is not configured any more"
HELD = "quarantined here (q-1): it crashes"


@pytest.mark.parametrize(
    "given,choice",
    [
        (replace(facts(A), spec=None), Selection(reason=GONE, end_next=AbortReason.STAGE_REMOVED)),
        (
            facts(A, stage=replace(STAGE, retired_at=NOON)),
            Selection(reason=GONE, end_next=AbortReason.STAGE_REMOVED),
        ),
        (
            replace(facts(A), renderings={A: rendering(A, "a")}, quarantines=(held("a"),)),
            Selection(reason=HELD, end_next=AbortReason.QUARANTINED),
        ),
        (
            replace(
                facts(A, B, stage=replace(STAGE, suspended=condition("inventory"))),
                renderings={A: rendering(A, "a")},
                quarantines=(held("a"),),
                next_votes=(vote(),),
            ),
            Selection(reason=HELD, end_next=AbortReason.QUARANTINED),
        ),
    ],
)
def test_a_run_in_next_that_may_not_stay_ends_first(
    given: SelectionFacts, choice: Selection
) -> None:
    """A removed stage, or bytes that were held meanwhile, end what waits, voted for or not."""
    assert select(replace(given, next_run=rollout(A))) == choice
    ended = rollout(A, Step.GATE, Phase.ABORTED)
    assert select(replace(given, next_run=ended)).end_next is None
    assert select(given).end_next is None


def test_a_suspended_stage_keeps_what_is_next() -> None:
    """It waits at its Gate; nothing is wrong with it."""
    given = facts(A, stage=replace(STAGE, suspended=condition("inventory")))
    choice = select(replace(given, next_run=rollout(A)))
    assert choice == Selection(reason="suspended by maria: inventory")


def test_a_stage_that_follows_another_takes_what_that_runs() -> None:
    """Not the newest that was verified there, unless a person asks for it."""
    spec = replace(SPEC, after=(STAGING,), promotion=Promotion.UPSTREAM)
    verified = {"staging": frozenset({A, B})}
    given = replace(facts(A, B), spec=spec, upstream=verified, upstream_running={"staging": A})
    choice = select(given)
    assert choice.release == A
    assert choice.skipped == ((B, "it follows what staging runs now: staging runs r-a"),)
    asked = replace(given, stage=replace(STAGE, requested=B))
    assert select(asked).release == B
    between = replace(given, upstream_running={"staging": None})
    assert select(between).release is None


def test_what_a_group_took_back_does_not_come_again() -> None:
    """Until the group lets it go on, or a person asks for it."""
    given = replace(facts(A, B), stopped={B: "r-b failed in eu"})
    choice = select(given)
    assert (choice.release, choice.skipped) == (A, ((B, "r-b failed in eu"),))
    assert select(replace(given, stage=replace(STAGE, requested=B))).release == B
    assert select(replace(given, stopped={})).release == B
