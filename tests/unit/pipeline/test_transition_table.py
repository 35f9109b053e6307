"""Every pair of a place and an event, against a table typed from the design's section 5.

Nothing here is taken from the machine's own table. A pair that no line below names must be ignored
and leave the run as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import AbortReason, LastLook, Phase, Run, RunKind, Step
from gitopsd.pipeline.commands import (
    AgreeInGit,
    Command,
    ExecuteStep,
    MarkStalled,
    Notify,
    Reconsider,
    RecordVerified,
    Scope,
    StartRollback,
    StoreQuarantine,
)
from gitopsd.pipeline.events import (
    AbortRequested,
    AppliedChanged,
    ApprovalComplete,
    ClockStarted,
    ClockStopped,
    DeadlineReached,
    Event,
    GateRefused,
    RollbackRequested,
    RunAdmitted,
    StepErrored,
    StepFailed,
    StepPending,
    StepSucceeded,
    Superseded,
)
from gitopsd.pipeline.machine import decide
from gitopsd.pipeline.table import Position
from tests.support.runs import (
    COMMAND,
    NEWER,
    NOON,
    OTHER_TARGET,
    PLACES,
    STALE,
    STEPS,
    run_at,
)

LATER = NOON + timedelta(minutes=1)

EVENTS: Mapping[str, Event] = {
    "admitted": RunAdmitted(NOON),
    "succeeded": StepSucceeded(NOON, COMMAND, plan=Digest("sha256:p"), restore=OTHER_TARGET),
    "unchanged": StepSucceeded(NOON, COMMAND, plan_empty=True, applied_verified=True),
    "empty": StepSucceeded(NOON, COMMAND, plan_empty=True, applied_verified=False),
    "pending": StepPending(NOON, COMMAND, timedelta(seconds=5)),
    "pending, promised": StepPending(
        NOON, COMMAND, timedelta(seconds=5), LastLook.NOT_HEALTHY, lasts=timedelta(hours=2)
    ),
    "errored": StepErrored(NOON, COMMAND, "Unavailable", "no answer"),
    "locked out": StepErrored(NOON, COMMAND, "Credential", "refused", locked_out=True, limit=1),
    "waits locked out": StepPending(
        NOON, COMMAND, timedelta(minutes=1), LastLook.UNKNOWN, locked_out=True
    ),
    "errored for good": StepErrored(NOON, COMMAND, "Invalid", "no such host", retryable=False),
    "errored, none left": StepErrored(NOON, COMMAND, "Unavailable", "no answer", limit=1),
    "failed": StepFailed(NOON, COMMAND, "CrashLoopBackOff", "it crashes"),
    "failed, unwritten": StepFailed(NOON, COMMAND, "AdmissionDenied", "no", unwritten=True),
    "deadline": DeadlineReached(LATER),
    "early deadline": DeadlineReached(LATER - timedelta(microseconds=1)),
    "refused": GateRefused(NOON, "approval: rejected by maria"),
    "approvals complete": ApprovalComplete(NOON),
    "clock stopped": ClockStopped(NOON),
    "clock started": ClockStarted(NOON),
    "applied changed": AppliedChanged(NOON),
    "superseded": Superseded(NOON, NEWER),
    "superseded, voted": Superseded(NOON, NEWER, vote_standing=True),
    "superseded, protected": Superseded(NOON, NEWER, protected=True),
    "superseded, failing": Superseded(NOON, NEWER, protected=True, failing=True),
    "abort": AbortRequested(NOON, "maria"),
    "abort, restore": AbortRequested(NOON, "maria", restore=True),
    "stage removed": AbortRequested(NOON, "gitopsd", reason=AbortReason.STAGE_REMOVED),
    "quarantined": AbortRequested(NOON, "gitopsd", reason=AbortReason.QUARANTINED),
    "redirect": RollbackRequested(NOON, "maria", OTHER_TARGET),
    "stale success": StepSucceeded(NOON, STALE),
    "stale pending": StepPending(NOON, STALE, timedelta(seconds=5)),
    "stale error": StepErrored(NOON, STALE, "Unavailable", "no answer", retryable=False),
    "stale failure": StepFailed(NOON, STALE, "CrashLoopBackOff", "it crashes"),
}

NEXT = "Render Validate Diff Gate"
FRONT = "Prepare Apply WaitHealthy Verify Prune Certify"
EVERY = f"{NEXT} {FRONT}"

# kinds | where | event | where it leads | commands; "-" leads nowhere new, "+x" marks the run.
OPEN = f"""
Rollout | Pending | admitted | Render | ExecuteStep Notify(on-run-started)
Rollback | Pending | admitted | Prepare | ExecuteStep Notify(on-rollback-started)
Sync | Pending | admitted | Apply | ExecuteStep Notify(on-run-started)

Rollout | Render | succeeded, unchanged, empty | Validate | ExecuteStep
Rollout | Validate | succeeded, unchanged, empty | Diff | ExecuteStep
Rollout | Diff | succeeded, empty | Gate | ExecuteStep
Rollout | Diff | unchanged | Succeeded | RecordVerified Reconsider(downstream)
Rollout | Gate | succeeded, unchanged, empty | Prepare | ExecuteStep
Rollout Rollback | Prepare | succeeded, unchanged, empty | Apply | ExecuteStep
Rollout Rollback Sync | Apply | succeeded, unchanged, empty | WaitHealthy | ExecuteStep
Rollout Rollback | WaitHealthy | succeeded, unchanged, empty | Verify | ExecuteStep
Rollout Rollback | Verify | succeeded, unchanged, empty | Prune | ExecuteStep
Rollout Rollback | Prune | succeeded, unchanged, empty | Certify | ExecuteStep
Rollout | Certify | succeeded, unchanged, empty | Succeeded | \
    RecordVerified Reconsider(downstream) Notify(on-deployed)
Rollback | Certify | succeeded, unchanged, empty | Succeeded | \
    RecordVerified AgreeInGit Reconsider(downstream) Notify(on-rollback-succeeded)
Sync | WaitHealthy | succeeded, unchanged, empty | Succeeded | \
    Reconsider(downstream) Notify(on-deployed)

Rollout Rollback Sync | {EVERY} | \
    pending, pending, promised, errored, locked out, waits locked out | - | ExecuteStep

Rollout | {NEXT} | errored for good, errored, none left | Errored | \
    Reconsider(later) Notify(on-run-errored)
Rollout Sync | {FRONT} | errored for good, errored, none left, deadline | Errored | \
    MarkStalled(Unreachable) Reconsider(later) Notify(on-run-errored)
Rollback | {FRONT} | errored for good, errored, none left, deadline | Errored | \
    MarkStalled(Unreachable) StartRollback(again) Notify(on-run-errored)
Rollout | Render Validate Diff | deadline | Errored | Reconsider(later) Notify(on-run-errored)

Rollout | Render Validate Diff | failed, failed, unwritten | Failed | \
    StoreQuarantine Reconsider Notify(on-verification-failed)
Rollout | Prepare | failed, unwritten | Failed | \
    StoreQuarantine Reconsider Notify(on-verification-failed)
Rollout | Apply WaitHealthy Verify Prune Certify | failed, unwritten | Failed | \
    StoreQuarantine StartRollback Reconsider Notify(on-verification-failed)
Rollout | {FRONT} | failed | Failed | \
    StoreQuarantine StartRollback Reconsider Notify(on-verification-failed)
Rollback | {FRONT} | failed, failed, unwritten | Failed | \
    MarkStalled(RollbackFailed) Reconsider Notify(on-rollback-failed)
Sync | {FRONT} | failed, failed, unwritten | Failed | Reconsider Notify(on-health-degraded)

Rollout | Gate | failed, failed, unwritten, refused, deadline | Aborted | \
    Reconsider Notify(on-run-aborted)
Rollout | Gate | approvals complete | - +approved |
Rollout | Gate Prepare | clock stopped | - +stopped |
Rollout | Validate | applied changed | - | ExecuteStep
Rollout | Diff Gate | applied changed | Validate | ExecuteStep

Rollout | Pending {NEXT} | superseded, superseded, protected, superseded, failing | \
    Aborted +superseded | Reconsider Notify(on-run-aborted)
Rollout | Prepare Apply | \
    superseded, superseded, voted, superseded, protected, superseded, failing | - +superseded |
Rollout | WaitHealthy | superseded, superseded, voted, superseded, failing | \
    Aborted +superseded | Reconsider Notify(on-run-aborted)
Rollout | Verify Prune Certify | \
    superseded, superseded, voted, superseded, protected, superseded, failing | - +superseded |
Sync | Pending WaitHealthy | \
    superseded, superseded, voted, superseded, protected, superseded, failing | \
    Aborted +superseded | Reconsider Notify(on-run-aborted)
Sync | Apply | superseded, superseded, voted, superseded, protected, superseded, failing | \
    - +superseded |

Rollout | Pending {NEXT} | abort, abort, restore, stage removed, quarantined | Aborted | \
    Reconsider Notify(on-run-aborted)
Sync | Pending | abort, abort, restore, stage removed, quarantined | Aborted | \
    Reconsider Notify(on-run-aborted)
Rollout Sync | {FRONT} | abort, quarantined | - +aborting |
Rollout | {FRONT} | abort, restore | - +aborting +restore |
Sync | {FRONT} | abort, restore | - +aborting |

Rollback | Pending WaitHealthy Verify Certify | redirect | Aborted +redirect | \
    StartRollback(by maria) Reconsider Notify(on-run-aborted)
Rollback | Prepare Apply Prune | redirect | - +redirect |
Rollout Sync | {FRONT} | redirect | - +redirect |
"""

OUTCOMES = (
    "succeeded, unchanged, empty, pending, errored, errored for good, errored, none left, failed, "
    "pending, promised, failed, unwritten, locked out, waits locked out, deadline"
)

# The same for runs that end as soon as their work reports. Kinds | where | how they are closing
# | event | commands; all of these lead to Aborted.
CLOSING = f"""
Rollout | Prepare Apply | superseded | {OUTCOMES} | Reconsider Notify(on-run-aborted)
Sync | Apply | superseded | {OUTCOMES} | Reconsider Notify(on-run-aborted)
Rollout Sync | {FRONT} | aborting | {OUTCOMES} | Reconsider Notify(on-run-aborted)
Rollout | {FRONT} | restoring | {OUTCOMES} | StartRollback(by maria) Reconsider \
    Notify(on-run-aborted)
Sync | {FRONT} | restoring | {OUTCOMES} | Reconsider Notify(on-run-aborted)
Rollout Rollback Sync | {FRONT} | redirected | {OUTCOMES} | StartRollback(by maria) Reconsider \
    Notify(on-run-aborted)
"""

CLOSED_BY: Mapping[str, Event] = {
    "superseded": EVENTS["superseded"],
    "aborting": EVENTS["abort"],
    "restoring": EVENTS["abort, restore"],
    "redirected": EVENTS["redirect"],
}


def read_names(text: str, known: Iterable[str]) -> list[str]:
    """Reads a list whose members may hold commas themselves: the longest known name wins."""
    rest, found = text.strip(), []
    while rest:
        name = max((name for name in known if rest.startswith(name)), key=len)
        found.append(name)
        rest = rest[len(name) :].lstrip(", ")
    return found


def read_rows(table: str) -> Iterable[list[str]]:
    """Reads the lines of a table, cells stripped; a backslash joins two lines."""
    for line in table.replace("\\\n", " ").splitlines():
        if line.strip():
            yield [" ".join(cell.split()) for cell in line.split("|")]


def read_places(kinds: str, places: str) -> list[tuple[RunKind, Position]]:
    """Reads kinds and places; a place that a kind does not have is left out."""
    wanted = {Phase.PENDING if word == "Pending" else Step(word) for word in places.split()}
    chosen = {RunKind(word) for word in kinds.split()}
    return [(kind, at) for kind, at in PLACES if kind in chosen and at in wanted]


def read_expectations() -> dict[tuple[RunKind, Position, str], tuple[str, str]]:
    """Reads the table; no pair may be named twice."""
    expected: dict[tuple[RunKind, Position, str], tuple[str, str]] = {}
    for kinds, places, events, leads, commands in read_rows(OPEN):
        for kind, at in read_places(kinds, places):
            for event in read_names(events, EVENTS):
                assert (kind, at, event) not in expected, (kind, at, event)
                expected[kind, at, event] = (leads, commands)
    return expected


def say_commands(commands: tuple[Command, ...]) -> str:
    """Says commands as the table does."""
    words = []
    for command in commands:
        detail = ""
        match command:
            case Notify():
                detail = command.trigger.value
            case MarkStalled():
                detail = command.reason.value
            case StartRollback():
                detail = "again" if command.again else ""
                detail = f"by {command.requested_by}" if command.requested_by else detail
            case Reconsider():
                detail = "later" if command.delay else ""
                detail = "downstream" if command.scope is not Scope.STAGE else detail
            case ExecuteStep() | RecordVerified() | AgreeInGit() | StoreQuarantine():
                pass
        words.append(f"{type(command).__name__}({detail})" if detail else type(command).__name__)
    return " ".join(words)


def say_change(before: Run, after: Run) -> str:
    """Says where a run went, and how it was marked on the way, as the table does."""
    words = ["-"]
    if (after.phase, after.step) != (before.phase, before.step):
        running = after.phase is Phase.RUNNING and after.step is not None
        words = [after.step.value if running and after.step is not None else after.phase.value]
    words += ["+superseded"] if after.superseded_by != before.superseded_by else []
    words += ["+aborting"] if after.aborting != before.aborting else []
    words += ["+restore"] if after.aborting_restore != before.aborting_restore else []
    words += ["+approved"] if after.approved != before.approved else []
    words += ["+stopped"] if after.clock_stopped_at != before.clock_stopped_at else []
    words += ["+redirect"] if after.redirect != before.redirect else []
    return " ".join(words)


EXPECTED = read_expectations()
PAIRS = [(kind, at, name) for kind, at in PLACES for name in EVENTS]


@pytest.mark.parametrize("kind,at", PLACES)
def test_each_event_does_what_the_design_says(kind: RunKind, at: Position) -> None:
    """For every event at every place, the run goes and commands what the table says, or nothing."""
    for name, event in EVENTS.items():
        run = run_at(kind, at)
        transition = decide(run, event)
        seen = (say_change(run, transition.run), say_commands(transition.commands))
        if (kind, at, name) in EXPECTED:
            assert (name, *seen) == (name, *EXPECTED[kind, at, name])
            assert transition.ignored == ""
        else:
            assert transition.ignored != "", (name, seen)
            assert transition.run is run
            assert transition.commands == ()


@pytest.mark.parametrize("kind,places,how,names,commands", list(read_rows(CLOSING)))
def test_a_closing_run_ends_with_whatever_its_work_reports(
    kind: str, places: str, how: str, names: str, commands: str
) -> None:
    """A run marked for its end is Aborted by any outcome or its deadline, with what was asked."""
    for chosen, at in read_places(kind, places):
        marked = decide(run_at(chosen, at), CLOSED_BY[how]).run
        if how == "redirected" and not marked.live:
            continue
        for name in read_names(names, EVENTS):
            transition = decide(marked, EVENTS[name])
            assert transition.run.phase is Phase.ABORTED, (at, name)
            assert say_commands(transition.commands) == commands, (at, name)


@pytest.mark.parametrize("kind", RunKind)
@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.terminal])
def test_a_run_that_ended_ignores_everything(kind: RunKind, phase: Phase) -> None:
    """Nothing changes a run that ended; the answer says how it ended."""
    run = run_at(kind, phase)
    for event in EVENTS.values():
        transition = decide(run, event)
        assert transition.run is run
        assert transition.commands == ()
        assert transition.ignored == f"run-7 has ended: {phase.value}"


@pytest.mark.parametrize("kind,at", PLACES)
def test_a_deadline_after_a_not_healthy_look_is_a_verdict(kind: RunKind, at: Position) -> None:
    """Past its deadline a step Failed if the last look was not healthy; the Gate expires always."""
    for look in LastLook:
        run = replace(run_at(kind, at), last_look=look)
        after = decide(run, EVENTS["deadline"]).run
        wanted = Phase.FAILED if look is LastLook.NOT_HEALTHY else Phase.ERRORED
        if at is Step.GATE:
            wanted = Phase.ABORTED
        assert after.phase is (Phase.PENDING if at is Phase.PENDING else wanted)


def test_steps_follow_each_other_as_the_design_says() -> None:
    """Success after success leads each kind through its steps in order, and to its end."""
    for kind, steps in STEPS.items():
        run = decide(run_at(kind, Phase.PENDING), EVENTS["admitted"]).run
        seen = []
        while run.live:
            seen.append(run.step)
            assert run.command is not None
            run = decide(run, StepSucceeded(NOON, run.command, restore=OTHER_TARGET)).run
        assert tuple(seen) == steps
        assert run.phase is Phase.SUCCEEDED
