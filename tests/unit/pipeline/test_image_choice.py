"""Which images a release gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.domain.images import (
    DigestPolicy,
    ImageCandidate,
    ImagePolicy,
    ImageSource,
    NewestPolicy,
    SemverPolicy,
)
from gitopsd.domain.manifests import Digest
from gitopsd.pipeline.image_choice import (
    AHEAD,
    KEPT,
    ImageChoice,
    choose,
    find_credible,
    matches,
    may_want,
    rank,
    select_tags,
)

API, WORKER, CRON = "registry.example/api", "registry.example/worker", "registry.example/cron"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SEMVER, NEWEST, MAIN = SemverPolicy(">=1"), NewestPolicy("main-*"), DigestPolicy("main")


def _one(
    tag: str, revision: str = "", *, minutes: int | None = None, of: str = ""
) -> ImageCandidate:
    created = None if minutes is None else BEGIN + timedelta(minutes=minutes)
    return ImageCandidate(tag, Digest(f"sha256:{of}{tag}{revision}"), revision, created)


def _group(policy: ImagePolicy, *names: str) -> list[ImageSource]:
    return [ImageSource(name, policy, "build") for name in names]


@pytest.mark.parametrize(
    "policy, text",
    [(SEMVER, "semver >=1"), (NEWEST, "newest main-*"), (MAIN, "digest main")],
)
def test_a_policy_is_named_by_its_text(policy: ImagePolicy, text: str) -> None:
    """The text of a policy is what its candidates are stored under."""
    assert str(policy) == text


@pytest.mark.parametrize(
    "policy, wanted, unwanted",
    [
        (SEMVER, ["1.0.0", "v2.1.0"], ["0.9.0", "1.0", "latest", "1.0.0-rc.1"]),
        (NEWEST, ["main-1", "main-"], ["main", "dev-1", "xmain-1"]),
        (NewestPolicy(), ["anything", "1.0.0"], ["sha256-" + "a" * 64, f"sha256-{'a' * 64}.sig"]),
        (MAIN, ["main"], ["main-1", "mai"]),
    ],
)
def test_a_policy_wants_its_tags(
    policy: ImagePolicy, wanted: list[str], unwanted: list[str]
) -> None:
    """A tag that a policy could never choose is no reason to look."""
    assert all(may_want(policy, tag) for tag in wanted)
    assert not any(may_want(policy, tag) for tag in unwanted)


@pytest.mark.parametrize(
    "pattern, tag, fits",
    [
        ("*", "", True), ("*", "abc", True), ("", "", True), ("", "a", False), ("a", "", False),
        ("a*c", "abc", True), ("a*c", "ac", True), ("a*c", "abcd", False), ("a?c", "abc", True),
        ("a?c", "ac", False), ("*-prod", "a-prod-prod", True), ("*-prod", "a-prod-", False),
        ("a*b*c", "axxbyyc", True), ("a*b*c", "axxcyyb", False), ("main", "main", True),
        ("main", "mainx", False), ("a**", "a", True), ("[ab]", "a", False), ("a*?", "a", False),
        ("aX", "a", False), ("*a", "ba", True), ("*", "a", True),
    ],
)  # fmt: skip
def test_patterns_are_of_signs_and_stars(pattern: str, tag: str, fits: bool) -> None:
    """A star stands for any signs, a question mark for one; nothing else is special."""
    assert matches(pattern, tag) is fits


def test_a_hostile_pattern_costs_little() -> None:
    """Many stars before a sign that is not there end soon."""
    assert not matches("*a" * 30 + "b", "a" * 128)


def test_versions_are_looked_up_highest_first() -> None:
    """Of all tags the highest versions in the range are known, and only so many."""
    tags = [f"1.{minor}.0" for minor in range(30)] + ["latest", "0.1.0", "1.4"]

    assert select_tags(SEMVER, tags) == tuple(f"1.{29 - place}.0" for place in range(KEPT))


def test_the_same_version_twice_is_ordered_by_name() -> None:
    """Two spellings of one version come out in the same order each time."""
    assert select_tags(SEMVER, ["1.0.0", "v1.0.0"]) == ("v1.0.0", "1.0.0")
    assert select_tags(SEMVER, ["v1.0.0", "1.0.0"]) == ("v1.0.0", "1.0.0")
    found = [_one("1.0.0"), _one("v1.0.0")]
    assert rank(SEMVER, found) == rank(SEMVER, found[::-1]) == (found[1], found[0])


def test_a_pattern_is_looked_up_in_the_order_people_read() -> None:
    """Numbers in tags count as numbers."""
    assert select_tags(NEWEST, ["main-9", "main-10", "dev-1"]) == ("main-10", "main-9")


def test_a_tag_that_is_named_needs_no_list() -> None:
    """The digest policy looks its tag up, whatever is listed."""
    assert select_tags(MAIN, ()) == ("main",)


def test_versions_rank_by_precedence() -> None:
    """The highest version is best, however it was found."""
    found = [_one("1.9.0"), _one("1.10.0"), _one("1.2.0"), _one("odd")]

    assert [one.tag for one in rank(SEMVER, found)] == ["1.10.0", "1.9.0", "1.2.0", "odd"]


def test_newest_ranks_by_creation() -> None:
    """What was built last is best; what has no credible time comes last, by name."""
    found = [
        _one("main-1", minutes=9), _one("main-3"), _one("main-2", minutes=10), _one("main-10"),
        _one("main-4", minutes=9),
    ]  # fmt: skip

    tags = [one.tag for one in rank(NEWEST, found)]

    assert tags == ["main-2", "main-4", "main-1", "main-10", "main-3"]


def test_a_moving_tag_remembers_what_it_pointed_to() -> None:
    """What a tag points to is best; before it come its earlier images, each once."""
    one, two, three = _one("main", "1"), _one("main", "2"), _one("main", "3")

    first = rank(MAIN, [one])
    second = rank(MAIN, [two], first)
    back = rank(MAIN, [one], second)

    assert (first, second, back) == ((one,), (two, one), (one, two))
    assert rank(MAIN, [three], back) == (three, one, two)
    assert rank(MAIN, [], back) == back


def test_only_so_many_are_kept() -> None:
    """Ten candidates stay under every policy."""
    many = [_one("main", str(number)) for number in range(20)]

    assert KEPT == 10
    assert rank(MAIN, many[:1], many[1:]) == tuple(many[:KEPT])
    assert len(rank(NEWEST, many)) == KEPT


def test_a_tag_that_vanished_is_remembered_as_gone() -> None:
    """It keeps its place while nothing better comes, and is there again when it comes back."""
    one, two, three = _one("1.0.0"), _one("1.1.0"), _one("1.2.0")
    before = rank(SEMVER, [one, two, three])

    without = rank(SEMVER, [one], before)

    assert without == (replace(three, gone=True), replace(two, gone=True), one)
    assert rank(SEMVER, [one], without) == without
    assert rank(SEMVER, [one, three], without) == (three, replace(two, gone=True), one)
    assert rank(SEMVER, [], before) == tuple(replace(it, gone=True) for it in before)


def test_news_make_what_vanished_forgotten() -> None:
    """Whatever is the best of all that is there now and was pushed since is no way back."""
    one, two, three = _one("1.0.0"), _one("1.1.0"), _one("1.2.0")
    before = rank(SEMVER, [one, three])

    assert rank(SEMVER, [one, two], before) == (two, one)
    assert rank(SEMVER, [one, two, _one("0.9.0")], rank(SEMVER, [one, two])) == (
        two, one, _one("0.9.0"),
    )  # fmt: skip
    again = _one("1.0.0", of="rebuilt")
    assert rank(SEMVER, [again], before) == (again,)


def test_a_push_behind_the_best_brings_nothing_back() -> None:
    """A fix of an older version does not make the line forget what it had."""
    one, two = _one("1.1.0"), _one("1.2.0")
    before = rank(SEMVER, [one, two])

    ranked = rank(SEMVER, [one, _one("1.0.1")], before)

    assert ranked == (replace(two, gone=True), one, _one("1.0.1"))


def test_what_was_cut_off_is_no_news() -> None:
    """When all ten that were known vanish, what stood behind them was not pushed since."""
    many = [_one(f"1.{minor}.0") for minor in range(30)]
    before = rank(SEMVER, many)

    assert all(it.gone for it in rank(SEMVER, many[:20], before))
    newer = _one("1.20.1")
    assert rank(SEMVER, [*many[:20], newer], before)[0] == newer
    rebuilt = _one("1.20.0", of="rebuilt")
    assert rank(SEMVER, [*many[:20], rebuilt], before)[0] == rebuilt


def test_a_policy_remembers_nothing_that_it_does_not_want() -> None:
    """What an older version of the software stored beside it goes."""
    before = (_one("2.0.0-rc.1"), _one("1.1.0"), _one("1.0.0"))

    assert rank(SEMVER, [_one("1.0.0")], before) == (
        replace(_one("1.1.0"), gone=True),
        _one("1.0.0"),
    )


def test_the_newest_that_vanished_is_remembered() -> None:
    """By time of creation as by version."""
    one, two = _one("main-1", minutes=1), _one("main-2", minutes=2)

    assert rank(NEWEST, [one], (two, one)) == (replace(two, gone=True), one)
    assert rank(NEWEST, [one, _one("main-3", minutes=3)], (two, one))[0].tag == "main-3"


@pytest.mark.parametrize(
    "ahead, credible",
    [(timedelta(0), True), (AHEAD, True), (AHEAD + timedelta(microseconds=1), False)],
)
def test_a_time_that_has_not_come_is_none(ahead: timedelta, *, credible: bool) -> None:
    """Clocks and time zones differ by a day at most."""
    assert timedelta(days=1) == AHEAD
    assert find_credible(BEGIN + ahead, BEGIN) == (BEGIN + ahead if credible else None)
    assert find_credible(None, BEGIN) is None


def test_what_is_gone_is_not_chosen() -> None:
    """The best that is there is taken; that it is so because of what vanished is known."""
    gone = replace(_one("2.0.0"), gone=True)
    found = {API: [gone, _one("1.0.0")], WORKER: [_one("main")]}
    sources = [ImageSource(API, SEMVER), ImageSource(WORKER, MAIN)]
    had = {API: _one("2.0.0"), WORKER: _one("main")}

    assert choose(sources, found, previous=had).vanished == {API}
    assert choose(sources, found, previous=had).picks[API] == _one("1.0.0")
    assert choose(sources, found, previous={API: _one("1.0.0")}).vanished == frozenset()
    assert choose(sources, found).vanished == frozenset()
    assert choose(sources, found, frozenset({gone.digest})).skipped == ()


def test_while_all_is_gone_the_line_keeps_what_it_has() -> None:
    """An empty registry takes no release down with it."""
    found = {API: [replace(_one("2.0.0"), gone=True)]}

    choice = choose([ImageSource(API, SEMVER)], found, previous={API: _one("2.0.0")})

    assert choice.picks == {API: _one("2.0.0")}
    assert choose([ImageSource(API, SEMVER)], found).missing != ()


def test_a_group_moves_as_one_when_one_image_is_gone() -> None:
    """The build is that of those that are there; all members are said to move because of it."""
    gone = replace(_one("2.0.0", of="w"), gone=True)
    found = {
        API: [_one("2.0.0"), _one("1.0.0")],
        WORKER: [gone, _one("1.0.0", of="w")],
    }
    had = {API: _one("2.0.0"), WORKER: _one("2.0.0", of="w")}

    choice = choose(_group(SEMVER, API, WORKER), found, previous=had)

    assert {one.tag for one in choice.picks.values()} == {"1.0.0"}
    assert choice.vanished == {API, WORKER}
    assert choice.waiting == (f"{API}:2.0.0 waits for {WORKER}",)


def test_one_build_under_two_tags_is_passed_over_once() -> None:
    """Its image is named once, however often it was found."""
    found = {
        API: [_one("main-7", "a"), _one("main-6", "a"), _one("main-5", "b")],
        WORKER: [_one("worker-1", "a"), _one("worker-2", "b")],
    }
    held = frozenset({_one("worker-1", "a").digest})
    policy = NewestPolicy()

    choice = choose(_group(policy, API, WORKER), found, held)

    assert choice.picks[API].tag == "main-5"
    assert choice.skipped == (f"{WORKER}:worker-1",)


def test_no_choice_has_no_digests() -> None:
    """An application that follows no image takes none."""
    assert ImageChoice().digests == {}


def test_each_image_gets_its_best() -> None:
    """Images without a group are chosen each for itself, in the order of the file."""
    sources = [ImageSource(WORKER, MAIN), ImageSource(API, SEMVER)]
    found = {API: [_one("2.0.0"), _one("1.0.0")], WORKER: [_one("main")]}

    choice = choose(sources, found)

    assert list(choice.picks) == [WORKER, API]
    assert choice.digests == {API: Digest("sha256:2.0.0"), WORKER: Digest("sha256:main")}
    assert choice == ImageChoice({API: _one("2.0.0"), WORKER: _one("main")})


def test_what_is_quarantined_is_passed_over() -> None:
    """The best that no quarantine names is taken, and what is passed over is said."""
    found = {API: [_one("3.0.0"), _one("2.0.0"), _one("1.0.0")]}
    held = frozenset({_one("3.0.0").digest})

    choice = choose([ImageSource(API, SEMVER)], found, held)

    assert choice.picks == {API: _one("2.0.0")}
    assert choice.skipped == (f"{API}:3.0.0",)


def test_the_best_stays_when_everything_is_quarantined() -> None:
    """There is nothing better to offer; the stage itself refuses it with its reason."""
    held = frozenset({_one("1.0.0").digest})

    choice = choose([ImageSource(API, SEMVER)], {API: [_one("1.0.0")]}, held)

    assert choice == ImageChoice({API: _one("1.0.0")})


def test_nothing_found_yet_is_said() -> None:
    """No release is made before each image was found once."""
    choice = choose([ImageSource(API, SEMVER), ImageSource(WORKER, MAIN)], {WORKER: [_one("main")]})

    assert choice.missing == (f"nothing of {API} fits `semver >=1` yet",)
    assert choice.picks == {WORKER: _one("main")}


def test_what_the_line_has_is_kept_while_nothing_is_found() -> None:
    """An image that vanished from the registry does not take releases down with it."""
    choice = choose([ImageSource(API, SEMVER)], {}, previous={API: _one("1.0.0")})

    assert choice == ImageChoice({API: _one("1.0.0")})


def test_a_group_takes_the_newest_tag_that_all_have() -> None:
    """A newer image of one member waits for the others, and says for whom."""
    found = {API: [_one("1.2.0"), _one("1.1.0")], WORKER: [_one("1.1.0"), _one("1.0.0")]}

    choice = choose(_group(SEMVER, API, WORKER), found)

    assert choice == ImageChoice(
        {API: _one("1.1.0"), WORKER: _one("1.1.0")}, waiting=(f"{API}:1.2.0 waits for {WORKER}",)
    )


def test_members_with_different_news_wait_for_each_other() -> None:
    """When each member has something newer of its own, both are said."""
    found = {
        API: [_one("1.3.0"), _one("1.1.0")],
        WORKER: [_one("1.2.0"), _one("1.1.0")],
    }

    choice = choose(_group(SEMVER, API, WORKER), found)

    assert choice.digests[API] == _one("1.1.0").digest
    assert choice.waiting == (
        f"{API}:1.3.0 waits for the others of its group",
        f"{WORKER}:1.2.0 waits for the others of its group",
    )


def test_a_group_agrees_by_revision_label() -> None:
    """Tags that only move agree when their images were built from one commit."""
    found = {
        API: [_one("main", "bbb"), _one("main", "aaa")],
        WORKER: [_one("main", "aaa", of="w")],
    }

    choice = choose(_group(MAIN, API, WORKER), found)

    assert choice.picks == {API: _one("main", "aaa"), WORKER: _one("main", "aaa", of="w")}
    assert choice.waiting == (f"{API}:main waits for {WORKER}",)


def test_the_same_moving_tag_is_no_agreement() -> None:
    """Two images under one tag that moves may be of two builds: without labels nothing is taken."""
    found = {API: [_one("main")], WORKER: [_one("main", of="w")]}

    choice = choose(_group(MAIN, API, WORKER), found)

    assert choice.picks == {}
    assert choice.missing == (
        (
            f"group build has no build in common yet: {API}:main (no revision label); "
            f"{WORKER}:main (no revision label)"
        ),
    )


def test_different_tags_agree_by_revision() -> None:
    """Under policies that choose among tags, one revision is one build as well."""
    found = {
        API: [_one("main-7", "a" * 40), _one("main-5", "c")],
        WORKER: [_one("main-8", "b"), _one("main-6", "a" * 40)],
    }

    choice = choose(_group(NEWEST, API, WORKER), found)

    assert choice.picks[API].tag == "main-7"
    assert choice.picks[WORKER].tag == "main-6"
    assert choice.waiting == (f"{WORKER}:main-8 waits for {API}",)


def test_a_third_does_not_join_two_builds() -> None:
    """All members share one tag or one revision; sharing by turns is no agreement."""
    found = {
        API: [_one("1.0.0", "aaa")],
        WORKER: [_one("1.0.0", "bbb"), _one("0.9.0", "aaa")],
        CRON: [_one("0.8.0", "aaa")],
    }

    choice = choose(_group(SEMVER, API, WORKER, CRON), found)

    assert [choice.picks[name].tag for name in (API, WORKER, CRON)] == ["1.0.0", "0.9.0", "0.8.0"]


def test_a_group_without_agreement_keeps_what_it_has() -> None:
    """Another commit flows with the images of the release before it; what waits is said."""
    found = {API: [_one("main", "b" * 40)], WORKER: [_one("main", "a" * 40, of="w")]}
    previous = {API: _one("main", "old"), WORKER: _one("main", "old", of="w")}

    choice = choose(_group(MAIN, API, WORKER), found, previous=previous)

    assert choice.picks == previous
    assert choice.missing == ()
    assert choice.waiting == (
        (
            f"group build has no build in common yet: {API}:main (revision {'b' * 12}); "
            f"{WORKER}:main (revision {'a' * 12})"
        ),
    )


def test_a_group_with_a_new_member_waits_for_it() -> None:
    """What the line has of some members is no build of all."""
    found = {API: [_one("1.0.0")]}

    choice = choose(_group(SEMVER, API, WORKER), found, previous={API: _one("1.0.0")})

    assert choice.picks == {}
    assert choice.missing == (
        (
            f"group build has no build in common yet: {API}:1.0.0 (no revision label); "
            f"nothing of {WORKER} fits `semver >=1`"
        ),
    )


def test_a_build_with_a_quarantined_image_is_passed_over_as_a_whole() -> None:
    """The group goes on to the next build; only the bad image is named."""
    found = {
        API: [_one("1.2.0"), _one("1.1.0")],
        WORKER: [_one("1.2.0", of="w"), _one("1.1.0", of="w")],
    }
    held = frozenset({_one("1.2.0", of="w").digest})

    choice = choose(_group(SEMVER, API, WORKER), found, held)

    assert {one.tag for one in choice.picks.values()} == {"1.1.0"}
    assert choice.skipped == (f"{WORKER}:1.2.0",)
    assert choice.waiting == (f"{API}:1.2.0 waits for {WORKER}",)


def test_a_group_of_quarantined_builds_keeps_the_best() -> None:
    """As with a single image: the stage refuses it, and nothing better is there."""
    found = {API: [_one("1.0.0")], WORKER: [_one("1.0.0", of="w")]}
    held = frozenset({_one("1.0.0").digest})

    choice = choose(_group(SEMVER, API, WORKER), found, held)

    assert choice == ImageChoice({API: _one("1.0.0"), WORKER: _one("1.0.0", of="w")})


def test_an_image_without_a_tag_is_named_by_its_digest() -> None:
    """Sentences name what there is."""
    found = {API: [ImageCandidate("", Digest("sha256:1")), _one("1.0.0")]}

    choice = choose([ImageSource(API, SEMVER)], found, frozenset({Digest("sha256:1")}))

    assert choice.skipped == (f"{API}@sha256:1",)


def test_two_groups_do_not_meet() -> None:
    """Each group agrees in itself."""
    sources = [
        ImageSource(API, SEMVER, "one"),
        ImageSource(WORKER, SEMVER, "two"),
        ImageSource(CRON, SEMVER, "one"),
    ]
    found = {API: [_one("1.0.0")], WORKER: [_one("2.0.0")], CRON: [_one("1.0.0", of="c")]}

    choice = choose(sources, found)

    assert [one.tag for one in choice.picks.values()] == ["1.0.0", "2.0.0", "1.0.0"]
    assert list(choice.picks) == [API, WORKER, CRON]
