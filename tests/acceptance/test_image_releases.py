"""Releases that an image push makes, in virtual time.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside, the
registry among it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec, Configuration
from gitopsd.domain.images import (
    DigestPolicy,
    ImagePolicy,
    ImageSource,
    NewestPolicy,
    PinImages,
    RegistrySpec,
    SemverPolicy,
)
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.work import EvidenceKind, Page
from gitopsd.engine.offering import load_image_choice
from gitopsd.engine.queries import fetch_commit_statuses
from gitopsd.errors import TemporaryError
from gitopsd.pipeline.commit_status import CommitState
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    SHOP,
    STAGING,
    World,
    config_map,
    deployment,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

API, WORKER = "registry.example/team/api", "registry.example/team/worker"
SECOND = timedelta(seconds=1)


def _spec(*sources: ImageSource, pin: PinImages = PinImages.NONE) -> ApplicationSpec:
    return replace(shop_spec(), images=sources, pin_images=pin)


def _follow(policy: ImagePolicy, name: str = API, group: str = "") -> ImageSource:
    return ImageSource(name, policy, group)


async def _until_releases(world: World, count: int) -> None:
    async def there() -> bool:
        return len(await world.releases()) >= count

    await world.until(there, f"{count} releases")


async def _until_staged(world: World, count: int) -> None:
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)


def _image_in(world: World, place: str = "shop-staging") -> str:
    live = world.cluster.live()[f"Deployment {place}/api"]
    template = live["spec"]["template"]  # type: ignore[index, call-overload] # a Deployment has one
    image = template["spec"]["containers"][0]["image"]  # type: ignore[index, call-overload] # of one container
    return str(image)


async def test_an_image_push_makes_a_release_as_a_git_push_does() -> None:
    """A new tag in the range goes to staging by digest, and through the approval to production."""
    async with running_world(_spec(_follow(SemverPolicy(">=1.4 <2")))) as world:
        first = world.registry.push(API, "1.4.1")
        await world.push("first", deployment(f"{API}:1.4.0"))
        await _until_staged(world, 1)
        assert _image_in(world) == f"{API}:1.4.1@{first}"

        second = world.registry.push(API, "1.4.2")
        assert await world.notify(API, "1.4.2", second) == 202
        await _until_staged(world, 2)
        assert _image_in(world) == f"{API}:1.4.2@{second}"
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)

        one, two = await world.releases()
        assert one.commit == two.commit
        assert one.id != two.id
        assert (dict(one.images), dict(two.images)) == ({API: first}, {API: second})
        assert two.origins[API].tag == "1.4.2"
        assert _image_in(world, "shop") == f"{API}:1.4.2@{second}"


async def test_a_tag_that_moves_twice_ends_in_one_release() -> None:
    """Two pushes within a second make one release, with the last digest."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        world.registry.push(API, "main", content="zero")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)

        await world.notify(API, "main", world.registry.push(API, "main", content="one"))
        await world.clock.sleep(timedelta(milliseconds=950))
        last = world.registry.push(API, "main", content="two")
        await world.notify(API, "main", last)
        await _until_staged(world, 2)
        await world.clock.sleep(timedelta(minutes=5))

        assert [dict(release.images)[API] for release in await world.releases()][1:] == [last]
        assert _image_in(world) == f"{API}:main@{last}"


async def test_a_poll_between_two_pushes_makes_no_release_of_its_own() -> None:
    """A tag is seen to have moved before anybody reports it, and moves again: one release."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        world.registry.push(API, "main", content="zero")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        await world.clock.sleep(timedelta(minutes=5))

        first = world.registry.push(API, "main", content="one")
        asked = len(world.registry.asked)
        await world.until(
            lambda: f"GET {API}@{first}" in world.registry.asked[asked:],
            "a poll",
            timedelta(minutes=2),
        )
        await world.clock.sleep(timedelta(milliseconds=700))
        last = world.registry.push(API, "main", content="two")
        await _until_staged(world, 2)
        await world.clock.sleep(timedelta(minutes=5))

        assert [dict(release.images)[API] for release in await world.releases()][1:] == [last]


async def test_a_false_digest_changes_nothing() -> None:
    """What a notification says about a digest is never believed."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        world.registry.push(API, "main")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        writes = len(world.cluster.writes())

        assert await world.notify(API, "main", "sha256:" + "f" * 64) == 202
        await world.clock.sleep(timedelta(minutes=5))

        assert len(await world.releases()) == 1
        assert len(world.cluster.writes()) == writes


@pytest.mark.parametrize("image, tag", [(API, "2.0.0"), (API, "latest"), (WORKER, "1.5.0")])
async def test_a_push_that_nobody_wants_asks_no_registry(image: str, tag: str) -> None:
    """A tag outside of the range, and an image that nobody follows, cost nothing but the row."""
    async with running_world(_spec(_follow(SemverPolicy(">=1.4 <2")))) as world:
        world.registry.push(API, "1.4.1")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        asked = len(world.registry.asked)

        world.registry.push(image, tag)
        await world.notify(image, tag)
        await world.clock.sleep(timedelta(seconds=10))

        assert len(world.registry.asked) == asked
        assert len(await world.releases()) == 1


async def test_a_sender_speaks_only_of_its_sources() -> None:
    """A receiver that is limited to other images hints at nothing here."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        configuration = world.configuration[0]
        receivers = {
            name: replace(spec, sources=("registry.example/others",))
            for name, spec in configuration.receivers.items()
        }
        await world.configure(replace(configuration, receivers=receivers))
        world.registry.push(API, "main", content="one")
        await world.clock.sleep(timedelta(seconds=10))
        asked = len(world.registry.asked)

        await world.notify(API, "main")
        await world.clock.sleep(timedelta(seconds=10))

        assert len(world.registry.asked) == asked


async def test_a_group_moves_as_one_build() -> None:
    """No release is made while one image of a build is missing; then there is one with both."""
    policy = SemverPolicy(">=1")
    sources = (_follow(policy, API, "build"), _follow(policy, WORKER, "build"))
    async with running_world(_spec(*sources)) as world:
        world.registry.push(API, "1.0.0")
        world.registry.push(WORKER, "1.0.0")
        await world.push("first", deployment(API), deployment(WORKER, "worker"))
        await _until_staged(world, 1)

        api = world.registry.push(API, "1.1.0")
        await world.notify(API, "1.1.0", api)
        await world.clock.sleep(timedelta(minutes=3))
        assert len(await world.releases()) == 1
        [release] = await world.releases()
        choice = await world.store.read(
            lambda tx: load_image_choice(tx, _spec(*sources), [STAGING.stage], release)
        )
        assert choice.waiting == (f"{API}:1.1.0 waits for {WORKER}",)

        worker = world.registry.push(WORKER, "1.1.0")
        await world.notify(WORKER, "1.1.0", worker)
        await _until_staged(world, 2)
        assert dict((await world.releases())[1].images) == {API: api, WORKER: worker}


async def test_a_first_release_waits_for_its_images() -> None:
    """While a registry has never answered, no release is made; when it does, there is one."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        await world.push("first", deployment(API))
        await world.clock.sleep(timedelta(minutes=2))
        assert await world.releases() == []
        state = await world.store.read(lambda tx: tx.images.get(API))
        assert state is not None
        assert state.problem == "registry registry.example does not answer"

        digest = world.registry.push(API, "main")
        await _until_staged(world, 1)
        assert _image_in(world) == f"{API}:main@{digest}"


async def test_a_git_fix_flows_while_the_registry_is_down() -> None:
    """Commits go out with the images known last; what runs is left alone."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        digest = world.registry.push(API, "main")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        world.registry.down.add("registry.example")
        await world.clock.sleep(timedelta(minutes=10))
        assert len(await world.runs(STAGING)) == 1

        await world.push("fix", deployment(API), config_map("settings", mode="fixed"))
        await _until_staged(world, 2)

        assert "ConfigMap shop-staging/settings" in world.cluster.live()
        assert _image_in(world) == f"{API}:main@{digest}"
        run = (await world.runs(STAGING))[-1]
        pieces = await world.store.read(lambda tx: tx.runs.evidence(run.id))
        [assessed] = [
            piece.content
            for piece in pieces
            if piece.kind is EvidenceKind.CHANGE_SET and piece.key == "assessed"
        ]
        assert isinstance(assessed, dict)
        assert "registry.example does not answer" in str(assessed["images"])


async def test_a_lost_notification_costs_a_poll_interval() -> None:
    """A tag that moved without a word is found by the next poll."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        world.registry.push(API, "main", content="one")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        digest = world.registry.push(API, "main", content="two")
        await world.clock.sleep(timedelta(seconds=61))
        assert len(await world.releases()) == 2
        await _until_staged(world, 2)
        assert _image_in(world) == f"{API}:main@{digest}"


async def test_idle_images_cost_little() -> None:
    """Where nothing changes, an image costs three questions a poll interval and nothing else."""
    async with running_world(_spec(_follow(SemverPolicy(">=1")))) as world:
        world.registry.push(API, "1.0.0")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        await world.clock.sleep(timedelta(minutes=2))
        asked = len(world.registry.asked)
        cluster = len(world.cluster.requests)

        await world.clock.sleep(timedelta(minutes=60))

        polls = (len(world.registry.asked) - asked) / 3
        assert 60 <= polls <= 70
        assert len(world.cluster.requests) == cluster


async def test_a_tag_that_moves_back_goes_back() -> None:
    """Whoever points the tag at an older image wants that one to run."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        one = world.registry.push(API, "main", content="one")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        await world.notify(API, "main", world.registry.push(API, "main", content="two"))
        await _until_staged(world, 2)

        await world.notify(API, "main", world.registry.push(API, "main", content="one"))
        await _until_staged(world, 3)

        assert _image_in(world) == f"{API}:main@{one}"
        assert len(await world.releases()) == 2


async def test_the_newest_image_of_a_pattern_is_taken() -> None:
    """Of many tags, the one that was built last is released, whatever its name is."""
    start = LoopClock().now()
    async with running_world(_spec(_follow(NewestPolicy("main-*")))) as world:
        for number in range(60):
            world.registry.push(API, f"main-{number}", created=start - number * SECOND)
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        assert ":main-0@" in _image_in(world)

        world.registry.push(API, "dev-1", created=start + 5 * SECOND)
        digest = world.registry.push(API, "main-100", created=start + SECOND)
        await world.notify(API, "main-100", digest)
        await _until_staged(world, 2)
        assert _image_in(world) == f"{API}:main-100@{digest}"

        moved = world.registry.push(API, "main-59", created=start + 3 * SECOND)
        await world.until(
            lambda: f"{API}:main-59@{moved}" == _image_in(world),
            "a tag far back that moved without a word",
            timedelta(minutes=10),
        )


async def test_a_bad_image_is_rolled_back_and_its_fix_flows() -> None:
    """The image's digest is quarantined; commits flow without it, and so does the next image."""
    async with running_world(_spec(_follow(SemverPolicy(">=1")))) as world:
        good = world.registry.push(API, "1.0.0")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)

        bad = world.registry.push(API, "1.1.0")
        world.cluster.workloads[f"{API}:1.1.0@{bad}"] = Workload(
            None, "CrashLoopBackOff", "back-off", restarts=3
        )
        await world.notify(API, "1.1.0", bad)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        [quarantine] = await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))
        assert quarantine.images == (bad,)
        await world.clock.sleep(timedelta(minutes=10))
        assert _image_in(world) == f"{API}:1.0.0@{good}"
        assert len(await world.releases()) == 2

        await world.push("settings", deployment(API), config_map("settings", mode="b"))
        await _until_staged(world, 2)
        assert _image_in(world) == f"{API}:1.0.0@{good}"

        fixed = world.registry.push(API, "1.1.1")
        await world.notify(API, "1.1.1", fixed)
        await _until_staged(world, 3)
        assert _image_in(world) == f"{API}:1.1.1@{fixed}"


async def test_the_next_best_image_is_tried_when_it_never_was() -> None:
    """Behind a bad image, one that was pushed with it and never released comes by itself."""
    async with running_world(_spec(_follow(SemverPolicy(">=1")))) as world:
        world.registry.push(API, "1.0.0")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)

        better = world.registry.push(API, "1.1.0")
        bad = world.registry.push(API, "1.2.0")
        world.cluster.workloads[f"{API}:1.2.0@{bad}"] = Workload(
            None, "CrashLoopBackOff", "back-off", restarts=3
        )
        await world.notify(API, "1.2.0", bad)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        restored = world.clock.now()
        await _until_staged(world, 2)

        assert _image_in(world) == f"{API}:1.1.0@{better}"
        assert world.clock.now() - restored < timedelta(seconds=20)


async def test_a_lifted_quarantine_brings_the_image_back() -> None:
    """When a person lifts it, the image that the policy wants is offered again."""
    async with running_world(_spec(_follow(SemverPolicy(">=1")))) as world:
        world.registry.push(API, "1.0.0")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        bad = world.registry.push(API, "1.1.0")
        name = f"{API}:1.1.0@{bad}"
        world.cluster.workloads[name] = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)
        await world.notify(API, "1.1.0", bad)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.push("settings", deployment(API), config_map("settings", mode="b"))
        await _until_staged(world, 2)

        del world.cluster.workloads[name]
        [quarantine] = await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))
        began = world.clock.now()
        await world.actions.lift_quarantine(APPROVER, quarantine.id)
        await _until_staged(world, 3)
        assert world.clock.now() - began < timedelta(seconds=20)

        assert _image_in(world) == name
        assert "ConfigMap shop-staging/settings" in world.cluster.live()


async def test_an_image_is_released_while_git_does_not_answer() -> None:
    """The commit is known; an image push needs no more of Git than the mirror here."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        world.registry.push(API, "main", content="one")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        error = TemporaryError("the Git host does not answer")
        world.repositories.fail(
            world.configuration[0].applications[SHOP].source.repo, error, times=99
        )

        await world.notify(API, "main", world.registry.push(API, "main", content="two"))
        await _until_staged(world, 2)


async def test_an_image_joins_the_newest_commit() -> None:
    """A commit that changed nothing a stage reads is the one that the next image goes out with."""
    async with running_world(_spec(_follow(DigestPolicy("main")))) as world:
        world.registry.push(API, "main", content="one")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        readme = await world.push("only the readme", deployment(API))
        await world.clock.sleep(timedelta(seconds=5))
        assert len(await world.releases()) == 1

        await world.notify(API, "main", world.registry.push(API, "main", content="two"))
        await _until_staged(world, 2)

        assert (await world.releases())[1].commit.sha == readme
        [status] = await fetch_commit_statuses(world.services, readme, stage="staging")
        assert (status.state, status.exact) == (CommitState.LIVE, False)
        [status] = await fetch_commit_statuses(world.services, world.commits[0], stage="staging")
        assert status.state is CommitState.LIVE


async def test_an_application_begins_and_ends_to_follow_images() -> None:
    """A changed file counts: images join the release, and leave it again."""
    async with running_world() as world:
        await world.push("first", deployment(f"{API}:7"))
        await _until_staged(world, 1)
        assert _image_in(world) == f"{API}:7"
        digest = world.registry.push(API, "main")

        await world.configure(_configured(world, _spec(_follow(DigestPolicy("main")))))
        await _until_staged(world, 2)
        assert _image_in(world) == f"{API}:main@{digest}"

        await world.configure(_configured(world, replace(shop_spec(), digest="3")))
        await _until_staged(world, 3)
        assert _image_in(world) == f"{API}:7"
        asked = len(world.registry.asked)
        await world.clock.sleep(timedelta(minutes=10))
        assert not any("main" in one for one in world.registry.asked[asked:])


def _configured(world: World, spec: ApplicationSpec) -> Configuration:
    spec = spec if spec.digest != "1" else replace(spec, digest="2")
    return replace(world.configuration[0], applications={SHOP: spec})


async def test_an_image_is_found_by_tag_digest_and_revision() -> None:
    """CI asks with what it knows: the application's commit, the tag, or the digest."""
    built, other = "c" * 40, "d" * 40
    async with running_world(_spec(_follow(SemverPolicy(">=1")))) as world:
        first = world.registry.push(API, "1.0.0", revision=other)
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        [status] = await fetch_commit_statuses(world.services, built, stage="staging")
        assert status.state is CommitState.NOT_SEEN

        digest = world.registry.push(API, "1.1.0", revision=built)
        await world.notify(API, "1.1.0", digest)
        await _until_staged(world, 2)

        for wanted in (built, "1.1.0", digest):
            [status] = await fetch_commit_statuses(world.services, wanted, stage="staging")
            assert (status.state, status.exact) == (CommitState.LIVE, True), wanted
            [status] = await fetch_commit_statuses(world.services, wanted, stage="production")
            assert status.state is CommitState.HELD, wanted
        for gone in (other, "1.0.0", first):
            [status] = await fetch_commit_statuses(world.services, gone, stage="staging")
            assert status.state is CommitState.SUPERSEDED, gone
        [status] = await fetch_commit_statuses(world.services, world.commits[0], stage="staging")
        assert (status.state, status.exact) == (CommitState.LIVE, True)


async def test_a_commit_stays_live_when_an_image_on_it_fails() -> None:
    """What is asked for is the commit: it runs, with the image that was there before."""
    async with running_world(_spec(_follow(SemverPolicy(">=1")))) as world:
        world.registry.push(API, "1.0.0")
        sha = await world.push("first", deployment(API))
        await _until_staged(world, 1)
        bad = world.registry.push(API, "1.1.0")
        world.cluster.workloads[f"{API}:1.1.0@{bad}"] = Workload(
            None, "CrashLoopBackOff", "back-off", restarts=3
        )
        await world.notify(API, "1.1.0", bad)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        [status] = await fetch_commit_statuses(world.services, sha, stage="staging")
        assert (status.state, status.exact) == (CommitState.LIVE, True)
        [status] = await fetch_commit_statuses(world.services, "1.1.0", stage="staging")
        assert status.state is CommitState.ROLLED_BACK


async def test_all_images_are_pinned_once_for_all_stages() -> None:
    """What staging was verified with is what production gets, though the tag moved meanwhile."""
    async with running_world(_spec(pin=PinImages.ALL)) as world:
        digest = world.registry.push(API, "stable", content="one")
        await world.push("first", deployment(f"{API}:stable"))
        await _until_staged(world, 1)
        assert _image_in(world) == f"{API}:stable@{digest}"

        world.registry.push(API, "stable", content="two")
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert _image_in(world, "shop") == f"{API}:stable@{digest}"


async def test_a_pin_is_reused_and_said_so_while_the_registry_is_down() -> None:
    """The digest last resolved for that exact reference is taken; another reference waits."""
    async with running_world(_spec(pin=PinImages.ALL)) as world:
        digest = world.registry.push(API, "stable")
        await world.push("first", deployment(f"{API}:stable"))
        await _until_staged(world, 1)
        world.registry.down.add("registry.example")

        await world.push("fix", deployment(f"{API}:stable"), config_map("settings", mode="b"))
        await _until_staged(world, 2)
        assert _image_in(world) == f"{API}:stable@{digest}"
        run = (await world.runs(STAGING))[-1]
        pieces = await world.store.read(lambda tx: tx.runs.evidence(run.id))
        notes = [str(piece.content) for piece in pieces if piece.kind is EvidenceKind.NOTES]
        assert any(f"{API}:stable is pinned to {digest}" in note for note in notes)
        assert any("does not answer" in note for note in notes)

        await world.push("other", deployment(f"{API}:other"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED)
        world.registry.down.clear()
        world.registry.push(API, "other")
        await _until_staged(world, 3)


@pytest.mark.parametrize("pin", list(PinImages))
async def test_an_image_that_comes_a_moment_later_is_waited_for(pin: PinImages) -> None:
    """A build that pushes its commit first is no failure."""
    async with running_world(_spec(pin=pin)) as world:
        world.registry.push(API, "1")
        await world.push("first", deployment(f"{API}:2"))
        await world.clock.sleep(timedelta(seconds=15))
        assert (await world.runs(STAGING))[0].live
        world.registry.push(API, "2")
        await _until_staged(world, 1)


@pytest.mark.parametrize("pin", list(PinImages))
async def test_an_image_that_is_not_there_fails_before_anything_is_written(
    pin: PinImages,
) -> None:
    """A definite no of the registry is a verdict; nothing was changed."""
    async with running_world(_spec(pin=pin)) as world:
        world.registry.push(API, "1")
        await world.push("first", deployment(f"{API}:2"))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert run.failure is not None
        assert run.failure.reason == "ImageMissing"
        said = f"Deployment shop-staging/api: the registry has no image {API}:2;"
        assert run.failure.message.startswith(said)
        assert run.step is (Step.RENDER if pin is PinImages.ALL else Step.VALIDATE)
        assert world.cluster.writes() == []


async def test_how_long_an_image_may_be_missing_is_the_stages_to_say() -> None:
    """Where images are pushed before commits, nobody waits for one; slow builds get their time."""
    spec = _spec()
    patience = timedelta(minutes=4)
    patient = tuple(replace(stage, image_grace=patience) for stage in spec.stages)
    async with running_world(replace(spec, stages=patient)) as world:
        world.registry.push(API, "1")
        began = world.clock.now()
        await world.push("first", deployment(f"{API}:2"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        assert patience <= world.clock.now() - began < patience + timedelta(seconds=2)


async def test_a_registry_that_hangs_holds_nothing_up_for_long() -> None:
    """Validate asks beside its dry-runs and goes on without an answer, once for a while."""
    async with running_world() as world:
        world.registry.push(API, "1")
        world.registry.latency = timedelta(minutes=5)
        began = world.clock.now()
        await world.push("first", deployment(f"{API}:1"))
        await _until_staged(world, 1)
        assert world.clock.now() - began < timedelta(seconds=20)
        began = world.clock.now()
        await world.push("second", deployment(f"{API}:1"), config_map("settings", mode="b"))
        await _until_staged(world, 2)
        assert world.clock.now() - began < timedelta(seconds=8)


async def test_a_revision_is_found_without_an_image_source() -> None:
    """Digests that CI writes into Git are asked about too, where the registry is configured."""
    built = "e" * 40
    async with running_world() as world:
        await world.configure(
            replace(world.configuration[0], registries=(RegistrySpec("it", "registry.example"),))
        )
        digest = world.registry.push(API, "7", revision=built)
        await world.push("first", deployment(f"{API}@{digest}"))
        await _until_staged(world, 1)

        for wanted in (built, digest):
            [status] = await fetch_commit_statuses(world.services, wanted, stage="staging")
            assert (status.state, status.exact) == (CommitState.LIVE, True), wanted


async def test_followed_images_are_announced() -> None:
    """The message of a release that an image made names what changed."""
    async with running_world(_spec(_follow(SemverPolicy(">=1")))) as world:
        world.registry.push(API, "1.0.0")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        await world.notify(API, "1.1.0", world.registry.push(API, "1.1.0"))
        await _until_staged(world, 2)

        messages = [
            note.message
            for note in world.notifier.received["ops"]
            if note.trigger == "on-release-created"
        ]
        assert messages[0].endswith(": first")
        assert messages[1].endswith(": api 1.1.0")


async def test_deliveries_say_what_became_of_them() -> None:
    """Each notification's reason names the image that is looked at, or why none is."""
    async with running_world(_spec(_follow(SemverPolicy(">=1")))) as world:
        world.registry.push(API, "1.0.0")
        for image, tag in ((API, "1.0.0"), (API, "latest"), (WORKER, "1.0.0")):
            await world.notify(image, tag)
        await world.clock.sleep(timedelta(seconds=5))
        rows = await world.store.read(lambda tx: tx.deliveries.page(Page(10)))

        assert sorted(row.reason for row in rows) == [
            f"looking at {API}",
            f"no application follows {WORKER}",
            f"no policy wants {API}:latest",
        ]


async def test_too_many_tags_are_refused_with_a_remedy() -> None:
    """A pattern that fits a thousand tags is no way to find the newest image."""
    async with running_world(_spec(_follow(NewestPolicy()))) as world:
        world.registry.push(API, *(f"build-{number}" for number in range(1001)))
        await world.push("first", deployment(API))
        await world.clock.sleep(timedelta(seconds=10))
        state = await world.store.read(lambda tx: tx.images.get(API))

        assert state is not None
        assert state.problem.startswith(f"1001 tags of {API} fit `newest *`; narrow the pattern")
        assert await world.releases() == []


async def test_an_empty_range_is_said() -> None:
    """An image that no tag fits makes no release, and says so."""
    async with running_world(_spec(_follow(SemverPolicy(">=9")))) as world:
        world.registry.push(API, "1.0.0")
        await world.push("first", deployment(API))
        await world.clock.sleep(timedelta(seconds=10))
        state = await world.store.read(lambda tx: tx.images.get(API))

        assert state is not None
        assert state.problem == f"the registry has no image of {API} for `semver >=9`"
        assert await world.releases() == []
