"""Says an API server's refusal in one sentence, and tells verdicts from trouble."""

from __future__ import annotations

from datetime import timedelta
from typing import NoReturn

from gitopsd.cluster_ports import (
    ApiRefusal,
)
from gitopsd.domain.manifests import ObjectRef
from gitopsd.errors import TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.kube.statuses import Cause, Status, StatusKind, classify, is_retryable

CREDENTIAL_RETRY = timedelta(seconds=60)
"""A refused credential is tried again each minute, and at once when its file changes."""

_REASONS = {
    StatusKind.FORBIDDEN: "Forbidden",
    StatusKind.DENIED: "AdmissionDenied",
    StatusKind.QUOTA: "QuotaExceeded",
    StatusKind.NO_SUCH_KIND: "UnknownKind",
    StatusKind.NAMESPACE_MISSING: "NamespaceMissing",
    StatusKind.UNKNOWN_FIELD: "UnknownField",
    StatusKind.FIELD_CONFLICT: "FieldConflict",
}


def status_of(refusal: ApiRefusal) -> Status:
    """Read a refusal as the status it came from."""
    causes = tuple(Cause(reason, field, message) for field, reason, message in refusal.causes)
    return Status(refusal.code, refusal.reason, refusal.message, causes)


def reason_of(refusal: ApiRefusal) -> str:
    """Name a refusal for a run's failure."""
    return _REASONS.get(classify(status_of(refusal)), refusal.reason or "Refused")


def sentence(ref: ObjectRef, refusal: ApiRefusal) -> str:
    """Say which object was refused and why, in the cluster's words."""
    return f"{ref.key}: {redact_clause(refusal.message)}"


_PASSING = frozenset({StatusKind.CONFLICT, StatusKind.ALREADY_EXISTS, StatusKind.EXPIRED})
"""Somebody else was faster: looked at anew, the same thing may be right or done already."""

_ACCOUNT_COMING = "error looking up service account"
"""Said of pods in a namespace so new that its controller has not made the account yet."""


def is_account_coming(refusal: ApiRefusal) -> bool:
    """Whether a pod is only refused because its service account is not there yet."""
    forbidden = classify(status_of(refusal)) is StatusKind.FORBIDDEN
    return forbidden and _ACCOUNT_COMING in refusal.message


def raise_if_temporary(ref: ObjectRef, refusal: ApiRefusal) -> None:
    """Raise for a refusal that is no verdict about the object.

    Raises:
        TemporaryError: The same request may succeed later.
    """
    status = status_of(refusal)
    kind = classify(status)
    if kind is StatusKind.UNAUTHORIZED:
        message = f"{ref.key}: the cluster refuses our credential: {redact_clause(refusal.message)}"
        raise TemporaryError(message, retry_after=CREDENTIAL_RETRY, reason="Credential")
    if is_retryable(status) or kind in _PASSING or is_account_coming(refusal):
        raise TemporaryError(sentence(ref, refusal), retry_after=status.retry_after)


def raise_unseen(ref: ObjectRef, refusal: ApiRefusal) -> NoReturn:
    """Raise for an object that may not be read: nothing is known about it.

    Raises:
        TemporaryError: Always; what cannot be seen is neither missing nor unhealthy.
    """
    raise_if_temporary(ref, refusal)
    raise TemporaryError(sentence(ref, refusal), reason=reason_of(refusal))
