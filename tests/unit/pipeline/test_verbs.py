"""What people may do where: the table is complete, and finds its way from facts to an answer."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import Failure, Phase, RunId, RunKind, Step
from gitopsd.domain.stages import AppliedSet, Condition, Freeze, Stage, Stall
from gitopsd.domain.verifications import Quarantine, StallReason, VerificationId
from gitopsd.pipeline.apply_hold import PREPARED
from gitopsd.pipeline.situations import VerbFacts, find_answer, find_situations
from gitopsd.pipeline.table import Position
from gitopsd.pipeline.verb_table import TABLE
from gitopsd.pipeline.verbs import (
    COMMANDS,
    MEANINGS,
    RUN_VERBS,
    SEQUELS,
    WORDS,
    Allowed,
    Refused,
    Sequel,
    Situation,
    Verb,
    position_of_step,
    positions_of_kind,
)
from tests.support.runs import KEY, NOON, PLACES, run_at
from tools.verb_page import BEGIN, DOCUMENT, END, main, put_verbs, render_verbs

ROOT = Path(__file__).parents[3]
HAS = AppliedSet(ReleaseId("r-1"), Digest("sha256:1"), RunId("run-1"), NOON)
RUNS = Stage(KEY, applied=HAS, verified=VerificationId("v-1"))
HELD = Quarantine("q-1", KEY, Digest("sha256:1"), (), ReleaseId("r-1"), "it crashes", NOON)


def stalled(reason: StallReason, *, verified: bool = True) -> Stage:
    """A stage for which a person was called."""
    stage = RUNS if verified else replace(RUNS, verified=None)
    return replace(stage, stall=Stall(reason, "look", NOON))


def sentences() -> Iterator[tuple[Verb, Refused]]:
    """All refusals of the table."""
    for verb, row in TABLE.items():
        yield from ((verb, one) for one in row.values() if isinstance(one, Refused))


def test_every_verb_has_an_answer_in_every_situation() -> None:
    """No cell is empty, and no answer, sequel or situation is out of reach."""
    assert set(TABLE) == set(Verb) == set(COMMANDS)
    for verb, row in TABLE.items():
        assert set(row) == set(Situation), verb
    answers = [answer for row in TABLE.values() for answer in row.values()]
    assert {one.then for one in answers if isinstance(one, Allowed)} == set(Sequel) == set(SEQUELS)
    steps = {at for kind in RunKind for at in positions_of_kind(kind)}
    assert steps | set(MEANINGS) == set(Situation)


def test_every_refusal_is_one_sentence_that_names_what_would_help() -> None:
    """It names a command, and fills in nothing that it is not given."""
    for verb, refused in sentences():
        text = refused.sentence
        assert "gitopsd " in text or "configured: " in text, (verb, text)
        assert ". " not in text
        assert not text.endswith(".")
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        assert names <= WORDS
        assert refused.status in (404, 409, 422)


def test_the_document_shows_the_table_as_it_is(tmp_path: Path) -> None:
    """docs/verbs.md holds what the table says; `make verbs` writes it and keeps all the rest."""
    document = (ROOT / DOCUMENT).read_text("utf-8")
    assert put_verbs(document, render_verbs()) == document
    copy = tmp_path / DOCUMENT
    copy.parent.mkdir()
    copy.write_text(f"before\n\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    main(tmp_path)
    assert copy.read_text("utf-8") == f"before\n\n{BEGIN}\n\n{render_verbs()}\n\n{END}\nafter\n"
    for lacking in ("", BEGIN, END):
        with pytest.raises(ValueError, match="lacks a marker"):
            put_verbs(lacking, "")


def test_words_are_pascal_case() -> None:
    """As all enum values are."""
    for word in (*Verb, *Situation, *Sequel):
        assert word.value[0].isupper()
        assert word.value.isalpha()
    assert [one.value for one in Situation] == [
        one.name.title().replace("_", "") for one in Situation
    ]


@pytest.mark.parametrize("kind,place", PLACES)
def test_a_run_that_goes_on_stands_in_its_step(kind: RunKind, place: Position) -> None:
    """For verbs of runs and of stages, the place is the same."""
    run = run_at(kind, place)
    at = position_of_step(kind, place if isinstance(place, Step) else None)
    facts = VerbFacts(RUNS, configured=True, run=run)
    assert find_situations(Verb.ABORT, facts) == (at,)
    assert find_situations(Verb.SYNC, facts) == (at,)
    assert find_answer(Verb.SYNC, facts) is TABLE[Verb.SYNC][at]


@pytest.mark.parametrize(
    "kind,phase,at",
    [
        (RunKind.ROLLOUT, Phase.SUCCEEDED, Situation.SUCCEEDED),
        (RunKind.ROLLOUT, Phase.FAILED, Situation.FAILED),
        (RunKind.ROLLOUT, Phase.ERRORED, Situation.ERRORED),
        (RunKind.ROLLOUT, Phase.ABORTED, Situation.ABORTED),
        (RunKind.ROLLBACK, Phase.FAILED, Situation.ROLLBACK_ENDED),
        (RunKind.SYNC, Phase.SUCCEEDED, Situation.SYNC_ENDED),
    ],
)
def test_a_run_that_ended_says_how(kind: RunKind, phase: Phase, at: Situation) -> None:
    """A Rollout by its phase; the others have one way to go on, however they ended."""
    run = replace(run_at(kind, phase), release=HAS.release)
    facts = VerbFacts(RUNS, configured=True, run=run)
    assert find_situations(Verb.RETRY, facts) == (at,)
    assert find_situations(Verb.ROLLBACK, facts) == (at,)


def test_a_rollback_that_git_does_not_agree_with_is_another_end() -> None:
    """Its commit can be tried again; otherwise it is as any Rollback that ended."""
    run = run_at(RunKind.ROLLBACK, Phase.SUCCEEDED)
    facts = VerbFacts(RUNS, configured=True, run=run, disagrees=True)
    for verb in (Verb.RETRY, Verb.ROLLBACK):
        assert find_situations(verb, facts) == (Situation.DISAGREES,)
    assert find_answer(Verb.RETRY, facts) == Allowed(Sequel.COMMITTED)
    ended = {verb: row[Situation.ROLLBACK_ENDED] for verb, row in TABLE.items()}
    differs = {verb for verb, row in TABLE.items() if row[Situation.DISAGREES] != ended[verb]}
    assert differs == {Verb.RETRY}


def test_a_success_that_is_over_can_be_brought_again() -> None:
    """Something else came over it since, or what it left is not verified any more."""
    run = replace(run_at(RunKind.ROLLOUT, Phase.SUCCEEDED), release=HAS.release)
    other = replace(RUNS, applied=replace(HAS, release=ReleaseId("r-2")))
    for stage in (other, replace(RUNS, verified=None), Stage(KEY)):
        facts = VerbFacts(stage, configured=True, run=run)
        assert find_situations(Verb.RETRY, facts) == (Situation.ABORTED,)
        assert find_answer(Verb.RETRY, facts) == Allowed(Sequel.AGAIN)


def test_a_run_that_nobody_knows_is_nothing() -> None:
    """A verb that names no known run is answered all the same."""
    facts = VerbFacts(Stage(KEY), configured=True)
    for verb in RUN_VERBS:
        answer = find_answer(verb, facts)
        assert isinstance(answer, Refused)
        assert answer.status == 404
    assert find_situations(Verb.PROMOTE, facts) == (Situation.NOTHING,)


def test_a_held_run_may_pass_what_holds_it() -> None:
    """A Rollout that is held before Apply is at a gate for whoever skips one, and nobody else."""
    held = replace(run_at(RunKind.ROLLOUT, Step.PREPARE), cursor=PREPARED)
    facts = VerbFacts(RUNS, configured=True, run=held)
    assert find_answer(Verb.SKIP, facts) == Allowed(Sequel.SKIPPED)
    assert isinstance(find_answer(Verb.APPROVE, facts), Refused)


def test_a_rollback_that_is_locked_out_may_be_aborted() -> None:
    """It cannot go on; while it can, it is redirected."""
    run = run_at(RunKind.ROLLBACK, Step.APPLY)
    waits = replace(run, lockouts=2, locked_out_until=NOON)
    for verb in (Verb.ABORT, Verb.LEAVE):
        open_, closed = (
            find_answer(verb, VerbFacts(RUNS, configured=True, run=one)) for one in (waits, run)
        )
        assert open_ == Allowed(Sequel.LEAVES)
        assert isinstance(closed, Refused)
    assert isinstance(find_answer(Verb.RETRY, VerbFacts(RUNS, configured=True, run=waits)), Refused)


@pytest.mark.parametrize(
    "stage,at",
    [
        (stalled(StallReason.INVENTORY), Situation.FOREIGN),
        (stalled(StallReason.RESTORED_DATABASE), Situation.RESTORED),
        (stalled(StallReason.ROLLBACK_FAILED), Situation.CALLED),
        (stalled(StallReason.ROLLBACK_LOOP), Situation.CALLED),
        (stalled(StallReason.CLUSTER_TROUBLE), Situation.CALLED),
    ],
)
def test_a_stall_that_closes_gates_counts_for_everything(stage: Stage, at: Situation) -> None:
    """For the stage, and for a run that goes on there."""
    run = run_at(RunKind.ROLLOUT, Step.GATE)
    facts = VerbFacts(stage, configured=True, run=run)
    for verb in (Verb.APPROVE, Verb.SYNC):
        assert find_situations(verb, facts) == (Situation.ROLLOUT_GATE, at)


def test_adopt_decides_whatever_else_is_the_matter() -> None:
    """A run that waits for the inventory is no reason against taking it over."""
    run = run_at(RunKind.ROLLOUT, Step.PREPARE)
    facts = VerbFacts(stalled(StallReason.INVENTORY), configured=True, run=run)
    assert find_answer(Verb.ADOPT, facts) == Allowed(Sequel.TAKEN_OVER, decides=True)
    assert isinstance(find_answer(Verb.ADOPT, VerbFacts(RUNS, configured=True, run=run)), Refused)


def test_what_is_not_verified_is_told_apart() -> None:
    """By a mild stall, or without one; where it is verified a mild stall stands in nobody's way."""
    run = replace(run_at(RunKind.ROLLOUT, Phase.ERRORED))
    mild = StallReason.UNREACHABLE
    cases = (
        (stalled(mild), (Situation.ERRORED,)),
        (
            stalled(mild, verified=False),
            (Situation.ERRORED, Situation.STALLED, Situation.UNVERIFIED),
        ),
        (replace(RUNS, verified=None), (Situation.ERRORED, Situation.UNVERIFIED)),
    )
    for stage, expected in cases:
        facts = VerbFacts(stage, configured=True, run=run)
        assert find_situations(Verb.REVERIFY, facts) == expected


def test_what_is_quarantined_comes_before_milder_matters() -> None:
    """Of a run that ended, and of what a stage has."""
    ended = replace(run_at(RunKind.ROLLOUT, Phase.FAILED), failure=Failure("Bad", "x", None))
    stage = stalled(StallReason.MANUAL, verified=False)
    facts = VerbFacts(stage, configured=True, run=ended, quarantine=HELD)
    assert find_situations(Verb.RETRY, facts) == (Situation.FAILED, Situation.QUARANTINED)
    assert find_situations(Verb.SYNC, facts) == (
        Situation.FAILED,
        Situation.QUARANTINED,
        Situation.STALLED,
        Situation.UNVERIFIED,
    )
    assert find_answer(Verb.RETRY, facts) is TABLE[Verb.RETRY][Situation.QUARANTINED]
    assert find_answer(Verb.SYNC, facts) is TABLE[Verb.SYNC][Situation.QUARANTINED]


def test_what_people_set_holds_together() -> None:
    """Frozen, suspended and held at once; the first that refuses is told."""
    condition = Condition("ana", "audit", NOON)
    stage = replace(RUNS, suspended=condition, hold=condition)
    freeze = Freeze("f-1", "*", "ana", "storm", NOON, NOON + timedelta(hours=1))
    run = run_at(RunKind.ROLLOUT, Step.GATE)
    facts = VerbFacts(stage, configured=True, run=run, freezes=(freeze,))
    held = (Situation.FROZEN, Situation.SUSPENDED, Situation.HELD)
    for verb in (Verb.ABORT, Verb.SYNC):
        assert find_situations(verb, facts) == (Situation.ROLLOUT_GATE, *held)
    assert find_answer(Verb.SYNC, facts) is TABLE[Verb.SYNC][Situation.FROZEN]


def test_a_stage_that_left_the_configuration_is_named_first() -> None:
    """Whether it was retired already or not; a run that still goes on there is not gone."""
    ended = replace(run_at(RunKind.ROLLOUT, Phase.ABORTED))
    for stage, configured in ((replace(RUNS, retired_at=NOON), True), (RUNS, False)):
        facts = VerbFacts(stage, configured=configured, run=ended)
        for verb in (Verb.RETRY, Verb.SYNC):
            assert find_situations(verb, facts) == (Situation.RETIRED, Situation.ABORTED)
            assert find_answer(verb, facts) is TABLE[verb][Situation.RETIRED]
    live = VerbFacts(RUNS, configured=False, run=run_at(RunKind.ROLLOUT, Step.APPLY))
    assert find_answer(Verb.ABORT, live) == Allowed(Sequel.RESTORES)
