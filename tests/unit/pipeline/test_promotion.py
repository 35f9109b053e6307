"""The order of stages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec, GitSource, Promotion, StageSpec, UpstreamSpec
from gitopsd.domain.gate_specs import ApprovalGate, SoakGate
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageName
from gitopsd.domain.sources import RefName, RepoURL
from gitopsd.pipeline.promotion import (
    OrderProblem,
    check_order,
    downstream_of,
    is_entry,
    judging,
    missing_upstream,
    name_missing,
    not_running,
    waiting_for,
)

HOUR = timedelta(hours=1)


def stage(name: str, *after: str, ref: str | None = None, soaks: tuple[str, ...] = ()) -> StageSpec:
    """A stage that comes after others."""
    return StageSpec(
        StageName(name),
        "one",
        f"overlays/{name}",
        name,
        after=tuple(StageName(other) for other in after),
        ref=RefName(ref) if ref else None,
        gates=(
            *(SoakGate(StageName(other), HOUR) for other in soaks),
            ApprovalGate(("group:managers",)),
        ),
    )


def application(*stages: StageSpec) -> ApplicationSpec:
    """An application of these stages."""
    source = GitSource(RepoURL("https://git.example.test/shop.git"), RefName("refs/heads/main"))
    return ApplicationSpec(ApplicationName("shop"), {}, source, stages)


def test_entry_stages_are_fed_by_their_line() -> None:
    """A stage that comes after nothing is an entry."""
    assert is_entry(stage("staging"))
    assert not is_entry(stage("production", "staging"))


def test_downstream_are_the_stages_directly_after() -> None:
    """In file order; those further down ask for somebody else's verification."""
    spec = application(
        stage("eu", "staging"),
        stage("staging"),
        stage("world", "eu", "us"),
        stage("us", "staging"),
    )
    assert downstream_of(spec, StageName("staging")) == ("eu", "us")
    assert downstream_of(spec, StageName("us")) == ("world",)
    assert downstream_of(spec, StageName("world")) == ()


def test_a_verification_may_open_the_gates_of_two_kinds_of_stages() -> None:
    """Those after it, and those that ask it for images while they follow a line of their own."""
    asking = replace(stage("asking"), upstream=UpstreamSpec(StageName("staging")))
    other = replace(stage("other"), upstream=UpstreamSpec(StageName("asking")))
    spec = application(stage("staging"), asking, stage("eu", "staging"), other, stage("alone"))
    assert waiting_for(spec, StageName("staging")) == ("asking", "eu")
    assert waiting_for(spec, StageName("asking")) == ("other",)
    assert waiting_for(spec, StageName("alone")) == ()
    assert downstream_of(spec, StageName("staging")) == ("eu",)


def test_images_stay_off_a_line_that_failed_in_a_stage_it_is_asked_for() -> None:
    """Quarantines of the stages that are fed count, and of those that they ask; each once."""
    asking = replace(stage("asking"), upstream=UpstreamSpec(StageName("staging")))
    spec = application(stage("staging"), asking)
    names = [StageName(name) for name in ("asking", "staging", "gone")]
    assert judging(spec, names[:1]) == ("asking", "staging")
    assert judging(spec, names) == ("asking", "staging", "gone")
    assert judging(spec, names[1:2]) == ("staging",)
    assert judging(spec, ()) == ()


def test_a_release_has_to_be_verified_in_every_stage_before() -> None:
    """A stage of which nothing is known counts as not verified."""
    release = ReleaseId("r-1")
    world = stage("world", "eu", "us")
    assert missing_upstream(world, release, {}) == ("eu", "us")
    verified = {"eu": frozenset({release}), "us": frozenset({ReleaseId("r-2")})}
    assert missing_upstream(world, release, verified) == ("us",)
    assert missing_upstream(world, release, {**verified, "us": frozenset({release})}) == ()
    assert missing_upstream(stage("alone"), release, {}) == ()
    assert name_missing(world, world.after) == "eu, us"


def test_one_stage_before_is_enough_where_the_file_says_any() -> None:
    """It is missing only where it is verified in none of them."""
    release = ReleaseId("r-1")
    world = replace(stage("world", "eu", "us"), after_any=True)
    assert missing_upstream(world, release, {}) == ("eu", "us")
    assert name_missing(world, world.after) == "eu or us"
    assert missing_upstream(world, release, {"us": frozenset({release})}) == ()
    assert missing_upstream(replace(stage("alone"), after_any=True), release, {}) == ()


def test_a_stage_may_follow_what_the_stages_before_it_run_now() -> None:
    """All of them, or one where one is enough; it says what each runs."""
    release, other = ReleaseId("r-2"), ReleaseId("r-3")
    newest = stage("world", "eu", "us")
    assert not_running(newest, release, {}) == ""
    world = replace(newest, promotion=Promotion.UPSTREAM)
    assert not_running(world, release, {"eu": release, "us": release}) == ""
    assert not_running(world, release, {"eu": release, "us": other}) == (
        "it follows what us runs now: eu runs r-2, us runs r-3"
    )
    either = replace(world, after_any=True)
    assert not_running(either, release, {"eu": release, "us": None}) == ""
    assert not_running(either, release, {"eu": other}) == (
        "it follows what eu or us runs now: eu runs r-3, us runs nothing verified"
    )


def test_a_sensible_order_has_no_problems() -> None:
    """Forks, joins, soaks over two stages and entries of their own are fine."""
    spec = application(
        stage("staging"),
        stage("eu", "staging", soaks=("staging",)),
        stage("us", "staging"),
        stage("world", "eu", "us", soaks=("eu", "staging")),
        stage("preview", ref="refs/heads/preview"),
    )
    assert check_order(spec) == ()


@pytest.mark.parametrize(
    "stages,problem",
    [
        (
            (stage("staging"), stage("staging")),
            OrderProblem(
                "spec.stages[1].name",
                "there is a stage staging already",
                "give each stage a name of its own",
            ),
        ),
        (
            (stage("staging"), stage("production", "staging", ref="refs/heads/live")),
            OrderProblem(
                "spec.stages[1].after",
                "production follows a ref of its own and other stages as well",
                "remove after, or branch and tags",
            ),
        ),
        (
            (stage("staging"), stage("eu"), stage("production", "staging", "stagin")),
            OrderProblem(
                "spec.stages[2].after[1]", "there is no stage stagin", "there is: staging, eu"
            ),
        ),
        (
            (stage("production", "staging"),),
            OrderProblem(
                "spec.stages[0].after[0]", "there is no stage staging", "there is: no other stage"
            ),
        ),
        (
            (stage("staging"), stage("eu", "staging"), stage("us", "eu", soaks=("eu", "world"))),
            OrderProblem(
                "spec.stages[2].gates[1].soak.stage",
                "world does not come before us",
                "name a stage that does: eu, staging",
            ),
        ),
        (
            (stage("staging", soaks=("staging",)),),
            OrderProblem(
                "spec.stages[0].gates[0].soak.stage",
                "staging does not come before staging",
                "name a stage that does: add one with after",
            ),
        ),
        (
            (stage("staging", "staging"),),
            OrderProblem(
                "spec.stages[0].after",
                "staging comes after itself",
                "remove the way from staging back to it: staging",
            ),
        ),
    ],
)
def test_each_mistake_is_named_with_its_remedy(
    stages: tuple[StageSpec, ...], problem: OrderProblem
) -> None:
    """One problem, where it stands in the file, and what to write instead."""
    assert check_order(application(*stages)) == (problem,)


def test_every_stage_of_a_circle_is_named() -> None:
    """Whichever way is cut, the circle ends; a stage that only follows it is not in it."""
    spec = application(stage("a", "c"), stage("b", "a"), stage("c", "b"), stage("d", "c"))
    assert [problem.path for problem in check_order(spec)] == [
        "spec.stages[0].after",
        "spec.stages[1].after",
        "spec.stages[2].after",
    ]
