"""One release, and how far it came."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.releases import Release, ReleaseId, StageKey
from gitopsd.entrypoints.http.api.release_views import OfferedReleaseView, view_offered
from gitopsd.entrypoints.http.api.results import not_found
from gitopsd.entrypoints.http.api.run_views import RunView, view_run
from gitopsd.entrypoints.http.models import Model
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.store_ports import Transaction


class ReleaseStageView(Model):
    """A release in one stage."""

    stage: str
    rendered: str | None = Field(description="Digest of what it rendered to here.")
    verified_at: datetime | None = Field(description="Since when it is verified here.")
    quarantine: str | None = Field(description="Quarantine in force that it falls under.")
    last_run: RunView | None


class ReleaseDetail(OfferedReleaseView):
    """A release, and how far it came."""

    stages: list[ReleaseStageView]


async def get_release(call: Call) -> Answer:
    """Show one release."""
    wanted = ReleaseId(call.path["release"])

    def work(tx: Transaction) -> ReleaseDetail | None:
        release = tx.releases.get(wanted)
        if release is None or not call.principal.may(Access.READ, release.application):
            return None
        keys = [stage.key for stage in tx.stages.page(release.application)]
        return ReleaseDetail(
            **dict(view_offered(tx, release)), stages=[_stage(tx, release, key) for key in keys]
        )

    found = await call.service.services.store.read(work)
    if found is None:
        raise not_found("release", wanted)
    return found


def _stage(tx: Transaction, release: Release, key: StageKey) -> ReleaseStageView:
    rendering = tx.releases.renderings(key).get(release.id)
    verified = next(
        (
            one.recorded_at
            for one in tx.verifications.page(key)
            if one.release == release.id and one.revoked_at is None
        ),
        None,
    )
    quarantine = is_quarantined(
        rendering.rendered if rendering is not None else None,
        rendering.images if rendering is not None else tuple(release.images.values()),
        tx.quarantines.in_force(key),
    )
    last = tx.runs.last_rollouts(key).get(release.id)
    return ReleaseStageView(
        stage=key.stage,
        rendered=rendering.rendered if rendering is not None else None,
        verified_at=verified,
        quarantine=quarantine.id if quarantine is not None else None,
        last_run=view_run(tx, last) if last is not None else None,
    )


ROUTES = (
    Route(
        "GET",
        "/releases/{release}",
        get_release,
        Access.READ,
        "Show one release and how far it came.",
        answer=ReleaseDetail,
    ),
)
