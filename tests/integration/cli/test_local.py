"""Verbs that need no server: checking a configuration, schemas, rendering a local repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest

from gitopsd import __version__
from tests.support.command_line import run
from tests.support.configuration import write_files
from tests.support.projects import REPOSITORY

APPLICATION = """\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {name: shop}
spec:
  source: {repoURL: https://git.example/shop.git, branch: main}
  stages:
    - {name: staging, cluster: one, path: overlays/staging, namespace: shop}
"""
CLUSTER = """\
apiVersion: gitopsd.io/v1
kind: Cluster
metadata: {name: one}
spec: {inCluster: true}
"""
VERBS = (
    *("serve", "worker", "migrate", "check-config", "schema", "render", "diff", "get"),
    *("history", "explain", "wait", "promote", "approve", "reject", "rollback", "sync"),
    *("abort", "retry", "suspend", "resume", "quarantine", "token", "events"),
)
KUSTOMIZATION = "namespace: shop\nresources: [secret.yaml, map.yaml]\n"
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: a-made-up-password}
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n"


def test_a_valid_folder_says_what_is_in_it(tmp_path: Path) -> None:
    """Exit code 0 and one line."""
    write_files(tmp_path, {"applications/shop.yaml": APPLICATION, "clusters/one.yaml": CLUSTER})

    ran = run("check-config", str(tmp_path))

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{tmp_path}: valid: 1 application, 1 cluster\n"


def test_problems_name_file_place_and_remedy(tmp_path: Path) -> None:
    """Exit code 1 and a line for each."""
    write_files(
        tmp_path,
        {
            "applications/shop.yaml": APPLICATION.replace("cluster: one", "cluster: on"),
            "clusters/one.yaml": CLUSTER.replace("inCluster: true", "inclusters: true"),
        },
    )

    ran = run("check-config", str(tmp_path))

    lines = ran.err.splitlines()
    assert (ran.code, ran.out) == (1, "")
    assert any(
        line.startswith("applications/shop.yaml: spec.stages[0].cluster: ") for line in lines
    )
    assert any(line.startswith("clusters/one.yaml: spec.inclusters: unknown key") for line in lines)
    assert lines[-1] == f"{tmp_path}: {len(lines) - 1} problems"


def test_secrets_need_not_be_at_hand() -> None:
    """In a repository's own checks the files named for secrets are elsewhere."""
    examples = REPOSITORY / "config" / "examples"

    with_secrets = run("check-config", str(examples))
    without = run("check-config", "--no-secrets", str(examples))

    assert with_secrets.code == 1
    assert "secret file" in with_secrets.err
    assert (without.code, without.err) == (0, "")


def test_schemas_are_printed_and_written(tmp_path: Path) -> None:
    """Kinds by name, one as a document, all of them as files."""
    kinds = run("schema").out.split()
    one = run("schema", "Application")
    written = run("schema", "--write", str(tmp_path / "made"))
    unknown = run("schema", "Applicaton")

    assert "Application" in kinds
    jsonschema_rs.meta.validate(one.document)
    assert written.code == 0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        f"{kind}.json" for kind in kinds
    }
    assert json.loads((tmp_path / "made" / "Application.json").read_text()) == one.document
    assert (unknown.code, unknown.err.strip()) == (
        2,
        "gitopsd: there is no kind 'Applicaton'. Did you mean `Application`?",
    )


@pytest.fixture(name="repository")
def make_repository(tmp_path: Path) -> Path:
    """A repository with one overlay, and an uncommitted change to it."""
    overlay = tmp_path / "overlays" / "staging"
    write_files(
        overlay,
        {"kustomization.yaml": KUSTOMIZATION, "secret.yaml": SECRET, "map.yaml": CONFIG_MAP},
    )
    for command in (
        ("init", "-q", "-b", "main"),
        ("add", "."),
        ("commit", "-q", "-m", "one"),
        ("tag", "v1"),
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, capture_output=True)
    (overlay / "map.yaml").write_text(CONFIG_MAP.replace("a: b", "a: uncommitted"))
    return tmp_path


def test_an_overlay_is_rendered_as_the_service_would(repository: Path) -> None:
    """What is committed, through real kustomize, with Secrets masked unless asked for."""
    ran = run("render", "overlays/staging", "-C", str(repository), "--commit", "v1")
    shown = run("render", "overlays/staging", "-C", str(repository), "--show-secrets")

    assert ran.code == 0, ran.err
    assert "name: settings" in ran.out
    assert "namespace: shop" in ran.out
    assert "\n---\n" in ran.out
    assert "uncommitted" not in ran.out
    assert "a-made-up-password" not in ran.out
    assert "a-made-up-password" in shown.out


@pytest.mark.parametrize(
    "arguments,code,message",
    [
        (("overlays/none",), 1, "overlays/none"),
        (("overlays/staging", "--commit", "v9"), 2, "has no commit 'v9'"),
        (("overlays/staging", "-C", "/"), 2, "/ is no Git repository and lies in none"),
    ],
)
def test_what_cannot_be_rendered_says_why(
    repository: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """1: the overlay is wrong; 2: there is nothing to render."""
    ran = run("render", "-C", str(repository), *arguments)

    assert ran.code == code
    assert message in ran.err
    assert ran.out == ""


def test_the_version_and_the_help() -> None:
    """Every verb is in the help, and help needs nothing."""
    version = run("--version")
    helped = run("--help")
    nothing = run()

    assert version.out == f"gitopsd {__version__}\n"
    assert helped.code == 0
    for verb in VERBS:
        assert verb in helped.out
    assert nothing.code == 2 or "Usage" in nothing.out


def test_a_misspelt_setting_stops_the_start(tmp_path: Path) -> None:
    """``serve`` says which variable, and which one was probably meant."""
    done = subprocess.run(
        [sys.executable, "-m", "gitopsd", "serve"],
        env={"PATH": os.defpath, "GITOPSD_DATADIR": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == (
        "gitopsd: there is no setting GITOPSD_DATADIR; did you mean GITOPSD_DATA_DIR?\n"
    )
