"""What every object's metadata must be, and what of it stays in an update.

Source: k8s.io/apiserver ``pkg/registry/rest`` (``BeforeUpdate``) and ``pkg/endpoints/handlers``.
"""

from __future__ import annotations

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import object_at, text_at
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.status_errors import bad_request, conflict

_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_OWN = (*_KEPT, "generation", "resourceVersion", "selfLink")


def check_place(
    resource: Resource, obj: JsonObject, namespace: str, name: str, *, may_be_nameless: bool = False
) -> dict[str, Json]:
    """The object with the namespace of the request.

    Args:
        resource: The resource of the path.
        obj: The object of the request.
        namespace: The path's.
        name: The path's, or the one made for a new object.
        may_be_nameless: Whether the object may leave its name to the path.

    Raises:
        StatusError: It names another one, or another name.
    """
    metadata = dict(object_at(obj, "metadata"))
    said = text_at(metadata, "name")
    if name and not said and not may_be_nameless:
        raise bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: name must be "
            "provided"
        )
    if name and said and said != name:
        raise bad_request(
            f"the name of the object ({said}) does not match the name on the URL ({name})"
        )
    if name:
        metadata["name"] = name
    if not resource.namespaced:
        metadata.pop("namespace", None)
        namespace = ""
    there = text_at(metadata, "namespace")
    if there and there != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if namespace:
        metadata["namespace"] = namespace
    return {**obj, "metadata": metadata}


def new_metadata(obj: JsonObject, uid: str, now: str) -> dict[str, Json]:
    """A new object with the metadata that a server gives it."""
    metadata = {
        name: value for name, value in object_at(obj, "metadata").items() if name not in _OWN
    }
    return {**obj, "metadata": {**metadata, "uid": uid, "creationTimestamp": now}}


def check_version(resource: Resource, obj: JsonObject, live: JsonObject) -> None:
    """Check that an update means the object as it is now.

    Raises:
        StatusError: It names another resourceVersion.
    """
    version = text_at(obj, "metadata", "resourceVersion")
    if version and version != text_at(live, "metadata", "resourceVersion"):
        raise conflict(resource, text_at(live, "metadata", "name"))


def check_uid(resource: Resource, obj: JsonObject, live: JsonObject) -> None:
    """Check that a PUT means this object and no earlier one of its name.

    Raises:
        StatusError: It names another uid.
    """
    theirs, ours = text_at(obj, "metadata", "uid"), text_at(live, "metadata", "uid")
    if theirs and theirs != ours:
        place = object_at(live, "metadata")
        parts = (resource.plural, text_at(place, "namespace"), text_at(place, "name"))
        key = "/".join(("/registry", *(part for part in parts if part)))
        raise conflict(
            resource,
            text_at(place, "name"),
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, "
            f"AdditionalErrorMsg: Precondition failed: UID in precondition: {theirs}, UID in "
            f"object meta: {ours}",
        )


def kept_metadata(obj: JsonObject, live: JsonObject) -> dict[str, Json]:
    """The object with the metadata that no update changes."""
    ours = object_at(live, "metadata")
    metadata = {
        name: value for name, value in object_at(obj, "metadata").items() if name not in _OWN
    }
    metadata |= {name: ours[name] for name in _OWN if name in ours}
    uid = text_at(obj, "metadata", "uid")
    if uid:
        metadata["uid"] = uid  # whether it may be another one is a question of validation
    return {**obj, "metadata": metadata}
