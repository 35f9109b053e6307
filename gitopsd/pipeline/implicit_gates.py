"""The gates that stand without being configured; they never stop a run that has begun to write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from gitopsd.domain.config import RewindPolicy, StageMode
from gitopsd.domain.gates import Closed, Decision, GateAnswer, Open, Refused
from gitopsd.domain.releases import Offer, OfferKind, StageName
from gitopsd.domain.runs import RunKind
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.votes import counted_votes
from gitopsd.pipeline.groups import GATE as GROUP
from gitopsd.pipeline.groups import evaluate_group
from gitopsd.pipeline.pin_files import GATE as PIN
from gitopsd.pipeline.pin_files import evaluate_pin
from gitopsd.pipeline.promotion import find_missing, name_missing, not_running
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.pipeline.upstream_images import judge_images

BRAKE_AFTER = 3
"""Failed runs of one commit in stages of one name that hold back the rest of that commit."""

ImplicitGate: TypeAlias = Callable[[GateFacts], GateAnswer]

RESTORED_CHOICES = "gitopsd resume {0} {1} --keep-cluster, or --redeploy"
"""What a person chooses between when the database was restored; takes application and stage."""

_STALL_OPENERS: Mapping[StallReason, str] = {
    StallReason.INVENTORY: "gitopsd adopt {0} {1}",
    StallReason.RESTORED_DATABASE: RESTORED_CHOICES,
}


def _slot(facts: GateFacts) -> GateAnswer:
    front = facts.front_run
    if front is not None and front.live and front.id != facts.run.id:
        where = front.step.value if front.step is not None else front.phase.value
        return Closed(f"{front.id} ({front.kind.value}) is in {where}", "wait until it ends")
    if front is None and facts.stage.front not in (None, facts.run.id):
        return Closed(f"{facts.stage.front} holds the stage", "wait until it ends")
    return Open()


def _freeze(facts: GateFacts) -> GateAnswer:
    frozen = [
        item
        for item in facts.freezes
        if item.thawed_at is None and (item.until is None or item.until > facts.now)
    ]
    if not frozen:
        return Open()
    ends = [item.until for item in frozen if item.until is not None]
    until = max(ends) if len(ends) == len(frozen) else None
    reason = "; ".join(f"{item.scope} frozen by {item.by}: {item.reason}" for item in frozen)
    return Closed(reason, " and ".join(f"gitopsd thaw {item.id}" for item in frozen), until)


def _suspend(facts: GateFacts) -> GateAnswer:
    suspended = facts.stage.suspended
    if suspended is None:
        return Open()
    return Closed(f"suspended by {suspended.by}: {suspended.reason}", _resume(facts))


def _hold(facts: GateFacts) -> GateAnswer:
    hold = facts.stage.hold
    if hold is None:
        return Open()
    if _is_requested(facts):
        return Open("a person asked for this release")
    return Closed(f"held by {hold.by}: {hold.reason}", _resume(facts))


def _stall(facts: GateFacts) -> GateAnswer:
    stall = facts.stage.stall
    if stall is None or not stall.reason.closes_gates:
        return Open()
    opener = _STALL_OPENERS.get(stall.reason, "gitopsd resume {0} {1}")
    key = facts.stage.key
    return Closed(
        f"stalled ({stall.reason.value}): {stall.message}",
        opener.format(key.application, key.stage),
    )


def _upstream(facts: GateFacts) -> GateAnswer:
    if facts.spec.upstream is not None:
        return judge_images(facts, facts.spec.upstream.stage)
    verified = {StageName(name) for name in facts.verified_upstream_at}
    names = name_missing(facts.spec, find_missing(facts.spec, verified))
    if names:
        return Closed(f"not verified in {names}", f"wait until it is verified in {names}")
    elsewhere = not_running(facts.spec, facts.run.release, facts.upstream_running)
    if elsewhere and not _is_requested(facts):
        return Closed(elsewhere, f"wait until it runs there, or: {_promote(facts)}")
    return Open()


def _quarantine(facts: GateFacts) -> GateAnswer:
    found = is_quarantined(facts.run.rendered, facts.images, facts.quarantines)
    if found is None:
        return Open()
    return Closed(f"quarantined: {found.reason}", f"gitopsd quarantine lift {found.id}")


def _rewind(facts: GateFacts) -> GateAnswer:
    if _is_requested(facts):
        return Open("a person asked for this release")
    offer = facts.offer
    if offer is None:
        return Closed("no source offers this release any more", _promote(facts))
    rewound = offer.kind is OfferKind.REWOUND and offer.number > facts.stage.rewind_accepted
    if rewound and facts.rewind is RewindPolicy.HOLD:
        return Closed(_say_rewound(offer), _promote(facts))
    if facts.running_offer is not None and offer.number < facts.running_offer:
        return Closed("it is older than what the stage runs", _promote(facts))
    return Open()


def _say_rewound(offer: Offer) -> str:
    if offer.line.ref.startswith("refs/tags/"):
        return "a tag above it was deleted, or its tag was moved back to an older commit"
    return "its branch was force-pushed back to an older commit"


def _prune(facts: GateFacts) -> GateAnswer:
    limits = facts.spec.prune_limits
    if facts.deletions <= limits.objects and facts.deletions <= limits.share * facts.owned:
        return Open()
    votes = counted_votes(facts)
    against = [vote.subject for vote in votes if vote.decision is Decision.REJECT]
    if against:
        return Refused(f"rejected by {against[0]}")
    if votes:
        return Open(f"approved by {votes[0].subject}")
    reason = f"the plan deletes {facts.deletions} of {facts.owned} objects"
    return Closed(reason, f"gitopsd approve {facts.run.id}")


def _budget(facts: GateFacts) -> GateAnswer:
    front = facts.front_run
    own = front is not None and front.live and front.kind is RunKind.ROLLOUT
    others = facts.fronts_on_cluster - own
    if others < facts.cluster_budget:
        return Open()
    reason = f"{others} rollouts are under way on {facts.spec.cluster}"
    return Closed(f"{reason}, its budget is {facts.cluster_budget}", "wait until one ends")


def _brake(facts: GateFacts) -> GateAnswer:
    if facts.failed_with_commit < BRAKE_AFTER:
        return Open()
    if _is_requested(facts):
        return Open("a person asked for this release")
    sha = facts.release.commit.sha
    reason = f"{sha[:12]} failed {facts.failed_with_commit} times in stages named "
    return Closed(reason + facts.spec.name, f"push a fix, or: {_promote(facts)}")


def _group(facts: GateFacts) -> GateAnswer:
    if not facts.spec.group:
        return Open()
    if facts.group is None:
        return Closed(
            f"group {facts.spec.group} is not configured", "write it under groups, or remove group"
        )
    return evaluate_group(facts.group, facts.stage.key, facts.run.id)


def _observe(facts: GateFacts) -> GateAnswer:
    if facts.spec.mode is StageMode.APPLY:
        return Open()
    return Closed("the stage only observes", "set mode: apply in the application file")


IMPLICIT_GATES: tuple[tuple[str, ImplicitGate], ...] = (
    ("slot", _slot),
    ("freeze", _freeze),
    ("suspend", _suspend),
    ("hold", _hold),
    ("stall", _stall),
    ("upstream", _upstream),
    ("quarantine", _quarantine),
    (PIN, evaluate_pin),
    ("rewind", _rewind),
    ("prune", _prune),
    ("budget", _budget),
    ("brake", _brake),
    (GROUP, _group),
    ("observe", _observe),
)
"""Every implicit gate, in the order in which people see them."""


def _is_requested(facts: GateFacts) -> bool:
    return facts.stage.requested == facts.run.release


def _resume(facts: GateFacts) -> str:
    key = facts.stage.key
    return f"gitopsd resume {key.application} {key.stage}"


def _promote(facts: GateFacts) -> str:
    key = facts.stage.key
    return f"gitopsd promote {key.application} {key.stage} {facts.run.release}"
