"""Who made the commits of a range, where only a real mirror can be odd."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitopsd.adapters.git.ranges import read_range
from gitopsd.domain.sources import CommitSha
from gitopsd.errors import TemporaryError
from tests.support.repositories import BareRepository


@pytest.fixture
def repository(tmp_path: Path) -> BareRepository:
    """An empty repository, read as a mirror is."""
    return BareRepository(tmp_path / "shop.git")


def test_a_merge_brings_the_commits_of_both_sides(repository: BareRepository) -> None:
    """Those of the branch that was merged count as much as the merge itself."""
    base = repository.commit({"a": "1"})
    side = repository.commit({"b": "1"}, ref=None, parent=base, author=("S", "side@x.example"))
    ours = repository.commit({"a": "2"}, author=("O", "ours@x.example"))
    merge = repository.commit({"c": "1"}, merges=(side,), author=("M", "merge@x.example"))

    found = read_range(repository.path, merge, base, 10)
    assert found.commits[0].sha == merge
    assert {one.author for one in found.commits} == {
        "merge@x.example",
        "ours@x.example",
        "side@x.example",
    }
    only = read_range(repository.path, merge, ours, 10)
    assert {one.author for one in only.commits} == {"merge@x.example", "side@x.example"}


@pytest.mark.parametrize(
    "message,found",
    [
        ("Fix\n\nCo-authored-by: Ana <ana@x.example>", ("ana@x.example",)),
        ("Fix\n\nco-AUTHORED-by: Ana <ana@x.example>\r\n", ("ana@x.example",)),
        (
            "Fix\n\nCo-authored-by: A <a@x>\nCo-authored-by: A <a@x>\nCo-authored-by: B <b@x>",
            ("a@x", "b@x"),
        ),
        ("Fix what Co-authored-by: Ana <ana@x.example> said", ()),
        ("Fix\n\nCo-authored-by: Ana ana@x.example", ()),
        ("Fix\n\nCo-authored-by: <>\nCo-authored-by: A <b\nc>", ()),
        ("x" * 200_000 + "\n\nCo-authored-by: Ana <ana@x.example>", ()),
    ],
)
def test_co_authors_are_trailers(
    repository: BareRepository, message: str, found: tuple[str, ...]
) -> None:
    """One a line, however it is cased; anything else in a message names nobody."""
    base = repository.commit({"a": "1"})
    head = repository.commit({"a": "2"}, message=message)
    assert read_range(repository.path, head, base, 10).commits[0].co_authors == found


def test_a_commit_names_few_people_briefly(repository: BareRepository) -> None:
    """What is kept of one commit is bounded, whatever somebody wrote."""
    base = repository.commit({"a": "1"})
    many = "\n".join(f"Co-authored-by: P <{'p' * 400}{number}@x>" for number in range(200))
    head = repository.commit({"a": "2"}, message=f"Fix\n\n{many}", author=("L", "l" * 1000))
    (commit,) = read_range(repository.path, head, base, 10).commits
    assert len(commit.co_authors) == 50
    assert {len(one) for one in (*commit.co_authors, commit.author)} == {320}


def test_no_mirror_is_no_verdict(tmp_path: Path) -> None:
    """Before the first fetch it cannot be told."""
    with pytest.raises(TemporaryError):
        read_range(tmp_path / "none.git", CommitSha("a" * 40), CommitSha("b" * 40), 10)
