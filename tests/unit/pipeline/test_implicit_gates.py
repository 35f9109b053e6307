"""The gates that stand without being configured."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.config import Promotion, PruneLimits, RewindPolicy, StageMode
from gitopsd.domain.gates import Closed, Decision, GateAnswer, Open, Refused
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import Line, OfferKind, ReleaseId, StageName
from gitopsd.domain.runs import Phase, Run, RunId, RunKind, Step
from gitopsd.domain.sources import RefName
from gitopsd.domain.stages import Condition, Freeze, Stage, Stall
from gitopsd.domain.verifications import Quarantine, StallReason
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.groups import GroupFacts, MemberFacts
from tests.support.people_facts import vote
from tests.support.runs import BYTES, KEY, NOON, run_at
from tests.unit.pipeline.test_gates import FACTS, RUN, answer

HOUR = timedelta(hours=1)
TAGGED = RefName("refs/tags/v*")
RESUME = "gitopsd resume shop production"
PROMOTE = "gitopsd promote shop production r-7"
ASKED = Open("a person asked for this release")


def at(stage: Stage) -> GateFacts:
    """Facts about a stage in this state."""
    return replace(FACTS, stage=stage)


def requested(facts: GateFacts) -> GateFacts:
    """The same facts when a person asked for this very release."""
    return replace(facts, stage=replace(facts.stage, requested=RUN.release))


def frozen(number: int, until: datetime | None = None, thawed_at: datetime | None = None) -> Freeze:
    """A freeze of everything."""
    return Freeze(f"f-{number}", "*", "maria", "holidays", NOON - HOUR, until, thawed_at)


@pytest.mark.parametrize(
    "front,given",
    [
        (
            run_at(RunKind.ROLLOUT, Step.VERIFY),
            Closed("run-6 (Rollout) is in Verify", "wait until it ends"),
        ),
        (
            run_at(RunKind.ROLLBACK, Phase.PENDING),
            Closed("run-6 (Rollback) is in Pending", "wait until it ends"),
        ),
        (run_at(RunKind.SYNC, Phase.SUCCEEDED), Open()),
    ],
)
def test_slot_waits_for_the_front_run(front: Run, given: GateAnswer) -> None:
    """A run that is under way holds the stage until it ends."""
    other = replace(front, id=RunId("run-6"))
    assert answer(replace(FACTS, front_run=other), "slot") == given


def test_slot_never_waits_for_the_run_itself() -> None:
    """A run in front is not in its own way."""
    assert answer(replace(FACTS, front_run=RUN), "slot") == Open()
    assert answer(at(replace(FACTS.stage, front=RUN.id)), "slot") == Open()


def test_slot_stays_closed_while_the_front_run_cannot_be_read() -> None:
    """A missing fact closes a gate."""
    given = at(replace(FACTS.stage, front=RunId("run-6")))
    assert answer(given, "slot") == Closed("run-6 holds the stage", "wait until it ends")


def test_freeze_waits_for_its_end() -> None:
    """It says who froze what and why, and which command ends it."""
    given = replace(FACTS, freezes=(frozen(1, NOON + HOUR),))
    assert answer(given, "freeze") == Closed(
        "* frozen by maria: holidays", "gitopsd thaw f-1", NOON + HOUR
    )


def test_several_freezes_end_with_the_last() -> None:
    """All have to be thawed; one without an end keeps the gate closed."""
    both = replace(FACTS, freezes=(frozen(1, NOON + 2 * HOUR), frozen(2, NOON + HOUR)))
    assert answer(both, "freeze") == Closed(
        "* frozen by maria: holidays; * frozen by maria: holidays",
        "gitopsd thaw f-1 and gitopsd thaw f-2",
        NOON + 2 * HOUR,
    )
    endless = answer(replace(FACTS, freezes=(frozen(1, NOON + HOUR), frozen(2))), "freeze")
    assert isinstance(endless, Closed)
    assert endless.until is None


@pytest.mark.parametrize("over", [frozen(1, NOON), frozen(1, thawed_at=NOON)])
def test_a_freeze_that_is_over_closes_nothing(over: Freeze) -> None:
    """At its end, or when it was thawed."""
    assert answer(replace(FACTS, freezes=(over,)), "freeze") == Open()
    still = answer(replace(FACTS, freezes=(over, frozen(2))), "freeze")
    assert still == Closed("* frozen by maria: holidays", "gitopsd thaw f-2")


def test_suspend_waits_for_resume() -> None:
    """It says who suspended and why."""
    given = at(replace(FACTS.stage, suspended=Condition("maria", "inventory", NOON)))
    assert answer(given, "suspend") == Closed("suspended by maria: inventory", RESUME)
    assert answer(FACTS, "suspend") == Open()


def test_hold_lets_only_the_requested_release_pass() -> None:
    """Nothing newer leaves its Gate until a person resumes."""
    given = at(replace(FACTS.stage, hold=Condition("maria", "rolled back", NOON)))
    assert answer(given, "hold") == Closed("held by maria: rolled back", RESUME)
    assert answer(requested(given), "hold") == ASKED
    other = at(replace(FACTS.stage, hold=Condition("maria", "", NOON), requested=ReleaseId("r-6")))
    assert isinstance(answer(other, "hold"), Closed)
    assert answer(FACTS, "hold") == Open()


@pytest.mark.parametrize(
    "reason,opener",
    [
        (StallReason.NO_TARGET, None),
        (StallReason.MANUAL, None),
        (StallReason.SAME_BYTES, None),
        (StallReason.DESTINATION_CHANGED, None),
        (StallReason.UNREACHABLE, None),
        (StallReason.ROLLBACK_FAILED, RESUME),
        (StallReason.ROLLBACK_LOOP, RESUME),
        (StallReason.CLUSTER_TROUBLE, RESUME),
        (StallReason.RESTORED_DATABASE, f"{RESUME} --keep-cluster, or --redeploy"),
        (StallReason.INVENTORY, RESUME.replace("resume", "adopt")),
    ],
)
def test_stall_closes_for_what_a_new_release_cannot_mend(
    reason: StallReason, opener: str | None
) -> None:
    """The fix of a release flows; trouble with the stage itself waits for a person."""
    given = at(replace(FACTS.stage, stall=Stall(reason, "look at it", NOON)))
    closed = Closed(f"stalled ({reason.value}): look at it", opener or "")
    assert answer(given, "stall") == (closed if opener else Open())
    assert answer(FACTS, "stall") == Open()


def test_upstream_stays_closed_until_all_before_have_verified() -> None:
    """Also when a verification is revoked while the run waits."""
    after = (StageName("eu"), StageName("us"))
    spec = replace(FACTS.spec, after=after)
    given = replace(FACTS, spec=spec, verified_upstream_at={"eu": NOON})
    assert answer(given, "upstream") == Closed(
        "not verified in us", "wait until it is verified in us"
    )
    neither = replace(given, verified_upstream_at={})
    assert answer(neither, "upstream") == Closed(
        "not verified in eu, us", "wait until it is verified in eu, us"
    )
    both = replace(given, verified_upstream_at={"eu": NOON, "us": NOON})
    assert answer(both, "upstream") == Open()


def test_upstream_opens_with_one_verification_where_any_will_do() -> None:
    """Until then it names all that could open it."""
    spec = replace(FACTS.spec, after=(StageName("eu"), StageName("us")), after_any=True)
    given = replace(FACTS, spec=spec)
    assert answer(given, "upstream") == Closed(
        "not verified in eu or us", "wait until it is verified in eu or us"
    )
    assert answer(replace(given, verified_upstream_at={"us": NOON}), "upstream") == Open()


def test_upstream_stays_closed_while_a_stage_that_is_followed_runs_something_else() -> None:
    """Unless a person asked for this very release."""
    spec = replace(FACTS.spec, after=(StageName("staging"),), promotion=Promotion.UPSTREAM)
    given = replace(FACTS, spec=spec, verified_upstream_at={"staging": NOON})
    assert answer(given, "upstream") == Closed(
        "it follows what staging runs now: staging runs nothing verified",
        f"wait until it runs there, or: {PROMOTE}",
    )
    assert answer(requested(given), "upstream") == Open()
    runs = replace(given, upstream_running={"staging": RUN.release})
    assert answer(runs, "upstream") == Open()


def test_group_closes_for_what_failed_too_often() -> None:
    """A stage without a group has none; one whose group is gone waits for its file."""
    assert answer(FACTS, "group") == Open()
    spec = replace(FACTS.spec, group="world")
    given = replace(FACTS, spec=spec)
    assert answer(given, "group") == Closed(
        "group world is not configured", "write it under groups, or remove group"
    )
    own = MemberFacts(KEY)
    group = GroupFacts(GroupSpec("world"), RUN.release, (own,))
    assert answer(replace(given, group=group), "group") == Open()
    failed = replace(own, run=run_at(RunKind.ROLLOUT, Phase.FAILED))
    stopped = answer(replace(given, group=replace(group, members=(failed,))), "group")
    assert isinstance(stopped, Closed)


def test_quarantine_closes_for_bytes_and_images() -> None:
    """What failed in the meantime is not let through."""
    bad = Digest("sha256:bad")
    held = Quarantine("q-1", KEY, BYTES, (bad,), ReleaseId("r-6"), "it crashes", NOON)
    closed = Closed("quarantined: it crashes", "gitopsd quarantine lift q-1")
    assert answer(replace(FACTS, quarantines=(held,)), "quarantine") == closed
    other = replace(held, rendered=Digest("sha256:x"))
    assert answer(replace(FACTS, quarantines=(other,)), "quarantine") == Open()
    by_image = replace(FACTS, quarantines=(other,), images=(bad,))
    assert answer(by_image, "quarantine") == closed


def test_rewind_waits_for_a_person_who_lets_it_through() -> None:
    """By asking for the release, or by having let this very rewind through."""
    offer = FACTS.offer
    assert offer is not None
    given = replace(FACTS, offer=replace(offer, kind=OfferKind.REWOUND))
    closed = Closed("its branch was force-pushed back to an older commit", PROMOTE)
    assert answer(given, "rewind") == closed
    assert answer(requested(given), "rewind") == ASKED
    tagged = replace(offer, kind=OfferKind.REWOUND, line=Line(KEY.application, TAGGED))
    assert answer(replace(given, offer=tagged), "rewind") == Closed(
        "a tag above it was deleted, or its tag was moved back to an older commit", PROMOTE
    )
    stage = replace(FACTS.stage, rewind_accepted=6)
    assert answer(replace(given, stage=stage), "rewind") == closed
    stage = replace(FACTS.stage, rewind_accepted=7)
    assert answer(replace(given, stage=stage), "rewind") == Open()
    assert answer(replace(given, rewind=RewindPolicy.FOLLOW), "rewind") == Open()


def test_rewind_also_stands_before_what_is_older_than_what_runs() -> None:
    """An offer that another overtook does not go back by itself."""
    closed = Closed("it is older than what the stage runs", PROMOTE)
    assert answer(replace(FACTS, running_offer=8), "rewind") == closed
    assert answer(replace(FACTS, running_offer=7), "rewind") == Open()
    assert answer(requested(replace(FACTS, running_offer=8)), "rewind") == ASKED


def test_rewind_stays_closed_for_what_nothing_offers() -> None:
    """A missing fact closes a gate; a person may still ask for the release."""
    given = replace(FACTS, offer=None)
    assert answer(given, "rewind") == Closed("no source offers this release any more", PROMOTE)
    assert answer(requested(given), "rewind") == ASKED


@pytest.mark.parametrize(
    "deletions,owned,large",
    [
        (0, 0, False),
        (1, 0, True),
        (1, 2, False),
        (2, 3, True),
        (20, 40, False),
        (21, 1000, True),
        (20, 39, True),
    ],
)
def test_prune_needs_a_vote_for_many_deletions(deletions: int, owned: int, large: bool) -> None:
    """More than 20 objects, or more than half of what is there."""
    given = replace(FACTS, deletions=deletions, owned=owned)
    reason = f"the plan deletes {deletions} of {owned} objects"
    closed = Closed(reason, "gitopsd approve run-7")
    assert answer(given, "prune") == (closed if large else Open())


def test_prune_limits_come_from_the_file() -> None:
    """Both can be moved."""
    spec = replace(FACTS.spec, prune_limits=PruneLimits(objects=2, share=1.0))
    assert answer(replace(FACTS, spec=spec, deletions=2, owned=2), "prune") == Open()
    three = replace(FACTS, spec=spec, deletions=3, owned=3)
    assert isinstance(answer(three, "prune"), Closed)


def test_prune_takes_anybodys_vote_for_this_plan() -> None:
    """One approval opens it, one rejection refuses it, other plans' votes do neither."""
    given = replace(FACTS, deletions=30, owned=30)
    assert answer(replace(given, votes=(vote("ben"),)), "prune") == Open("approved by ben")
    against = vote("maria", decision=Decision.REJECT)
    votes = (vote("ben"), against)
    assert answer(replace(given, votes=votes), "prune") == Refused("rejected by maria")
    for vain in (
        vote("ben", plan=Digest("sha256:before")),
        vote("ben", run=RunId("run-6")),
        vote("ben", void_at=NOON),
    ):
        assert isinstance(answer(replace(given, votes=(vain,)), "prune"), Closed)


def test_budget_bounds_the_rollouts_of_a_cluster() -> None:
    """The stage's own front Rollout makes room for its successor."""
    given = replace(FACTS, fronts_on_cluster=2, cluster_budget=2)
    closed = Closed("2 rollouts are under way on one, its budget is 2", "wait until one ends")
    assert answer(given, "budget") == closed
    assert answer(replace(given, fronts_on_cluster=1), "budget") == Open()
    own = run_at(RunKind.ROLLOUT, Step.APPLY)
    assert answer(replace(given, front_run=own), "budget") == Open()
    for other in (
        run_at(RunKind.ROLLOUT, Phase.SUCCEEDED),
        run_at(RunKind.ROLLBACK, Step.APPLY),
    ):
        assert answer(replace(given, front_run=other), "budget") == closed


def test_the_default_budget_is_ten() -> None:
    """Nine rollouts leave room for one more."""
    assert answer(replace(FACTS, fronts_on_cluster=9), "budget") == Open()
    assert isinstance(answer(replace(FACTS, fronts_on_cluster=10), "budget"), Closed)


def test_brake_holds_a_commit_that_failed_three_times() -> None:
    """The rest of it waits for a fix, or for a person who insists."""
    given = replace(FACTS, failed_with_commit=3)
    assert answer(given, "brake") == Closed(
        "aaaaaaaaaaaa failed 3 times in stages named production",
        f"push a fix, or: {PROMOTE}",
    )
    assert answer(requested(given), "brake") == ASKED
    assert answer(replace(given, failed_with_commit=2), "brake") == Open()


def test_observe_never_opens() -> None:
    """The stage only says what it would do."""
    spec = replace(FACTS.spec, mode=StageMode.OBSERVE)
    assert answer(requested(replace(FACTS, spec=spec)), "observe") == Closed(
        "the stage only observes", "set mode: apply in the application file"
    )
