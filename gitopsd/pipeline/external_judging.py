"""What the answer of a service that decides about a gate means."""

from __future__ import annotations

from collections.abc import Mapping

from gitopsd.domain.asked_gates import Finding, ProbeAnswer
from gitopsd.domain.manifests import Json

_FINDINGS = {"open": Finding.MET, "closed": Finding.UNMET, "refused": Finding.REFUSED}
_KNOWN = {"decision", "reason"}


def judge_decision(document: Json, who: str) -> ProbeAnswer:
    """Judge ``{"decision": "open"|"closed"|"refused", "reason": "..."}``; anything else is trouble.

    Args:
        document: What was answered.
        who: Who answered, for people.
    """
    if not isinstance(document, Mapping):
        return _trouble(who, "no JSON object")
    unknown = sorted(set(document) - _KNOWN)
    if unknown:
        return _trouble(who, f"an unknown field {unknown[0][:60]!r}")
    decision, reason = document.get("decision"), document.get("reason", "")
    if not isinstance(decision, str) or decision not in _FINDINGS:
        return _trouble(who, f"the decision {str(decision)[:60]!r}, not open, closed or refused")
    if not isinstance(reason, str):
        return _trouble(who, "a reason that is no text")
    said = f"{who} says {decision}"
    return ProbeAnswer(_FINDINGS[decision], f"{said}: {reason}" if reason.strip() else said)


def _trouble(who: str, what: str) -> ProbeAnswer:
    return ProbeAnswer(Finding.INCONCLUSIVE, f"{who} answered {what}")
