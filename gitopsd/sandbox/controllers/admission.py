"""What the API asks before it stores a new object: its namespace, its account, the quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.keys import Key, StoreRefusal
from gitopsd.sandbox.controllers.facts import NAMESPACE, POD, SERVICE_ACCOUNT
from gitopsd.sandbox.controllers.quota import objection
from gitopsd.sandbox.controllers.reading import is_deleted
from gitopsd.sandbox.fields import text_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.controllers.facts import Facts

NAMESPACE_TERMINATING = "NamespaceTerminating"


class AdmissionRefusal(StoreRefusal):
    """An object may not be made.

    Args:
        key: The object.
        why: The end of the sentence; the object is named before it.
        namespace_ends: Whether it is because its namespace is being deleted.
    """

    reason = "Forbidden"

    def __init__(self, key: Key, why: str, *, namespace_ends: bool = False) -> None:
        super().__init__(key, f'{key.kind} "{key.name}" is forbidden: {why}')
        self.why = why
        self.namespace_ends = namespace_ends


class Admission:
    """Namespace life cycle, service accounts and quotas, for clients and controllers alike.

    Args:
        facts: Gives what there is now, all writes before included.
    """

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts

    def __call__(self, key: Key, item: JsonObject) -> None:
        """Let an object be made.

        Args:
            key: Where; its name is known.
            item: The object, defaults filled in; a name and a namespace of its own do not count.

        Raises:
            AdmissionRefusal: It may not be made.
        """
        if not key.namespace:
            return
        facts = self._facts()
        namespace = facts.find(NAMESPACE.resource, "", key.namespace)
        if namespace is not None and is_deleted(namespace):
            why = (
                f"unable to create new content in namespace {key.namespace} because it is being "
                "terminated"
            )
            raise AdmissionRefusal(key, why, namespace_ends=True)
        why = _without_account(key, item, facts) or objection(key.kind, key.namespace, item, facts)
        if why:
            raise AdmissionRefusal(key, why)


def _without_account(key: Key, item: JsonObject, facts: Facts) -> str:
    """What is wrong with a pod whose service account is not there; empty when it is."""
    if key.kind != POD.resource:
        return ""
    name = text_at(item, "spec", "serviceAccountName", default="default")
    if facts.find(SERVICE_ACCOUNT.resource, key.namespace, name) is not None:
        return ""
    said = f"error looking up service account {key.namespace}/{name}"
    return f'{said}: serviceaccount "{name}" not found'
