"""One system's whole site: a real control plane, a node, a registry, a Git host, and gitopsd.

gitopsd runs as people run it, as a process with a configuration folder, and has the rights of
``manifests/rbac.yaml`` and of the system's README. Its API is asked only to know when to look, to
vote, and for the sentence that it gives as a reason.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gitopsd.cli.client import Client, Target
from tests.support.images import build_image
from tests.support.operators import Operators, install_definitions
from tests.support.processes import ServerProcess, wait_until
from tests.support.systems.fitting import Folder, fit_application, read_application
from tests.support.systems.ground import Ground, namespaces_of
from tests.support.systems.judge import Judge
from tests.support.systems.pager import Pager
from tests.support.systems.relocation import Relocation
from tests.support.systems.stand_ins import StandIns, list_hosts, render
from tests.support.systems.story import SystemStory
from tests.support.systems.working_copy import WorkingCopy, apply_edits, read_manifests
from tests.support.systems.written import Place, known_of
from tests.support.volumes import VolumeProvisioner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.cluster_access import ClusterAccess
    from tests.support.images import Image
    from tests.support.systems.object_sets import Key
    from tests.support.systems.stand_ins import ImagePlace
    from tests.support.systems.working_copy import Files

T = TypeVar("T")
Run = dict[str, Any]

ROOT = Path(__file__).resolve().parents[3]
READY_WITHIN = timedelta(seconds=40)
ENDED_WITHIN = timedelta(seconds=90)
OVER = frozenset({"Succeeded", "Failed", "Errored", "Aborted"})
PAUSE = timedelta(milliseconds=150)
"""Between two looks; gitopsd has the same processor."""

_MOST_RUNS = 100


@dataclass(slots=True)
class SystemSite:
    """One system, ready for its first push.

    Attributes:
        story: Its story.
        application: Its fitted application file.
        cluster: The cluster of every stage.
        copy: The developers' clone.
        images: Its images.
        operators: Those of the cluster.
        pager: Who is called when something verified fails.
        judge: Looks at the cluster.
        client: gitopsd's API.
        servers: The processes around it; gitopsd last.
        files: Content of the last good release.
        rendered: What kustomize made of it, by stage.
        known: Every object that was ever rendered for a stage.
        number: How many pushes had a version of their own.
        approved: Runs that were voted for.
        patience: How much longer than usual everything may take.
    """

    story: SystemStory
    application: dict[str, Any]
    cluster: ClusterAccess
    copy: WorkingCopy
    images: StandIns
    operators: Operators
    pager: Pager
    judge: Judge
    client: Client
    servers: list[ServerProcess]
    files: Files
    rendered: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    known: dict[str, set[Key]] = field(default_factory=dict)
    number: int = 0
    approved: set[str] = field(default_factory=set)
    patience: int = 1

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Its stages by name, in order."""
        return {stage["name"]: stage for stage in self.application["spec"]["stages"]}

    def branch(self, stage: str) -> str:
        """The branch that a stage is fed by."""
        return self.story.branches.get(stage, "main")

    # -- what developers do

    def render(self, files: Files) -> dict[str, list[dict[str, Any]]]:
        """What kustomize makes of files, by stage; they are in the working copy afterwards."""
        self.copy.write(files)
        directory = self.copy.directory
        found = {name: render(directory, stage["path"]) for name, stage in self.stages.items()}
        for name, objects in found.items():
            self.known.setdefault(name, set()).update(known_of(objects))
        return found

    def place(self, name: str) -> Place:
        """Where a stage is, and as whom it is written to."""
        stage = self.stages[name]
        others = {
            space
            for other in self.stages.values()
            if other is not stage
            for space in namespaces_of(other)
        }
        account = stage.get("serviceAccount", "")
        return Place(
            name,
            frozenset(namespaces_of(stage)) - others,
            frozenset(self.known.get(name, ())),
            f"system:serviceaccount:{stage['namespace']}:{account}" if account else "",
        )

    def next_version(self) -> str:
        """A version that no release had."""
        self.number += 1
        return self.story.version.format(self.number)

    # -- what gitopsd says, to know when to look

    def runs(self, stage: str) -> list[Run]:
        """A stage's runs, newest first."""
        path = f"/applications/{self.story.name}/runs"
        return self.client.list_all(path, _MOST_RUNS, stage=stage)

    def state(self, commit: str, stage: str) -> dict[str, Any]:
        """What is said of a commit in a stage."""
        answer = self.client.get(f"/commits/{commit}", application=self.story.name, stage=stage)
        found: dict[str, Any] = answer["stages"][0]
        return found

    def vote(self, stage: str) -> None:
        """Approve what waits for a vote in a stage, once."""
        if not any("approval" in gate for gate in self.stages[stage].get("gates", [])):
            return
        for run in self.runs(stage):
            waits = (run["phase"], run["step"]) == ("Running", "Gate") and run["plan"]
            if waits and "approval" in run["waitingFor"] and run["id"] not in self.approved:
                self.client.post(f"/runs/{run['id']}/approve", {"plan": run["plan"]})
                self.approved.add(run["id"])

    def resume(self, stage: str) -> None:
        """Let newer releases in, as a person does whom two rollbacks within an hour called."""
        path = f"/applications/{self.story.name}/stages/{stage}"
        if self.client.get(path)["stalled"]:
            self.client.post(f"{path}/resume")

    def until(self, look: Callable[[], T | None], what: str, within: timedelta = ENDED_WITHIN) -> T:
        """Look again and again; no process of ours may end meanwhile."""
        found: list[T] = []

        def there() -> bool:
            seen = look()
            if seen is not None:
                found.append(seen)
            return bool(found)

        try:
            within *= self.patience
            wait_until(there, what=what, within=within, servers=self.servers, pause=PAUSE)
        except Exception as error:
            error.add_note(self.history())
            raise
        return found[-1]

    def history(self) -> str:
        """What happened so far, for a failing test."""
        facts = ("kind", "phase", "step", "reason", "message", "waitingFor")
        lines = [
            f"{stage}: {run['commit'][:8]} {' | '.join(str(run[fact]) for fact in facts)}"
            for stage in self.stages
            for run in self.runs(stage)
        ]
        return "\n".join([*lines, self.servers[-1].tail()])


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a system is played in.

    Attributes:
        cluster: The cluster of every stage.
        registry: Where its nodes pull from; it stands in for every registry that is named.
        judge: Who looks at the cluster.
        build: Makes an image of a version and a behaviour.
        relocated: What image names begin with in the registry, where nodes go by names.
        hurried: Whether probes take a twentieth of their time, and checks may be as quick.
        volumes: Whether claims are given volumes by us.
        patience: How much longer than usual everything may take.
    """

    cluster: ClusterAccess
    registry: ImagePlace
    judge: type[Judge] = Judge
    build: Callable[..., Image] = build_image
    relocated: str = ""
    hurried: bool = True
    volumes: bool = True
    patience: int = 1


@contextmanager
def run_system(story: SystemStory, around: Surroundings, directory: Path) -> Iterator[SystemSite]:
    """Prepare the cluster for one system, start its Git host and gitopsd; end them all afterwards.

    Args:
        story: The system's.
        around: Where it is played.
        directory: For everything that is written.
    """
    cluster = around.cluster
    hook = directory / "hook.json"
    with ExitStack() as undo:
        git = _start_git(story, directory, hook, undo)
        address = f"{git}/{story.name}-deploy.git"
        application = fit_application(
            read_application(story.name), story, address, hurried=around.hurried
        )
        overlays = tuple(stage["path"] for stage in application["spec"]["stages"])
        moved = Relocation(around.relocated, overlays, tuple(story.images))
        copy = WorkingCopy(directory / "clone", address)
        copy.tagged = "tags" in application["spec"]["source"]
        if around.relocated:
            copy.finish = moved.finish
        copy.make()
        install_definitions(cluster)
        kubeconfig = cluster.gitopsd_kubeconfig()
        ground = Ground(cluster, story, application["spec"]["stages"])
        undo.callback(ground.remove)
        ground.prepare()
        if around.volumes:
            undo.enter_context(VolumeProvisioner.start(cluster.client, directory / "volumes"))
        operators = Operators.start(cluster.client, vault=story.vault)
        undo.enter_context(operators)
        files = apply_edits(read_manifests(story.name), story.setup, "")
        original = moved.original if around.relocated else {}
        images = StandIns(story, around.registry, original, around.build)
        folder = Folder(directory / "config")
        copy.write(files)
        hosts = list_hosts(one for overlay in overlays for one in render(copy.directory, overlay))
        folder.write(application, kubeconfig, hosts, around.registry.url)
        pager = undo.enter_context(Pager())
        pager.subscribe(folder.directory)
        service, client = _start_gitopsd(folder, directory, undo)
        api = json.loads((directory / "gitopsd.json").read_text())["api"]
        receiver = {"url": f"{api}/hooks/github", "secretFile": str(folder.webhook_secret)}
        hook.write_text(json.dumps(receiver))
        yield SystemSite(
            story=story,
            application=application,
            cluster=cluster,
            copy=copy,
            images=images,
            operators=operators,
            pager=pager,
            judge=around.judge(cluster, story.name),
            client=client,
            servers=[service],
            files=files,
            patience=around.patience,
        )


def _start_git(story: SystemStory, directory: Path, hook: Path, undo: ExitStack) -> str:
    """Start the Git host; returns its address."""
    info = directory / "git.json"
    command = ["-m", "gitopsd.sandbox.hosts.git_host", "--info", str(info)]
    command += ["--root", str(directory / "git"), "--hook-file", str(hook)]
    command += ["--repository", f"{story.name}-deploy.git"]
    _start("git-host", command, directory, info, undo, {})
    return str(json.loads(info.read_text())["url"])


def _start_gitopsd(
    folder: Folder, directory: Path, undo: ExitStack
) -> tuple[ServerProcess, Client]:
    info, data = directory / "gitopsd.json", directory / "data"
    settings = {
        "GITOPSD_CONFIG_DIR": str(folder.directory),
        "GITOPSD_DATA_DIR": str(data),
        "GITOPSD_LISTEN": "127.0.0.1:0",
        "GITOPSD_METRICS_LISTEN": "127.0.0.1:0",
        "GITOPSD_ENCRYPTION_KEY_FILE": str(folder.encryption_key),
        # Longer than any story: what is pushed is known by its signed webhook or not at all.
        "GITOPSD_POLL_INTERVAL": "1h",
    }
    command = ["-m", "gitopsd", "serve", "--info", str(info)]
    process = _start("gitopsd", command, directory, info, undo, settings)
    token = (data / "admin.token").read_text().strip()
    return process, Client(Target(json.loads(info.read_text())["api"], token))


def _start(
    name: str,
    command: list[str],
    directory: Path,
    info: Path,
    undo: ExitStack,
    settings: Mapping[str, str],
) -> ServerProcess:
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "HOME": str(directory), **settings}
    process = ServerProcess.start(
        name, [sys.executable, *command], directory / f"{name}.log", environment=environment
    )
    undo.callback(process.stop, timedelta(seconds=20))
    wait_until(info.exists, what=name, within=READY_WITHIN, servers=(process,))
    return process
