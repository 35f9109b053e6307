"""What a failure restores, and when nothing is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import RollbackPolicy, StageSpec
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId, StageName
from gitopsd.domain.runs import Phase, RunId, RunKind, Step
from gitopsd.domain.stages import AppliedSet, Stage
from gitopsd.domain.verifications import (
    Destination,
    Quarantine,
    RestoreTarget,
    StallReason,
    Verification,
    VerificationId,
)
from gitopsd.pipeline.facts import RestoreFacts, WatchFacts
from gitopsd.pipeline.rollback import (
    RestoreRefusal,
    WatchDecision,
    choose_manual_target,
    choose_restore,
    decide_watch_failure,
    detect_cluster_trouble,
    detect_loop,
    is_same_place,
)
from tests.support.runs import KEY, NOON, run_at

HERE = Destination("one", "shop", ("a", "b"), "deployer")
SPEC = StageSpec(StageName("production"), "one", "overlays/production", "shop")
RUNNING = Digest("sha256:9")


def verified(number: int, place: Destination = HERE) -> Verification:
    """The verification with this sequence number."""
    return Verification(
        id=VerificationId(f"v-{number}"),
        stage=KEY,
        release=ReleaseId(f"r-{number}"),
        rendered=Digest(f"sha256:{number}"),
        destination=place,
        spec=number,
        recorded_at=NOON,
        sequence=number,
    )


def target(number: int) -> RestoreTarget:
    """The restore target that the verification makes."""
    return RestoreTarget(
        VerificationId(f"v-{number}"), ReleaseId(f"r-{number}"), Digest(f"sha256:{number}"), number
    )


def facts(*verifications: Verification) -> RestoreFacts:
    """A run with bytes of its own in a stage that verified these."""
    return RestoreFacts(RUNNING, HERE, verifications, (), SPEC)


def held(rendered: str, *images: str) -> Quarantine:
    """A quarantine in force."""
    digests = tuple(Digest(image) for image in images)
    return Quarantine("q-1", KEY, Digest(rendered), digests, ReleaseId("r-1"), "it crashes", NOON)


def test_the_newest_verification_is_restored() -> None:
    """By sequence, in whatever order and at whatever time they were recorded."""
    younger = replace(verified(2), recorded_at=NOON - timedelta(days=1))
    assert choose_restore(facts(verified(1), younger)) == target(2)
    assert choose_restore(facts(younger, verified(1))) == target(2)


def test_the_target_is_judged_by_the_file_it_was_verified_under() -> None:
    """It carries that revision, not the newest."""
    choice = choose_restore(facts(verified(3)))
    assert isinstance(choice, RestoreTarget)
    assert choice.spec == 3


def test_what_cannot_help_is_passed_over() -> None:
    """Revoked, quarantined, of other places, or of the same bytes: the next newest is taken."""
    given = facts(
        replace(verified(9), rendered=RUNNING),
        replace(verified(8), revoked_at=NOON),
        verified(7),
        verified(6),
        verified(5, replace(HERE, namespace="other")),
        verified(4),
    )
    given = replace(
        given,
        quarantines=(held("sha256:7", "sha256:bad"),),
        images_of={Digest("sha256:6"): (Digest("sha256:bad"),)},
    )
    assert choose_restore(given) == target(4)


def test_nothing_verified_means_no_target() -> None:
    """Nor does anything revoked or quarantined count."""
    assert choose_restore(facts()) is StallReason.NO_TARGET
    revoked = replace(verified(1), revoked_at=NOON)
    assert choose_restore(facts(revoked)) is StallReason.NO_TARGET
    quarantined = replace(facts(verified(1)), quarantines=(held("sha256:1"),))
    assert choose_restore(quarantined) is StallReason.NO_TARGET


def test_only_equal_bytes_cannot_be_restored() -> None:
    """Restoring what fails cannot help."""
    same = replace(verified(9), rendered=RUNNING)
    assert choose_restore(facts(same)) is StallReason.SAME_BYTES
    elsewhere = verified(5, replace(HERE, cluster="two"))
    assert choose_restore(facts(same, elsewhere)) is StallReason.SAME_BYTES


@pytest.mark.parametrize(
    "place",
    [
        replace(HERE, cluster="two"),
        replace(HERE, namespace="other"),
        replace(HERE, namespaces=("a",)),
        replace(HERE, service_account=""),
    ],
)
def test_only_other_places_cannot_be_restored(place: Destination) -> None:
    """A verification counts where it was made."""
    assert choose_restore(facts(verified(1, place))) is StallReason.DESTINATION_CHANGED
    same_elsewhere = replace(verified(9, place), rendered=RUNNING)
    assert choose_restore(facts(same_elsewhere)) is StallReason.DESTINATION_CHANGED
    assert not is_same_place(place, HERE)


def test_the_order_of_namespaces_does_not_move_a_stage() -> None:
    """They are a set."""
    turned = replace(HERE, namespaces=("b", "a"))
    assert is_same_place(turned, HERE)
    assert choose_restore(facts(verified(1, turned))) == target(1)


@pytest.mark.parametrize("policy", RollbackPolicy)
@pytest.mark.parametrize("stricter", [None, "automatic", "manual", "forbidden", "never"])
def test_policy_may_only_be_made_stricter(policy: RollbackPolicy, stricter: str | None) -> None:
    """A release asks for less than the file allows, never for more; unknown words ask for less."""
    spec = replace(SPEC, rollback_policy=policy)
    given = replace(facts(verified(1)), spec=spec, stricter=stricter)
    automatic = policy is RollbackPolicy.AUTOMATIC and stricter in (None, "automatic")
    assert choose_restore(given) == (target(1) if automatic else StallReason.MANUAL)


def test_an_inherited_target_goes_first_while_it_stands() -> None:
    """What the superseded run would have restored is older than the newest, and still chosen."""
    given = replace(facts(verified(3), verified(2)), inherited=target(2))
    assert choose_restore(given) == target(2)


@pytest.mark.parametrize(
    "changed",
    [
        replace(verified(2), revoked_at=NOON),
        replace(verified(2), rendered=RUNNING),
        verified(2, replace(HERE, cluster="two")),
        replace(verified(2), id=VerificationId("v-other")),
    ],
)
def test_an_inherited_target_that_fell_is_not_used(changed: Verification) -> None:
    """Revoked, of the run's own bytes, elsewhere, or not known any more."""
    given = replace(facts(verified(3), changed), inherited=target(2))
    assert choose_restore(given) == target(3)


# -------------------------------------------------------------------------- a person's choice


def test_a_person_goes_back_to_the_one_before() -> None:
    """Policy does not bind a person."""
    spec = replace(SPEC, rollback_policy=RollbackPolicy.FORBIDDEN)
    same = replace(verified(9), rendered=RUNNING)
    given = replace(facts(same, verified(2), verified(1)), spec=spec, stricter="manual")
    assert choose_manual_target(given) == target(2)
    assert choose_manual_target(replace(given, inherited=target(1))) == target(1)


def test_a_person_chooses_a_release() -> None:
    """Its newest verification here."""
    again = replace(verified(1), id=VerificationId("v-5"), sequence=5)
    given = facts(again, verified(2), verified(1))
    choice = choose_manual_target(given, ReleaseId("r-1"))
    assert choice == replace(target(1), verification=VerificationId("v-5"))


def test_a_person_is_told_when_there_is_nothing_to_go_back_to() -> None:
    """With the reason, and what to do instead."""
    assert choose_manual_target(facts()) == RestoreRefusal(
        "there is nothing else to go back to (NoTarget): no other set that was verified here can "
        "be restored; push a fix, or see what was tried: gitopsd history APPLICATION STAGE"
    )


_PROMOTE = "bring it anew with: gitopsd promote APPLICATION STAGE r-1"


@pytest.mark.parametrize(
    "given,message",
    [
        (
            facts(verified(2)),
            "was never verified here; choose one that was: gitopsd history APPLICATION STAGE",
        ),
        (
            replace(facts(verified(1)), quarantines=(held("sha256:1"),)),
            "is quarantined here: it crashes; let it in again with: gitopsd quarantine lift q-1",
        ),
        (
            facts(replace(verified(1), revoked_at=NOON)),
            f"was taken back after it was verified here; {_PROMOTE}",
        ),
        (
            facts(verified(1, replace(HERE, cluster="two"))),
            f"was verified where the stage wrote before; {_PROMOTE}",
        ),
    ],
)
def test_a_person_is_told_why_a_release_cannot_be_restored(
    given: RestoreFacts, message: str
) -> None:
    """Each obstacle has its own sentence."""
    assert choose_manual_target(given, ReleaseId("r-1")) == RestoreRefusal(f"r-1 {message}")


# -------------------------------------------------------------------------- the watch window

VERIFICATION = replace(verified(9), restore=target(1))
APPLIED = AppliedSet(ReleaseId("r-9"), RUNNING, RunId("run-1"), NOON)
WATCH = WatchFacts(
    now=NOON + timedelta(minutes=10),
    stage=Stage(KEY, applied=APPLIED),
    spec=replace(SPEC, watch=timedelta(minutes=10)),
    verification=VERIFICATION,
    restore=replace(facts(VERIFICATION, verified(2), verified(1)), inherited=target(1)),
)


def test_a_failure_in_the_watch_window_restores_what_its_run_stored() -> None:
    """The verification falls, the bytes are held, and the stored target comes back."""
    assert decide_watch_failure(WATCH) == WatchDecision(
        VerificationId("v-9"), True, target(1), None, "restoring r-1"
    )


def test_a_failure_after_the_watch_window_is_only_shown() -> None:
    """The last moment of the window still counts."""
    late = replace(WATCH, now=WATCH.now + timedelta(microseconds=1))
    assert decide_watch_failure(late) == WatchDecision(reason="the watch window is over")


@pytest.mark.parametrize(
    "given,reason",
    [
        (
            replace(WATCH, verification=replace(VERIFICATION, revoked_at=NOON)),
            "it was revoked before",
        ),
        (
            replace(WATCH, front_run=run_at(RunKind.SYNC, Step.APPLY)),
            "run-7 is under way and judges for itself",
        ),
        (replace(WATCH, stage=Stage(KEY)), "the stage runs something else by now"),
        (
            replace(
                WATCH,
                stage=Stage(KEY, applied=replace(APPLIED, rendered=Digest("sha256:8"))),
            ),
            "the stage runs something else by now",
        ),
    ],
)
def test_a_failure_of_something_else_changes_nothing(given: WatchFacts, reason: str) -> None:
    """What is judged elsewhere, or gone already, is left alone."""
    assert decide_watch_failure(given) == WatchDecision(reason=reason)


def test_an_ended_run_is_not_under_way() -> None:
    """It no longer judges."""
    ended = run_at(RunKind.SYNC, Phase.SUCCEEDED)
    assert decide_watch_failure(replace(WATCH, front_run=ended)).rollback == target(1)


def test_a_failure_without_a_target_calls_a_person() -> None:
    """The verification falls and the bytes are held all the same."""
    given = replace(WATCH, restore=facts(VERIFICATION))
    assert decide_watch_failure(given) == WatchDecision(
        VerificationId("v-9"), True, None, StallReason.SAME_BYTES, "SameBytes"
    )


def test_the_second_rollback_within_an_hour_is_a_loop() -> None:
    """It is carried out, and then newer releases wait for a person."""
    decision = decide_watch_failure(replace(WATCH, rollbacks_last_hour=1))
    assert decision.rollback == target(1)
    assert decision.stall is StallReason.ROLLBACK_LOOP
    assert [detect_loop(count) for count in (0, 1, 2, 3)] == [False, False, True, True]


def test_three_stages_at_once_are_the_clusters_trouble() -> None:
    """None is rolled back or held: one person is called."""
    assert decide_watch_failure(replace(WATCH, cluster_rollbacks=2)).rollback == target(1)
    assert decide_watch_failure(replace(WATCH, cluster_rollbacks=3)) == WatchDecision(
        None,
        False,
        None,
        StallReason.CLUSTER_TROUBLE,
        "3 stages on this cluster fail at the same time",
    )
    troubled = [detect_cluster_trouble(count) for count in (1, 2, 3, 4)]
    assert troubled == [False, False, True, True]
