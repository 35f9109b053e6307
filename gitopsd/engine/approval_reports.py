"""What a person must know to approve, and what became of the request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Closed, Decision, GateSkip, Open, Vote
from gitopsd.domain.manifests import ChangeAction, Json
from gitopsd.domain.releases import StageName
from gitopsd.domain.reports import ApprovalReport, GroupApprovalReport, Outcome
from gitopsd.domain.runs import AbortReason, Phase, Run, RunId, Step
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.effects import stage_spec_of
from gitopsd.engine.group_facts import load_group
from gitopsd.engine.queries import load_gates
from gitopsd.engine.report_links import Links
from gitopsd.kube.redaction import redact_clause
from gitopsd.pipeline.groups import describe_member, name_plans
from gitopsd.store_ports import Transaction

_QUIET = (ChangeAction.UNCHANGED.value, ChangeAction.SKIPPED.value)
_ORDER = {action.value: number for number, action in enumerate(ChangeAction)}
_WORDS = {Decision.APPROVE: "approved", Decision.REJECT: "rejected"}
_ENDED: Mapping[str, Outcome] = {
    AbortReason.REJECTED.value: Outcome.REJECTED,
    AbortReason.EXPIRED.value: Outcome.EXPIRED,
}


def compose_approval(
    tx: Transaction, run_id: RunId, plan: str, identity: str, links: Links
) -> ApprovalReport | None:
    """Compose the request to approve a run's plan; None when there is no such run."""
    run = tx.runs.get(run_id)
    release = tx.releases.get(run.release) if run is not None else None
    if run is None or release is None:
        return None
    spec = stage_spec_of(tx, run)
    report = ApprovalReport(
        id=identity,
        application=run.stage.application,
        stage=run.stage.stage,
        cluster=spec.cluster if spec is not None else "",
        namespace=spec.namespace if spec is not None else "",
        run=run.id,
        plan=plan,
        alias=release.alias,
        sha=release.commit.sha,
        subject=redact_clause(release.commit.subject),
        author=redact_clause(release.commit.author),
        until=run.step_deadline,
        link=links.run(run.id),
    )
    report = _with_gate(tx, run, report)
    votes = [vote for vote in tx.votes.of_run(run.id) if vote.plan == plan and not vote.void_at]
    report = replace(report, votes=tuple((vote.subject, _say(vote)) for vote in votes))
    return _with_outcome(tx, run, votes, _with_changes(tx, run, report))


def compose_approvals(
    tx: Transaction, run_id: RunId, identity: str, links: Links
) -> GroupApprovalReport | None:
    """Compose the request to approve the plans of a group that a release waits with.

    Args:
        tx: A reading transaction.
        run_id: The run that was asked for first.
        identity: Name of the report.
        links: Addresses of the API.

    Returns:
        None when nothing is known of the run, of its group, or of any plan.
    """
    run = tx.runs.get(run_id)
    application = tx.specs.current(run.stage.application) if run is not None else None
    spec = application.stage(run.stage.stage) if run is not None and application else None
    if run is None or application is None or spec is None:
        return None
    facts = load_group(tx, application, spec, run.release)
    if facts is None:
        return None
    plans: list[ApprovalReport] = []
    missing: list[tuple[StageName, str]] = []
    for member in facts.members:
        own = member.run
        plan = own.plan if own is not None else None
        asked = compose_approval(tx, own.id, plan, identity, links) if own and plan else None
        if asked is None:
            missing.append((member.stage.stage, describe_member(member)))
        else:
            plans.append(asked)
    if not plans:
        return None
    open_ones = {str(one.run): one.plan for one in plans if one.outcome is Outcome.WAITING}
    return GroupApprovalReport(
        id=identity,
        application=application.name,
        group=facts.spec.name,
        plans=tuple(plans),
        missing=tuple(missing),
        name=name_plans(open_ones) if open_ones else "",
    )


def _with_gate(tx: Transaction, run: Run, report: ApprovalReport) -> ApprovalReport:
    """Say who may approve; gates are read from the newest file."""
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    gates = [gate for gate in spec.gates if isinstance(gate, ApprovalGate)] if spec else []
    approvers = tuple(dict.fromkeys(subject for gate in gates for subject in gate.subjects))
    needed = max((gate.count for gate in gates), default=1)
    return replace(report, approvers=approvers, needed=needed)


def _with_changes(tx: Transaction, run: Run, report: ApprovalReport) -> ApprovalReport:
    for item in tx.runs.evidence(run.id):
        content = item.content
        if item.kind is not EvidenceKind.CHANGE_SET or item.key != "plan":
            continue
        if isinstance(content, Mapping) and content.get("plan") == report.plan:
            changes = _changes(content.get("objects"))
            counts = Counter(action for action, _ in changes)
            notes = [
                f"{word}: {one}"
                for word, found in (("runs", content.get("hooks")), ("stays", content.get("kept")))
                for one in (found if isinstance(found, list | tuple) else ())
            ]
            return replace(
                report,
                counts=tuple(sorted(counts.items(), key=lambda one: _rank(one[0]))),
                changes=tuple(changes),
                notes=tuple(redact_clause(note) for note in notes),
            )
    return report


def _changes(objects: Json) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for change in objects if isinstance(objects, list | tuple) else ():
        if isinstance(change, Mapping) and change.get("action") not in _QUIET:
            action, name = str(change.get("action")), redact_clause(str(change.get("object")))
            found.append((action, name))
    return sorted(found, key=lambda one: _rank(one[0]), reverse=True)  # what goes away comes first


def _rank(action: str) -> int:
    return _ORDER.get(action, len(_ORDER))


def _with_outcome(
    tx: Transaction, run: Run, votes: list[Vote], report: ApprovalReport
) -> ApprovalReport:
    agreed = ", ".join(vote.subject for vote in votes if vote.decision is Decision.APPROVE)
    skips = [
        skip
        for skip in tx.skips.of_run(run.id)
        if _is_approval(skip.gate) and skip.plan == report.plan and skip.void_at is None
    ]
    skipped = [f"skipped by {skip.subject}: {skip.reason}" for skip in skips]
    said: tuple[Vote | GateSkip, ...] = (*votes, *skips)
    voted_at = max((one.at for one in said), default=None)
    if run.phase is Phase.ABORTED and run.step is Step.GATE and run.plan == report.plan:
        reason = run.failure.reason if run.failure is not None else ""
        why = redact_clause(run.failure.message) if run.failure is not None else ""
        return _decided(report, _ENDED.get(reason, Outcome.ENDED), why, run.ended_at)
    if run.plan != report.plan:
        sentence = "the plan changed, so this is not asked any more"
        return _decided(report, Outcome.CHANGED, sentence, None)
    if run.step is not Step.GATE or not run.live:
        return _decided(report, Outcome.APPROVED, _agreement(agreed, skipped), voted_at)
    gates = load_gates(tx, run)
    asked = [state for state in gates if _is_approval(state.name)]
    if asked and all(isinstance(state.answer, Open) for state in asked):
        waits = [state.name for state in gates if isinstance(state.answer, Closed)]
        more = f"; it still waits for {', '.join(waits)}" if waits else ""
        sentence = f"{_agreement(agreed, skipped)}{more}"
        return _decided(report, Outcome.APPROVED, sentence, voted_at)
    return report


def _is_approval(gate: str) -> bool:
    return gate.split("-", maxsplit=1)[0] == "approval"


def _agreement(agreed: str, skipped: list[str]) -> str:
    """Say who agreed, or who let the run pass without."""
    said = [f"approved by {agreed}"] if agreed else []
    said += [redact_clause(reason) for reason in dict.fromkeys(skipped)]
    return "; ".join(said) or "it needed no approval any more"


def _decided(
    report: ApprovalReport, outcome: Outcome, sentence: str, at: datetime | None
) -> ApprovalReport:
    return replace(report, outcome=outcome, sentence=sentence, at=at)


def _say(vote: Vote) -> str:
    why = f": {redact_clause(vote.reason)}" if vote.reason else ""
    return f"{_WORDS[vote.decision]}{why}"
