"""A replica whose own clock disagrees with the database's is sent no work."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import aiohttp
import pytest

from gitopsd.entrypoints.http.app import build_app
from gitopsd.entrypoints.http.server import Bounds, listen
from gitopsd.testing.clock import LoopClock
from tests.support.http_world import make_http_world


class AnotherClock(LoopClock):
    """The clock of a machine that is off.

    Args:
        off: By how much, ahead.
    """

    def __init__(self, off: timedelta) -> None:
        super().__init__()
        self._off = off

    def now(self) -> datetime:
        """Tell the time of day, as this machine believes it to be."""
        return super().now() + self._off


@pytest.mark.parametrize(
    "off,sole,status",
    [
        (1.9, False, 200),
        (2.1, False, 503),
        (-2.1, False, 503),
        (3600, True, 200),
    ],
)
async def test_more_than_two_seconds_make_a_replica_unready(
    off: float, sole: bool, status: int
) -> None:
    """Ahead or behind, it says by how much; alone with SQLite its clock is the database's."""
    _, service, _, _ = make_http_world()
    clock = AnotherClock(timedelta(seconds=off))
    service = replace(service, services=replace(service.services, clock=clock), sole=sole)
    bounds = Bounds(linger_seconds=0.2, shutdown_seconds=1.0)
    listener = await listen(build_app(service), "127.0.0.1:0", bounds)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{listener.url}/health/ready") as answer,
        ):
            told = await answer.json()
    finally:
        service.changes.close()
        await listener.close()

    assert answer.status == status
    if status == 503:
        assert told["reason"] == "this machine's clock is off the database's by 2.1 s"
