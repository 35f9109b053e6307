"""gitopsd's configuration folder for one system: its application file, fitted to the test site."""

from __future__ import annotations

import base64
import copy
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped] # comes with another package, without types

from tests.support.systems.story import REMOVED, Fit, SystemStory

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[3]
SUBJECT = "admin"
"""Whose token the harness has: the one that gitopsd makes at its first start."""

SOON = "1s"
CHECKED_WITHIN = "4s"
"""How long a check may go on failing; a person gives it a minute."""

Document = dict[str, Any]


def read_application(system: str) -> Document:
    """Read the application file that people copy."""
    file = ROOT / "config" / "examples" / "applications" / f"{system}.yaml"
    document: Document = yaml.safe_load(file.read_text(encoding="utf-8"))
    return document


def fit_application(
    document: Document, story: SystemStory, repository: str, *, hurried: bool = True
) -> Document:
    """Return an application file as the site needs it.

    Args:
        document: The file that people copy.
        story: Whose it is.
        repository: Where its manifests are.
        hurried: Whether checks and pods are as quick as those of the tests' nodes; otherwise only
            those times are shortened that wait for a person's peace of mind.
    """
    fitted = copy.deepcopy(document)
    spec = fitted["spec"]
    spec["source"]["repoURL"] = repository
    for stage in spec["stages"]:
        stage["imageGrace"] = SOON
        if "certify" in stage:
            stage["certify"] = SOON
        for gate in stage.get("gates", []):
            if "soak" in gate:
                gate["soak"]["for"] = SOON
        for check in stage.get("verify", []):
            if hurried and "http" in check:
                check["http"]["within"] = CHECKED_WITHIN
    for fit in story.fits:
        if hurried or not fit.hurries:
            _fit(spec, fit)
    return fitted


def _fit(spec: Document, fit: Fit) -> None:
    *before, last = fit.path
    place: Any = spec
    for part in before:
        place = place[part]
    if fit.value == REMOVED:
        del place[last]
    else:
        place[last] = fit.value


@dataclass(frozen=True, slots=True)
class Folder:
    """A configuration folder.

    Attributes:
        directory: Where it lies.
    """

    directory: Path

    @property
    def webhook_secret(self) -> Path:
        """What pushes are signed with."""
        return self.directory / "github.secret"

    @property
    def encryption_key(self) -> Path:
        """The key for rendered Secrets."""
        return self.directory / "encryption.key"

    def write(
        self, application: Document, kubeconfig: Path, hosts: Iterable[str], registry: str
    ) -> None:
        """Write all of it.

        Args:
            application: The fitted file.
            kubeconfig: How gitopsd reaches every cluster that the file names.
            hosts: Registries that manifests name.
            registry: Where their images really are.
        """
        self._write("applications/it.yaml", application)
        for name in sorted({stage["cluster"] for stage in application["spec"]["stages"]}):
            self._write_kind("clusters", "Cluster", name, {"kubeconfig": str(kubeconfig)})
        for host in sorted(hosts):
            name = host.replace(".", "-").replace(":", "-")
            self._write_kind("registries", "Registry", name, {"host": host, "url": registry})
        receiver = {"type": "github", "secretFiles": [str(self.webhook_secret)]}
        self._write_kind("receivers", "Receiver", "github", receiver)
        groups = sorted(_approvers(application))
        people = {"persons": [{"subject": SUBJECT, "groups": groups}]}
        self._write("people.yaml", _document("People", "people", people))
        self._write_secret(self.webhook_secret, secrets.token_hex(32))
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        self._write_secret(self.encryption_key, key)

    def _write_kind(self, folder: str, kind: str, name: str, spec: Document) -> None:
        self._write(f"{folder}/{name}.yaml", _document(kind, name, spec))

    def _write(self, name: str, document: Document) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def _write_secret(self, path: Path, content: str) -> None:
        path.touch(mode=0o600)
        path.write_text(content, encoding="ascii")


def _document(kind: str, name: str, spec: Document) -> Document:
    return {
        "apiVersion": "gitopsd.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _approvers(application: Document) -> set[str]:
    """Groups whose votes the gates of an application want."""
    return {
        who.removeprefix("group:")
        for stage in application["spec"]["stages"]
        for gate in stage.get("gates", [])
        for who in gate.get("approval", {}).get("from", [])
    }
