"""The recorded answers that the sandbox is held to are those of the real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import recorded_writes
from tests.support.api_talk import ApiTalk
from tests.support.recorded_stage import prepare

if TYPE_CHECKING:
    from tests.support.quiet_control_plane import QuietControlPlane

_AGAIN = "record again: .venv/bin/python -m tools.sandbox_recordings"


@pytest.mark.parametrize("name", recorded_writes.names())
def test_recorded_answers_are_still_given(quiet_cluster: QuietControlPlane, name: str) -> None:
    """Every recorded request is answered as recorded."""
    namespace = f"recorded-{name}"
    stale = []
    with ApiTalk(quiet_cluster.client) as talk:
        prepare(talk.say, namespace)
        for case in recorded_writes.load(name):
            for step in case["steps"]:
                said = recorded_writes.play(step, talk.say, namespace)
                if recorded_writes.is_clearing(step):
                    continue
                found = recorded_writes.compared(said, namespace, step)
                if found != recorded_writes.recorded(step):
                    stale.append(f"{case['case']}: {step['ask']}")

    assert not stale, _AGAIN
