"""What a failure restores, when nothing is, and when rolling back itself is the trouble."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gitopsd.domain.config import RollbackPolicy
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.verifications import (
    Destination,
    Quarantine,
    RestoreTarget,
    StallReason,
    Verification,
    VerificationId,
)
from gitopsd.pipeline.facts import RestoreFacts, WatchFacts
from gitopsd.pipeline.quarantine import is_quarantined

LOOP_LIMIT = 2
"""Automatic rollbacks of one stage within an hour that make a loop."""

CLUSTER_TROUBLE_LIMIT = 3
"""Watch-window rollbacks on one cluster within 10 minutes that say the cluster is the trouble."""


@dataclass(frozen=True, slots=True)
class WatchDecision:
    """What a definite failure in the watch window leads to.

    Attributes:
        revoke: Verification that is no restore target any more; None when none is revoked.
        quarantine: Whether the bytes that failed are quarantined, so that they are not taken again.
        rollback: What to restore; None when nothing is.
        stall: Why a person is called; None when nobody is.
        reason: Why, in one clause.
    """

    revoke: VerificationId | None = None
    quarantine: bool = False
    rollback: RestoreTarget | None = None
    stall: StallReason | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RestoreRefusal:
    """Why a person's choice cannot be restored, in one sentence with what to do instead."""

    message: str


def choose_restore(facts: RestoreFacts) -> RestoreTarget | StallReason:
    """Choose what a failure of the run will restore, or say why nothing is.

    The newest verification whose bytes differ from the run's, whose destination is the stage's,
    and that is neither revoked nor quarantined. What a superseded run had stored goes first while
    it is all that still.
    """
    if _strictest(facts) is not RollbackPolicy.AUTOMATIC:
        return StallReason.MANUAL
    candidates = _candidates(facts)
    if not candidates:
        return StallReason.NO_TARGET
    here = [item for item in candidates if is_same_place(item.destination, facts.destination)]
    if not here:
        return StallReason.DESTINATION_CHANGED
    useful = [item for item in here if item.rendered != facts.rendered]
    if not useful:
        return StallReason.SAME_BYTES
    inherited = facts.inherited
    if inherited is not None and any(item.id == inherited.verification for item in useful):
        return inherited
    return _target(useful[0])


def choose_manual_target(
    facts: RestoreFacts, wanted: ReleaseId | None = None, where: str = "APPLICATION STAGE"
) -> RestoreTarget | RestoreRefusal:
    """Choose what a person's rollback restores; policy does not bind a person.

    Args:
        facts: As for `choose_restore`; ``rendered`` is what the stage runs now.
        wanted: Release to go back to; None for the one before.
        where: Application and stage as they are typed, for the commands that a refusal names.
    """
    here = [
        item for item in _candidates(facts) if is_same_place(item.destination, facts.destination)
    ]
    if wanted is not None:
        chosen = next((item for item in here if item.release == wanted), None)
        if chosen is not None:
            return _target(chosen)
        return RestoreRefusal(_why_not(facts, wanted, where))
    automatic = replace(facts.spec, rollback_policy=RollbackPolicy.AUTOMATIC)
    choice = choose_restore(replace(facts, spec=automatic, stricter=None))
    if isinstance(choice, RestoreTarget):
        return choice
    return RestoreRefusal(
        f"there is nothing else to go back to ({choice.value}): no other set that was verified "
        f"here can be restored; push a fix, or see what was tried: gitopsd history {where}"
    )


def decide_watch_failure(facts: WatchFacts) -> WatchDecision:
    """Decide what a definite failure of a stage that was verified leads to.

    Within the watch window it revokes the verification, quarantines the bytes and restores the
    target stored with their run. When several stages of one cluster fail together the cluster is
    the likelier cause: nothing is restored, and one person is called.
    """
    verification = facts.verification
    if verification.revoked_at is not None:
        return WatchDecision(reason="it was revoked before")
    if facts.front_run is not None and facts.front_run.live:
        return WatchDecision(reason=f"{facts.front_run.id} is under way and judges for itself")
    applied = facts.stage.applied
    if applied is None or applied.rendered != verification.rendered:
        return WatchDecision(reason="the stage runs something else by now")
    if facts.now > verification.recorded_at + facts.spec.watch:
        return WatchDecision(reason="the watch window is over")
    if detect_cluster_trouble(facts.cluster_rollbacks):
        return WatchDecision(
            stall=StallReason.CLUSTER_TROUBLE,
            reason=f"{facts.cluster_rollbacks} stages on this cluster fail at the same time",
        )
    choice = choose_restore(facts.restore)
    if isinstance(choice, StallReason):
        return WatchDecision(
            revoke=verification.id, quarantine=True, stall=choice, reason=choice.value
        )
    loops = detect_loop(facts.rollbacks_last_hour + 1)
    return WatchDecision(
        revoke=verification.id,
        quarantine=True,
        rollback=choice,
        stall=StallReason.ROLLBACK_LOOP if loops else None,
        reason=f"restoring {choice.release}",
    )


def detect_loop(rollbacks_in_last_hour: int) -> bool:
    """Tell whether a stage goes back and forth.

    Args:
        rollbacks_in_last_hour: Automatic rollbacks of the stage, the one that starts now included;
            a further attempt of one that ended Errored is the same rollback.
    """
    return rollbacks_in_last_hour >= LOOP_LIMIT


def detect_cluster_trouble(rollbacks_in_ten_minutes: int) -> bool:
    """Tell whether the cluster, not a release, is the likely cause.

    Args:
        rollbacks_in_ten_minutes: Watch-window rollbacks that wanted to start on the cluster within
            the last 10 minutes, the present one included.
    """
    return rollbacks_in_ten_minutes >= CLUSTER_TROUBLE_LIMIT


def is_same_place(one: Destination, other: Destination) -> bool:
    """Tell whether two destinations are the same; the order of further namespaces means nothing."""
    if one == other:
        return True
    return set(one.namespaces) == set(other.namespaces) and one == replace(
        other, namespaces=one.namespaces
    )


def _strictest(facts: RestoreFacts) -> RollbackPolicy:
    """The stricter of configuration and annotation; a word nobody knows counts as manual."""
    asked = RollbackPolicy.AUTOMATIC
    if facts.stricter is not None:
        known = {policy.value: policy for policy in RollbackPolicy}
        asked = known.get(facts.stricter, RollbackPolicy.MANUAL)
    order = list(RollbackPolicy)
    return max(asked, facts.spec.rollback_policy, key=order.index)


def _candidates(facts: RestoreFacts) -> list[Verification]:
    """What may be restored at all, newest first."""
    standing = (item for item in facts.verifications if item.revoked_at is None)
    clean = (item for item in standing if not _is_held(item, facts))
    return sorted(clean, key=lambda item: item.sequence, reverse=True)


def _is_held(item: Verification, facts: RestoreFacts) -> bool:
    return _find_quarantine(item, facts) is not None


def _find_quarantine(item: Verification, facts: RestoreFacts) -> Quarantine | None:
    images = facts.images_of.get(item.rendered, ())
    return is_quarantined(item.rendered, images, facts.quarantines)


def _target(item: Verification) -> RestoreTarget:
    return RestoreTarget(item.id, item.release, item.rendered, item.spec)


def _why_not(facts: RestoreFacts, wanted: ReleaseId, where: str) -> str:
    known = [item for item in facts.verifications if item.release == wanted]
    if not known:
        return f"{wanted} was never verified here; choose one that was: gitopsd history {where}"
    held = [_find_quarantine(item, facts) for item in known]
    if held[0] is not None and None not in held:
        lift = f"let it in again with: gitopsd quarantine lift {held[0].id}"
        return f"{wanted} is quarantined here: {held[0].reason}; {lift}"
    anew = f"bring it anew with: gitopsd promote {where} {wanted}"
    if all(item.revoked_at is not None for item in known):
        return f"{wanted} was taken back after it was verified here; {anew}"
    return f"{wanted} was verified where the stage wrote before; {anew}"
