"""Begins to read what a restore replaces while the verdict that calls for it is being stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from gitopsd.domain.runs import Run, RunKind
from gitopsd.engine.following import Following
from gitopsd.engine.inventories import destination_words
from gitopsd.engine.live_objects import ReadAhead
from gitopsd.engine.live_state import begin_ahead
from gitopsd.engine.step_context import StepContext
from gitopsd.pipeline.events import Event, StepFailed


def calls_for_restore(run: Run, event: Event) -> bool:
    """Whether what came of a step will most likely have its run's target restored.

    Only the transaction that stores it decides; to be wrong costs a few requests.
    """
    target = run.restore_target
    return (
        isinstance(event, StepFailed)
        and not event.unwritten
        and run.kind is RunKind.ROLLOUT
        and run.mutated
        and target is not None
        and target.rendered != run.rendered
    )


@dataclass(slots=True)
class Ahead:
    """What a restore replaces, read for nobody yet.

    Attributes:
        context: The step that failed.
        begun: The reading; None when there is none, or when it is somebody else's.
    """

    context: StepContext
    begun: ReadAhead | None

    def hand_on(self, following: Following | None) -> Following | None:
        """Give the reading to the restore that follows, where that writes to the same place."""
        ahead, restore = self.begun, following.context if following is not None else None
        if following is None or restore is None or ahead is None or not following.restores:
            return following
        if _place_of(restore) != _place_of(self.context):
            return following
        self.begun = None
        return replace(following, context=replace(restore, ahead=ahead))


def _place_of(context: StepContext) -> tuple[str, str]:
    return context.spec.cluster, destination_words(context)


@asynccontextmanager
async def reading_ahead(context: StepContext, event: Event) -> AsyncIterator[Ahead]:
    """Read what a restore replaces beside the block, where it will most likely begin with it.

    What is not handed on by its end is thrown away.

    Safe to repeat: it only reads.
    """
    begun = begin_ahead(context) if calls_for_restore(context.run, event) else None
    ahead = Ahead(context, begun)
    try:
        yield ahead
    finally:
        if ahead.begun is not None:
            await ahead.begun.stop()
