"""The simulated cluster and the real one are held to the same tests, none left out on one side."""

from __future__ import annotations

from collections import defaultdict

from tests.support.projects import REPOSITORY, run_module

_PORT, _API = "tests/contracts/cluster", "tests/integration/sandbox_api"
_KUBECTL = f"{_API}/test_kubectl.py"
_BOTH = frozenset({"sandbox", "real"})


def _clusters_by_test(*folders: str) -> dict[str, set[str]]:
    """The tests without the clusters in their ids, and the clusters that each runs on."""
    ended = run_module(REPOSITORY, "pytest", "--collect-only", "-q", *folders)
    assert ended.returncode == 0, ended.stdout
    found: dict[str, set[str]] = defaultdict(set)
    for line in ended.stdout.splitlines():
        name, _, given = line.partition("[")
        if "::" in name:
            words = given.removesuffix("]").split("-")
            rest = "-".join(word for word in words if word not in _BOTH | {"memory"})
            found[f"{name}[{rest}]"] |= _BOTH & {*words}
    return found


def test_every_test_of_the_cluster_port_runs_on_both_clusters() -> None:
    """Each id with ``sandbox`` in it has its twin with ``real``; so has each test of kubectl.

    Other tests of the API are about the sandbox alone, or about both clusters: never about one
    of them by its fixture.
    """
    found = _clusters_by_test(_PORT, _API)
    bound = {name: on for name, on in found.items() if name.startswith((_PORT, _KUBECTL))}

    assert len(bound) > 40
    assert not {name: on for name, on in bound.items() if on != _BOTH}
    assert not {name: on for name, on in found.items() if on and on != _BOTH}
