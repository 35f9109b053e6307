"""Immutable fields: recognising the refusal, and deciding whether the object is made anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.kube.boundary import Refusal
from gitopsd.kube.inventory import is_protected
from gitopsd.kube.names import RECREATE_ANNOTATION, parse_recreate
from gitopsd.kube.objects import parse_ref
from gitopsd.kube.redaction import redact_clause

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject
    from gitopsd.kube.statuses import Status

_UNPROCESSABLE = 422

_IMMUTABLE = re.compile(
    r"field is immutable|immutable field|is immutable|cannot change roleRef"
    r"|updates to statefulset spec for fields other than|may not change once set"
    r"|updates to parameters are forbidden|spec is immutable after creation"
)

_ORPHANING = frozenset({("apps", "Deployment"), ("apps", "StatefulSet")})


@dataclass(frozen=True, slots=True)
class Recreation:
    """How an object is deleted before it is made anew.

    Attributes:
        propagation: ``Orphan`` where its pods must go on, else ``Background``.
    """

    propagation: str


def is_immutable_refusal(status: Status) -> bool:
    """Whether a refusal says that an immutable field would change.

    Stricter than Flux, whose rule (any 409 or 422) calls itself one with false positives: the
    answer is 422 ``Invalid`` and its message, or a cause's, says so in the server's own words.
    """
    if status.code != _UNPROCESSABLE or status.reason != "Invalid":
        return False
    messages = (status.message, *(cause.message for cause in status.causes))
    return any(_IMMUTABLE.search(message) for message in messages)


def decide_recreation(desired: JsonObject, status: Status) -> Recreation | Refusal:
    """Decide whether an object that cannot be changed is deleted and made anew.

    Only what is annotated is; Namespaces, CRDs, PVs and PVCs never, because others and data go
    with them. Deployments and StatefulSets leave their pods running.

    Args:
        desired: The manifest.
        status: The server's refusal.

    Raises:
        PermanentError: ``InvalidObject``, when the manifest has no identity.
    """
    key = parse_ref(desired).key
    cause = redact_clause(status.message)
    if is_protected(key):
        return Refusal(
            "ImmutableField",
            f"{key}: {cause}; a {key.kind} is never recreated, restore the field in Git",
        )
    if not parse_recreate(desired):
        return Refusal(
            "ImmutableField",
            f'{key}: {cause}; restore the field, or annotate {RECREATE_ANNOTATION}: "true" '
            "to have it deleted and made anew",
        )
    orphaned = (key.group, key.kind) in _ORPHANING
    return Recreation("Orphan" if orphaned else "Background")
