"""The machine's time: the only place that reads it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The Clock port on this machine."""

    def now(self) -> datetime:
        """Tell the wall clock, aware, UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the clock adapter

    def monotonic(self) -> float:
        """Tell seconds that never go back; they also pass while the process is stopped."""
        return time.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        """Wait; zero or less lets others run once."""
        await asyncio.sleep(max(duration.total_seconds(), 0))  # noqa: TID251 - this is a clock
