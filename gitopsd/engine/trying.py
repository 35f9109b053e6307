"""Asks the server, before a stage of an Apply is written, what it says to the objects of the set.

What is denied, and what a quota has no room for, ends the run before anything beside it is written.
A large set is tried over several executions; what was answered is kept with the run.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from gitopsd.cluster_ports import ApiRefusal, Cluster
from gitopsd.domain.manifests import ChangeAction, JsonObject
from gitopsd.engine.applying import Refused, find_trusted
from gitopsd.engine.assessment import identity_of_placed, try_object
from gitopsd.engine.fan_out import IN_FLIGHT, run_all
from gitopsd.engine.hook_checks import assess_hooks
from gitopsd.engine.outcomes import Verdict, Waiting
from gitopsd.engine.past import Past
from gitopsd.engine.placing import Placed, place_hooks
from gitopsd.engine.quota_checks import refuse_by_quotas, wish_of
from gitopsd.engine.refusals import (
    is_account_coming,
    raise_if_temporary,
    reason_of,
    sentence,
    status_of,
)
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.tried import KEY, KIND
from gitopsd.errors import GitopsdError
from gitopsd.kube.field_managers import find_scaled
from gitopsd.kube.hooks import find_hooks, name_hook
from gitopsd.kube.names import ApplyMode, HookPhase, parse_hook_phases
from gitopsd.kube.quotas import Wish
from gitopsd.kube.statuses import StatusKind, classify

_DENIALS = (StatusKind.DENIED, StatusKind.FORBIDDEN, StatusKind.QUOTA, StatusKind.UNKNOWN_FIELD)
"""Refusals that a write would meet as well, whatever is written beside it."""

BATCH = 2 * IN_FLIGHT
"""Objects that are tried before it is asked whether this execution has time for more."""


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
        self._context = context
        self._clock = context.services.clock
        self._cluster = cluster
        self._placed = placed
        self._past = past
        self._scaled = find_scaled(item.obj for item in placed)
        self._tried = past.tried
        self._asked, self._accepted = set(past.tried.asked), dict(past.tried.accepted)

    async def run_again(
        self, objects: Sequence[JsonObject], phase: HookPhase
    ) -> Verdict | Waiting | None:
        """Try everything again that would be written, before anything is, if that is long ago.

        Once a hook was begun it goes on, whatever would be denied by now: it is never interrupted.
        Safe to repeat: dry-runs change nothing, and what was answered is not asked again.

        Args:
            objects: The rendered set, with its hooks.
            phase: Whose hooks are the next to run.

        Returns:
            Why nothing may be written, or that more is to be tried; None when it may.

        Raises:
            TemporaryError: The cluster did not answer.
        """
        if not self._past.stale or await self._has_begun(find_hooks(objects, phase), phase):
            return None
        if not self._tried.hooks:
            done = {HookPhase.PRE_SYNC} if phase is HookPhase.SYNC else set()
            ahead = [obj for obj in objects if not done.issuperset(parse_hook_phases(obj))]
            for hook in await assess_hooks(self._context, self._cluster, ahead, self._placed):
                if hook.refusal is not None:
                    return Verdict(*hook.refusal)
            self._tried = replace(self._tried, hooks=True, at=self._clock.now())
        items = [item for item in self._placed if item.served and not self._is_clean(item)]
        outcome = await self._run(items, (), "again")
        if outcome is not None:
            return outcome
        self._tried = replace(self._tried, complete=True, at=self._clock.now())
        await self._keep()
        return self._rest(len(items), len(items))

    def _is_clean(self, item: Placed) -> bool:
        seen = find_trusted(self._past.seen, item, scaled=item.ref.key in self._scaled)
        return seen is not None and seen.action is ChangeAction.UNCHANGED

    async def _has_begun(self, hooks: Sequence[JsonObject], phase: HookPhase) -> bool:
        placed = await place_hooks(self._cluster, hooks, self._context.spec.namespace)
        names, run = [name_hook(hook.ref.key, phase) for hook in placed], self._context.run.id
        return await self._context.services.store.read(
            lambda tx: any(tx.runs.hook(run, name) is not None for name in names)
        )

    async def run(
        self, items: Sequence[Placed], sent: Container[str], moment: str
    ) -> Verdict | Waiting | None:
        """Try objects, and add up what all new ones take.

        What is refused because of something that is still missing is not denied; it may be tried
        again when that is there. Safe to repeat: dry-runs change nothing.

        Args:
            items: What is tried.
            sent: What of the set was sent already, by identity.
            moment: When, in a word: what was asked in the same one is not asked again.

        Returns:
            Why nothing may be written, or that more is to be tried; None when it may.

        Raises:
            TemporaryError: The cluster did not answer.
        """
        outcome = await self._run(items, sent, moment)
        if outcome is None:
            await self._keep()
        return outcome

    async def _run(
        self, items: Sequence[Placed], sent: Container[str], moment: str
    ) -> Verdict | Waiting | None:
        left = [item for item in items if _name(item, moment) not in self._asked]

        async def ask(item: Placed) -> Refused | None:
            return await self._try(item, moment)

        try:
            for batch in _batches(left):
                found = await run_all(batch, ask, patience=self._clock)
                refused = [one for one in found if one is not None]
                if refused:
                    return Verdict(refused[0].reason, say_all(refused))
                done = sum(_name(item, moment) in self._asked for item in items)
                resting = self._rest(done, len(items)) if done < len(items) else None
                if resting is not None:
                    await self._keep()
                    return resting
        except BaseException:
            with suppress(GitopsdError):  # what went wrong first is what is told
                await self._keep()
            raise
        wishes = [
            Wish(item.ref.key, needs) if needs is not None else wish_of(item, item.obj)
            for item in self._placed
            if (name := identity_of_placed(item)) not in sent and self._is_new(name)
            for needs in (self._accepted.get(name),)
        ]
        over = await refuse_by_quotas(self._cluster, self._placed, wishes, self._clock)
        return Verdict(*over) if over is not None else None

    def _is_new(self, name: str) -> bool:
        if name in self._accepted:
            return self._accepted[name] is not None
        seen = self._past.seen.get(name)
        return seen is not None and not seen.version

    def _rest(self, done: int, count: int) -> Waiting | None:
        """Leave the rest to the next execution when the time of this one is over."""
        if not self._context.is_time_up():
            return None
        return Waiting(timedelta(0), message=f"{done} of {count} tried again")

    async def _keep(self) -> None:
        tried = replace(self._tried, asked=frozenset(self._asked), accepted=self._accepted)
        await self._context.keep(KIND, tried.describe(), key=KEY)

    async def _try(self, item: Placed, moment: str) -> Refused | None:
        asked = _name(item, moment)
        if item.mode is ApplyMode.IGNORE:
            self._asked.add(asked)
            return None
        name, scaled = identity_of_placed(item), item.ref.key in self._scaled
        tried = await try_object(self._cluster, item, scaled=scaled)
        denied = _denied(item, tried) if isinstance(tried, ApiRefusal) else None
        self._asked.add(asked)
        self._tried = replace(self._tried, at=self._clock.now())
        if isinstance(tried, ApiRefusal):
            return denied
        self.untried.discard(name)
        made = tried if tried is not None and tried.created else None
        self._accepted[name] = wish_of(item, made.live).needs if made is not None else None
        return None


def _name(item: Placed, moment: str) -> str:
    return f"{moment} {identity_of_placed(item)}"


def _batches(items: Sequence[Placed]) -> Iterator[Sequence[Placed]]:
    for first in range(0, len(items), BATCH):
        yield items[first : first + BATCH]


def _denied(item: Placed, refusal: ApiRefusal) -> Refused | None:
    if classify(status_of(refusal)) not in _DENIALS or is_account_coming(refusal):
        return None
    raise_if_temporary(item.ref, refusal)
    return Refused(reason_of(refusal), sentence(item.ref, refusal))


def say_all(refused: Sequence[Refused]) -> str:
    """Say what was refused first, and how much besides."""
    more = f"; and {len(refused) - 1} more" if len(refused) > 1 else ""
    return f"{refused[0].message}{more}"
