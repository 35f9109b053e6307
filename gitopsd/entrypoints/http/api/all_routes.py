"""Every route of the API."""

from __future__ import annotations

from gitopsd.entrypoints.http.api import (
    applications,
    approvals,
    audit,
    channels,
    commits,
    configuration,
    deliveries,
    events,
    explaining,
    freezes,
    groups,
    quarantines,
    releases,
    run_verbs,
    runs,
    stages,
    tokens,
)
from gitopsd.entrypoints.http.api.openapi import describing_route
from gitopsd.entrypoints.http.routes import Route

_RESOURCES: tuple[Route, ...] = (
    *applications.ROUTES,
    *stages.ROUTES,
    *groups.ROUTES,
    *runs.ROUTES,
    *run_verbs.ROUTES,
    *explaining.ROUTES,
    *releases.ROUTES,
    *commits.ROUTES,
    *approvals.ROUTES,
    *quarantines.ROUTES,
    *freezes.ROUTES,
    *deliveries.ROUTES,
    *audit.ROUTES,
    *channels.ROUTES,
    *configuration.ROUTES,
    *events.ROUTES,
    *tokens.ROUTES,
)

ROUTES: tuple[Route, ...] = (*_RESOURCES, describing_route(_RESOURCES))
"""All of them, the API's own description too."""
