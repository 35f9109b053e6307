"""The configuration folder of the demo, as a person would write it, and the secrets in it."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path

API_IMAGE = "ghcr.io/acme/ai-core-api"
WEB_IMAGE = "ghcr.io/acme/ai-core-web"
APPLICATION = "ai-core"
REPOSITORY = "ai-core-deploy.git"
NAMESPACES = {"staging": "ai-core-staging", "production": "ai-core"}
GIT_USER = "author"

_APPLICATION = """\
apiVersion: gitopsd.io/v1
kind: Application
metadata:
  name: ai-core
  labels: {{team: platform}}
spec:
  source: {{repoURL: {repository}, branch: main}}
  images:
    - {{name: ghcr.io/acme/ai-core-web, policy: {{semver: ">=1.0 <2"}}}}
  pinImages: all
  stages:
    - name: staging
      cluster: staging
      path: overlays/staging
      namespace: ai-core-staging
      clusterScoped: [Namespace]
      health: {{timeout: 10m}}
      verify:
        - http:
            service: ai-core-api
            port: http
            path: /health
            jsonPath: {{status: healthy}}
            within: 15s
            successes: 2
    - name: production
      cluster: production
      after: [staging]
      path: overlays/production
      namespace: ai-core
      clusterScoped: [Namespace]
      health: {{timeout: 10m}}
      verify:
        - http:
            service: ai-core-api
            port: http
            path: /health
            jsonPath: {{status: healthy}}
            within: 15s
            successes: 2
        - http: {{service: ai-core-api, port: http, path: /smoke, within: 3s}}
        - http: {{service: ai-core-web, port: http, path: /, within: 15s}}
      gates:
        - approval: {{from: ["group:release-managers"], count: 1, deadline: 24h}}
      rollback: {{policy: automatic, deadline: 180s}}
"""
_CLUSTER = """\
apiVersion: gitopsd.io/v1
kind: Cluster
metadata: {{name: {name}}}
spec:
  kubeconfig: {kubeconfig}
"""
_GITHUB = """\
apiVersion: gitopsd.io/v1
kind: Receiver
metadata: {{name: github}}
spec:
  type: github
  secretFiles: [secrets/github-webhook]
"""
_REGISTRY_RECEIVER = """\
apiVersion: gitopsd.io/v1
kind: Receiver
metadata: {{name: registry}}
spec:
  type: distribution
  secretFiles: [secrets/registry-webhook]
"""
_REPOSITORY = """\
apiVersion: gitopsd.io/v1
kind: Repository
metadata: {{name: git}}
spec:
  urlPrefix: {git}/
  usernameFile: secrets/git-username
  passwordFile: secrets/git-password
"""
_REGISTRY = """\
apiVersion: gitopsd.io/v1
kind: Registry
metadata: {{name: ghcr}}
spec:
  host: ghcr.io
  url: {registry}      # the demo's own stands in for it
"""
_PEOPLE = """\
apiVersion: gitopsd.io/v1
kind: People
spec:
  persons:
    - {subject: author, emails: [author@example.test], groups: [developers]}
    - {subject: approver, emails: [approver@example.test], groups: [release-managers]}
    - {subject: deployer, groups: [operators]}
  bindings:
    - {role: viewer, subjects: ["group:developers"]}
    - {role: approver, subjects: ["group:release-managers"]}
    - {role: deployer, subjects: ["group:operators"], applications: [ai-core]}
"""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where the demo's secrets lie; they are made at its start and go with it.

    Attributes:
        directory: A private directory.
    """

    directory: Path

    @property
    def login(self) -> Path:
        """``user:password`` of the Git host."""
        return self.directory / "git-login"

    @property
    def encryption_key(self) -> Path:
        """The key for rendered Secrets."""
        return self.directory / "encryption-key"

    def password(self) -> str:
        """The Git user's."""
        return (self.directory / "git-password").read_text()

    def make(self) -> None:
        """Write all of them."""
        password = secrets.token_urlsafe(16)
        found = {
            "git-username": GIT_USER,
            "git-password": password,
            "git-login": f"{GIT_USER}:{password}\n",
            "github-webhook": secrets.token_hex(32),
            "registry-webhook": secrets.token_hex(32),
            "encryption-key": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700)
        for name, content in found.items():
            file = self.directory / name
            file.touch(mode=0o600)
            file.write_text(content)


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything around gitopsd is.

    Attributes:
        git: Address of the Git host.
        registry: Address of the registry.
        kubeconfigs: That of each cluster, by name.
    """

    git: str
    registry: str
    kubeconfigs: dict[str, str]


def write_configuration(folder: Path, places: Places) -> None:
    """Write the folder; the secrets that it names lie in it, so that it can be copied as one.

    Args:
        folder: The configuration folder.
        places: What it says.
    """
    words = {
        "repository": f"{places.git}/{REPOSITORY}",
        "git": places.git,
        "registry": places.registry,
    }
    files = {
        "applications/ai-core.yaml": _APPLICATION.format(**words),
        "receivers/github.yaml": _GITHUB.format(**words),
        "receivers/registry.yaml": _REGISTRY_RECEIVER.format(**words),
        "repositories/git.yaml": _REPOSITORY.format(**words),
        "registries/ghcr.yaml": _REGISTRY.format(**words),
        "people.yaml": _PEOPLE,
    }
    for name, kubeconfig in places.kubeconfigs.items():
        files[f"clusters/{name}.yaml"] = _CLUSTER.format(name=name, kubeconfig=kubeconfig)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
