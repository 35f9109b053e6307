"""*rollback-to-accepted*: from the verdict on a bad release to the last restored object's 2xx.

Each round has an application and a repository of its own (a stage rolls back by itself only twice
within an hour), with 500 overlays, and a first release that was verified. A second release is
pushed that differs in all four objects; its webhook begins the reference. That is a forward deploy
without waits: from the webhook's first byte to the last object's 2xx, as *push-to-applied*.

The second release never becomes ready. Once it is applied, and before the Deployment controller
gives it up, the processes of the Git host, of the registry and of Redis are stopped (SIGSTOP: they
hang, their connections open), and go on only when everything is restored. The value begins with
the verdict, the moment at which the run's failure is committed, and ends when the real API server
has accepted all four objects of the first release again, as its audit log says. How long the
verdict itself takes after the controller's word is told in the details: it ends with the last
write of the Deployment's status before the verdict.

That a restore asks neither Git nor a registry and renders nothing is counted, too: by what the
service measures of its Git requests and Render steps, and by the registry's own log, from the
moment at which they are stopped until the Rollback has ended and they answered whatever waited.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.audit import find_first_writes, find_last_write, parse_audit
from benchmarks.figures import Measured, Requirement, compute_p50
from benchmarks.installation import DidNotHappenError, Installation
from benchmarks.monorepo import OBJECTS, OVERLAYS, Monorepo
from benchmarks.records import ROOT
from benchmarks.world import World, run_world
from gitopsd.adapters.clock import SystemClock
from gitopsd.domain.manifests import Json
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.work import Page
from gitopsd.sandbox.hosts.push_hooks import Movement, describe_push, sign_push
from tests.support.images import web_image
from tests.support.processes import ServerProcess, inherited_environment, wait_until
from tests.support.redis import RedisServer, run_redis
from tests.support.repositories import MAIN, BareRepository

ROUNDS = 20
WARM_UP_ROUNDS = 2
REQUIRED = 4.0
"""A quarter of a forward deploy's time."""
GIVEN_UP_AFTER = timedelta(seconds=5)
"""How long the Deployment controller waits for a release; enough to stop everything before."""
WITHIN = timedelta(seconds=120)
_USER = "system:serviceaccount:gitopsd:gitopsd"
_STEPS = "gitopsd_step_duration_seconds_count"
_HEAD = "apiVersion: gitopsd.io/v1\n"


@dataclass(frozen=True, slots=True)
class Round:
    """One bad release.

    Attributes:
        forward: Seconds from its webhook to its last write.
        rollback: Seconds from the verdict to the last restored object's write.
        verdict: Seconds from the controller's word to the verdict.
        restored: Seconds from the verdict to the healthy end of the Rollback.
        requests: What gitopsd asked of the API server from the verdict to the last write.
        phases: Parts of the rollback in seconds, in order, by what ends each.
        calls: What Git and the registry were asked meanwhile, and what was rendered, in all.
    """

    forward: float
    rollback: float
    verdict: float
    restored: float
    requests: int
    phases: Mapping[str, float]
    calls: int


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that a round needs.

    Attributes:
        world: The control plane and the registry.
        git: The Git host's process.
        git_url: Its address.
        redis: Redis.
        service: Ours.
        repo: What every repository holds.
        bad: Digest of an image that never becomes ready.
    """

    world: World
    git: ServerProcess
    git_url: str
    redis: RedisServer
    service: Installation
    repo: Monorepo
    bad: str

    def repository(self, name: str) -> BareRepository:
        """Open a repository, or make it."""
        return BareRepository(self.world.directory / "repositories" / f"{name}.git")

    @contextmanager
    def without_the_world(self) -> Iterator[None]:
        """Stop the processes of Git, registry and Redis for as long as the block lasts."""
        self.git.popen.send_signal(signal.SIGSTOP)
        self.world.registry.pause()
        self.redis.pause()
        try:
            yield
        finally:
            self.git.popen.send_signal(signal.SIGCONT)
            self.world.registry.resume()
            self.redis.resume()


def measure(rounds: int | None = None) -> Measured:
    """Measure."""
    return asyncio.run(_measure(rounds or ROUNDS))


async def _measure(rounds: int) -> Measured:
    names = [f"round-{number}" for number in range(WARM_UP_ROUNDS + rounds)]
    async with _run_bench(names) as bench:
        first = {name: _commit(bench, name, "1") for name in names}
        # Nobody polls meanwhile: what Git and the registry are asked, a rollback asked.
        settings = {"GITOPSD_REDIS_URL": bench.redis.url, "GITOPSD_POLL_INTERVAL": "1h"}
        await bench.service.start(settings=settings)
        for name in names:
            await bench.service.until_succeeded(_key(name), first[name], WITHIN)
        done = [await _run_round(bench, name, first[name]) for name in names][WARM_UP_ROUNDS:]
    return Measured(
        "s",
        [one.rollback for one in done],
        [one.forward for one in done],
        "forward deploy without waits: webhook to last write, Git, registry and Redis running",
        required=REQUIRED,
        further=(
            Requirement(
                "requests to Git and registry, and renderings",
                max(one.calls for one in done),
                0,
                at_most=True,
            ),
        ),
        details=_describe(done),
    )


@asynccontextmanager
async def _run_bench(names: Sequence[str]) -> AsyncIterator[Bench]:
    async with run_world("rollback") as world:
        bad = world.registry.push(web_image("2", ready_statuses=(503,)), "bench/api:2").digest
        git, url = _start_git(world)
        service = Installation(world.directory / "gitopsd")
        service.write_surroundings(world.cluster.gitopsd_kubeconfig())
        with run_redis() as redis:
            bench = Bench(world, git, url, redis, service, Monorepo(world.image), bad)
            for name in names:
                world.make_namespace(name)
                _write_application(bench, name)
            try:
                yield bench
            finally:
                await service.stop()
                git.stop()


def _start_git(world: World) -> tuple[ServerProcess, str]:
    info, root = world.directory / "git.json", world.directory / "repositories"
    root.mkdir()
    command = [sys.executable, "-m", "gitopsd.sandbox.hosts.git_host"]
    command += ["--info", str(info), "--root", str(root)]
    environment = inherited_environment("HOME", "PATH") | {"PYTHONPATH": str(ROOT)}
    log = world.directory / "git.log"
    process = ServerProcess.start("the Git host", command, log, environment=environment)
    within = timedelta(seconds=30)
    wait_until(info.exists, what="the Git host to be ready", within=within, servers=[process])
    return process, str(json.loads(info.read_text())["url"])


def _write_application(bench: Bench, name: str) -> None:
    bench.service.write(
        f"applications/{name}.yaml",
        f"{_HEAD}kind: Application\nmetadata: {{name: {name}}}\nspec:\n"
        f"  source: {{repoURL: {bench.git_url}/{name}.git, branch: main}}\n"
        f"  stages: [{{name: production, cluster: one, path: {bench.repo.overlay(0)},\n"
        f"            namespace: {name}}}]\n",
    )


def _key(name: str) -> StageKey:
    return StageKey(ApplicationName(name), StageName("production"))


def _commit(bench: Bench, name: str, release: str) -> str:
    """Commit a release that differs from the one before in every object."""
    files = bench.repo.files() if release == "1" else {}
    files |= bench.repo.change(0, release)
    overlay = f"{bench.repo.overlay(0)}/kustomization.yaml"
    files[overlay] += f"commonAnnotations: {{bench.example/release: '{release}'}}\n"
    if release != "1":
        repository = bench.world.image.partition("@")[0]
        wait = {"op": "add", "path": "/spec/progressDeadlineSeconds"}
        patch = json.dumps([wait | {"value": int(GIVEN_UP_AFTER.total_seconds())}])
        files[overlay] = files[overlay].replace(
            "patches: [",
            f"images: [{{name: '{repository}', digest: '{bench.bad}'}}]\n"
            f"patches: [{{target: {{kind: Deployment}}, patch: '{patch}'}}, ",
        )
    return str(bench.repository(name).commit(files, message=f"Release {release} of {name}"))


async def _run_round(bench: Bench, name: str, before: str) -> Round:
    service, key = bench.service, _key(name)
    sha = _commit(bench, name, "2")
    begin = SystemClock().now()
    await _ring(bench, name, before, sha)
    await service.until_run(
        lambda: service.run_of(key, sha), _is_applied, f"{name} to be applied", WITHIN
    )
    asked = await _count_calls(bench)
    with bench.without_the_world():
        stopped_at = SystemClock().now()
        failed = await service.until_run(
            lambda: service.run_of(key, sha),
            lambda run: run.phase.terminal,
            f"the verdict on {name}",
            WITHIN,
        )
        if failed.phase is not Phase.FAILED or failed.ended_at is None:
            raise DidNotHappenError(f"{failed.id} ended {failed.phase.value}\n{service.tail()}")
        if failed.ended_at <= stopped_at:
            raise DidNotHappenError(f"the verdict on {name} came before everything was stopped")
        back = await service.until_run(
            lambda: _find_rollback(service, key), _is_applied, f"{name} to be restored", WITHIN
        )
    ended = await service.until_run(
        lambda: _find_rollback(service, key),
        lambda run: run.phase.terminal,
        f"{name} to be healthy again",
        WITHIN,
    )
    if ended.phase is not Phase.SUCCEEDED or ended.ended_at is None:
        raise DidNotHappenError(f"{back.id} ended {ended.phase.value}\n{service.tail()}")
    steps = await service.steps_of(ended)
    calls = await _count_calls(bench) - asked
    return _read_round(bench, name, begin, failed.ended_at, ended.ended_at, steps, calls)


async def _count_calls(bench: Bench) -> int:
    """Count what Git and the registry were asked by now, and what was rendered."""
    if bench.service.info is None:
        raise DidNotHappenError("the service was not started")
    async with (
        aiohttp.ClientSession() as session,
        session.get(bench.service.info["metrics"]) as answer,
    ):
        families = text_string_to_metric_families(await answer.text())
    measured = sum(
        int(sample.value)
        for family in families
        for sample in family.samples
        if sample.name == "gitopsd_git_request_duration_seconds_count"
        or (sample.name == _STEPS and sample.labels["step"] == Step.RENDER.value)
    )
    return measured + bench.world.registry.log_file.read_text().count("response completed")


def _is_applied(run: Run) -> bool:
    """Whether a run has left Apply."""
    return run.phase.terminal or run.step in (Step.WAIT_HEALTHY, Step.VERIFY, Step.PRUNE)


async def _ring(bench: Bench, name: str, before: str, after: str) -> None:
    hook = bench.service.hook
    if hook is None:
        raise DidNotHappenError("the service was not started")
    push = describe_push(bench.git_url, f"{name}.git", Movement(MAIN, before, after))
    body = json.dumps(push).encode()
    headers = sign_push(body, hook.secret.encode())
    async with (
        aiohttp.ClientSession() as session,
        session.post(hook.url, data=body, headers=headers) as answer,
    ):
        if answer.status != 202:  # noqa: PLR2004 - stored
            raise DidNotHappenError(f"the webhook was answered {answer.status}")


async def _find_rollback(service: Installation, key: StageKey) -> Run | None:
    runs = await service.read(lambda tx: tx.runs.page(Page(5), stage=key))
    return next((run for run in runs if run.kind is RunKind.ROLLBACK), None)


def _read_round(
    bench: Bench,
    name: str,
    begin: datetime,
    verdict: datetime,
    healthy: datetime,
    steps: Mapping[str, datetime],
    calls: int,
) -> Round:
    requests = [
        one for one in parse_audit(bench.world.cluster.audit_events()) if one.received_at >= begin
    ]
    forward = find_last_write(requests, namespace=name, user=_USER, since=begin, until=verdict)
    back = find_first_writes(requests, namespace=name, user=_USER, since=verdict)
    if forward is None or len(back) != OBJECTS:
        raise DidNotHappenError(f"{name}: applied {forward}, restored {sorted(back)}")
    given_up = [
        one.answered_at
        for one in requests
        if one.wrote
        and (one.namespace, one.resource) == (name, "deployments/status")
        and one.received_at < verdict
    ]
    accepted = max(back.values())
    first = min(back.values())
    marks = {"Prepare": steps["Prepare"], "first accepted": first, "accepted": accepted}
    phases, at = {}, verdict
    for mark, moment in marks.items():
        phases[mark], at = _seconds(at, moment), moment
    return Round(
        forward=_seconds(begin, forward.answered_at),
        rollback=_seconds(verdict, accepted),
        verdict=_seconds(max(given_up), verdict),
        restored=_seconds(verdict, healthy),
        requests=sum(
            one.user == _USER and verdict <= one.received_at <= accepted for one in requests
        ),
        phases=phases,
        calls=calls,
    )


def _seconds(begin: datetime, end: datetime) -> float:
    return (end - begin) / timedelta(seconds=1)


def _describe(done: Sequence[Round]) -> dict[str, Json]:
    def p50(values: Sequence[float]) -> float:
        return round(compute_p50(values), 4)

    return {
        "overlays": OVERLAYS,
        "objects": OBJECTS,
        "rollback_over_forward": round(
            compute_p50([one.rollback for one in done])
            / compute_p50([one.forward for one in done]),
            4,
        ),
        "verdict_after_fault_p50": p50([one.verdict for one in done]),
        "fault_to_accepted_p50": p50([one.verdict + one.rollback for one in done]),
        "verdict_to_healthy_p50": p50([one.restored for one in done]),
        "requests_p50": p50([one.requests for one in done]),
        "until_p50": {name: p50([one.phases[name] for one in done]) for name in done[0].phases},
    }
