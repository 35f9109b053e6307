"""The commit after a rollback, with real Git over HTTP and the real walk of overlays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.adapters.kustomize.renderer import KustomizeRenderer
from gitopsd.domain.agreements import Agreement, AgreementState
from gitopsd.domain.config import Configuration, RollbackGit
from gitopsd.domain.pin_files import Pinned
from gitopsd.domain.releases import Release, ReleaseId
from gitopsd.domain.runs import Run, RunId, RunKind
from gitopsd.domain.sources import Commit, CommitSha, PushSpec, RepositorySpec, RepoURL
from gitopsd.engine.pin_commits import plan_pin
from gitopsd.engine.services import Services
from gitopsd.engine.undoing import Case, Change, plan_undo
from gitopsd.pipeline.agreeing import Nothing
from gitopsd.pipeline.pin_files import parse_pin
from gitopsd.ports import NOT_A_FILE, InputSet, Rejection
from gitopsd.source_ports import CommitDraft
from tests.support.engine_world import SHOP, STAGING, make_world, shop_spec
from tests.support.git_http import run_git_http
from tests.support.repositories import MAIN, BareRepository, Files, Symlink

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
PIN = "overlays/staging/gitopsd-pin.yaml"
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

    async def plan(
        self,
        head: CommitSha,
        policy: RollbackGit = RollbackGit.REVERT_COMMIT,
        since: datetime = NOON,
    ) -> Change | Nothing:
        """Work out what follows the rollback from the bad commit."""
        run = Run(RunId("run-1-rb"), STAGING, ReleaseId("r-1"), RunKind.ROLLBACK)
        case = Case(
            run,
            Agreement(run.id, STAGING, policy, self.url, MAIN, since),
            failed=Release(ReleaseId("r-2"), SHOP, Commit(self.bad)),
            restored=Release(ReleaseId("r-1"), SHOP, Commit(self.good)),
            reason="it crashed: 'no such table: \u00f6rders'",
        )
        plan = plan_pin if policy is RollbackGit.PIN else plan_undo
        return await plan(self.services, case, head)

    async def push(self, head: CommitSha, change: Change) -> CommitSha:
        """Commit a change and push it."""
        draft = CommitDraft(head, change.files, change.message, NOON)
        sha = await self.git.write_commit(self.url, draft)
        assert await self.git.push_commit(self.url, MAIN, sha, onto=head) is None
        return sha

    async def pushed(self, files: Files) -> CommitSha:
        """Let somebody push, and fetch it."""
        head = self.repository.commit(files, message="somebody else")
        await self.git.fetch_head(self.url, MAIN)
        return head

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
    head = await bench.pushed({"other/file": "theirs\n"})
    change = await bench.plan(head)
    assert isinstance(change, Change)
    assert set(change.files) == {path for path in BAD if path.startswith("base/")}
    sha = await bench.push(head, change)

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
    head = await bench.pushed({"base/settings.yaml": "mode: c\n"})
    found = await bench.plan(head)
    assert isinstance(found, Nothing)
    assert found.state is AgreementState.LEFT_TO_PERSON
    assert found.message.startswith("base/settings.yaml changed on main since ")


async def test_a_pin_is_one_file_that_changes_nothing_that_is_rendered(bench: Bench) -> None:
    """On top of whoever moved the branch; what it says is read back by the real reader."""
    head = await bench.pushed({"base/settings.yaml": "mode: c\n"})
    change = await bench.plan(head, RollbackGit.PIN)
    assert isinstance(change, Change)
    assert list(change.files) == [PIN]
    sha = await bench.push(head, change)

    assert bench.repository.history() == (sha, head, bench.bad, bench.good)
    assert bench.repository.changed(head, sha) == {PIN}
    assert bench.repository.message(sha) == change.message
    read = bench.services.renderer
    of = "overlays/staging"
    assert await read.fetch_inputs(bench.url, sha, of) == await read.fetch_inputs(
        bench.url, head, of
    )
    document = await read.fetch_document(bench.url, sha, PIN)
    assert isinstance(document, dict)
    assert document["reason"] == "it crashed: 'no such table: \u00f6rders'"
    assert document["takenBack"] == {"release": "r-2", "commit": bench.bad}
    assert parse_pin(document, PIN, STAGING).pinned == Pinned(ReleaseId("r-1"), bench.good, NOON)


async def test_a_pin_of_a_later_rollback_stays(bench: Bench) -> None:
    """An earlier one is written anew, as is a file that cannot be read."""
    change = await bench.plan(bench.bad, RollbackGit.PIN)
    assert isinstance(change, Change)
    sha = await bench.push(bench.bad, change)
    await bench.git.fetch_head(bench.url, MAIN)
    earlier = await bench.plan(sha, RollbackGit.PIN, NOON - timedelta(minutes=1))
    assert earlier == Nothing(AgreementState.UNNEEDED, f"{PIN} on main is of a later rollback")
    later = await bench.plan(sha, RollbackGit.PIN, NOON + timedelta(minutes=1))
    assert isinstance(later, Change)
    broken = await bench.pushed({PIN: "a: ["})
    assert isinstance(await bench.plan(broken, RollbackGit.PIN), Change)


@pytest.mark.parametrize(
    "files", [{PIN: Symlink("../secret")}, {f"{PIN}/inside": "x\n"}], ids=["a link", "a directory"]
)
async def test_what_is_no_file_is_neither_written_over_nor_followed(
    bench: Bench, files: Files
) -> None:
    """It is left to a person, and read it keeps the stage as it is."""
    head = await bench.pushed(files)
    found = await bench.plan(head, RollbackGit.PIN)
    assert isinstance(found, Nothing)
    assert found.state is AgreementState.LEFT_TO_PERSON
    assert found.message.startswith(f"{PIN} on main is no file")
    read = await bench.services.renderer.fetch_document(bench.url, head, PIN)
    assert read == Rejection(NOT_A_FILE, f"{PIN}:1: it is no file")


async def test_a_stage_that_is_gone_is_not_pinned(bench: Bench) -> None:
    """Nobody reads the file any more."""
    empty = replace(bench.services, configuration=Configuration)
    gone = replace(bench, services=empty)
    found = await gone.plan(bench.bad, RollbackGit.PIN)
    assert found == Nothing(AgreementState.UNNEEDED, f"{STAGING} is no longer configured")
