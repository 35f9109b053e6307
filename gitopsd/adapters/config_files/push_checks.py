"""Checks that what is to be committed after a rollback can be pushed at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gitopsd.adapters.git.addresses import select_repository
from gitopsd.domain.config import ApplicationSpec, RollbackGit
from gitopsd.domain.sources import RepositorySpec
from gitopsd.errors import ConfigError

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
