"""Which fields a write through a path cannot change, and so nobody comes to own by it.

Source: ``GetResetFields`` of the strategies in Kubernetes' ``pkg/registry`` and in apiextensions.
"""

from __future__ import annotations

from gitopsd.sandbox.objects.managed_fields import LEAF, FieldSet
from gitopsd.sandbox.objects.resources import Resource

_STATUS: FieldSet = {"f:status": LEAF}
_SPEC: FieldSet = {"f:spec": LEAF}
_BY_RESOURCE: dict[tuple[str, str], FieldSet] = {
    ("apps", "deployments"): {"f:spec": LEAF, "f:metadata": {"f:labels": LEAF}},
    ("", "pods"): {
        "f:spec": LEAF,
        "f:metadata": {"f:deletionTimestamp": LEAF, "f:ownerReferences": LEAF},
    },
}


def reset_fields(resource: Resource, subresource: str) -> FieldSet | None:
    """The fields that a write does not change; None when it may change all."""
    if not subresource:
        return _STATUS if resource.has_status() else None
    if subresource != "status":
        return None
    if resource.custom:
        return {"f:metadata": LEAF, **_SPEC}
    return _BY_RESOURCE.get((resource.group, resource.plural), _SPEC)
