"""A pytest plug-in: an asynchronous test that leaves a task running has failed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

_TURNS = 5


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Guards asynchronous tests; the guard is made first and looks last."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.fixturenames.insert(0, "_task_guard")


@pytest.fixture
async def _task_guard() -> AsyncIterator[None]:
    """Compares the tasks of the test's loop before and after it."""
    before = asyncio.all_tasks()
    yield
    # What a closing server or session left to the next turns of the loop may end first.
    for _ in range(_TURNS):
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, no waiting
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    if leaked:
        names = ", ".join(sorted(f"{task.get_name()} ({task.get_coro()})" for task in leaked))
        pytest.fail(f"the test left tasks running: {names}", pytrace=False)
