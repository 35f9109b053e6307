"""The soak gate: what looks count, and what it says about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitopsd.domain.config import StageSpec
from gitopsd.domain.gate_specs import SoakGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.manifests import Digest, Health
from gitopsd.domain.releases import Release, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import RunKind, Step
from gitopsd.domain.sources import Commit, CommitSha
from gitopsd.domain.stages import Observation, Soak, Stage
from gitopsd.domain.verifications import Destination, Verification, VerificationId
from gitopsd.pipeline.facts import GateFacts, SoakFacts
from gitopsd.pipeline.gate_kinds.soak import say_duration
from gitopsd.pipeline.gates import evaluate_gates
from gitopsd.pipeline.soaking import (
    KEPT,
    begin_soak,
    count_look,
    fail_soak,
    find_soak,
    find_soak_of_images,
)
from tests.support.runs import BYTES, KEY, NOON, OLD_BYTES, run_at

STAGING = StageName("staging")
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
LONGEST = MINUTE
RUN = run_at(RunKind.ROLLOUT, Step.GATE)
V7 = VerificationId("v-7")
SOAK = Soak(V7, RUN.release, BYTES)
GATE = SoakGate(STAGING, 10 * MINUTE)
FACTS = GateFacts(
    now=NOON,
    run=RUN,
    release=Release(RUN.release, KEY.application, Commit(CommitSha("a" * 40))),
    offer=None,
    stage=Stage(KEY),
    spec=StageSpec(KEY.stage, "one", "overlays/production", "shop", gates=(GATE,)),
    verified_upstream_at={STAGING: NOON - 20 * MINUTE},
)


def verified(name: str = "7", release: str = "r-7", rendered: Digest = BYTES) -> Verification:
    """A verification of staging."""
    return Verification(
        VerificationId(f"v-{name}"),
        StageKey(KEY.application, STAGING),
        ReleaseId(release),
        rendered,
        Destination("one", "shop"),
        1,
        NOON,
    )


def look(
    at: datetime, health: Health = Health.HEALTHY, message: str = "", *, synced: bool | None = True
) -> Observation:
    """One look."""
    return Observation(health, synced, message, at)


def count(*looks: Observation, soaks: tuple[Soak, ...] | None = None) -> Soak:
    """What some looks at the stage count, begun at noon with a healthy one."""
    kept = begin_soak((), verified(), NOON) if soaks is None else soaks
    for seen in looks:
        kept = count_look(kept, V7, seen, LONGEST)
    return kept[0]


def answer(facts: SoakFacts | None, gate: SoakGate = GATE) -> GateAnswer:
    """What the gate answers."""
    known = {} if facts is None else {STAGING: facts}
    spec = replace(FACTS.spec, gates=(gate,))
    return evaluate_gates(replace(FACTS, soaks=known, spec=spec))[0].answer


def soaked(minutes: float, *, at: datetime | None = NOON, failed: str = "") -> SoakFacts:
    """The stage runs the release and was seen healthy for so long."""
    soak = replace(SOAK, accumulated=minutes * MINUTE, healthy_at=at, failed=failed)
    return SoakFacts(soak, current=True, running=RUN.release)


def test_time_between_two_healthy_looks_counts() -> None:
    """From the look that verified it on."""
    assert count(look(NOON + 15 * SECOND)).accumulated == 15 * SECOND
    far = count(look(NOON + 15 * SECOND), look(NOON + 75 * SECOND))
    assert (far.accumulated, far.healthy_at) == (75 * SECOND, NOON + 75 * SECOND)


def test_time_that_nobody_looked_does_not_count() -> None:
    """A look after too long a gap begins a new stretch: a second more than the longest is one."""
    seen = count(look(NOON + LONGEST + SECOND), look(NOON + LONGEST + 16 * SECOND))
    assert seen.accumulated == 15 * SECOND


@pytest.mark.parametrize("health", [Health.UNKNOWN, Health.PROGRESSING, Health.SUSPENDED])
def test_a_look_that_saw_no_health_pauses_it(health: Health) -> None:
    """Neither the time before that look counts nor the time after it; what there was stays."""
    blind = count(look(NOON + 15 * SECOND), look(NOON + 20 * SECOND, health, synced=None))
    assert (blind.accumulated, blind.healthy_at, blind.failed) == (15 * SECOND, None, "")
    back = count(look(NOON + 30 * SECOND), look(NOON + 40 * SECOND), soaks=(blind,))
    assert back.accumulated == 25 * SECOND


@pytest.mark.parametrize(
    "seen,why",
    [
        (look(NOON + 20 * SECOND, Health.DEGRADED, "api crashes"), "api crashes"),
        (look(NOON + 20 * SECOND, Health.DEGRADED), "it was not healthy"),
        (look(NOON + 20 * SECOND, Health.PROGRESSING, "api is gone", synced=False), "api is gone"),
    ],
)
def test_a_definite_failure_begins_it_anew(seen: Observation, why: str) -> None:
    """So does a live object that is not there any more."""
    failed = count(look(NOON + 15 * SECOND), seen)
    assert (failed.accumulated, failed.healthy_at, failed.failed) == (timedelta(0), None, why)
    again = count(look(NOON + 30 * SECOND), look(NOON + 45 * SECOND), soaks=(failed,))
    assert (again.accumulated, again.failed) == (15 * SECOND, why)


def test_looks_in_the_wrong_order_count_once() -> None:
    """Two replicas look; the look that comes late adds nothing and takes nothing away."""
    seen = count(
        look(NOON + 30 * SECOND),
        look(NOON + 15 * SECOND),
        look(NOON + 30 * SECOND, Health.DEGRADED, "late"),
    )
    assert seen == count(look(NOON + 30 * SECOND))


def test_a_look_at_something_else_counts_for_nothing() -> None:
    """What was verified when the look began is not what the count is of."""
    begun = begin_soak((), verified(), NOON)
    for other in (None, VerificationId("v-8")):
        assert count_look(begun, other, look(NOON + SECOND), LONGEST) == begun
        assert fail_soak(begun, other, "it crashes") == begun


def test_a_failed_check_begins_it_anew() -> None:
    """A monitor or the watch found out, not a look."""
    soak = count(look(NOON + 15 * SECOND))
    (failed,) = fail_soak((soak,), V7, "check /health failed")
    assert (failed.accumulated, failed.failed) == (timedelta(0), "check /health failed")


def test_each_verification_counts_from_zero() -> None:
    """What came back after something else begins anew; what was there before keeps its count."""
    first = (count(look(NOON + 15 * SECOND)),)
    second = begin_soak(first, verified("8", "r-8"), None)
    assert [one.accumulated for one in second] == [timedelta(0), 15 * SECOND]
    back = begin_soak(second, verified("9"), NOON)
    found = find_soak(back, RUN.release)
    assert found is not None
    assert (found.verification, found.accumulated) == ("v-9", timedelta(0))
    assert find_soak(back, ReleaseId("r-1")) is None
    assert begin_soak(back, verified("9"), NOON) == back


def test_a_few_counts_are_kept() -> None:
    """The newest ones."""
    soaks: tuple[Soak, ...] = ()
    for number in range(KEPT + 3):
        soaks = begin_soak(soaks, verified(str(number)), None)
    assert [one.verification for one in soaks] == ["v-7", "v-6", "v-5", "v-4", "v-3"]


def test_images_soak_where_they_ran_together() -> None:
    """The newest set that holds all of them; none when they never ran together."""
    one, two, three = Digest("sha256:1"), Digest("sha256:2"), Digest("sha256:3")
    newest = begin_soak((SOAK,), verified("8", "r-8", OLD_BYTES), None)
    images = {BYTES: (one, two), OLD_BYTES: (two, three)}
    assert find_soak_of_images(newest, images, {two}) == newest[0]
    assert find_soak_of_images(newest, images, {one, two}) == newest[1]
    assert find_soak_of_images(newest, images, {one, three}) is None
    assert find_soak_of_images(newest, {}, {one}) is None


LOOKS = st.lists(
    st.tuples(
        st.integers(1, 90),
        st.sampled_from([Health.HEALTHY, Health.PROGRESSING, Health.UNKNOWN, Health.DEGRADED]),
    ),
    max_size=12,
)


@settings(max_examples=50)
@given(LOOKS)
def test_the_count_is_what_a_second_by_second_reading_of_the_looks_says(
    looks: list[tuple[int, Health]],
) -> None:
    """A second counts when the looks on both of its sides were healthy and a minute apart at most.

    And only seconds after the last definite failure do.
    """
    times, at = [(0, Health.HEALTHY)], 0
    for gap, health in looks:
        at += gap
        times.append((at, health))
    seconds = 0
    for second in range(at):
        before = max(item for item in times if item[0] <= second)
        after = min(item for item in times if item[0] > second)
        fine = before[1] is after[1] is Health.HEALTHY and after[0] - before[0] <= 60
        failed = any(item[1] is Health.DEGRADED and item[0] > second for item in times)
        seconds += fine and not failed
    seen = count(*(look(NOON + when * SECOND, health) for when, health in times[1:]))
    assert seen.accumulated == seconds * SECOND


def test_what_soaked_long_enough_is_open() -> None:
    """At the very moment, and when the stage went on to something newer since."""
    assert answer(soaked(10)) == Open("seen healthy in staging for 10m")
    gone = replace(soaked(11, at=None), current=False, running=ReleaseId("r-8"))
    assert answer(gone) == Open("seen healthy in staging for 10m")


def test_while_it_soaks_it_says_until_when() -> None:
    """Counted from the last healthy look; how far it got in whole minutes."""
    assert answer(soaked(4.7)) == Closed(
        "seen healthy in staging for 4m of 10m",
        "wait while staging stays healthy",
        NOON + 5.3 * MINUTE,
    )
    short = answer(soaked(0.51), SoakGate(STAGING, MINUTE))
    assert short.reason == "seen healthy in staging for 30s of 1m"


def test_what_is_not_seen_healthy_has_no_end_in_sight() -> None:
    """The last look's own words say why."""
    blind = replace(soaked(4, at=None), last="the API server does not answer")
    assert answer(blind) == Closed(
        "seen healthy in staging for 4m of 10m; staging is not seen healthy now: "
        "the API server does not answer",
        "mend staging",
    )
    failed = answer(soaked(0, at=None, failed="api crashes"))
    assert failed.reason == (
        "seen healthy in staging for 0s of 10m; staging is not seen healthy now; "
        "it counts anew since a failure there: api crashes"
    )


def test_after_a_failure_it_says_so() -> None:
    """While it counts anew."""
    again = answer(soaked(2, failed="api crashes"))
    assert again.reason == (
        "seen healthy in staging for 2m of 10m; it counts anew since a failure there: api crashes"
    )


@pytest.mark.parametrize(
    "running,said", [(ReleaseId("r-8"), "r-8"), (None, "something unverified")]
)
def test_a_stage_that_went_on_too_early_is_named(running: ReleaseId | None, said: str) -> None:
    """Nothing opens it but bringing the release there again."""
    gone = replace(soaked(4), current=False, running=running)
    assert answer(gone) == Closed(
        f"seen healthy in staging for 4m of 10m; staging runs {said} now",
        "bring it there again: gitopsd promote shop staging r-7, or promote what staging runs",
    )


def test_without_a_verification_it_is_closed() -> None:
    """Verified somewhere else does not count."""
    elsewhere = replace(FACTS, verified_upstream_at={"eu": NOON}, soaks={STAGING: soaked(10)})
    assert evaluate_gates(elsewhere)[0].answer == Closed(
        "not verified in staging", "wait until it is verified in staging"
    )


def test_a_missing_fact_closes_it() -> None:
    """Nothing is known yet, or no more: it was verified too long ago."""
    assert answer(None) == Closed(
        "nobody has looked at it in staging yet", "wait for the first look"
    )
    assert answer(SoakFacts(running=ReleaseId("r-9"))) == Closed(
        "how long it was healthy in staging is not known: it was verified there long ago",
        "bring it there again: gitopsd promote shop staging r-7",
    )


def test_a_run_that_brings_no_image_of_the_stage_waits_for_none() -> None:
    """Of a stage that is asked for images only."""
    assert answer(SoakFacts(needs_nothing=True)) == Open(
        "it brings no image that staging would have to run first"
    )


@pytest.mark.parametrize(
    "duration,said",
    [
        (timedelta(0), "0s"),
        (90 * SECOND, "1m30s"),
        (timedelta(hours=25), "25h"),
        (timedelta(hours=1, minutes=2, seconds=3), "1h2m3s"),
    ],
)
def test_durations_are_said_as_files_write_them(duration: timedelta, said: str) -> None:
    """Largest unit first, zero ones left out."""
    assert say_duration(duration) == said
