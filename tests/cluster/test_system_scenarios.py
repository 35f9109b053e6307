"""Each of the five systems is deployed, broken in every way its guide fears, and recovered.

From empty namespaces on a real control plane, by ``git push`` and a signed webhook. Verdicts are
those of `tests.support.systems.judge`, from outside. A system's scenarios are played in order on
one gitopsd, when the first of them is asked for. One system alone::

    pytest tests/cluster/test_system_scenarios.py -k eterna-rules
    pytest tests/cluster/test_system_scenarios.py -k "eterna-rules and (good or crashes)"
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.guide_facts import list_systems
from tests.support.systems.story import KINDS, SystemStory

if TYPE_CHECKING:
    from tests.support.systems.telling import Teller

BUILD = Path(__file__).resolve().parents[2] / "build" / "cluster"
SYSTEMS = {"agents-framework", "ai-companion", "ai-core", "eterna-rules", "jewelry-invoice-bot"}
AT_LEAST = 25
FIELDS = ("system", "scenario", "ok", "outcome", "reason", "seconds", "objectsCompared")


def load_story(system: str) -> SystemStory:
    """A system's story."""
    name = f"tests.support.systems.{system.replace('-', '_')}"
    story: SystemStory = importlib.import_module(name).STORY
    return story


STORIES = {system: load_story(system) for system in list_systems()}
CASES = [(name, one.name) for name, story in STORIES.items() for one in story.scenarios]


@pytest.fixture(scope="module")
def teller(request: pytest.FixtureRequest) -> Iterator[Teller]:
    """Tells each system's story when it is asked for; what came of them is written down."""
    from tests.support.systems.telling import Teller  # noqa: PLC0415 - starts a control plane

    telling = Teller(request)
    yield telling
    rows = [verdict.row() for verdict in telling.told.values()]
    BUILD.mkdir(parents=True, exist_ok=True)
    # The table of a part must not stand where people look for that of all.
    name = "scenarios.json" if set(telling.told) == set(CASES) else "scenarios-part.json"
    (BUILD / name).write_text(json.dumps(rows, indent=1))


def chosen(session: pytest.Session, system: str) -> set[str]:
    """The scenarios of a system that this run asks for."""
    cases = [
        item.callspec.params.get("case", ("", ""))
        for item in session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    return {str(case[1]) for case in cases if isinstance(case, tuple) and case[0] == system}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=":".join)
def test_comes_out_as_its_guide_wants(
    teller: Teller, case: tuple[str, str], request: pytest.FixtureRequest
) -> None:
    """Good releases are live, bad ones are refused or taken back without a trace, and said so."""
    system, scenario = case
    verdict = teller.verdict(STORIES[system], scenario, chosen(request.session, system))
    assert not verdict.complaints, "\n".join(verdict.complaints)


def test_all_of_it_is_played() -> None:
    """The five systems, five scenarios each at least; what comes of each is a row of the table."""
    from tests.support.systems.play import Verdict  # noqa: PLC0415 - starts a control plane

    assert set(STORIES) == SYSTEMS
    assert len(CASES) >= AT_LEAST
    assert tuple(Verdict("ai-core", "good").row()) == FIELDS


@pytest.mark.parametrize("system", STORIES)
def test_each_system_is_broken_in_every_way(system: str) -> None:
    """Five scenarios in their order, and one at least is caught only in production."""
    scenarios = STORIES[system].scenarios
    assert [one.name in kind for one, kind in zip(scenarios, KINDS, strict=False)] == [True] * 5
    assert any((one.caught, one.outcome) == ("production", "Restored") for one in scenarios)
