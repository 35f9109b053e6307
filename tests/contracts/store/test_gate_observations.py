"""Answers to the questions of a run's gates, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.asked_gates import Finding, GateObservation
from gitopsd.domain.runs import RunId
from gitopsd.store_ports import Store, Transaction
from tests.support.store_values import MINUTE, NOON, digest_of, run

ID = RunId("run-1")
FULL = GateObservation(
    run=ID,
    question="prometheus:0011",
    gate="prometheus",
    plan=digest_of("plan"),
    asked_at=NOON,
    finding=Finding.INCONCLUSIVE,
    sentence="the server answered 503: é",
    figure="0.0731",
    details={"query": "up", "series": [{"labels": {}, "samples": 3, "late": None}]},
    troubles=2,
    not_before=NOON + timedelta(milliseconds=1500),
)


async def test_an_answer_comes_back_as_it_was_stored(store: Store) -> None:
    """Every field of it is kept, also of one without a plan; other runs have none of it."""
    bare = GateObservation(ID, "external:1", "external", None, NOON, Finding.MET, "")

    def fill(tx: Transaction) -> None:
        tx.runs.put_observation(FULL)
        tx.runs.put_observation(bare)

    await store.transact(fill)

    assert await store.read(lambda tx: list(tx.runs.observations(ID))) == [bare, FULL]
    assert not await store.read(lambda tx: list(tx.runs.observations(RunId("run-2"))))


async def test_only_the_newest_answer_to_a_question_is_kept(store: Store) -> None:
    """A later one replaces it, whatever it says; answers to other questions stay."""
    other = replace(FULL, question="checks:1")
    later = replace(FULL, finding=Finding.MET, asked_at=NOON + MINUTE, troubles=0, not_before=None)

    def fill(tx: Transaction) -> None:
        for one in (FULL, other, later):
            tx.runs.put_observation(one)

    await store.transact(fill)

    assert await store.read(lambda tx: list(tx.runs.observations(ID))) == [other, later]


async def test_answers_are_forgotten_and_go_with_their_run(store: Store) -> None:
    """Of one run when it is asked for, and with everything else of a run that is deleted."""
    second = replace(FULL, run=RunId("run-2"))

    def fill(tx: Transaction) -> None:
        tx.runs.add(run("run-2"))
        tx.runs.put_observation(FULL)
        tx.runs.put_observation(second)
        tx.runs.forget_observations(ID)
        tx.runs.forget_observations(ID)

    await store.transact(fill)
    assert not await store.read(lambda tx: list(tx.runs.observations(ID)))
    assert await store.read(lambda tx: list(tx.runs.observations(second.run))) == [second]

    await store.transact(lambda tx: tx.runs.drop([second.run]))
    assert not await store.read(lambda tx: list(tx.runs.observations(second.run)))
