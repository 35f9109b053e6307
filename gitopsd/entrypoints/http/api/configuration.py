"""The configuration folder as it is read now: what is wrong in it."""

from __future__ import annotations

from pydantic import Field

from gitopsd.entrypoints.http.models import Model
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text


class ProblemView(Model):
    """Why a file, or a part of it, is not used; what it said before still counts."""

    file: str
    path: str = Field(description="Place in the document; empty for the whole file.")
    problem: str
    remedy: str = Field(description="What to write instead.")


class ConfigurationView(Model):
    """What the configuration folder says now."""

    applications: list[str]
    clusters: list[str]
    receivers: list[str]
    channels: list[str]
    projects: list[str]
    problems: list[ProblemView]


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
    )


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
)
