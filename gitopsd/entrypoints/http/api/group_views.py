"""What a group of stages looks like."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.releases import ReleaseId, StageName
from gitopsd.engine.group_facts import load_group
from gitopsd.engine.group_reports import count_changes, find_release
from gitopsd.engine.group_voting import find_waiting, is_asked
from gitopsd.entrypoints.http.models import Model
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.groups import GroupFacts, describe_member, say_stopped
from gitopsd.store_ports import Transaction


class MemberView(Model):
    """How one stage of a group stands with the group's release."""

    stage: str
    wave: int = Field(description="From 1; stages of one wave begin together.")
    state: str = Field(description="Verified, Failed or Waiting.")
    reason: str = Field(description="Where its run is, or how it ended.")
    run: str | None = Field(description="The release's last rollout there.")


class PlanView(Model):
    """A plan that waits at its Gate."""

    run: str
    stage: str
    release: str
    plan: str
    asked: bool = Field(description="Whether it lacks an approval; one that does not waits on.")
    changes: dict[str, int] = Field(description="Action -> number of objects.")
    expires_at: datetime | None


class GroupView(Model):
    """A group of stages."""

    application: str
    name: str
    order: list[list[str]] = Field(description="Waves; stages of one begin together.")
    max_failures: int = Field(description="Stages that a release may fail in.")
    on_failure: str = Field(description="hold or rollbackAll.")
    release: str | None = Field(description="The newest release that came to the group.")
    stages: list[MemberView] = Field(description="How they stand with that release.")
    stopped: str = Field(description="Why it goes no further; empty while it may.")
    waiting: list[PlanView] = Field(description="Plans at their Gates; one vote is for all.")


def view_group(tx: Transaction, spec: ApplicationSpec, group: GroupSpec) -> GroupView:
    """Describe a group, and how it stands with the newest release that came to it."""
    waves = spec.waves_of(group)
    release = find_release(tx, spec, group)
    facts = _facts(tx, spec, group, release)
    return GroupView(
        application=spec.name,
        name=group.name,
        order=[[str(name) for name in wave] for wave in waves],
        max_failures=group.max_failures,
        on_failure=group.on_failure.value,
        release=release,
        stages=_members(facts, waves),
        stopped=redact_text(say_stopped(facts)) if facts is not None and facts.stopped else "",
        waiting=[
            PlanView(
                run=run.id,
                stage=run.stage.stage,
                release=run.release,
                plan=run.plan or "",
                asked=is_asked(tx, run),
                changes=dict(count_changes(tx, run)),
                expires_at=run.step_deadline,
            )
            for run in find_waiting(tx, spec.name, group.name)
        ],
    )


def _facts(
    tx: Transaction, spec: ApplicationSpec, group: GroupSpec, release: ReleaseId | None
) -> GroupFacts | None:
    stage = next((one for one in spec.stages if one.group == group.name), None)
    if stage is None or release is None:
        return None
    return load_group(tx, spec, stage, release)


def _members(
    facts: GroupFacts | None, waves: tuple[tuple[StageName, ...], ...]
) -> list[MemberView]:
    if facts is None:
        return [
            MemberView(stage=name, wave=number, state="Waiting", reason="not begun", run=None)
            for number, wave in enumerate(waves, start=1)
            for name in wave
        ]
    return [
        MemberView(
            stage=one.stage.stage,
            wave=one.wave + 1,
            state="Verified" if one.verified else "Failed" if one.failed else "Waiting",
            reason=redact_text(describe_member(one)),
            run=one.run.id if one.run is not None else None,
        )
        for one in facts.members
    ]
