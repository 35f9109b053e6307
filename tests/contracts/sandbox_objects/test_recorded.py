"""Writes of every served kind, against what a real API server answered to the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import recorded_writes
from tests.support.paper_api import PaperApi
from tests.support.recorded_stage import prepare

SHOP = "recorded-here"


def _cases() -> list[Any]:
    return [
        pytest.param(case, id=f"{name}-{case['case']}")
        for name in recorded_writes.names()
        for case in recorded_writes.load(name)
    ]


@pytest.mark.parametrize("case", _cases())
def test_write_is_answered_as_by_a_real_server(case: recorded_writes.Case) -> None:
    """Each step of a recorded case gets the recorded status, object, owners and complaints."""
    api = PaperApi()
    prepare(api.say, SHOP)
    for step in case["steps"]:
        said = recorded_writes.play(step, api.say, SHOP)
        if recorded_writes.is_clearing(step):
            continue
        assert recorded_writes.compared(said, SHOP, step) == recorded_writes.recorded(step), step[
            "ask"
        ]
