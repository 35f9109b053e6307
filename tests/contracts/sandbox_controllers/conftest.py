"""What every test of the sandbox's controllers asks besides its own promise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_controller_breaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No controller meets an object that it cannot read."""
    yield
    broken = [record for record in caplog.get_records("call") if record.levelname == "ERROR"]
    assert broken == []
