"""``gitopsd wait``: the exit codes that CI jobs act on."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.cli.waiting import Outcome, judge, resolve
from gitopsd.domain.images import ImageSource, SemverPolicy
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.errors import PermanentError
from gitopsd.testing.verifier import MemoryAnswer
from tests.support.command_line import CommandLine
from tests.support.engine_world import PRODUCTION, STAGING, config_map, deployment, shop_spec
from tests.support.http_world import IMAGE, HttpWorld, serving_world


def person_at(http: HttpWorld, tmp_path: Path) -> CommandLine:
    """A CI job's command line."""
    return CommandLine(http.url, http.tokens["viewer"], tmp_path)


async def test_a_push_that_goes_live_is_0(tmp_path: Path) -> None:
    """Asked before the webhook arrives, answered when it is live, telling what happens between."""
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE), hint=False)
        waiting = asyncio.create_task(
            person_at(http, tmp_path).run("wait", sha, "--app", "shop", "--stage", "staging")
        )
        await http.world.ring(None, sha)
        ran = await waiting

    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "shop/staging Live"


@pytest.mark.parametrize("form", ["{digest}", "{image}@{digest}", "2.0.0", "b" * 40])
async def test_a_job_that_pushed_an_image_asks_for_it(tmp_path: Path, form: str) -> None:
    """By what it knows: the digest, the image as its push was answered, the tag, its commit."""
    image = "registry.example/team/api"
    spec = replace(shop_spec(), images=(ImageSource(image, SemverPolicy(">=1")),))
    async with serving_world(spec) as http:
        http.world.registry.push(image, "1.0.0")
        await http.world.push("one", deployment(image))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        digest = http.world.registry.push(image, "2.0.0", revision="b" * 40)
        asked = form.format(digest=digest, image=image)
        waiting = asyncio.create_task(
            person_at(http, tmp_path).run("wait", asked, "--stage", "staging")
        )
        await http.world.notify(image, "2.0.0", digest)
        ran = await waiting

    assert (ran.code, ran.out.splitlines()[-1]) == (0, "shop/staging Live")


async def test_all_stages_have_to_be_live_without_a_stage(tmp_path: Path) -> None:
    """Without --stage the wait goes through the gate to production."""
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE))
        waiting = asyncio.create_task(person_at(http, tmp_path).run("wait", sha, "-o", "json"))
        run = await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await http.post(f"/runs/{run.id}/approve")
        ran = await waiting

    assert ran.code == 0
    assert ran.document["outcome"] == "LIVE"
    assert {one["state"] for one in ran.document["stages"]} == {"Live"}


async def test_held_at_a_gate_is_5_when_asked_so_and_a_timeout_otherwise(tmp_path: Path) -> None:
    """5 with --fail-on-gate, 124 when the time is over; both say whom to ask."""
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE))
        await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        person = person_at(http, tmp_path)
        held = await person.run("wait", sha, "-s", "production", "--fail-on-gate")
        late = await person.run("wait", sha, "-s", "production", "--timeout", "0.2s")

    assert (held.code, late.code) == (5, 124)
    assert "gitopsd approve" in held.out
    assert late.err == "gitopsd: not live after 0.2s\n"


async def test_what_fails_is_1_and_what_is_rolled_back_is_3(tmp_path: Path) -> None:
    """A first release has nothing to go back to; a later one is rolled back."""
    spec = shop_spec()
    check = replace(spec.stages[0].verify[0], within=timedelta(seconds=1))
    spec = replace(spec, stages=(replace(spec.stages[0], verify=(check,)), spec.stages[1]))
    async with serving_world(spec) as http:
        world, person = http.world, person_at(http, tmp_path)
        world.verifier.serve("api", MemoryAnswer(status=500), path="/health")
        first = await world.push("one", deployment(IMAGE))
        failed = await person.run("wait", first, "-s", "staging")
        world.verifier.serve("api", MemoryAnswer(), path="/health")
        await world.push("two", deployment(IMAGE), config_map("c", v="2"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.verifier.serve("api", MemoryAnswer(status=500), path="/health")
        third = await world.push("three", deployment(IMAGE), config_map("c", v="3"))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.RUNNING)
        world.verifier.serve("api", MemoryAnswer(), path="/health")
        rolled = await person.run("wait", third, "-s", "staging")
        downstream = await person.run("wait", third, "-s", "production")

    assert (failed.code, rolled.code, downstream.code) == (1, 3, 1)
    assert "check api /health failed" in failed.out


async def test_superseded_by_one_that_does_not_contain_it_is_4(tmp_path: Path) -> None:
    """A force-push takes the place of a commit; --exact asks for the commit itself."""
    async with serving_world() as http:
        world, person = http.world, person_at(http, tmp_path)
        first = await world.push("one", deployment(IMAGE), hint=False)
        second = await world.push("two", deployment(IMAGE), config_map("c", v="2"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        contained = await person.run("wait", first, "-s", "staging")
        exact = await person.run("wait", first, "-s", "staging", "--exact")
        itself = await person.run("wait", second, "-s", "staging", "--exact")
        world.head = None
        await world.push("elsewhere", deployment(IMAGE), config_map("c", v="3"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        replaced = await person.run("wait", second, "-s", "staging")

    assert (contained.code, exact.code, itself.code, replaced.code) == (0, 4, 0, 4)


async def test_usage_and_api_errors_are_2(tmp_path: Path) -> None:
    """A wrong flag, an unreadable span, a refused token."""
    async with serving_world(run=False) as http:
        person = person_at(http, tmp_path)
        flag = await person.run("wait", "a" * 40, "--nonsense")
        span = await person.run("wait", "a" * 40, "--timeout", "later")
        token = await CommandLine(http.url, "gitopsd_wrong", tmp_path).run("wait", "a" * 40)

    assert (flag.code, span.code, token.code) == (2, 2, 2)


STATES = ("NotSeen", "Waiting", "Running", "Held")


def status(state: str, *, exact: bool = True) -> dict[str, object]:
    """What the API says of one stage."""
    return {"state": state, "exact": exact}


@pytest.mark.parametrize(
    "states,outcome",
    [
        ((), None),
        (("NotSeen",), None),
        (("Live", "NotSeen"), Outcome.LIVE),
        (("Live", "Waiting"), None),
        (("Live", "Live"), Outcome.LIVE),
        (("NotConcerned",), Outcome.LIVE),
        (("NotConcerned", "Live"), Outcome.LIVE),
        (("NotConcerned", "Running"), None),
        (("Live", "Failed"), Outcome.FAILED),
        (("Quarantined",), Outcome.FAILED),
        (("RolledBack", "Failed"), Outcome.ROLLED_BACK),
        (("Superseded", "Live"), Outcome.SUPERSEDED),
        (("Held",), None),
    ],
)
def test_how_several_stages_add_up(states: tuple[str, ...], outcome: Outcome | None) -> None:
    """Every stage that the commit concerns has to be live; one that failed ends the wait."""
    found = [status(state) for state in states]

    assert judge(found, exact=False, fail_on_gate=False) is outcome


def test_flags_change_what_counts() -> None:
    """--exact and --fail-on-gate."""
    through = [status("Live", exact=False)]

    assert judge(through, exact=False, fail_on_gate=False) is Outcome.LIVE
    assert judge(through, exact=True, fail_on_gate=False) is Outcome.SUPERSEDED
    assert judge([status("Held")], exact=False, fail_on_gate=True) is Outcome.HELD
    assert judge([status("Running")], exact=False, fail_on_gate=True) is None


def test_git_says_which_commit_is_meant(tmp_path: Path) -> None:
    """HEAD, a branch or a short id is looked up here; what Git does not know is sent as it is."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "one")
    sha = git("rev-parse", "HEAD")
    full, digest = "a" * 40, f"sha256:{'b' * 64}"

    assert [resolve(name, tmp_path) for name in ("HEAD", "main", sha[:8])] == [sha] * 3
    assert resolve("v9.9", tmp_path) == "v9.9"
    assert resolve(full, tmp_path) == full
    assert resolve(digest, tmp_path) == digest


def test_a_place_without_git_asks_for_a_commit(tmp_path: Path) -> None:
    """HEAD means nothing where there is no repository."""
    with pytest.raises(PermanentError, match="name a commit"):
        resolve("HEAD", tmp_path)
