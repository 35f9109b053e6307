"""The configuration folder as it is read now: what is wrong in it."""

from __future__ import annotations

from pydantic import Field

from gitopsd.engine.removals import confirm_removals
from gitopsd.entrypoints.http.api.results import answer_result, expect
from gitopsd.entrypoints.http.models import Done, Model
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text


class ProblemView(Model):
    """Why a file, or a part of it, is not used; what it said before still counts."""

    file: str
    path: str = Field(description="Place in the document; empty for the whole file.")
    problem: str
    remedy: str = Field(description="What to write instead.")


class RemovalView(Model):
    """A file that vanished together with many; what it said counts until that is confirmed."""

    file: str
    kind: str
    name: str
    stages: list[str] = Field(description="Stages that are retired then; nothing is deleted.")


class ConfirmBody(Model):
    """Which removals are meant."""

    files: list[str] = Field(
        min_length=1, max_length=10_000, description="All that are held, as they were shown."
    )


class ConfigurationView(Model):
    """What the configuration folder says now."""

    applications: list[str]
    clusters: list[str]
    receivers: list[str]
    channels: list[str]
    projects: list[str]
    problems: list[ProblemView]
    held_removals: list[RemovalView] = Field(
        description="Files that vanished at once and still count until a person confirms it."
    )


async def get_configuration(call: Call) -> Answer:
    """Show what is configured by name, and every problem."""
    found = call.service.services.configuration()
    return ConfigurationView(
        applications=sorted(map(str, found.applications)),
        clusters=sorted(found.clusters),
        receivers=sorted(map(str, found.receivers)),
        channels=sorted(found.channels),
        projects=sorted(project.name for project in found.projects),
        problems=[
            ProblemView(
                file=error.file,
                path=error.path,
                problem=redact_text(error.problem),
                remedy=redact_text(error.remedy),
            )
            for error in call.service.problems()
        ],
        held_removals=[
            RemovalView(
                file=one.file, kind=one.kind, name=one.name, stages=[str(s) for s in one.stages]
            )
            for one in call.service.removals()
        ],
    )


async def confirm(call: Call) -> Answer:
    """Confirm that files which vanished at once are meant to be gone."""
    service, body = call.service, expect(ConfirmBody, call.body)
    done = await confirm_removals(service.services, call.actor, service.removals(), body.files)
    return answer_result(done)


ROUTES = (
    Route(
        "GET",
        "/configuration",
        get_configuration,
        Access.READ,
        "Show what is configured by name, and what is wrong in the folder.",
        answer=ConfigurationView,
        everywhere=True,
    ),
    Route(
        "POST",
        "/configuration/confirm-removals",
        confirm,
        Access.ADMIN,
        "Confirm that files which vanished at once are meant to be gone: their stages are retired.",
        answer=Done,
        body=ConfirmBody,
        everywhere=True,
    ),
)
