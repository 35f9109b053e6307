"""Releases to a real cluster whose credential, or whose certificate, is no good for a while."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import trustme

from gitopsd.domain.runs import Phase, Run, RunKind, Step
from tests.support.cluster_client import make_kubeconfig, save_private
from tests.support.cluster_world import ClusterWorld, run_cluster_world, settings

if TYPE_CHECKING:
    from tests.support.cluster_site import Site
    from tests.support.control_plane import ControlPlane

AT_ONCE = timedelta(seconds=20)
"""Far less than the minute after which it would be tried again by itself."""

EVERYTHING = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]


class Account:
    """A service account with a kubeconfig that a person takes care of.

    Args:
        cluster: The cluster.
        namespace: Where the account is.
        path: The kubeconfig.
    """

    def __init__(self, cluster: ControlPlane, namespace: str, path: Path) -> None:
        self.path = path
        self._cluster = cluster
        self._namespace = namespace
        self.make()

    def make(self) -> None:
        """Make the account, again if need be, and write its kubeconfig."""
        found = self._cluster.make_account(self._namespace, "deployer", EVERYTHING)
        self._token = str(json.loads(found.read_text())["users"][0]["user"]["token"])
        self.write(token=self._token)

    def write(self, authority: bytes = b"", **user: Any) -> None:  # noqa: ANN401 - any field of a user
        """Put another kubeconfig into the place of the one that is there."""
        trusted = authority or self._cluster.authority
        document = make_kubeconfig(self._cluster.url, trusted, {"token": self._token, **user})
        save_private(self.path.with_suffix(".new"), document).replace(self.path)

    def delete(self) -> None:
        """Write a token that was never used, and delete the account it was made for."""
        self.make()
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/deployer"
        self._cluster.client.delete(path)

    def expire(self) -> None:
        """Write a token of the cluster's own that was good for an hour, yesterday."""
        key = Path(self._cluster.paths.secret("service-accounts.key")).read_text()
        claims = jwt.decode(self._token, options={"verify_signature": False})
        begun = int(claims["iat"]) - 24 * 3600
        claims |= {"iat": begun, "nbf": begun, "exp": begun + 3600}
        header = jwt.get_unverified_header(self._token)
        self.write(token=jwt.encode(claims, key, header["alg"], headers={"kid": header["kid"]}))

    def rotate(self) -> None:
        """Write an authority that did not sign the server's certificate."""
        self.write(trustme.CA().cert_pem.bytes())


async def waits(world: ClusterWorld, words: str) -> Run:
    """Wait until the newest run says that it waits for something."""
    found: list[Run] = []

    async def there() -> bool:
        found[:] = [run for run in await world.runs() if words in run.waiting_for]
        return bool(found)

    await world.until(there, f"a run that waits: {words}")
    return found[0]


@pytest.mark.timeout(60)
async def test_a_credential_that_is_no_good_is_waited_for(
    site: Site, control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Expired, deleted, another authority: the run says so, and goes on when the file is right."""
    mark, program = tmp_path / "ran", tmp_path / "steal"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o700)
    account = Account(control_plane, f"inv-{site.namespace}", tmp_path / "kubeconfig")
    troubles = {
        account.expire: "refuses our credential",
        account.rotate: "is not trusted",
        account.delete: "refuses our credential",
    }
    async with run_cluster_world(site) as world:
        spec = replace(world.configuration[0].clusters["one"], kubeconfig=str(account.path))
        world.configuration[0] = replace(world.configuration[0], clusters={"one": spec})
        await world.push("first", settings(mode="0"))
        await world.succeeded()
        for number, (spoil, words) in enumerate(troubles.items(), start=1):
            spoil()
            await world.push(f"change {number}", settings(mode=str(number)))
            run = await waits(world, words)
            assert (run.phase, run.step, run.failure) == (Phase.RUNNING, Step.VALIDATE, None)
            assert (run.attempt, run.lockouts) == (1, 1), "it waits for a minute"
            begun = time.monotonic()
            account.make()
            done = await world.succeeded(number + 1)
            assert time.monotonic() - begun < AT_ONCE.total_seconds()
            assert done.id == run.id
            assert (await world.object("ConfigMap", "settings"))["data"] == {"mode": str(number)}

        asking = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}
        account.write(exec=asking)
        await world.push("with a plug-in", settings(mode="stolen"))
        errored = await world.until_run(RunKind.ROLLOUT, Phase.ERRORED)
        assert errored.failure is not None
        assert errored.failure.reason == "PlugInRefused"
        assert f"from the exec plug-in {program}" in errored.failure.message
        account.make()
        await world.push("without it", settings(mode="last"))
        await world.succeeded(len(troubles) + 2)
        assert not mark.exists()
        assert {run.kind for run in await world.runs()} == {RunKind.ROLLOUT}
