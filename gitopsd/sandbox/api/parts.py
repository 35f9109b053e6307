"""Subresources: parts of objects that are read or written at addresses of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.bodies import read_object, read_patch
from gitopsd.sandbox.api.calls import Answer, as_object
from gitopsd.sandbox.api.deletion import DeleteOptions, is_deleted
from gitopsd.sandbox.api.forms import make_presenter
from gitopsd.sandbox.api.keys import Kind
from gitopsd.sandbox.api.scales import ScalePaths, custom_paths, make_scale, with_replicas
from gitopsd.sandbox.api.selectors import matches_selector
from gitopsd.sandbox.api.writing import make_write
from gitopsd.sandbox.fields import (
    field_at,
    number_at,
    object_at,
    objects_at,
    text_at,
    texts_at,
)
from gitopsd.sandbox.objects.patches import JSON_PATCH, PatchError, json_patch, merge_patch
from gitopsd.sandbox.objects.status_errors import (
    Cause,
    StatusError,
    bad_request,
    conflict,
    invalid,
    path_not_found,
    success,
)
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.calls import Call
    from gitopsd.sandbox.api.identity import Tokens
    from gitopsd.sandbox.api.reading import Reader
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.api.writing import Writer
    from gitopsd.sandbox.objects.writes import ObjectWriter

OK = 200
CREATED = 201
CONFLICT = 409
TOO_MANY = 429
BUDGETS = Kind("policy", "poddisruptionbudgets")
SHORTEST_TOKEN_SECONDS = 600
DEFAULT_TOKEN_SECONDS = 3600
AUDIENCE = "https://kubernetes.default.svc"


class Parts:
    """Answers requests for them."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        served: ServedResources,
        reader: Reader,
        writer: Writer,
        objects: ObjectWriter,
        tokens: Tokens,
    ) -> None:
        self._store = store
        self._served = served
        self._reader = reader
        self._writer = writer
        self._objects = objects
        self._tokens = tokens

    def answer(self, call: Call) -> Answer:
        """Answer.

        Raises:
            StatusError: It is refused, or there is no such part.
        """
        match call.asked.subresource:
            case "status":
                return self._status(call)
            case "scale":
                return self._scale(call)
            case "finalize":
                return self._finalize(call)
            case "binding":
                return self._bind(call)
            case "eviction":
                return self._evict(call)
            case "token":
                return self._token(call)
            case _:
                raise path_not_found()

    def _status(self, call: Call) -> Answer:
        if call.asked.verb == "get":
            return self._reader.get(call)
        return (
            self._writer.update(call) if call.asked.verb == "update" else self._writer.patch(call)
        )

    def _scale(self, call: Call) -> Answer:
        live = self._reader.find(call)
        custom = self._served.schemas.custom_kind(call.resource.api_version, call.resource.kind)
        paths = custom_paths(custom.definition, call.resource.version) if custom else ScalePaths()
        shown = make_scale(live, paths)
        if call.asked.verb == "get":
            return Answer(OK, shown)
        wanted = read_object(call) if call.asked.verb == "update" else _patched(call, shown)
        version = text_at(wanted, "metadata", "resourceVersion")
        if version and version != text_at(live, "metadata", "resourceVersion"):
            raise conflict(call.resource, call.asked.name)
        replicas = int(number_at(wanted, "spec", "replicas"))
        if replicas < 0:
            said = f"Invalid value: {replicas}: must be greater than or equal to 0"
            cause = Cause("FieldValueInvalid", said, "spec.replicas")
            raise invalid("autoscaling", "Scale", call.asked.name, [cause])
        body = with_replicas(live, paths, replicas)
        written = self._objects.update(make_write(call), live, body)
        return Answer(OK, make_scale(self._writer.save(call, written), paths))

    def _finalize(self, call: Call) -> Answer:
        live = self._reader.find(call)
        finalizers = list(texts_at(read_object(call), "spec", "finalizers"))
        spec: dict[str, Json] = {**object_at(live, "spec"), "finalizers": finalizers}
        if not finalizers:
            del spec["finalizers"]
        done = self._store.update(call.key, {**live, "spec": spec}, dry_run=call.dry_run)
        presenter = make_presenter(self._served, call.resource, call.form, call.query)
        return Answer(OK, presenter.show(done, call.now))

    def _bind(self, call: Call) -> Answer:
        body = _named(call, "Binding")
        pod = self._reader.find(call)
        name = call.asked.name
        if is_deleted(pod):
            raise _no_binding(name, f"pod {name} is being deleted, cannot be assigned to a host")
        there = text_at(pod, "spec", "nodeName")
        if there:
            raise _no_binding(name, f'pod {name} is already assigned to node "{there}"')
        condition: JsonObject = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": stamp(call.now),
        }
        others = (
            item
            for item in objects_at(pod, "status", "conditions")
            if text_at(item, "type") != "PodScheduled"
        )
        status = {**object_at(pod, "status"), "conditions": [*others, condition]}
        spec = {**object_at(pod, "spec"), "nodeName": text_at(body, "target", "name")}
        bound: JsonObject = {**pod, "spec": spec, "status": status}
        self._store.update(call.key, bound, dry_run=call.dry_run)
        return Answer(CREATED, {**success(), "code": CREATED})

    def _evict(self, call: Call) -> Answer:
        body = _named(call, "Eviction")
        pod = self._reader.find(call)
        self._check_budgets(pod)
        options = object_at(body, "deleteOptions")
        grace = field_at(options, "gracePeriodSeconds")
        wanted = DeleteOptions(
            uid=text_at(options, "preconditions", "uid"),
            grace_seconds=grace if isinstance(grace, int) else None,
        )
        self._store.delete(call.key, wanted, dry_run=call.dry_run)
        return Answer(CREATED, {**success(), "code": CREATED})

    def _check_budgets(self, pod: JsonObject) -> None:
        # A pod that does not run, or goes anyway, is missed by nobody.
        if is_deleted(pod) or text_at(pod, "status", "phase") != "Running":
            return
        namespace = text_at(pod, "metadata", "namespace")
        for budget in self._store.list(BUDGETS, namespace).items:
            if not matches_selector(object_at(budget, "spec", "selector"), pod):
                continue
            if int(number_at(budget, "status", "disruptionsAllowed")) <= 0:
                said = "Cannot evict pod as it would violate the pod's disruption budget."
                name = text_at(budget, "metadata", "name")
                why = f"The disruption budget {name} does not allow a disruption now"
                cause = {"reason": "DisruptionBudget", "message": why}
                raise StatusError(TOO_MANY, "TooManyRequests", said, {"causes": [cause]})

    def _token(self, call: Call) -> Answer:
        self._reader.find(call)
        body = read_object(call)
        asked = field_at(body, "spec", "expirationSeconds")
        seconds = asked if isinstance(asked, int) and asked else DEFAULT_TOKEN_SECONDS
        if seconds < SHORTEST_TOKEN_SECONDS:
            said = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
            cause = Cause("FieldValueInvalid", said, "spec.expirationSeconds")
            raise invalid("authentication.k8s.io", "TokenRequest", "", [cause])
        expires = call.now + timedelta(seconds=seconds)
        namespace, name = call.asked.namespace, call.asked.name
        token = self._tokens.make_for_account(namespace, name, now=call.now, expires=expires)
        shown: JsonObject = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "creationTimestamp": stamp(call.now),
            },
            "spec": {
                "audiences": list(texts_at(body, "spec", "audiences")) or [AUDIENCE],
                "expirationSeconds": seconds,
                "boundObjectRef": field_at(body, "spec", "boundObjectRef"),
            },
            "status": {"token": token, "expirationTimestamp": stamp(expires)},
        }
        return Answer(CREATED, shown)


def _named(call: Call, kind: str) -> JsonObject:
    body = read_object(call)
    if text_at(body, "metadata", "name") != call.asked.name:
        raise bad_request(f"name in URL does not match name in {kind} object")
    return body


def _no_binding(name: str, why: str) -> StatusError:
    said = f'Operation cannot be fulfilled on pods/binding "{name}": {why}'
    return StatusError(CONFLICT, "Conflict", said, {"name": name, "kind": "pods/binding"})


def _patched(call: Call, shown: JsonObject) -> JsonObject:
    patch = read_patch(call)
    try:
        if call.content_type == JSON_PATCH:
            operations = patch if isinstance(patch, list) else []
            return as_object(json_patch(shown, operations))
        return as_object(merge_patch(shown, patch))
    except PatchError as error:
        raise bad_request(str(error)) from error
