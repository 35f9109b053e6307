"""Asks what gates want to know from outside, for as long as a run stands at its Gate.

The answers are facts like any others: stored with the run, read when its gates are evaluated. What
asks is one work item for each waiting run, outside of every transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitopsd.domain.asked_gates import AskedGate, GateObservation, GateQuestion, ProbeAnswer
from gitopsd.domain.config import ApplicationSpec, Configuration, StageSpec
from gitopsd.domain.runs import Phase, Run, RunId, Step
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.engine.admission import settle
from gitopsd.engine.asking import load_observations, probe_key
from gitopsd.engine.services import Services
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.pipeline.asking import compute_next_asking, question_of, record_answer, select_asked
from gitopsd.store_ports import Transaction


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A run that stands at its Gate, and what is to be asked for it now."""

    run: Run
    asked_at: datetime
    questions: tuple[GateQuestion, ...]


async def probe_gates(services: Services, item: WorkItem) -> None:
    """Ask what is due, store the answers, reconsider the stage, and ask for the next time.

    Safe to repeat: asking changes nothing outside, and an answer for a plan that the run no longer
    has is not kept.
    """
    waiting = await services.store.read(lambda tx: _load_waiting(tx, RunId(item.subject)))
    answers: tuple[ProbeAnswer, ...] = ()
    if waiting is not None:
        prober = services.prober
        answers = tuple(await asyncio.gather(*(prober.ask(one) for one in waiting.questions)))
    configuration = services.configuration()

    def work(tx: Transaction) -> None:
        if waiting is not None:
            _store(tx, waiting, answers, configuration)
        due = _next_asking(tx, RunId(item.subject))
        if due is None:
            tx.work.finish(item)
        else:
            tx.work.postpone(item, due)

    await retry_conflicts(services.store, work)
    await services.doorbell.ring()


def ask_again(tx: Transaction, run: Run) -> bool:
    """Have a waiting run's gates asked at once; False when none asks outside.

    What they were answered before is forgotten, so they are closed until then. Safe to repeat.
    """
    found = _find_stage(tx, run)
    if found is None or not select_asked(found[1].gates):
        return False
    tx.runs.forget_observations(run.id)
    key = probe_key(run.id)
    if tx.work.get(key) is None:
        tx.work.add(WorkItem(key, WorkKind.PROBE, run.id, tx.now))
    tx.work.hasten(key, tx.now)
    return True


def _find_stage(tx: Transaction, run: Run) -> tuple[ApplicationSpec, StageSpec] | None:
    """Find the newest configuration of a run's stage; None unless the run stands at its Gate."""
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    stands = run.phase is Phase.RUNNING and run.step is Step.GATE
    return (application, spec) if application is not None and spec is not None and stands else None


def _load_waiting(tx: Transaction, run_id: RunId) -> _Waiting | None:
    run = tx.runs.get(run_id)
    found = _find_stage(tx, run) if run is not None else None
    release = tx.releases.get(run.release) if run is not None else None
    if run is None or found is None or release is None:
        return None
    application, spec = found
    known = load_observations(tx, run)
    due = [gate for _, gate, at in _plan_asking(run, spec, known) if at is None or at <= tx.now]
    questions = tuple(
        GateQuestion(
            gate=gate,
            stage=run.stage,
            cluster=spec.cluster,
            namespace=spec.namespace,
            run=run.id,
            release=release.id,
            alias=release.alias,
            plan=run.plan,
            repository=application.source.repo,
            commit=release.commit.sha,
            revisions={
                name: release.origins[name].revision if name in release.origins else ""
                for name in release.images
            },
        )
        for gate in due
    )
    return _Waiting(run, tx.now, questions)


def _plan_asking(
    run: Run, spec: StageSpec, known: Mapping[str, GateObservation]
) -> list[tuple[str, AskedGate, datetime | None]]:
    return [
        (question, gate, compute_next_asking(gate, known.get(question), run))
        for question, gate in select_asked(spec.gates).items()
    ]


def _store(
    tx: Transaction, waiting: _Waiting, answers: tuple[ProbeAnswer, ...], config: Configuration
) -> None:
    run = tx.runs.get(waiting.run.id)
    if run is None or run.plan != waiting.run.plan or _find_stage(tx, run) is None:
        return
    known = load_observations(tx, run)
    for question, answer in zip(waiting.questions, answers, strict=True):
        before = known.get(question_of(question.gate))
        observation = record_answer(question.gate, run, answer, waiting.asked_at, tx.now, before)
        tx.runs.put_observation(observation)
    settle(tx, (run.stage,), config)


def _next_asking(tx: Transaction, run_id: RunId) -> datetime | None:
    """Tell when a gate of the run is asked next; None when none will be."""
    run = tx.runs.get(run_id)
    found = _find_stage(tx, run) if run is not None else None
    if run is None or found is None:
        return None
    plan = _plan_asking(run, found[1], load_observations(tx, run))
    times = [max(at, tx.now) if at is not None else tx.now for _, _, at in plan]
    # Not sooner than a moment from now: what keeps being due must not keep a worker busy.
    return max(min(times), tx.now + timedelta(milliseconds=100)) if times else None
