"""Which refs an application follows."""

from __future__ import annotations

from gitopsd.domain.config import ApplicationSpec, GitSource, StageSpec
from gitopsd.domain.releases import ApplicationName, StageName
from gitopsd.domain.sources import RefName, RepoURL

REPO, OTHER = RepoURL("https://git.example/shop.git"), RepoURL("https://git.example/other.git")
MAIN, NEXT = RefName("refs/heads/main"), RefName("refs/heads/next")
STAGING = StageSpec(StageName("staging"), "one", "overlays/staging", "shop")


def test_an_application_follows_the_refs_that_feed_its_stages() -> None:
    """Its own where a stage has none, a stage's own otherwise, and in its repository alone."""
    own = StageSpec(StageName("canary"), "one", "overlays/canary", "shop", ref=NEXT)
    spec = ApplicationSpec(ApplicationName("shop"), {}, GitSource(REPO, MAIN), (STAGING,))
    both = ApplicationSpec(ApplicationName("shop"), {}, GitSource(REPO, MAIN), (STAGING, own))
    fed_apart = ApplicationSpec(ApplicationName("shop"), {}, GitSource(REPO, MAIN), (own,))
    refs = (MAIN, NEXT)
    assert [spec.follows(REPO, ref) for ref in refs] == [True, False]
    assert [both.follows(REPO, ref) for ref in refs] == [True, True]
    assert [fed_apart.follows(REPO, ref) for ref in refs] == [False, True]
    assert not both.follows(OTHER, MAIN)
