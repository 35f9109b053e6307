"""Gates that a person lets a run pass: which, for what plan, and which never."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.gate_specs import ApprovalGate, GateSpec, ManualGate, SoakGate
from gitopsd.domain.gates import Closed, GateSkip, GateState, Open
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import StageName
from gitopsd.domain.runs import RunId
from gitopsd.domain.windows import WindowGate
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import all_open, evaluate_gates, lacks_approval
from gitopsd.pipeline.implicit_gates import IMPLICIT_GATES
from gitopsd.pipeline.people_facts import PeopleFacts
from gitopsd.pipeline.skips import NEVER_SKIPPED, digest_gate, find_skip_obstacle
from tests.support.gate_facts import FACTS as BARE
from tests.support.gate_facts import NOON, RUN
from tests.support.people_facts import PEOPLE, commit, made, skip

APPROVAL = ApprovalGate(("group:managers",))
MANUAL = ManualGate(("group:managers",))
FACTS = replace(
    BARE,
    spec=replace(BARE.spec, gates=(APPROVAL, MANUAL, APPROVAL)),
    people=PeopleFacts(PEOPLE, made()),
)
SKIPPED = Open("skipped by maria: production is down")


def states(*skips: GateSkip, facts: GateFacts = FACTS) -> dict[str, GateState]:
    """What every gate answers, with these skips."""
    given = replace(facts, people=replace(facts.people, skips=skips))
    return {state.name: state for state in evaluate_gates(given)}


def test_a_skipped_gate_is_open_and_says_who_and_why() -> None:
    """The others answer for themselves, the second one of the kind too."""
    found = states(skip("approval", digest_gate(APPROVAL)))
    assert found["approval"].answer == SKIPPED
    assert isinstance(found["manual"].answer, Closed)
    assert isinstance(found["approval-2"].answer, Closed)


def test_all_gates_can_be_passed_one_by_one() -> None:
    """With the last one skipped nothing is missing, no approval either."""
    names: dict[str, GateSpec] = {"approval": APPROVAL, "manual": MANUAL, "approval-2": APPROVAL}
    given = [skip(name, digest_gate(spec)) for name, spec in names.items()]
    open_now = states(*given).values()
    assert all_open(open_now)
    assert not lacks_approval(open_now)
    assert not all_open(states(*given[:2]).values())


def test_a_skip_counts_for_one_plan() -> None:
    """Another plan of the same run, and a run without one, wait as before."""
    other = skip("approval", digest_gate(APPROVAL), plan=Digest("sha256:other"))
    assert isinstance(states(other)["approval"].answer, Closed)
    unplanned = replace(FACTS, run=replace(RUN, plan=None))
    given = skip("approval", digest_gate(APPROVAL))
    assert isinstance(states(given, facts=unplanned)["approval"].answer, Closed)


def test_a_skip_counts_for_one_run() -> None:
    """That of another run passes nothing here."""
    other = skip("approval", digest_gate(APPROVAL), run=RunId("run-6"))
    assert isinstance(states(other)["approval"].answer, Closed)


def test_a_void_skip_counts_no_more() -> None:
    """After a restored database nobody has said anything."""
    void = skip("approval", digest_gate(APPROVAL), void_at=NOON)
    assert isinstance(states(void)["approval"].answer, Closed)


def test_a_skip_given_with_a_revoked_token_counts_no_more() -> None:
    """Whoever held it may not have been the person."""
    facts = replace(FACTS, people=replace(FACTS.people, revoked_tokens=frozenset({"t-1"})))
    given = skip("approval", digest_gate(APPROVAL), token="t-1")
    assert states(given)["approval"].answer == SKIPPED
    assert isinstance(states(given, facts=facts)["approval"].answer, Closed)


def test_a_gate_that_was_changed_since_is_not_passed() -> None:
    """What a person saw is what they let the run pass; another gate of its name is another one."""
    stricter = replace(APPROVAL, count=2)
    facts = replace(FACTS, spec=replace(FACTS.spec, gates=(stricter,)))
    given = skip("approval", digest_gate(APPROVAL))
    assert isinstance(states(given, facts=facts)["approval"].answer, Closed)
    assert digest_gate(APPROVAL) != digest_gate(stricter)
    assert digest_gate(None) == ""


def test_it_is_passed_whatever_it_would_answer() -> None:
    """Nothing known, nothing asked: that is what a skip is for."""
    soak = SoakGate(StageName("staging"), NOON - NOON)
    facts = replace(FACTS, spec=replace(FACTS.spec, gates=(soak,)))
    assert states(skip("soak", digest_gate(soak)), facts=facts)["soak"].answer == SKIPPED


@pytest.mark.parametrize("name", ["budget", "brake"])
def test_limits_of_caution_may_be_passed(name: str) -> None:
    """A person may know better than a count."""
    facts = replace(FACTS, fronts_on_cluster=99, failed_with_commit=9)
    assert isinstance(states(facts=facts)[name].answer, Closed)
    assert states(skip(name), facts=facts)[name].answer == SKIPPED
    closed = states(facts=facts)[name]
    assert find_skip_obstacle(closed, None, facts, "maria") == ""


@pytest.mark.parametrize("name", sorted(NEVER_SKIPPED))
def test_other_implicit_gates_are_never_passed(name: str) -> None:
    """Each has a verb of its own, or protects what no reason outweighs, and says so."""
    state = GateState(name, implicit=True, answer=Closed("closed", "the verb"))
    obstacle = find_skip_obstacle(state, None, FACTS, "maria")
    assert obstacle == f"{name} is not skipped: {NEVER_SKIPPED[name]}"
    assert states(skip(name))[name].answer == states()[name].answer


def test_every_implicit_gate_is_decided_on() -> None:
    """A new one is skippable only after somebody thought of it here."""
    skippable = {"budget", "brake", "group", "pin"}
    assert {name for name, _ in IMPLICIT_GATES} - set(NEVER_SKIPPED) == skippable


def test_nobody_skips_the_approval_of_what_they_made() -> None:
    """Their other gates they may; anybody else may skip the approval."""
    brought = made(commit("maria@home.example"))
    facts = replace(FACTS, people=replace(FACTS.people, contributions=brought))
    closed = states(facts=facts)
    approval, manual = closed["approval"], closed["manual"]
    assert find_skip_obstacle(approval, APPROVAL, facts, "maria") == (
        "maria authored aaaaaaaaaaaa, and nobody skips the approval of what they made"
    )
    assert find_skip_obstacle(approval, APPROVAL, facts, "olga") == ""
    assert find_skip_obstacle(manual, MANUAL, facts, "maria") == ""


def test_a_window_says_who_may_skip_it() -> None:
    """Where it names people, by name or group as ``people.yaml`` has them; else anybody may."""
    window = WindowGate(override=("group:managers", "user:ola"))
    state = GateState("window", implicit=False, answer=Closed("closed", "wait"))
    for who, groups in (("maria", ()), ("ola", ()), ("robot", ("managers",))):
        assert find_skip_obstacle(state, window, FACTS, who, groups) == ""
    for who, groups in (("ben", ("managers",)), ("robot", ())):
        assert find_skip_obstacle(state, window, FACTS, who, groups) == (
            f"only group:managers or user:ola may skip window, not user:{who}"
        )
    assert find_skip_obstacle(state, WindowGate(), FACTS, "ben") == ""
