"""Prepare: the fence is taken and the inventory names everything that may soon exist."""

from __future__ import annotations

from gitopsd.engine.outcomes import Done, Outcome
from gitopsd.engine.placing import place_objects
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.writing import write_permit


async def run_prepare(context: StepContext) -> Outcome:
    """Claim the stage and write old united with new into the inventory before anything applies.

    Safe to repeat: the union of the same sets is the same; a higher fence is taken each time.

    Raises:
        TemporaryError: The cluster does not answer, or another owner writes.
        LeaseLostError: Another owner was first.
    """
    rendered = await context.load_rendered()
    cluster = context.cluster()
    placed = await place_objects(cluster, rendered.objects, context.spec.namespace)
    async with write_permit(context, (item.ref for item in placed)):
        return Done()
