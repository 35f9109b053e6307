"""Everything people can do, in every situation: what follows, or why not and what would help.

Real: the engine, which brings the stage there, and its actions. In memory: everything outside, in
virtual time. All verbs are tried on the same moment.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import pytest

from gitopsd.domain.gates import Decision, GateSkip, Vote
from gitopsd.domain.manifests import Json
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import Phase, Run, RunId, RunKind
from gitopsd.domain.stages import Freeze, Stage
from gitopsd.domain.verifications import Quarantine
from gitopsd.domain.work import AuditEntry, Page, WorkItem
from gitopsd.engine.actions import ActionDone, ActionRefused, ActionResult
from gitopsd.engine.freezing import freeze, thaw
from gitopsd.pipeline.verb_table import TABLE
from gitopsd.pipeline.verbs import WORDS, Allowed, Refused, Sequel, Situation, Verb
from gitopsd.store_ports import Transaction
from tests.support.verb_world import ACTOR, KEY, REASON, Scene, standing_still

pytestmark = pytest.mark.looptime

UNKNOWN = RunId("nobody-knows")
WORK = ("reverify", "adopt")


@dataclass(frozen=True)
class Look:
    """What is stored of a stage."""

    stage: Stage
    runs: Mapping[RunId, Run]
    named: Run | None
    votes: tuple[Vote, ...]
    skips: tuple[GateSkip, ...]
    quarantines: tuple[Quarantine, ...]
    freezes: tuple[Freeze, ...]
    work: Mapping[str, WorkItem | None]
    last: AuditEntry

    @property
    def state(self) -> object:
        """What a verb may change."""
        work = {name: item is not None for name, item in self.work.items()}
        kept = (self.stage, self.runs, self.votes, self.skips, self.quarantines, self.freezes)
        return (*kept, work)

    def front(self) -> Run | None:
        """The run that may write."""
        return self.runs.get(self.stage.front) if self.stage.front is not None else None


async def look(scene: Scene, named: RunId) -> Look:
    """Read everything that the sequels are about."""

    def read(tx: Transaction) -> Look:
        stage = tx.stages.get(KEY)
        assert stage is not None
        runs = {run.id: run for run in tx.runs.page(Page(100), stage=KEY)}
        probe = f"probe:{named}"
        return Look(
            stage=stage,
            runs=runs,
            named=runs.get(named),
            votes=tuple(tx.votes.of_run(named)),
            skips=tuple(tx.skips.of_run(named)),
            quarantines=tuple(tx.quarantines.page(Page(10))),
            freezes=tuple(tx.records.freezes(in_force=True)),
            work={
                "probe": tx.work.get(probe),
                "agree": tx.work.get(f"agree:{named}"),
                **{word: tx.work.get(f"{word}:{KEY}") for word in WORK},
            },
            last=tx.records.audit(Page(1))[0],
        )

    return await scene.world.store.read(read)


def _ends(_: Look, after: Look) -> bool:
    return after.named is not None and after.named.phase is Phase.ABORTED


def _closes(after: Look, *, restoring: bool) -> bool:
    run = after.named
    return run is not None and run.live and run.aborting and run.aborting_restore is restoring


def _comes_again(before: Look, after: Look) -> bool:
    following = after.runs.get(after.stage.next) if after.stage.next is not None else None
    new = following is not None and following.id not in before.runs
    return new and before.named is not None and following.release == before.named.release  # type: ignore[union-attr] # new says that it is there


def _goes_back(before: Look, after: Look) -> bool:
    front = after.front()
    back = front is not None and front.kind is RunKind.ROLLBACK and front.id not in before.runs
    return back and after.stage.hold is not None


def _is_redirected(before: Look, after: Look) -> bool:
    old = before.front()
    if old is None or after.stage.hold is None:
        return False
    return after.runs[old.id].redirect is not None or _goes_back(before, after)


def _is_synced(before: Look, after: Look) -> bool:
    front = after.front()
    return front is not None and front.kind is RunKind.SYNC and front.id not in before.runs


def _is_free(_: Look, after: Look) -> bool:
    stage = after.stage
    return (stage.suspended, stage.hold, stage.stall) == (None, None, None)


def _is_wanted(before: Look, after: Look) -> bool:
    wanted = after.stage.requested
    older = before.stage.applied is None or after.stage.hold is not None
    return wanted is not None and older


def _said(decision: Decision) -> Callable[[Look, Look], bool]:
    return lambda _, after: [vote.decision for vote in after.votes] == [decision]


SEQUELS: Mapping[Sequel, Callable[[Look, Look], bool]] = {
    Sequel.ENDS: _ends,
    Sequel.RESTORES: lambda _, after: _closes(after, restoring=True),
    Sequel.LEAVES: lambda _, after: _closes(after, restoring=False),
    Sequel.ASKED_AGAIN: lambda _, after: after.work["probe"] is not None,
    Sequel.AGAIN: _comes_again,
    Sequel.BEGINS: lambda _, after: after.named is not None and after.named.phase is Phase.RUNNING,
    Sequel.COMMITTED: lambda _, after: after.work["agree"] is not None,
    Sequel.VOTED: _said(Decision.APPROVE),
    Sequel.REJECTED: lambda before, after: (
        _ends(before, after) and _said(Decision.REJECT)(before, after)
    ),
    Sequel.SKIPPED: lambda _, after: [skip.gate for skip in after.skips] == ["approval"],
    Sequel.WANTED: _is_wanted,
    Sequel.GOES_BACK: _goes_back,
    Sequel.REDIRECTED: _is_redirected,
    Sequel.APPLIED_AGAIN: _is_synced,
    Sequel.CHECKED: lambda _, after: after.work["reverify"] is not None,
    Sequel.TAKEN_OVER: lambda _, after: after.work["adopt"] is not None,
    Sequel.SUSPENDED: lambda _, after: (
        after.stage.suspended is not None and after.stage.suspended.reason == REASON
    ),
    Sequel.GOES_ON: _is_free,
    Sequel.FROZEN: lambda before, after: len(after.freezes) == len(before.freezes) + 1,
    Sequel.THAWED: lambda before, after: len(after.freezes) == len(before.freezes) - 1,
    Sequel.LIFTED: lambda _, after: after.quarantines[0].lifted_by == ACTOR.subject,
}
"""How it shows in the store that what the table promises follows."""


@dataclass(frozen=True)
class Names:
    """What the verbs name."""

    run: RunId
    release: ReleaseId
    freeze: str
    quarantine: str


def _has(stage: Stage, release: ReleaseId) -> bool:
    return stage.applied is not None and stage.applied.release == release


async def find_names(scene: Scene) -> Names:
    """Name the run that concerns the stage now, and what holds it."""

    def read(tx: Transaction) -> Names:
        stage = tx.stages.get(KEY)
        assert stage is not None
        newest = [run.id for run in tx.runs.page(Page(1), stage=KEY)]
        freezes = [one.id for one in tx.records.freezes(in_force=True)]
        has = stage.applied.rendered if stage.applied is not None else None
        held = [one.id for one in tx.quarantines.page(Page(10)) if one.rendered == has]
        older = [one for one in reversed(scene.releases[:2]) if not _has(stage, one)]
        return Names(
            stage.front or stage.next or (newest or [UNKNOWN])[0],
            older[0],
            (freezes or ["f-none"])[0],
            (held or ["q-none"])[0],
        )

    return await scene.world.store.read(read)


@dataclass(frozen=True)
class Deed:
    """What a person does.

    Attributes:
        action: What the audit log calls it.
        target: What it is done to, there.
        act: Does it.
    """

    action: str
    target: str
    act: Callable[[], Awaitable[ActionResult]]


def list_deeds(scene: Scene, names: Names) -> Mapping[Verb, Deed]:
    """Name what a person would do for each verb."""
    actions, services, run = scene.world.actions, scene.world.services, names.run
    oldest, why, stage = scene.releases[0], REASON, str(KEY)
    scope, frozen, held = f"stage:{KEY}", names.freeze, names.quarantine

    def abort(*, restore: bool) -> Deed:
        return Deed("abort", run, lambda: actions.abort(ACTOR, run, restore=restore, reason=why))

    return {
        Verb.ABORT: abort(restore=True),
        Verb.LEAVE: abort(restore=False),
        Verb.RETRY: Deed("retry", run, lambda: actions.retry(ACTOR, run, reason=why)),
        Verb.APPROVE: Deed("approve", run, lambda: actions.approve(ACTOR, run, "", why)),
        Verb.REJECT: Deed("reject", run, lambda: actions.reject(ACTOR, run, "", why)),
        Verb.SKIP: Deed(
            "skip", run, lambda: actions.skip(ACTOR, run, "approval", plan="", reason=why)
        ),
        Verb.PROMOTE: Deed(
            "promote", stage, lambda: actions.promote(ACTOR, KEY, names.release, reason=why)
        ),
        Verb.ROLLBACK: Deed(
            "rollback", stage, lambda: actions.rollback(ACTOR, KEY, oldest, reason=why)
        ),
        Verb.SYNC: Deed("sync", stage, lambda: actions.sync(ACTOR, KEY, reason=why)),
        Verb.REVERIFY: Deed("reverify", stage, lambda: actions.reverify(ACTOR, KEY, reason=why)),
        Verb.ADOPT: Deed("adopt", stage, lambda: actions.adopt(ACTOR, KEY, reason=why)),
        Verb.SUSPEND: Deed("suspend", stage, lambda: actions.suspend(ACTOR, KEY, why)),
        Verb.RESUME: Deed("resume", stage, lambda: actions.resume(ACTOR, KEY, reason=why)),
        Verb.FREEZE: Deed("freeze", scope, lambda: freeze(services, ACTOR, scope, why, None)),
        Verb.THAW: Deed("thaw", frozen, lambda: thaw(services, ACTOR, frozen, reason=why)),
        Verb.LIFT: Deed(
            "lift-quarantine", held, lambda: actions.lift_quarantine(ACTOR, held, reason=why)
        ),
    }


def is_sentence(template: str, message: str) -> bool:
    """Tell whether a refusal is the table's sentence with something for each of its words."""
    pattern = re.escape(template)
    for word in WORDS:
        pattern = pattern.replace(re.escape(f"{{{word}}}"), ".*" if word == "why" else ".+")
    return re.fullmatch(pattern, message) is not None


def find_fault(answer: Allowed | Refused, result: ActionResult, before: Look, after: Look) -> str:
    """Say how what happened differs from what the table says; empty when it does not."""
    if isinstance(answer, Allowed):
        if not isinstance(result, ActionDone):
            return f"refused: {result.message}"
        return "" if SEQUELS[answer.then](before, after) else f"not {answer.then.value}"
    if not isinstance(result, ActionRefused):
        return f"let through: {result.message}"
    if result.status != answer.status or not is_sentence(answer.sentence, result.message):
        return f"{result.status}: {result.message}"
    return "" if before.state == after.state else "refused, and something changed"


def find_gap(entry: AuditEntry, deed: Deed, result: ActionResult) -> str:
    """Say what the audit entry lacks of who, what, why, before and after; empty for nothing."""
    outcome = "done" if isinstance(result, ActionDone) else f"refused: {result.message}"
    told = (entry.subject, entry.action, entry.target, entry.outcome)
    if told != (ACTOR.subject, deed.action, deed.target, outcome):
        return f"audited as {told}"
    details: Mapping[str, Json] = entry.details
    if details.get("reason") != REASON:
        return "audited without the reason"
    missing = [word for word in ("before", "after") if not isinstance(details.get(word), str)]
    if missing:
        return f"audited without {missing}"
    same = details["before"] == details["after"]
    known = bool(details["before"]) or deed.target in (UNKNOWN, "f-none", "q-none")
    if not known:
        return "audited without a state"
    return "audited as a change" if isinstance(result, ActionRefused) and not same else ""


@pytest.mark.parametrize("situation", Situation)
async def test_every_verb_does_here_what_the_table_says(situation: Situation) -> None:
    """Let through with what follows, or refused in the table's words; each audited in full."""
    wrong = {}
    async with standing_still(situation) as scene:
        names = await find_names(scene)
        for verb, deed in list_deeds(scene, names).items():
            scene.world.memory.back_up()
            before = await look(scene, names.run)
            result = await deed.act()
            after = await look(scene, names.run)
            fault = find_fault(TABLE[verb][situation], result, before, after)
            fault = fault or find_gap(after.last, deed, result)
            if fault:
                wrong[verb.value] = fault
            scene.world.memory.restore()
    assert not wrong, wrong
