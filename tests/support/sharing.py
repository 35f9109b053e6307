"""How a run's tests are shared among its workers, when there are several (``pytest -n``).

The tests in the folders about the control plane go to one worker, since each worker would start one
of its own; the systems' scenarios, about as long, to another; of all others a module's tests stay
together, for what they share. What may take longest starts first: a long story that began last
would leave the other workers waiting for it.
"""

from __future__ import annotations

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

CLUSTER = "cluster"
"""The group of the folders about the control plane."""

SCENARIOS = "tests/cluster/test_system_scenarios.py"
"""The group of the five systems."""

_ON_THE_CLUSTER = ("tests/cluster/", "tests/contracts/cluster/", "tests/integration/sandbox_api/")


def name_group(node_id: str) -> str:
    """Returns the group of a test by its id; a group's tests run on one worker."""
    module = node_id.partition("::")[0]
    return CLUSTER if module.startswith(_ON_THE_CLUSTER) and module != SCENARIOS else module


class ByGroup(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Hands out whole groups, in the order in which the tests stand."""

    def _split_scope(self, nodeid: str) -> str:
        return name_group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByGroup:
    """Chooses how tests are handed out, whatever was said on the command line."""
    config.option.loadscopereorder = False
    return ByGroup(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sorts the groups on a worker, after everybody else has shuffled."""
    if hasattr(config, "workerinput"):
        sort_by_group(items)


def sort_by_group(items: list[pytest.Item]) -> None:
    """Puts the control plane's tests and the scenarios first, then what may take longest.

    What may take the same stays in its order, but together.
    """
    seconds: dict[str, float] = {}
    for item in items:
        limit = item.get_closest_marker("timeout")
        allowed = float(limit.args[0]) if limit is not None and limit.args else 0.0
        group = name_group(item.nodeid)
        seconds[group] = max(seconds.get(group, 0.0), allowed)
    seconds[CLUSTER] = seconds[SCENARIOS] = float("inf")
    places = {group: place for place, group in enumerate(seconds)}

    def rank(item: pytest.Item) -> tuple[float, int]:
        group = name_group(item.nodeid)
        return -seconds[group], places[group]

    items.sort(key=rank)
