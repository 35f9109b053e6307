"""Runs hooks: creates them, follows them, stores how they ended, deletes what is to go.

What an object that is found means is decided in `gitopsd.kube.hooks`; this moves data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from gitopsd.cluster_ports import LOCKED_OUT, ApiRefusal
from gitopsd.domain.manifests import Json, JsonObject, RenderedSet
from gitopsd.domain.runs import HOOK_OUTCOME_UNKNOWN, LastLook, RunKind
from gitopsd.domain.work import EvidenceKind, HookRun, HookState
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.hook_pods import HookPods
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.placing import Placed, place_hooks
from gitopsd.engine.refusals import raise_if_temporary, raise_unseen, sentence
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.writing import WritePermit, write_permit
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.hooks import (
    HookAction,
    HookDecision,
    decide_hook,
    ends_by_itself,
    find_hooks,
    make_hook_body,
    name_hook,
    split_waves,
)
from gitopsd.kube.names import (
    FIELD_MANAGER,
    DeletePolicy,
    HookPhase,
    parse_delete_policy,
    parse_hook_idempotent,
)
from gitopsd.kube.objects import is_terminating, uid_of

LONGEST_PAUSE = timedelta(seconds=3)
"""Looks at hooks get rarer while nothing changes, down to one in this time."""

FAILED = "HookFailed"


async def run_hooks(context: StepContext, phase: HookPhase) -> Outcome:
    """Run the hooks of a phase, wave by wave; those of a wave side by side.

    Safe to repeat: see `run_wave`.

    Raises:
        LostError: The rendered set cannot be read any more.
        TemporaryError: The cluster did not answer.
        PermanentError: ``HookOutcomeUnknown``, when a hook is gone and nobody knows how it ended.
        LeaseLostError: The right to write ended; nothing more was sent.
    """
    rendered = await context.load_rendered()
    for _, hooks in split_waves(select_hooks(context, rendered, phase)):
        outcome = await run_wave(context, phase, hooks)
        if not isinstance(outcome, Done):
            return outcome
    return Done()


def select_hooks(
    context: StepContext, rendered: RenderedSet, phase: HookPhase
) -> tuple[JsonObject, ...]:
    """Select the hooks that this run runs in a phase; a Sync runs none."""
    kind = context.run.kind
    if kind is RunKind.SYNC:
        return ()
    return find_hooks(rendered.objects, phase, restoring=kind is RunKind.ROLLBACK)


async def run_wave(context: StepContext, phase: HookPhase, hooks: Sequence[JsonObject]) -> Outcome:
    """Run some hooks side by side until all have ended, or for one slice.

    Safe to repeat: a hook is created once in a run; what was created is found by the run's mark,
    what ended is stored. A hook that failed lets those beside it end before it is told.

    Raises:
        TemporaryError: The cluster did not answer.
        PermanentError: ``HookOutcomeUnknown``, when a hook is gone and nobody knows how it ended.
        LeaseLostError: The right to write ended; nothing more was sent.
    """
    clock, pace = context.services.clock, context.services.pace
    wave = await HookWave.begin(context, phase, hooks)
    pause = pace.look
    while True:
        outcome = await wave.advance()
        if not isinstance(outcome, Waiting) or clock.now() - context.began_at >= pace.slice:
            return outcome
        await clock.sleep(max(pause, outcome.retry_after))
        pause = min(pause * 1.3, LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look saw of one hook.

    Attributes:
        item: The hook.
        live: What bears its name.
        known: What is stored of it.
        decision: What is to be done.
    """

    item: Placed
    live: JsonObject | None
    known: HookRun | None
    decision: HookDecision

    @property
    def ended(self) -> bool:
        return self.decision.action in (HookAction.SUCCEED, HookAction.FAIL)


class HookWave:
    """Hooks of one phase that run side by side.

    Args:
        context: The step.
        phase: The phase.
        placed: The hooks, with their addresses.
    """

    def __init__(self, context: StepContext, phase: HookPhase, placed: Sequence[Placed]) -> None:
        self._context = context
        self._phase = phase
        self._placed = tuple(placed)
        self._cluster = context.cluster()
        self._pods = HookPods(context)

    @classmethod
    async def begin(
        cls, context: StepContext, phase: HookPhase, hooks: Sequence[JsonObject]
    ) -> HookWave:
        """Place some hooks.

        Raises:
            TemporaryError: The server's discovery does not answer.
        """
        placed = await place_hooks(context.cluster(), hooks, context.spec.namespace)
        return cls(context, phase, placed)

    async def advance(self, permit: WritePermit | None = None) -> Outcome:
        """Look at every hook once and do what is to be done now.

        Safe to repeat: see `run_wave`.

        Args:
            permit: The right to write, if the step has taken it already.

        Raises:
            TemporaryError: The cluster did not answer, for the second time in a row.
            PermanentError: ``HookOutcomeUnknown``.
            LeaseLostError: The right to write ended; nothing more was sent.
        """
        try:
            looks = await run_all(self._placed, self._look, patience=self._context.services.clock)
        except TemporaryError as error:
            blind = self._context.run.last_look is LastLook.UNKNOWN
            if blind or error.reason in LOCKED_OUT:
                raise
            rest = max(self._context.services.pace.look, error.retry_after or timedelta(0))
            return Waiting(rest, LastLook.UNKNOWN, message=error.message)
        self._ask_people(looks)
        looks = [
            await self._store_end(look) if look.ended and not _is_stored(look) else look
            for look in looks
        ]
        writes = [look for look in looks if self._is_write(look)]
        if writes and permit is not None:
            await self._write_all(permit, writes)
        elif writes:
            async with write_permit(self._context) as taken:
                await self._write_all(taken, writes)
        return self._conclude(looks)

    def _name(self, item: Placed) -> str:
        return name_hook(item.ref.key, self._phase)

    async def _look(self, item: Placed) -> _Look:
        run, store = self._context.run, self._context.services.store
        name = self._name(item)
        known = await store.read(lambda tx: tx.runs.hook(run.id, name))
        live = await self._cluster.get(item.ref)
        if isinstance(live, ApiRefusal):
            raise_unseen(item.ref, live)
        if not ends_by_itself(item.ref.key):
            done = known is not None and known.state is HookState.SUCCEEDED
            action = HookAction.SUCCEED if done else HookAction.CREATE
            return _Look(item, live, known, HookDecision(action))
        decision = decide_hook(
            live,
            known,
            run=run.id,
            phase=self._phase,
            idempotent=parse_hook_idempotent(item.obj),
        )
        if decision.ours and live is not None and decision.action is HookAction.WAIT:
            decision = await self._pods.judge(live, decision)
        return _Look(item, live, known, decision)

    def _ask_people(self, looks: Sequence[_Look]) -> None:
        for look in looks:
            if look.decision.action is HookAction.ASK:
                key = self._context.run.stage
                message = (
                    f"{self._name(look.item)}: {look.decision.message}. Find out what it did; "
                    f"it runs again with: gitopsd retry {key.application} {key.stage}"
                )
                raise PermanentError(message, reason=HOOK_OUTCOME_UNKNOWN)

    async def _store_end(self, look: _Look) -> _Look:
        """Keep a hook's last words, then its outcome, before its object may go."""
        good = look.decision.action is HookAction.SUCCEED
        words = await self._pods.read_words(look.live) if look.live is not None else []
        message = look.decision.message
        if not good:
            if look.live is not None:
                message = await self._pods.say_failure(look.live, message, words)
            message = message or "it failed"
        state = HookState.SUCCEEDED if good else HookState.FAILED
        uid = uid_of(look.live) if look.live is not None else ""
        content: dict[str, Json] = {
            "hook": str(look.item.ref.key),
            "phase": self._phase.value,
            "uid": uid,
            "state": state.value,
            "message": message,
            "pods": [*words],
        }
        name = self._name(look.item)
        await self._context.keep(EvidenceKind.HOOK, content, key=name)
        stored = HookRun(self._context.run.id, name, uid, state, message)
        await self._save(stored)
        return replace(look, known=stored)

    async def _save(self, hook: HookRun) -> None:
        await self._context.services.store.transact(lambda tx: tx.runs.save_hook(hook))

    def _is_write(self, look: _Look) -> bool:
        action = look.decision.action
        return action in (HookAction.CREATE, HookAction.DELETE) or self._must_go(look)

    def _must_go(self, look: _Look) -> bool:
        """Whether this run's own object is to be deleted now that its outcome is stored."""
        live = look.live
        if not look.ended or not look.decision.ours or live is None or is_terminating(live):
            return False
        policies = parse_delete_policy(look.item.obj)
        good = look.decision.action is HookAction.SUCCEED
        wanted = DeletePolicy.HOOK_SUCCEEDED if good else DeletePolicy.HOOK_FAILED
        return wanted in policies or look.decision.unended

    async def _write_all(self, permit: WritePermit, looks: Sequence[_Look]) -> None:
        async def write(look: _Look) -> None:
            permit.check()
            if look.decision.action is HookAction.CREATE:
                await self._create(look)
            else:
                await self._delete(look)

        await run_all(looks, write)

    async def _create(self, look: _Look) -> None:
        """Create a hook, after storing that it was begun. Safe to repeat: found by its mark."""
        run, name = self._context.run.id, self._name(look.item)
        await self._save(HookRun(run, name, "", HookState.STARTED))
        body = make_hook_body(look.item.obj, run, self._phase)
        lasting = not ends_by_itself(look.item.ref.key)
        answer = await (
            self._cluster.apply(body, manager=FIELD_MANAGER, force=True)
            if lasting
            else self._cluster.create(body)
        )
        if isinstance(answer, ApiRefusal):
            raise_if_temporary(look.item.ref, answer)
            said = sentence(look.item.ref, answer)
            await self._save(HookRun(run, name, "", HookState.FAILED, said))
            return
        state = HookState.SUCCEEDED if lasting else HookState.STARTED
        await self._save(HookRun(run, name, uid_of(answer.live), state))

    async def _delete(self, look: _Look) -> None:
        live = look.live
        if live is None:
            return
        refusal = await self._cluster.delete(
            look.item.ref, uid=uid_of(live), propagation="Foreground"
        )
        if refusal is not None:
            raise_if_temporary(look.item.ref, refusal)
            message = f"the hook's earlier object stays: {sentence(look.item.ref, refusal)}"
            raise TemporaryError(message, reason=refusal.reason)

    def _conclude(self, looks: Sequence[_Look]) -> Outcome:
        waiting = [look for look in looks if not look.ended]
        if waiting:
            told = waiting[0]
            ours = all(look.decision.ours for look in waiting)
            message = f"{self._name(told.item)}: {told.decision.message or 'it is being created'}"
            look = LastLook.NOT_HEALTHY if ours else LastLook.UNKNOWN
            return Waiting(timedelta(0), look, self._context.run.cursor, message)
        failed = [look for look in looks if look.decision.action is HookAction.FAIL]
        if failed:
            return Verdict(FAILED, "; ".join(self._say_failed(look) for look in failed))
        return Done()

    def _say_failed(self, look: _Look) -> str:
        said = look.known.message if look.known is not None else ""
        return f"{look.item.ref.key} ({self._phase.value} hook): {said or look.decision.message}"


def _is_stored(look: _Look) -> bool:
    return look.known is not None and look.known.state is not HookState.STARTED
