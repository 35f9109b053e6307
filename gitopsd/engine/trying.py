"""Asks the server, before a stage of an Apply is written, what it says to the objects of the set.

What is denied, and what a quota has no room for, ends the run before anything beside it is written.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from gitopsd.cluster_ports import ApiRefusal, AppliedObject, Cluster
from gitopsd.domain.manifests import ChangeAction, JsonObject
from gitopsd.engine.applying import Refused, find_trusted
from gitopsd.engine.assessment import identity_of_placed, try_object
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.hook_checks import assess_hooks
from gitopsd.engine.outcomes import Verdict
from gitopsd.engine.past import Past, load_past
from gitopsd.engine.placing import Placed, place_hooks, place_objects
from gitopsd.engine.quota_checks import refuse_by_quotas, wish_of
from gitopsd.engine.refusals import (
    is_account_coming,
    raise_if_temporary,
    reason_of,
    sentence,
    status_of,
)
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.field_managers import find_scaled
from gitopsd.kube.hooks import name_hook
from gitopsd.kube.names import ApplyMode, HookPhase
from gitopsd.kube.quotas import Wish
from gitopsd.kube.statuses import StatusKind, classify

_DENIALS = (StatusKind.DENIED, StatusKind.FORBIDDEN, StatusKind.QUOTA, StatusKind.UNKNOWN_FIELD)
"""Refusals that a write would meet as well, whatever is written beside it."""


class Trials:
    """What the server says to the objects of one set before they are written.

    Args:
        context: The step.
        cluster: The cluster, as the stage's identity.
        placed: The whole set.
        past: What is known of it.

    Attributes:
        untried: Objects that nobody has tried yet, by identity.
    """

    def __init__(
        self, context: StepContext, cluster: Cluster, placed: Sequence[Placed], past: Past
    ) -> None:
        self.untried = set(past.untried)
        self._clock = context.services.clock
        self._cluster = cluster
        self._placed = placed
        self._seen = past.seen
        self._scaled = find_scaled(item.obj for item in placed)
        self._new = {name for name, seen in past.seen.items() if not seen.version}
        self._wishes: dict[str, Wish] = {}

    async def run_again(self) -> Verdict | None:
        """Try everything again that would be written, before anything is.

        Safe to repeat: dry-runs change nothing.

        Returns:
            Why nothing may be written; None when it may.

        Raises:
            TemporaryError: The cluster did not answer.
        """
        items = [item for item in self._placed if item.served and not self._is_clean(item)]
        return await self.run(items, ())

    def _is_clean(self, item: Placed) -> bool:
        seen = find_trusted(self._seen, item, scaled=item.ref.key in self._scaled)
        return seen is not None and seen.action is ChangeAction.UNCHANGED

    async def run(self, items: Sequence[Placed], sent: Container[str]) -> Verdict | None:
        """Try objects, and add up what all new ones take.

        What is refused because of something that is still missing is not denied; it may be tried
        again when that is there. Safe to repeat: dry-runs change nothing.

        Args:
            items: What is tried.
            sent: What of the set was sent already, by identity.

        Returns:
            Why nothing may be written; None when it may.

        Raises:
            TemporaryError: The cluster did not answer.
        """
        found = await run_all(items, self._try, patience=self._clock)
        refused = [one for one in found if one is not None]
        if refused:
            return Verdict(refused[0].reason, say_all(refused))
        wishes = [
            self._wishes.get(name) or wish_of(item, item.obj)
            for item in self._placed
            if (name := identity_of_placed(item)) not in sent and name in self._new
        ]
        over = await refuse_by_quotas(self._cluster, self._placed, wishes, self._clock)
        return Verdict(*over) if over is not None else None

    async def _try(self, item: Placed) -> Refused | None:
        if item.mode is ApplyMode.IGNORE:
            return None
        name, scaled = identity_of_placed(item), item.ref.key in self._scaled
        tried = await try_object(self._cluster, item, scaled=scaled)
        if isinstance(tried, ApiRefusal):
            return _denied(item, tried)
        self.untried.discard(name)
        self._new.discard(name)
        if isinstance(tried, AppliedObject) and tried.created:
            self._new.add(name)
            self._wishes[name] = wish_of(item, tried.live)
        return None


async def try_before_hooks(
    context: StepContext, objects: Sequence[JsonObject], hooks: Sequence[JsonObject]
) -> Verdict | None:
    """Try a set and its hooks once more before the first hook runs, if it was tried long ago.

    Once a hook was begun it goes on, whatever would be denied by now: it is never interrupted.
    Safe to repeat: dry-runs change nothing.

    Args:
        context: The step.
        objects: The rendered set.
        hooks: Those of its hooks that run before anything is applied.

    Returns:
        Why nothing may begin; None when it may.

    Raises:
        TemporaryError: The cluster did not answer.
    """
    cluster, namespace = context.cluster(), context.spec.namespace
    placed = await place_objects(cluster, objects, namespace)
    past = await load_past(context, placed)
    if not past.stale or await _has_begun(context, await place_hooks(cluster, hooks, namespace)):
        return None
    for hook in await assess_hooks(context, cluster, objects, placed):
        if hook.refusal is not None:
            return Verdict(*hook.refusal)
    return await Trials(context, cluster, placed, past).run_again()


async def _has_begun(context: StepContext, hooks: Sequence[Placed]) -> bool:
    names = [name_hook(hook.ref.key, HookPhase.PRE_SYNC) for hook in hooks]
    return await context.services.store.read(
        lambda tx: any(tx.runs.hook(context.run.id, name) is not None for name in names)
    )


def _denied(item: Placed, refusal: ApiRefusal) -> Refused | None:
    if classify(status_of(refusal)) not in _DENIALS or is_account_coming(refusal):
        return None
    raise_if_temporary(item.ref, refusal)
    return Refused(reason_of(refusal), sentence(item.ref, refusal))


def say_all(refused: Sequence[Refused]) -> str:
    """Say what was refused first, and how much besides."""
    more = f"; and {len(refused) - 1} more" if len(refused) > 1 else ""
    return f"{refused[0].message}{more}"
