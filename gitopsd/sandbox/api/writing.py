"""POST, PUT and PATCH: from the request to what is stored and answered."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.bodies import read_object, read_patch
from gitopsd.sandbox.api.calls import Answer, as_object
from gitopsd.sandbox.api.deletion import is_deleted
from gitopsd.sandbox.api.forms import make_presenter
from gitopsd.sandbox.api.keys import AlreadyExists, Kind
from gitopsd.sandbox.api.served import kind_of
from gitopsd.sandbox.api.storage import generate_name
from gitopsd.sandbox.fields import object_at, text_at
from gitopsd.sandbox.objects.bodies import duplicate_fields
from gitopsd.sandbox.objects.patches import APPLY
from gitopsd.sandbox.objects.status_errors import (
    Cause,
    StatusError,
    already_exists,
    invalid,
    not_found,
)
from gitopsd.sandbox.objects.write_request import IGNORE, Write
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.admission import Admission
    from gitopsd.sandbox.api.calls import Call
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.objects.writes import ObjectWriter, Written

OK = 200
CREATED = 201
UNPROCESSABLE = 422
_RBAC = "rbac.authorization.k8s.io"
# A PUT of one of these makes the object when there is none.
CREATED_BY_PUT = frozenset(
    {
        Kind("", "endpoints"),
        Kind("", "events"),
        Kind("", "limitranges"),
        Kind("", "services"),
        Kind("coordination.k8s.io", "leases"),
        Kind(_RBAC, "clusterrolebindings"),
        Kind(_RBAC, "clusterroles"),
        Kind(_RBAC, "rolebindings"),
        Kind(_RBAC, "roles"),
    }
)
# A PUT of one of these must say which version it replaces; so must one of a custom object.
CONDITIONAL = frozenset(
    {
        Kind("apiextensions.k8s.io", "customresourcedefinitions"),
        Kind("coordination.k8s.io", "leases"),
        Kind("policy", "poddisruptionbudgets"),
    }
)


class Writer:
    """Answers POST, PUT and PATCH requests."""

    def __init__(
        self,
        store: ObjectStore,
        served: ServedResources,
        writer: ObjectWriter,
        admission: Admission,
    ) -> None:
        self._store = store
        self._served = served
        self._writer = writer
        self._admission = admission

    def read_body(self, call: Call) -> JsonObject:
        """The object in a request's body.

        Raises:
            StatusError: It cannot be read.
        """
        return read_object(call)

    def create(self, call: Call) -> Answer:
        """POST: a new object.

        Raises:
            StatusError: It is refused.
        """
        _check_options(call, "CreateOptions")
        return self._create(call, read_object(call))

    def update(self, call: Call) -> Answer:
        """PUT: an object as a whole, or its status.

        Raises:
            StatusError: It is refused.
        """
        _check_options(call, "UpdateOptions")
        body = read_object(call)
        live = self._store.get(call.key)
        kind = kind_of(call.resource)
        if live is None:
            if kind in CREATED_BY_PUT and not call.asked.subresource:
                version = text_at(body, "metadata", "resourceVersion")
                return self._create(call, _without_version(body), version)
            raise not_found(call.resource, call.asked.name)
        conditional = call.resource.custom or kind in CONDITIONAL
        if conditional and not text_at(body, "metadata", "resourceVersion"):
            raise _unconditional(call)
        written = self._writer.update(make_write(call, body), live, body)
        return self.store(call, written)

    def patch(self, call: Call) -> Answer:
        """PATCH: a patch of one of three types, or a server-side apply.

        Raises:
            StatusError: It is refused.
        """
        _check_options(call, "PatchOptions")
        body = read_patch(call)
        live = self._store.get(call.key)
        write = make_write(call, body)
        if call.content_type != APPLY:
            if live is None:
                raise not_found(call.resource, call.asked.name)
            return self.store(call, self._writer.patch(write, live, call.content_type, body))
        if live is None and call.asked.subresource:
            raise not_found(call.resource, call.asked.name)
        if live is None:
            return self._apply_new(call, write, as_object(body))
        return self.store(call, self._writer.apply(write, live, as_object(body)))

    def save(self, call: Call, written: Written) -> JsonObject:
        """Store what an update comes to; in a dry run, only return it."""
        part, dry_run = call.asked.subresource, call.dry_run
        return self._store.update(call.key, written.object, subresource=part, dry_run=dry_run)

    def store(self, call: Call, written: Written) -> Answer:
        """Store what an update comes to, and answer with it."""
        before = self._store.get(call.key)
        done = self.save(call, written)
        if before is not None and self._store.get(call.key) is None:
            # The update let go of a deleted object: there is no newer version of it.
            last = object_at(before, "metadata").get("resourceVersion")
            done = {**done, "metadata": {**object_at(done, "metadata"), "resourceVersion": last}}
        return self._answer(call, OK, done, written.warnings)

    def _create(self, call: Call, body: JsonObject, version: str = "") -> Answer:
        name = call.asked.name or text_at(body, "metadata", "name")
        base = text_at(body, "metadata", "generateName")
        if not name and base:
            name = generate_name(base)
        write = make_write(call, body, name=name)
        try:
            written = self._writer.create(write, body)
        except StatusError as error:
            # A real server looks for the namespace before it validates.
            if error.code == UNPROCESSABLE:
                self._admission.check_namespace(call.resource, call.asked.namespace, name)
            raise
        return self._store_new(call, written, version)

    def _apply_new(self, call: Call, write: Write, body: JsonObject) -> Answer:
        try:
            written = self._writer.apply(write, None, body)
        except StatusError as error:
            if error.code == UNPROCESSABLE:
                self._admission.check_namespace(
                    call.resource, call.asked.namespace, call.asked.name
                )
            raise
        version = text_at(body, "metadata", "resourceVersion")
        return self._store_new(call, written, version)

    def _store_new(self, call: Call, written: Written, version: str = "") -> Answer:
        name = text_at(written.object, "metadata", "name")
        self._admission.check_namespace(call.resource, call.asked.namespace, name)
        key = call.key._replace(name=name)
        self._admission.check_other(key, written.object)
        try:
            made = self._store.create(key, written.object, dry_run=call.dry_run)
        except AlreadyExists as error:
            deleted = is_deleted(self._store.get(key) or {})
            raise already_exists(call.resource, name, deleted=deleted) from error
        if version and call.dry_run:
            # Seen on a real server: an apply or a PUT that would make the object says the version
            # it was sent with, since only storing it gives it one of its own.
            made = {**made, "metadata": {**object_at(made, "metadata"), "resourceVersion": version}}
        return self._answer(call, CREATED, made, written.warnings)

    def _answer(
        self, call: Call, status: int, obj: JsonObject, warnings: tuple[str, ...]
    ) -> Answer:
        presenter = make_presenter(self._served, call.resource, call.form, call.query)
        return Answer(status, presenter.show(obj, call.now), warnings)


def make_write(call: Call, body: Json = None, *, name: str = "") -> Write:
    """Who writes what, where and how, as a request says it."""
    checked = call.field_validation != IGNORE
    plain = Write(
        resource=call.resource,
        manager=call.field_manager,
        now=stamp(call.now),
        namespace=call.asked.namespace if call.resource.namespaced else "",
        name=name or call.asked.name,
        uid=str(uuid.uuid4()),
        subresource=call.asked.subresource,
        validation=call.field_validation,
        duplicates=duplicate_fields(call.body, body) if checked else (),
    )
    return replace(plain, force=call.force)


def _check_options(call: Call, options: str) -> None:
    dry_run = call.query.get("dryRun", "")
    validation = call.query.get("fieldValidation", "")
    causes: list[Cause] = []
    if options == "PatchOptions":
        if call.content_type == APPLY and not call.query.get("fieldManager"):
            said = "Required value: is required for apply patch"
            causes.append(Cause("FieldValueRequired", said, "fieldManager"))
        if call.content_type != APPLY and call.force:
            said = "Forbidden: may not be specified for non-apply patch"
            causes.append(Cause("FieldValueForbidden", said, "force"))
    if dry_run not in {"", "All"}:
        said = f'Unsupported value: ["{dry_run}"]: supported values: "All"'
        causes.append(Cause("FieldValueNotSupported", said, "dryRun"))
    if validation not in {"", "Ignore", "Warn", "Strict"}:
        said = f'Unsupported value: "{validation}": supported values: "Ignore", "Strict", "Warn"'
        causes.append(Cause("FieldValueNotSupported", said, "fieldValidation"))
    if causes:
        raise invalid("meta.k8s.io", options, "", causes)


def _without_version(body: JsonObject) -> JsonObject:
    """An object that a PUT makes: which version it was meant to replace is no matter."""
    meta = {**object_at(body, "metadata")}
    meta.pop("resourceVersion", None)
    return {**body, "metadata": meta}


def _unconditional(call: Call) -> StatusError:
    said = "Invalid value: 0: must be specified for an update"
    cause = Cause("FieldValueInvalid", said, "metadata.resourceVersion")
    resource = call.resource
    return invalid(resource.group, resource.plural, call.asked.name, [cause])
