"""Every way in which a release turns out to be bad, in virtual time, judged by live objects.

Real: the engine. In memory: everything outside. The same scenarios on real servers, as far as real
time permits, are in ``tests/cluster/test_rollbacks.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.rollback_stories import STORIES
from tests.support.rollback_table import Outcome, Scenario, Where, forget, played_on, record

SCENARIOS = played_on(Where.VIRTUAL)


@pytest.fixture(scope="module", autouse=True)
def _begin_anew() -> None:
    """Nothing that an earlier run said stays in the table."""
    forget(Where.VIRTUAL)


@pytest.mark.looptime
@pytest.mark.timeout(60)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[one.name for one in SCENARIOS])
async def test_what_was_good_is_back_or_a_person_is_called(scenario: Scenario) -> None:
    """The live objects are as before where that is promised, and untouched where it is not."""
    told = await STORIES[scenario.name]()
    target = str(told.run.release) if told.run is not None else ""
    where = Where.VIRTUAL.value
    record(Outcome(scenario.name, where, told.restored, target, told.seconds))

    assert told.restored is scenario.restored
    if scenario.restored:
        assert told.run is not None
        assert told.seconds is not None
        assert told.seconds <= 60


def test_the_table_keeps_what_others_wrote(tmp_path: Path) -> None:
    """A row is replaced by its scenario and place; what one driver said before can be forgotten."""
    table = tmp_path / "rollback.json"
    for seconds in (1.0, 2.0):
        record(
            Outcome("bad image", "virtual time", restored=True, target="r", seconds=seconds), table
        )
    record(Outcome("bad image", "sandbox", restored=True, target="r", seconds=3.0), table)
    assert [row["seconds"] for row in json.loads(table.read_text())] == [2.0, 3.0]
    assert set(json.loads(table.read_text())[0]) == {
        "scenario",
        "where",
        "restored",
        "target",
        "seconds",
    }
    forget(Where.SANDBOX, table)
    assert [row["where"] for row in json.loads(table.read_text())] == ["virtual time"]


def test_every_scenario_has_its_story() -> None:
    """What the data says is played in virtual time has a story, and nothing else has."""
    assert set(STORIES) == {one.name for one in SCENARIOS}
