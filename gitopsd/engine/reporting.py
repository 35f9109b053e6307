"""Composes reports from what is stored: always how things stand now."""

from __future__ import annotations

from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageKey, StageName
from gitopsd.domain.reports import CallReport, Report
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.sources import CommitSha
from gitopsd.engine.approval_reports import compose_approval, compose_approvals
from gitopsd.engine.release_reports import compose_release
from gitopsd.engine.report_links import Links
from gitopsd.engine.showing import Subject, find_story
from gitopsd.engine.stage_reports import compose_stage
from gitopsd.kube.redaction import redact_clause
from gitopsd.store_ports import Transaction


def compose_report(
    tx: Transaction, channel: ChannelSpec, subject: Subject, public_url: str
) -> Report | None:
    """Compose what a channel shows of a subject; None when there is nothing to show any more."""
    identity = f"{tx.installation}/{channel.name}/{subject}"
    links = Links(public_url)
    match subject.kind:
        case "release":
            return compose_release(tx, ReleaseId(subject.name), identity, links)
        case "approval":
            run, _, plan = subject.name.partition(":")
            return compose_approval(tx, RunId(run), plan, identity, links)
        case "approvals":
            return compose_approvals(tx, RunId(subject.name), identity, links)
        case "call":
            return _compose_call(tx, subject.name, identity, links)
        case "stage":
            application, stage, sha = subject.name.split("/", 2)
            key = StageKey(ApplicationName(application), StageName(stage))
            return compose_stage(tx, key, CommitSha(sha), identity, links)
        case _:
            return None


def find_parent(tx: Transaction, subject: Subject) -> str:
    """Find the subject that another one is shown below; empty when it stands by itself."""
    if subject.kind != "call":
        return ""
    run = _run_of(tx, subject.name)
    story = find_story(tx, run) if run is not None else None
    return str(Subject("release", story.id)) if story is not None else ""


def _compose_call(
    tx: Transaction, notification: str, identity: str, links: Links
) -> CallReport | None:
    told = tx.records.notification(notification)
    if told is None:
        return None
    run = told.details.get("run")
    return CallReport(
        id=identity,
        trigger=told.trigger,
        application=told.application,
        stage=told.stage,
        sentence=redact_clause(told.message),
        at=told.at,
        link=links.run(run) if isinstance(run, str) else "",
    )


def _run_of(tx: Transaction, notification: str) -> Run | None:
    told = tx.records.notification(notification)
    run = told.details.get("run") if told is not None else None
    return tx.runs.get(RunId(run)) if isinstance(run, str) else None
