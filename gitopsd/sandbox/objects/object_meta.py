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


def check_place(resource: Resource, obj: JsonObject, namespace: str, name: str) -> dict[str, Json]:
    """The object with the namespace of the request.

    Raises:
        StatusError: It names another one, or another name.
    """
    metadata = dict(object_at(obj, "metadata"))
    said = text_at(metadata, "name")
    if name and said and said != name:
        raise bad_request(
            f"the name of the object ({said}) does not match the name on the URL ({name})"
        )
    if name:
        metadata["name"] = name
    if not resource.namespaced:
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


def check_identity(resource: Resource, obj: JsonObject, live: JsonObject) -> None:
    """Check that an update means this object, as it is now.

    Raises:
        StatusError: It names another resourceVersion or uid.
    """
    ours, theirs = object_at(live, "metadata"), object_at(obj, "metadata")
    name = text_at(ours, "name")
    uid, version = text_at(theirs, "uid"), text_at(theirs, "resourceVersion")
    if uid and uid != text_at(ours, "uid"):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {ours['uid']}"
        raise conflict(resource, name, why)
    if version and version != text_at(ours, "resourceVersion"):
        raise conflict(resource, name)


def kept_metadata(obj: JsonObject, live: JsonObject) -> dict[str, Json]:
    """The object with the metadata that no update changes."""
    ours = object_at(live, "metadata")
    metadata = {
        name: value for name, value in object_at(obj, "metadata").items() if name not in _OWN
    }
    metadata |= {name: ours[name] for name in _OWN if name in ours}
    return {**obj, "metadata": metadata}
