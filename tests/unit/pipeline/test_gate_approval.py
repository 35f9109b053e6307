"""The approval gate: who agrees to a plan, who may not, and what it says about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.contributions import CommitPeople
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Closed, Decision, GateAnswer, Open, Refused, Vote
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.manifests import Digest
from gitopsd.domain.people import People, Person, normalise_signature
from gitopsd.domain.runs import RunId
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import evaluate_gates
from gitopsd.pipeline.groups import GroupFacts
from gitopsd.pipeline.people_facts import PeopleFacts
from tests.support.gate_facts import FACTS as BARE
from tests.support.gate_facts import NOON, RUN
from tests.support.people_facts import BEFORE, HEAD, PEOPLE, commit, made, vote

APPROVAL = ApprovalGate(("group:managers", "user:ben"))
OPENER = "gitopsd approve run-7 (by group:managers or user:ben)"
FACTS = replace(
    BARE,
    spec=replace(BARE.spec, gates=(APPROVAL,)),
    run=replace(RUN, step_deadline=NOON + timedelta(hours=24)),
    people=PeopleFacts(contributions=made()),
)
EXPIRES = "expires 2030-06-02 12:00 UTC"


def answer(facts: GateFacts, name: str = "approval") -> GateAnswer:
    """What the gate answers."""
    (found,) = [state.answer for state in evaluate_gates(facts) if state.name == name]
    return found


def known(*votes: Vote, people: People = PEOPLE, count: int = 1) -> GateFacts:
    """Votes of people whom ``people.yaml`` knew when they voted."""
    spec = replace(FACTS.spec, gates=(replace(APPROVAL, count=count),))
    given = tuple(replace(one, known=True) for one in votes)
    facts = replace(FACTS.people, directory=people)
    return replace(FACTS, spec=spec, votes=given, people=facts)


def bringing(facts: GateFacts, *commits: CommitPeople, **more: tuple[str, ...]) -> GateFacts:
    """The same with other commits; ``more`` is who pushed the newest."""
    brought = made(*commits, pushers={HEAD: more["pushers"]} if more else None)
    return replace(facts, people=replace(facts.people, contributions=brought))


def test_it_waits_for_somebody_who_may_give_it() -> None:
    """The answer counts what is there, names the deadline, the command and who may type it."""
    assert answer(FACTS) == Closed(f"0 of 1 approvals, {EXPIRES}", OPENER)


@pytest.mark.parametrize("own", [False, True])
def test_where_one_approval_is_for_a_whole_group_that_is_how_it_is_given(*, own: bool) -> None:
    """For one stage alone it can be given, too; an approval of the stage's own is given there."""
    spec = GroupSpec("world", approval=None if own else APPROVAL)
    facts = replace(FACTS, group=GroupFacts(spec, FACTS.run.release, ()))
    stage = FACTS.run.stage
    whole = f"gitopsd approve {stage.application} --group world, or for {stage.stage} alone: "
    opener = OPENER if own else whole + OPENER
    assert answer(facts) == Closed(f"0 of 1 approvals, {EXPIRES}", opener)


def test_nothing_expires_once_it_was_complete() -> None:
    """A run that was approved has a time of its own; in a freeze time stands still."""
    for run in (
        replace(FACTS.run, approved=True),
        replace(FACTS.run, step_deadline=None),
        replace(FACTS.run, clock_stopped_at=NOON),
    ):
        assert answer(replace(FACTS, run=run)) == Closed("0 of 1 approvals", OPENER)


@pytest.mark.parametrize(
    "given", [vote("maria", "managers"), vote("ben"), vote("maria", "others", "managers")]
)
def test_one_allowed_vote_opens_it(given: Vote) -> None:
    """By name or by group; a token's groups count for somebody ``people.yaml`` does not know."""
    assert answer(replace(FACTS, votes=(given,))) == Open(f"approved by {given.subject}")


@pytest.mark.parametrize(
    "given",
    [
        vote("maria"),
        vote("maria", "others"),
        vote("managers"),
        vote("maria", "ben"),
        vote("ben", plan=Digest("sha256:before")),
        vote("ben", run=RunId("run-6")),
        vote("ben", void_at=NOON),
    ],
)
def test_other_votes_do_not_count(given: Vote) -> None:
    """Strangers', those for another run or plan, and void ones."""
    waiting = Closed(f"0 of 1 approvals, {EXPIRES}", OPENER)
    assert answer(replace(FACTS, votes=(given,))) == waiting
    against = replace(given, decision=Decision.REJECT)
    assert answer(replace(FACTS, votes=(against,))) == waiting


def test_a_quorum_is_of_distinct_people() -> None:
    """Two approvals need two people, however often one of them votes."""
    twice = known(vote("maria", "managers"), vote("maria", "managers"), count=2)
    assert answer(twice) == Closed(f"1 of 2 approvals, {EXPIRES}", OPENER)
    both = known(vote("maria", "managers"), vote("ben"), count=2)
    assert answer(both) == Open("approved by ben, maria")


def test_two_names_of_one_person_count_once() -> None:
    """Who sign alike, by an address or a login, are one; over a third name too."""
    people = People(
        persons=(
            Person("ana", ("ana@x.example",), ("managers",)),
            Person("root", ("root@x.example", "Ana@X.example"), ("managers",), "ana-gh"),
            Person("robot", (), ("managers",), "Ana-GH"),
            Person("sam", ("sam@x.example",), ("managers",)),
        )
    )
    given = [vote(name, "managers") for name in ("robot", "ana", "root")]
    assert answer(known(*given, people=people, count=2)) == Closed(
        f"1 of 2 approvals, {EXPIRES}; ana and robot and root are one person", OPENER
    )
    both = known(*given[1:], vote("sam", "managers"), people=people, count=2)
    assert answer(both) == Open("approved by ana alias root, sam")
    apart = known(vote("robot", "managers"), vote("ana", "managers"), people=people, count=2)
    assert answer(apart) == Open("approved by ana, robot")


def test_groups_are_read_from_people_yaml() -> None:
    """For somebody it knows, what the token says of groups counts for nothing."""
    facts = known(vote("olga", "managers"))
    assert answer(facts) == Open("approved by olga")
    stranger = PEOPLE.groups_of("ola", ("managers",))
    assert stranger == ("managers",)
    assert PEOPLE.groups_of("ben", ("managers",)) == ("developers",)


def test_a_member_who_was_removed_since_does_not_count() -> None:
    """Groups are read again when the gate opens, and the answer says whose vote was lost."""
    moved = People(persons=(Person("maria", groups=("developers",)),))
    assert answer(known(vote("maria", "managers"), people=moved)) == Closed(
        f"0 of 1 approvals, {EXPIRES}; maria's does not count: "
        "not in group:managers or user:ben any more",
        OPENER,
    )


def test_somebody_who_left_does_not_count() -> None:
    """Gone from ``people.yaml``, a person has neither groups nor a name that a gate means."""
    votes = (vote("maria", "managers"), vote("ben", "developers"))
    left = answer(known(*votes, people=People()))
    assert isinstance(left, Closed)
    assert left.reason.startswith(f"0 of 1 approvals, {EXPIRES}; maria's does not count")
    assert "ben's does not count" in left.reason


def test_somebody_who_joined_since_counts() -> None:
    """Who is a member when the gate opens agrees, though not yet one when voting elsewhere."""
    joined = People(persons=(Person("ola", groups=("managers",)),))
    assert answer(known(vote("ola", "others"), people=joined)) == Open("approved by ola")


def test_a_vote_given_with_a_revoked_token_does_not_count() -> None:
    """Whoever held it may not have been the person; a token that was not revoked stays good."""
    facts = known(vote("maria", "managers", token="t-1"))
    assert answer(facts) == Open("approved by maria")
    revoked = replace(facts.people, revoked_tokens=frozenset({"t-1"}))
    assert answer(replace(facts, people=revoked)) == Closed(
        f"0 of 1 approvals, {EXPIRES}; maria's does not count: its token was revoked", OPENER
    )


@pytest.mark.parametrize(
    "mine,verb",
    [
        (commit("maria@work.example", "bot@ci.example"), "authored"),
        (commit("dev@ci.example", "maria@home.example"), "committed"),
        (commit("dev@ci.example", "", "maria@home.example"), "authored"),
        (commit(" MARIA@Work.Example "), "authored"),
        (commit("77+Maria-GH@users.noreply.github.com"), "authored"),
        (commit("maria-gh@users.noreply.github.com"), "authored"),
        (commit("maria"), "authored"),
    ],
)
def test_nobody_approves_what_they_made(mine: CommitPeople, verb: str) -> None:
    """Author, committer and co-author, under each address of theirs, however it is written."""
    facts = bringing(known(vote("maria", "managers")), commit(sha=BEFORE), mine)
    assert answer(facts) == Closed(
        f"0 of 1 approvals, {EXPIRES}; maria's does not count: {verb} {HEAD[:12]}",
        "gitopsd approve run-7 (by group:managers or user:ben, but not maria, who made it)",
    )


@pytest.mark.parametrize("login", ["maria-gh", "Maria-GH", "maria", "maria@work.example"])
def test_nobody_approves_what_they_pushed(login: str) -> None:
    """Whoever a webhook named as the pusher, by login, subject or address."""
    facts = bringing(known(vote("maria", "managers")), commit("dev@x.example"), pushers=(login,))
    lost = answer(facts)
    assert isinstance(lost, Closed)
    assert f"maria's does not count: pushed {HEAD[:12]}" in lost.reason


def test_others_may_approve_what_somebody_made() -> None:
    """Only the hands in the commits count; unsigned commits are nobody's."""
    facts = bringing(
        known(vote("olga", "managers")), commit("maria@work.example"), commit("", ""), pushers=("",)
    )
    assert answer(facts) == Open("approved by olga")


def test_an_author_outside_the_gate_is_not_named() -> None:
    """Who may not vote anyway needs no telling; several makers are all told."""
    assert answer(bringing(known(), commit("olga@x.example"))) == Closed(
        f"0 of 1 approvals, {EXPIRES}", OPENER
    )
    both = answer(bringing(known(), commit("olga@work.example", "ben@work.example")))
    assert isinstance(both, Closed)
    assert both.opener.endswith("but not ben or olga, who made it)")


def test_an_author_may_reject() -> None:
    """To agree to one's own work is what is ruled out, not to stop it."""
    against = vote("maria", "managers", decision=Decision.REJECT, reason="found a bug")
    facts = bringing(known(against), commit("maria@work.example"))
    assert answer(facts) == Refused("rejected by maria: found a bug")


def test_what_is_not_known_of_the_commits_is_said() -> None:
    """The rule holds for the newest commit then, and the answer says so, open or not."""
    unknown = made(commit("maria@work.example"), problem="nothing was verified here before")
    facts = known(vote("olga", "managers"))
    facts = replace(facts, people=replace(facts.people, contributions=unknown))
    said = f"whose commits it brings besides {HEAD[:12]} is not known: nothing was verified here"
    assert answer(facts) == Open(f"approved by olga; {said} before")
    waiting = answer(replace(facts, votes=()))
    assert isinstance(waiting, Closed)
    assert waiting.reason == f"0 of 1 approvals, {EXPIRES}; {said} before"
    nobody = replace(facts, people=replace(facts.people, contributions=None))
    assert answer(nobody) == Open(
        f"approved by olga; whose commits it brings besides {HEAD[:12]} is not known: nobody looked"
    )


def test_a_rejection_refuses_for_good() -> None:
    """It outweighs any number of approvals, whichever came first, and is quoted."""
    against = vote("ben", decision=Decision.REJECT, reason="not on a Friday")
    votes = (vote("maria", "managers"), against)
    assert answer(replace(FACTS, votes=votes)) == Refused("rejected by ben: not on a Friday")
    assert answer(replace(FACTS, votes=votes[::-1])) == Refused("rejected by ben: not on a Friday")
    silent = replace(against, reason="")
    assert answer(replace(FACTS, votes=(silent,))) == Refused("rejected by ben")


def test_a_removed_members_rejection_does_not_count_either() -> None:
    """It is no member's word any more; only an approval that was lost is told."""
    against = vote("maria", "managers", decision=Decision.REJECT)
    moved = People(persons=(Person("maria", groups=("developers",)),))
    assert answer(known(against, people=moved)) == Closed(f"0 of 1 approvals, {EXPIRES}", OPENER)


def test_an_empty_plan_needs_no_approval() -> None:
    """There is nothing to agree to."""
    given = replace(FACTS, run=replace(RUN, plan_empty=True))
    assert answer(given) == Open("the plan changes nothing")


def test_there_is_no_approval_without_a_plan() -> None:
    """A run that is diffed anew has to come back first, whatever was voted."""
    run = replace(RUN, plan=None, plan_empty=True)
    assert answer(replace(FACTS, run=run, votes=(vote("ben"),))) == Closed(
        "there is no plan to approve yet", "wait until it is diffed"
    )


def test_large_deletions_are_agreed_to_by_the_same_people() -> None:
    """A vote that the approval does not count opens no other gate; one without gates does."""
    deleting = replace(known(vote("maria", "managers")), deletions=30, owned=30)
    assert answer(deleting, "prune") == Open("approved by maria")
    own = bringing(deleting, commit("maria@work.example"))
    assert answer(own, "prune") == Closed(
        "the plan deletes 30 of 30 objects", "gitopsd approve run-7"
    )
    free = replace(own, spec=replace(own.spec, gates=()))
    assert answer(free, "prune") == Open("approved by maria")
    left = replace(free, people=replace(free.people, directory=People()))
    assert isinstance(answer(left, "prune"), Closed)
    revoked = replace(free.people, revoked_tokens=frozenset({""}))
    assert isinstance(answer(replace(free, people=revoked), "prune"), Closed)


@pytest.mark.parametrize(
    "written,plain",
    [
        ("Ana@Work.Example", "ana@work.example"),
        ("123+ana@users.noreply.github.com", "ana"),
        ("ana@users.noreply.github.com", "ana"),
        ("ana+tag@work.example", "ana+tag@work.example"),
        ("", ""),
    ],
)
def test_signatures_of_one_person_are_equal(written: str, plain: str) -> None:
    """Case is alike everywhere; GitHub's private addresses come to the login."""
    assert normalise_signature(written) == plain
