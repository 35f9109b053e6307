"""The stories: what people push, and what must come of it in the clusters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from time import monotonic

from gitopsd.cli.client import Document
from gitopsd.cli.demo.configuration import API_IMAGE, APPLICATION, WEB_IMAGE
from gitopsd.cli.demo.images import make_api, make_web
from gitopsd.cli.demo.installation import Installation
from gitopsd.cli.demo.pushing import WorkTree, push_image
from gitopsd.cli.demo.witness import Witness
from gitopsd.errors import PermanentError

WITHIN = timedelta(seconds=90)
API, WEB = "ai-core-api", "ai-core-web"
STAGING, PRODUCTION = "staging", "production"
FIRST_API, FIRST_WEB = "1.4.0", "1.0.0"
_LIVE = ("Pending", "Running")
_MOST_RUNS = 200


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a scenario.

    Attributes:
        outcome: One of the words that programs read.
        push_to_production: Seconds from the push to the last sign of it in production.
        fault_to_restored: Seconds from the first sign of the fault to the last of the cure.
    """

    outcome: str
    push_to_production: float | None = None
    fault_to_restored: float | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """What everybody can see of one stage."""

    name: str
    witness: Witness


@dataclass(slots=True)
class Play:
    """What the stories share: the installation, hands to push with and eyes to look with.

    Attributes:
        site: Everything that runs.
        work: The developer's clone.
        stages: What can be seen, by name.
        say: Told what happens.
    """

    site: Installation
    work: WorkTree
    stages: Mapping[str, Stage]
    say: Callable[[str], None]
    api_digests: dict[str, str]

    # -- hands

    def push_first(self) -> tuple[str, float]:
        """Push the first images and the first commit; returns commit and time."""
        self.push_web(FIRST_WEB)
        self.work.make()
        return self.push_api(FIRST_API)

    def push_api(self, version: str, **behaviour: int) -> tuple[str, float]:
        """Push an image of the API and the commit that wants it; returns commit and time."""
        image = make_api(version, **behaviour)
        path = API_IMAGE.partition("/")[2]
        self.api_digests[version] = push_image(self.site.registry, image, f"{path}:{version}")
        self.say(f"git push: release the API {version}")
        began = monotonic()
        return self.work.release(version), began

    def push_web(self, version: str) -> str:
        """Push an image of the web front end; returns its digest."""
        path = WEB_IMAGE.partition("/")[2]
        return push_image(self.site.registry, make_web(version), f"{path}:{version}")

    def approve(self, commit: str) -> str:
        """Wait until production asks, and approve as the approver; returns the run."""
        find = partial(self.find_run, PRODUCTION, commit, "Rollout", "Gate")
        self.say("staging is to verify it; production is to ask for approval")
        run = self.site.children.until(find, "production to ask for approval", WITHIN)
        approver = self.site.client("approver")
        approver.post(f"/runs/{run['id']}/approve", {"plan": run["plan"], "reason": "the demo"})
        self.say(f"the approver approved {run['alias']} for production")
        return str(run["id"])

    # -- eyes

    def runs(self, stage: str) -> list[Document]:
        """The runs of a stage, newest first, as the API tells them."""
        path = f"/applications/{APPLICATION}/runs"
        return self.site.client("author").list_all(path, _MOST_RUNS, stage=stage)

    def find_run(self, stage: str, commit: str, kind: str, step: str) -> Document:
        """The live run that brings a commit and is in a step."""
        for run in self.runs(stage):
            if (run["commit"], run["kind"], run["step"]) == (commit, kind, step) and (
                run["phase"] in _LIVE and (run["plan"] or step != "Gate")
            ):
                return run
        return None

    def await_ended(self, stage: str, kind: str, phase: str, known: frozenset[str]) -> Document:
        """Wait until a new run of a kind has ended in a phase."""

        def look() -> Document:
            ended = [
                run
                for run in self.runs(stage)
                if (run["kind"], run["phase"]) == (kind, phase) and run["id"] not in known
            ]
            return ended[0] if ended else None

        return self.site.children.until(look, f"a {kind} to be {phase} in {stage}", WITHIN)

    def known(self, stage: str) -> frozenset[str]:
        """Ids of the runs that there are."""
        return frozenset(str(run["id"]) for run in self.runs(stage))

    def is_quarantined(self, run: str) -> bool:
        """Tell whether the release of a run of production is kept out of production."""
        release = next(one["release"] for one in self.runs(PRODUCTION) if one["id"] == run)
        return any(
            (one["stage"], one["release"]) == (PRODUCTION, release) and not one["liftedAt"]
            for one in self.site.client("author").list_all("/quarantines", _MOST_RUNS)
        )

    def await_shown(self, stage: str, version: str, *, name: str = API, digest: str = "") -> float:
        """Wait until a cluster and its workload show a version; returns when."""
        wanted = digest or self.api_digests[version]
        look = partial(self.stages[stage].witness.shows, name, wanted, version)
        self.site.children.until(look, f"{name} {version} to answer in {stage}", WITHIN)
        self.say(f"{stage} answers as {name} {version}")
        return monotonic()

    def await_written(self, stage: str, version: str) -> float:
        """Wait until a cluster is asked to run a version; returns when."""
        witness, wanted = self.stages[stage].witness, self.api_digests[version]
        look = partial(_asks_for, witness, wanted)
        self.site.children.until(look, f"{stage} to be asked for {version}", WITHIN)
        self.say(f"{stage} is asked to run the API {version}")
        return monotonic()

    def require_shown(self, stage: str, version: str) -> None:
        """Insist that a stage shows a version now.

        Raises:
            PermanentError: It does not.
        """
        if not self.stages[stage].witness.shows(API, self.api_digests[version], version):
            raise PermanentError(f"{stage} should still answer as the API {version}, and does not")


def play_good_release(play: Play) -> Result:
    """A first release goes through staging and an approval to production."""
    commit, began = play.push_first()
    play.approve(commit)
    shown = play.await_shown(PRODUCTION, FIRST_API)
    play.await_ended(PRODUCTION, "Rollout", "Succeeded", frozenset())
    return Result("VerifiedInProduction", push_to_production=shown - began)


def play_never_ready(play: Play) -> Result:
    """A release whose pods never get ready is rolled back in staging; production sees nothing."""
    known = play.known(STAGING)
    play.push_api("1.4.1", ready=503)
    fault = play.await_written(STAGING, "1.4.1")
    play.await_ended(STAGING, "Rollback", "Succeeded", known)
    restored = play.await_shown(STAGING, FIRST_API)
    play.require_shown(PRODUCTION, FIRST_API)
    return Result("RestoredInStaging", fault_to_restored=restored - fault)


def play_production_smoke_fails(play: Play) -> Result:
    """A release that fails its check in production alone is rolled back and quarantined there."""
    known = play.known(PRODUCTION)
    commit, _ = play.push_api("1.4.2", smoke_in_production=500)
    bad = play.approve(commit)
    fault = play.await_written(PRODUCTION, "1.4.2")
    play.await_ended(PRODUCTION, "Rollback", "Succeeded", known)
    restored = play.await_shown(PRODUCTION, FIRST_API)
    if not play.is_quarantined(bad):
        raise PermanentError("production was rolled back, and what failed is not quarantined there")
    return Result("RestoredInProduction", fault_to_restored=restored - fault)


def play_fix_overtakes_stuck(play: Play) -> Result:
    """A release hangs in production, which may take ten minutes; its fix takes over at once."""
    known = play.known(PRODUCTION)
    commit, _ = play.push_api("1.4.3", ready_in_production=503)
    stuck = play.approve(commit)
    fault = play.await_written(PRODUCTION, "1.4.3")
    waits = partial(play.find_run, PRODUCTION, commit, "Rollout", "WaitHealthy")
    play.site.children.until(waits, "the release to hang", WITHIN)
    fix, began = play.push_api("1.4.4")
    play.approve(fix)
    shown = play.await_shown(PRODUCTION, "1.4.4")
    play.await_ended(PRODUCTION, "Rollout", "Succeeded", known)
    since = [run for run in play.runs(PRODUCTION) if run["id"] not in known]
    ended = next(run for run in since if run["id"] == stuck)
    if (ended["phase"], ended["reason"]) != ("Aborted", "Superseded"):
        raise PermanentError(f"the stuck run ended {ended['phase']} ({ended['reason']})")
    if any(run["kind"] == "Rollback" for run in since):
        raise PermanentError("there was a rollback, though the fix took over")
    return Result("Overtaken", shown - began, shown - fault)


def play_image_push(play: Play) -> Result:
    """An image that is pushed makes a release by its digest, with nothing pushed to Git."""
    known = play.known(PRODUCTION)
    play.say("pushing the image ai-core-web 1.1.0")
    began = monotonic()
    digest = play.push_web("1.1.0")

    def asks() -> Document:
        waiting = (run for run in play.runs(PRODUCTION) if run["id"] not in known)
        return next((run for run in waiting if run["step"] == "Gate" and run["plan"]), None)

    run = play.site.children.until(asks, "production to ask for approval", WITHIN)
    play.approve(str(run["commit"]))
    shown = play.await_shown(PRODUCTION, "1.1.0", name=WEB, digest=digest)
    play.await_ended(PRODUCTION, "Rollout", "Succeeded", known)
    play.require_shown(PRODUCTION, "1.4.4")
    return Result("VerifiedByDigest", push_to_production=shown - began)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story.

    Attributes:
        name: What programs call it.
        title: What people read.
        play: Plays it.
    """

    name: str
    title: str
    play: Callable[[Play], Result]


SCENARIOS = (
    Scenario("good-release", "a push goes live through an approval", play_good_release),
    Scenario("never-ready", "a bad one is rolled back in staging", play_never_ready),
    Scenario(
        "production-smoke-fails",
        "one that only fails in production is rolled back there",
        play_production_smoke_fails,
    ),
    Scenario(
        "fix-overtakes-stuck", "a fix takes over from one that hangs", play_fix_overtakes_stuck
    ),
    Scenario("image-push", "a pushed image makes a release by digest", play_image_push),
)


def _asks_for(witness: Witness, digest: str) -> bool:
    return witness.digest(API) == digest
