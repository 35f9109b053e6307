"""How one commit stands in one stage, for the Git host that shows it beside the commit."""

from __future__ import annotations

from collections.abc import Mapping

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.reports import Check, DeploymentReport, StageReport, Standing
from gitopsd.domain.runs import Phase, Run, RunKind
from gitopsd.domain.sources import CommitSha
from gitopsd.domain.work import Page
from gitopsd.engine.release_reports import find_line
from gitopsd.engine.report_links import Links
from gitopsd.kube.redaction import redact_clause
from gitopsd.pipeline.promotion import waiting_for
from gitopsd.store_ports import Transaction

_CHECKS: Mapping[Standing, Check] = {
    Standing.WAITING: Check.PENDING,
    Standing.RUNNING: Check.PENDING,
    Standing.HELD: Check.PENDING,
    Standing.LIVE: Check.SUCCESS,
    Standing.FAILED: Check.FAILURE,
    Standing.RESTORING: Check.FAILURE,
    Standing.RESTORED: Check.FAILURE,
    Standing.REJECTED: Check.FAILURE,
    Standing.ERRORED: Check.ERROR,
    Standing.SUPERSEDED: Check.ERROR,
    Standing.ENDED: Check.ERROR,
    Standing.NOT_REACHED: Check.ERROR,
}
_HISTORY = Page(limit=50)
_PHASES: Mapping[Phase, Check] = {
    Phase.PENDING: Check.PENDING,
    Phase.RUNNING: Check.PENDING,
    Phase.SUCCEEDED: Check.SUCCESS,
    Phase.FAILED: Check.FAILURE,
    Phase.ERRORED: Check.ERROR,
    Phase.ABORTED: Check.ERROR,
}


def compose_stage(
    tx: Transaction, key: StageKey, sha: CommitSha, identity: str, links: Links
) -> StageReport | None:
    """Compose how a commit stands in a stage; None when no run brought it there.

    Several releases can have one commit, with other images: the one that was tried last counts,
    unless it failed and the stage runs another one of them verified: the commit is live then.
    """
    spec = tx.specs.current(key.application)
    found = [find_line(tx, key, release) for release in _releases_of(tx, key, sha)]
    tried = [(line, runs) for line, runs in found if runs]
    if spec is None or not tried:
        return None
    line, _ = max(tried, key=lambda one: _began_when(one[1]))
    mutated = {run.id: run for _, runs in tried for run in runs if run.mutated}
    wrote = sorted(mutated.values(), key=lambda run: _began_when([run]))
    # Steps on the way would be a request each, and GitHub counts them.
    sentence = "on its way" if line.standing is Standing.RUNNING else line.sentence
    state = _CHECKS[line.standing]
    if line.standing.settled and state is not Check.SUCCESS and _runs_verified(tx, key, sha):
        # The commit's own files are live; what went wrong are images that were pushed since.
        state, sentence = Check.SUCCESS, f"live with other images; {sentence}"
    return StageReport(
        id=identity,
        repository=spec.source.repo,
        application=key.application,
        stage=key.stage,
        sha=sha,
        state=state,
        sentence=sentence,
        deployments=tuple(
            deployment for run in wrote if (deployment := _deployment(tx, run, links)) is not None
        ),
        last_stage=not waiting_for(spec, key.stage),
        alone=_is_alone(tx, spec),
        link=links.run(line.run) if line.run is not None else "",
    )


def _runs_verified(tx: Transaction, key: StageKey, sha: CommitSha) -> bool:
    """Tell whether a stage runs a release of a commit, verified and not in trouble."""
    stage = tx.stages.get(key)
    if stage is None or stage.verified is None or stage.stall is not None:
        return False
    verification = tx.verifications.get(stage.verified)
    if verification is None or verification.revoked_at is not None:
        return False
    release = tx.releases.get(verification.release)
    return release is not None and release.commit.sha == sha


def _releases_of(tx: Transaction, key: StageKey, sha: CommitSha) -> tuple[ReleaseId, ...]:
    """Find the releases of a commit among the stage's last runs."""
    rollouts = (run for run in tx.runs.page(_HISTORY, stage=key) if run.kind is RunKind.ROLLOUT)
    tried = (tx.releases.get(one) for one in dict.fromkeys(run.release for run in rollouts))
    return tuple(one.id for one in tried if one is not None and one.commit.sha == sha)


def _deployment(tx: Transaction, run: Run, links: Links) -> DeploymentReport | None:
    release = tx.releases.get(run.release)
    if release is None:
        return None
    verb = "going back to" if run.kind is RunKind.ROLLBACK else "bringing"
    sentence = {
        Phase.SUCCEEDED: f"{release.alias} is live and verified",
    }.get(run.phase, f"{verb} {release.alias}")
    if run.failure is not None:
        sentence = redact_clause(run.failure.message)
    return DeploymentReport(
        run=run.id,
        kind=run.kind,
        sha=release.commit.sha,
        state=_PHASES[run.phase],
        sentence=sentence,
        link=links.run(run.id),
    )


def _is_alone(tx: Transaction, spec: ApplicationSpec) -> bool:
    repo = spec.source.repo
    return all(
        other.name == spec.name or other.source.repo != repo for other in tx.specs.currents()
    )


def _began_when(runs: list[Run]) -> str:
    times = [run.created_at.isoformat() for run in runs if run.created_at is not None]
    return max(times, default="")
