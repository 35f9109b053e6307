"""Rings between processes, and a Redis that is away, hangs, forgets, or lies."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gitopsd.adapters.queue.arq_doorbell import LISTENERS, ArqDoorbell
from gitopsd.adapters.queue.jobs import parse_job, write_job
from gitopsd.testing.clock import LoopClock
from tests.support.redis import RedisServer, find_free_port
from tests.support.redis_fixtures import redis

__all__ = ["redis"]

WITHIN = timedelta(seconds=15)
NONE = timedelta(0)


@pytest.fixture
async def here(redis: RedisServer) -> AsyncIterator[ArqDoorbell]:
    """One process's doorbell."""
    made = ArqDoorbell(redis.url)
    yield made
    await made.close()


@pytest.fixture
async def there(redis: RedisServer) -> AsyncIterator[ArqDoorbell]:
    """Another process's doorbell."""
    made = ArqDoorbell(redis.url)
    yield made
    await made.close()


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    """A client that may do anything to Redis."""
    made = Redis.from_url(redis.url)
    yield made
    await made.aclose()


async def _until(condition: Callable[[], Any]) -> None:
    """Wait until an asynchronous condition holds, asking every few milliseconds."""
    clock = LoopClock()
    async with asyncio.timeout(WITHIN.total_seconds()):
        while not await condition():
            await clock.sleep(timedelta(milliseconds=20))


async def _heard(there: ArqDoorbell, here: ArqDoorbell) -> None:
    """Ring here until it is heard there, as the sweep's repetition would."""
    await here.wait(NONE)

    async def heard() -> bool:
        await here.ring()
        return await there.wait(timedelta(milliseconds=500))

    await _until(heard)


async def _queues(client: Redis) -> list[bytes]:
    async def registered() -> bool:
        return bool(await client.zcard(LISTENERS))

    await _until(registered)
    found: list[bytes] = await client.zrange(LISTENERS, 0, -1)
    return found


async def test_a_ring_is_heard_in_every_process(
    redis: RedisServer, here: ArqDoorbell, there: ArqDoorbell
) -> None:
    """Two other processes hear one ring: it is no job that one takes from the other."""
    third = ArqDoorbell(redis.url)
    await _heard(there, here)
    await _heard(third, here)
    waiting = [asyncio.create_task(one.wait(WITHIN)) for one in (there, third)]
    await here.ring()
    assert await asyncio.gather(*waiting) == [True, True]
    await third.close()


async def test_who_only_rings_does_not_listen(client: Redis, here: ArqDoorbell) -> None:
    """A process that never waits leaves nothing in Redis."""
    await here.ring()
    await here.close()
    assert await client.keys() == []


async def test_closing_leaves_nothing(client: Redis, here: ArqDoorbell, there: ArqDoorbell) -> None:
    """After everybody left, only counters that expire by themselves may remain."""
    await _heard(there, here)
    await there.close()
    await here.close()
    assert await client.zcard(LISTENERS) == 0
    for key in await client.keys():
        assert await client.ttl(key) > 0


async def test_without_redis_the_process_rings_itself() -> None:
    """Nobody listens at the address: ringing works here, and takes no time."""
    alone = ArqDoorbell(f"redis://127.0.0.1:{find_free_port()}")
    async with asyncio.timeout(1):
        await alone.ring()
        assert await alone.wait(NONE) is True
        assert await alone.wait(NONE) is False
        await alone.ring()
    await alone.close()


async def test_a_restarted_redis_is_used_again(
    redis: RedisServer, here: ArqDoorbell, there: ArqDoorbell
) -> None:
    """Rings are lost while it is away, and heard after it is back, empty."""
    await _heard(there, here)
    redis.stop()
    await here.ring()
    redis.start()
    await _heard(there, here)


async def test_a_forgetful_redis_is_reminded(
    client: Redis, here: ArqDoorbell, there: ArqDoorbell
) -> None:
    """FLUSHALL loses the registrations; they are renewed."""
    await _heard(there, here)
    await client.flushall()
    await _heard(there, here)


async def test_a_redis_that_hangs_blocks_nobody(
    redis: RedisServer, here: ArqDoorbell, there: ArqDoorbell
) -> None:
    """Stopped by SIGSTOP, it costs neither ringing nor closing more than moments."""
    await _heard(there, here)
    redis.pause()
    async with asyncio.timeout(1):
        for _ in range(10):
            await here.ring()
        assert await here.wait(NONE) is True
    async with asyncio.timeout(3):
        await here.close()
    redis.resume()
    fresh = ArqDoorbell(redis.url)
    await _heard(there, fresh)
    await fresh.close()


async def test_a_redis_that_hung_for_long_is_used_again(
    redis: RedisServer, here: ArqDoorbell, there: ArqDoorbell, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that lost its patience is followed by another; the log says so once."""
    await _heard(there, here)
    redis.pause()
    with caplog.at_level(logging.WARNING, logger="gitopsd"):
        await there.wait(timedelta(seconds=4))
        redis.resume()
        await _heard(there, here)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("gitopsd")]
    assert said.count(
        "the doorbell on Redis is out of order; work is found by the sweep meanwhile"
    ) in (1, 2)
    assert len(said) <= 4


class _Bomb:
    """Touches a file when somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def _ring(**changed: object) -> bytes:
    return orjson.dumps(
        {"t": None, "f": "ring", "a": ["0" * 16], "k": {}, "et": 1767225600000} | changed
    )


def _hostile_bodies(tmp_path: Path) -> dict[str, bytes]:
    return {
        "pickle": pickle.dumps(_Bomb(tmp_path / "bomb")),
        "pickled job": pickle.dumps(
            {"t": None, "f": "ring", "a": (_Bomb(tmp_path / "bomb"),), "k": {}, "et": 0}
        ),
        "function is a list": _ring(f=["ring"]),
        "another function": _ring(f="__import__"),
        "no list": _ring(a={"0": "0" * 16}),
        "two arguments": _ring(a=["0" * 16, "0" * 16]),
        "an argument of another type": _ring(a=[{}]),
        "keywords": _ring(k={"x": 1}),
        "a try": _ring(t=10**18),
        "time overflows": _ring(et=10**18),
        "time is a text": _ring(et="now"),
        "a list": b"[]",
        "a number": b"1",
        "nothing": b"",
        "deep": b"[" * 100_000,
        "giant": b" " * 20_000_000,
    }


@pytest.mark.parametrize("case", _hostile_bodies(Path()).keys())
async def test_hostile_jobs_run_nothing_and_kill_nothing(
    client: Redis, here: ArqDoorbell, there: ArqDoorbell, tmp_path: Path, case: str
) -> None:
    """Whatever lies in the queue is removed, and the next ring is heard."""
    await _heard(there, here)
    body = _hostile_bodies(tmp_path)[case]
    for queue in await _queues(client):
        await client.set("arq:job:" + "ab" * 16, body)
        await client.zadd(queue, {"ab" * 16: 1})

    async def emptied() -> bool:
        left: int = await client.exists(*await _queues(client))
        return left == 0

    await _until(emptied)
    await _heard(there, here)
    assert not (tmp_path / "bomb").exists()


async def test_hostile_keys_kill_nothing(
    client: Redis, here: ArqDoorbell, there: ArqDoorbell
) -> None:
    """Keys of other types, names that are no text, and giant names are survived."""
    await _heard(there, here)
    for queue in await _queues(client):
        await client.zadd(queue, {b"\xff\xfe": 1, b"x" * 1_000_000: 1, b"cd" * 16: 1})
        for name in ("arq:job:", "arq:retry:"):
            await client.set(name + "cd" * 16, "no number")
    await _heard(there, here)
    for queue in await _queues(client):
        await client.delete(queue)
        await client.set(queue, "text")
    await _heard(there, here)
    await client.delete(LISTENERS)
    await client.set(LISTENERS, "text")
    await _heard(there, here)
    await client.zadd(LISTENERS, {b"\xff": 10**12, b"arq:job:x": 10**12, b"x" * 1_000_000: 10**12})
    await _heard(there, here)


async def test_dead_listeners_are_forgotten(
    client: Redis, here: ArqDoorbell, there: ArqDoorbell
) -> None:
    """A queue whose process died is neither rung nor kept."""
    dead = "arq:gitopsd:bell:" + "0" * 16
    await client.zadd(LISTENERS, {dead: 1})
    await client.zadd(dead, {"ef" * 16: 1})
    await _heard(there, here)

    async def gone() -> bool:
        left: int = await client.exists(dead)
        return left == 0 and await client.zscore(LISTENERS, dead) is None

    await _until(gone)


def test_a_ring_is_read_as_it_is_written() -> None:
    """Writing and reading are inverse for rings; results are written without their values."""
    job: dict[str, object] = {"t": None, "f": "ring", "a": ("0" * 16,), "k": {}, "et": 1}
    assert parse_job(write_job(job)) == {**job, "a": ["0" * 16]}
    assert write_job({"r": RuntimeError("secret")}) == b'{"r":"RuntimeError"}'


def test_the_address_is_in_no_message() -> None:
    """The password in Redis' address is not shown by the doorbell."""
    doorbell = ArqDoorbell("redis://:hunter22@127.0.0.1:1/0")
    assert "hunter22" not in repr(doorbell)
