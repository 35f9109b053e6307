"""How the design's scenarios are told: what is done to the model world, what is seen in it."""

from __future__ import annotations

from gitopsd.domain.gates import Closed
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import Run, Step
from gitopsd.pipeline.gates import evaluate_gates
from tests.support.pipeline_state import PRODUCTION, STAGING, Content
from tests.support.pipeline_world import World


def world_with(*contents: Content) -> World:
    """A world where these releases went to production, one after the other."""
    world = World()
    for content in contents:
        world.offer(content)
        world.work(STAGING)
        approve(world)
    return world


def approve(world: World) -> None:
    """What waits for production is approved and brought there."""
    world.work(PRODUCTION)
    world.vote(PRODUCTION)
    world.work(PRODUCTION)


def runs_of(world: World, key: StageKey, release: ReleaseId) -> list[Run]:
    """All runs of a release in a stage, oldest first."""
    return [run for run in world.runs.values() if (run.stage, run.release) == (key, release)]


def live_release(world: World, key: StageKey) -> ReleaseId | None:
    """What the stage runs verified, if its cluster has just that."""
    running, applied = world.running(key), world.stages[key].applied
    if running is None or applied is None or applied.rendered != running.rendered:
        return None
    return running.release


def front(world: World, key: StageKey) -> Run:
    """The front run, which there is."""
    found = world.front_of(key)
    assert found is not None
    return found


def why(run: Run) -> str:
    """Why a run did not succeed."""
    return run.failure.reason if run.failure is not None else ""


def closed_gates(world: World, key: StageKey) -> list[str]:
    """Gates that keep the run in *next* waiting."""
    run, spec = world.next_of(key), world.spec_of(key)
    assert run is not None
    assert spec is not None
    states = evaluate_gates(world.gate_facts(run, spec))
    return [state.name for state in states if isinstance(state.answer, Closed)]


def bring_to_gate(world: World, key: StageKey) -> None:
    """Work on the run in *next* alone, until it waits at its Gate or left it."""
    for _ in (Step.RENDER, Step.VALIDATE, Step.DIFF):
        waiting = world.next_of(key)
        if waiting is None or waiting.step is Step.GATE:
            return
        world.succeed(waiting)
