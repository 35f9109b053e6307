"""A model of the whole service around the pure pipeline: two stages, their runs, their slots.

Everything lives in plain dictionaries and nothing happens between two calls, so any call can stand
for the first one after a crash. The rules are gitopsd's own functions; the model only stores,
hands out commands and takes outcomes, zero, one or two times.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.config import ApplicationSpec, GitSource, StageSpec
from gitopsd.domain.gates import Decision, Vote
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import (
    Offer,
    OfferKind,
    ReleaseId,
    StageKey,
)
from gitopsd.domain.runs import (
    AbortReason,
    CommandId,
    LastLook,
    Run,
    RunId,
    RunKind,
    Step,
)
from gitopsd.domain.sources import RepoURL
from gitopsd.domain.stages import Condition, Freeze, Stage, StageRendering
from gitopsd.pipeline.apply_hold import PREPARED, evaluate_before_apply, is_held_before_apply
from gitopsd.pipeline.commands import (
    MarkStalled,
    StartRollback,
    StoreQuarantine,
)
from gitopsd.pipeline.events import (
    AbortRequested,
    ClockStopped,
    DeadlineReached,
    RollbackRequested,
    StepErrored,
    StepFailed,
    StepPending,
    StepSucceeded,
)
from gitopsd.pipeline.facts import WatchFacts
from gitopsd.pipeline.gates import all_open
from gitopsd.pipeline.machine import Transition
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.pipeline.rollback import (
    RestoreRefusal,
    WatchDecision,
    choose_manual_target,
    decide_watch_failure,
)
from gitopsd.pipeline.table import is_closing
from tests.support.pipeline_engine import Engine
from tests.support.pipeline_state import LINE, SHOP, STAGES, Content, destination_of


class World(Engine):
    """The people, the sources and the work, as far as the pipeline sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.read_file(STAGES)

    # ---------------------------------------------------------------- what people and sources do

    def read_file(self, stages: tuple[StageSpec, ...]) -> None:
        """A valid application file is there; stages that it lacks are retired when free."""
        source = GitSource(RepoURL("https://git.example.test/shop.git"), LINE.ref)
        revision = len(self.files) + 1
        self.file = ApplicationSpec(SHOP, {}, source, stages, revision=revision)
        self.files[revision] = self.file
        for spec in stages:
            key, place = StageKey(SHOP, spec.name), destination_of(spec)
            stage = self.stages.get(key, Stage(key, destination=place))
            if stage.destination != place:
                stage = replace(stage, destination=place, applied=None, verified=None)
            self.put(stage)
        self.settle()

    def offer(self, content: Content, kind: OfferKind = OfferKind.ADVANCED) -> ReleaseId:
        """A source makes a new release of this content the head of the line."""
        release = ReleaseId(f"r-{len(self.contents) + 1}")
        self.contents[release] = content
        return self.offer_again(release, kind)

    def offer_again(self, release: ReleaseId, kind: OfferKind = OfferKind.REWOUND) -> ReleaseId:
        """A source makes a release that is known already the head of the line."""
        number = self.offers[-1].number + 1 if self.offers else 1
        self.offers = [offer for offer in self.offers if offer.release != release]
        self.offers.append(Offer(number, LINE, release, self.now, kind))
        self.settle()
        return release

    def vote(self, key: StageKey, decision: Decision = Decision.APPROVE) -> bool:
        """A release manager votes on the plan of the run in *next*; False when there is none."""
        run = self.next_of(key)
        if run is None or run.plan is None:
            return False
        number = f"vote-{len(self.votes) + 1}"
        groups = ("managers",)
        vote = Vote(number, run.id, run.plan, "maria", groups, decision, "", self.now)
        self.votes.append(vote)
        self.settle()
        return True

    def suspend(self, key: StageKey) -> None:
        """A person suspends the stage."""
        self.put(replace(self.stages[key], suspended=Condition("maria", "inventory", self.now)))

    def resume(self, key: StageKey) -> None:
        """A person resumes the stage: suspension, hold and stall end."""
        self.put(replace(self.stages[key], suspended=None, hold=None, stall=None))
        self.settle()

    def promote(self, key: StageKey, release: ReleaseId) -> None:
        """A person asks for a release; one older than the newest offer holds the stage."""
        stage = replace(self.stages[key], requested=release)
        if self.offers[-1].release != release:
            stage = replace(stage, hold=Condition("maria", "promoted by hand", self.now))
        self.put(stage)
        self.settle()

    def freeze(self, scope: str, lasts: timedelta | None) -> None:
        """A person presses the stop button, for a while or until it is thawed."""
        until = self.now + lasts if lasts is not None else None
        number = f"f-{len(self.freezes) + 1}"
        self.freezes.append(Freeze(number, scope, "maria", "an incident", self.now, until))
        self.settle()

    def thaw(self) -> None:
        """A person ends every freeze."""
        self.freezes = [
            item if item.thawed_at is not None else replace(item, thawed_at=self.now)
            for item in self.freezes
        ]
        self.settle()

    def lift(self, number: int) -> None:
        """A person lifts a quarantine."""
        lifted = replace(self.quarantines[number], lifted_at=self.now, lifted_by="maria")
        self.quarantines[number] = lifted
        self.settle()

    def abort(self, run: RunId, *, restore: bool = False) -> Transition:
        """A person aborts a run."""
        return self.apply(run, AbortRequested(self.now, "maria", restore=restore))

    def rollback(self, key: StageKey, wanted: ReleaseId | None = None) -> bool:
        """A person rolls the stage back; False when that cannot be done now."""
        stage, front = self.stages[key], self.front_of(key)
        running = self.running(key)
        if running is None or self.spec_of(key) is None:
            return False
        brings = front.rendered if front is not None and front.kind is RunKind.ROLLOUT else None
        choice = choose_manual_target(self.restore_facts(key, brings or running.rendered), wanted)
        if isinstance(choice, RestoreRefusal) or choice.rendered == brings:
            return False
        self.put(replace(stage, hold=Condition("maria", "rolled back", self.now)))
        if front is not None:
            return not self.apply(front.id, RollbackRequested(self.now, "maria", choice)).ignored
        self.revoke(running.id)
        self.start_rollback(key, StartRollback(RunId(""), choice, requested_by="maria"), 1)
        self.settle()
        return True

    def sync(self, key: StageKey) -> bool:
        """Drift is corrected: the applied set is applied again; False when the stage is busy."""
        stage = self.stages[key]
        if stage.front is not None or stage.applied is None or self.spec_of(key) is None:
            return False
        applied = stage.applied
        run = self.create(key, applied.release, RunKind.SYNC, rendered=applied.rendered)
        self.put(replace(stage, front=run.id))
        self.admit(run)
        self.settle()
        return True

    def watch_failure(self, key: StageKey, cluster_rollbacks: int = 1) -> WatchDecision | None:
        """A definite failure is seen in a stage that runs something verified."""
        verification, spec = self.running(key), self.spec_of(key)
        if verification is None or spec is None:
            return None
        decision = decide_watch_failure(
            WatchFacts(
                now=self.now,
                stage=self.stages[key],
                spec=spec,
                verification=verification,
                restore=self.restore_facts(
                    key, verification.rendered, inherited=verification.restore
                ),
                front_run=self.front_of(key),
                rollbacks_last_hour=self.recent_rollbacks(key),
                cluster_rollbacks=cluster_rollbacks,
            )
        )
        failed = next(run for run in self.runs.values() if f"v-{run.id}" == verification.id)
        if decision.revoke is not None:
            self.revoke(decision.revoke)
        if decision.quarantine:
            self.do(failed, StoreQuarantine(failed.id, "crashed in the watch window"))
        if decision.rollback is not None:
            self.do(failed, StartRollback(failed.id, decision.rollback))
        if decision.stall is not None:
            self.do(failed, MarkStalled(failed.id, decision.stall, decision.reason))
        self.settle()
        return decision

    # ---------------------------------------------------------------- what the work comes to

    def succeed(self, run: Run, command: CommandId | None = None) -> Transition:
        """The outstanding command did its step (the Gate's is answered by the gates alone)."""
        command = command or run.command or CommandId("none")
        content = self.contents[run.release]
        event = StepSucceeded(self.now, command)
        if run.step is Step.RENDER:
            rendering = StageRendering(
                run.stage, run.release, content.digest, images=content.images
            )
            self.renderings[run.stage, run.release] = rendering
            found = is_quarantined(content.digest, content.images, self.held(run.stage))
            if found is not None and run.command == command:
                reason = AbortReason.QUARANTINED
                return self.apply(run.id, AbortRequested(self.now, "gitopsd", reason=reason))
            event = replace(event, rendered=content.digest)
        if run.step is Step.DIFF:
            applied = self.stages[run.stage].applied
            before = applied.rendered if applied is not None else None
            front = self.front_of(run.stage)
            settled = front is None or front.step is not Step.APPLY
            event = replace(
                event,
                plan=Digest(f"plan {before or 'nothing'} {content.digest}"),
                plan_empty=before == content.digest and settled,
                plan_base=before,
                applied_verified=self.stages[run.stage].verified is not None,
            )
        if not self.is_held(run):
            return self.apply(run.id, event)
        transition = self.apply(
            run.id, StepPending(self.now, command, timedelta(minutes=1), cursor=PREPARED)
        )
        if is_held_before_apply(self.runs[run.id]):
            self.apply(run.id, ClockStopped(self.now))
        return transition

    def is_held(self, run: Run) -> bool:
        """Tell whether a run may not begin to apply though its Prepare is done."""
        spec = self.spec_of(run.stage)
        if run.kind is not RunKind.ROLLOUT or run.step is not Step.PREPARE or spec is None:
            return False
        return not all_open(evaluate_before_apply(self.gate_facts(run, spec)))

    def work(self, key: StageKey, until: Step | None = None) -> None:
        """Every command of the stage succeeds, until a run stands at a step, or nothing is left.

        The run in *next* goes first; at its Gate only the gates let it on.
        """
        for _ in range(100):
            waiting, front = self.next_of(key), self.front_of(key)
            moving = [run for run in (waiting, front) if run is not None and run.command]
            if any(run.step is until for run in moving):
                return
            ready = [
                run
                for run in moving
                if run.step is not Step.GATE
                and not (is_held_before_apply(run) and self.is_held(run) and not is_closing(run))
            ]
            if not ready:
                return
            self.succeed(ready[0])
        raise AssertionError("the work does not end")

    def wait(
        self,
        run: Run,
        look: LastLook = LastLook.NOT_HEALTHY,
        *,
        failing: bool = False,
        lasts: timedelta | None = None,
    ) -> Transition:
        """The step goes on later."""
        event = StepPending(
            self.now,
            run.command or CommandId("none"),
            timedelta(seconds=5),
            look,
            failing=failing,
            lasts=lasts,
        )
        return self.apply(run.id, event)

    def fail(
        self, run: Run, command: CommandId | None = None, *, unwritten: bool = False
    ) -> Transition:
        """A definite verdict."""
        command = command or run.command or CommandId("none")
        event = StepFailed(self.now, command, "CrashLoopBackOff", "it crashes", unwritten)
        return self.apply(run.id, event)

    def err(self, run: Run, *, last: bool = False, command: CommandId | None = None) -> Transition:
        """No verdict could be had."""
        command = command or run.command or CommandId("none")
        message = "the API server does not answer"
        event = StepErrored(self.now, command, "Unavailable", message, retryable=not last)
        return self.apply(run.id, event)

    def lock_out(self, run: Run) -> Transition:
        """The cluster refuses our credential."""
        command = run.command or CommandId("none")
        message = "the cluster refuses our credential"
        event = StepErrored(self.now, command, "Credential", message, locked_out=True)
        return self.apply(run.id, event)

    def pass_time(self, duration: timedelta) -> None:
        """Time passes; deadlines are noticed."""
        self.now += duration
        for run in list(self.runs.values()):
            if run.live and run.step_deadline is not None and run.step_deadline <= self.now:
                self.apply(run.id, DeadlineReached(self.now))
        self.settle()
