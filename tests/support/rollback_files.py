"""The configuration of the rollback scenarios on real servers, as a person would write it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.rollback_shop import ONLY

if TYPE_CHECKING:
    from tests.support.registry import RegistryServer

_HEAD = "apiVersion: gitopsd.io/v1\n"
_PAGE = "{http: {service: api, port: http, path: /health, within: 3s}}"
_FIGURE = """\
{prometheus: {query: 'errors{commit="{{ commit }}"}', condition: "< 0.05", interval: 1s, count: 2}}\
"""
"""A figure of each commit's own, so that nothing depends on when it changes."""

THREE = ("a", "b", "c")
"""Stages of the application that is in several places."""


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What an application's file says that others' do not.

    Attributes:
        stages: Names of its stages.
        verify: What each is verified by.
        more: Further keys of each stage.
        cluster: Where they are; one that fails more than once is nobody else's.
        follows: Whether it follows an image.
    """

    stages: tuple[str, ...] = (ONLY,)
    verify: str = _PAGE
    more: str = ""
    cluster: str = "one"
    follows: bool = False


_PLAIN = _Wishes()
_WISHES: Mapping[str, _Wishes] = {
    "failing metric": _Wishes(verify=_FIGURE),
    "rollback that fails": _Wishes(verify=_FIGURE),
    "three newer releases during an approval": _Wishes(
        more="gates: [{approval: {from: [group:release-managers]}}]"
    ),
    "image policy after a quarantine": _Wishes(follows=True),
    "three correlated failures": _Wishes(
        stages=THREE,
        more=f"watch: 30m, monitor: {{every: 2s, verify: [{_FIGURE}]}}",
        cluster="two",
    ),
}


def namespaces_of(scenario: str, name: str) -> Mapping[str, str]:
    """Name the namespaces of an application's stages, where it has several."""
    stages = _WISHES.get(scenario, _PLAIN).stages
    return {stage: f"{name}-{stage}" for stage in stages if stage != ONLY}


def write_surroundings(
    directory: Path, kubeconfig: Path, metrics: str, registry: RegistryServer
) -> None:
    """Write everything but applications: one cluster under two names, receivers, people."""
    config = directory / "config"
    (directory / "data").mkdir(parents=True)
    for kind in ("applications", "clusters", "receivers", "registries"):
        (config / kind).mkdir(parents=True)
    for receiver, kind in (("github", "github"), ("registry", "distribution")):
        secret = config / f"{receiver}.secret"
        secret.write_text(secrets.token_hex(16))
        (config / "receivers" / f"{receiver}.yaml").write_text(
            f"{_HEAD}kind: Receiver\nmetadata: {{name: {receiver}}}\n"
            f"spec: {{type: {kind}, secretFiles: [{secret}]}}\n"
        )
    for cluster in ("one", "two"):
        (config / "clusters" / f"{cluster}.yaml").write_text(
            f"{_HEAD}kind: Cluster\nmetadata: {{name: {cluster}}}\n"
            f"spec: {{kubeconfig: {kubeconfig}, metrics: {{url: '{metrics}'}}}}\n"
        )
    (config / "registries" / "it.yaml").write_text(
        f"{_HEAD}kind: Registry\nmetadata: {{name: it}}\n"
        f"spec: {{host: '{registry.host}', url: '{registry.url}'}}\n"
    )
    (config / "people.yaml").write_text(
        f"{_HEAD}kind: People\nmetadata: {{name: people}}\nspec:\n  persons:\n"
        "    - {subject: admin, groups: [release-managers]}\n"
    )


def write_application(
    directory: Path, scenario: str, name: str, address: str, followed: str
) -> None:
    """Write a scenario's application.

    Args:
        directory: The installation's.
        scenario: Whose it is.
        name: Its name.
        address: Its repository.
        followed: Image that is followed where the scenario is about one.
    """
    wishes = _WISHES.get(scenario, _PLAIN)
    spaces = {ONLY: name, **namespaces_of(scenario, name)}
    images = f"  images: [{{name: '{followed}', policy: {{semver: '>=1'}}}}]\n"
    stages = "".join(
        f"    - {{name: {stage}, cluster: {wishes.cluster}, path: {stage},\n"
        f"       namespace: {spaces[stage]}, clusterScoped: [CustomResourceDefinition],\n"
        f"       health: {{timeout: 60s}}, certify: 1s, verify: [{wishes.verify}],\n"
        f"       {wishes.more}}}\n"
        for stage in wishes.stages
    )
    (directory / "config" / "applications" / f"{name}.yaml").write_text(
        f"{_HEAD}kind: Application\nmetadata: {{name: {name}}}\nspec:\n"
        f"  source: {{repoURL: {address}, branch: main}}\n"
        f"{images if wishes.follows else ''}  stages:\n{stages}"
    )
