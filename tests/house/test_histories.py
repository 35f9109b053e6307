"""The benchmark of random histories stays true: the rules hold, and see planted faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.histories import list_situations, play
from benchmarks.history_player import Player, make_pasts
from benchmarks.history_rules import BrokenRuleError, check_transition
from benchmarks.history_world import Situation
from benchmarks.planted_faults import FAULTS, find_faults
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.pipeline.endings import Transition
from gitopsd.pipeline.events import StepFailed, StepSucceeded
from gitopsd.pipeline.machine import decide
from tests.support.runs import COMMAND, NOON, run_at

FEW = 600


@pytest.mark.timeout(60)
def test_some_histories_break_no_rule() -> None:
    """In a few hundred of them most states hear every event, and up to four runs are live."""
    played = play(range(FEW))
    situations = list(list_situations())

    assert played.histories == FEW
    assert played.events >= 20 * FEW
    assert played.most_live >= 3
    assert set(played.hits) <= set(situations)
    assert sum(played.hits[one] > 0 for one in situations) > 0.7 * len(situations)


def test_a_history_can_be_played_again() -> None:
    """The same seed leads to the same events in the same states, in the same order of runs."""
    heard: list[Counter[Situation]] = []
    runs = []
    for _ in range(2):
        world = make_pasts()[4]
        world.hits.clear()
        Player(world, 7).play(200)
        heard.append(world.hits)
        runs.append(dict(world.runs))

    assert heard[0] == heard[1]
    assert runs[0] == runs[1]


@pytest.mark.timeout(120)
def test_every_planted_fault_is_found() -> None:
    """Each is there to be planted, and one of the first histories breaks a rule."""
    found = find_faults(5000)

    assert list(found) == [fault.name for fault in FAULTS]
    assert len(FAULTS) == 12
    assert [name for name, history in found.items() if history is None] == []


def test_rules_tell_a_wrong_transition() -> None:
    """One that ends a run without its verdict, or believes what it did not wait for."""
    run = run_at(RunKind.ROLLOUT, Step.APPLY)
    event = StepFailed(NOON, COMMAND, "Invalid", "no such field")
    right = decide(run, event)
    check_transition(run, event, right)

    with pytest.raises(BrokenRuleError, match="quarantines 0"):
        check_transition(run, event, replace(right, commands=()))
    with pytest.raises(BrokenRuleError, match="version"):
        check_transition(run, event, replace(right, run=replace(right.run, version=9)))
    succeeded = replace(right, run=replace(right.run, phase=Phase.SUCCEEDED))
    with pytest.raises(BrokenRuleError, match="succeeded by"):
        check_transition(run, event, succeeded)
    with pytest.raises(BrokenRuleError, match="ignored the"):
        check_transition(run, StepSucceeded(NOON, COMMAND), Transition(run, ignored="no"))
