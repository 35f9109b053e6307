"""Apply: server-side apply by stage and wave; objects that are known clean are not sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta

from gitopsd.cluster_ports import (
    ApiRefusal,
    Cluster,
)
from gitopsd.domain.manifests import Inventory, InventoryEntry, Json, JsonObject, ObjectKey
from gitopsd.domain.runs import RunKind
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.applying import Refused, Sent, Writer
from gitopsd.engine.assessment import identity_of_placed
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.hooks import select_hooks
from gitopsd.engine.leaving import group_looks, leave_group
from gitopsd.engine.live_state import LiveReading, reading_live_state, take_handed
from gitopsd.engine.looking import AppliedPart
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.past import Past, load_past
from gitopsd.engine.placing import Placed, find_defined, place_objects
from gitopsd.engine.promises import promise_of_wave, tell_time
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.trying import Trials, say_all
from gitopsd.engine.waves import end_wave
from gitopsd.engine.writing import WritePermit, write_permit
from gitopsd.errors import GitopsdError
from gitopsd.kube.field_managers import find_scaled
from gitopsd.kube.findings import Applied
from gitopsd.kube.hooks import split_waves
from gitopsd.kube.inventory import union
from gitopsd.kube.names import ApplyMode, HookPhase
from gitopsd.kube.objects import condition_true, is_terminating, string_at
from gitopsd.kube.ordering import DEFINITIONS_STAGE, REST_STAGE, apply_batches, split_tiers
from gitopsd.pipeline.steps import WaveTime

READY_LOOKS = 60
"""Looks for definitions and namespaces to be ready before what needs them."""

READY_PAUSE = timedelta(milliseconds=100)
READY_LONGEST_PAUSE = timedelta(milliseconds=500)
AGAIN = timedelta(seconds=1)


async def run_apply(context: StepContext) -> Outcome:
    """Apply the run's set, wave by wave and tier by tier, under the stage's lease and fence.

    A wave is over when its Sync hooks have ended and, before another one, its objects are healthy.

    Safe to repeat: applying the same bytes again changes nothing; a crash in the middle leaves
    objects that the inventory already names. What this run sent before is not sent again.

    Raises:
        TemporaryError: The cluster did not answer.
        PermanentError: ``HookOutcomeUnknown``, when a hook is gone without a result.
        LeaseLostError: The right to write ended; nothing more was sent.
    """
    rendered = await context.load_rendered()
    cluster = context.cluster()
    placed = await place_objects(cluster, rendered.objects, context.spec.namespace)
    hooks = select_hooks(context, rendered, HookPhase.SYNC)
    waves = _waves(placed, hooks)
    ours = [item.ref for item in placed if item.mode is not ApplyMode.IGNORE]
    past = await load_past(context, placed)
    trials = Trials(context, cluster, placed, past)
    not_yet = await trials.run_again(rendered.objects, HookPhase.SYNC)
    if not_yet is not None:
        return not_yet
    async with (
        _reading(context, past) as reading,
        write_permit(context, ours, reading.along() if reading is not None else None) as permit,
    ):
        handed = await reading.keep() if reading is not None else take_handed(context)
        if handed:
            waves = _waves(placed, hooks, _standing(handed))
        scaled = find_scaled(item.obj for item in placed)
        writer = Writer(context, cluster, permit, past.seen, scaled, handed)
        work = _Work(writer, permit, past.sent, trials)
        try:
            outcome = await work.run(placed, waves)
        except BaseException:
            with suppress(GitopsdError):  # what went wrong first is what is told
                await work.keep()
            raise
        await work.keep()
        if isinstance(outcome, Done):
            await permit.save_inventory(_entries(permit.inventory, tuple(work.sent.values())))
    return tell_time(context, outcome, _promises(context, waves))


def _reading(
    context: StepContext, past: Past
) -> AbstractAsyncContextManager[LiveReading | None, bool | None]:
    """Read what a Rollback replaces, and is to keep before it writes, if nobody kept it.

    It reads while the right to write is taken.
    """
    if context.run.kind is not RunKind.ROLLBACK or past.kept or past.sent:
        return nullcontext()
    return reading_live_state(context)


class _Work:
    """One execution of Apply.

    Args:
        writer: Writes single objects.
        permit: The right to write.
        sent: What was sent before.
        trials: What the server says before anything is written.

    Attributes:
        sent: What became of each object so far, by identity.
    """

    def __init__(
        self, writer: Writer, permit: WritePermit, sent: Mapping[str, Sent], trials: Trials
    ) -> None:
        self.sent = dict(sent)
        self._writer = writer
        self._trials = trials
        self._permit = permit
        self._context = writer.context
        self._refused: dict[str, Refused] = {}
        self._kept = len(sent)

    async def run(self, placed: tuple[Placed, ...], waves: Sequence[_Wave]) -> Outcome:
        """Send everything that is still to be sent."""
        await self._leave_clean(waves)
        stage = DEFINITIONS_STAGE
        for number, wave in enumerate(waves):
            last = number + 1 == len(waves)
            if wave.stage > stage:
                not_yet = await self._try_untried(waves[number:], placed, f"stage {wave.stage}")
                if not_yet is not None:
                    return not_yet
                stage = wave.stage
            for tier in wave.tiers:
                stopped = await self._send_tier(tier, placed)
                if stopped is not None:
                    return stopped
                if not (last and tier is wave.tiers[-1]) and self._time_is_up():
                    done = f"{len(self.sent)} of {len(placed)} applied"
                    return Waiting(timedelta(0), message=done)
            if wave.hooks or not (last or wave.is_foundation):
                awaited = None if last or wave.is_foundation else self._applied(wave)
                ended = await end_wave(self._permit, wave.number, wave.hooks, awaited)
                if not isinstance(ended, Done):
                    return ended
        return Done()

    async def _try_untried(
        self, waves: Sequence[_Wave], placed: tuple[Placed, ...], moment: str
    ) -> Waiting | Verdict | None:
        """Dry-run what Validate could not, once what it needs is there.

        So that what is denied ends the run before anything of its stage is written. A Rollback,
        which nobody validated, restores what it can.
        """
        untried = [
            item
            for wave in waves
            for tier in wave.tiers
            for item in tier
            if identity_of_placed(item) in self._trials.untried
            and identity_of_placed(item) not in self.sent
        ]
        if not untried:
            return None
        ready = await self._await_kinds(tuple(untried), placed)
        if isinstance(ready, Waiting):
            return ready
        return await self._trials.run(ready, self.sent, moment)

    def _applied(self, wave: _Wave) -> AppliedPart:
        """Tell what was applied of a wave's objects."""
        items = [item for tier in wave.tiers for item in tier]
        sent = {identity_of_placed(item): self.sent[identity_of_placed(item)] for item in items}
        applied = {name: Applied(item.generation, item.at) for name, item in sent.items()}
        return AppliedPart(tuple(item.obj for item in items), applied)

    async def _send_tier(
        self, tier: tuple[Placed, ...], placed: tuple[Placed, ...]
    ) -> Outcome | None:
        """Send the objects of a tier; says why nothing more may follow, None when it may."""
        ready = await self._await_kinds(tier, placed)
        if isinstance(ready, Waiting):
            return ready
        results = await run_all(ready, self._send, patience=self._context.services.clock)
        refused = [found for found in results if isinstance(found, Refused)]
        if refused:
            return Verdict(refused[0].reason, say_all(refused))
        return await self._await_foundations(tier)

    async def _leave_clean(self, waves: Sequence[_Wave]) -> None:
        """Look at everything that is to be left alone, beside the first tier that is written.

        It is looked at under this permit's fence: an older owner can write no more. What turns out
        not to be clean is sent with its own tier. Nothing of a later wave is written beside it, and
        nothing at all while there is something to be tried first.
        """
        tiers = [tier for wave in waves for tier in wave.tiers]
        first_wave = next((n for n, wave in enumerate(waves) if not wave.is_foundation), 0)
        early = {
            id(item) for wave in waves[: first_wave + 1] for tier in wave.tiers for item in tier
        }
        clean = {
            identity_of_placed(item)
            for tier in tiers
            for item in tier
            if identity_of_placed(item) not in self.sent and self._writer.seems_clean(item)
        }

        async def do(item: Placed | tuple[Placed, ...]) -> None:
            if isinstance(item, Placed):
                await self._send(item)
                return
            for left in await leave_group(self._writer, item):
                self.sent[identity_of_placed(left.placed)] = left

        dirty = [[item for item in tier if identity_of_placed(item) not in clean] for tier in tiers]
        first = next((tier for tier in dirty if tier), [])
        alone = self._trials.untried or not all(item.served and id(item) in early for item in first)
        beside = [] if alone else first
        looked_at = [item for tier in tiers for item in tier if identity_of_placed(item) in clean]
        if looked_at:
            work: list[Placed | tuple[Placed, ...]] = [*group_looks(looked_at), *beside]
            await run_all(work, do, patience=self._context.services.clock)

    async def _send(self, item: Placed) -> Sent | Refused:
        identity = identity_of_placed(item)
        known = self.sent.get(identity) or self._refused.get(identity)
        if known is not None:
            return known
        result = await self._writer.apply(item)
        if isinstance(result, Sent):
            self.sent[identity] = result
        else:
            self._refused[identity] = result
        return result

    def _time_is_up(self) -> bool:
        services = self._context.services
        return services.clock.now() - self._context.began_at >= services.pace.slice

    async def _await_kinds(
        self, tier: tuple[Placed, ...], placed: tuple[Placed, ...]
    ) -> tuple[Placed, ...] | Waiting:
        """Place objects anew whose kind an earlier tier has just defined, once it is served.

        A definition is established a moment before its kind is.
        """
        if all(item.served for item in tier):
            return tier
        own = find_defined(item.obj for item in placed)
        cluster, namespace = self._writer.cluster, self._context.spec.namespace
        found = tier
        for look in range(READY_LOOKS):
            found = await place_objects(cluster, (item.obj for item in tier), namespace)
            late = [
                item
                for item in found
                if not item.served and (item.ref.key.group, item.ref.key.kind) in own
            ]
            if not late:
                return found
            cluster.forget_kinds()
            await self._pause(look)
        names = ", ".join(sorted({item.ref.key.kind for item in found if not item.served}))
        return Waiting(AGAIN, message=f"the server does not serve {names} yet")

    async def _await_foundations(self, tier: tuple[Placed, ...]) -> Waiting | None:
        """Wait for definitions to be established and namespaces active before the next tier."""
        waiting = [item for item in tier if self._is_new_foundation(item)]
        if any(item.ref.key.kind == "CustomResourceDefinition" for item in waiting):
            self._writer.cluster.forget_kinds()
        for look in range(READY_LOOKS):
            if look:
                await self._pause(look - 1)
                waiting = [
                    item for item in waiting if not await _is_ready(self._writer.cluster, item)
                ]
            if not waiting:
                return None
        return Waiting(AGAIN, message=f"{waiting[0].ref.key} is not ready yet")

    def _is_new_foundation(self, item: Placed) -> bool:
        sent = self.sent[identity_of_placed(item)]
        foundation = item.ref.key.kind in ("CustomResourceDefinition", "Namespace")
        return foundation and sent.written and not _says_ready(item, sent.live)

    async def _pause(self, look: int) -> None:
        pause = min(READY_PAUSE * (look + 1), READY_LONGEST_PAUSE)
        await self._context.services.clock.sleep(pause)

    async def keep(self) -> None:
        """Keep what was sent with the run, for health and for the next execution."""
        if len(self.sent) == self._kept:
            return
        objects: list[Json] = [item.describe() for item in self.sent.values()]
        await self._context.keep(EvidenceKind.HEALTH, {"applied": objects}, key="applied")


@dataclass(frozen=True, slots=True)
class _Wave:
    """Objects that are sent before any of the next wave.

    Attributes:
        number: The sync wave.
        stage: The apply stage.
        tiers: The objects; those of a tier are sent at once.
        hooks: Sync hooks that run beside them.
    """

    number: int
    stage: int = REST_STAGE
    tiers: tuple[tuple[Placed, ...], ...] = ()
    hooks: tuple[JsonObject, ...] = ()

    @property
    def is_foundation(self) -> bool:
        """Whether these are definitions, or what others name: they come before any wave."""
        return self.stage < REST_STAGE


def _standing(handed: Mapping[ObjectKey, JsonObject]) -> frozenset[ObjectKey]:
    """Tell which of the objects that were just read are there to stay."""
    return frozenset(key for key, live in handed.items() if not is_terminating(live))


def _waves(
    placed: tuple[Placed, ...],
    hooks: tuple[JsonObject, ...],
    standing: Collection[ObjectKey] = (),
) -> list[_Wave]:
    """Split a set into waves; definitions and what others name go before all of them."""
    by_identity = {id(item.obj): item for item in placed}
    beside = dict(split_waves(hooks))
    foundations, waves = [], {wave: _Wave(wave, hooks=found) for wave, found in beside.items()}
    for batch in apply_batches(item.obj for item in placed):
        tiers = tuple(
            tuple(by_identity[id(obj)] for obj in tier)
            for tier in split_tiers(batch.objects, standing)
        )
        if batch.stage < REST_STAGE:
            foundations.append(_Wave(batch.wave, batch.stage, tiers))
        else:
            waves[batch.wave] = _Wave(batch.wave, tiers=tiers, hooks=beside.get(batch.wave, ()))
    return [*foundations, *(waves[number] for number in sorted(waves))]


def _promises(context: StepContext, waves: Sequence[_Wave]) -> list[WaveTime]:
    """Tell what waves were promised; WaitHealthy takes care of the objects of the last."""
    return [
        promise_of_wave(context, wave.hooks, awaited=wave is not waves[-1])
        for wave in waves
        if not wave.is_foundation
    ]


async def _is_ready(cluster: Cluster, item: Placed) -> bool:
    live = await cluster.get(item.ref)
    return live is not None and not isinstance(live, ApiRefusal) and _says_ready(item, live)


def _says_ready(item: Placed, live: Mapping[str, Json]) -> bool:
    if item.ref.key.kind == "Namespace":
        return string_at(live, "status", "phase") == "Active"
    return condition_true(live, "Established") is not None


def _entries(inventory: Inventory, sent: Sequence[Sent]) -> tuple[InventoryEntry, ...]:
    fresh = [InventoryEntry(item.placed.ref, item.uid, item.digest) for item in sent if item.uid]
    keys = {entry.ref.key for entry in fresh}
    others = [entry for entry in inventory.entries if entry.ref.key not in keys]
    return union(others, fresh)
