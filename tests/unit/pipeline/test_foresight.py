"""What gates would say at another time, and when those that go by the clock open."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.domain.gate_specs import ApprovalGate, SoakGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.releases import StageName
from gitopsd.domain.stages import Freeze, Soak
from gitopsd.domain.verifications import VerificationId
from gitopsd.domain.windows import WeeklyWindow, WindowGate
from gitopsd.pipeline.apply_hold import evaluate_before_apply
from gitopsd.pipeline.events import AbortRequested, ClockStopped
from gitopsd.pipeline.facts import GateFacts, SoakFacts
from gitopsd.pipeline.foresight import (
    ANY_RUN,
    find_opening,
    foresee,
    foresee_gates,
    foresee_idle,
)
from gitopsd.pipeline.ignored_events import is_told
from tests.support.gate_facts import FACTS, NOON, RUN
from tests.support.runs import BYTES

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
STAGING = StageName("staging")
WORK = WindowGate((WeeklyWindow("Mon-Fri 08:00-17:00", (0, 1, 2, 3, 4), 480, 1020),))
EVENINGS = WindowGate((WeeklyWindow("Mon 16:30-22:00", (0,), 990, 1320),))
NEVER = WindowGate(deny=(WeeklyWindow("Mon-Sun", tuple(range(7)), 0, 1440),))
MONDAY = datetime(2030, 6, 3, 8, tzinfo=UTC)
OTHER_DAY = WindowGate((WeeklyWindow("Tue 20:00-22:00", (1,), 1200, 1320),))


def frozen(until: datetime | None) -> Freeze:
    """A freeze of everything."""
    return Freeze("f-1", "*", "maria", "a fair", NOON - HOUR, until)


def gated(
    *gates: WindowGate | ApprovalGate | SoakGate, freezes: tuple[Freeze, ...] = ()
) -> GateFacts:
    """Facts of a run with these gates."""
    return replace(FACTS, spec=replace(FACTS.spec, gates=gates), freezes=freezes)


def answer_at(facts: GateFacts, at: datetime, name: str) -> GateAnswer:
    """What a gate would say then."""
    return next(state.answer for state in foresee_gates(facts, at) if state.name == name)


def test_a_window_says_what_it_will_say_then() -> None:
    """Closed now, open on Monday, closed on Monday evening."""
    facts = gated(WORK)
    assert isinstance(answer_at(facts, NOON, "window"), Closed)
    assert isinstance(answer_at(facts, MONDAY + HOUR, "window"), Open)
    assert isinstance(answer_at(facts, MONDAY + 10 * HOUR, "window"), Closed)


def test_a_freeze_ends_at_its_time() -> None:
    """One with an end is over after it; one without stands for ever."""
    ends, stands = gated(freezes=(frozen(NOON + HOUR),)), gated(freezes=(frozen(None),))
    assert isinstance(answer_at(ends, NOON + MINUTE, "freeze"), Closed)
    assert isinstance(answer_at(ends, NOON + HOUR, "freeze"), Open)
    assert isinstance(answer_at(stands, NOON + 1000 * HOUR, "freeze"), Closed)


def test_a_soak_is_over_when_it_said_so() -> None:
    """If it goes on as it does; until then it says what it says now."""
    soak = Soak(VerificationId("v-7"), RUN.release, BYTES, 4 * MINUTE, NOON)
    facts = replace(
        gated(SoakGate(STAGING, 10 * MINUTE)),
        verified_upstream_at={STAGING: NOON},
        soaks={STAGING: SoakFacts(soak, current=True)},
    )
    assert isinstance(answer_at(facts, NOON + 5 * MINUTE, "soak"), Closed)
    assert answer_at(facts, NOON + 6 * MINUTE, "soak") == Open(
        "if it goes on as now (seen healthy in staging for 4m of 10m)"
    )


def test_what_waits_for_people_stays_as_it_is() -> None:
    """Nobody knows when somebody will approve."""
    facts = gated(ApprovalGate(("group:managers",)))
    now = answer_at(facts, NOON, "approval")
    assert isinstance(now, Closed)
    assert answer_at(facts, NOON + 100 * HOUR, "approval") == now


@pytest.mark.parametrize(
    "facts,opens_at",
    [
        (gated(), NOON),
        (gated(WORK), MONDAY),
        (gated(WORK, EVENINGS), MONDAY + 8 * HOUR + 30 * MINUTE),
        (gated(WORK, freezes=(frozen(MONDAY + 2 * HOUR),)), MONDAY + 2 * HOUR),
        (gated(WORK, freezes=(frozen(MONDAY + 10 * HOUR),)), MONDAY + 24 * HOUR),
        (gated(WORK, freezes=(frozen(None),)), None),
        (gated(NEVER), None),
        (gated(ApprovalGate(("group:managers",)), WORK), MONDAY),
        (gated(WORK, OTHER_DAY), None),
    ],
)
def test_it_opens_when_all_that_goes_by_the_clock_is_open(
    facts: GateFacts, opens_at: datetime | None
) -> None:
    """At once where nothing is shut; never where one of them never is with the others."""
    assert find_opening(facts, NOON) == opens_at


def test_a_run_before_apply_is_asked_only_what_may_hold_it_there() -> None:
    """Its window let it in before, a freeze holds it."""
    facts = gated(WORK, freezes=(frozen(NOON + HOUR),))
    told = foresee(facts, NOON, evaluate_before_apply)
    assert [state.name for state in told.gates if isinstance(state.answer, Closed)] == ["freeze"]
    assert (told.at, told.opens_at) == (NOON, NOON + HOUR)


def test_a_stage_without_a_run_says_what_it_would_say_to_any() -> None:
    """Windows, freezes and what people set on it; nothing that depends on what comes."""
    told = foresee_idle(
        FACTS.stage, gated(WORK, ApprovalGate(("group:managers",))).spec, FACTS.release, (), NOON
    )
    names = [state.name for state in told.gates]
    assert names == ["window", "freeze", "suspend", "hold", "stall", "observe"]
    [window] = [state.answer for state in told.gates if state.name == "window"]
    assert isinstance(window, Closed)
    assert f"gitopsd skip {ANY_RUN} window" in window.opener
    assert told.opens_at == MONDAY


def test_only_what_somebody_wished_or_reported_is_told() -> None:
    """What is read anew again and again by design is not."""
    assert is_told(AbortRequested(NOON, by="ben"))
    assert not is_told(ClockStopped(NOON))
