"""A plug-in that says that there is no current event loop.

Plug-ins that ask for "the current loop" in a synchronous test must hear that there is none;
otherwise the policy makes one that nobody closes, and whichever test runs when it is collected
fails.
"""

from __future__ import annotations

import asyncio


def pytest_configure() -> None:
    """Say it before anybody asks."""
    asyncio.set_event_loop(None)
