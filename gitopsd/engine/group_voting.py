"""One vote for the plans of all stages of a group that a person was shown."""

from __future__ import annotations

from collections.abc import Mapping

from gitopsd.domain.config import Configuration
from gitopsd.domain.gates import Decision, Vote
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, StageKey
from gitopsd.domain.runs import Phase, Run, RunId, Step
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor, do_audited
from gitopsd.engine.admission import apply_event, settle
from gitopsd.engine.queries import load_gates
from gitopsd.engine.services import Services
from gitopsd.engine.voting import WORDS, Ballot, judge_ballot, put_vote
from gitopsd.pipeline.events import GateRefused
from gitopsd.pipeline.gates import lacks_approval
from gitopsd.store_ports import Transaction


async def vote_for_group(
    services: Services,
    actor: Actor,
    application: ApplicationName,
    group: str,
    plans: Mapping[str, str],
    ballot: Ballot,
) -> ActionResult:
    """Vote for the plans of a group's runs at once: for all that were shown, or for none.

    Each run gets a vote of its own, bound to its plan. So a plan that comes out otherwise later is
    asked for anew, for that stage alone, and a stage that was not shown is not agreed to.

    Safe to repeat: the same vote of the same person counts once.

    Args:
        services: The ports.
        actor: Who votes.
        application: The application.
        group: Name of its group.
        plans: Run -> plan that the person was shown.
        ballot: What the person says.
    """
    config = services.configuration()

    def work(tx: Transaction) -> ActionResult:
        return _vote(tx, actor, (application, group), plans, ballot, config)

    verb = "approve" if ballot.decision is Decision.APPROVE else "reject"
    details: JsonObject = {"plans": dict(plans), "reason": ballot.reason}
    return await do_audited(
        services, actor, f"{verb}-group", f"{application}/{group}", work, details
    )


def find_waiting(tx: Transaction, application: ApplicationName, group: str) -> tuple[Run, ...]:
    """Find the runs of a group that stand at their Gate with a plan, in the group's order."""
    spec = tx.specs.current(application)
    found = spec.group_named(group) if spec is not None else None
    if spec is None or found is None:
        return ()
    runs = []
    for wave in spec.waves_of(found):
        for name in wave:
            stage = tx.stages.get(StageKey(application, name))
            run = tx.runs.get(stage.next) if stage is not None and stage.next else None
            if run is not None and is_waiting(run):
                runs.append(run)
    return tuple(runs)


def is_asked(tx: Transaction, run: Run) -> bool:
    """Tell whether a run that stands at its Gate still lacks an approval."""
    return lacks_approval(load_gates(tx, run))


def is_waiting(run: Run) -> bool:
    """Tell whether a run stands at its Gate with a plan that somebody may have to agree to."""
    at_gate = run.phase is Phase.RUNNING and run.step is Step.GATE
    return at_gate and run.plan is not None and not run.plan_empty


def _vote(
    tx: Transaction,
    actor: Actor,
    named: tuple[ApplicationName, str],
    plans: Mapping[str, str],
    ballot: Ballot,
    config: Configuration,
) -> ActionResult:
    application, group = named
    spec = tx.specs.current(application)
    found = spec.group_named(group) if spec is not None else None
    names = spec.waves_of(found) if spec is not None and found is not None else ()
    stages = {StageKey(application, name) for wave in names for name in wave}
    votes: list[tuple[Run, Vote]] = []
    for name, plan in plans.items():
        run = tx.runs.get(RunId(name))
        if run is None or run.stage not in stages:
            message = f"{name} is no run of a stage of group {group}"
            return ActionRefused(409, f"{message}; look again: gitopsd get groups {application}")
        own = Ballot(ballot.decision, plan, ballot.reason)
        if _was_said(tx, actor, run, own):
            continue
        judged = judge_ballot(tx, actor, run.id, own, config)
        if isinstance(judged, ActionRefused):
            message = f"{run.stage.stage}: {judged.message}; no plan of the group was voted on"
            return ActionRefused(judged.status, message)
        votes.append((run, judged))
    if not votes:
        verb = WORDS[ballot.decision]
        return ActionRefused(409, f"these plans were {verb} by {actor.subject} already")
    for _, vote in votes:
        put_vote(tx, vote)
    if ballot.decision is Decision.REJECT:
        why = f": {ballot.reason}" if ballot.reason else ""
        for run, _ in votes:
            event = GateRefused(tx.now, f"{actor.subject} rejected it{why}")
            apply_event(tx, run.id, event, config)
    else:
        settle(tx, [run.stage for run, _ in votes], config)
    told = ", ".join(str(run.stage.stage) for run, _ in votes)
    count = f"{len(votes)} plan{'' if len(votes) == 1 else 's'}"
    said = f"{actor.subject} {WORDS[ballot.decision]} {count} of group {group}"
    return ActionDone(f"{said} of {application}: {told}")


def _was_said(tx: Transaction, actor: Actor, run: Run, ballot: Ballot) -> bool:
    """Tell whether a person has said the same of a run's present plan already."""
    same = (actor.subject, ballot.decision, ballot.plan)
    return ballot.plan == run.plan and any(
        (vote.subject, vote.decision, vote.plan) == same and vote.void_at is None
        for vote in tx.votes.of_run(run.id)
    )
