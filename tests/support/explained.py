"""Facts of everything that `gitopsd explain` has a text for, each under the name of its fixture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

from gitopsd.domain.agreements import Agreement, AgreementState
from gitopsd.domain.asked_gates import (
    AskedGate,
    ChecksGate,
    ExternalGate,
    Finding,
    GateObservation,
    PrometheusGate,
)
from gitopsd.domain.config import PruneLimits, RollbackGit, StageMode
from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.gate_specs import ApprovalGate, GateSpec, ManualGate, SoakGate
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.manifests import Digest, Health
from gitopsd.domain.metrics import Comparison, Condition
from gitopsd.domain.pin_files import PinFile, Pinned
from gitopsd.domain.releases import (
    ApplicationName,
    Line,
    Offer,
    OfferKind,
    StageKey,
    StageName,
)
from gitopsd.domain.runs import AbortReason, Failure, LastLook, Phase, RunId, RunKind, Step
from gitopsd.domain.sources import CommitSha, RefName, RefState, RepoURL
from gitopsd.domain.stages import (
    AppliedSet,
    Freeze,
    Observation,
    Soak,
    Stage,
    Stall,
)
from gitopsd.domain.stages import Condition as StageCondition
from gitopsd.domain.verifications import Quarantine, StallReason, VerificationId
from gitopsd.domain.windows import WeeklyWindow, WindowGate
from gitopsd.pipeline.apply_hold import (
    PREPARED,
    evaluate_before_apply,
    has_clock_stopped,
)
from gitopsd.pipeline.asking import question_of
from gitopsd.pipeline.commit_status import CommitState, CommitStatus
from gitopsd.pipeline.explained_application import (
    ApplicationFacts,
    explain_application,
    explain_commit,
)
from gitopsd.pipeline.explained_run import explain_run
from gitopsd.pipeline.explained_stage import StageFacts, explain_stage
from gitopsd.pipeline.explanation import Explanation, Ignored
from gitopsd.pipeline.facts import DependencyFacts, GateFacts, SoakFacts
from gitopsd.pipeline.foresight import find_opening, foresee, foresee_idle
from gitopsd.pipeline.gates import evaluate_gates, lacks_approval
from gitopsd.pipeline.groups import GroupFacts, MemberFacts
from gitopsd.pipeline.people_facts import PeopleFacts
from gitopsd.pipeline.run_phrases import RunFacts
from gitopsd.pipeline.selection import Selection
from gitopsd.pipeline.stage_queue import Place, QueueEntry
from tests.support.gate_facts import FACTS, KEY, NOON, RUN
from tests.support.people_facts import HEAD, PEOPLE, commit, made, vote
from tests.support.runs import TARGET, run_at

Changed: TypeAlias = Any
"""Another value of a field; each caller knows its type."""

SECOND, MINUTE, HOUR, DAY = (
    timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days")
)
NAME, BEFORE = "calm-lake (r-7)", "bold-heron (r-3)"
STAGING = StageName("staging")
MAIN = RefName("refs/heads/main")
REPO = RepoURL("https://git.example/shop-deploy.git")
OTHER = StageKey(ApplicationName("api"), StageName("production"))
WORKING_HOURS = WindowGate(
    allow=(WeeklyWindow("Mon-Fri 08:00-17:00", (0, 1, 2, 3, 4), 480, 1020),),
    timezone="Europe/Madrid",
)
CHECKS = ChecksGate(("ci/test", "lint"))
NAMED = "a person names each: gitopsd promote shop production r-7"
EXTERNAL = ExternalGate("https://decide.example/gitopsd", "secret")
PROMETHEUS = PrometheusGate("sum(rate(errors_total[5m]))", Condition(Comparison.LESS, 0.05))
SPEC = replace(FACTS.spec, after=(STAGING,))
OPEN = replace(FACTS, verified_upstream_at={STAGING: NOON - HOUR})
"""A run at its Gate with everything open."""


def at_gate(facts: GateFacts = OPEN, *gates: GateSpec, at: datetime | None = None) -> RunFacts:
    """A run at its Gate, with gates configured beside the implicit ones."""
    given = replace(facts, spec=replace(facts.spec, gates=gates))
    voted = not lacks_approval(evaluate_gates(given))
    stands = replace(facts.run, step_deadline=NOON + 20 * HOUR, approved=voted)
    if has_clock_stopped(stands, evaluate_gates(given)):
        stands = replace(stands, clock_stopped_at=NOON - 20 * MINUTE)
    given = replace(given, run=stands)
    return RunFacts(
        NOON,
        stands,
        NAME,
        since=NOON - 20 * MINUTE,
        gates=evaluate_gates(given),
        opens_at=find_opening(given, NOON),
        foresight=foresee(given, at) if at is not None else None,
    )


def asked(
    gate: AskedGate, finding: Finding, sentence: str, ago: timedelta = 12 * SECOND
) -> GateFacts:
    """A gate that asks outside was answered so."""
    found = GateObservation(RUN.id, question_of(gate), "", RUN.plan, NOON - ago, finding, sentence)
    return replace(OPEN, observations={found.question: found})


def of_stage(**changes: Changed) -> GateFacts:
    """The stage is in this state."""
    return replace(OPEN, stage=replace(Stage(KEY), **changes))


FREEZE = Freeze("f-1", "application:shop", "maria", "a fair", NOON - HOUR, NOON + 11 * HOUR)
FOR_EVER = Freeze("f-2", "*", "ben", "an incident", NOON - 2 * MINUTE)
SUSPENDED = StageCondition("ben", "the database is moved", NOON - 2 * HOUR)
HOLD = StageCondition("maria", "asked for an older release", NOON - 3 * HOUR)
PIN = PinFile(
    "overlays/production/gitopsd-pin.yaml",
    Pinned(TARGET.release, CommitSha("b" * 40), NOON - 3 * HOUR),
)
OBSERVED = Observation(Health.HEALTHY, True, "", NOON - 40 * SECOND)


def under_way(step: Step, kind: RunKind = RunKind.ROLLOUT, **changes: Changed) -> RunFacts:
    """A run in a step."""
    run = replace(run_at(kind, step), step_deadline=NOON + 4 * MINUTE, **changes)
    name = BEFORE if kind is RunKind.ROLLBACK else NAME
    return RunFacts(
        NOON, run, name, since=NOON - 2 * MINUTE, target=BEFORE if run.restore_target else "",
        cluster="one",
    )  # fmt: skip


def ended(
    phase: Phase, failure: Failure | None = None, ago: timedelta = 5 * MINUTE, **changes: Changed
) -> RunFacts:
    """A run that ended, five minutes ago unless told otherwise."""
    run = run_at(RunKind.ROLLOUT, phase)
    run = replace(run, failure=failure, ended_at=NOON - ago)
    facts = RunFacts(NOON, run, NAME, target=BEFORE, cluster="one")
    return replace(facts, **changes)


CRASH = (
    "Deployment shop/api: container api: CrashLoopBackOff, exit code 1, restarted 3 times; "
    "its log ends: no such table: orders"
)
AWAY = "one: the API server does not answer: connection refused"
REFUSED = "one: the cluster refuses our credential (401 Unauthorized)"
FAILED = Failure("CrashLoopBackOff", CRASH, Step.WAIT_HEALTHY)
QUARANTINE = Quarantine(
    "q-run-7", KEY, Digest("sha256:new"), (), RUN.release, CRASH, NOON - 5 * MINUTE
)
ROLLBACK = replace(
    run_at(RunKind.ROLLBACK, Phase.SUCCEEDED),
    id=RunId("run-7-rb"),
    release=TARGET.release,
    ended_at=NOON - 3 * MINUTE,
)
NEWEST = Offer(7, Line(KEY.application, MAIN), RUN.release, NOON - 30 * MINUTE)
NAMES = {RUN.release: NAME, TARGET.release: BEFORE}


def agreed(state: AgreementState, message: str = "") -> RunFacts:
    """A Rollback, and how far Git agrees with it."""
    agreement = Agreement(
        ROLLBACK.id, KEY, RollbackGit.REVERT_COMMIT, REPO, MAIN, NOON, state, message=message
    )
    return RunFacts(NOON, ROLLBACK, BEFORE, agreement=agreement)


def stage(**changes: Changed) -> StageFacts:
    """A stage that runs the release before, verified, while a newer one was offered."""
    applied = AppliedSet(TARGET.release, TARGET.rendered, RunId("run-3"), NOON - DAY)
    stored = Stage(KEY, applied=applied, verified=VerificationId("v-3"), observation=OBSERVED)
    facts = StageFacts(
        NOON,
        stored,
        SPEC,
        ref=MAIN,
        names=NAMES,
        running=TARGET.release,
        verified_at=NOON - DAY,
        newest=NEWEST,
        selection=Selection(reason="nothing is offered that may go here"),
    )
    return replace(facts, **changes)


def set_up(facts: StageFacts, **changes: Changed) -> StageFacts:
    """The same stage in another stored state."""
    return replace(facts, stage=replace(facts.stage, **changes))


def stalled(reason: StallReason, message: str) -> StageFacts:
    """A person is called for the stage."""
    return set_up(stage(), stall=Stall(reason, message, NOON - 7 * MINUTE, RunId("run-7")))


def skipped(reason: str, **changes: Changed) -> StageFacts:
    """The newest release may not come."""
    passed = Selection(
        reason="nothing is offered that may go here", skipped=((RUN.release, reason),)
    )
    return stage(selection=passed, **changes)


_FAILED_ROLLBACK = "shop/production: the rollback to r-3 failed in WaitHealthy: " + CRASH
_MISSED = (
    "shop/production: r-7 failed in Verify: check api /health failed after 4 attempts: status 500"
)
_STALLS: Mapping[StallReason, str] = {
    StallReason.NO_TARGET: f"{_MISSED}; nothing was verified here before that could be restored",
    StallReason.MANUAL: f"{_MISSED}; policy leaves restoring to a person",
    StallReason.SAME_BYTES: f"{_MISSED}; what could be restored has the same bytes",
    StallReason.DESTINATION_CHANGED: (
        f"{_MISSED}; what was verified before was written to another destination"
    ),
    StallReason.UNREACHABLE: f"shop/production: r-7 has no verdict in WaitHealthy: {AWAY}",
    StallReason.ROLLBACK_FAILED: _FAILED_ROLLBACK,
    StallReason.ROLLBACK_LOOP: "shop/production: 3 rollbacks within an hour",
    StallReason.CLUSTER_TROUBLE: "shop/production: 3 stages on one failed within 10 minutes",
    StallReason.RESTORED_DATABASE: "shop/production: the cluster has fence 12 and the database 9",
    StallReason.INVENTORY: "shop/production: the inventory belongs to installation 5f1c",
}


def _held_at(facts: GateFacts, *gates: GateSpec) -> Explanation:
    return explain_run(at_gate(facts, *gates))


def _held() -> dict[str, Callable[[], Explanation]]:
    """Held at each kind of gate."""
    soak = Soak(VerificationId("v-7"), RUN.release, Digest("sha256:new"), 4 * MINUTE, NOON)
    soaks = {STAGING: SoakFacts(soak, current=True, running=RUN.release)}
    makers = made(commit("ben@work.example", sha=HEAD))
    voted = replace(
        OPEN,
        votes=(vote("maria"),),
        people=PeopleFacts(directory=PEOPLE, contributions=makers),
    )
    kinds: dict[str, tuple[GateFacts, GateSpec]] = {
        "approval": (voted, ApprovalGate(("group:managers", "group:developers"), 2)),
        "soak": (replace(OPEN, soaks=soaks), SoakGate(STAGING, 10 * MINUTE)),
        "window": (OPEN, WORKING_HOURS),
        "checks": (asked(CHECKS, Finding.UNMET, "lint of aaaaaaaaaaaa is in progress"), CHECKS),
        "external": (
            asked(EXTERNAL, Finding.UNMET, "decide.example says: change board at 14:00"),
            EXTERNAL,
        ),
        "prometheus": (asked(PROMETHEUS, Finding.FAILED, "0.31 is not < 0.05"), PROMETHEUS),
        "dependency": (
            replace(OPEN, dependencies={OTHER: DependencyFacts(front=RunId("api-production-12"))}),
            DependencyGate(OTHER),
        ),
        "manual": (OPEN, ManualGate(("group:managers",))),
    }
    implicit: dict[str, GateFacts] = {
        "slot": replace(
            OPEN, front_run=replace(run_at(RunKind.ROLLOUT, Step.VERIFY), id=RunId("run-6"))
        ),
        "freeze": replace(OPEN, freezes=(FREEZE,)),
        "freeze-without-end": replace(OPEN, freezes=(FREEZE, FOR_EVER)),
        "suspend": of_stage(suspended=SUSPENDED),
        "hold": of_stage(hold=HOLD),
        "stall": of_stage(stall=Stall(StallReason.ROLLBACK_FAILED, _FAILED_ROLLBACK, NOON - HOUR)),
        "upstream": replace(OPEN, spec=SPEC, verified_upstream_at={}),
        "quarantine": replace(
            OPEN, quarantines=(QUARANTINE,), run=replace(RUN, rendered=QUARANTINE.rendered)
        ),
        "pin": replace(OPEN, spec=replace(FACTS.spec, rollback_git=RollbackGit.PIN), pin=PIN),
        "rewind": replace(OPEN, offer=Offer(9, NEWEST.line, RUN.release, NOON, OfferKind.REWOUND)),
        "prune": replace(
            OPEN, deletions=31, owned=40, spec=replace(FACTS.spec, prune_limits=PruneLimits())
        ),
        "budget": replace(OPEN, fronts_on_cluster=10, cluster_budget=10),
        "brake": replace(OPEN, failed_with_commit=3),
        "observe": replace(OPEN, spec=replace(FACTS.spec, mode=StageMode.OBSERVE)),
        "group": _in_group(_failed("eu", "CrashLoopBackOff"), _failed("us", "DeadlineExceeded")),
        "group-wave": _in_group(_failed("eu", "CrashLoopBackOff"), MemberFacts(_key("us"))),
    }
    held: dict[str, Callable[[], Explanation]] = {}
    for name, (facts, gate) in kinds.items():
        held[f"held-{name}"] = partial(_held_at, facts, gate)
    for name, facts in implicit.items():
        held[f"held-{name}"] = partial(_held_at, facts)
    return held


def _key(name: str) -> StageKey:
    return StageKey(KEY.application, StageName(name))


def _failed(name: str, reason: str) -> MemberFacts:
    run = replace(run_at(RunKind.ROLLOUT, Phase.FAILED), failure=Failure(reason, "it fails"))
    return MemberFacts(_key(name), run=run)


def _in_group(*before: MemberFacts) -> GateFacts:
    """A run in the second wave of a group that allows one failure."""
    members = (*before, MemberFacts(KEY, 1))
    group = GroupFacts(GroupSpec("world", max_failures=1), RUN.release, members)
    return replace(OPEN, spec=replace(FACTS.spec, group="world"), group=group)


def _frozen_before_apply() -> Explanation:
    run = replace(
        run_at(RunKind.ROLLOUT, Step.PREPARE), cursor=PREPARED, clock_stopped_at=NOON - MINUTE,
        step_deadline=NOON + 20 * MINUTE,
    )  # fmt: skip
    facts = replace(OPEN, run=run, freezes=(FREEZE,))
    opens_at = find_opening(facts, NOON, evaluate_before_apply)
    return explain_run(
        RunFacts(NOON, run, NAME, NOON - 5 * MINUTE, evaluate_before_apply(facts), opens_at)
    )


def _older_by_hand() -> Explanation:
    waiting = at_gate(of_stage(hold=HOLD))
    return explain_stage(set_up(stage(next=waiting), hold=HOLD))


def _idle_at(
    at: datetime,
    gates: tuple[GateSpec, ...] = (WORKING_HOURS,),
    freezes: tuple[Freeze, ...] = (FREEZE,),
) -> Explanation:
    spec = replace(SPEC, gates=gates)
    given = stage(spec=spec, newest=replace(NEWEST, release=TARGET.release), freezes=freezes)
    foresight = foresee_idle(given.stage, spec, FACTS.release, freezes, at)
    return explain_stage(replace(given, foresight=foresight))


def _of_runs() -> dict[str, Callable[[], Explanation]]:
    """Runs that stand elsewhere, or have ended."""
    looked: dict[str, Changed] = {"last_look": LastLook.NOT_HEALTHY, "looked_at": NOON - 9 * SECOND}
    blind: dict[str, Changed] = {"last_look": LastLook.UNKNOWN, "waiting_for": AWAY, "attempt": 6}
    locked: dict[str, Changed] = {
        "waiting_for": REFUSED,
        "lockouts": 4,
        "locked_out_until": NOON + 16 * SECOND,
    }
    newer = replace(run_at(RunKind.ROLLOUT, Step.APPLY), id=RunId("run-8"))
    superseded = Failure(AbortReason.SUPERSEDED.value, "superseded by swift-river", Step.GATE)
    unchanged = replace(run_at(RunKind.ROLLOUT, Phase.SUCCEEDED), step=Step.DIFF)
    return {
        "automatic": lambda: explain_run(under_way(Step.PREPARE)),
        "automatic-gates-just-opened": lambda: explain_run(at_gate()),
        "stuck-in-health": lambda: explain_run(
            under_way(Step.WAIT_HEALTHY, waiting_for=CRASH, failing=True, **looked)
        ),
        "stuck-in-health-of-a-rollback": lambda: explain_run(
            under_way(Step.WAIT_HEALTHY, RunKind.ROLLBACK, waiting_for=CRASH, **looked)
        ),
        "api-server-away": lambda: explain_run(under_way(Step.WAIT_HEALTHY, **blind)),
        "credential-refused": lambda: explain_run(under_way(Step.APPLY, **locked)),
        "failed-and-restored": lambda: explain_run(
            ended(Phase.FAILED, FAILED, rollback=ROLLBACK, quarantine=QUARANTINE)
        ),
        "superseded": lambda: explain_run(ended(Phase.ABORTED, superseded, successor=newer)),
        "unchanged": lambda: explain_run(
            RunFacts(NOON, replace(unchanged, ended_at=NOON - MINUTE), NAME)
        ),
        "frozen-before-apply": _frozen_before_apply,
        "held-window-and-approval-at": lambda: explain_run(
            at_gate(OPEN, WORKING_HOURS, ApprovalGate(("group:managers",)), at=NOON + 44 * HOUR)
        ),
        "held-window-at": lambda: explain_run(at_gate(OPEN, WORKING_HOURS, at=NOON + 12 * HOUR)),
    }


def _of_stages() -> dict[str, Callable[[], Explanation]]:
    """Stages."""
    why = f"quarantined here ({QUARANTINE.id}): {CRASH}"
    failed = replace(run_at(RunKind.ROLLOUT, Phase.FAILED), failure=FAILED)
    rolling = replace(under_way(Step.APPLY, RunKind.ROLLBACK, id=RunId("run-7-rb")), undone=failed)
    texts: dict[str, Callable[[], Explanation]] = {
        "live": lambda: explain_stage(stage(newest=replace(NEWEST, release=TARGET.release))),
        "frozen": lambda: explain_stage(
            stage(freezes=(FREEZE,), next=at_gate(replace(OPEN, freezes=(FREEZE,))))
        ),
        "suspended": lambda: explain_stage(set_up(stage(), suspended=SUSPENDED)),
        "quarantined": lambda: explain_stage(skipped(why, quarantine=QUARANTINE)),
        "not-verified-upstream": lambda: explain_stage(
            skipped("not verified in staging", missing=("staging",))
        ),
        "older-promoted-by-hand": _older_by_hand,
        "rolling-back": lambda: explain_stage(set_up(stage(front=rolling), verified=None)),
        "idle-at": lambda: _idle_at(NOON + 6 * HOUR),
        "idle-at-with-everything-open": lambda: _idle_at(NOON + 6 * HOUR, (), ()),
        "idle-at-frozen-without-end": lambda: _idle_at(NOON + 6 * HOUR, (), (FOR_EVER,)),
        "next-is-held": lambda: explain_stage(stage(next=at_gate(OPEN, WORKING_HOURS))),
        "retried-later": lambda: explain_stage(
            stage(
                selection=Selection(reason="r-7 is tried again later", not_before=NOON + MINUTE),
                newest_run=ended(
                    Phase.ERRORED,
                    Failure("Unreachable", AWAY, Step.VALIDATE),
                    ago=20 * SECOND,
                ),
            )
        ),
    }  # fmt: skip
    for reason, message in _STALLS.items():
        texts[f"stalled-{reason.value}"] = partial(explain_stage, stalled(reason, message))
    return texts


def _of_applications() -> dict[str, Callable[[], Explanation]]:
    """Applications and commits."""
    ref = RefState(
        REPO,
        MAIN,
        head=CommitSha("0f" * 20),
        looked_at=NOON - 12 * SECOND,
        next_look_at=NOON + 48 * SECOND,
    )
    followed = ApplicationFacts(NOON, KEY.application, REPO, (ref,))
    delivered = "delivery d-5f1c to receiver github"
    ignored = (
        Ignored(delivered, "no application follows refs/heads/feature", NOON - 90 * SECOND),
        Ignored(
            "2 requests to receiver github",
            "their signature was missing or wrong; compare the secret there and here",
        ),
    )
    lost = replace(ref, problem="git.example: authentication failed")
    status = CommitStatus(
        KEY,
        CommitState.HELD,
        RUN.release,
        reason="window: outside of its hours",
        waiting_for="wait",
        run=RUN,
    )
    held = at_gate(OPEN, WORKING_HOURS)
    return {
        "delivery-ignored": lambda: explain_application(replace(followed, ignored=ignored)),
        "git-host-away": lambda: explain_application(replace(followed, refs=(lost,))),
        "commit-held": lambda: explain_commit(status, explain_run(held), "0f" * 20, NOON),
    }


def _rarer_runs() -> dict[str, Callable[[], Explanation]]:
    """Runs in states that are seen more rarely."""
    looked: dict[str, Changed] = {"last_look": LastLook.NOT_HEALTHY, "looked_at": NOON - 9 * SECOND}
    pending = RunFacts(NOON, run_at(RunKind.ROLLBACK, Phase.PENDING), BEFORE, since=NOON)
    aborted = Failure(AbortReason.REQUESTED.value, "aborted by ben: wrong day", Step.APPLY)
    rejected = Failure(AbortReason.REJECTED.value, "maria rejected it: not today", Step.GATE)
    bytes_held = Failure(AbortReason.QUARANTINED.value, f"aborted by gitopsd: {CRASH}", Step.GATE)
    gone = Failure(AbortReason.STAGE_REMOVED.value, "shop/production is no longer configured")
    lost = Failure("Unreachable", AWAY, Step.WAIT_HEALTHY)
    call = Stall(StallReason.UNREACHABLE, f"shop/production: {AWAY}", NOON, RUN.id)
    again = replace(run_at(RunKind.ROLLOUT, Step.RENDER), id=RunId("run-9"))
    refusing = at_gate(asked(EXTERNAL, Finding.REFUSED, "decide.example says: never"), EXTERNAL)
    open_ended = at_gate(OPEN, ManualGate(("group:managers",)))
    late = at_gate(OPEN, WORKING_HOURS)
    short = replace(late.run, clock_stopped_at=None)
    back = {
        phase: replace(ROLLBACK, phase=phase, ended_at=None if phase is Phase.RUNNING else NOON)
        for phase in (Phase.RUNNING, Phase.FAILED, Phase.ABORTED)
    }
    ends = {
        "rejected": ended(Phase.ABORTED, rejected),
        "expired": ended(
            Phase.ABORTED, Failure(AbortReason.EXPIRED.value, "its gates did not open in time")
        ),
        "aborted-and-restored": ended(Phase.ABORTED, aborted, rollback=ROLLBACK),
        "aborted-by-nobody": ended(Phase.ABORTED),
        "failed-being-restored": ended(Phase.FAILED, FAILED, rollback=back[Phase.RUNNING]),
        "failed-not-restored": ended(Phase.FAILED, FAILED, rollback=back[Phase.FAILED]),
        "failed-restore-ended": ended(
            Phase.FAILED, FAILED, rollback=back[Phase.ABORTED], target=""
        ),
        "failed-before-writing": RunFacts(
            NOON,
            replace(
                run_at(RunKind.ROLLOUT, Phase.FAILED),
                failure=Failure("Invalid", "Deployment shop/api: spec.replicas: -1", Step.VALIDATE),
                mutated=False,
            ),
            NAME,
        ),
        "errored": ended(Phase.ERRORED, lost, stall=call, ago=20 * SECOND),
        "errored-and-tried-again": ended(Phase.ERRORED, lost, successor=again),
        "bytes-quarantined": ended(Phase.ABORTED, bytes_held),
        "stage-removed": ended(Phase.ABORTED, gone),
        "succeeded": ended(Phase.SUCCEEDED),
        "succeeded-then-rolled-back": ended(Phase.SUCCEEDED, rollback=ROLLBACK),
        "rollback-redirected": RunFacts(
            NOON,
            replace(
                run_at(RunKind.ROLLBACK, Phase.ABORTED),
                failure=Failure(AbortReason.REDIRECTED.value, "redirected by ben to r-2"),
            ),
            BEFORE,
        ),
        "rollback-succeeded": RunFacts(
            NOON,
            ROLLBACK,
            BEFORE,
            undone=run_at(RunKind.ROLLOUT, Phase.SUCCEEDED),
            quarantine=QUARANTINE,
        ),
        "rollback-by-hand": RunFacts(
            NOON,
            replace(ROLLBACK, requested_by="ben"),
            BEFORE,
            undone=run_at(RunKind.ROLLOUT, Phase.SUCCEEDED),
        ),
        "rollback-and-git-agrees": agreed(
            AgreementState.COMMITTED, "commit 555555555555 on main says so"
        ),
        "rollback-and-git-agreed-before": agreed(AgreementState.UNNEEDED, "main says so already"),
        "rollback-and-git-disagrees": agreed(
            AgreementState.LEFT_TO_PERSON, "the push to main is refused: declined"
        ),
        "rollback-and-git-is-tried": agreed(AgreementState.WAITING, "git.example is away"),
        "rollback-and-git-is-next": agreed(AgreementState.WAITING),
        "rollback-failed": RunFacts(
            NOON,
            replace(ROLLBACK, phase=Phase.FAILED, failure=FAILED),
            BEFORE,
            undone=replace(
                run_at(RunKind.ROLLOUT, Phase.ABORTED),
                failure=Failure(AbortReason.REQUESTED.value, "aborted by ben"),
            ),
            quarantine=QUARANTINE,
        ),
        "sync-succeeded": RunFacts(NOON, run_at(RunKind.SYNC, Phase.SUCCEEDED), NAME),
        "errored-long-ago": RunFacts(
            NOON, replace(run_at(RunKind.ROLLOUT, Phase.ERRORED), ended_at=None), NAME
        ),
        "superseded-by-nobody": ended(
            Phase.ABORTED, Failure(AbortReason.SUPERSEDED.value, "superseded by swift-river")
        ),
        "rollback-pending": pending,
        "ending": under_way(
            Step.APPLY, aborting=True, aborting_restore=True, failure=aborted, ended_by="ben"
        ),
        "ending-for-newer": under_way(Step.APPLY, superseded_by=RunId("run-8")),
        "verified-while-newer-waits": under_way(
            Step.CERTIFY, superseded_by=RunId("run-8"), waiting_for="round 2 of 4 held"
        ),
        "sync-stuck-in-health": under_way(
            Step.WAIT_HEALTHY, RunKind.SYNC, waiting_for=CRASH, **looked
        ),
        "stuck-without-target": replace(
            under_way(Step.VERIFY, no_restore=StallReason.NO_TARGET, **looked), target=""
        ),
        "git-away-in-render": under_way(
            Step.RENDER, last_look=LastLook.UNKNOWN, waiting_for="git.example does not answer"
        ),
        "gate-refused": refusing,
        "held-without-deadline": replace(
            open_ended, run=replace(open_ended.run, step_deadline=None)
        ),
        "expires-before-its-window": replace(late, run=short),
    }
    return {name: partial(explain_run, facts) for name, facts in ends.items()}


def _rarer_stages() -> dict[str, Callable[[], Explanation]]:
    """Stages in states that are seen more rarely."""
    same = replace(NEWEST, release=TARGET.release)
    live = stage(newest=same)

    def seen(health: Health, synced: bool | None, message: str, ago: timedelta) -> StageFacts:
        return set_up(live, observation=Observation(health, synced, message, NOON - ago))

    applied = AppliedSet(RUN.release, Digest("sha256:new"), RUN.id, NOON - HOUR)
    unverified = set_up(
        stage(running=None, newest_run=ended(Phase.FAILED, FAILED)), applied=applied
    )
    nothing = set_up(
        stage(running=None, verified_at=None, newest=None, selection=None),
        applied=None,
        verified=None,
        observation=None,
    )
    begins = stage(selection=Selection(RUN.release, reason="r-7 is the newest"), running=None)
    both = replace(
        stage(front=under_way(Step.WAIT_HEALTHY), next=at_gate()), besides=("Git is away",)
    )
    stages = {
        "degraded": seen(Health.DEGRADED, True, CRASH, MINUTE),
        "out-of-sync": seen(Health.HEALTHY, False, "Deployment shop/api: is gone", MINUTE),
        "health-unknown": seen(Health.UNKNOWN, None, AWAY, MINUTE),
        "looked-at-long-ago": seen(Health.DEGRADED, True, CRASH, HOUR),
        "not-looked-at": set_up(live, observation=None),
        "observes": replace(live, spec=replace(SPEC, mode=StageMode.OBSERVE)),
        "retired": set_up(replace(live, spec=None), retired_at=NOON - HOUR),
        "empty": nothing,
        "begins-at-once": begins,
        "unverified-and-failed": unverified,
        "newest-was-rejected": skipped(
            "its last run run-7 ended Aborted (Rejected)",
            newest_run=ended(
                Phase.ABORTED, Failure(AbortReason.REJECTED.value, "maria rejected it", Step.GATE)
            ),
        ),
        "older-was-passed-over": stage(
            newest=same,
            selection=Selection(
                reason="r-3 is what the stage runs",
                skipped=((RUN.release, "not verified in staging"),),
            ),
        ),
        "front-and-next": both,
        "queued": replace(
            both, queue=(QueueEntry(3, Place.WAITING, RUN.release, "a vote has been given"),)
        ),
        "a-person-names-each": stage(
            selection=Selection(reason="nothing", skipped=((RUN.release, NAMED),)), unwanted=NAMED
        ),
        "held-by-hand-and-idle": set_up(live, hold=HOLD),
    }
    return {name: partial(explain_stage, facts) for name, facts in stages.items()}


def _rarer_applications() -> dict[str, Callable[[], Explanation]]:
    """Applications and commits in states that are seen more rarely."""
    facts = ApplicationFacts(NOON, KEY.application, REPO, (RefState(REPO, MAIN),))
    gone = RefState(REPO, MAIN, looked_at=NOON - MINUTE)
    tagged = RefState(
        REPO,
        RefName("refs/tags/v*"),
        head=CommitSha("0f" * 20),
        looked_at=NOON,
        tag="v1.2.0",
    )
    applications = {
        "file-removed": ApplicationFacts(NOON, KEY.application),
        "file-not-used": replace(
            facts, problems=("applications/shop.yaml: spec.stages is missing",)
        ),
        "images-wait": replace(
            facts,
            refs=(gone, tagged),
            waiting=("registry.example/api:1.1.0 waits for registry.example/worker",),
        ),
        "registry-away": replace(
            facts, image_problems=("registry.example/api: registry.example does not answer",)
        ),
    }
    statuses = {
        "commit-live": CommitStatus(KEY, CommitState.LIVE, RUN.release, since=NOON - HOUR, run=RUN),
        "commit-not-seen": CommitStatus(
            KEY, CommitState.NOT_SEEN, None, reason="gitopsd has not seen this commit"
        ),
        "commit-quarantined": CommitStatus(
            KEY, CommitState.QUARANTINED, RUN.release, reason=CRASH, waiting_for="a fix"
        ),
    }
    failed = explain_run(ended(Phase.FAILED, FAILED))
    told = {"commit-live": failed, "commit-quarantined": failed}
    return {
        **{name: partial(explain_application, one) for name, one in applications.items()},
        **{
            name: partial(explain_commit, one, told.get(name), "0f" * 20, NOON)
            for name, one in statuses.items()
        },
    }


TEXTS: Mapping[str, Callable[[], Explanation]] = {
    **_held(),
    **_of_runs(),
    **_of_stages(),
    **_of_applications(),
    **_rarer_runs(),
    **_rarer_stages(),
    **_rarer_applications(),
}
"""What makes each explanation that has a text of its own."""
