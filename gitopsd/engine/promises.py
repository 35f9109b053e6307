"""Tells the machine how long a step may last, from what its waves and hooks were promised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import RunKind
from gitopsd.engine.outcomes import Outcome, Waiting
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.hooks import find_own_times, split_waves
from gitopsd.pipeline.steps import WaveTime, compute_promised, timeouts_for


def promise_of_hooks(hooks: Iterable[JsonObject]) -> tuple[WaveTime, ...]:
    """Read what the hooks of a phase are promised, wave by wave."""
    return tuple(WaveTime(find_own_times(beside)) for _, beside in split_waves(hooks))


def promise_of_wave(
    context: StepContext, hooks: Sequence[JsonObject], *, awaited: bool
) -> WaveTime:
    """Read what a wave of Apply is promised.

    Args:
        context: The step.
        hooks: Its Sync hooks.
        awaited: Whether its objects have to be healthy before the next wave.
    """
    restores = context.run.kind is RunKind.ROLLBACK
    health = context.spec.rollback_deadline if restores else context.spec.health_timeout
    return WaveTime(find_own_times(hooks), health if awaited else None)


def tell_time(context: StepContext, outcome: Outcome, waves: Sequence[WaveTime]) -> Outcome:
    """Say with what a step waits for how long it may last; any other outcome stays as it is.

    The number depends on nothing but the set and the stage's configuration.
    """
    if not isinstance(outcome, Waiting) or not waves:
        return outcome
    configured = dict(timeouts_for(context.spec, context.run.kind))[context.step]
    return replace(outcome, lasts=compute_promised(context.step, configured, waves))
