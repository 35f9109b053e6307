"""*apply-2000*: one application of 2,000 objects applied to a real API server, three times over.

*Created*: none of them exists. *Changed*: 100 of them (5 %) differ from what is there. *Unchanged*:
none does. Each case is done by three sides, each in a namespace of its own, with the same rendered
objects and as the same account; the sides take turns in who goes first.

* Ours is the step Apply of an ordinary ``gitopsd serve`` with a database on disk: from the commit
  that ends Prepare to the commit that ends Apply. Inside are the way to the worker, loading the
  rendered set and what Validate saw, the lease, the fence and the inventory with everything that
  is about to be applied, the requests themselves in their order of kinds, the record of what became
  of each object, and the inventory with what was. Outside are Git, rendering, and Validate with its
  dry-runs, which the other two sides do not do; the details tell how long Validate took.
* The first reference is ``kubectl apply --server-side`` of one file, from its start to its end,
  with a warm cache of what the server serves.
* The second, the limit, is a loop of bare applies with 32 in flight (`benchmarks.patch_loop`).

One workload of the set wants a pod that no node takes. So no release is ever verified, and the same
bytes that come in another commit reach Apply; of a verified set, Diff says that nothing changes,
and Apply is not begun at all. Each release is aborted as soon as it is applied.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.aborted_releases import AbortedReleases, OurApply
from benchmarks.audit import parse_audit
from benchmarks.figures import Measured, Requirement, compute_p50
from benchmarks.installation import DidNotHappenError, Installation
from benchmarks.many_objects import OBJECTS, ManyObjects
from benchmarks.patch_loop import PatchLoop, run_patch_loop
from benchmarks.records import KUBECTL
from benchmarks.world import World, run_world
from gitopsd.adapters.clock import SystemClock
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.kube.objects import mapping_at

ROUNDS = 2
CASES = ("created", "changed", "unchanged")
OURS, BY_KUBECTL, LOOP = "gitopsd", "kubectl", "loop"
SIDES = (OURS, BY_KUBECTL, LOOP)
TIMES_KUBECTL = 2.0
"""The least; the aim is 5."""
OF_LOOP = 0.5
"""The least; the aim is 0.8."""
WRITES_FOR_EACH = 1.05
"""The most writes for each object that differs."""
QUIET = timedelta(seconds=1)
_STRAY_WRITES = 3
"""So many writes in `QUIET` are no work of controllers any more: leases and the like."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One case of one round, done by all sides.

    Attributes:
        ours: What gitopsd did.
        kubectl: Seconds of kubectl.
        loop: Seconds of the loop.
    """

    ours: OurApply
    kubectl: float
    loop: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that a round needs.

    Attributes:
        world: The control plane, the registry and the Git host.
        kubeconfig: Who all sides are.
        service: Ours.
        loop: The limit.
        what: The objects.
    """

    world: World
    kubeconfig: Path
    service: Installation
    loop: PatchLoop
    what: ManyObjects

    def application(self, name: str) -> AbortedReleases:
        """Make an application."""
        return AbortedReleases(self.world, self.service, self.what, name)


def measure(rounds: int | None = None) -> Measured:
    """Measure all sides."""
    return asyncio.run(run(rounds or ROUNDS, OBJECTS))


async def run(rounds: int, objects: int) -> Measured:
    """Measure all sides with so many objects."""
    async with _run_bench(objects) as bench:
        sets = await _warm_up(bench)
        done = [await _run_round(bench, number, sets) for number in range(rounds)]
        changing = bench.what.changing
    by_case = {case: [one[case] for one in done] for case in CASES}
    return Measured(
        "s",
        [sum(one.ours.seconds for one in cases.values()) for cases in done],
        [sum(one.kubectl for one in cases.values()) for cases in done],
        "kubectl apply --server-side of the same objects, warm; all three cases together",
        required=TIMES_KUBECTL,
        further=_require(by_case, changing),
        details={
            "objects": objects,
            "changed_objects": changing,
            "cases": {case: _describe(found, objects) for case, found in by_case.items()},
        },
    )


@asynccontextmanager
async def _run_bench(objects: int) -> AsyncIterator[Bench]:
    async with run_world("apply") as world:
        kubeconfig = world.cluster.gitopsd_kubeconfig()
        service = Installation(world.directory / "gitopsd")
        service.write_surroundings(kubeconfig)
        async with run_patch_loop(kubeconfig) as loop:
            try:
                await service.start(world.host)
                yield Bench(world, kubeconfig, service, loop, ManyObjects(world.image, objects))
            finally:
                await service.stop()


async def _warm_up(bench: Bench) -> dict[str, tuple[JsonObject, ...]]:
    """Let gitopsd do every case once, and keep what it rendered for the other sides."""
    ours = bench.application("warm-up")
    ours.begin()
    found = {}
    for case in CASES:
        await ours.release(case)
        found[case] = ours.rendered
    for side in (BY_KUBECTL, LOOP):
        bench.world.make_namespace(f"warm-up-{side}")
    few = _moved(found["created"][:8], f"warm-up-{BY_KUBECTL}")
    await asyncio.to_thread(_run_kubectl, bench, few)
    await bench.loop.run(_moved(few, f"warm-up-{LOOP}"))
    return found


async def _run_round(
    bench: Bench, number: int, sets: Mapping[str, tuple[JsonObject, ...]]
) -> Mapping[str, Applied]:
    """Do every case once, in namespaces of this round."""
    ours = bench.application(f"round-{number}")
    ours.begin()
    for side in (BY_KUBECTL, LOOP):
        bench.world.make_namespace(f"round-{number}-{side}")
    done = {}
    for turn, case in enumerate(CASES):
        found: list[OurApply] = []
        seconds: dict[str, float] = {}
        first = (number + turn) % len(SIDES)
        for side in (*SIDES[first:], *SIDES[:first]):
            await _settle(bench)
            objects = _moved(sets[case], f"round-{number}-{side}")
            if side == OURS:
                found.append(await ours.release(case))
            elif side == LOOP:
                seconds[side] = await bench.loop.run(objects)
            else:
                seconds[side] = await asyncio.to_thread(_run_kubectl, bench, objects)
        done[case] = Applied(found[0], seconds[BY_KUBECTL], seconds[LOOP])
    return done


def _moved(objects: Sequence[JsonObject], namespace: str) -> tuple[JsonObject, ...]:
    """Put objects into another namespace."""
    return tuple(
        {**obj, "metadata": {**mapping_at(obj, "metadata"), "namespace": namespace}}
        for obj in objects
    )


def _run_kubectl(bench: Bench, objects: Sequence[JsonObject]) -> float:
    file, home = bench.world.directory / "objects.yaml", bench.world.directory / "kubectl"
    file.write_text("---\n".join(f"{json.dumps(obj)}\n" for obj in objects))
    home.mkdir(exist_ok=True)
    command = [str(KUBECTL), f"--kubeconfig={bench.kubeconfig}", "apply", "--server-side"]
    command += ["--force-conflicts", "--filename", str(file)]
    begun = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"HOME": str(home)}
    )
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise DidNotHappenError(f"kubectl ended with {done.returncode}: {done.stderr[-2000:]}")
    return seconds


async def _settle(bench: Bench) -> None:
    """Wait until the controllers have dealt with what was applied last."""
    cluster, clock = bench.world.cluster, SystemClock()
    while True:
        mark = cluster.audit_length()
        await clock.sleep(QUIET)
        events = await asyncio.to_thread(cluster.audit_events, mark)
        if sum(one.wrote for one in parse_audit(events)) < _STRAY_WRITES:
            return


def _require(found: Mapping[str, Sequence[Applied]], changing: int) -> tuple[Requirement, ...]:
    required = []
    for case, applied in found.items():
        ours = compute_p50([one.ours.seconds for one in applied])
        kubectl = compute_p50([one.kubectl for one in applied])
        loop = compute_p50([one.loop for one in applied])
        required += [
            Requirement(f"{case}: times as fast as kubectl", kubectl / ours, TIMES_KUBECTL),
            Requirement(f"{case}: part of the loop's speed", loop / ours, OF_LOOP),
        ]
    most = {"changed": WRITES_FOR_EACH * changing, "unchanged": 0.0}
    required += [
        Requirement(
            f"{case}: writes", max(one.ours.writes for one in found[case]), limit, at_most=True
        )
        for case, limit in most.items()
    ]
    return tuple(required)


def _describe(found: Sequence[Applied], objects: int) -> dict[str, Json]:
    def p50(values: Sequence[float]) -> float:
        return round(compute_p50(values), 4)

    ours = [one.ours for one in found]
    return {
        "seconds": p50([one.seconds for one in ours]),
        "kubectl_seconds": p50([one.kubectl for one in found]),
        "loop_seconds": p50([one.loop for one in found]),
        "objects_per_second": round(objects / compute_p50([one.seconds for one in ours])),
        "kubectl_objects_per_second": round(objects / compute_p50([one.kubectl for one in found])),
        "loop_objects_per_second": round(objects / compute_p50([one.loop for one in found])),
        "writes": max(one.writes for one in ours),
        "requests": dict(sorted(ours[-1].requests.items())),
        "validate_seconds": p50([one.validated for one in ours]),
    }
