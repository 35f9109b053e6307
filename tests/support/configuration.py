"""Configuration folders for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CLUSTER = """\
apiVersion: gitopsd.io/v1
kind: Cluster
metadata: {name: NAME}
spec: {inCluster: true}
"""

APPLICATION = """\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {name: NAME, labels: {team: platform}}
spec:
  source: {repoURL: https://git.example/NAME.git, branch: main}
  stages:
    - {name: staging, cluster: one, path: overlays/staging, namespace: NAME-staging}
    - {name: production, cluster: one, path: overlays/production, namespace: NAME, after: [staging]}
"""

RECEIVER = """\
apiVersion: gitopsd.io/v1
kind: Receiver
metadata: {name: NAME}
spec: {type: generic, secretFiles: [SECRET]}
"""


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder; returns the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def applications(*names: str) -> dict[str, str]:
    """Write an application file for each name, and the cluster they use."""
    files = {f"applications/{name}.yaml": APPLICATION.replace("NAME", name) for name in names}
    return {**files, "clusters/one.yaml": CLUSTER.replace("NAME", "one")}
