"""The gate of a stage that asks another one for its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.config import UpstreamSpec
from gitopsd.domain.gates import Closed, Open
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.verifications import Quarantine
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.upstream_images import images_verified_since
from tests.support.runs import KEY, NOON
from tests.unit.pipeline.test_gates import FACTS, RUN, STAGING, answer

MINUTE = timedelta(minutes=1)
API, JOB, WEB, SIDE = (Digest(f"sha256:{name}") for name in ("api", "job", "web", "side"))
WAITS = "bring it to staging; this opens as soon as it verifies it"
BRANCH = replace(
    FACTS, spec=replace(FACTS.spec, upstream=UpstreamSpec(STAGING), gates=()), plan_images={}
)


def bringing(*images: Digest | None, **facts: Mapping[Digest, datetime]) -> GateFacts:
    """Facts of a run whose plan holds these images; None stands for one without a digest."""
    plan = {f"host/{n}@{one}" if one else f"host/{n}": one for n, one in enumerate(images)}
    return replace(BRANCH, plan_images=plan, **facts)  # type: ignore[arg-type] # fields by name


def held(*images: Digest, lifted_at: datetime | None = None) -> Quarantine:
    """A quarantine of images in staging."""
    key = StageKey(KEY.application, STAGING)
    bytes_ = Digest("sha256:other")
    return Quarantine(
        "q-1", key, bytes_, images, ReleaseId("r-1"), "it crashed.", NOON, lifted_at=lifted_at
    )


def test_images_wait_until_the_other_stage_has_verified_them() -> None:
    """Each that is missing is named with its digest, and the stage, and what opens the gate."""
    assert answer(bringing(API, upstream_images={API: NOON}), "upstream") == Open()
    assert answer(bringing(API, JOB, upstream_images={API: NOON}), "upstream") == Closed(
        "host/1@sha256:job is not verified in staging", WAITS
    )
    assert answer(bringing(API, JOB), "upstream") == Closed(
        "host/0@sha256:api, host/1@sha256:job are not verified in staging",
        "bring them to staging; this opens as soon as it verifies them",
    )


def test_a_long_list_of_images_is_cut() -> None:
    """Three are named; of the others the number is."""
    three = answer(bringing(API, JOB, WEB), "upstream")
    assert isinstance(three, Closed)
    assert three.reason == (
        "host/0@sha256:api, host/1@sha256:job, host/2@sha256:web are not verified in staging"
    )
    four = answer(bringing(API, JOB, WEB, SIDE), "upstream")
    assert isinstance(four, Closed)
    assert four.reason == (
        "host/0@sha256:api, host/1@sha256:job, host/2@sha256:web and 1 more "
        "are not verified in staging"
    )


def test_what_the_stage_runs_verified_is_nothing_new() -> None:
    """A change of settings alone waits for nothing."""
    facts = bringing(API, JOB, upstream_images={JOB: NOON}, running_images={API: NOON})
    assert answer(facts, "upstream") == Open()


def test_what_failed_upstream_stays_out() -> None:
    """Also when another set with it was verified there, and when the stage runs it."""
    facts = bringing(JOB, API, upstream_images={API: NOON, JOB: NOON}, running_images={API: NOON})
    assert answer(replace(facts, upstream_quarantines=(held(API),)), "upstream") == Closed(
        "host/1@sha256:api is quarantined in staging: it crashed.",
        "push a fix, or: gitopsd quarantine lift q-1",
    )
    for other in (held(WEB), held(API, lifted_at=NOON)):
        assert answer(replace(facts, upstream_quarantines=(other,)), "upstream") == Open()


def test_an_image_without_a_digest_cannot_be_compared() -> None:
    """It never passes as one that nobody asked about."""
    remedy = "write pinImages: all in the application file, or the digest in Git"
    assert answer(bringing(API, None, upstream_images={API: NOON}), "upstream") == Closed(
        "host/1 has no digest to compare with what staging verified", remedy
    )
    assert answer(bringing(None, None), "upstream") == Closed(
        "host/0, host/1 have no digests to compare with what staging verified", remedy
    )


def test_a_plan_that_cannot_be_read_does_not_pass() -> None:
    """A missing fact closes a gate; a plan without any image has nothing to be asked for."""
    assert answer(replace(BRANCH, plan_images=None), "upstream") == Closed(
        "the images of its plan are not known", "wait until it is rendered again"
    )
    assert answer(BRANCH, "upstream") == Open()


def test_a_person_s_wish_does_not_open_it() -> None:
    """Nothing is promoted unverified, whoever asks."""
    asked = replace(bringing(API), stage=replace(FACTS.stage, requested=RUN.release))
    assert answer(asked, "upstream") == Closed(
        "host/0@sha256:api is not verified in staging", WAITS
    )


def test_a_stage_that_asks_nobody_looks_at_no_images() -> None:
    """Without ``upstream`` the images of the plan are nobody's business."""
    assert answer(replace(bringing(API), spec=FACTS.spec), "upstream") == Open()


@pytest.mark.parametrize(
    "facts, since",
    [
        (bringing(API, upstream_images={API: NOON}), NOON),
        (bringing(API, JOB, upstream_images={API: NOON, JOB: NOON + MINUTE}), NOON + MINUTE),
        (bringing(API, JOB, upstream_images={API: NOON}), None),
        (bringing(API, None, upstream_images={API: NOON}), None),
        (bringing(API, running_images={API: NOON}), NOON),
        (bringing(API, upstream_images={API: NOON}, running_images={API: NOON + MINUTE}), NOON),
        (bringing(API, upstream_images={API: NOON + MINUTE}, running_images={API: NOON}), NOON),
        (bringing(), None),
        (replace(BRANCH, plan_images=None), None),
    ],
)
def test_images_soak_since_the_last_of_them_was_verified(
    facts: GateFacts, since: datetime | None
) -> None:
    """Each counts from its first verification, in either stage; all of them have to have one."""
    assert images_verified_since(facts) == since
