"""Plays a scenario on a site and judges it from outside."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from tests.support.processes import WaitTimeoutError
from tests.support.systems.ground import namespaces_of
from tests.support.systems.judge import Comparison
from tests.support.systems.site import OVER
from tests.support.systems.working_copy import apply_edits

if TYPE_CHECKING:
    from tests.support.systems.judge import Mark, Snapshot
    from tests.support.systems.site import Run, SystemSite
    from tests.support.systems.story import Scenario
    from tests.support.systems.working_copy import Files

_GOOD = "Live"
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
    """How a stage was before a bad release."""

    snapshot: Snapshot
    digest: str
    mark: Mark


class AstrayError(Exception):
    """A release went another way than its story; what follows cannot be played."""


def play(site: SystemSite, scenario: Scenario, verdict: Verdict) -> None:
    """Play one scenario, after those before it; what comes of it is written into its verdict."""
    try:
        _Play(site, scenario, verdict).run()
    except (AstrayError, WaitTimeoutError) as error:
        verdict.complaints += [str(error), *getattr(error, "__notes__", [])]
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
        for stage in site.stages:
            site.copy.push(site.branch(stage))
            self._await_live(commit, stage)
            if self._scenario.outcome == _GOOD:
                snapshot = site.judge.snapshot(stage)
                self._verdict.objects_compared += len(snapshot.objects)
                self._complain(*site.judge.dry_run(snapshot, snapshot))
                self._expect(rendered[stage], snapshot, stage)
            elif stage == self._scenario.caught:
                self._expect(rendered[stage], site.judge.snapshot(stage), stage)
            digest = site.images.digest_of(self._witness.image, rendered[stage])
            self._expect_served(stage, digest)
        site.files, site.rendered = files, rendered

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

    def _expect(self, rendered: list[dict[str, Any]], live: Snapshot, stage: str) -> None:
        """See that exactly what was rendered is there."""
        there = live.keys()
        wanted = Comparison.keys(rendered)
        self._complain(
            *(f"{stage} lacks {key}" for key in sorted(wanted - there)),
            *(f"{stage} has {key} as well" for key in sorted(there - wanted)),
        )

    # -- bad releases

    def _go_wrong(self, files: Files) -> None:
        """Push a bad release, and see that it is caught and leaves nothing behind."""
        site, scenario = self._site, self._scenario
        good, bad = site.rendered, site.render(files)
        caught = scenario.caught
        if scenario.outcome == "Restored":
            compared = Comparison.of(good[caught], bad[caught])
            self._complain(*compared.complaints(site.story.workload))
        digest = site.images.digest_of(self._witness.image, good[caught])
        site.images.push_new(bad, scenario)
        namespace = site.stages[caught]["namespace"]
        for one in scenario.unready:
            kind, _, name = one.partition("/")
            site.operators.keep_unready(kind, name, namespace=namespace)
        commit = site.copy.commit(scenario.name)
        before = _Before(site.judge.snapshot(caught), digest, site.judge.mark(caught))
        self._push_until_caught(commit)
        self._judge(before)
        self._push_again(files)
        for one in scenario.unready:
            kind, _, name = one.partition("/")
            site.operators.let_ready(kind, name, namespace=namespace)

    def _push_until_caught(self, commit: str) -> None:
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
        if late:
            self._complain(*site.pager.await_call(caught, said))

    def _find_end(self, commit: str) -> Run | None:
        """The run of a commit that did not last where it is caught, once all of it is over."""
        self._site.vote(self._scenario.caught)
        runs = self._site.runs(self._scenario.caught)
        if self._site.state(commit, self._scenario.caught)["state"] == _GOOD:
            if self._scenario.late:
                return None
            message = f"the bad release is live in {self._scenario.caught}"
            raise AstrayError(message)
        if any(run["phase"] not in OVER for run in runs):
            return None
        for place, run in enumerate(runs):
            if (run["commit"], run["kind"]) == (commit, "Rollout"):
                restored = any(later["kind"] == "Rollback" for later in runs[:place])
                return run if restored or self._scenario.outcome == "Refused" else None
        return None

    def _judge(self, before: _Before) -> None:
        site, caught = self._site, self._scenario.caught
        written = site.judge.writes(caught, before.mark, namespaces_of(site.stages[caught]))
        outcome = "Restored" if written else "Refused"
        if outcome != self._scenario.outcome:
            self._complain(f"it was {outcome}; written: {written}")
        live = site.judge.snapshot(caught)
        complaints = before.snapshot.differences(live)
        complaints += site.judge.dry_run(before.snapshot, live)
        self._verdict.objects_compared = len(before.snapshot.objects)
        self._complain(*complaints)
        self._expect_served(caught, before.digest)
        if not complaints:
            self._verdict.outcome = outcome

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
        written = site.judge.writes(caught, mark, namespaces_of(site.stages[caught]))
        self._complain(*(f"pushed again: {one}" for one in written))

    def _expect_served(self, stage: str, digest: str) -> None:
        namespace = self._site.stages[stage]["namespace"]
        self._complain(*self._site.judge.await_served(self._witness, namespace, digest))

    def _complain(self, *complaints: str) -> None:
        self._verdict.complaints += complaints
