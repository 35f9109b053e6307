"""The words that say where a commit stands: CI jobs read them."""

from __future__ import annotations

from gitopsd.pipeline.commit_status import CommitState

WAITING = ("NotSeen", "Waiting", "Running", "Held")
ENDS = ("Live", "Failed", "RolledBack", "Quarantined", "Superseded", "NotConcerned")


def test_the_words_are_those_that_were_promised() -> None:
    """Nothing that waits for time, work or people is an end, and everything else is one."""
    assert {one.value for one in CommitState if not one.terminal} == set(WAITING)
    assert {one.value for one in CommitState if one.terminal} == set(ENDS)
