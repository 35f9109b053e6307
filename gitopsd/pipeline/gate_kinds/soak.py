"""``soak:``: the release was seen healthy in another stage for a while."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.domain.gate_specs import SoakGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.stages import Soak
from gitopsd.pipeline.facts import GateFacts

_ROUGHLY = timedelta(minutes=10)
_SECOND, _MINUTE, _HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def evaluate_soak(spec: SoakGate, facts: GateFacts) -> GateAnswer:
    """Answer by how long looks saw the release healthy in the other stage.

    What soaked in full stays so when the stage goes on to something newer: else a release that
    waits for people would be shut out by the next one that passes the stage.
    """
    stage = spec.stage
    if stage not in facts.verified_upstream_at:
        return Closed(f"not verified in {stage}", f"wait until it is verified in {stage}")
    found = facts.soaks.get(stage)
    if found is None:
        return Closed(f"nobody has looked at it in {stage} yet", "wait for the first look")
    if found.needs_nothing:
        return Open(f"it brings no image that {stage} would have to run first")
    soak = found.soak
    if soak is None:
        key = facts.stage.key
        return Closed(
            f"how long it was healthy in {stage} is not known: it was verified there long ago",
            f"bring it there again: gitopsd promote {key.application} {stage} {facts.run.release}",
        )
    of = say_duration(spec.duration)
    if soak.accumulated >= spec.duration:
        return Open(f"seen healthy in {stage} for {of}")
    reached = f"seen healthy in {stage} for {_reached(soak, spec)} of {of}"
    if not found.current:
        return Closed(
            f"{reached}; {stage} runs {found.running or 'something unverified'} now",
            f"bring it there again: gitopsd promote {facts.stage.key.application} {stage} "
            f"{soak.release}, or promote what {stage} runs",
        )
    why = f"; it counts anew since a failure there: {soak.failed}" if soak.failed else ""
    if soak.healthy_at is None:
        last = f": {found.last}" if found.last else ""
        return Closed(f"{reached}; {stage} is not seen healthy now{last or why}", f"mend {stage}")
    until = soak.healthy_at + spec.duration - soak.accumulated
    return Closed(reached + why, f"wait while {stage} stays healthy", until)


def say_duration(duration: timedelta) -> str:
    """Say a duration in hours, minutes and seconds, the zero ones left out."""
    hours, rest = divmod(duration, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    parts = ((hours, "h"), (minutes, "m"), (rest // _SECOND, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def _reached(soak: Soak, spec: SoakGate) -> str:
    """Say how far it got, in whole minutes where that is exact enough: what is said is stored."""
    unit = _MINUTE if spec.duration >= _ROUGHLY else _SECOND
    return say_duration(soak.accumulated // unit * unit)
