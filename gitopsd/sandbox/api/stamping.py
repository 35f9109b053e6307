"""Completes what controllers write in process, exactly as if it had come over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.keys import StoreRefusal
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.objects.status_errors import StatusError
from gitopsd.sandbox.objects.writes import IGNORE
from gitopsd.sandbox.objects.writes import Write as ObjectWrite
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.api.storage import Write
    from gitopsd.sandbox.clock import Clock
    from gitopsd.sandbox.objects.writes import ObjectWriter


class WriteRefused(StoreRefusal):
    """The object breaks rules of its kind; the message and the reason are the API's."""


class Stamper:
    """Gives defaults, managed fields and validation to writes by named managers."""

    def __init__(self, served: ServedResources, writer: ObjectWriter, clock: Clock) -> None:
        self._served = served
        self._writer = writer
        self._clock = clock

    def __call__(self, write: Write) -> JsonObject:
        """See `gitopsd.sandbox.api.storage.Stamp`.

        Raises:
            WriteRefused: The object breaks rules of its kind.
        """
        resource = self._served.preferred(write.key.kind)
        if resource is None:
            return write.after
        described = ObjectWrite(
            resource=resource,
            manager=write.manager,
            now=stamp(self._clock.now()),
            namespace=write.key.namespace,
            name=write.key.name,
            uid=text_at(write.after, "metadata", "uid"),
            subresource=write.subresource,
            validation=IGNORE,
        )
        try:
            if write.before is None:
                return self._writer.create(described, write.after).object
            return self._writer.update(described, write.before, write.after).object
        except StatusError as error:
            refusal = WriteRefused(write.key, error.message)
            refusal.reason = error.reason
            raise refusal from error
