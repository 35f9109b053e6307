"""A service with several applications of one repository, each on a branch of its own.

    tenants = {"blog": Tenant(namespace=ground), "shop": Tenant(namespace=ground)}
    async with run_tenants_site(cluster, registry, directory, tenants) as site:
        mark = await site.mark()
        await site.push("blog", manifest)
        await site.until_ended("blog")
        assert await site.changes(mark) == []

What gitopsd did is read from the API server's audit log.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run
from gitopsd.domain.work import Page
from gitopsd.sandbox.hosts.push_hooks import ZERO
from tests.support.processes import wait_until
from tests.support.service_site import ServiceSite, run_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.support.control_plane import ControlPlane
    from tests.support.registry import RegistryServer

REPOSITORY = "tenants-deploy.git"
ONLY = "only"
_QUIET = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class Tenant:
    """What an application may write.

    Attributes:
        namespace: The namespace of its only stage.
        more: Other fields of that stage.
        kubeconfig: Its cluster's; none for gitopsd's own account.
    """

    namespace: str
    more: Mapping[str, Any] = field(default_factory=dict)
    kubeconfig: Path | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A request of gitopsd that changed something, or that was refused to.

    Attributes:
        verb: E.g. ``patch``.
        object: ``resource namespace/name``.
        status: HTTP status of the answer.
        user: Who asked.
        acted_as: Whom they impersonated; empty for nobody.
    """

    verb: str
    object: str
    status: int
    user: str
    acted_as: str = ""


@dataclass
class TenantsSite:
    """The service and its applications.

    Attributes:
        site: The installation.
        tenants: Name -> what that application may write.
    """

    site: ServiceSite
    tenants: Mapping[str, Tenant]

    def key(self, name: str) -> StageKey:
        """Name a tenant's stage."""
        return StageKey(ApplicationName(f"{name}-{self.site.suffix}"), StageName(ONLY))

    async def push(self, name: str, *manifests: Mapping[str, Any] | str) -> None:
        """Replace a tenant's manifests, objects or text, and send the signed webhook."""
        ref = f"refs/heads/{name}"
        names = [f"object-{number}.yaml" for number in range(len(manifests))]
        files = {
            f"overlay/{file}": content if isinstance(content, str) else json.dumps(content)
            for file, content in zip(names, manifests, strict=True)
        }
        files["overlay/kustomization.yaml"] = json.dumps({"resources": names})
        repository = self.site.host.create(REPOSITORY)
        before = repository.refs().get(ref, ZERO)
        sha = await asyncio.to_thread(repository.commit, files, ref=ref)

        async def taken() -> bool:  # a burst of pushes is told to wait
            return await self.site.host.send_push(REPOSITORY, ref, before, sha) == 202

        await self.site.until(taken, f"the push to {name} is taken")

    async def runs(self, name: str) -> list[Run]:
        """Read a tenant's runs, oldest first."""
        key = self.key(name)
        return list(reversed(await self.site.read(lambda tx: tx.runs.page(Page(50), stage=key))))

    async def until_ended(
        self, name: str, count: int = 1, within: timedelta = timedelta(seconds=60)
    ) -> Run:
        """Wait until a tenant has so many runs and none is live; the newest."""
        found: list[Run] = []

        async def ended() -> bool:
            found[:] = await self.runs(name)
            return len(found) >= count and not any(
                run.phase in (Phase.PENDING, Phase.RUNNING) for run in found
            )

        await self.site.until(ended, f"the end of run {count} of {name}", within)
        return found[-1]

    async def mark(self) -> int:
        """Note how far the audit log is."""
        return await asyncio.to_thread(self._settled)

    async def changes(self, since: int, *, dry: bool = False) -> list[Change]:
        """List what gitopsd, as whoever, sent that is no read; without dry-runs unless asked."""
        await self.mark()
        return [
            Change(
                event["verb"],
                _said(event.get("objectRef", {})),
                event["responseStatus"]["code"],
                event["user"].get("username", ""),
                event.get("impersonatedUser", {}).get("username", ""),
            )
            for event in await asyncio.to_thread(self.site.cluster.audit_events, since)
            if event.get("userAgent", "").startswith("gitopsd/")
            and event["verb"] not in _QUIET
            and (dry or "dryRun=All" not in event["requestURI"])
        ]

    def _settled(self) -> int:
        """Wait until the log has everything that was answered before now; its length then."""
        cluster = self.site.cluster
        before = cluster.audit_length()
        mark = f"/api/v1/namespaces/default?mark={secrets.token_hex(8)}"
        cluster.client.get(mark)

        def there() -> bool:
            return any(event["requestURI"] == mark for event in cluster.audit_events(before))

        wait_until(there, what="the audit log", within=timedelta(seconds=10))
        return cluster.audit_length()


def _said(ref: Mapping[str, str]) -> str:
    resource = "/".join(ref[key] for key in ("resource", "subresource") if ref.get(key))
    place = "/".join(ref[key] for key in ("namespace", "name") if ref.get(key))
    return f"{resource} {place}"


@asynccontextmanager
async def run_tenants_site(
    cluster: ControlPlane,
    registry: RegistryServer,
    directory: Path,
    tenants: Mapping[str, Tenant],
) -> AsyncIterator[TenantsSite]:
    """Run the service with these applications and no other."""
    async with run_site(cluster, registry, directory, start=False) as site:
        site.host.create(REPOSITORY)
        config = directory / "config"
        (config / "applications" / "shop.yaml").unlink()
        for name, tenant in tenants.items():
            described = _describe(site, name, tenant)
            (config / "applications" / f"{name}.yaml").write_text(json.dumps(described))
            if tenant.kubeconfig is not None:
                access = {
                    "apiVersion": "gitopsd.io/v1",
                    "kind": "Cluster",
                    "metadata": {"name": name},
                    "spec": {"kubeconfig": str(tenant.kubeconfig)},
                }
                (config / "clusters" / f"{name}.yaml").write_text(json.dumps(access))
        site.start()
        await site.ready()
        yield TenantsSite(site, tenants)


def _describe(site: ServiceSite, name: str, tenant: Tenant) -> dict[str, Any]:
    stage = {
        "name": ONLY,
        "cluster": "one" if tenant.kubeconfig is None else name,
        "path": "overlay",
        "namespace": tenant.namespace,
        **tenant.more,
    }
    return {
        "apiVersion": "gitopsd.io/v1",
        "kind": "Application",
        "metadata": {"name": f"{name}-{site.suffix}"},
        "spec": {
            "source": {"repoURL": site.host.address(REPOSITORY), "branch": name},
            "stages": [stage],
        },
    }
