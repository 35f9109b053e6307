"""What the sandbox never does: exactly what a real server has beyond it, and it answers 501."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gitopsd.sandbox.api.dispatch import NEVER_DONE
from gitopsd.sandbox.api.plain_paths import NEVER_PATHS
from gitopsd.sandbox.api.served import NEVER_KINDS, NEVER_SERVED
from tests.support.raw_requests import send

if TYPE_CHECKING:
    from tests.support.cluster_client import ClusterClient
    from tests.support.control_plane import ControlPlane
    from tests.support.sandbox_server import SandboxServer

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NOT_IMPLEMENTED = 501


def _versions(client: ClusterClient) -> list[str]:
    """The path of every API version of Kubernetes itself, whatever kinds other tests define."""
    named = [
        version["groupVersion"]
        for group in client.get("/apis")["groups"]
        for version in group["versions"]
        if "." not in group["name"] or group["name"].endswith(".k8s.io")
    ]
    return ["/api/v1", *(f"/apis/{name}" for name in named)]


def _resources(client: ClusterClient) -> set[tuple[str, str]]:
    """Every resource and part that is served: its API version's path, and its name."""
    return {
        (path, item["name"]) for path in _versions(client) for item in client.get(path)["resources"]
    }


def _place(version: str, name: str) -> str:
    """A path to ask for a resource or a part at."""
    resource, _, part = name.partition("/")
    return f"{version}/{resource}/any/{part}" if part else f"{version}/{resource}"


def test_what_a_real_server_has_beyond_it_answers_501(
    control_plane: ControlPlane, sandbox_server: SandboxServer
) -> None:
    """Resource by resource and part by part of a real server's discovery."""
    client = sandbox_server.client
    missing = _resources(control_plane.client) - _resources(client)
    answers = {place: send(client, "GET", _place(*place)) for place in missing}

    assert len(missing) > len(NEVER_KINDS)
    wrong = {place: said.status for place, said in answers.items() if said.status != 501}
    assert not wrong
    assert {said.body["reason"] for said in answers.values()} == {"NotImplemented"}


def test_it_has_nothing_that_a_real_server_has_not(
    control_plane: ControlPlane, sandbox_server: SandboxServer
) -> None:
    """Whoever is told of a resource here finds it there."""
    assert not _resources(sandbox_server.client) - _resources(control_plane.client)


@pytest.mark.parametrize("method", METHODS)
def test_every_verb_of_it_answers_501(sandbox_server: SandboxServer, method: str) -> None:
    """Whoever writes hears it as whoever reads, with the name of what is not there."""
    client = sandbox_server.client
    parts = [
        (f"/api/v1/namespaces/default/{kind}/any/{part}", f"{kind}/{part}")
        if kind == "pods"
        else (f"/api/v1/{kind}/any/{part}", f"{kind}/{part}")
        for kind, part in NEVER_DONE
    ]
    groups = [(f"/apis/{group}/v1/namespaces/default/things", group) for group in NEVER_SERVED]
    kinds = [
        (f"/apis/{group}/{version}/{plural}" if group else f"/api/{version}/{plural}", plural)
        for group, version, plural in NEVER_KINDS
    ]
    for path, name in (*parts, *groups, *kinds):
        said = send(client, method, path, None if method == "GET" else {})

        assert (said.status, said.body["reason"]) == (NOT_IMPLEMENTED, "NotImplemented"), path
        assert name in said.body["message"]


@pytest.mark.parametrize("path", sorted(NEVER_PATHS))
def test_a_path_that_it_never_has_answers_501(sandbox_server: SandboxServer, path: str) -> None:
    """So does what lies below it."""
    for asked in (path, f"{path}/any"):
        said = send(sandbox_server.client, "GET", asked)

        assert (said.status, said.body["reason"]) == (NOT_IMPLEMENTED, "NotImplemented")
        assert path in said.body["message"]


def test_the_root_lists_the_paths_there_are(sandbox_server: SandboxServer) -> None:
    """Each of them answers."""
    client = sandbox_server.client
    paths = client.get("/")["paths"]

    assert {"/api/v1", "/apis/apps/v1", "/version"} <= set(paths)
    assert {send(client, "GET", path).status for path in paths} == {200}
