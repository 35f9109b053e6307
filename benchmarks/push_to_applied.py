"""*push-to-applied*: from the webhook's first byte to the last object's 2xx.

Each round changes one literal of one overlay of four objects, in a repository with 500 overlays,
and pushes it over HTTP. gitopsd gets a signed webhook; the reference is a warm shell that is told
to go. Both apply to the same real API server, whose audit log says when the last write was
answered. Rounds are interleaved, and take turns in who goes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from benchmarks.audit import find_last_write, parse_audit
from benchmarks.figures import Measured, compute_p50
from benchmarks.installation import DidNotHappenError, Installation
from benchmarks.monorepo import OVERLAYS, Monorepo
from benchmarks.reference_shell import ReferenceShell
from benchmarks.world import REPOSITORY, World, run_world
from gitopsd.adapters.clock import SystemClock
from gitopsd.domain.manifests import Json
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from tests.support.control_plane import ControlPlane

ROUNDS = 30
WARM_UP_ROUNDS = 3
WITHIN = timedelta(seconds=60)
OURS, THEIRS = 0, 1
KEY = StageKey(ApplicationName("measured"), StageName("production"))
_NAMESPACES = {OURS: "bench-gitopsd", THEIRS: "bench-reference"}
_STEPS_BEFORE_APPLIED = ("Render", "Validate", "Diff", "Gate", "Prepare")
_USER = "system:serviceaccount:gitopsd:gitopsd"


@dataclass(frozen=True, slots=True)
class Round:
    """One push.

    Attributes:
        seconds: From the hint to the last write's answer.
        requests: Requests that the applying side made meanwhile.
        in_api_server: Sum of the seconds that the API server worked on them.
        phases: Its parts in seconds, in order, by what ends each.
    """

    seconds: float
    requests: int
    in_api_server: float
    phases: Mapping[str, float] = field(default_factory=dict)


def measure(rounds: int | None = None) -> Measured:
    """Measure both sides."""
    return asyncio.run(_measure(rounds or ROUNDS))


async def _measure(rounds: int) -> Measured:
    async with run_world("push") as world:
        repo = Monorepo(world.image)
        sha = await world.publish(repo.files())
        for namespace in _NAMESPACES.values():
            world.make_namespace(namespace)
        kubeconfig = world.cluster.gitopsd_kubeconfig()
        service = _write_installation(world, repo)
        service.write_surroundings(kubeconfig)
        shell = ReferenceShell(
            clone=world.directory / "reference",
            overlay=repo.overlay(THEIRS),
            namespace=_NAMESPACES[THEIRS],
            kubeconfig=kubeconfig,
            home=world.directory / "reference-home",
        )
        try:
            await service.start(world.host)
            await service.until_succeeded(KEY, sha, WITHIN)
            await asyncio.to_thread(shell.start, world.host.address(REPOSITORY))
            ours, theirs = await _take_turns(world, repo, service, shell, rounds)
        finally:
            shell.stop()
            await service.stop()
    return Measured(
        "s",
        [one.seconds for one in ours],
        [one.seconds for one in theirs],
        "warm shell: git fetch, git reset --hard, kubectl kustomize | kubectl apply --server-side",
        details=_describe(ours, theirs),
    )


def _write_installation(world: World, repo: Monorepo) -> Installation:
    service = Installation(world.directory / "gitopsd")
    service.write(
        "applications/measured.yaml",
        f"""\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {{name: {KEY.application}}}
spec:
  source: {{repoURL: {world.host.address(REPOSITORY)}, branch: main}}
  stages:
    - name: {KEY.stage}
      cluster: one
      path: {repo.overlay(OURS)}
      namespace: {_NAMESPACES[OURS]}
""",
    )
    return service


async def _take_turns(
    world: World, repo: Monorepo, service: Installation, shell: ReferenceShell, rounds: int
) -> tuple[list[Round], list[Round]]:
    ours: list[Round] = []
    theirs: list[Round] = []
    for number in range(-WARM_UP_ROUNDS, rounds):
        for side in (OURS, THEIRS) if number % 2 else (THEIRS, OURS):
            change = repo.change(side, str(number + WARM_UP_ROUNDS + 1))
            before, after = await world.push(change, f"Round {number} of side {side}")
            if side == OURS:
                done = await _run_ours(world, service, before, after)
            else:
                done = await _run_theirs(world, shell)
            if number >= 0:
                (ours if side == OURS else theirs).append(done)
    return ours, theirs


async def _run_ours(world: World, service: Installation, before: str, after: str) -> Round:
    begin = SystemClock().now()
    status = await world.ring(before, after)
    answered = SystemClock().now()
    if status != 202:  # noqa: PLR2004 - stored
        raise DidNotHappenError(f"the webhook was answered {status}")
    run = await service.until_succeeded(KEY, after, WITHIN)
    steps = await service.steps_of(run)
    found = _round(world.cluster, OURS, begin)
    marks = {"webhook answered": answered, "found and selected": steps["Admitted"]}
    marks |= {name: steps[name] for name in _STEPS_BEFORE_APPLIED}
    phases, at = {}, begin
    for name, mark in marks.items():
        phases[name], at = _since(at, mark), mark
    phases["last write"] = found.seconds - _since(begin, at)
    return replace(found, phases=phases)


async def _run_theirs(world: World, shell: ReferenceShell) -> Round:
    begin = SystemClock().now()
    await asyncio.to_thread(shell.run)
    return _round(world.cluster, THEIRS, begin)


def _round(cluster: ControlPlane, side: int, begin: datetime) -> Round:
    requests = [one for one in parse_audit(cluster.audit_events()) if one.received_at >= begin]
    last = find_last_write(requests, namespace=_NAMESPACES[side], user=_USER, since=begin)
    if last is None:
        raise DidNotHappenError(f"nothing was written to {_NAMESPACES[side]}")
    mine = [one for one in requests if one.user == _USER and one.received_at <= last.answered_at]
    inside = sum(_since(one.received_at, one.answered_at) for one in mine)
    return Round(_since(begin, last.answered_at), len(mine), inside)


def _since(begin: datetime, end: datetime) -> float:
    return (end - begin) / timedelta(seconds=1)


def _describe(ours: list[Round], theirs: list[Round]) -> dict[str, Json]:
    return {
        "overlays": OVERLAYS,
        "requests_p50": compute_p50([one.requests for one in ours]),
        "reference_requests_p50": compute_p50([one.requests for one in theirs]),
        "in_api_server_p50": round(compute_p50([one.in_api_server for one in ours]), 4),
        "reference_in_api_server_p50": round(compute_p50([one.in_api_server for one in theirs]), 4),
        "until_p50": {
            name: round(compute_p50([one.phases[name] for one in ours]), 4)
            for name in ours[0].phases
        },
    }
