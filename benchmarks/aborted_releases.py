"""Releases of one large application: how long each one's Apply took, and what it sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import aiohttp

from benchmarks.audit import parse_audit
from benchmarks.installation import DidNotHappenError, Installation
from benchmarks.many_objects import ManyObjects
from benchmarks.world import World
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Run, Step
from tests.support.repositories import MAIN, BareRepository

WITHIN = timedelta(seconds=120)
_USER = "system:serviceaccount:gitopsd:gitopsd"
_HEAD = "apiVersion: gitopsd.io/v1\n"


@dataclass(frozen=True, slots=True)
class OurApply:
    """What gitopsd did.

    Attributes:
        seconds: The step Apply.
        validated: The step Validate, which is not in it.
        requests: Requests of the step Apply, by verb.
        writes: How many of them wrote to the application's namespace.
    """

    seconds: float
    validated: float
    requests: Mapping[str, int]
    writes: int


class AbortedReleases:
    """An application whose releases are applied, measured, and aborted before they are verified.

    Args:
        world: Where it is released.
        service: What releases it.
        what: Its objects.
        name: Its name, its repository's and its namespace's.

    Attributes:
        rendered: What its last release rendered to.
    """

    def __init__(self, world: World, service: Installation, what: ManyObjects, name: str) -> None:
        self._world = world
        self._service = service
        self._what = what
        self._name = name
        self._key = StageKey(ApplicationName(name), StageName("production"))
        self._head = ""
        self.rendered: tuple[JsonObject, ...] = ()

    def begin(self) -> None:
        """Make its namespace and its empty repository."""
        self._world.make_namespace(self._name)
        self._repository()

    def _repository(self) -> BareRepository:
        return self._world.host.create(f"{self._name}.git")

    async def release(self, case: str) -> OurApply:
        """Push what a case holds, wait until it is applied, and abort the run."""
        service, before = self._service, self._head
        content = {
            "created": self._what.files(),
            "changed": self._what.change(),
            "unchanged": self._what.touch(),
        }
        self._head = str(self._repository().commit(content[case], message=case))
        mark = self._world.cluster.audit_length()
        if before:
            await self._world.host.send_push(f"{self._name}.git", MAIN, before, self._head)
        else:
            self._configure()
        run = await service.until_run(
            lambda: service.run_of(self._key, self._head), _is_applied, f"{case} applied", WITHIN
        )
        if run.phase.terminal:
            why = run.failure.message if run.failure is not None else ""
            raise DidNotHappenError(f"{run.id} ended {run.phase.value}: {why}\n{service.tail()}")
        await self._abort(run)
        self.rendered = await self._load(run)
        return await self._read(run, mark)

    def _configure(self) -> None:
        address = self._world.host.address(f"{self._name}.git")
        self._service.write(
            f"applications/{self._name}.yaml",
            f"{_HEAD}kind: Application\nmetadata: {{name: {self._name}}}\nspec:\n"
            f"  source: {{repoURL: {address}, branch: main}}\n"
            f"  stages: [{{name: production, cluster: one, path: {self._what.folder},\n"
            f"            namespace: {self._name}}}]\n",
        )

    async def _abort(self, run: Run) -> None:
        service = self._service
        api = (service.info or {})["api"]
        token = (service.directory / "data" / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{api}/api/v1/runs/{run.id}/abort", json={}) as answer,
        ):
            if not answer.ok:
                raise DidNotHappenError(f"abort was answered {answer.status}")
        await service.until_run(
            lambda: service.run_of(self._key, self._head),
            lambda found: found.phase.terminal,
            f"{run.id} to end",
            WITHIN,
        )

    async def _load(self, run: Run) -> tuple[JsonObject, ...]:
        digest = run.rendered
        if digest is None:
            raise DidNotHappenError(f"{run.id} was not rendered")
        found = await self._service.read(lambda tx: tx.rendered.get(digest))
        if found is None:
            raise DidNotHappenError(f"{digest} is not stored")
        return found.objects

    async def _read(self, run: Run, mark: int) -> OurApply:
        """Read from the run's history how long it took, and from the audit log what it sent."""
        steps = await self._service.steps_of(run)
        begin, end = steps[Step.PREPARE.value], steps[Step.APPLY.value]
        events = self._world.cluster.audit_events(mark)
        sent = [
            one
            for one in parse_audit(events)
            if one.user == _USER and begin <= one.received_at <= end
        ]
        return OurApply(
            (end - begin).total_seconds(),
            (steps[Step.VALIDATE.value] - steps[Step.RENDER.value]).total_seconds(),
            Counter(one.verb for one in sent),
            sum(one.wrote and one.namespace == self._name for one in sent),
        )


def _is_applied(run: Run) -> bool:
    return run.phase.terminal or run.step in (Step.WAIT_HEALTHY, Step.VERIFY)
