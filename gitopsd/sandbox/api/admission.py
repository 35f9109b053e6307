"""What must be there before an object can be made: its namespace, and whatever else is asked.

Source: the admission plug-in NamespaceLifecycle of Kubernetes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.deletion import DEFINITIONS, is_deleted
from gitopsd.sandbox.api.keys import Key, Kind, StoreRefusal
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.objects.status_errors import StatusError, forbidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.objects.resources import Resource

NAMESPACES = Kind("", "namespaces")
NOT_FOUND = 404
FORBIDDEN = 403
METHOD_NOT_ALLOWED = 405
NAMESPACE_ENDS = "NamespaceTerminating"


class Admission:
    """Checks new objects against what is stored.

    Attributes:
        also: Asked about each new object besides, by its place: service accounts and quotas, which
            controllers keep. It raises a `StoreRefusal` when it objects.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.also: Callable[[Key, JsonObject], None] | None = None

    def check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        """Let an object into its namespace.

        Raises:
            StatusError: The namespace does not exist, or is being deleted, or the kind is.
        """
        if resource.custom:
            self._check_definition(resource)
        if not resource.namespaced:
            return
        found = self._store.get(Key(*NAMESPACES, "", namespace))
        if found is None:
            details: JsonObject = {"name": namespace, "kind": "namespaces"}
            said = f'namespaces "{namespace}" not found'
            raise StatusError(NOT_FOUND, "NotFound", said, details)
        if text_at(found, "status", "phase") != "Terminating":
            return
        said = f"namespace {namespace} is being terminated"
        why = f"unable to create new content in namespace {namespace} because it is being "
        plain = forbidden(resource, name, f"{why}terminated")
        cause = {"reason": NAMESPACE_ENDS, "message": said, "field": "metadata.namespace"}
        details = {**(plain.details or {}), "causes": [cause]}
        raise StatusError(FORBIDDEN, "Forbidden", plain.message, details)

    def _check_definition(self, resource: Resource) -> None:
        definition = self._store.get(Key(*DEFINITIONS, "", resource.qualified))
        if definition is not None and is_deleted(definition):
            said = "create not allowed while custom resource definition is terminating"
            raise StatusError(METHOD_NOT_ALLOWED, "MethodNotAllowed", said)

    def check_other(self, key: Key, obj: JsonObject) -> None:
        """Let a new object in as far as `also` has nothing against it.

        Raises:
            StatusError: It has.
        """
        if self.also is None:
            return
        try:
            self.also(key, obj)
        except StoreRefusal as error:
            _, _, why = error.message.partition(" is forbidden: ")
            raise _forbidden(key, why or error.message) from error


def _forbidden(key: Key, why: str) -> StatusError:
    details: dict[str, Json] = {"name": key.name, "group": key.group, "kind": key.resource}
    said = f'{key.kind} "{key.name}" is forbidden: {why}'
    shown = {name: value for name, value in details.items() if value}
    return StatusError(FORBIDDEN, "Forbidden", said, shown)
