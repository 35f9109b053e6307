"""What was written, by the API server's audit log, and what that says about a release."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from tests.support.systems.object_sets import by_key, hooks_of, key_of, plain, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.support.systems.kinds import Kinds
    from tests.support.systems.object_sets import Comparison, Key, Object
    from tests.support.systems.story import Reach

PRODUCT: Final = "system:serviceaccount:gitopsd:gitopsd"
_APPLYING: Final = frozenset({"create", "update", "patch"})
_WRITING: Final = _APPLYING | {"delete", "deletecollection"}
_ON_ROLLBACK: Final = "gitopsd.io/hook-on-rollback"
_SECOND: Final = len("2026-01-01T00:00:00")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stage is.

    Attributes:
        stage: Its name.
        namespaces: Those that are its own; everything that gitopsd writes there is for it.
        known: Its objects elsewhere: in namespaces that stages share, and cluster-wide.
        identity: As whom gitopsd writes there; empty for itself.
    """

    stage: str
    namespaces: frozenset[str]
    known: frozenset[Key]
    identity: str = ""

    def holds(self, key: Key) -> bool:
        """Whether an object is the stage's."""
        return key[1] in self.namespaces or plain(key) in self.known


@dataclass(frozen=True, slots=True)
class Write:
    """One change that gitopsd made.

    Attributes:
        verb: As in the audit log; ``changed`` where there is none.
        key: What was written.
        at: When, in the API server's words.
        made: Whether it was new.
        identity: As whom; empty for gitopsd itself.
    """

    verb: str
    key: Key
    at: str
    made: bool = False
    identity: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {shown(self.key)}"


def writes_of(events: Iterable[dict[str, Any]], kinds: Kinds, place: Place) -> list[Write]:
    """What gitopsd changed in a stage, by audit events.

    Writes of its own bookkeeping are in a namespace of its own; dry-runs write nothing.
    """
    found = []
    for event in events:
        if event["verb"] not in _WRITING or event["user"].get("username") != PRODUCT:
            continue
        reference = event.get("objectRef", {})
        code = event.get("responseStatus", {}).get("code", 0)
        if (
            "dryRun" in event["requestURI"]
            or reference.get("subresource") == "proxy"
            or code >= HTTPStatus.BAD_REQUEST
        ):
            continue
        name = reference.get("name", "")
        key = (kinds.kind(reference), reference.get("namespace", ""), name)
        # The audit log has a Namespace in itself; manifests have it nowhere.
        key = ("Namespace", "", name) if key[0] == "Namespace" else key
        if place.holds(key):
            identity = event.get("impersonatedUser", {}).get("username", "")
            at, made = event["requestReceivedTimestamp"], code == HTTPStatus.CREATED
            found.append(Write(event["verb"], key, at, made, identity))
    return sorted(found, key=lambda write: write.at)


def misplaced(writes: Iterable[Write], place: Place) -> list[str]:
    """Tell what was written as somebody else than the stage's identity."""
    return [
        f"{write} as {write.identity or 'gitopsd'}, not as {place.identity or 'gitopsd'}"
        for write in writes
        if write.identity != place.identity
    ]


def out_of_order(
    order: Sequence[str],
    writes: Iterable[Write],
    rendered: Iterable[Object],
    live: Iterable[Object],
    *,
    everything: bool,
) -> list[str]:
    """Tell which steps of a good release came too early, or not once.

    Args:
        order: Objects as ``Kind/name``; each is written after the one before.
        writes: Those of the release.
        rendered: What was released; steps that a stage does not have are left out.
        live: What is there afterwards: hooks say when they were complete.
        everything: Whether all of them must have been written, as in a first release; else those
            that are the same were left alone.
    """
    rendered, done = list(rendered), list(writes)
    steps = {f"{kind}/{name}": (kind, space, name) for kind, space, name in map(key_of, rendered)}
    first = {write.key: write.at for write in reversed(done) if write.verb in _APPLYING}
    ended = {key_of(one): one.get("status", {}).get("completionTime", "") for one in live}
    hooks = hooks_of(rendered)
    made = Counter(write.key for write in done if write.verb == "create")
    said = [f"{shown(key)} was made {made[key]} times" for key in hooks if made[key] != 1]
    wanted = [steps[name] for name in order if name in steps]
    if everything:
        said += [f"{shown(key)} was not written" for key in wanted if key not in first]
    came = [key for key in wanted if key in first]
    for before, after in pairwise(came):
        if first[before] >= first[after]:
            said.append(f"{shown(after)} was written before {shown(before)}")
        if before in hooks and not "" < ended.get(before, "")[:_SECOND] <= first[after][:_SECOND]:
            said.append(f"{shown(after)} was written before {shown(before)} was complete")
    return said


def not_done(reach: Reach, compared: Comparison, writes: Iterable[Write]) -> list[str]:
    """Tell what a bad release did not do, though its story says so, and the other way about.

    Args:
        reach: How far the release came.
        compared: What it brings, against the good one.
        writes: Those of the release and of what took it back.
    """
    found = [(write.verb, plain(write.key), write.made) for write in writes]
    made = {key for verb, key, new in found if verb in _APPLYING and new}
    deleted = {key for verb, key, _ in found if verb == "delete"}
    said = []
    for key in sorted(compared.added):
        if (key in made) != (reach != "Hooks"):
            said.append(f"{shown(key)} was {'made' if key in made else 'never made'}")
        if key in made and key not in deleted:
            said.append(f"{shown(key)} was not deleted again")
    for key in sorted(compared.deleted):
        if (key in deleted) != (reach == "Pruned"):
            said.append(f"{shown(key)} was {'deleted' if key in deleted else 'never deleted'}")
        if key in deleted and key not in made:
            said.append(f"{shown(key)} was not made again")
    return said


def made_twice(rendered: Iterable[Object], writes: Iterable[Write]) -> list[str]:
    """Tell which hooks of a bad release were made more than once.

    Those that ask for it are made once more by what takes the release back.
    """
    made = Counter(write.key for write in writes if write.verb == "create")
    return [
        f"{shown(key)} was made {made[key]} times"
        for key, hook in hooks_of(rendered).items()
        if made[key] > 1 + (hook["metadata"]["annotations"].get(_ON_ROLLBACK) == "true")
    ]


def known_of(rendered: Iterable[Object]) -> set[Key]:
    """Keys of a rendered set with its hooks, whatever the hash in their names."""
    objects = list(rendered)
    return set(by_key(objects)) | set(hooks_of(objects))
