"""The demo's hosts, its configuration folder and its repository, in front of a real control plane.

All of it is made by the demo's own code: the Git host, the registry and Valkey are its processes,
the folder is the one that it writes for its two sandboxes. That folder is copied, as a person
copies it, and nothing but the clusters' files is written anew. What came of a release is read from
the API server and from the workloads, by the harness's own requests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gitopsd.cli.client import Document
from gitopsd.cli.demo.configuration import (
    API_IMAGE,
    APPLICATION,
    NAMESPACES,
    REPOSITORY,
    WEB_IMAGE,
    Places,
    write_configuration,
)
from gitopsd.cli.demo.images import make_api, make_web
from gitopsd.cli.demo.installation import (
    ANY_PORT,
    STAGES,
    Installation,
    make_installation,
    remove_installation,
    start_gitopsd,
    start_hosts,
)
from gitopsd.cli.demo.pushing import WorkTree, push_image
from gitopsd.sandbox.hosts.image_making import Image
from tests.support.node_agent import start_node
from tests.support.service_site import canonical
from tests.support.waiting import ask

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

T = TypeVar("T")

WITHIN = timedelta(seconds=120)
PRODUCT = "system:serviceaccount:gitopsd:gitopsd"
SANDBOX = "/run/sandbox/{stage}.kubeconfig"
"""What the folder says before it is copied; no such file is ever read."""
_COLLECTIONS = (
    "/api/v1/namespaces/{namespace}/configmaps",
    "/api/v1/namespaces/{namespace}/serviceaccounts",
    "/api/v1/namespaces/{namespace}/services",
    "/apis/apps/v1/namespaces/{namespace}/deployments",
    "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
    "/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses",
    "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
)
_MOST_RUNS = 200


@dataclass(frozen=True, slots=True)
class Answered:
    """What a workload said through its Service.

    Attributes:
        status: HTTP status.
        pod: Who answered.
        digest: The image that it runs.
        version: What it says its version is.
    """

    status: int
    pod: str
    digest: str
    version: str


@dataclass(slots=True)
class DemoOnCluster:
    """gitopsd as the demo starts it, with a copy of its folder, in front of a real control plane.

    Attributes:
        cluster: The control plane; both stages are namespaces of it.
        made: The demo's hosts, secrets and tokens.
        folder: The copy of the configuration folder.
        work: The developer's clone.
        copied: Content of each file of the folder, as the demo wrote it.
        digests: Image digests by repository and version.
    """

    cluster: ControlPlane
    made: Installation
    folder: Path
    work: WorkTree
    copied: Mapping[str, bytes]
    digests: dict[tuple[str, str], str] = field(default_factory=dict)

    # -- what people do

    def push_api(self, version: str, **behaviour: int) -> str:
        """Push an image of the API, and with Git the commit that wants it; returns the commit."""
        self._push_image(API_IMAGE, version, make_api(version, **behaviour))
        return self.work.release(version)

    def push_web(self, version: str) -> str:
        """Push an image of the web front end; returns its digest."""
        return self._push_image(WEB_IMAGE, version, make_web(version))

    def _push_image(self, name: str, version: str, image: Image) -> str:
        path = name.partition("/")[2]
        digest = push_image(self.made.registry, image, f"{path}:{version}")
        self.digests[name, version] = digest
        return digest

    def approve(self, wanted: Callable[[Document], bool]) -> str:
        """Wait until production asks for a run, approve it as the approver, return its id."""

        def asks() -> Document:
            return next(
                (
                    run
                    for run in self.runs("production")
                    if (run["phase"], run["step"]) == ("Running", "Gate")
                    and run["plan"]
                    and wanted(run)
                ),
                None,
            )

        run = self.until(asks, "production to ask for approval")
        self.made.client("approver").post(f"/runs/{run['id']}/approve", {"plan": run["plan"]})
        return str(run["id"])

    # -- what gitopsd says, to know when to look

    def runs(self, stage: str) -> list[Document]:
        """A stage's runs, newest first."""
        client = self.made.client("author")
        return client.list_all(f"/applications/{APPLICATION}/runs", _MOST_RUNS, stage=stage)

    def state(self, commit: str, stage: str) -> str:
        """What is said of a commit in a stage."""
        told = self.made.client("author").get(f"/commits/{commit}", stage=stage)
        return str(told["stages"][0]["state"])

    def await_run(self, stage: str, kind: str, phase: str, *, count: int = 1) -> Document:
        """Wait until so many runs of a kind have ended in a phase; returns the newest."""

        def there() -> list[Document] | None:
            found = [
                run for run in self.runs(stage) if (run["kind"], run["phase"]) == (kind, phase)
            ]
            return found if len(found) >= count else None

        return self.until(there, f"{count} {kind} {phase} in {stage}")[0]

    def until(self, look: Callable[[], T | None], what: str) -> T:
        """Look again and again; no process of ours may end meanwhile."""
        try:
            return self.made.children.until(look, what, WITHIN)
        except Exception as error:
            error.add_note(self.story())
            raise

    def story(self) -> str:
        """Say what happened, for a failing test."""
        lines = []
        for stage in STAGES:
            for run in self.runs(stage):
                facts = (run["kind"], run["phase"], run["step"], run["reason"], run["message"])
                lines.append(f"{stage}: {' '.join(str(fact) for fact in facts)}")
        log = self.made.children.running["gitopsd"].log.read_text().splitlines()
        return "\n".join([*lines, *log[-20:]])

    # -- what the cluster and the workloads say

    def live(self, stage: str) -> dict[str, dict[str, Any]]:
        """Every object of a stage that gitopsd applied, without what servers write."""
        namespace = NAMESPACES[stage]
        found = {}
        for collection in _COLLECTIONS:
            path = collection.format(namespace=namespace)
            for item in self.cluster.client.get(path)["items"]:
                if "gitopsd.io/stage" in item["metadata"].get("labels", {}):
                    kind = path.rpartition("/")[2]
                    found[f"{kind}/{item['metadata']['name']}"] = canonical(item)
        return found

    def asked_image(self, stage: str, name: str) -> str:
        """The image that a live Deployment asks for."""
        template = self.live(stage)[f"deployments/{name}"]["spec"]["template"]
        return str(template["spec"]["containers"][0]["image"])

    def answer(self, stage: str, service: str, path: str = "/health") -> Answered:
        """Ask a workload through the API server's proxy of its Service."""
        base = f"/api/v1/namespaces/{NAMESPACES[stage]}/services/{service}:http/proxy"
        found = ask(self.cluster.client, base + path)
        pod, _, image = found.headers.get("X-Served-By", "").partition(" ")
        try:
            version = str(json.loads(found.body).get("version", ""))
        except ValueError:
            version = ""
        return Answered(found.status, pod, image.partition("@")[2] or image, version)

    def serves(self, stage: str, name: str, version: str) -> bool:
        """Whether a stage runs a version and nothing else, and answers as that version."""
        image = API_IMAGE if name == "ai-core-api" else WEB_IMAGE
        digest = self.digests[image, version]
        if not self.asked_image(stage, name).endswith(f"@{digest}"):
            return False
        selector = f"?labelSelector=app%3D{name}"
        pods = self.cluster.client.get(f"/api/v1/namespaces/{NAMESPACES[stage]}/pods{selector}")
        images = {
            pod["spec"]["containers"][0]["image"].partition("@")[2]
            for pod in pods["items"]
            if "deletionTimestamp" not in pod["metadata"]
        }
        heard = self.answer(stage, name, "/" if image == WEB_IMAGE else "/health")
        return images == {digest} and (heard.status, heard.version) == (200, version)

    def await_serving(self, stage: str, name: str, version: str) -> None:
        """Wait until `serves`."""
        look = partial(self.serves, stage, name, version)
        self.until(lambda: look() or None, f"{stage} to serve {name} {version}")

    def writes(self, stage: str) -> list[str]:
        """What gitopsd changed in a stage's namespace so far, as the API server recorded it."""
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in self.cluster.audit_events()
            if event["user"].get("username") == PRODUCT
            and event["verb"] in ("create", "update", "patch", "delete", "deletecollection")
            and event.get("objectRef", {}).get("namespace") == NAMESPACES[stage]
            and "dryRun" not in event["requestURI"]
            and event.get("objectRef", {}).get("subresource") != "proxy"
        ]

    # -- the folder and the repository

    def changed_files(self) -> set[str]:
        """Files in which the folder that gitopsd reads differs from the one that was copied."""
        now = read_folder(self.folder)
        names = now.keys() | self.copied.keys()
        return {name for name in names if now.get(name) != self.copied.get(name)}

    def pushed_files(self) -> dict[str, bytes]:
        """Every file of the repository's branch, as the Git host has it."""
        repository = self.made.directory / "repositories" / REPOSITORY
        names = _run_git(repository, "ls-tree", "-r", "--name-only", "-z", "main").decode()
        return {
            name: _run_git(repository, "show", f"main:{name}") for name in names.split("\0") if name
        }


def _run_git(repository: Path, *words: str) -> bytes:
    done = subprocess.run(
        ["git", *words], cwd=repository, capture_output=True, check=True, timeout=30
    )
    return done.stdout


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read every file below a folder, by its path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def run_demo_on_cluster(
    cluster: ControlPlane, directory: Path, *, probe_scale: float
) -> Iterator[DemoOnCluster]:
    """Start the demo's hosts, copy its folder, point the copy at a cluster, start gitopsd.

    Args:
        cluster: A control plane of this site alone: the node pulls every image from the demo's
            registry, and the namespaces have the demo's names.
        directory: For the copy, and the node's log.
        probe_scale: As in `start_node`.
    """
    made = make_installation()
    try:
        # Nodes are in a network of their own, in which loopback is not this machine's.
        start_hosts(made, registry_listen=f"{cluster.network.host_address}:0")
        kubeconfigs = {stage: SANDBOX.format(stage=stage) for stage in STAGES}
        write_configuration(made.config, Places(made.git, made.registry, kubeconfigs))
        folder = directory / "copy"
        shutil.copytree(made.config, folder)
        copied = read_folder(folder)
        point_at(folder, cluster)
        work = WorkTree(made.directory / APPLICATION, made.push_address)
        site = DemoOnCluster(cluster, made, folder, work, copied)
        node = start_node(cluster, made.registry, directory, probe_scale=probe_scale)
        try:
            start_gitopsd(made, folder, ANY_PORT)
            yield site
        finally:
            made.children.stop()  # gitopsd first, while everything that it needs is there
            node.stop()
    finally:
        remove_installation(made, keep=False)


def point_at(folder: Path, cluster: ControlPlane) -> None:
    """Write the clusters' files as the README says: server, token and authority."""
    kubeconfig = json.loads(cluster.gitopsd_kubeconfig().read_text())
    token = folder / "clusters" / "token"
    token.touch(mode=0o600)
    token.write_text(kubeconfig["users"][0]["user"]["token"])
    (folder / "clusters" / "ca.pem").write_bytes(cluster.authority)
    for stage in STAGES:
        (folder / "clusters" / f"{stage}.yaml").write_text(
            "apiVersion: gitopsd.io/v1\n"
            "kind: Cluster\n"
            f"metadata: {{name: {stage}}}\n"
            "spec:\n"
            f"  server: {cluster.url}\n"
            "  tokenFile: clusters/token\n"
            "  caFile: clusters/ca.pem\n"
        )
