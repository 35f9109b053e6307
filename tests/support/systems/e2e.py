"""The five systems on a cluster of yours: ``make e2e KUBECONFIG=FILE REGISTRY=URL``.

See docs/e2e.md for what it needs, makes and removes. It ends with 0 when every scenario came out as
it should, 1 when one did not, 2 when it could not or would not begin; then nothing was touched.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.cluster_access import ApplyError
from tests.support.cluster_client import ApiError
from tests.support.guide_facts import list_systems
from tests.support.operators import DEFINITIONS
from tests.support.processes import ServerEndedError, WaitTimeoutError
from tests.support.systems.any_cluster import AnyCluster
from tests.support.systems.fitting import read_application
from tests.support.systems.ground import namespaces_of
from tests.support.systems.judge import UnauditedJudge
from tests.support.systems.kinds import ReadError
from tests.support.systems.site import Surroundings, run_system
from tests.support.systems.telling import Telling
from tests.support.systems.user_registry import UserRegistry, UserRegistryError

if TYPE_CHECKING:
    from tests.support.cluster_access import ClusterAccess
    from tests.support.systems.play import Verdict
    from tests.support.systems.story import SystemStory

ROOT = Path(__file__).resolve().parents[3]
ROWS = ROOT / "build" / "e2e" / "scenarios.json"
_CANNOT = (
    *(ApplyError, ApiError, ReadError, UserRegistryError),
    *(ServerEndedError, WaitTimeoutError, OSError),
)
_DEFINED = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_OURS = "gitopsd"
_PATIENCE = 10
"""Kubelets take a second for what the tests' nodes do in fifty milliseconds."""


class WillNotError(Exception):
    """The cluster is not one to play on; the message says why, and what to do."""


def load_story(system: str) -> SystemStory:
    """A system's story."""
    name = f"tests.support.systems.{system.replace('-', '_')}"
    story: SystemStory = importlib.import_module(name).STORY
    return story


def check_cluster(cluster: ClusterAccess, stories: Sequence[SystemStory], *, volumes: bool) -> None:
    """See that nothing of the user's could be meant by anything that is made or removed.

    Raises:
        WillNotError: Something is there already, or something is missing.
    """
    wanted = {_OURS} | {
        namespace
        for story in stories
        for stage in read_application(story.name)["spec"]["stages"]
        for namespace in namespaces_of(stage)
    }
    there = wanted & set(_names(cluster, "/api/v1/namespaces"))
    if there:
        message = (
            f"the cluster has namespaces that would be removed at the end: "
            f"{', '.join(sorted(there))}. Use a cluster without them, a fresh one at best"
        )
        raise WillNotError(message)
    kinds = {f"{path.stem}s" for path in DEFINITIONS.glob("*.yaml")}
    kinds = {name for name in _names(cluster, _DEFINED) if name.partition(".")[0] in kinds}
    if kinds:
        message = (
            f"the cluster knows {', '.join(sorted(kinds))}: operators of its own would answer "
            "instead of stand-ins. Use a cluster without them"
        )
        raise WillNotError(message)
    if not volumes and not any(
        "is-default-class" in json.dumps(item["metadata"].get("annotations", {}))
        for item in cluster.client.get("/apis/storage.k8s.io/v1/storageclasses")["items"]
    ):
        raise WillNotError(
            "the cluster has no default StorageClass, which databases need: make one"
        )


def _names(cluster: ClusterAccess, collection: str) -> list[str]:
    return [str(item["metadata"]["name"]) for item in cluster.client.get(collection)["items"]]


@contextmanager
def _taken_away(cluster: AnyCluster) -> Iterator[None]:
    """Remove at the end what all systems share."""
    try:
        yield
    finally:
        rbac = ROOT / "manifests" / "rbac.yaml"
        for what in (rbac, DEFINITIONS):
            cluster.run_kubectl(
                "delete", f"--filename={what}", "--ignore-not-found", "--wait=false"
            )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make e2e", description=__doc__.partition("\n")[0])
    parser.add_argument("--kubeconfig", default="", metavar="FILE")
    parser.add_argument("--registry", default="", metavar="URL", help="may end in a path")
    parser.add_argument("--base", default="python:3.12-slim", help="in the registry")
    parser.add_argument("--login-file", type=Path, help="user:password of the registry")
    parser.add_argument("--system", action="append", default=[], choices=list_systems())
    parser.add_argument("--upto", default="", metavar="SCENARIO", help="the last one to play")
    parser.add_argument("--quick", action="store_true", help="the nodes are those of the tests")
    return parser.parse_args(arguments)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(given: argparse.Namespace, directory: Path) -> list[Verdict]:
    """Play what was asked for; returns what came of it.

    Raises:
        WillNotError: It does not begin.
    """
    if not given.kubeconfig or not given.registry:
        message = (
            "name a cluster and a registry that its nodes pull from:\n"
            "  make e2e KUBECONFIG=FILE REGISTRY=http://registry.example:5000\n"
            "docs/e2e.md tells what is made there, and removed"
        )
        raise WillNotError(message)
    if not Path(given.kubeconfig).is_file():
        raise WillNotError(f"{given.kubeconfig} is no file; name a kubeconfig")
    login = given.login_file.read_text().strip() if given.login_file else ""
    server, _, prefix = given.registry.partition("://")[2].partition("/")
    url = f"{given.registry.partition('://')[0]}://{server}"
    registry = UserRegistry(url, prefix, given.base, login)
    stories = [load_story(name) for name in given.system or list_systems()]
    verdicts: list[Verdict] = []
    with AnyCluster(Path(given.kubeconfig), directory) as cluster:
        check_cluster(cluster, stories, volumes=given.quick)
        _say(f"playing on {cluster.url}")
        around = Surroundings(
            cluster,
            registry,
            judge=UnauditedJudge,
            build=registry.build,
            relocated=registry.host,
            hurried=given.quick,
            volumes=given.quick,
            patience=1 if given.quick else _PATIENCE,
        )
        with _taken_away(cluster):
            for story in stories:
                (directory / story.name).mkdir()
                with run_system(story, around, directory / story.name) as site:
                    verdicts += report(Telling(site), given.upto)
    return verdicts


def report(telling: Telling, upto: str) -> Iterator[Verdict]:
    """Play scenarios up to one, or all, and say what comes of each."""
    for scenario in telling.site.story.scenarios:
        verdict = telling.tell(scenario.name)
        word = "ok    " if not verdict.complaints else "NOT OK"
        _say(f"{word} {verdict.system} {scenario.name}: {verdict.outcome}. {verdict.reason}")
        for complaint in verdict.complaints:
            _say(f"       {complaint}")
        yield verdict
        if scenario.name == upto:
            break


def conclude(verdicts: Sequence[Verdict], rows: Path = ROWS) -> int:
    """Write the table; returns the exit code."""
    rows.parent.mkdir(parents=True, exist_ok=True)
    rows.write_text(json.dumps([verdict.row() for verdict in verdicts], indent=1))
    good = sum(not verdict.complaints for verdict in verdicts)
    _say(f"{good} of {len(verdicts)} scenarios came out as they should; {rows}")
    return 0 if good == len(verdicts) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    given = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="gitopsd-e2e-") as directory:
        try:
            verdicts = run(given, Path(directory))
        except (WillNotError, *_CANNOT) as error:
            sys.stderr.write(f"e2e: {error}\n")
            return 2
    return conclude(verdicts)


if __name__ == "__main__":
    sys.exit(main())
