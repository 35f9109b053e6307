"""Which release a stage takes next, and when it takes over from the one that is out.

Level-triggered: `select` reads everything anew each time, so a hint that was lost, or came twice,
changes nothing. The order of releases is the order of their last offers, never a date.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from datetime import datetime

from gitopsd.domain.config import Promotion
from gitopsd.domain.gates import GateState, Open
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import HOOK_OUTCOME_UNKNOWN, AbortReason, Phase, Run, RunKind, Step
from gitopsd.domain.stages import Stage
from gitopsd.domain.verifications import Quarantine
from gitopsd.pipeline.facts import SelectionFacts
from gitopsd.pipeline.lockouts import is_locked_out
from gitopsd.pipeline.promotion import missing_upstream, name_missing, not_running
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.pipeline.steps import retry_delay

PROTECTED_AFTER = 2
"""Rollouts in a row superseded in WaitHealthy, after which the next is protected there."""

_ENDED_BY_PEOPLE = frozenset(
    reason.value for reason in (AbortReason.REJECTED, AbortReason.EXPIRED, AbortReason.REQUESTED)
)


@dataclass(frozen=True, slots=True)
class Selection:
    """What *next* should hold.

    Attributes:
        release: Release to create a Rollout for; None when there is nothing to do.
        reason: Why, in one clause.
        supersede_next: The run in *next* brings an older release and ends first.
        not_before: When to select again at the latest; None when nothing waits for time.
        skipped: Newer releases that may not be taken, each with the reason.
        end_next: The run in *next* may not stay and ends first, for this reason; then nothing is
            chosen, and ``reason`` says what is the matter with it. None when it may stay.
    """

    release: ReleaseId | None = None
    _: KW_ONLY
    reason: str
    supersede_next: bool = False
    not_before: datetime | None = None
    skipped: tuple[tuple[ReleaseId, str], ...] = ()
    end_next: AbortReason | None = None


@dataclass(frozen=True, slots=True)
class Handover:
    """Whether the run in *next* takes over from the one in *front*.

    Attributes:
        now: Whether Superseded is to be sent to the front run now.
        protected: Whether the front run may only be superseded in WaitHealthy while it fails.
        reason: Why, in one clause.
    """

    now: bool
    protected: bool
    reason: str


def select(facts: SelectionFacts) -> Selection:
    """Pick the release that the stage takes next.

    The newest offer that may go here wins. The search ends at what the stage runs, at what is on
    its way already, and at a release that only waits for its next attempt: nothing older is
    taken instead of these. A release that a person asked for comes before all offers.
    """
    closed, waiting = _closed(facts), facts.next_run
    if waiting is not None and waiting.live:
        held = _quarantine_of(facts, waiting.release)
        if _is_gone(facts):
            return Selection(reason=closed, end_next=AbortReason.STAGE_REMOVED)
        if held is not None:
            return Selection(reason=_say_held(held), end_next=AbortReason.QUARANTINED)
    if closed:
        return Selection(reason=closed)
    skipped: list[tuple[ReleaseId, str]] = []
    for release in _candidates(facts):
        settled = _settled(facts, release)
        if settled:
            return Selection(reason=settled, skipped=tuple(skipped))
        obstacle = find_obstacle(facts, release)
        if not obstacle:
            return _take(facts, release, tuple(skipped))
        skipped.append((release, obstacle))
    return Selection(reason="nothing is offered that may go here", skipped=tuple(skipped))


def may_admit(facts: SelectionFacts, release: ReleaseId) -> bool:
    """Tell whether a release may begin a Rollout here; read again when it is admitted."""
    return not _closed(facts) and not find_obstacle(facts, release)


def find_obstacle(facts: SelectionFacts, release: ReleaseId) -> str:
    """Say why a release may not be taken here, whatever else is offered; empty when it may."""
    spec = facts.spec
    missing = missing_upstream(spec, release, facts.upstream) if spec is not None else ()
    if spec is not None and missing:
        return f"not verified in {name_missing(spec, missing)}"
    quarantine = _quarantine_of(facts, release)
    if quarantine is not None:
        return _say_held(quarantine)
    if facts.stage.requested == release:
        return ""
    last = facts.last_runs.get(release)
    return find_unwanted(facts, release) or (_find_ended(last) if last is not None else "")


def list_candidates(facts: SelectionFacts) -> tuple[tuple[ReleaseId, str], ...]:
    """List what could be brought, in the order in which it would be, each with its obstacle.

    Without what is being brought already, and without anything older than what the stage runs.
    """
    closed, found = _closed(facts), []
    for release in _candidates(facts):
        if _brings(facts.front_run, release) or _brings(facts.next_run, release):
            continue
        if _settled(facts, release):
            break
        found.append((release, closed or find_obstacle(facts, release)))
    return tuple(found)


def find_unwanted(facts: SelectionFacts, release: ReleaseId) -> str:
    """Say why a release does not come by itself; empty when it may."""
    spec = facts.spec
    if spec is not None and spec.promotion is Promotion.MANUAL:
        key = facts.stage.key
        return f"a person names each: gitopsd promote {key.application} {key.stage} {release}"
    elsewhere = not_running(spec, release, facts.upstream_running) if spec is not None else ""
    return elsewhere or facts.stopped.get(release, "")


def _find_ended(last: Run) -> str:
    """Say why a release is not tried again after its last run here; empty when it is."""
    why = last.failure.reason if last.failure is not None else ""
    if last.phase is Phase.ABORTED and why in _ENDED_BY_PEOPLE:
        return f"its last run {last.id} ended Aborted ({why})"
    if last.phase is Phase.ERRORED and why == HOOK_OUTCOME_UNKNOWN:
        return f"nobody knows what a hook of its last run {last.id} did"
    if last.phase is Phase.FAILED and last.rendered is None:
        return f"its last run {last.id} failed before there were bytes to quarantine"
    return ""


def compute_handover(
    front: Run | None,
    next_run: Run,
    gates: tuple[GateState, ...],
    stage: Stage,
    failing: bool,  # noqa: FBT001 - one fact of five, all named at the call
    *,
    moved: bool = False,
) -> Handover:
    """Decide whether *next* takes over from the front run now.

    Only a run that stands at its Gate with every other gate open does: a newer release that does
    not render, or waits for an approval, never takes the watch away from the one that is out.

    Args:
        front: The run that may write; None when the slot is free.
        next_run: The Rollout in *next*.
        gates: What its gates answer, ``slot`` among them.
        stage: Stored state of the stage.
        failing: Whether the front run shows a failing signal (`Run.failing`; that it is not
            healthy yet is none).
        moved: Whether the stage is written somewhere else now than where the front run writes.
    """
    if front is None or not front.live:
        return Handover(now=False, protected=False, reason="the slot is free")
    rollout = front.kind is RunKind.ROLLOUT
    protected = rollout and stage.superseded_waiting >= PROTECTED_AFTER
    if next_run.phase is not Phase.RUNNING or next_run.step is not Step.GATE:
        return Handover(now=False, protected=protected, reason="next is not at its Gate")
    closed = [s.name for s in gates if s.name != "slot" and not isinstance(s.answer, Open)]
    if closed or not gates:
        names = ", ".join(closed) or "gates"
        return Handover(now=False, protected=protected, reason=f"next waits for {names}")
    if front.kind is RunKind.ROLLBACK and not (moved and is_locked_out(front)):
        return Handover(now=False, protected=False, reason="a rollback is never superseded")
    if front.aborting or front.superseded_by == next_run.id:
        return Handover(now=False, protected=protected, reason="the front run ends already")
    may_finish = protected and not failing and not is_locked_out(front)
    if may_finish and front.step is Step.WAIT_HEALTHY:
        reason = f"{stage.superseded_waiting} in a row were superseded; this one may finish"
        return Handover(now=False, protected=True, reason=reason)
    return Handover(now=True, protected=protected, reason="every gate of next is open")


def count_superseded(before: int, ended: Run) -> int:
    """Count Rollouts in a row that were superseded in WaitHealthy, after one more has ended.

    Args:
        before: The count so far.
        ended: The Rollout that ended; one that never wrote leaves the count as it is.
    """
    why = ended.failure.reason if ended.failure is not None else ""
    if ended.step is Step.WAIT_HEALTHY and why == AbortReason.SUPERSEDED.value:
        return before + 1
    return 0 if ended.mutated else before


def _is_gone(facts: SelectionFacts) -> bool:
    return facts.spec is None or facts.stage.retired_at is not None


def _closed(facts: SelectionFacts) -> str:
    stage = facts.stage
    if _is_gone(facts):
        return f"{stage.key} is not configured any more"
    if stage.suspended is not None:
        return f"suspended by {stage.suspended.by}: {stage.suspended.reason}"
    return ""


def _candidates(facts: SelectionFacts) -> tuple[ReleaseId, ...]:
    kept = facts.stage.kept_offer
    offered = tuple(offer.release for offer in facts.offers if offer.number > kept)
    requested = facts.stage.requested
    if requested is None or _brings(facts.front_run, requested) or _runs(facts, requested):
        return offered
    return (requested, *(release for release in offered if release != requested))


def _settled(facts: SelectionFacts, release: ReleaseId) -> str:
    """Say why nothing needs doing, nor anything older taken; empty when that is not so."""
    if _runs(facts, release):
        return f"{release} is what the stage runs"
    if _brings(facts.front_run, release):
        return f"{release} is being brought"
    if _brings(facts.next_run, release):
        return f"{release} is next already"
    if _is_last_verified(facts, release) and not _is_wanted(facts, release):
        return f"{release} was verified last; a person decides whether it is brought back"
    return ""


def _is_last_verified(facts: SelectionFacts, release: ReleaseId) -> bool:
    if facts.running is None:
        return False
    rendering = facts.renderings.get(release)
    same_bytes = rendering is not None and rendering.rendered == facts.running_rendered
    return release == facts.running or same_bytes


def _runs(facts: SelectionFacts, release: ReleaseId) -> bool:
    """Whether the stage runs the release: it was verified last, and nothing came over it since."""
    applied = facts.stage.applied
    untouched = applied is None or applied.rendered == facts.running_rendered
    return untouched and _is_last_verified(facts, release)


def _is_wanted(facts: SelectionFacts, release: ReleaseId) -> bool:
    """Whether a person asks for it, or its line was rewound to it."""
    head = facts.offers[0].release if facts.offers else None
    return release in (facts.stage.requested, head)


def _brings(run: Run | None, release: ReleaseId) -> bool:
    if run is None or not run.live or run.kind is not RunKind.ROLLOUT:
        return False
    return run.release == release


def _quarantine_of(facts: SelectionFacts, release: ReleaseId) -> Quarantine | None:
    rendering = facts.renderings.get(release)
    last = facts.last_runs.get(release)
    images = facts.release_images.get(release, ())
    rendered: Digest | None = last.rendered if last is not None else None
    if rendering is not None:
        rendered = rendering.rendered
        images = (*images, *rendering.images)
    return is_quarantined(rendered, images, facts.quarantines)


def _say_held(quarantine: Quarantine) -> str:
    return f"quarantined here ({quarantine.id}): {quarantine.reason}"


def _take(
    facts: SelectionFacts, release: ReleaseId, skipped: tuple[tuple[ReleaseId, str], ...]
) -> Selection:
    last = facts.last_runs.get(release)
    if last is not None and last.phase is Phase.ERRORED and last.ended_at is not None:
        again = last.ended_at + retry_delay(last.attempt_number)
        if facts.now < again:
            reason = f"{release} is tried again later"
            return Selection(reason=reason, not_before=again, skipped=skipped)
    waiting = facts.next_run
    if waiting is None or not waiting.live:
        return Selection(release, reason=f"{release} is the newest", skipped=skipped)
    if any(vote.void_at is None and vote.plan == waiting.plan for vote in facts.next_votes):
        reason = f"a vote has been given for {waiting.release}"
        return Selection(reason=reason, skipped=skipped)
    reason = f"{release} is newer than {waiting.release}"
    return Selection(release, supersede_next=True, reason=reason, skipped=skipped)
