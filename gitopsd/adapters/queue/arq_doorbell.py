"""A doorbell between processes: arq on Redis, for hints only.

Each process that waits has a queue of its own, so that a ring reaches all of them and not just the
first to take a job. Nothing depends on Redis: a ring that is lost costs one sweep.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.queue.in_process import wait_for_event
from gitopsd.adapters.queue.jobs import LARGEST_JOB_BYTES, RING, parse_job, write_job
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import Clock

SOCKET_TIMEOUT = timedelta(seconds=2)
"""Longest wait for Redis to connect or to answer; a Redis that hangs is as good as none."""

POLL_DELAY = timedelta(milliseconds=200)
REGISTRATION = timedelta(seconds=8)
"""A listener that did not renew its registration for this long is not rung any more."""

LISTENERS = "arq:gitopsd:listeners"
"""Sorted set: queue of a listener -> when its registration ends, in seconds."""

_QUEUE_PREFIX = "arq:gitopsd:bell:"
_QUEUE = re.compile(_QUEUE_PREFIX.encode() + rb"[0-9a-f]{16}")
_JOB_ID = re.compile(rb"[0-9a-f]{32}")
_JOB_KEY = "arq:job:"
_MOST_LISTENERS = 64
_JOB_EXPIRY = timedelta(seconds=60)
_RENEWAL = timedelta(seconds=2)
_PAUSE = timedelta(milliseconds=500)
_CANCELLATIONS = 5
_CANCELLATION_PAUSE = timedelta(milliseconds=20)
_LONGEST_PAUSE = timedelta(seconds=5)

_LOG = logging.getLogger(__name__)


class ArqDoorbell:
    """Rings and hears over Redis; implements ``ports.Doorbell``.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://`` address; never logged.
        clock: Paces renewals and retries; real time unless given.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._sender = secrets.token_hex(8)
        self._rung = asyncio.Event()
        self._wanted = False
        self._closed = False
        self._queue = ""
        self._publisher: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._in_trouble = False
        self._pool = ArqRedis.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT.total_seconds(),
            socket_connect_timeout=SOCKET_TIMEOUT.total_seconds(),
            retry=Retry(NoBackoff(), 0),
        )
        self._pool.job_serializer = write_job
        self._pool.job_deserializer = parse_job

    async def ring(self) -> None:
        """Wake whoever waits here at once, and in other processes soon.

        Never raises and never blocks: Redis is spoken to in the background, and rings that come
        meanwhile are one. Safe to repeat: a ring is only a reason to look.
        """
        if self._closed:
            return
        self._rung.set()
        self._wanted = True
        if self._publisher is None or self._publisher.done():
            self._publisher = asyncio.create_task(self._publish(), name="doorbell-publisher")

    async def wait(self, timeout: timedelta) -> bool:
        """Wait for a ring; the first wait begins to listen to other processes."""
        if not self._closed and (self._listener is None or self._listener.done()):
            self._listener = asyncio.create_task(self._listen(), name="doorbell-listener")
        return await wait_for_event(self._rung, timeout)

    async def close(self) -> None:
        """Stop listening. Takes two seconds at most, however Redis is."""
        self._closed = True
        tasks = [task for task in (self._publisher, self._listener) if task is not None]
        await _end(tasks, SOCKET_TIMEOUT / _CANCELLATIONS)
        with suppress(Exception):
            async with asyncio.timeout(SOCKET_TIMEOUT.total_seconds()):
                if self._queue:
                    await self._pool.zrem(LISTENERS, self._queue)
                    await self._pool.delete(self._queue)
        with suppress(Exception):
            await self._pool.aclose(close_connection_pool=True)

    async def _publish(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                async with asyncio.timeout(SOCKET_TIMEOUT.total_seconds()):
                    await self._ring_others()
            except Exception as error:  # noqa: BLE001 - whatever Redis does, a ring never raises
                self._note_trouble(error)
            else:
                self._note_health()

    async def _ring_others(self) -> None:
        now = self._clock.now().timestamp()
        queues = await self._pool.zrangebyscore(LISTENERS, now, "+inf", 0, _MOST_LISTENERS)
        for queue in queues:
            if _QUEUE.fullmatch(queue) and queue.decode() != self._queue:
                await self._pool.enqueue_job(
                    RING, self._sender, _queue_name=queue.decode(), _expires=_JOB_EXPIRY
                )

    async def _listen(self) -> None:
        """Run a worker, and another one when it fails, for as long as this doorbell is open."""
        pause = _PAUSE
        while True:
            begin = self._clock.monotonic()
            try:
                await self._work()
            except Exception as error:  # noqa: BLE001 - a worker fails in every way there is
                self._note_trouble(error)
            lasted = timedelta(seconds=self._clock.monotonic() - begin)
            pause = _PAUSE if lasted > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
            await self._clock.sleep(pause)

    async def _work(self) -> None:
        # A new queue for each worker: what broke the last one is not met again.
        self._queue = f"{_QUEUE_PREFIX}{secrets.token_hex(8)}"
        worker = _BellWorker(self._hear, self._pool, self._queue)
        tasks = [
            asyncio.create_task(self._stay_registered(self._queue), name="doorbell-registration"),
            asyncio.create_task(worker.main(), name="doorbell-worker"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end(tasks)
            await worker.end_jobs()

    async def _hear(self, _context: dict[Any, Any], _sender: str) -> None:
        self._rung.set()

    async def _stay_registered(self, queue: str) -> None:
        while True:
            now = self._clock.now().timestamp()
            try:
                await self._pool.zadd(LISTENERS, {queue: now + REGISTRATION.total_seconds()})
                await self._remove_stale(now)
            except Exception:
                # A key of another type under our name would keep everybody out for ever.
                with suppress(Exception):
                    await self._remove_stranger()
                raise
            self._note_health()
            await self._clock.sleep(_RENEWAL)

    async def _remove_stale(self, now: float) -> None:
        stale = await self._pool.zrangebyscore(LISTENERS, "-inf", now, 0, _MOST_LISTENERS)
        if stale:
            await self._pool.zrem(LISTENERS, *stale)
        known = [queue for queue in stale if _QUEUE.fullmatch(queue)]
        if known:
            await self._pool.unlink(*known)

    async def _remove_stranger(self) -> None:
        if await self._pool.type(LISTENERS) not in (b"zset", b"none"):
            await self._pool.unlink(LISTENERS)

    def _note_trouble(self, error: BaseException) -> None:
        if not self._in_trouble:
            self._in_trouble = True
            _LOG.warning(
                "the doorbell on Redis is out of order; work is found by the sweep meanwhile",
                extra={"problem": redact_clause(_say(error))},
            )

    def _note_health(self) -> None:
        if self._in_trouble:
            self._in_trouble = False
            _LOG.warning("the doorbell on Redis works again")


class _BellWorker(Worker):
    """An arq worker that takes rings and nothing else.

    Attempts are not counted and results not kept: a ring that fails is lost, and the next one or
    the sweep does its work.
    """

    def __init__(self, hear: Any, pool: ArqRedis, queue: str) -> None:
        super().__init__(
            functions=[func(hear, name=RING, keep_result=0, timeout=5, max_tries=1)],
            queue_name=queue,
            redis_pool=pool,
            handle_signals=False,
            keep_result=0,
            max_jobs=8,
            job_timeout=5,
            poll_delay=POLL_DELAY.total_seconds(),
            queue_read_limit=32,
            health_check_interval=60,
            retry_jobs=False,
            job_serializer=write_job,
            job_deserializer=parse_job,
            log_results=False,
        )

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start the jobs that can be rings; remove the others unread."""
        sizes = await self._measure(job_ids)
        usable = [
            job_id
            for job_id, size in zip(job_ids, sizes, strict=True)
            if isinstance(size, int) and size <= LARGEST_JOB_BYTES
        ]
        refused = [job_id for job_id in job_ids if job_id not in usable]
        if refused:
            await self.pool.zrem(self.queue_name, *refused)
        await super().start_jobs(usable)

    async def end_jobs(self) -> None:
        """End what runs, without speaking to Redis."""
        running = [*self.job_tasks.values(), *self.tasks.values()]
        await _end(running)

    async def _measure(self, job_ids: list[bytes]) -> list[Any]:
        """Tell the size of each job's body; something else than a number for what is no job."""
        sizes: list[Any] = [None] * len(job_ids)
        named = [index for index, job_id in enumerate(job_ids) if _JOB_ID.fullmatch(job_id)]
        if not named:
            return sizes
        async with self.pool.pipeline(transaction=False) as pipe:
            for index in named:
                pipe.strlen(_JOB_KEY + job_ids[index].decode())
            for index, size in zip(named, await pipe.execute(raise_on_error=False), strict=True):
                sizes[index] = size
        return sizes


async def _end(tasks: Sequence[asyncio.Task[Any]], pause: timedelta = _CANCELLATION_PAUSE) -> None:
    """Cancel tasks, and again those that go on: the driver loses one while it connects."""
    for _ in range(_CANCELLATIONS):
        running = [task for task in tasks if not task.done()]
        if not running:
            break
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=pause.total_seconds())
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # it was seen, or comes too late to matter


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
