"""Works out the commit that undoes a release on a branch: in files of its application alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitopsd.domain.agreements import Agreement, AgreementState
from gitopsd.domain.config import ApplicationSpec, StageSpec
from gitopsd.domain.releases import Release
from gitopsd.domain.runs import Run
from gitopsd.domain.sources import CommitSha, FileEntry, RepoURL
from gitopsd.engine.services import Services
from gitopsd.pipeline.agreeing import (
    Nothing,
    branch_of,
    compose_undo,
    compute_undo,
    say_contested,
)
from gitopsd.ports import InputSet, Rejection


@dataclass(frozen=True, slots=True)
class Case:
    """What one try to make Git agree works with.

    Attributes:
        run: The Rollback.
        agreement: How far Git agrees.
        failed: What was taken back.
        restored: What runs again.
        reason: Why, redacted.
        own: Ids of the commits that were made for it.
    """

    run: Run
    agreement: Agreement
    failed: Release
    restored: Release
    reason: str
    own: tuple[CommitSha, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit changes.

    Attributes:
        files: Path -> what it holds then; None for a file that goes.
        message: The commit's message.
    """

    files: Mapping[str, FileEntry | bytes | None]
    message: str


async def plan_undo(services: Services, case: Case, head: CommitSha) -> Change | Nothing:
    """Work out what makes the files of an application what they were in the restored release.

    All stages that follow the branch count: half of a release is one that nobody ever wrote.

    Raises:
        TemporaryError: The mirror cannot be read now.
    """
    run, failed, restored = case.run, case.failed, case.restored
    configured = find_configured(services, run)
    if isinstance(configured, Nothing):
        return configured
    application, spec = configured
    repo, ref = application.source.repo, application.ref_of(spec)
    paths = await _find_paths(services, application, spec, failed.commit.sha, restored.commit.sha)
    if isinstance(paths, Rejection):
        message = f"what {run.stage} reads cannot be told: {paths.message}; revert it by hand"
        return Nothing(AgreementState.LEFT_TO_PERSON, message)
    fetch = services.repositories.fetch_files
    undo = compute_undo(
        paths,
        await fetch(repo, restored.commit.sha, paths),
        await fetch(repo, failed.commit.sha, paths),
        await fetch(repo, head, paths),
    )
    if undo.contested:
        message = say_contested(undo, failed, branch_of(ref))
        return Nothing(AgreementState.LEFT_TO_PERSON, message)
    if not undo.files:
        message = f"{branch_of(ref)} says so already"
        return Nothing(AgreementState.UNNEEDED, message)
    return Change(dict(undo.files), compose_undo(run, failed, restored, case.reason))


def find_configured(services: Services, run: Run) -> tuple[ApplicationSpec, StageSpec] | Nothing:
    """Find a Rollback's stage in the configuration as it is now."""
    application = services.configuration().applications.get(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    if application is None or spec is None:
        return Nothing(AgreementState.UNNEEDED, f"{run.stage} is no longer configured")
    return application, spec


async def _find_paths(
    services: Services,
    application: ApplicationSpec,
    own: StageSpec,
    failed: CommitSha,
    restored: CommitSha,
) -> frozenset[str] | Rejection:
    """Find what the overlays of all stages that follow the branch read, before and after.

    A stage whose overlay one of the two commits does not have is left out, but for the one that
    was rolled back.
    """
    repo, ref = application.source.repo, application.ref_of(own)
    found: set[str] = set()
    for stage in application.stages:
        if application.ref_of(stage) != ref:
            continue
        read = await _read_both(services, repo, stage.path, (failed, restored))
        if not isinstance(read, Rejection):
            found |= read
        elif stage.name == own.name:
            return read
    return frozenset(found)


async def _read_both(
    services: Services, repo: RepoURL, path: str, commits: tuple[CommitSha, CommitSha]
) -> frozenset[str] | Rejection:
    found: set[str] = set()
    for sha in commits:
        inputs: InputSet | Rejection = await services.renderer.fetch_inputs(repo, sha, path)
        if isinstance(inputs, Rejection):
            return inputs
        found |= set(inputs.files)
    return frozenset(found)
