"""The commands of the documents, typed in order by a reader, against real processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gitopsd.cli.demo.pushing import push_image
from gitopsd.sandbox.hosts.image_making import make_image
from tests.support.configuration import write_files
from tests.support.documents import (
    list_code,
    list_command_blocks,
    list_documents,
    list_table_rows,
    read_configuration_blocks,
    read_document,
)
from tests.support.processes import ServerProcess, wait_until
from tests.support.projects import REPOSITORY
from tests.support.terminal import Terminal, open_terminal

README, OPERATIONS, SANDBOX = "README.md", "docs/operations.md", "docs/sandbox.md"
GUIDE = "CONTRIBUTING.md"
TYPED_IN = {
    README: "this module, and test_first_commands",
    OPERATIONS: "this module",
    SANDBOX: "this module",
    GUIDE: "this module",
    "docs/helm.md": "tests/cluster/test_helm_document.py",
}
"""Which tests type the commands of a document; each takes its blocks apart by their number."""

SOON = timedelta(seconds=90)
WAITS = ("gitopsd explain shop production", "0 of 1 approvals")
LOGIN = ("x-access-token", "made for this test")
QUICKER = {"for: 10m": "for: 1s", "certify: 60s": "certify: 1s", "within: 60s": "within: 5s"}
"""What the README's application is given, so that nobody waits for minutes."""

_OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources: [../../base]
"""
_BASE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: shop}}}}
  template:
    metadata: {{labels: {{app: shop}}}}
    spec:
      containers:
        - name: shop
          image: {image}
          ports: [{{name: http, containerPort: 3000}}]
          readinessProbe: {{httpGet: {{path: /health/ready, port: http}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop}}
spec:
  selector: {{app: shop}}
  ports: [{{name: http, port: 80, targetPort: http}}]
"""
_REGISTRY = """\
apiVersion: gitopsd.io/v1
kind: Registry
metadata: {{name: local}}
spec: {{host: {host}, url: "http://{host}"}}
"""


def test_every_document_with_commands_is_typed() -> None:
    """A document that gets its first block of commands gets a test that types it."""
    with_commands = {name for name in list_documents() if list_command_blocks(read_document(name))}

    assert with_commands == TYPED_IN.keys()


def start_host(kind: str, folder: Path, *options: str) -> tuple[ServerProcess, dict[str, Any]]:
    """Start a host of the demo; returns it and what it says of itself."""
    info = folder / f"{kind}.json"
    process = ServerProcess.start(
        kind,
        [sys.executable, "-m", f"gitopsd.sandbox.hosts.{kind}", "--info", str(info), *options],
        folder / f"{kind}.log",
    )
    wait_until(info.exists, what=f"{kind} to listen", within=SOON, servers=[process])
    return process, json.loads(info.read_text())


@dataclass(slots=True)
class Company:
    """What a reader of the README has: a cluster, a Git host with a repository, a registry.

    Attributes:
        folder: Where everything lies.
        terminal: The reader's.
        git: Address of the Git host.
        registry: Address of the registry.
        work: A clone of the repository that is deployed.
    """

    folder: Path
    terminal: Terminal
    git: str
    registry: str
    work: Path

    @property
    def secrets(self) -> Path:
        """The folder that the README calls /etc/gitopsd/secrets."""
        return self.folder / "etc" / "secrets"

    def push(self, version: str, *, health: int = 200) -> None:
        """Push an image, whose ``/health`` has a status, and the commit that runs it."""
        host = self.registry.removeprefix("http://")
        routes: list[dict[str, object]] = [
            {"path": "/health/ready", "json": {}},
            {"path": "/health", "statuses": [health], "json": {}},
        ]
        behaviour = {"ports": [3000], "routes": routes}
        push_image(
            self.registry, make_image(version=version, behaviour=behaviour), f"shop:{version}"
        )
        write_files(
            self.work,
            {
                "base/kustomization.yaml": "resources: [shop.yaml]\n",
                "base/shop.yaml": _BASE.format(image=f"{host}/shop:{version}"),
                "overlays/staging/kustomization.yaml": _OVERLAY.format(namespace="shop-staging"),
                "overlays/production/kustomization.yaml": _OVERLAY.format(namespace="shop"),
            },
        )
        address = self.git.replace("://", "://{}:{}@".format(*LOGIN).replace(" ", "%20"))
        self.terminal.type(
            f"cd {self.work} && git init --quiet --initial-branch=main && git add --all && "
            f"git -c user.name=Sam -c user.email=sam@example.test commit --quiet -m {version} && "
            f"git push --quiet {address}/shop-deploy.git HEAD:main"
        )

    def await_row(self, command: str, pattern: str) -> str:
        """Type a command again and again until its output matches."""
        said = ""

        def matches() -> bool:
            nonlocal said
            said = self.terminal.type(command, code=None)
            return re.search(pattern, said) is not None

        wait_until(matches, what=f"{command!r} to show {pattern!r}", within=SOON)
        return said


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    """A sandbox, a Git host and a registry, and a terminal of an administrator."""
    login, hook = tmp_path / "login", tmp_path / "hook.json"
    login.write_text(":".join(LOGIN) + "\n")
    with ExitStack() as stack:
        registry, registered = start_host("image_registry", tmp_path)
        stack.callback(registry.stop)
        hosts = ("--root", str(tmp_path / "git"), "--repository", "shop-deploy.git")
        files = ("--login-file", str(login), "--hook-file", str(hook))
        git, hosted = start_host("git_host", tmp_path, *hosts, *files)
        stack.callback(git.stop)
        info = tmp_path / "sandbox.json"
        quick = ("--probe-scale", "0.05")
        sandbox = ServerProcess.start(
            "sandbox",
            [sys.executable, "-m", "gitopsd", "sandbox", "--info", str(info), *quick],
            tmp_path / "sandbox.log",
        )
        stack.callback(sandbox.stop)
        wait_until(info.exists, what="the cluster", within=SOON, servers=[sandbox])
        cluster = json.loads(info.read_text())
        words = {
            "https://kubernetes.example:6443": cluster["api"],
            "https://github.com/acme": hosted["url"],
            "/etc/gitopsd/": f"{tmp_path}/etc/",
            "/var/lib/gitopsd": f"{tmp_path}/var",
            "0.0.0.0:8080": "127.0.0.1:0",
            # Set up by itself in test_first_commands.
            'make setup && export PATH="$PWD/.venv/bin:$PATH"': "true",
        }
        terminal = open_terminal(
            tmp_path / "home",
            words,
            KUBECONFIG=cluster["kubeconfig"],
            GITOPSD_METRICS_LISTEN="127.0.0.1:0",
        )
        terminal.stands = REPOSITORY
        made = Company(tmp_path, terminal, hosted["url"], registered["url"], tmp_path / "work")
        made.work.mkdir()
        yield made


def configure(company: Company) -> None:
    """Write the files of the README, as step 3 says, and the secrets that it names."""
    for command in list_code(read_document(README)):
        if command.startswith(("openssl rand", "head -c 32")):
            company.terminal.type(command)
    for name, content in zip(("github-user", "github-token"), LOGIN, strict=True):
        (company.secrets / name).write_text(content)
    blocks = read_configuration_blocks(read_document(README))
    text = {name: company.terminal.translate(block) for name, block in blocks.items()}
    for slow, quick in QUICKER.items():
        assert slow in text["applications/shop.yaml"]
        text["applications/shop.yaml"] = text["applications/shop.yaml"].replace(slow, quick)
    host = company.registry.removeprefix("http://")
    text["registries/local.yaml"] = _REGISTRY.format(host=host)
    write_files(company.folder / "etc" / "config", text)


@pytest.mark.timeout(400)
def test_the_first_configuration_releases_to_production(company: Company) -> None:
    """The README's steps, in order, bring a push to production; then each command of its table."""
    _demo, _tests, install, rights, run, people, ci = list_command_blocks(read_document(README))
    terminal = company.terminal
    terminal.type(install)
    terminal.type(rights)
    configure(company)
    with terminal.leave_running(run) as server:
        info = company.folder / "var" / "info.json"
        wait_until(info.exists, what="gitopsd to serve", within=SOON, servers=[server])
        api = json.loads(info.read_text())["api"]
        hook = {"url": f"{api}/hooks/github", "secretFile": str(company.secrets / "github-webhook")}
        (company.folder / "hook.json").write_text(json.dumps(hook))
        company.push("1.0.0")
        company.await_row(*WAITS)
        create, approve = people.splitlines()
        (terminal.stands / "sam.token").write_text(terminal.type(create))
        terminal.type(approve)
        create, wait = ci.splitlines()
        job = open_terminal(
            company.folder / "job",
            {},
            GITOPSD_SERVER=api,
            GITOPSD_TOKEN=terminal.type(create).strip(),
        )
        job.stands = company.work
        job.type(wait)
        type_the_table(company)


def type_the_table(company: Company) -> None:
    """Type every command of the table for bad nights, in a state that it is for."""
    rows = list_table_rows(read_document(README), "## At three in the morning")
    cells = [list_code(row[1])[0] for row in rows]
    typed: list[str] = []

    def type_row(beginning: str, *, code: int = 0, add: str = "", **words: str) -> str:
        (command,) = (cell for cell in cells if cell.startswith(beginning))
        typed.append(command)
        for word, own in words.items():
            command = command.replace(word, own)
        return company.terminal.type(f"{command}{add}", code=code)

    sam = f" --token-file {company.work}/sam.token"
    assert "shop" in type_row("gitopsd get")
    assert "verified since" in type_row("gitopsd explain")
    assert "Succeeded" in type_row("gitopsd history")
    company.push("1.1.0")
    company.await_row(*WAITS)
    assert "shop:1.1.0" in type_row("gitopsd diff", code=1)
    type_row("gitopsd approve", add=sam)
    company.await_row("gitopsd get runs shop/production", r"Succeeded[^\n]*\n(.*\n)*.*Succeeded")
    type_row("gitopsd rollback")
    company.await_row("gitopsd get runs shop/production", r"Rollback[^\n]*Succeeded")
    type_row("gitopsd resume")
    company.await_row(*WAITS)
    type_row("gitopsd abort")
    type_row("gitopsd suspend")
    company.terminal.type("gitopsd resume shop production")
    type_row('gitopsd freeze "*"')
    (freeze,) = json.loads(company.terminal.type("gitopsd get freezes -o json"))["items"]
    company.terminal.type(f"gitopsd thaw {freeze['id']}")
    company.push("1.2.0", health=500)
    company.await_row("gitopsd quarantine list", "staging")
    type_row("gitopsd quarantine list")
    (row,) = json.loads(company.terminal.type("gitopsd quarantine list -o json"))["items"]
    company.terminal.type(f"gitopsd quarantine lift {row['id']}")
    type_row("kubectl annotate")
    assert sorted(typed) == sorted(cells)


@pytest.mark.timeout(120)
def test_tokens_are_made_listed_and_revoked(company: Company) -> None:
    """The commands for tokens work with the first admin token of the data directory."""
    (block,) = list_command_blocks(read_document(OPERATIONS))
    terminal = company.terminal
    _, _, install, rights, run, *_ = list_command_blocks(read_document(README))
    terminal.type(install)
    terminal.type(rights)
    configure(company)
    with terminal.leave_running(run) as server:
        info = company.folder / "var" / "info.json"
        wait_until(info.exists, what="gitopsd to serve", within=SOON, servers=[server])
        create, show, revoke = block.splitlines()
        terminal.type(create)
        assert "sam" in terminal.type(show)
        rows = json.loads(terminal.type(f"{show} -o json"))
        (made,) = (row for row in rows["items"] if row["subject"] == "sam")
        terminal.words["TOKEN"] = str(made["id"])
        terminal.type(revoke)


@pytest.mark.timeout(120)
def test_the_sandbox_is_tried_as_its_page_says(tmp_path: Path) -> None:
    """One terminal runs it, a second one in the same folder uses kubectl and the fault switches."""
    start, use, breaking = list_command_blocks(read_document(SANDBOX))
    first = open_terminal(tmp_path / "folder", {})
    second = open_terminal(tmp_path / "second", {})
    second.stands = first.directory
    with first.leave_running(start) as sandbox:
        info = first.directory / "sandbox.json"
        wait_until(info.exists, what="the sandbox", within=SOON, servers=[sandbox])
        assert "web" in second.type(use)
        requests = json.loads(second.type(breaking).splitlines()[-1])
        assert requests


def test_the_guide_names_what_can_be_made() -> None:
    """Each command of the guide is a target; the long ones are those that guard merges."""
    (block,) = list_command_blocks(read_document(GUIDE))
    guarded = set(re.findall(r"^step (.+)$", read_document(".ci/run"), re.MULTILINE))
    commands = [line.partition("#")[0].split() for line in block.splitlines()]
    for make, *targets in commands:
        assert make == "make"
        # Set up already, or it would be listed first.
        listed = subprocess.run(
            ["make", "--dry-run", "--assume-old=.venv/.locked", *targets],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert listed.returncode == 0, listed.stderr
    named = {target for _, *targets in commands for target in targets if "=" not in target}
    assert named - guarded == {"test-unit", "bench"}
