"""What becomes of each verb in each situation: let through, or refused with what would help.

Data; `TABLE` has an answer for every verb in every situation. Several situations can hold at once:
the first refusal counts, in their order, but for an answer that decides. Finer obstacles (a vote
for another plan, a release that nobody knows) are refused by the verb itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gitopsd.domain.runs import RunKind
from gitopsd.pipeline.verbs import (
    Allowed,
    Answer,
    Refused,
    Sequel,
    Situation,
    Verb,
    positions_of_kind,
)

_S = Situation

_ROLLOUT = positions_of_kind(RunKind.ROLLOUT)
_BEFORE_GATE, _GATE, _WRITING = _ROLLOUT[:4], _ROLLOUT[4:5], _ROLLOUT[5:]
_UNWRITTEN = _BEFORE_GATE + _GATE
_ROLLBACK = positions_of_kind(RunKind.ROLLBACK)
_SYNC = positions_of_kind(RunKind.SYNC)
_FRONT = _WRITING + _ROLLBACK + _SYNC
_UNDECIDED = (_S.FAILED, _S.ERRORED, _S.ABORTED)
_WENT_BACK = (_S.ROLLBACK_ENDED, _S.DISAGREES)
_ENDED = (_S.SUCCEEDED, *_UNDECIDED, *_WENT_BACK, _S.SYNC_ENDED)
_AT_GATE = (_S.FROZEN, _S.SUSPENDED, _S.HELD, _S.CALLED, _S.RESTORED, _S.FOREIGN)
_AFTER_WRITING = (_S.UNVERIFIED, _S.STALLED)

_NO_RUN = Refused("there is no run {run}; what there is: gitopsd get stages", 404)
_IS_RETIRED = Refused(
    "{stage} is no longer configured; put it back into its application file, and see whether it is "
    "taken with: gitopsd check-config"
)
_UNAPPLIED = Refused(
    "nothing was applied to {stage} yet; bring a release with: gitopsd promote {application} "
    "{name} RELEASE"
)
_UNPROVEN = Refused(
    "what {stage} has is not verified; apply it again with: gitopsd sync {application} {name}, or "
    "go back with: gitopsd rollback {application} {name}"
)
_IS_QUARANTINED = Refused(
    "what {stage} has is quarantined: {failed}; go back with: gitopsd rollback {application} "
    "{name}, or let it in again with: gitopsd quarantine lift {quarantine}"
)
_CHOOSE = Refused(
    "the database of {stage} was restored from an older copy; choose: gitopsd resume {application} "
    "{name} --keep-cluster, or --redeploy"
)
_HELD_ELSEWHERE = Refused(
    "another installation holds {stage}; take it over with: gitopsd adopt {application} {name}"
)
_UNDO = Refused("{run} ended {phase}; to go back: gitopsd rollback {application} {name}")
_ENDED_THERE = Refused(
    "{run} ended {phase}, and {stage} is no longer configured; put it back into its application "
    "file, and see whether it is taken with: gitopsd check-config"
)
_BRING_AGAIN = Refused("{run} ended {phase}{why}; to bring its release again: gitopsd retry {run}")
_GO_ELSEWHERE = Refused(
    "{run} ended {phase}{why}; to restore a release: gitopsd rollback {application} {name} --to "
    "RELEASE"
)
_APPLY_AGAIN = Refused(
    "{run} ended {phase}{why}; to apply the applied set again: gitopsd sync {application} {name}"
)


def _row(*parts: tuple[Iterable[Situation], Answer]) -> Mapping[Situation, Answer]:
    """Put a row together; a later part overrides an earlier one."""
    return {at: answer for where, answer in parts for at in where}


_HAS_ENDED: tuple[tuple[Iterable[Situation], Answer], ...] = (
    ((_S.NOTHING,), _NO_RUN),
    ((_S.SUCCEEDED,), _UNDO),
    ((_S.RETIRED,), _ENDED_THERE),
    ((*_UNDECIDED, *_AFTER_WRITING, _S.QUARANTINED), _BRING_AGAIN),
    (_WENT_BACK, _GO_ELSEWHERE),
    ((_S.SYNC_ENDED,), _APPLY_AGAIN),
)


def _abort(writing: Sequel) -> Mapping[Situation, Answer]:
    """Make the row of one way to abort."""
    not_aborted = Refused(
        "{run} is a rollback and is not aborted; redirect it with: gitopsd rollback {application} "
        "{name} --to RELEASE"
    )
    return _row(
        *_HAS_ENDED,
        ((*_UNWRITTEN, *_AT_GATE, _SYNC[0]), Allowed(Sequel.ENDS)),
        (_WRITING, Allowed(writing)),
        (_ROLLBACK, not_aborted),
        (_SYNC[1:], Allowed(Sequel.LEAVES)),
    )


def _at_gate(then: Sequel, *, also_restored: bool) -> Mapping[Situation, Answer]:
    """Make the row of something that is said of a run at its Gate."""
    restored: Answer = Allowed(then) if also_restored else _CHOOSE
    return _row(
        *_HAS_ENDED,
        (
            _BEFORE_GATE,
            Refused(
                "{run} is in {step} and has not come to its Gate yet; what it waits for: gitopsd "
                "explain {run}"
            ),
        ),
        ((*_GATE, *_AT_GATE), Allowed(then)),
        (
            _WRITING,
            Refused("{run} has left its Gate and is in {step}; to end it: gitopsd abort {run}"),
        ),
        (
            _ROLLBACK,
            Refused(
                "{run} is a rollback and passes no gate; redirect it with: gitopsd rollback "
                "{application} {name} --to RELEASE"
            ),
        ),
        (
            _SYNC,
            Refused(
                "{run} applies again what was let in before and passes no gate; to end it: gitopsd "
                "abort {run}"
            ),
        ),
        ((_S.RESTORED,), restored),
    )


def _retry() -> Mapping[Situation, Answer]:
    goes_on = Refused("{run} is in {step} and goes on; to end it: gitopsd abort {run}")
    goes_back = Refused(
        "{run} is in {step} and goes on; redirect it with: gitopsd rollback {application} {name} "
        "--to RELEASE"
    )
    return _row(
        *_HAS_ENDED,
        ((*_BEFORE_GATE, *_WRITING, *_SYNC), goes_on),
        ((*_GATE, *_AT_GATE), Allowed(Sequel.ASKED_AGAIN)),
        (_ROLLBACK[:1], Allowed(Sequel.BEGINS)),
        (_ROLLBACK[1:], goes_back),
        (
            (_S.SUCCEEDED,),
            Refused(
                "{stage} runs {release} already; to check it again: gitopsd reverify {application} "
                "{name}"
            ),
        ),
        ((*_UNDECIDED, *_AFTER_WRITING), Allowed(Sequel.AGAIN)),
        ((_S.DISAGREES,), Allowed(Sequel.COMMITTED)),
        (
            (_S.QUARANTINED,),
            Refused(
                "{release} is quarantined in {stage}: {failed}; let it in again with: gitopsd "
                "quarantine lift {quarantine}"
            ),
        ),
        ((_S.RETIRED,), _IS_RETIRED),
    )


def _rollback() -> Mapping[Situation, Answer]:
    return _row(
        ((*_UNWRITTEN, *_ENDED, *_AT_GATE, *_AFTER_WRITING, _S.QUARANTINED),
         Allowed(Sequel.GOES_BACK)),
        (_FRONT, Allowed(Sequel.REDIRECTED)),
        (
            _SYNC[:1],
            Refused("{front} has not begun yet; to end it: gitopsd abort {front}"),
        ),
        ((_S.NOTHING,), _UNAPPLIED),
        ((_S.RESTORED,), _CHOOSE),
        ((_S.FOREIGN,), _HELD_ELSEWHERE),
        ((_S.RETIRED,), _IS_RETIRED),
    )  # fmt: skip


def _sync() -> Mapping[Situation, Answer]:
    ends_it = "{front} is writing to {stage}; to end it: gitopsd abort {front}"
    return _row(
        ((*_UNWRITTEN, *_ENDED, *_AT_GATE, *_AFTER_WRITING), Allowed(Sequel.APPLIED_AGAIN)),
        ((*_WRITING, *_SYNC), Refused(ends_it)),
        (
            _ROLLBACK,
            Refused(
                "{front} is writing to {stage}; redirect it with: gitopsd rollback {application} "
                "{name} --to RELEASE"
            ),
        ),
        ((_S.NOTHING,), _UNAPPLIED),
        ((_S.FROZEN,), Refused("{stage} is frozen: {frozen}; end it with: gitopsd thaw {freeze}")),
        (
            (_S.CALLED,),
            Refused("{stage} is stalled: {stall}; then: gitopsd resume {application} {name}"),
        ),
        ((_S.RESTORED,), _CHOOSE),
        ((_S.FOREIGN,), _HELD_ELSEWHERE),
        ((_S.QUARANTINED,), _IS_QUARANTINED),
        ((_S.RETIRED,), _IS_RETIRED),
    )


def _reverify() -> Mapping[Situation, Answer]:
    return _row(
        ((*_UNWRITTEN, *_ENDED, *_AT_GATE), Allowed(Sequel.CHECKED)),
        (
            _FRONT,
            Refused(
                "{front} is in {step} and judges for itself; what it says: gitopsd explain {front}"
            ),
        ),
        ((_S.NOTHING,), _UNAPPLIED),
        (_AFTER_WRITING, _UNPROVEN),
        ((_S.QUARANTINED,), _IS_QUARANTINED),
        ((_S.RESTORED,), _CHOOSE),
        ((_S.FOREIGN,), _HELD_ELSEWHERE),
        ((_S.RETIRED,), _IS_RETIRED),
    )


def _everywhere(then: Sequel) -> Mapping[Situation, Answer]:
    """Make the row of a verb that only a stage which is gone refuses."""
    return _row((Situation, Allowed(then)), ((_S.RETIRED,), _IS_RETIRED))


TABLE: Mapping[Verb, Mapping[Situation, Answer]] = {
    Verb.ABORT: _abort(Sequel.RESTORES),
    Verb.LEAVE: _abort(Sequel.LEAVES),
    Verb.RETRY: _retry(),
    Verb.APPROVE: _at_gate(Sequel.VOTED, also_restored=False),
    Verb.REJECT: _at_gate(Sequel.REJECTED, also_restored=True),
    Verb.SKIP: _at_gate(Sequel.SKIPPED, also_restored=False),
    Verb.PROMOTE: _everywhere(Sequel.WANTED),
    Verb.ROLLBACK: _rollback(),
    Verb.SYNC: _sync(),
    Verb.REVERIFY: _reverify(),
    Verb.ADOPT: _row(
        (
            Situation,
            Refused(
                "{stage} is held by no other installation; what it waits for: gitopsd explain "
                "{application} {name}"
            ),
        ),
        ((_S.FOREIGN,), Allowed(Sequel.TAKEN_OVER, decides=True)),
        ((_S.RETIRED,), _IS_RETIRED),
    ),
    Verb.SUSPEND: _everywhere(Sequel.SUSPENDED),
    Verb.RESUME: {**_everywhere(Sequel.GOES_ON), _S.RESTORED: _CHOOSE},
    Verb.FREEZE: {
        **_everywhere(Sequel.FROZEN),
        _S.RETIRED: Refused("there is no stage {stage} to freeze; configured: {stages}", 422),
    },
    Verb.THAW: _row(
        (
            Situation,
            Refused("there is no freeze {target}; list them with: gitopsd get freezes", 404),
        ),
        ((_S.FROZEN,), Allowed(Sequel.THAWED)),
    ),
    Verb.LIFT: _row(
        (
            Situation,
            Refused(
                "there is no quarantine {target}; list them with: gitopsd quarantine list", 404
            ),
        ),
        ((_S.QUARANTINED,), Allowed(Sequel.LIFTED)),
    ),
}
"""Every verb in every situation."""
