"""The next free address and port for a Service, going by the Services that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network
from itertools import islice

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.fields import number_at, objects_at, text_at
from gitopsd.sandbox.objects.status_errors import StatusError, internal

NETWORK = IPv4Network("10.96.0.0/16")
NODE_PORTS = range(30000, 32768)
_RESERVED = 10  # what clusters keep for the API server and the name service


class ServiceAddresses:
    """Gives out what no Service has yet. It keeps nothing: a refused Service takes nothing away.

    Args:
        services: The Services that there are.
    """

    def __init__(self, services: Callable[[], Iterable[JsonObject]]) -> None:
        self._services = services

    def cluster_ip(self) -> str:
        """An address.

        Raises:
            StatusError: All are taken.
        """
        taken = {text_at(service, "spec", "clusterIP") for service in self._services()}
        for address in islice(NETWORK.hosts(), _RESERVED, None):
            if str(address) not in taken:
                return str(address)
        raise _all_taken("cluster IP")

    def node_port(self, also_taken: Iterable[int] = ()) -> int:
        """A port of every node.

        Args:
            also_taken: What the Service itself has taken already.

        Raises:
            StatusError: All are taken.
        """
        taken = {
            int(number_at(port, "nodePort"))
            for service in self._services()
            for port in objects_at(service, "spec", "ports")
        }
        taken |= set(also_taken)
        for port in NODE_PORTS:
            if port not in taken:
                return port
        raise _all_taken("node port")


def _all_taken(what: str) -> StatusError:
    return internal(f"Internal error occurred: failed to allocate a {what}: range is full")
