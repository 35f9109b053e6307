"""What an application file says, once it is read."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.config import ApplicationSpec, GitSource, StageSpec
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.releases import ApplicationName, StageName
from gitopsd.domain.sources import RefName, RepoURL

MAIN, EU = RefName("refs/heads/main"), RefName("refs/heads/eu")
STAGING = StageSpec(StageName("staging"), "one", "overlays/staging", "shop-staging")
EUROPE = replace(STAGING, name=StageName("europe"), ref=EU)
SHOP = ApplicationSpec(
    ApplicationName("shop"),
    {},
    GitSource(RepoURL("https://git.example/shop.git"), MAIN),
    (STAGING, EUROPE),
)


def test_a_stage_is_found_by_its_name() -> None:
    """A name that the file does not have finds nothing."""
    assert SHOP.stage(StageName("europe")) is EUROPE
    assert SHOP.stage(StageName("production")) is None


def test_a_stage_follows_its_own_branch_or_the_files() -> None:
    """A branch of its own makes it an entry with a line of its own."""
    assert SHOP.ref_of(EUROPE) == EU
    assert SHOP.ref_of(STAGING) == MAIN


def test_an_application_follows_the_branches_that_its_stages_take() -> None:
    """The file's own branch counts where a stage takes it, and in its own repository."""
    repo = SHOP.source.repo
    alone = replace(SHOP, stages=(EUROPE,))
    assert [SHOP.follows(repo, ref) for ref in (MAIN, EU)] == [True, True]
    assert [alone.follows(repo, ref) for ref in (MAIN, EU)] == [False, True]
    assert not SHOP.follows(RepoURL("https://git.example/another.git"), MAIN)


def test_a_group_begins_in_the_order_it_says_or_all_at_once() -> None:
    """Stages name their group; without an order they are one wave, as they stand in the file."""
    grouped = replace(EUROPE, group="production")
    asia = replace(grouped, name=StageName("asia"))
    shop = replace(SHOP, stages=(STAGING, grouped, asia), groups=(GroupSpec("production"),))
    (group,) = shop.groups

    assert [shop.group_of(stage) for stage in shop.stages] == [None, group, group]
    assert shop.group_named("staging") is None
    assert shop.waves_of(group) == (("europe", "asia"),)
    ordered = replace(group, order=((StageName("asia"),), (StageName("europe"),)))
    assert shop.waves_of(ordered) == (("asia",), ("europe",))


def test_channels_that_can_be_written_again_show_reports() -> None:
    """Slack and GitHub show how things stand; a webhook gets one message for each event."""
    showing = {kind for kind in ChannelType if ChannelSpec("one", kind).shows_reports}
    assert showing == {ChannelType.SLACK, ChannelType.GITHUB}
