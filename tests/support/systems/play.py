"""Plays a scenario on a site and judges it from outside."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http.client import HTTPException
from time import monotonic
from typing import TYPE_CHECKING, Any

from tests.support.cluster_client import ApiError
from tests.support.processes import ServerEndedError, WaitTimeoutError
from tests.support.systems.ground import namespaces_of
from tests.support.systems.judge import KubectlError
from tests.support.systems.kinds import ReadError
from tests.support.systems.object_sets import (
    Comparison,
    Snapshot,
    hooks_of,
    key_of,
    newcomers,
    scaled,
    shown,
)
from tests.support.systems.site import OVER
from tests.support.systems.working_copy import apply_edits
from tests.support.systems.written import made_twice, misplaced, not_done, out_of_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.systems.judge import Mark
    from tests.support.systems.object_sets import Object
    from tests.support.systems.site import Run, SystemSite
    from tests.support.systems.story import Scenario
    from tests.support.systems.working_copy import Files

_GOOD = "Live"
_THERE_AND_BACK = 2
_CANNOT_JUDGE = (
    *(KubectlError, ReadError, ApiError, HTTPException, OSError),
    *(WaitTimeoutError, ServerEndedError),
)
_AGAIN = {"Restored": "Quarantined", "Refused": "Failed"}
"""What is said of the same bytes when they are pushed again: what is refused is tried again."""


@dataclass(slots=True)
class Verdict:
    """What came of one scenario; a row of ``build/cluster/scenarios.json``.

    Attributes:
        system: Whose scenario.
        scenario: Its name.
        outcome: ``Live``, ``Refused`` or ``Restored``; ``Lost`` when it was none of these.
        reason: gitopsd's sentence.
        seconds: From the push until it was judged, without the fix.
        objects_compared: How many objects were compared field by field.
        finished: Whether the scenario was played to its end, so that the next one can begin.
        complaints: What was not as it should be.
    """

    system: str
    scenario: str
    outcome: str = "Lost"
    reason: str = ""
    seconds: float = 0
    objects_compared: int = 0
    finished: bool = False
    complaints: list[str] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        """How it is written down."""
        return {
            "system": self.system,
            "scenario": self.scenario,
            "ok": not self.complaints,
            "outcome": self.outcome,
            "reason": self.reason,
            "seconds": round(self.seconds, 1),
            "objectsCompared": self.objects_compared,
        }


@dataclass(frozen=True, slots=True)
class _Before:
    """How a stage was before a bad release.

    Attributes:
        snapshot: What gitopsd owned.
        generation: How often the workload's spec had been changed.
        digest: The image that the witness answered with.
        mark: The moment.
    """

    snapshot: Snapshot
    generation: int
    digest: str
    mark: Mark


class AstrayError(Exception):
    """A release went another way than its story; what follows cannot be played."""


def play(site: SystemSite, scenario: Scenario, verdict: Verdict) -> None:
    """Play one scenario, after those before it; what comes of it is written into its verdict."""
    try:
        _Play(site, scenario, verdict).run()
    except AstrayError as error:
        verdict.complaints.append(str(error))
    except _CANNOT_JUDGE as error:
        said = f"{type(error).__name__}: {error}"
        verdict.complaints += [said, *getattr(error, "__notes__", [])]
    else:
        verdict.finished = True


class _Play:
    """One scenario while it is played; its verdict grows meanwhile."""

    def __init__(self, site: SystemSite, scenario: Scenario, verdict: Verdict) -> None:
        self._site = site
        self._scenario = scenario
        self._witness = site.story.witness
        self._verdict = verdict

    def run(self) -> None:
        """Play it, and write down what came of it."""
        site, scenario = self._site, self._scenario
        began = monotonic()
        if scenario.outcome == _GOOD:
            version = site.next_version() if scenario.edits else ""
            self._go_live(apply_edits(site.files, scenario.edits, version), scenario.name)
            self._verdict.outcome = _GOOD
            self._verdict.seconds = monotonic() - began
            return
        files = apply_edits(site.files, scenario.edits, site.next_version())
        self._go_wrong(files)
        self._verdict.seconds = monotonic() - began
        site.resume(scenario.caught)
        fix = scenario.fix or site.story.fix
        version = site.next_version()
        self._go_live(apply_edits(site.files, fix, version), f"Fix {scenario.name}")

    # -- good releases

    def _go_live(self, files: Files, message: str) -> None:
        """Push a good release, and see that it is live in every stage, and all of it."""
        site = self._site
        rendered = site.render(files)
        site.images.push_new(rendered, self._scenario)
        commit = site.copy.commit(message)
        marks = {stage: site.judge.mark(stage) for stage in site.stages if site.judge.audited}
        for stage in site.stages:
            site.copy.push(site.branch(stage))
            self._await_live(commit, stage)
            self._await_over(commit, stage)
            items = site.judge.items(stage)
            self._complain(*site.judge.lacks(rendered[stage], stage, site.images.digests, items))
            if self._scenario.outcome == _GOOD:
                self._verdict.objects_compared += len(Snapshot.of(items).objects)
            if site.judge.audited:
                self._expect_order(stage, rendered[stage], items, marks[stage])
            self._expect_served(stage, self._digest(rendered[stage]))
        site.files, site.rendered = files, rendered

    def _expect_order(
        self, stage: str, rendered: list[Object], items: list[Object], since: Mark
    ) -> None:
        """See in what order a good release was written, and as whom; the same once more is not."""
        site = self._site
        place = site.place(stage)
        written = site.judge.writes(place, since)
        self._complain(*misplaced(written, place))
        order = list(site.stages)
        caught = self._scenario.caught
        if caught and order.index(stage) > order.index(caught) and rendered == site.rendered[stage]:
            # A second release takes over the namespace that people made, and hands replicas to an
            # autoscaler; that brings its hooks with it.
            free = {*hooks_of(rendered), *scaled(rendered)}
            more = [one for one in written if one.key not in free and one.key[0] != "Namespace"]
            self._complain(*(f"nothing changed in {stage}, but {one}" for one in more))
            return
        first = not site.rendered
        self._complain(*out_of_order(site.story.order, written, rendered, items, everything=first))

    def _await_live(self, commit: str, stage: str) -> None:
        site = self._site

        def ended() -> dict[str, Any] | None:
            site.vote(stage)
            found = site.state(commit, stage)
            return found if found["terminal"] else None

        found = site.until(ended, f"{commit[:8]} to be live in {stage}")
        if found["state"] != _GOOD:
            message = f"{commit[:8]} is {found['state']} in {stage}: {found['reason']}"
            raise AstrayError(f"{message}\n{site.history()}")

    def _await_over(self, commit: str, stage: str) -> None:
        """Wait for the run of a good release; what changes nothing is live before its run is."""

        def over() -> bool | None:
            self._site.vote(stage)
            runs = self._site.runs(stage)
            return (
                any((one["commit"], one["phase"] in OVER) == (commit, True) for one in runs) or None
            )

        self._site.until(over, f"the run of {commit[:8]} to be over in {stage}")

    # -- bad releases

    def _go_wrong(self, files: Files) -> None:
        """Push a bad release, and see that it is caught and leaves nothing behind."""
        site, scenario = self._site, self._scenario
        good, bad = site.rendered, site.render(files)
        caught = scenario.caught
        if scenario.outcome == "Restored":
            compared = Comparison.of(good[caught], bad[caught])
            self._complain(*compared.complaints(site.story.workload))
        digest = self._digest(good[caught])
        site.images.push_new(bad, scenario)
        namespace = site.stages[caught]["namespace"]
        for one in scenario.unready:
            kind, _, name = one.partition("/")
            site.operators.keep_unready(kind, name, namespace=namespace)
        commit = site.copy.commit(scenario.name)
        workload = self._workload(good[caught])
        before = _Before(
            site.judge.snapshot(caught),
            site.judge.generation(workload),
            digest,
            site.judge.mark(caught),
        )
        self._push_until_caught(commit, [*bad[caught], *good[caught]])
        self._judge(before, bad[caught])
        self._push_again(files)
        for one in scenario.unready:
            kind, _, name = one.partition("/")
            site.operators.let_ready(kind, name, namespace=namespace)

    def _push_until_caught(self, commit: str, objects: list[Object]) -> None:
        site, caught = self._site, self._scenario.caught
        for stage in site.stages:
            site.copy.push(site.branch(stage))
            if stage != caught or self._scenario.late:
                self._await_live(commit, stage)
            if stage == caught:
                break
        failed = site.until(
            lambda: self._find_end(commit), f"{commit[:8]} to be caught in {caught}"
        )
        late = self._scenario.late
        said = site.state(commit, caught)["reason"] if late else failed["message"]
        self._verdict.reason = said
        if not re.search(self._scenario.reason, said):
            self._complain(f"the reason is {said!r}")
        if "\n" in said or not any(shown(key_of(one)) in said for one in objects):
            self._complain(f"the reason is no line that names an object of the release: {said!r}")
        if late:
            self._complain(*site.pager.await_call(caught, said))

    def _find_end(self, commit: str) -> Run | None:
        """The run of a commit that did not last where it is caught, once all of it is over."""
        caught = self._scenario.caught
        self._site.vote(caught)
        runs = self._site.runs(caught)
        state = self._site.state(commit, caught)["state"]
        return find_end(self._scenario, commit, state, runs)

    def _judge(self, before: _Before, bad: list[Object]) -> None:
        site, caught, good = self._site, self._scenario.caught, self._site.rendered
        written = site.judge.writes(site.place(caught), before.mark)
        outcome = "Restored" if written else "Refused"
        if outcome != self._scenario.outcome:
            self._complain(f"it was {outcome}; written: {', '.join(map(str, written))}")
        items = site.judge.items(caught)
        live = Snapshot.of(items)
        complaints = before.snapshot.differences(live)
        complaints += site.judge.dry_run(before.snapshot, live)
        complaints += site.judge.present(newcomers(good[caught], bad))
        complaints += [
            f"{shown(key)} still runs"
            for key, hook in hooks_of(items).items()
            if hook.get("status", {}).get("active")
        ]
        self._verdict.objects_compared = len(before.snapshot.objects)
        self._complain(*complaints)
        self._expect_served(caught, before.digest)
        compared = Comparison.of(good[caught], bad)
        if site.judge.audited:
            self._complain(*misplaced(written, site.place(caught)), *made_twice(bad, written))
        if outcome == "Restored":
            if site.judge.audited:
                self._complain(*not_done(self._scenario.reach, compared, written))
            self._expect_reach(before, bad, compared)
        if not complaints:
            self._verdict.outcome = outcome

    def _expect_reach(self, before: _Before, bad: list[Object], compared: Comparison) -> None:
        """See that what was undone had been done, and that what was found then was kept."""
        site, caught, reach = self._site, self._scenario.caught, self._scenario.reach
        workload = self._workload(site.rendered[caught])
        changes = site.judge.generation(workload) - before.generation
        came = reach in ("Applied", "Pruned")
        if changes < _THERE_AND_BACK if came else changes:
            self._complain(f"{site.story.workload} was changed {changes} times, there and back")
        back = next(run for run in site.runs(caught) if run["kind"] == "Rollback")
        kept = site.client.get(f"/runs/{back['id']}/live-state")
        text = json.dumps(kept)
        if (self._digest(bad) in text) != came:
            self._complain(f"what was kept of the live state has another image: {text[:2000]}")
        there = {key_of(one) for one in kept["items"]}
        lost = [] if reach == "Hooks" else sorted(compared.added - there)
        self._complain(*(f"{shown(key)} is not in the live state that was kept" for key in lost))
        # What stands in Git is no secret: an address in an ExternalSecret's template, say.
        public = json.dumps([bad, site.rendered[caught]])
        for secret in site.judge.secrets(namespaces_of(site.stages[caught])):
            if secret in text and secret not in public:
                self._complain("a secret is in the live state that was kept")

    def _push_again(self, files: Files) -> None:
        """Push what renders to the same bytes once more: nothing is written."""
        site, caught = self._site, self._scenario.caught
        mark = site.judge.mark(caught)
        overlay = f"{site.stages[caught]['path']}/kustomization.yaml"
        site.copy.write({**files, overlay: f"{files[overlay]}\n# the same objects once more\n"})
        commit = site.copy.commit(f"{self._scenario.name}, once more")
        for stage in site.stages:
            site.copy.push(site.branch(stage))
            if stage == caught:
                break
            self._await_live(commit, stage)

        def refused() -> str | None:
            found = site.state(commit, caught)
            return str(found["state"]) if found["terminal"] else None

        state = site.until(refused, f"{commit[:8]} to be refused in {caught}")
        if state != _AGAIN[self._scenario.outcome]:
            self._complain(f"pushed again, the same bytes are {state}")
        written = site.judge.writes(site.place(caught), mark)
        self._complain(*(f"pushed again: {one}" for one in written))

    def _digest(self, rendered: list[Object]) -> str:
        """The digest of the image that the witness is to name."""
        return self._site.images.digest_of(self._witness.image, rendered)

    def _workload(self, rendered: Iterable[Object]) -> Object:
        """What the witness asks, as rendered."""
        kind, _, name = self._site.story.workload.partition("/")
        return next(
            one for one in rendered if (one["kind"], one["metadata"]["name"]) == (kind, name)
        )

    def _expect_served(self, stage: str, digest: str) -> None:
        namespace = self._site.stages[stage]["namespace"]
        self._complain(*self._site.judge.await_served(self._witness, namespace, digest))

    def _complain(self, *complaints: str) -> None:
        self._verdict.complaints += complaints


def find_end(scenario: Scenario, commit: str, state: str, runs: list[Run]) -> Run | None:
    """The run of a bad release, once it has ended and so has what follows from it.

    Args:
        scenario: What is to become of the release.
        commit: The release's.
        state: What is said of the commit where it is to be caught.
        runs: All of that stage, newest first.

    Raises:
        AstrayError: The release is live, and it should not be.
    """
    if state == _GOOD:
        if scenario.late:
            return None
        message = f"the bad release is live in {scenario.caught}"
        raise AstrayError(message)
    if any(run["phase"] not in OVER for run in runs):
        return None
    for place, run in enumerate(runs):
        if (run["commit"], run["kind"]) == (commit, "Rollout"):
            restored = any(later["kind"] == "Rollback" for later in runs[:place])
            return run if restored or scenario.outcome == "Refused" else None
    return None
