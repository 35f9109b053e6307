"""One installation of gitopsd and all that stands around it, on this machine alone."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitopsd.cli.client import Client, Target
from gitopsd.cli.demo.children import START, Children
from gitopsd.cli.demo.configuration import (
    GIT_USER,
    REPOSITORY,
    Places,
    Secrets,
    write_configuration,
)
from gitopsd.cli.demo.preparation import find_valkey

STAGES = ("staging", "production")
PROBE_SCALE = "0.05"
ANY_PORT = "127.0.0.1:0"
_PYTHON = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
PEOPLE = ("deployer", "approver", "author")


@dataclass(slots=True)
class Installation:
    """Everything that runs.

    Attributes:
        directory: The private directory that all of it lies in.
        children: Its processes.
        secrets: Its secrets.
        api: gitopsd's address.
        git: The Git host's address.
        registry: The registry's address.
        clusters: What each sandbox says of itself, by stage.
        tokens: API tokens, by subject.
    """

    directory: Path
    children: Children
    secrets: Secrets
    api: str = ""
    git: str = ""
    registry: str = ""
    clusters: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration folder; the secrets lie in it."""
        return self.directory / "config"

    @property
    def valkey(self) -> Path:
        """Valkey's socket."""
        return self.directory / "valkey"

    @property
    def push_address(self) -> str:
        """Where people push to, with their login."""
        login = f"{GIT_USER}:{self.secrets.password()}@"
        return f"{self.git}/{REPOSITORY}".replace("://", f"://{login}", 1)

    def client(self, subject: str) -> Client:
        """The API, as somebody."""
        return Client(Target(self.api, self.tokens[subject]))

    def describe(self) -> dict[str, object]:
        """Where everything is, for programs."""
        running = self.children.running
        return {
            "api": self.api,
            "tokens": self.tokens,
            "git": self.push_address,
            "registry": self.registry,
            "receiver": {
                "url": f"{self.api}/hooks/github",
                "secretFile": str(self.secrets.directory / "github-webhook"),
            },
            "clusters": {
                name: {key: cluster[key] for key in ("kubeconfig", "control")}
                for name, cluster in self.clusters.items()
            },
            "pids": {"demo": os.getpid()}
            | {name: one.process.pid for name, one in running.items()},
            "logs": {name: str(one.log) for name, one in running.items()},
        }


def make_installation() -> Installation:
    """Make the private directory and the secrets; nothing runs yet."""
    directory = Path(tempfile.mkdtemp(prefix="gitopsd-demo-"))
    environment = {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), *os.get_exec_path())),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "LANG": "C.UTF-8",
    }
    ours = os.environ  # noqa: TID251 - how Python finds its modules is handed on, nothing else
    environment |= {name: ours[name] for name in _PYTHON if name in ours}
    secrets = Secrets(directory / "config" / "secrets")
    secrets.make()
    (directory / "logs").mkdir()
    return Installation(directory, Children(directory / "logs", environment), secrets)


def start_installation(made: Installation, listen: str, say: Callable[[str], None]) -> None:
    """Start everything in order.

    Args:
        made: What `make_installation` returned.
        listen: Where gitopsd listens.
        say: Told what starts.

    Raises:
        ChildEnded: A process ended at its start; says which and its last words.
        TookTooLong: One did not get ready.
    """
    say("starting the Git host, the registry and Valkey")
    start_hosts(made)
    say("starting two clusters")
    _start_clusters(made)
    say("starting gitopsd")
    kubeconfigs = {name: str(found["kubeconfig"]) for name, found in made.clusters.items()}
    write_configuration(made.config, Places(made.git, made.registry, kubeconfigs))
    start_gitopsd(made, made.config, listen)


def start_hosts(made: Installation, registry_listen: str = ANY_PORT) -> None:
    """Start what a company has before it has gitopsd: a Git host, a registry, and a Valkey.

    Args:
        made: What `make_installation` returned.
        registry_listen: Where the registry listens; the nodes of the clusters reach it there.
    """
    python, children = sys.executable, made.children
    hosts = "gitopsd.sandbox.hosts"
    logs = children.directory
    children.start(
        "git-host",
        [
            *(python, "-m", f"{hosts}.git_host", "--info", str(children.info("git-host"))),
            *("--root", str(made.directory / "repositories"), "--repository", REPOSITORY),
            *("--login-file", str(made.secrets.login), "--hook-file", str(logs / "git-hook.json")),
        ],
    )
    children.start(
        "registry",
        [
            *(python, "-m", f"{hosts}.image_registry", "--info", str(children.info("registry"))),
            *("--listen", registry_listen),
            *("--receiver-file", str(logs / "registry-hook.json")),
        ],
    )
    _start_valkey(made)
    made.git = children.read_info("git-host")["url"]
    made.registry = children.read_info("registry")["url"]


def _start_clusters(made: Installation) -> None:
    python, children = sys.executable, made.children
    for stage in STAGES:
        children.start(
            f"{stage}-cluster",
            [
                *(python, "-m", "gitopsd", "sandbox"),
                *("--info", str(children.info(f"{stage}-cluster"))),
                *("--registry", f"ghcr.io={made.registry}", "--probe-scale", PROBE_SCALE),
            ],
        )
    for stage in STAGES:
        made.clusters[stage] = children.read_info(f"{stage}-cluster")


def remove_installation(made: Installation, *, keep: bool) -> None:
    """End everything that runs. Safe to repeat.

    Args:
        made: What was made.
        keep: Whether its directory stays, for reading logs and copying the configuration.
    """
    made.children.stop()
    if not keep:
        shutil.rmtree(made.directory, ignore_errors=True)


def _start_valkey(made: Installation) -> None:
    address = made.valkey
    command = [find_valkey(), "--port", "0", "--unixsocket", str(address), "--unixsocketperm"]
    command += ["700", "--save", "", "--appendonly", "no", "--dir", str(made.directory)]
    log = made.children.start("valkey", command).log

    def listens() -> bool:
        return b"ready to accept connections" in log.read_bytes().lower()

    made.children.until(listens, "Valkey to listen", START)


def start_gitopsd(made: Installation, config: Path, listen: str) -> None:
    """Start gitopsd, make a token for everybody, and set the webhooks of the two hosts.

    Args:
        made: An installation whose hosts run.
        config: The configuration folder.
        listen: Where it listens.
    """
    data = made.directory / "data"
    children, logs = made.children, made.children.directory
    children.start(
        "gitopsd",
        [sys.executable, "-m", "gitopsd", "serve", "--info", str(children.info("gitopsd"))],
        GITOPSD_CONFIG_DIR=str(config),
        GITOPSD_DATA_DIR=str(data),
        GITOPSD_LISTEN=listen,
        GITOPSD_METRICS_LISTEN="127.0.0.1:0",
        GITOPSD_REDIS_URL=f"unix://{made.valkey}",
        GITOPSD_ENCRYPTION_KEY_FILE=str(made.secrets.encryption_key),
    )
    made.api = children.read_info("gitopsd")["api"]
    admin = Client(Target(made.api, (data / "admin.token").read_text().strip()))
    for subject in PEOPLE:
        made.tokens[subject] = admin.post("/tokens", {"subject": subject})["secret"]
    for host, receiver in (("git-hook", "github"), ("registry-hook", "registry")):
        secret_file = made.secrets.directory / f"{receiver}-webhook"
        hook = {"url": f"{made.api}/hooks/{receiver}", "secretFile": str(secret_file)}
        partial = logs / f"{host}.partial"
        partial.write_text(json.dumps(hook))
        partial.replace(logs / f"{host}.json")
