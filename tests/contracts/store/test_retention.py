"""What is deleted is gone with all that hangs on it, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import RunId, Step
from gitopsd.domain.sources import DeliveryId, DeliveryState
from gitopsd.domain.work import (
    AuditEntry,
    Evidence,
    EvidenceKind,
    HookRun,
    HookState,
    LiveState,
    Notification,
    Page,
    RunEvent,
)
from gitopsd.store_ports import Store, Transaction
from tests.support.store_values import (
    NOON,
    config_map,
    delivery,
    digest_of,
    rendered_set,
    run,
    vote,
)

DAY = timedelta(days=1)


async def test_only_finished_and_old_deliveries_go(store: Store) -> None:
    """One that waits to be worked on stays however old; at most so many go at once."""

    def work(tx: Transaction) -> None:
        for number in range(4):
            tx.deliveries.add(delivery(f"d-{number}", at=NOON + number * DAY))
        for number, state in ((0, DeliveryState.DONE), (1, DeliveryState.DEAD_LETTERED)):
            found = tx.deliveries.get(DeliveryId(f"d-{number}"))
            assert found is not None
            tx.deliveries.save(replace(found, state=state))
        newest = tx.deliveries.get(DeliveryId("d-3"))
        assert newest is not None
        tx.deliveries.save(replace(newest, state=DeliveryState.DONE))

    await store.transact(work)
    before = NOON + 2 * DAY
    gone = [await store.transact(lambda tx: tx.deliveries.drop(before, 1)) for _ in range(3)]
    left = await store.read(lambda tx: tx.deliveries.page(Page(10)))
    assert gone == [1, 1, 0]
    assert [one.id for one in left] == ["d-3", "d-2"]


async def test_old_records_go_and_the_newest_message_stays(store: Store) -> None:
    """Audit, messages and answers; the event stream goes on from the number it had."""

    def work(tx: Transaction) -> None:
        for number in range(3):
            at = NOON + number * DAY
            tx.records.append_audit(AuditEntry(0, at, "ana", "promote", f"t-{number}"))
            tx.records.put_answer(f"key-{number}", {"message": "done"}, at)
            told = Notification(f"n-{number}", "on-deployed", "shop", "", "it is live", at)
            tx.records.add_notification(told)

    await store.transact(work)
    gone = await store.transact(lambda tx: tx.records.drop(NOON + DAY + DAY / 2, 10))
    again = await store.transact(lambda tx: tx.records.drop(NOON + DAY + DAY / 2, 10))
    assert (gone, again) == (2 + 2 + 2, 0)

    def look(tx: Transaction) -> tuple[object, ...]:
        return (
            [one.target for one in tx.records.audit(Page(10))],
            [tx.records.answer_of(f"key-{number}") is None for number in range(3)],
            [number for number, _ in tx.records.notifications_after(0, 10)],
            tx.records.last_notification(),
        )

    assert await store.read(look) == (["t-2"], [True, True, False], [3], 3)


async def test_a_run_goes_with_all_that_is_kept_of_it(store: Store) -> None:
    """Log, evidence, hooks, live states and votes; another run keeps its own."""
    one, two = RunId("run-1"), RunId("run-2")

    def work(tx: Transaction) -> None:
        for name in (one, two):
            tx.runs.add(run(name))
            tx.runs.append_event(RunEvent(name, 0, NOON, "RunAdmitted", None, "Running"))
            tx.runs.put_evidence(Evidence(name, Step.DIFF, EvidenceKind.NOTES, NOON, ["a"]))
            tx.runs.save_hook(HookRun(name, "Job shop/db", "uid", HookState.STARTED))
            tx.runs.put_live_state(LiveState(name, NOON, ()))
            tx.votes.add(vote(f"vote-{name}", of=name))

    await store.transact(work)
    for _ in range(2):
        await store.transact(partial(_drop_runs, runs=(one,)))
        await store.transact(partial(_drop_runs, runs=()))

    def look(tx: Transaction, name: RunId) -> tuple[object, ...]:
        return (
            tx.runs.get(name) is not None,
            len(tx.runs.events(name)),
            len(tx.runs.evidence(name)),
            tx.runs.hook(name, "Job shop/db") is not None,
            tx.runs.live_state(name) is not None,
            len(tx.votes.of_run(name)),
        )

    assert await store.read(lambda tx: look(tx, one)) == (False, 0, 0, False, False, 0)
    assert await store.read(lambda tx: look(tx, two)) == (True, 1, 1, True, True, 1)
    assert [item.id for item in await store.read(lambda tx: tx.runs.live())] == [two]


async def test_a_set_goes_and_what_another_has_in_common_with_it_stays(store: Store) -> None:
    """The other set is read whole; the one that went can be stored again."""
    shared, own = config_map("shared"), config_map("own")
    first, second = rendered_set(shared, own, name="a"), rendered_set(shared, name="b")

    def work(tx: Transaction) -> None:
        tx.rendered.put(first)
        tx.rendered.put(second)

    await store.transact(work)
    drops: list[tuple[Digest, ...]] = [(first.digest, digest_of("never")), (first.digest,), ()]
    for gone in drops:
        await store.transact(partial(_drop_sets, digests=gone))
    assert await store.read(lambda tx: tx.rendered.get(first.digest)) is None
    assert await store.read(lambda tx: tx.rendered.get(second.digest)) == second
    await store.transact(lambda tx: tx.rendered.put(first))
    assert await store.read(lambda tx: tx.rendered.get(first.digest)) == first


def _drop_runs(tx: Transaction, runs: tuple[RunId, ...]) -> None:
    tx.votes.drop(runs)
    tx.runs.drop(runs)


def _drop_sets(tx: Transaction, digests: tuple[Digest, ...]) -> None:
    tx.rendered.drop(digests)
