"""What must be there before an object can be made: its namespace, its pod's service account.

Source: the admission plug-ins NamespaceLifecycle and ServiceAccount of Kubernetes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.identity import ACCOUNTS
from gitopsd.sandbox.api.keys import Key, Kind
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.objects.status_errors import StatusError, forbidden

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.objects.resources import Resource

NAMESPACES = Kind("", "namespaces")
PODS = Kind("", "pods")
NOT_FOUND = 404
FORBIDDEN = 403
NAMESPACE_ENDS = "NamespaceTerminating"


class Admission:
    """Checks new objects against what is stored."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        """Let an object into its namespace.

        Raises:
            StatusError: The namespace does not exist, or is being deleted.
        """
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

    def check_pod(self, resource: Resource, pod: JsonObject) -> None:
        """Let a pod run as its service account.

        Raises:
            StatusError: There is no such account.
        """
        if (resource.group, resource.plural) != PODS:
            return
        namespace = text_at(pod, "metadata", "namespace")
        account = text_at(pod, "spec", "serviceAccountName", default="default")
        if self._store.get(Key(*ACCOUNTS, namespace, account)) is None:
            said = f"error looking up service account {namespace}/{account}: "
            said += f'serviceaccount "{account}" not found'
            raise forbidden(resource, text_at(pod, "metadata", "name"), said)
