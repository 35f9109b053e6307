"""The file in Git that keeps a stage on what a rollback restored, and the gate that reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from gitopsd.domain.config import RollbackGit
from gitopsd.domain.gates import Closed, Open
from gitopsd.domain.manifests import Digest, Json, JsonObject
from gitopsd.domain.pin_files import PinFile, Pinned
from gitopsd.domain.releases import ApplicationName, Release, ReleaseId
from gitopsd.domain.runs import Phase, Run, RunId, RunKind
from gitopsd.domain.sources import Commit, CommitSha
from gitopsd.pipeline.people_facts import PeopleFacts
from gitopsd.pipeline.pin_files import (
    compose_pin,
    compose_pin_message,
    evaluate_pin,
    is_pinned,
    locate_pin,
    parse_pin,
)
from tests.support.gate_facts import FACTS as BARE
from tests.support.gate_facts import KEY, NOON
from tests.support.people_facts import PEOPLE, skip

PATH = "overlays/production/gitopsd-pin.yaml"
OLD, BAD = CommitSha("1" * 40), CommitSha("2" * 40)
ROLLBACK = Run(
    id=RunId("run-7-rb"),
    stage=KEY,
    release=ReleaseId("r-1"),
    kind=RunKind.ROLLBACK,
    phase=Phase.SUCCEEDED,
)
RESTORED = Release(ReleaseId("r-1"), ApplicationName("shop"), Commit(OLD))
FAILED = Release(ReleaseId("r-2"), ApplicationName("shop"), Commit(BAD))
PIN = PinFile(PATH, Pinned(ReleaseId("r-1"), OLD, NOON))
DOCUMENT: dict[str, Json] = {
    "application": KEY.application,
    "stage": KEY.stage,
    "since": "2026-01-05T12:00:00Z",
    "runs": {"release": "r-1", "commit": OLD},
}
FACTS = replace(BARE, spec=replace(BARE.spec, rollback_git=RollbackGit.PIN), pin=PIN)
OPENER = f"push a commit without {PATH}"


@pytest.mark.parametrize(
    "overlay,path",
    [
        ("overlays/production", PATH),
        ("overlays//./production/", PATH),
        (".", "gitopsd-pin.yaml"),
    ],
)
def test_the_file_lies_beside_the_kustomization(overlay: str, path: str) -> None:
    """However its directory is written."""
    assert locate_pin(overlay) == path


def test_a_composed_file_says_everything_and_how_to_lift_it() -> None:
    """Readable, and the same bytes for the same facts."""
    since = datetime(2026, 1, 5, 13, tzinfo=timezone(timedelta(hours=1)))
    written = compose_pin(ROLLBACK, FAILED, RESTORED, 'it crashed: "boom"\n\x85 é', since)
    assert written.decode() == (
        f"# gitopsd took {KEY} back to what ran there before, and keeps it on that.\n"
        "# To lift this, delete this file in the commit that holds the fix.\n"
        f'application: "{KEY.application}"\n'
        f'stage: "{KEY.stage}"\n'
        'since: "2026-01-05T12:00:00Z"\n'
        "runs:\n"
        '  release: "r-1"\n'
        f'  commit: "{OLD}"\n'
        "takenBack:\n"
        '  release: "r-2"\n'
        f'  commit: "{BAD}"\n'
        'reason: "it crashed: \\"boom\\"   é"\n'
        'run: "run-7-rb"\n'
    )
    assert written == compose_pin(ROLLBACK, FAILED, RESTORED, 'it crashed: "boom"\n\x85 é', since)


def test_the_document_shows_a_file_as_it_is_written() -> None:
    """docs/rollbacks.md holds what would be composed for its example."""
    document = (Path(__file__).parents[3] / "docs" / "rollbacks.md").read_text("utf-8")
    run = replace(ROLLBACK, id=RunId("shop-production-8d21"))
    restored = _release("r-3f2a9c01d4e5b677", "1b7e4a90c2d3f5a6b8c9d0e1f2a3b4c5d6e7f809")
    failed = _release("r-9c81e2b47a60d3f5", "c0ffee5a1b2c3d4e5f60718293a4b5c6d7e8f901")
    reason = "Deployment shop/api: container api: CrashLoopBackOff, exit code 1"
    written = compose_pin(run, failed, restored, reason, NOON - timedelta(hours=3))
    assert f"```yaml\n{written.decode()}```" in document


def _release(name: str, sha: str) -> Release:
    return Release(ReleaseId(name), ApplicationName("shop"), Commit(CommitSha(sha)))


def test_a_long_reason_is_cut() -> None:
    """The rest is in the run."""
    written = compose_pin(ROLLBACK, FAILED, RESTORED, "x" * 600, NOON).decode()
    assert f'{"x" * 500}"' in written
    assert "x" * 501 not in written


def test_what_was_composed_is_read_back() -> None:
    """Its lines are JSON behind each key, which YAML reads alike."""
    lines = compose_pin(ROLLBACK, FAILED, RESTORED, "it crashed", NOON).decode().splitlines()
    values = [line.strip().split(": ", 1) for line in lines if '"' in line]
    release, commit = (json.loads(values[number][1]) for number in (3, 4))
    document: JsonObject = {
        **{name: json.loads(value) for name, value in values[:3]},
        "runs": {"release": release, "commit": commit},
    }
    assert parse_pin(document, PATH, KEY) == PIN


@pytest.mark.parametrize(
    "change,problem",
    [
        ({"stage": "staging"}, f"it is for {KEY.application}/staging, not for {KEY}"),
        ({"application": None}, f"it is for None/{KEY.stage}, not for {KEY}"),
        ({"runs": None}, "`runs.release` names no release"),
        ({"runs": {"release": "", "commit": OLD}}, "`runs.release` names no release"),
        ({"runs": {"release": 7, "commit": OLD}}, "`runs.release` names no release"),
        ({"runs": {"release": "r-1"}}, "`runs.commit` is no full commit id"),
        ({"runs": {"release": "r-1", "commit": "main"}}, "`runs.commit` is no full commit id"),
        ({"since": None}, "`since` is no time such as 2026-01-05T12:00:00Z"),
        ({"since": "lately"}, "`since` is no time such as 2026-01-05T12:00:00Z"),
        ({"since": "2026-01-05T12:00:00"}, "`since` is no time such as 2026-01-05T12:00:00Z"),
        (
            {"since": "0001-01-01T00:00:00+14:00"},
            "`since` is no time such as 2026-01-05T12:00:00Z",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(change: dict[str, Json], problem: str) -> None:
    """Another stage's, or one without what the gate has to name."""
    found = parse_pin({**DOCUMENT, **change}, PATH, KEY)
    assert found == PinFile(PATH, problem=f"{PATH}: {problem}")


def test_fields_for_people_may_be_left_out_or_added() -> None:
    """And a time of another zone is that moment."""
    written = {**DOCUMENT, "since": "2026-01-05T14:00:00+02:00", "ticket": "OPS-1"}
    found = parse_pin(written, PATH, KEY).pinned
    assert found == Pinned(ReleaseId("r-1"), OLD, datetime(2026, 1, 5, 12, tzinfo=UTC))


def test_the_commit_says_what_it_is_for() -> None:
    """A subject for people, how to lift it, and the trailer by which it is found again."""
    message = compose_pin_message(ROLLBACK, FAILED, RESTORED, "it crashed", PATH)
    assert message == (
        f"Pin {KEY} to {'1' * 12}\n\n"
        f"{KEY} is back on r-1 ({'1' * 12}): it crashed\n\n"
        f"{PATH} keeps it there: delete that file in the commit that holds the fix. "
        "No other file is touched.\n\n"
        f"Gitopsd-Stage: {KEY}\nGitopsd-Release: r-2\nGitopsd-Run: run-7-rb\n"
    )


def test_a_release_whose_commit_holds_the_pin_waits_for_another_commit() -> None:
    """The sentence names the file, what the stage is kept on, and since when."""
    assert evaluate_pin(FACTS) == Closed(
        f"{PATH} keeps {KEY} on r-1 ({'1' * 12}) since 2030-06-01 12:00 UTC", OPENER
    )


def test_a_commit_without_the_file_goes_on() -> None:
    """That is how a pin is lifted."""
    assert evaluate_pin(replace(FACTS, pin=None)) == Open()


@pytest.mark.parametrize("policy", [RollbackGit.NONE, RollbackGit.REVERT_COMMIT])
def test_a_stage_with_another_policy_takes_no_notice(policy: RollbackGit) -> None:
    """What the configuration does not ask for stops nothing."""
    assert evaluate_pin(replace(FACTS, spec=replace(FACTS.spec, rollback_git=policy))) == Open()


def test_a_file_that_cannot_be_used_keeps_everything_out() -> None:
    """Somebody meant something by it."""
    broken = PinFile(PATH, problem=f"{PATH}:3: it is not YAML")
    named = replace(FACTS, pin=broken, pinned_rendered=FACTS.run.rendered)
    assert evaluate_pin(named) == Closed(f"{PATH}:3: it is not YAML", OPENER)


def test_what_the_pin_names_may_come() -> None:
    """The commit itself, or whatever renders to the same bytes."""
    named = Open(f"it is what {PATH} names")
    own = replace(FACTS, release=replace(FACTS.release, commit=Commit(OLD)))
    assert evaluate_pin(own) == named
    same = replace(FACTS, run=replace(FACTS.run, rendered=Digest("sha256:a")))
    assert evaluate_pin(replace(same, pinned_rendered=Digest("sha256:a"))) == named
    assert isinstance(evaluate_pin(replace(same, pinned_rendered=Digest("sha256:b"))), Closed)
    unknown = replace(FACTS, run=replace(FACTS.run, rendered=None))
    assert isinstance(evaluate_pin(unknown), Closed)


def test_votes_keep_nothing_waiting_for_a_pinned_run() -> None:
    """Unless somebody let it pass the pin."""
    assert is_pinned(FACTS)
    assert not is_pinned(replace(FACTS, pin=None))
    people = PeopleFacts(PEOPLE, skips=(skip("pin"),))
    assert not is_pinned(replace(FACTS, people=people))
