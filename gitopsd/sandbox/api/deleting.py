"""DELETE: one object or a collection, at once or when nothing holds it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.calls import Answer, dry_run_of_delete, parse_delete_options
from gitopsd.sandbox.api.deletion import is_held
from gitopsd.sandbox.api.forms import list_meta, make_presenter
from gitopsd.sandbox.api.keys import Kind, NotFound, VersionConflict
from gitopsd.sandbox.api.reading import parse_selectors
from gitopsd.sandbox.api.served import kind_of
from gitopsd.sandbox.fields import object_at, text_at
from gitopsd.sandbox.objects.status_errors import StatusError, forbidden, not_found, success

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.calls import Call
    from gitopsd.sandbox.api.deletion import DeleteOptions
    from gitopsd.sandbox.api.reading import Reader
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.api.storage import ObjectStore

OK = 200
ACCEPTED = 202
CONFLICT = 409
PROTECTED = frozenset({"default", "kube-public", "kube-system"})
# Of these a real server answers a deletion with the object, of all others with a mere success.
SHOWN = frozenset(
    {
        Kind("", "namespaces"),
        Kind("", "persistentvolumeclaims"),
        Kind("", "persistentvolumes"),
        Kind("", "pods"),
        Kind("", "podtemplates"),
        Kind("", "resourcequotas"),
        Kind("", "serviceaccounts"),
        Kind("", "services"),
        Kind("storage.k8s.io", "storageclasses"),
    }
)
# Of these it shows the mark of the deletion even when they are gone at once.
MARKED = frozenset({Kind("", "pods"), Kind("", "persistentvolumeclaims")})


class Deleter:
    """Answers DELETE requests."""

    def __init__(self, store: ObjectStore, served: ServedResources, reader: Reader) -> None:
        self._store = store
        self._served = served
        self._reader = reader

    def delete(self, call: Call) -> Answer:
        """Delete one object.

        Raises:
            StatusError: There is none, or a precondition does not hold.
        """
        name = call.asked.name
        kind = kind_of(call.resource)
        if kind == Kind("", "namespaces") and name in PROTECTED:
            raise forbidden(call.resource, name, "this namespace may not be deleted")
        options = parse_delete_options(call)
        self._reader.find(call)
        last = self._delete(call, name, call.key.namespace, options)
        held = is_held(kind, last)
        if not held and kind in SHOWN and kind not in MARKED:
            last = _unmarked(last)
        if held or kind in SHOWN:
            presenter = make_presenter(self._served, call.resource, call.form, call.query)
            waits = held and options.propagation == "Foreground"
            return Answer(ACCEPTED if waits else OK, presenter.show(last, call.now))
        details: dict[str, Json] = {"name": name}
        if call.resource.group:
            details["group"] = call.resource.group
        details |= {"kind": call.resource.plural, "uid": text_at(last, "metadata", "uid")}
        return Answer(OK, success(details=details))

    def delete_collection(self, call: Call) -> Answer:
        """Delete everything that the selectors choose.

        Raises:
            StatusError: A selector cannot be read, or a precondition does not hold.
        """
        options = parse_delete_options(call)
        select = parse_selectors(call, self._served)
        found = self._store.list(kind_of(call.resource), call.asked.namespace, select=select)
        for item in found.items:
            meta = text_at(item, "metadata", "name"), text_at(item, "metadata", "namespace")
            self._delete(call, *meta, options)
        presenter = make_presenter(self._served, call.resource, call.form, call.query)
        meta_of_list = list_meta(self._store.version)
        return Answer(OK, presenter.show_list(found.items, meta_of_list, call.now))

    def _delete(self, call: Call, name: str, namespace: str, options: DeleteOptions) -> JsonObject:
        key = call.key._replace(name=name, namespace=namespace)
        try:
            return self._store.delete(key, options, dry_run=dry_run_of_delete(call))
        except NotFound as error:
            raise not_found(call.resource, name) from error
        except VersionConflict as error:
            details: dict[str, Json] = {"name": name}
            if call.resource.group:
                details["group"] = call.resource.group
            details["kind"] = call.resource.plural
            raise StatusError(CONFLICT, "Conflict", error.message, details) from error


def _unmarked(obj: JsonObject) -> JsonObject:
    """An object that is gone, as it was before it was marked deleted."""
    marks = {"deletionTimestamp", "deletionGracePeriodSeconds"}
    meta = {name: item for name, item in object_at(obj, "metadata").items() if name not in marks}
    return {**obj, "metadata": meta}
