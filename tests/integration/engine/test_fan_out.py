"""Doing the same for many objects while a server has trouble with some of the requests."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from gitopsd.engine.fan_out import IN_FLIGHT, RESTS, run_all
from gitopsd.errors import LeaseLostError, TemporaryError
from gitopsd.testing.clock import LoopClock

pytestmark = pytest.mark.looptime

MANY = range(3 * IN_FLIGHT)


def broken() -> TemporaryError:
    """Make the error of a connection that broke."""
    error = TemporaryError("reset")
    error.__cause__ = ConnectionResetError()
    return error


async def test_an_item_that_met_trouble_is_tried_again_alone() -> None:
    """The others are done once; results keep their order."""
    tries: Counter[int] = Counter()

    async def work(item: int) -> int:
        tries[item] += 1
        if item % 3 == 0 and tries[item] <= len(RESTS):
            raise TemporaryError("internal error")
        return -item

    assert await run_all(MANY, work, patience=LoopClock()) == [-item for item in MANY]
    assert {tries[item] for item in MANY if item % 3} == {1}
    assert {tries[item] for item in MANY if item % 3 == 0} == {1 + len(RESTS)}


@pytest.mark.parametrize(
    "error",
    [
        broken(),
        TemporaryError("too many requests", retry_after=timedelta(seconds=1)),
        TemporaryError("unauthorized", reason="Credential"),
        LeaseLostError("another owner"),
    ],
    ids=["broken connection", "asked for patience", "refused credential", "lost lease"],
)
async def test_other_trouble_is_for_the_step_to_wait_for(error: Exception) -> None:
    """Nothing is tried again, and nothing more is begun."""
    begun: list[int] = []

    async def work(item: int) -> None:
        begun.append(item)
        raise error

    with pytest.raises(type(error)):
        await run_all(MANY, work, patience=LoopClock())
    assert len(begun) <= IN_FLIGHT
    assert len(set(begun)) == len(begun)


@pytest.mark.parametrize("patient", [True, False])
async def test_trouble_that_does_not_pass_is_raised(*, patient: bool) -> None:
    """After a few tries, or at once where there is no patience."""
    tries: list[int] = []

    async def work(item: int) -> None:
        tries.append(item)
        raise TemporaryError("internal error")

    with pytest.raises(TemporaryError, match="internal error"):
        await run_all([1], work, patience=LoopClock() if patient else None)
    assert len(tries) == (1 + len(RESTS) if patient else 1)
