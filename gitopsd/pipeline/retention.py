"""Which runs and rendered sets nothing needs any more.

Age alone deletes nothing. What a stage runs, could be restored to, has quarantined or is working
on stays for as long as that is so, and so does what keeps a release from being taken again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import Phase, Run, RunId
from gitopsd.domain.stages import Stage
from gitopsd.domain.verifications import Quarantine, Verification

KEPT_VERIFIED = 100
"""Newest verifications of a stage whose sets stay: each can be chosen as what is restored."""

BATCH = 25
"""Runs of one transaction: others wait for it."""


@dataclass(frozen=True, slots=True)
class StageNeeds:
    """What a stage holds on to now.

    Attributes:
        stage: Its stored state.
        live: Its runs that can still change.
        verifications: Its newest verifications, newest first, at most `KEPT_VERIFIED`.
        quarantines: Its quarantines in force.
    """

    stage: Stage
    live: tuple[Run, ...] = ()
    verifications: tuple[Verification, ...] = ()
    quarantines: tuple[Quarantine, ...] = ()


@dataclass(frozen=True, slots=True)
class RetentionFacts:
    """Everything `compute_expired` reads, for one stage.

    Attributes:
        before: Runs that ended before this are old.
        needs: What the stage holds on to.
        runs: All its runs, oldest first.
        last_rollouts: Release -> its last Rollout there.
        offered: Releases that selection still looks at.
    """

    before: datetime
    needs: StageNeeds
    runs: tuple[Run, ...] = ()
    last_rollouts: Mapping[ReleaseId, RunId] = field(default_factory=dict)
    offered: frozenset[ReleaseId] = frozenset()


@dataclass(frozen=True, slots=True)
class Expired:
    """What goes in one transaction.

    Attributes:
        runs: Runs, with all that is kept with them.
        rendered: Rendered sets that none of the runs that stay refers to.
    """

    runs: tuple[RunId, ...]
    rendered: tuple[Digest, ...] = ()


def compute_expired(facts: RetentionFacts) -> tuple[Expired, ...]:
    """Compute what may be deleted, oldest first, in batches that stand by themselves."""
    needed, kept = needed_sets(facts.needs), _kept_runs(facts)
    old = [run for run in facts.runs if run.id not in kept and _is_old(run, facts.before)]
    gone = {run.id for run in old}
    used = {digest for run in facts.runs if run.id not in gone for digest in _sets_of(run)}
    batches = []
    for start in range(0, len(old), BATCH):
        batch, later = old[start : start + BATCH], old[start + BATCH :]
        still = used | needed | {digest for run in later for digest in _sets_of(run)}
        free = {run.rendered for run in batch if run.rendered is not None} - still
        batches.append(Expired(tuple(run.id for run in batch), tuple(sorted(free))))
    return tuple(batches)


def needed_sets(needs: StageNeeds) -> frozenset[Digest]:
    """List the rendered sets that a stage may still apply, compare with or refuse."""
    found = {digest for run in needs.live for digest in _sets_of(run)}
    if needs.stage.applied is not None:
        found.add(needs.stage.applied.rendered)
    for item in needs.verifications:
        found.add(item.rendered)
        if item.restore is not None:
            found.add(item.restore.rendered)
    return frozenset(found | {item.rendered for item in needs.quarantines})


def may_drop_sets(needs: StageNeeds) -> bool:
    """Whether no run of the stage may be about to refer to a set that it rendered a moment ago."""
    return all(run.rendered is not None for run in needs.live)


def _is_old(run: Run, before: datetime) -> bool:
    return not run.live and run.ended_at is not None and run.ended_at < before


def _sets_of(run: Run) -> set[Digest]:
    targets = (run.restore_target, run.redirect) if run.live else ()
    found = {target.rendered for target in targets if target is not None}
    return found | {digest for digest in (run.rendered, run.plan_base) if digest is not None}


def needed_runs(needs: StageNeeds) -> frozenset[RunId]:
    """List the runs that a stage names."""
    stage = needs.stage
    named = {stage.front, stage.next, *(run.id for run in needs.live)}
    named.add(stage.stall.run if stage.stall is not None else None)
    named.add(stage.applied.run if stage.applied is not None else None)
    return frozenset(one for one in named if one is not None)


def _kept_runs(facts: RetentionFacts) -> frozenset[RunId]:
    """List runs that stay however old: each says something that decisions still read.

    A release whose last Rollout did not end well would be taken again if nothing said so.
    """
    last = {run for release, run in facts.last_rollouts.items() if release in facts.offered}
    told = frozenset(
        run.id
        for run in facts.runs
        if (run.id in last and run.phase is not Phase.SUCCEEDED)
        or any(_is_of(item, run) for item in facts.needs.quarantines)
        or f"v-{run.id}" == facts.needs.stage.verified
    )
    return needed_runs(facts.needs) | told


def _is_of(quarantine: Quarantine, run: Run) -> bool:
    return run.rendered == quarantine.rendered and run.release == quarantine.release
