"""What is to be committed after a rollback must be possible to push: the files say how."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitopsd.adapters.config_files.live import ConfigurationFiles
from gitopsd.domain.config import RollbackGit
from gitopsd.domain.releases import ApplicationName
from gitopsd.domain.sources import PushSpec
from tests.support.configuration import write_files

CLUSTER = """\
apiVersion: gitopsd.io/v1
kind: Cluster
metadata: {name: one}
spec: {inCluster: true}
"""
APPLICATION = """\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {name: shop}
spec:
  source: {repoURL: https://git.example/shop.git, branch: main}
  stages:
    - name: staging
      cluster: one
      path: overlays/staging
      namespace: shop
      rollback: {git: revert-commit}
"""
PINNING = APPLICATION.replace("revert-commit", "pin")
REPOSITORY = """\
apiVersion: gitopsd.io/v1
kind: Repository
metadata: {name: deploy}
spec: {urlPrefix: https://git.example/%s}
"""
REMEDY = (
    "Write `push:` with a credential that may write into the file in repositories/ that covers "
    "it, or `git: none`"
)


def _load(folder: Path, repository: str = "", application: str = APPLICATION) -> list[str]:
    files = {"clusters/one.yaml": CLUSTER, "applications/shop.yaml": application}
    if repository:
        files["repositories/deploy.yaml"] = REPOSITORY % repository
    write_files(folder, {"token": "made for this test\n", **files})
    errors = ConfigurationFiles(folder).load().errors
    return [f"{error.path}: {error.problem}. {error.remedy}" for error in errors]


def test_the_credential_and_the_author_are_read(tmp_path: Path) -> None:
    """One of its own beside the one that reads; the author has a default."""
    push = f", push: {{passwordFile: {tmp_path / 'token'}, author: {{email: bot@example.test}}"
    assert _load(tmp_path, push + "}") == []
    loaded = ConfigurationFiles(tmp_path).load().configuration
    [repository] = loaded.repositories
    assert repository.push == PushSpec(
        password_file=str(tmp_path / "token"),
        author_name="gitopsd",
        author_email="bot@example.test",
    )
    [stage] = loaded.applications[ApplicationName("shop")].stages
    assert stage.rollback_git is RollbackGit.REVERT_COMMIT
    assert _load(tmp_path, push + "}", PINNING) == []
    loaded = ConfigurationFiles(tmp_path).load().configuration
    [stage] = loaded.applications[ApplicationName("shop")].stages
    assert stage.rollback_git is RollbackGit.PIN


@pytest.mark.parametrize(
    "repository,problem",
    [
        ("", "no repository says how commits are pushed to https://git.example/shop.git"),
        ("other", "no repository says how commits are pushed to https://git.example/shop.git"),
        (
            "shop.git",
            "repository deploy does not say how commits are pushed to https://git.example/shop.git",
        ),
    ],
)
def test_without_a_way_to_push_a_policy_is_refused(
    tmp_path: Path, repository: str, problem: str
) -> None:
    """At the field, with what to write."""
    place = "spec.stages[0].rollback.git"
    assert _load(tmp_path, repository) == [f"{place}: {problem}. {REMEDY}"]


def test_a_stage_that_follows_tags_cannot_ask_for_commits(tmp_path: Path) -> None:
    """Nothing is committed to tags."""
    tags = APPLICATION.replace("branch: main", "tags: {semver: '>=1'}")
    assert _load(tmp_path, application=tags) == [
        (
            "spec.stages[0].rollback.git: stage staging follows tags, and nothing is committed "
            "to those. Write `git: none`, or let it follow a branch"
        )
    ]


def test_a_pin_is_of_one_stage(tmp_path: Path) -> None:
    """Where two have one overlay, nobody could tell whose it is; a branch of its own is enough."""
    push = f", push: {{passwordFile: {tmp_path / 'token'}}}"
    other = "    - {name: other, cluster: one, path: overlays//staging, namespace: other"
    [said] = _load(tmp_path, push, f"{PINNING}{other}}}\n")
    assert said == (
        "spec.stages[0].rollback.git: stages staging and other share an overlay, and a pin is of "
        "one. Give each stage an overlay of its own, or write another policy"
    )
    assert _load(tmp_path, push, f"{PINNING}{other}, branch: other}}\n") == []
    assert _load(tmp_path, push, f"{APPLICATION}{other}}}\n") == []


@pytest.mark.parametrize(
    "push,problem",
    [
        ("{}", "`push` needs one credential that may write"),
        ("{passwordFile: token, sshKeyFile: token}", "`push` needs one credential that may write"),
        ("{sshKeyFile: token}", "`sshKeyFile` without `knownHostsFile`"),
        ("{passwordFile: missing}", "missing"),
        ("{passwordFile: token, author: {name: 'a <b>'}}", "a <b>"),
    ],
)
def test_mistakes_in_push_are_explained(tmp_path: Path, push: str, problem: str) -> None:
    """A credential too few or too many, keys without hosts, files that are not there."""
    [said] = _load(tmp_path, f", push: {push}", APPLICATION.replace("revert-commit", "none"))
    assert said.startswith("spec")
    assert problem in said
