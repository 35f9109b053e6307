"""Whether a release brings only images that another stage has verified.

For stages that follow lines of their own, a branch each: their commits differ, so no release
travels from one to the other, but the images of the later one may be asked to have passed the
earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import StageName
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.quarantine import is_quarantined

NAMED = 3
"""Images that a sentence names; of more it gives the number."""


def judge_images(facts: GateFacts, upstream: StageName) -> GateAnswer:
    """Judge the images of a run's plan.

    What the stage runs verified already is nothing that it takes from upstream: a release that
    only changes settings does not wait for it. What failed upstream stays out in any case.

    Args:
        facts: Facts of the run that stands at its Gate.
        upstream: Stage that has to have verified them.
    """
    if facts.plan_images is None:
        return Closed("the images of its plan are not known", "wait until it is rendered again")
    found = {name: digest for name, digest in facts.plan_images.items() if digest is not None}
    for name, digest in found.items():
        quarantine = is_quarantined(None, (digest,), facts.upstream_quarantines)
        if quarantine is not None:
            return Closed(
                f"{name} is quarantined in {upstream}: {quarantine.reason}",
                f"push a fix, or: gitopsd quarantine lift {quarantine.id}",
            )
    loose = [name for name, digest in facts.plan_images.items() if digest is None]
    if loose:
        are = "has no digest" if len(loose) == 1 else "have no digests"
        return Closed(
            f"{_list(loose)} {are} to compare with what {upstream} verified",
            "write pinImages: all in the application file, or the digest in Git",
        )
    known = _known(facts)
    lacking = [name for name, digest in found.items() if digest not in known]
    if not lacking:
        return Open()
    are, them = ("is", "it") if len(lacking) == 1 else ("are", "them")
    return Closed(
        f"{_list(lacking)} {are} not verified in {upstream}",
        f"bring {them} to {upstream}; this opens as soon as it verifies {them}",
    )


def images_verified_since(facts: GateFacts) -> datetime | None:
    """Tell since when every image of a run's plan is verified; None while one of them is not."""
    known = _known(facts)
    found = (facts.plan_images or {}).values()
    if any(digest not in known for digest in found):
        return None
    return max((known[digest] for digest in found if digest is not None), default=None)


def _known(facts: GateFacts) -> Mapping[Digest | None, datetime]:
    """List the images that upstream verified, or that the stage runs verified already."""
    known: dict[Digest | None, datetime] = dict(facts.running_images.items())
    for digest, at in facts.upstream_images.items():
        known[digest] = min(at, known.get(digest, at))
    return known


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
