"""How one release stands: a line for each stage, and the steps of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from gitopsd.domain.gates import Closed
from gitopsd.domain.releases import Release, ReleaseId, StageKey, StageName
from gitopsd.domain.reports import ReleaseReport, RunReport, StageLine, Standing, StepLine
from gitopsd.domain.runs import AbortReason, Phase, Run, RunKind, Step
from gitopsd.domain.work import Page, RunEvent
from gitopsd.engine.queries import load_gates, rollback_after
from gitopsd.engine.report_links import Links
from gitopsd.kube.redaction import redact_clause
from gitopsd.pipeline.apply_hold import is_held_before_apply
from gitopsd.pipeline.table import is_closing
from gitopsd.store_ports import Transaction

MOST_RUNS = 10
"""Runs whose steps are told; older attempts of the same release are left out."""

_HISTORY = Page(limit=50)
_LOST = (
    Standing.FAILED,
    Standing.RESTORING,
    Standing.RESTORED,
    Standing.REJECTED,
    Standing.SUPERSEDED,
    Standing.ENDED,
    Standing.NOT_REACHED,
)
_ABORTED: Mapping[str, Standing] = {
    AbortReason.SUPERSEDED.value: Standing.SUPERSEDED,
    AbortReason.REJECTED.value: Standing.REJECTED,
    AbortReason.EXPIRED.value: Standing.REJECTED,
}


def compose_release(
    tx: Transaction, release_id: ReleaseId, identity: str, links: Links
) -> ReleaseReport | None:
    """Compose the report of a release; None when there is no such release."""
    release = tx.releases.get(release_id)
    if release is None:
        return None
    runs = _runs_of(tx, release_id)
    stages = _stages_of(tx, release, runs)
    any_of = _fed_by_any(tx, release)
    lines: dict[StageName, StageLine] = {}
    told: list[Run] = []
    for name, after in stages.items():
        mine = [run for run in runs if run.stage.stage == name]
        rollback = rollback_after(tx, mine[-1]) if mine else None
        before = [lines[one] for one in after if one in lines]
        lines[name] = _line(
            tx, name, mine, rollback, _hopeful(before) if name in any_of else before
        )
        told += mine if rollback is None else [*mine, rollback]
    told.sort(key=_began_when)
    return ReleaseReport(
        id=identity,
        application=release.application,
        release=release.id,
        alias=release.alias,
        sha=release.commit.sha,
        subject=redact_clause(release.commit.subject),
        author=redact_clause(release.commit.author),
        at=release.created_at,
        stages=tuple(lines.values()),
        runs=tuple(report_run(tx, run, links) for run in told[-MOST_RUNS:]),
        link=links.release(release.id),
    )


def find_line(tx: Transaction, key: StageKey, release: ReleaseId) -> tuple[StageLine, list[Run]]:
    """Tell how a release stands in one stage, and which runs say so, oldest first."""
    mine = [run for run in _runs_of(tx, release) if run.stage == key]
    rollback = rollback_after(tx, mine[-1]) if mine else None
    line = _line(tx, key.stage, mine, rollback, [])
    return line, mine if rollback is None else [*mine, rollback]


def report_run(tx: Transaction, run: Run, links: Links) -> RunReport:
    """Tell how one run went, step by step."""
    release = tx.releases.get(run.release)
    return RunReport(
        run=run.id,
        stage=run.stage.stage,
        kind=run.kind,
        phase=run.phase,
        alias=release.alias if release is not None else str(run.release),
        steps=write_steps(run, tx.runs.events(run.id)),
        sentence=redact_clause(run.failure.message) if run.failure is not None else "",
        link=links.run(run.id),
    )


def write_steps(run: Run, events: Sequence[RunEvent]) -> tuple[StepLine, ...]:
    """Tell a run's steps from its log: each once, the way it went last."""
    done: dict[Step, StepLine] = {}
    since = run.created_at
    for event in events:
        if event.name == "StepSucceeded" and event.step is not None:
            done[event.step] = StepLine(event.step, Phase.SUCCEEDED, since or event.at, event.at)
        elif event.name == "AppliedChanged":  # back to Validate: what follows is done again
            done = {step: line for step, line in done.items() if step is Step.RENDER}
        elif event.name != "RunAdmitted":
            continue
        since = event.at
    last = _last_step(run, since)
    if last is not None:
        done[last.step] = last
    return tuple(done.values())


def _last_step(run: Run, since: datetime | None) -> StepLine | None:
    if since is None or run.phase is Phase.SUCCEEDED:
        return None
    if run.live:
        sentence = redact_clause(run.waiting_for)
        return StepLine(run.step, Phase.RUNNING, since, None, sentence) if run.step else None
    step = run.failure.step if run.failure is not None else run.step
    return StepLine(step, run.phase, since, run.ended_at or since) if step is not None else None


def _runs_of(tx: Transaction, release: ReleaseId) -> list[Run]:
    """Read a release's Rollouts, oldest first."""
    rows = tx.runs.page(_HISTORY, release=release)
    return [run for run in reversed(rows) if run.kind is RunKind.ROLLOUT]


def _stages_of(
    tx: Transaction, release: Release, runs: Sequence[Run]
) -> dict[StageName, tuple[StageName, ...]]:
    """List stages in the order of the file, each with those before it."""
    spec = tx.specs.current(release.application)
    found = {stage.name: stage.after for stage in spec.stages} if spec is not None else {}
    if spec is not None and release.inputs:
        # A stage with a branch of its own gets nothing from this line.
        fed = {name for name in found if name in release.inputs or found[name]}
        found = {name: after for name, after in found.items() if name in fed}
    for run in runs:
        found.setdefault(run.stage.stage, ())
    return found


def _fed_by_any(tx: Transaction, release: Release) -> frozenset[StageName]:
    """List the stages for which a verification in one of those before them is enough."""
    spec = tx.specs.current(release.application)
    stages = spec.stages if spec is not None else ()
    return frozenset(stage.name for stage in stages if stage.after_any)


def _hopeful(before: Sequence[StageLine]) -> Sequence[StageLine]:
    """Leave out where a release is lost, when it may still get through somewhere else."""
    return [line for line in before if line.standing not in _LOST] or before


def _line(
    tx: Transaction,
    name: StageName,
    runs: Sequence[Run],
    rollback: Run | None,
    before: Sequence[StageLine],
) -> StageLine:
    if not runs:
        return _not_begun(name, before)
    run = runs[-1]
    line = StageLine(name, Standing.RUNNING, "", run.started_at or run.created_at, run.id)
    if run.live:
        return _on_its_way(tx, run, line)
    line = replace(line, since=run.ended_at)
    if rollback is not None:
        return _rolled_back(tx, run, rollback, line)
    why = _why(run)
    match run.phase:
        case Phase.SUCCEEDED:
            return replace(line, standing=Standing.LIVE, sentence="verified")
        case Phase.FAILED:
            return replace(line, standing=Standing.FAILED, sentence=why)
        case Phase.ERRORED:
            sentence = f"no verdict: {why}; it is tried again"
            return replace(line, standing=Standing.ERRORED, sentence=sentence)
        case _:
            reason = run.failure.reason if run.failure is not None else ""
            return replace(line, standing=_ABORTED.get(reason, Standing.ENDED), sentence=why)


def _not_begun(name: StageName, before: Sequence[StageLine]) -> StageLine:
    lost = [line.stage for line in before if line.standing in _LOST]
    if lost:
        sentence = f"not reached: it did not pass {' and '.join(lost)}"
        return StageLine(name, Standing.NOT_REACHED, sentence)
    waits = [line.stage for line in before if line.standing is not Standing.LIVE]
    sentence = f"waits for {' and '.join(waits)}" if waits else "waits for its turn"
    return StageLine(name, Standing.WAITING, sentence)


def _on_its_way(tx: Transaction, run: Run, line: StageLine) -> StageLine:
    held = is_held_before_apply(run) and not is_closing(run)
    if run.step is Step.GATE or held:
        closed = [state for state in load_gates(tx, run) if isinstance(state.answer, Closed)]
        reasons = "; ".join(f"{state.name}: {state.answer.reason}" for state in closed)
        where = "before Apply" if held else "at its gate"
        sentence = f"waits {where}: {redact_clause(reasons)}" if reasons else where
        return replace(line, standing=Standing.HELD, sentence=sentence)
    sentence = run.step.value if run.step is not None else "begins"
    if run.aborting or run.superseded_by is not None:
        sentence += ", and ends then"
    return replace(line, sentence=sentence)


def _rolled_back(tx: Transaction, run: Run, rollback: Run, line: StageLine) -> StageLine:
    release = tx.releases.get(rollback.release)
    alias = release.alias if release is not None else str(rollback.release)
    why = _why(run) if run.failure is not None else "it was verified, and then taken back"
    line = replace(line, run=rollback.id, since=rollback.ended_at or rollback.created_at)
    if rollback.phase is Phase.SUCCEEDED:
        return replace(line, standing=Standing.RESTORED, sentence=f"{why}; back on {alias}")
    if rollback.live or rollback.phase is Phase.ERRORED:
        return replace(line, standing=Standing.RESTORING, sentence=f"{why}; going back to {alias}")
    sentence = f"{why}; {alias} was not restored, a person is called"
    return replace(line, standing=Standing.FAILED, sentence=sentence)


def _why(run: Run) -> str:
    failure = run.failure
    if failure is None:
        return run.phase.value
    place = (
        f"failed in {failure.step.value}: " if run.phase is Phase.FAILED and failure.step else ""
    )
    return f"{place}{redact_clause(failure.message)}"


def _began_when(run: Run) -> str:
    return run.created_at.isoformat() if run.created_at is not None else ""
