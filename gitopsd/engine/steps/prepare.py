"""Prepare: what has to run before anything is applied."""

from __future__ import annotations

from gitopsd.engine.outcomes import Done, Outcome, Verdict
from gitopsd.engine.placing import list_hooks
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.objects import parse_ref


async def run_prepare(context: StepContext) -> Outcome:
    """Have nothing to do: hooks are not run yet, and Apply takes the stage for itself.

    Safe to repeat: it writes nothing.

    Raises:
        LostError: The rendered set cannot be read any more.
    """
    rendered = await context.load_rendered()
    for obj, phases in list_hooks(rendered.objects):
        message = f"{parse_ref(obj).key} is a {phases[0].value} hook; hooks are not run yet"
        return Verdict("HooksNotSupported", message)
    return Done()
