"""Time in the sandbox: the time of day and waiting, in one place so that tests pass another."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta


class Clock:
    """Real time."""

    def now(self) -> datetime:
        """The time of day, aware, UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the sandbox's clock

    async def sleep(self, duration: timedelta) -> None:
        """Wait; zero or less still lets others run once."""
        await asyncio.sleep(max(duration.total_seconds(), 0))  # noqa: TID251 - the sandbox's clock


def jittered(duration: timedelta) -> timedelta:
    """Half to all of `duration`, so that many who wait do not come back at once."""
    return duration * (0.5 + secrets.randbelow(1001) / 2000)
