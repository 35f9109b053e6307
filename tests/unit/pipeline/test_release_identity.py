"""Names of releases: the same content has the same name, other content another."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ApplicationName, ReleaseId
from gitopsd.domain.sources import CommitSha
from gitopsd.pipeline.release_identity import compute_alias, compute_release_id

SHOP = ApplicationName("shop")
SHA = CommitSha("a" * 40)
IMAGES = {"api": Digest("sha256:1"), "web": Digest("sha256:2")}


def test_names_never_change() -> None:
    """These names are stored in databases and known to people: a change would rename releases."""
    assert compute_release_id(SHOP, SHA, IMAGES) == "r-894f77d868c79dc8"
    assert compute_alias(ReleaseId("r-894f77d868c79dc8")) == "golden-kestrel"
    assert compute_alias(ReleaseId("r-1")) == "calm-linden"


def test_the_order_of_images_means_nothing() -> None:
    """A release is a set of digests."""
    turned = dict(reversed(IMAGES.items()))
    assert compute_release_id(SHOP, SHA, turned) == compute_release_id(SHOP, SHA, IMAGES)


def test_every_part_of_the_content_counts() -> None:
    """Another application, commit, image name or digest makes another release."""
    names = {
        compute_release_id(SHOP, SHA, IMAGES),
        compute_release_id(SHOP, SHA, {}),
        compute_release_id(ApplicationName("shop2"), SHA, IMAGES),
        compute_release_id(SHOP, CommitSha("b" * 40), IMAGES),
        compute_release_id(SHOP, SHA, {**IMAGES, "web": Digest("sha256:3")}),
        compute_release_id(SHOP, SHA, {"api": Digest("sha256:1"), "job": Digest("sha256:2")}),
    }
    assert len(names) == 6


@given(st.text())
def test_an_alias_is_two_plain_words(text: str) -> None:
    """Whatever the id, its alias can be said and typed."""
    assert re.fullmatch(r"[a-z]+-[a-z]+", compute_alias(ReleaseId(text)))


def test_aliases_use_all_words() -> None:
    """Neither list is only partly used."""
    aliases = [compute_alias(ReleaseId(f"r-{number}")).split("-") for number in range(4000)]
    assert len({first for first, _ in aliases}) == 64
    assert len({second for _, second in aliases}) == 64
