"""What the stand-ins of operators write into an object's status, in the words of the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

_VALID_FOR = timedelta(days=90)
_RENEWED_BEFORE = timedelta(days=30)
# External Secrets' condition knows no generation; it keeps it in a field of its own.
_SAYS_GENERATION = frozenset({"Certificate", "ClusterIssuer"})


@dataclass(frozen=True, slots=True)
class Unready:
    """Why an object is not ready.

    Attributes:
        reason: One word, as conditions have it.
        message: A sentence.
    """

    reason: str
    message: str


FIRST_TROUBLE = {
    "ExternalSecret": Unready("SecretSyncedError", "could not get secret data from provider"),
    "Certificate": Unready("DoesNotExist", "Issuing certificate as Secret does not exist"),
    "ClusterIssuer": Unready(
        "ErrRegisterACMEAccount", "Failed to register ACME account: connection refused"
    ),
}
_READY = {
    "ExternalSecret": ("SecretSynced", "secret synced"),
    "Certificate": ("Ready", "Certificate is up to date and has not expired"),
    "ClusterIssuer": (
        "ACMEAccountRegistered",
        "The ACME account was registered with the ACME server",
    ),
}


def status_of(item: dict[str, Any], unready: Unready | None) -> JsonObject | None:
    """The status that an object should have; None when it says so already.

    Args:
        item: An ExternalSecret, Certificate or ClusterIssuer.
        unready: What keeps it from being ready, if anything does.
    """
    kind, generation = item["kind"], item["metadata"]["generation"]
    reason, message = (unready.reason, unready.message) if unready else _READY[kind]
    condition: dict[str, Any] = {
        "type": "Ready",
        "status": "False" if unready else "True",
        "reason": reason,
        "message": message,
    }
    if kind in _SAYS_GENERATION:
        condition["observedGeneration"] = generation
    status: dict[str, Any] = item.get("status", {})
    before: dict[str, Any] = next(
        (one for one in status.get("conditions", []) if one["type"] == "Ready"), {}
    )
    seen = kind in _SAYS_GENERATION or _generation_of(status) == generation
    if seen and condition.items() <= before.items():
        return None
    # Certificates are judged by the machine's clock, and so is what their operator says of them.
    now = datetime.now(UTC)  # noqa: TID251 - as said above
    same = before.get("status") == condition["status"]
    condition["lastTransitionTime"] = before["lastTransitionTime"] if same else _said(now)
    return {"conditions": [condition], **_particulars(item, now, ready=unready is None)}


def _particulars(item: dict[str, Any], now: datetime, *, ready: bool) -> JsonObject:
    generation = item["metadata"]["generation"]
    if item["kind"] == "ExternalSecret":
        name = item["spec"].get("target", {}).get("name") or item["metadata"]["name"]
        return {
            "refreshTime": _said(now),
            "syncedResourceVersion": f"{generation}-{item['metadata']['uid'][:8]}",
            **({"binding": {"name": name}} if ready else {}),
        }
    if not ready:
        return {}
    if item["kind"] == "Certificate":
        return {
            "notBefore": _said(now),
            "notAfter": _said(now + _VALID_FOR),
            "renewalTime": _said(now + _VALID_FOR - _RENEWED_BEFORE),
            "revision": generation,
        }
    server = item["spec"].get("acme", {}).get("server")
    return {"acme": {"uri": f"{server}/account/1"}} if server else {}


def _generation_of(status: dict[str, Any]) -> int:
    number = str(status.get("syncedResourceVersion", "")).partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _said(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
