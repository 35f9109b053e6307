"""What a real API server answers when it refuses, for fakes of it."""

from __future__ import annotations

from collections.abc import Sequence

from gitopsd.cluster_ports import (
    ApiRefusal,
)
from gitopsd.domain.manifests import JsonObject, ObjectRef

_KNOWN_FIELDS = {
    ("", "ConfigMap"): frozenset(
        {"apiVersion", "kind", "metadata", "data", "binaryData", "immutable"}
    )
}


def not_found(ref: ObjectRef) -> ApiRefusal:
    """Say that an object does not exist."""
    return ApiRefusal(404, "NotFound", f'{_plural(ref)} "{ref.key.name}" not found')


def already_exists(ref: ObjectRef) -> ApiRefusal:
    """Say that an object exists."""
    return ApiRefusal(409, "AlreadyExists", f'{_plural(ref)} "{ref.key.name}" already exists')


def modified(ref: ObjectRef) -> ApiRefusal:
    """Say that an object is no longer at the given version."""
    message = (
        f'Operation cannot be fulfilled on {_plural(ref)} "{ref.key.name}": the object has been '
        "modified; please apply your changes to the latest version and try again"
    )
    return ApiRefusal(409, "Conflict", message)


def wrong_uid(ref: ObjectRef, asked: str, found: str) -> ApiRefusal:
    """Say that another object has the name now."""
    message = (
        f'Operation cannot be fulfilled on {_plural(ref)} "{ref.key.name}": the UID in the '
        f"precondition ({asked}) does not match the UID in record ({found})"
    )
    return ApiRefusal(409, "Conflict", message)


def no_such_kind(ref: ObjectRef) -> ApiRefusal:
    """Say that a kind is not served."""
    return ApiRefusal(404, "NotFound", f"the server serves no {ref.api_version} {ref.key.kind}")


def no_such_namespace(name: str) -> ApiRefusal:
    """Say that a namespace does not exist."""
    return ApiRefusal(404, "NotFound", f'namespaces "{name}" not found')


def forbidden(ref: ObjectRef, verb: str, user: str) -> ApiRefusal:
    """Say that RBAC does not let a user do something."""
    message = (
        f'{_plural(ref)} "{ref.key.name}" is forbidden: User "{user}" cannot {verb} resource '
        f'"{_plural(ref)}" in API group "{ref.key.group}" in the namespace "{ref.key.namespace}"'
    )
    return ApiRefusal(403, "Forbidden", message)


def field_conflict(conflicts: Sequence[tuple[str, str]]) -> ApiRefusal:
    """Say which fields an apply may not take: (field, manager)."""
    said = ", ".join(f'conflict with "{manager}": {field}' for field, manager in conflicts)
    count = len(conflicts)
    return ApiRefusal(
        409,
        "Conflict",
        f"Apply failed with {count} conflict{'s' if count > 1 else ''}: {said}",
        tuple(
            (field, "FieldManagerConflict", f'conflict with "{manager}"')
            for field, manager in conflicts
        ),
    )


def unknown_fields(method: str, ref: ObjectRef, obj: JsonObject) -> ApiRefusal | None:
    """Refuse fields that a kind does not have, in the words of strict validation."""
    known = _KNOWN_FIELDS.get((ref.key.group, ref.key.kind))
    odd = sorted(obj.keys() - known) if known is not None else []
    if not odd:
        return None
    if method == "apply":
        key = ref.key
        message = (
            f"failed to create typed patch object ({key.namespace}/{key.name}; /v1, "
            f"Kind={key.kind}): .{odd[0]}: field not declared in schema"
        )
        return ApiRefusal(500, "", message)
    return ApiRefusal(400, "BadRequest", f'strict decoding error: unknown field "{odd[0]}"')


def _plural(ref: ObjectRef) -> str:
    plural = f"{ref.key.kind.lower()}s"
    return f"{plural}.{ref.key.group}" if ref.key.group else plural
