"""A service whose first admin token is given in a file, and is replaced while it runs."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gitopsd.entrypoints.first_token import LOOK_AGAIN, FirstToken
from gitopsd.errors import TemporaryError
from gitopsd.settings import Settings
from gitopsd.testing.clock import ManualClock
from tests.support.http_world import HttpWorld, serving_world

OLD, NEW = b"5f1d0c9a27b84e63" * 3, b"c0a9e7d513f24b68" * 3
FILE = "/etc/gitopsd/first-token/token"


async def may(http: HttpWorld, *tokens: bytes) -> list[int]:
    """Ask for the list of tokens, which is an admin's to see."""
    return [(await http.ask("GET", "/tokens", token=token.decode())).status for token in tokens]


async def test_a_new_file_counts_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The old token is refused from then on; trouble with the file changes nothing, told once."""
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    async with serving_world(run=False) as http:
        http.world.secrets[FILE] = OLD
        services = replace(http.world.services, clock=clock)
        settings = Settings(first_token_file=Path(FILE), data_dir=tmp_path)
        first = FirstToken(services, settings)
        told = [await first.settle(), await first.settle()]
        following = asyncio.create_task(first.follow())

        async def look() -> None:
            await clock.until_sleeping(1)
            clock.advance(LOOK_AGAIN)
            await clock.until_sleeping(1)

        await look()
        seen = [await may(http, OLD, NEW)]
        for content in (None, None, b"too short"):
            http.world.secrets[FILE] = content
            await look()
            seen.append(await may(http, OLD, NEW))
        http.world.secrets[FILE] = NEW
        http.troubled.trouble.append(TemporaryError("the database does not answer"))
        for _ in range(2):
            await look()
        seen.append(await may(http, OLD, NEW))
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    said = [record.getMessage() for record in caplog.records]
    assert told == [f"The first admin token is the one in {FILE}", ""]
    assert seen == [[200, 401]] * 4 + [[401, 200]]
    assert not any(token.decode() in line for token in (OLD, NEW) for line in (*told, *said))
    assert len([line for line in said if "cannot be read" in line]) == 1
    assert len([line for line in said if "32 to 512" in line]) == 1
    assert len([line for line in said if "was replaced; the old one is revoked" in line]) == 1
    assert not os.listdir(tmp_path)  # noqa: PTH208 - a test may block
