"""The manual gate: a person names the release, and nobody else does."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.gate_specs import ManualGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.people import People, Person
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.stages import Naming
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import evaluate_gates, lacks_approval
from gitopsd.pipeline.people_facts import PeopleFacts
from tests.support.gate_facts import FACTS as BARE
from tests.support.gate_facts import NOON, RUN
from tests.support.people_facts import PEOPLE

GATE = ManualGate(("group:managers", "user:ben"))
FACTS = replace(BARE, spec=replace(BARE.spec, gates=(GATE,)), people=PeopleFacts(PEOPLE))
OPENER = "gitopsd promote shop production r-7 (by group:managers or user:ben)"
NAMED = Naming(RUN.release, "maria", ("managers",), known=True, token="t-1", at=NOON)


def answer(facts: GateFacts) -> GateAnswer:
    """What the gate answers."""
    (found,) = [state.answer for state in evaluate_gates(facts) if state.name == "manual"]
    return found


def named(naming: Naming | None, people: People = PEOPLE) -> GateFacts:
    """A release was named for the stage."""
    facts = replace(FACTS.people, directory=people)
    return replace(FACTS, stage=replace(FACTS.stage, naming=naming), people=facts)


def test_it_waits_until_the_release_is_named() -> None:
    """It names the release, the command, and who may type it; no time opens it."""
    assert answer(FACTS) == Closed("nobody has named r-7 for production", OPENER, None)


def test_naming_the_release_opens_it() -> None:
    """The answer says who and when."""
    assert answer(named(NAMED)) == Open("named by maria at 2030-06-01 12:00 UTC")


def test_another_release_that_was_named_does_not_open_it() -> None:
    """Newer or older: only the one that was meant passes."""
    other = replace(NAMED, release=ReleaseId("r-6"))
    assert answer(named(other)) == Closed("maria has named r-6, not r-7", OPENER)


def test_it_opens_by_name_as_by_group() -> None:
    """A gate may mean a person."""
    assert isinstance(answer(named(replace(NAMED, by="ben", groups=("developers",)))), Open)


def test_somebody_else_does_not_open_it() -> None:
    """One whom it names neither by name nor by group, ``people.yaml`` knowing them or not."""
    stranger = replace(NAMED, by="ola", groups=("others",), known=False)
    assert answer(named(stranger)) == Closed(
        "ola, who named it, is not group:managers or user:ben", OPENER
    )


def test_a_tokens_groups_count_for_somebody_unknown() -> None:
    """Where ``people.yaml`` does not say, the credential does."""
    robot = replace(NAMED, by="ola", groups=("managers",), known=False)
    assert isinstance(answer(named(robot)), Open)


def test_a_member_who_was_removed_since_has_named_nothing() -> None:
    """Groups are read again when the gate opens, also of somebody who is gone altogether."""
    moved = People(persons=(Person("maria", groups=("developers",)),))
    for people in (moved, People()):
        assert answer(named(NAMED, people)) == Closed(
            "maria, who named it, is not group:managers or user:ben", OPENER
        )


def test_what_was_said_with_a_revoked_token_does_not_count() -> None:
    """Whoever held it may not have been the person."""
    facts = named(NAMED)
    revoked = replace(facts.people, revoked_tokens=frozenset({"t-1"}))
    assert answer(replace(facts, people=revoked)) == Closed(
        "maria named it with a token that was revoked", OPENER
    )


def test_it_asks_for_no_vote() -> None:
    """A run that waits for a name has no approval to expire with."""
    assert not lacks_approval(evaluate_gates(FACTS))


def test_a_request_alone_does_not_open_it() -> None:
    """What a person may ask for without being named here is in line, and waits."""
    stage = replace(FACTS.stage, requested=RUN.release)
    assert isinstance(answer(replace(FACTS, stage=stage)), Closed)
