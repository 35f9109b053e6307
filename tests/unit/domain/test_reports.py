"""What reports say of a stage."""

from __future__ import annotations

from gitopsd.domain.reports import Standing


def test_what_waits_or_moves_is_not_settled() -> None:
    """Everything else stays so unless something begins anew."""
    moving = {Standing.WAITING, Standing.RUNNING, Standing.HELD, Standing.RESTORING}

    assert {one for one in Standing if not one.settled} == moving
