"""What happens to releases is in the log: once, after it is stored, in the words of channels."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gitopsd.adapters.telemetry.logs import start_logging
from gitopsd.adapters.telemetry.story import TellingStore
from gitopsd.domain.sources import Delivery, DeliveryId, DeliveryState, ReceiverName
from gitopsd.domain.work import Notification
from gitopsd.store_ports import Transaction
from gitopsd.testing.clock import ManualClock
from gitopsd.testing.memory_store import MemoryStore

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def store() -> TellingStore:
    """A store that tells."""
    return TellingStore(MemoryStore(ManualClock()))


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Read what the product logged, with the process's logging restored afterwards.

    What threads of other libraries still have to say is not counted.
    """
    root = logging.getLogger()
    before = (root.level, root.handlers[:], logging.raiseExceptions)
    written = io.StringIO()
    start_logging("json", stream=written)

    def read() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in written.getvalue().splitlines()]
        return [line for line in found if line["logger"].startswith("gitopsd")]

    yield read
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.raiseExceptions = before[2]


def notification(tx: Transaction, trigger: str, name: str = "one") -> Notification:
    """A notification of a run."""
    return Notification(
        id=name,
        trigger=trigger,
        application="shop",
        stage="staging",
        message="shop/staging runs r-1, verified",
        at=tx.now,
        details={"run": "shop-staging-1", "release": "r-1", "subject": "a subject"},
    )


@pytest.mark.parametrize(
    "trigger,level",
    [("on-deployed", "info"), ("on-rollback-started", "warning"), ("on-stalled", "warning")],
)
async def test_a_notification_is_a_line(
    store: TellingStore, lines: Lines, trigger: str, level: str
) -> None:
    """Its sentence, with the names to search for; what is bad news is a warning."""
    await store.transact(lambda tx: tx.records.add_notification(notification(tx, trigger)))
    [line] = lines()
    del line["time"]
    assert line == {
        "level": level,
        "logger": "gitopsd.story",
        "message": "shop/staging runs r-1, verified",
        "trigger": trigger,
        "application": "shop",
        "stage": "staging",
        "run": "shop-staging-1",
        "release": "r-1",
    }


async def test_what_was_not_committed_is_not_told(store: TellingStore, lines: Lines) -> None:
    """A transaction that fails has no story; one that stores the same again has none either."""

    def fail(tx: Transaction) -> None:
        tx.records.add_notification(notification(tx, "on-deployed"))
        raise RuntimeError

    def add(tx: Transaction) -> bool:
        return tx.records.add_notification(notification(tx, "on-deployed"))

    with pytest.raises(RuntimeError):
        await store.transact(fail)
    assert lines() == []
    assert [await store.transact(add) for _ in range(2)] == [True, False]
    assert len(lines()) == 1


async def test_a_dead_letter_is_a_warning(store: TellingStore, lines: Lines) -> None:
    """A delivery that nobody can use says which and why; others are not worth a line."""

    def work(tx: Transaction) -> None:
        name = ReceiverName("github")
        delivery = Delivery(DeliveryId("d-1"), name, "key", "0" * 64, (), b"{}", tx.now)
        tx.deliveries.add(delivery)
        tx.deliveries.save(replace(delivery, state=DeliveryState.DONE))
        dead = replace(delivery, state=DeliveryState.DEAD_LETTERED, reason="it is no JSON")
        tx.deliveries.save(dead)

    await store.transact(work)
    [line] = lines()
    assert (line["level"], line["receiver"]) == ("warning", "github")
    assert line["message"] == "delivery d-1 of receiver github cannot be used: it is no JSON"


async def test_everything_else_is_the_stores_own(store: TellingStore, lines: Lines) -> None:
    """Reading, other tables and closing go straight through."""
    await store.transact(lambda tx: tx.records.add_notification(notification(tx, "on-deployed")))
    assert await store.read(lambda tx: tx.records.last_notification()) == 1
    assert await store.transact(lambda tx: tuple(tx.runs.live())) == ()
    assert await store.transact(lambda tx: tx.deliveries.get(DeliveryId("none"))) is None
    await store.close()
    assert len(lines()) == 1
