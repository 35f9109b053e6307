"""Asks people once for the plans of all stages of a group that a release waits with."""

from __future__ import annotations

from dataclasses import dataclass

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.runs import Phase, Run, RunId, Step
from gitopsd.engine.group_facts import load_group
from gitopsd.pipeline.commands import Trigger
from gitopsd.pipeline.groups import GroupFacts
from gitopsd.store_ports import Transaction


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """One request for the plans of a group.

    Attributes:
        group: How the group stands with the release.
        first: The run that came to its Gate first; the request is named by it.
    """

    group: GroupFacts
    first: RunId

    @property
    def id(self) -> str:
        """Name of the notification."""
        return _name(self.first)

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages that it is for, wave by wave."""
        return tuple(member.stage.stage for member in self.group.members)


def find_request(tx: Transaction, run: Run) -> GroupRequest | None:
    """Find the request that a run's plan is part of; None when the run is asked for by itself.

    It is asked for by itself where its stage has an approval of its own, and when somebody has
    voted on another stage's plan already: the request that people saw is answered then, and a
    message that is written again rings no phone.

    Args:
        tx: The transaction.
        run: A run that waits for an approval.
    """
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    if application is None or spec is None:
        return None
    group = load_group(tx, application, spec, run.release)
    asked = [gate for gate in spec.gates if isinstance(gate, ApprovalGate)]
    if group is None or asked != [group.spec.approval]:
        return None
    runs = [one.run for one in group.members if one.run is not None and one.run.id != run.id]
    others = [one for one in runs if not _ended_unapproved(one)]
    if any(vote.void_at is None for one in others for vote in tx.votes.of_run(one.id)):
        return None
    told = (one.id for one in others if tx.records.notification(_name(one.id)) is not None)
    return GroupRequest(group, next(told, run.id))


def _name(first: RunId) -> str:
    return f"{first}.group.{Trigger.APPROVAL_REQUESTED.value}"


def _ended_unapproved(run: Run) -> bool:
    """Tell whether a run was of an earlier request, which expired or was rejected."""
    return run.phase is Phase.ABORTED and run.step is Step.GATE
