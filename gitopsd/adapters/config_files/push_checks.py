"""Checks that what is to be committed after a rollback can be pushed at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gitopsd.adapters.git.addresses import select_repository
from gitopsd.domain.config import ApplicationSpec, RollbackGit, StageSpec
from gitopsd.domain.sources import RepositorySpec
from gitopsd.errors import ConfigError
from gitopsd.pipeline.pin_files import locate_pin

_BRANCH = "refs/heads/"


def find_push_problems(
    file: str, application: ApplicationSpec, repositories: Sequence[RepositorySpec]
) -> Iterator[ConfigError]:
    """Find stages whose rollbacks are to be committed where nothing can be pushed to."""
    covering = select_repository(application.source.repo, repositories)
    for number, stage in enumerate(application.stages):
        if stage.rollback_git is RollbackGit.NONE:
            continue
        place = f"spec.stages[{number}].rollback.git"
        if not application.ref_of(stage).startswith(_BRANCH):
            yield ConfigError(
                file=file,
                path=place,
                problem=f"stage {stage.name} follows tags, and nothing is committed to those",
                remedy="Write `git: none`, or let it follow a branch",
            )
        elif covering is None or covering.push is None:
            which = f"repository {covering.name}" if covering is not None else "no repository"
            yield ConfigError(
                file=file,
                path=place,
                problem=f"{which} says how commits are pushed to {application.source.repo}"
                if covering is None
                else f"{which} does not say how commits are pushed to {application.source.repo}",
                remedy="Write `push:` with a credential that may write into the file in "
                "repositories/ that covers it, or `git: none`",
            )
        elif other := _find_sharer(application, stage):
            yield ConfigError(
                file=file,
                path=place,
                problem=f"stages {stage.name} and {other} share an overlay, and a pin is of one",
                remedy="Give each stage an overlay of its own, or write another policy",
            )


def _find_sharer(application: ApplicationSpec, stage: StageSpec) -> str:
    """Name another stage whose pin file would be this stage's; empty when there is none."""
    if stage.rollback_git is not RollbackGit.PIN:
        return ""
    own = (application.ref_of(stage), locate_pin(stage.path))
    sharers = (
        other.name
        for other in application.stages
        if other.name != stage.name and (application.ref_of(other), locate_pin(other.path)) == own
    )
    return next(sharers, "")


def name_push_files(repository: RepositorySpec) -> tuple[tuple[str, str], ...]:
    """List (place in the document, file name) of the files that ``push:`` names."""
    push = repository.push
    if push is None:
        return ()
    return (
        ("spec.push.usernameFile", push.username_file),
        ("spec.push.passwordFile", push.password_file),
        ("spec.push.sshKeyFile", push.ssh_key_file),
    )
