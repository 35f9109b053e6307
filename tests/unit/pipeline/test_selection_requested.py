"""Releases that a person asks for, and what is not brought back by itself."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import Phase, RunId, Step
from gitopsd.domain.stages import AppliedSet
from gitopsd.pipeline.selection import Selection, select
from tests.support.runs import NOON
from tests.unit.pipeline.test_selection import (
    STAGE,
    A,
    B,
    C,
    facts,
    held,
    offers,
    rendering,
    rollout,
)


def test_a_requested_release_comes_before_newer_ones() -> None:
    """Older than what runs, it is taken; once it runs or is brought, the newest counts again."""
    stage = replace(STAGE, requested=A)
    given = replace(facts(A, B, C, stage=stage), running=B, running_rendered=Digest("b"))
    assert select(given).release == A
    running = replace(given, running=A, running_rendered=Digest("a"))
    assert select(running).release == C
    brought = replace(given, front_run=rollout(A, Step.APPLY))
    assert select(brought).release == C


def test_a_requested_release_that_is_held_gives_way() -> None:
    """A quarantine stands against a request; the newest offer is looked at then, each once."""
    stage = replace(STAGE, requested=A)
    given = replace(
        facts(A, B, stage=stage),
        renderings={A: rendering(A, "a")},
        quarantines=(held("a"),),
        last_runs={B: rollout(B, Step.GATE, Phase.ABORTED, "Rejected")},
    )
    assert [release for release, _ in select(given).skipped] == [A, B]


def test_a_requested_release_is_kept_in_next_against_newer_ones() -> None:
    """While it waits there, nothing newer takes its place."""
    stage = replace(STAGE, requested=A)
    given = replace(facts(A, B, stage=stage), next_run=rollout(A))
    assert select(given) == Selection(reason="r-a is next already")


def test_what_was_verified_last_is_not_brought_back_by_itself() -> None:
    """Something else was applied over it: whether it comes back is restoring, not selection."""
    applied = AppliedSet(B, Digest("b"), RunId("run-1"), NOON)
    failed = rollout(B, Step.VERIFY, Phase.FAILED)
    given = replace(
        facts(A, B, stage=replace(STAGE, applied=applied)),
        running=A,
        running_rendered=Digest("a"),
        renderings={B: rendering(B, "b")},
        quarantines=(held("b"),),
        last_runs={B: failed},
    )
    choice = select(given)
    assert choice.release is None
    assert choice.reason == "r-a was verified last; a person decides whether it is brought back"


def test_a_rewind_or_a_request_brings_back_what_was_verified_last() -> None:
    """Somebody wants it, and the cluster has something else."""
    applied = AppliedSet(B, Digest("b"), RunId("run-1"), NOON)
    stage = replace(STAGE, applied=applied)
    given = replace(facts(A, B, stage=stage), running=A, running_rendered=Digest("a"))
    rewound = replace(given, offers=offers(B, A))
    assert select(rewound).release == A
    requested = replace(given, stage=replace(stage, requested=A))
    assert select(requested).release == A
    without_offers = replace(requested, offers=())
    assert select(without_offers).release == A
    clean = replace(given, stage=replace(STAGE, applied=replace(applied, rendered=Digest("a"))))
    assert select(replace(clean, offers=offers(B, A))).release is None
