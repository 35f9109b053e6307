"""The commit that undoes a release, with real Git over HTTP and the real walk of overlays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.adapters.kustomize.renderer import KustomizeRenderer
from gitopsd.domain.agreements import AgreementState
from gitopsd.domain.releases import Release, ReleaseId
from gitopsd.domain.runs import Run, RunId, RunKind
from gitopsd.domain.sources import Commit, CommitSha, PushSpec, RepositorySpec, RepoURL
from gitopsd.engine.services import Services
from gitopsd.engine.undoing import Change, plan_undo
from gitopsd.pipeline.agreeing import Nothing
from gitopsd.ports import InputSet
from gitopsd.source_ports import CommitDraft
from tests.support.engine_world import SHOP, STAGING, make_world, shop_spec
from tests.support.git_http import run_git_http
from tests.support.repositories import MAIN, BareRepository

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
KUSTOMIZATION = "resources: [../../base]\n"
GOOD = {
    "base/kustomization.yaml": "resources: [settings.yaml, old.yaml]\n",
    "base/settings.yaml": "mode: a\n",
    "base/old.yaml": "kind: Old\n",
    "overlays/staging/kustomization.yaml": KUSTOMIZATION,
    "overlays/production/kustomization.yaml": KUSTOMIZATION,
    "README.md": "one\n",
}
BAD = {
    "base/kustomization.yaml": "resources: [settings.yaml, new.yaml]\n",
    "base/settings.yaml": "mode: b\n",
    "base/old.yaml": None,
    "base/new.yaml": "kind: New\n",
    "README.md": "two\n",
}


@dataclass(frozen=True)
class Bench:
    """A repository with a good and a bad commit, and what looks at it."""

    services: Services
    git: GitRepositories
    repository: BareRepository
    url: RepoURL
    good: CommitSha
    bad: CommitSha

    async def plan(self, head: CommitSha) -> Change | Nothing:
        """Work out what undoes the bad commit."""
        run = Run(RunId("run-1-rb"), STAGING, ReleaseId("r-1"), RunKind.ROLLBACK)
        failed = Release(ReleaseId("r-2"), SHOP, Commit(self.bad))
        restored = Release(ReleaseId("r-1"), SHOP, Commit(self.good))
        return await plan_undo(self.services, run, failed, restored, "it crashed", head)

    async def key(self, sha: CommitSha) -> str:
        """Tell what production's overlay reads from a commit."""
        inputs = await self.services.renderer.fetch_inputs(self.url, sha, "overlays/production")
        assert isinstance(inputs, InputSet)
        return inputs.key


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Real Git over HTTP, real overlays; the rest is not asked."""
    async with run_git_http(tmp_path / "remote") as host:
        repository = host.create("shop.git")
        url = RepoURL(host.address("shop.git"))
        good = repository.commit(GOOD, message="good")
        bad = repository.commit(BAD, message="bad")
        (tmp_path / "token").write_text("made for this test", encoding="ascii")
        specs = (RepositorySpec("host", url, push=PushSpec(password_file=str(tmp_path / "token"))),)
        git = GitRepositories(tmp_path / "mirrors", lambda: specs)
        spec = shop_spec()
        world = make_world(replace(spec, source=replace(spec.source, repo=url)))
        renderer = KustomizeRenderer(git, scratch=tmp_path / "scratch")
        services = replace(world.services, repositories=git, renderer=renderer)
        await git.fetch_head(url, MAIN)
        yield Bench(services, git, repository, url, good, bad)
        await renderer.close()
        await git.close()


async def test_what_overlays_read_goes_back_and_everything_else_stays(bench: Bench) -> None:
    """Changed, added and deleted files; what was pushed to other files meanwhile stays."""
    head = bench.repository.commit({"other/file": "theirs\n"}, message="another application")
    await bench.git.fetch_head(bench.url, MAIN)
    change = await bench.plan(head)
    assert isinstance(change, Change)
    assert set(change.files) == {path for path in BAD if path.startswith("base/")}
    draft = CommitDraft(head, change.files, change.message, NOON)
    sha = await bench.git.write_commit(bench.url, draft)
    assert await bench.git.push_commit(bench.url, MAIN, sha, onto=head) is None

    assert bench.repository.history() == (sha, head, bench.bad, bench.good)
    assert await bench.key(sha) == await bench.key(bench.good) != await bench.key(bench.bad)
    read = bench.repository.read
    assert [read(sha, path) for path in GOOD if path.startswith("base/")] == [
        GOOD[path] for path in GOOD if path.startswith("base/")
    ]
    assert (read(sha, "base/new.yaml"), read(sha, "README.md")) == (None, "two\n")
    assert read(sha, "other/file") == "theirs\n"
    assert bench.repository.message(sha) == change.message

    again = await bench.plan(sha)
    assert again == Nothing(AgreementState.UNNEEDED, "main says so already")


async def test_one_file_that_was_mended_since_keeps_all_of_it(bench: Bench) -> None:
    """Nothing is undone, and the file is named."""
    head = bench.repository.commit({"base/settings.yaml": "mode: c\n"}, message="mend")
    await bench.git.fetch_head(bench.url, MAIN)
    found = await bench.plan(head)
    assert isinstance(found, Nothing)
    assert found.state is AgreementState.LEFT_TO_PERSON
    assert found.message.startswith("base/settings.yaml changed on main since ")
