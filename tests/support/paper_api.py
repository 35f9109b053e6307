"""The sandbox's rules for objects over a dict: requests without HTTP, watches or controllers."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.api.generation import next_generation, starts_generation
from gitopsd.sandbox.api.keys import Kind
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.schemas import Schemas
from gitopsd.sandbox.objects.service_addresses import ServiceAddresses
from gitopsd.sandbox.objects.status_errors import (
    StatusError,
    already_exists,
    not_found,
    success,
)
from gitopsd.sandbox.objects.writes import ObjectWriter, Write, Written
from tests.support.api_talk import AGENT, APPLY, Said

NOW = "2026-01-01T00:00:00Z"
_Key = tuple[str, str, str, str]


class PaperApi:
    """Answers requests as the sandbox's API server would, from one test's own objects."""

    def __init__(self) -> None:
        self.schemas = Schemas.load()
        self.objects: dict[_Key, JsonObject] = {}
        services = ServiceAddresses(
            lambda: [obj for key, obj in self.objects.items() if key[1] == "services"]
        )
        self._writer = ObjectWriter(self.schemas, services)
        self._version = 0

    def say(self, method: str, path: str, body: Any, type_: str) -> Said:  # noqa: ANN401 - any JSON
        """Answer one request."""
        try:
            return self._answer(method, path, body, type_)
        except StatusError as error:
            return Said(error.code, dict(error.body), ())

    def _answer(self, method: str, path: str, body: Any, type_: str) -> Said:  # noqa: ANN401 - any JSON
        asked = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        resource, namespace, name, subresource = self._find(asked.path)
        if method == "POST":
            name = text_at(body, "metadata", "name")
        key = (resource.group, resource.plural, namespace, name)
        live = self.objects.get(key)
        if method in {"GET", "DELETE"}:
            return self._read(method, resource, key)
        write = Write(
            resource=resource,
            manager=query.get("fieldManager", AGENT),
            now=NOW,
            namespace=namespace,
            name=name,
            uid=str(uuid.uuid4()),
            subresource=subresource,
            validation=query.get("fieldValidation", "Warn"),
            force=query.get("force") == "true",
        )
        written = self._write(method, write, live, body, type_)
        if method == "POST" and live is not None:
            raise already_exists(resource, name)
        stored = self._store(key, written, subresource, dry_run=query.get("dryRun") == "All")
        status = HTTPStatus.CREATED if written.created else HTTPStatus.OK
        return Said(status, dict(stored), written.warnings)

    def _write(
        self,
        method: str,
        write: Write,
        live: JsonObject | None,
        body: Any,  # noqa: ANN401 - any JSON
        type_: str,
    ) -> Written:
        if method == "POST":
            return self._writer.create(write, body)
        if type_ == APPLY:
            return self._writer.apply(write, live, body)
        if live is None:
            raise not_found(write.resource, write.name)
        if method == "PUT":
            return self._writer.update(write, live, body)
        return self._writer.patch(write, live, type_, body)

    def _read(self, method: str, resource: Resource, key: _Key) -> Said:
        found = self.objects.get(key)
        if found is None:
            if not key[-1]:
                return Said(HTTPStatus.OK, {}, ())
            raise not_found(resource, key[-1])
        if method == "DELETE":
            del self.objects[key]
            return Said(HTTPStatus.OK, dict(success()), ())
        return Said(HTTPStatus.OK, dict(found), ())

    def _store(self, key: _Key, written: Written, subresource: str, *, dry_run: bool) -> JsonObject:
        obj, live, kind = written.object, self.objects.get(key), Kind(*key[:2])
        generation = 1 if starts_generation(kind) else 0
        if live is not None:
            generation = next_generation(kind, live, obj, subresource)
        metadata = obj["metadata"]
        if generation and isinstance(metadata, dict):
            obj = {**obj, "metadata": {**metadata, "generation": generation}}
        if dry_run or obj == live:
            return obj
        self._version += 1
        metadata = obj["metadata"]
        if isinstance(metadata, dict):
            obj = {**obj, "metadata": {**metadata, "resourceVersion": str(self._version)}}
        self.objects[key] = obj
        if key[1] == "customresourcedefinitions":
            self.schemas.register_crd(obj)
        return obj

    def _find(self, path: str) -> tuple[Resource, str, str, str]:
        parts = path.strip("/").split("/")
        group, version, rest = ("", parts[1], parts[2:])
        if parts[0] == "apis":
            group, version, rest = parts[1], parts[2], parts[3:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:  # .../namespaces/NAME/PLURAL
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = (*rest, "", "")[:3]
        for resource in self.schemas.resources():
            if (resource.group, resource.version, resource.plural) == (group, version, plural):
                return resource, namespace, name, subresource
        raise LookupError(path)
