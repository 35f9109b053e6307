"""Where channels show what, whichever store holds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.reports import ChannelState, MessageHandle
from gitopsd.errors import ConflictError
from gitopsd.store_ports import Store
from tests.support.store_steps import each
from tests.support.store_values import MINUTE, NOON

HANDLE = MessageHandle(
    "deploys", "release:r-1", "r-1", NOON, {"pieces": {"release": {"ts": "1.2", "channel": "C1"}}}
)


async def test_a_handle_is_begun_once(store: Store) -> None:
    """The second begin of a subject in a channel changes nothing."""
    assert await store.transact(lambda tx: tx.handles.begin(HANDLE))
    assert not await store.transact(
        lambda tx: tx.handles.begin(replace(HANDLE, topic="r-2", begun_at=NOON + MINUTE))
    )
    assert await store.transact(lambda tx: tx.handles.begin(replace(HANDLE, channel="other")))
    assert await store.read(lambda tx: tx.handles.get("deploys", "release:r-1")) == HANDLE
    assert await store.read(lambda tx: tx.handles.get("deploys", "release:r-2")) is None


async def test_a_handle_is_saved_by_who_read_it_last(store: Store) -> None:
    """Somebody whose handle was changed meanwhile is told so and overwrites nothing."""
    await store.transact(lambda tx: tx.handles.begin(HANDLE))
    newer = replace(HANDLE, state={"ts": "2"}, shown_at=NOON + MINUTE, version=1)
    await store.transact(lambda tx: tx.handles.save(newer, expected_version=0))
    with pytest.raises(ConflictError):
        await store.transact(
            lambda tx: tx.handles.save(replace(HANDLE, version=1), expected_version=0)
        )
    with pytest.raises(ConflictError):
        await store.transact(
            lambda tx: tx.handles.save(replace(newer, subject="x"), expected_version=1)
        )
    assert await store.read(lambda tx: tx.handles.get("deploys", "release:r-1")) == newer


async def test_handles_are_found_by_what_concerns_them(store: Store) -> None:
    """A change of a release or a run finds what shows it, in a stable order, and nothing else."""
    approval = replace(HANDLE, subject="approval:run-1:p", topic="run-1")
    other = replace(HANDLE, channel="another")
    call = replace(HANDLE, subject="call:x", topic="")
    unrelated = replace(HANDLE, subject="release:r-2", topic="r-2")
    await each(
        store,
        (HANDLE, approval, other, call, unrelated),
        lambda tx, one: tx.handles.begin(one),
    )
    found = await store.read(lambda tx: tx.handles.about({"r-1", "run-1", "nothing"}))
    assert list(found) == [other, approval, HANDLE]
    assert list(await store.read(lambda tx: tx.handles.about(()))) == []


async def test_how_a_channel_fares_is_replaced(store: Store) -> None:
    """Each channel has one state, the last that was told."""
    failing = ChannelState("deploys", "it does not answer", NOON)
    mended = replace(failing, problem="", since=NOON + MINUTE, dropped=2, dropped_at=NOON)
    assert await store.read(lambda tx: tx.handles.channel("deploys")) is None
    await each(
        store,
        (failing, ChannelState("alerts", "", NOON), mended),
        lambda tx, one: tx.handles.save_channel(one),
    )
    assert await store.read(lambda tx: tx.handles.channel("deploys")) == mended
    found = await store.read(lambda tx: tx.handles.channels())
    assert [state.channel for state in found] == ["alerts", "deploys"]


async def test_old_handles_go_oldest_first(store: Store) -> None:
    """What was begun long ago is shown anew if it ever changes again."""
    handles = [
        replace(HANDLE, subject=f"release:{number}", begun_at=NOON + number * MINUTE)
        for number in (2, 0, 1, 3)
    ]
    await each(store, handles, lambda tx, one: tx.handles.begin(one))
    before = NOON + 3 * MINUTE
    gone = [await store.transact(lambda tx: tx.handles.drop(before, 2)) for _ in range(3)]
    assert gone == [2, 1, 0]
    left = await store.read(lambda tx: tx.handles.about({HANDLE.topic}))
    assert [handle.subject for handle in left] == ["release:3"]
