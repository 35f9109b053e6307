"""The table of transitions as data, and the diagrams that are drawn from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gitopsd.domain.runs import LastLook, Phase, RunKind, Step
from gitopsd.pipeline.diagram import render_diagram
from gitopsd.pipeline.events import DeadlineReached, StepSucceeded, Superseded
from gitopsd.pipeline.machine import decide
from gitopsd.pipeline.table import (
    ROWS,
    Effect,
    Follow,
    Position,
    find_row,
    is_closing,
    leads_to,
    position_of,
    positions_of,
)
from tests.support.runs import COMMAND, NEWER, NOON, PLACES, STEPS, TARGET, run_at
from tests.unit.pipeline.test_transition_table import EVENTS
from tools.diagram import BEGIN, DOCUMENT, END, main, put_diagram

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind,at", PLACES)
def test_every_change_leads_where_its_row_says(kind: RunKind, at: Position) -> None:
    """What the machine does and what the table shows are the same."""
    for name, event in EVENTS.items():
        for look in (LastLook.NONE, LastLook.NOT_HEALTHY):
            run = replace(run_at(kind, at), last_look=look)
            transition = decide(run, event)
            if transition.ignored:
                continue
            row = find_row(run, event)
            assert row is not None
            after = position_of(transition.run) or transition.run.phase
            assert after in [place for place, _ in leads_to(row, kind, at)], name


def test_every_effect_has_a_row() -> None:
    """Nothing the machine can do is out of reach."""
    assert {row.effect for row in ROWS} == set(Effect)


def test_words_are_pascal_case() -> None:
    """As all enum values are."""
    row = find_row(run_at(RunKind.SYNC, Phase.PENDING), EVENTS["admitted"])
    assert row is not None
    assert (row.effect.value, row.to[0].value) == ("Admit", "First")
    for word in (*Effect, *Follow):
        assert word.value == word.name.title().replace("_", "")


def test_a_live_run_stands_in_its_step_or_nowhere_yet() -> None:
    """Pending has a place of its own; an ended run has none."""
    assert position_of(run_at(RunKind.SYNC, Phase.PENDING)) is Phase.PENDING
    assert position_of(run_at(RunKind.SYNC, Step.APPLY)) is Step.APPLY
    assert position_of(run_at(RunKind.SYNC, Phase.FAILED)) is None
    for kind, steps in STEPS.items():
        assert positions_of(kind) == (Phase.PENDING, *steps)


def test_no_row_is_found_where_nothing_can_be() -> None:
    """A run that ended, or stands where its kind never stands, has no rows."""
    event = StepSucceeded(NOON, COMMAND)
    assert find_row(run_at(RunKind.SYNC, Phase.SUCCEEDED), event) is None
    strayed = replace(run_at(RunKind.SYNC, Step.APPLY), step=Step.GATE)
    assert find_row(strayed, event) is None


@pytest.mark.parametrize("step", STEPS[RunKind.ROLLOUT][4:])
def test_closing_is_what_ends_with_the_next_report(step: Step) -> None:
    """Aborted and redirected runs close everywhere, superseded ones only with a batch in flight."""
    run = run_at(RunKind.ROLLOUT, step)
    assert not is_closing(run)
    assert is_closing(replace(run, aborting=True))
    assert is_closing(replace(run, redirect=TARGET))
    taken_over = replace(run, superseded_by=NEWER)
    assert is_closing(taken_over) is (step in (Step.PREPARE, Step.APPLY))


def test_the_rows_of_closing_runs_are_for_closing_runs_only() -> None:
    """A deadline ends a closing run as it was closing, any other run as its last look says."""
    run = run_at(RunKind.ROLLOUT, Step.APPLY)
    plain = find_row(run, DeadlineReached(NOON))
    closing = find_row(replace(run, aborting=True), DeadlineReached(NOON))
    assert plain is not None
    assert closing is not None
    assert (plain.effect, closing.effect) == (Effect.JUDGE, Effect.END_CLOSING)
    wish = find_row(replace(run, aborting=True), Superseded(NOON, NEWER))
    assert wish is not None
    assert wish.effect is Effect.CLOSE


def test_the_document_shows_the_machine_as_it_is() -> None:
    """The drawings in the documentation are those of the table; `make diagram` writes them."""
    document = (ROOT / DOCUMENT).read_text("utf-8")
    assert put_diagram(document, render_diagram()) == document


def test_a_sync_is_drawn_whole() -> None:
    """The smallest machine, to the letter."""
    drawn = render_diagram().partition("### Sync\n\n")[2]
    assert drawn.splitlines() == [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> Pending",
        "    state Running {",
        "        [*] --> Apply",
        "        Apply --> WaitHealthy : StepSucceeded",
        "    }",
        "    Pending --> Running : RunAdmitted",
        "    Running --> Succeeded : StepSucceeded in WaitHealthy",
        "    Running --> Errored : StepErrored (none left)",
        "    Running --> Failed : StepFailed",
        "    Running --> Failed : DeadlineReached (last look not healthy)",
        "    Running --> Errored : DeadlineReached (no sight)",
        "    Pending --> Aborted : Superseded",
        "    Running --> Aborted : Superseded in WaitHealthy",
        "    Pending --> Aborted : AbortRequested",
        "    Running --> Aborted : StepSucceeded (closing)",
        "    Running --> Aborted : StepPending (closing)",
        "    Running --> Aborted : StepErrored (closing)",
        "    Running --> Aborted : StepFailed (closing)",
        "    Running --> Aborted : DeadlineReached (closing)",
        "```",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "        Diff --> Validate : AppliedChanged",
        "        Gate --> Validate : AppliedChanged",
        "    Running --> Succeeded : StepSucceeded (Unchanged) in Diff",
        "    Running --> Failed : StepFailed not in Gate",
        "    Running --> Aborted : GateRefused (Rejected) in Gate",
        "    Running --> Aborted : Superseded (unprotected) in WaitHealthy",
        "    Running --> Aborted : StepFailed (closing) not in Render, Validate, Diff, Gate",
        "    Running --> Aborted : RollbackRequested (Redirected) in WaitHealthy, Verify, Certify",
    ],
)
def test_the_diagrams_show_the_ways_that_surprise(line: str) -> None:
    """Each of these is one line of the drawings, once."""
    assert render_diagram().splitlines().count(line) == 1


def test_kinds_are_drawn_in_order_with_their_names() -> None:
    """One heading and one drawing for each kind."""
    titles = [line for line in render_diagram().splitlines() if line.startswith("#")]
    assert titles == ["### Rollout", "### Rollback", "### Sync"]
    assert render_diagram().count("```mermaid") == 3
    assert not render_diagram().endswith("\n")


def test_writing_the_diagram_keeps_the_rest_of_the_document(tmp_path: Path) -> None:
    """Only what stands between the markers is replaced."""
    path = tmp_path / DOCUMENT
    path.parent.mkdir()
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    main(tmp_path)
    text = path.read_text("utf-8")
    assert text == f"before\n{BEGIN}\n\n{render_diagram()}\n\n{END}\nafter\n"


@pytest.mark.parametrize("document", ["nothing", BEGIN, END])
def test_a_document_without_markers_is_refused(document: str) -> None:
    """The message says which lines to write."""
    with pytest.raises(ValueError, match="lacks a marker"):
        put_diagram(document, "drawing")
