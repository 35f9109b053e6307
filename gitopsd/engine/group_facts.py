"""Loads how the stages around a stage stand with a release, inside the deciding transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gitopsd.domain.config import ApplicationSpec, Promotion, StageSpec
from gitopsd.domain.groups import OnFailure
from gitopsd.domain.releases import Offer, ReleaseId, StageKey
from gitopsd.domain.runs import Phase, Run
from gitopsd.domain.verifications import VerificationId
from gitopsd.pipeline.groups import (
    GATE,
    GroupFacts,
    MemberFacts,
    came_out,
    is_taken_back,
    say_stopped,
)
from gitopsd.store_ports import Transaction


def load_group(
    tx: Transaction, application: ApplicationSpec, spec: StageSpec, release: ReleaseId
) -> GroupFacts | None:
    """Read how the group of a stage stands with a release; None for a stage without a group."""
    group = application.group_of(spec)
    if group is None:
        return None
    return GroupFacts(
        spec=group,
        release=release,
        members=tuple(
            _load_member(tx, StageKey(application.name, name), number, release)
            for number, wave in enumerate(application.waves_of(group))
            for name in wave
        ),
    )


def load_group_of_run(tx: Transaction, run: Run) -> GroupFacts | None:
    """Read how the group of a run stands with its release, as the group was when it was admitted.

    What a group takes back is decided by that: a stage, or a whole group, that was written into
    the file later takes nothing back from stages where the release has been Live since long.
    """
    application = tx.specs.get(run.stage.application, run.spec)
    spec = application.stage(run.stage.stage) if application is not None else None
    if application is None or spec is None:
        return None
    facts = load_group(tx, application, spec, run.release)
    if facts is None:
        return None
    passed = (one for one in tx.skips.of_run(run.id) if one.gate == GATE and one.void_at is None)
    let_through = any(passed)
    members = (
        replace(one, let_through=let_through) if one.stage == run.stage else one
        for one in facts.members
    )
    return replace(facts, members=tuple(members))


def load_stopped(
    tx: Transaction,
    application: ApplicationSpec,
    spec: StageSpec,
    offers: Iterable[Offer],
    last_runs: Mapping[ReleaseId, Run],
    running: ReleaseId | None,
) -> Mapping[ReleaseId, str]:
    """Read which releases a group took back from a stage, and why; they do not come again.

    Args:
        tx: The transaction.
        application: The application file as it is now.
        spec: The stage as it is now.
        offers: Offers of the stage's line, newest first.
        last_runs: Release -> its last Rollout in the stage.
        running: Release that the stage runs verified; nothing older comes by itself.
    """
    group = application.group_of(spec)
    found: dict[ReleaseId, str] = {}
    if group is None or group.on_failure is not OnFailure.ROLLBACK_ALL:
        return found
    for offer in offers:
        if offer.release == running:
            break
        last = last_runs.get(offer.release)
        why = say_why_taken_back(tx, last) if last is not None else ""
        if why:
            found[offer.release] = why
    return found


def say_why_taken_back(tx: Transaction, run: Run) -> str:
    """Say why a group took back what a run brought; empty when it did not."""
    facts = load_group_of_run(tx, run) if came_out(run) else None
    taken = facts is not None and is_taken_back(facts, run.stage)
    return say_stopped(facts) if facts is not None and taken else ""


def running_upstream(
    tx: Transaction, application: ApplicationSpec, spec: StageSpec
) -> Mapping[str, ReleaseId | None]:
    """Read what the stages before a stage run verified now, if it follows that; else nothing."""
    found: dict[str, ReleaseId | None] = {}
    for name in spec.after if spec.promotion is Promotion.UPSTREAM else ():
        stage = tx.stages.get(StageKey(application.name, name))
        verified = stage.verified if stage is not None else None
        verification = tx.verifications.get(verified) if verified is not None else None
        stands = verification is not None and verification.revoked_at is None
        found[name] = verification.release if verification is not None and stands else None
    return found


def list_grouped(tx: Transaction, key: StageKey) -> tuple[StageKey, ...]:
    """List the other stages of a stage's group, whose gates read how this one does."""
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    group = application.group_of(spec) if application is not None and spec is not None else None
    if application is None or group is None:
        return ()
    names = (name for wave in application.waves_of(group) for name in wave)
    return tuple(StageKey(application.name, name) for name in names if name != key.stage)


def _load_member(tx: Transaction, key: StageKey, wave: int, release: ReleaseId) -> MemberFacts:
    run = tx.runs.last_rollouts(key).get(release)
    if run is None or run.phase is not Phase.SUCCEEDED:
        return MemberFacts(key, wave, run)
    verification = tx.verifications.get(VerificationId(f"v-{run.id}"))
    if verification is not None and verification.revoked_at is None:
        return MemberFacts(key, wave, run, verified=True)
    held = any(one.release == release for one in tx.quarantines.in_force(key))
    return MemberFacts(key, wave, run, failed_later=held)
