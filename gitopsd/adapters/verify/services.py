"""Services that are connected to by their name in the cluster: gone, or only out of reach."""

from __future__ import annotations

from typing import Protocol, TypeVar

from gitopsd.adapters.verify.attempts import Bounded, Look, Sighting
from gitopsd.adapters.verify.dialing import UNKNOWN_NAME
from gitopsd.adapters.verify.jobs import find_cluster
from gitopsd.cluster_ports import ApiRefusal, Clusters
from gitopsd.domain.checks import Endpoint
from gitopsd.domain.manifests import ObjectKey, ObjectRef
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.objects import string_at
from gitopsd.ports import CheckTarget

_HEADLESS = "None"


class Connecting(Bounded, Protocol):
    """A check that connects to something."""

    @property
    def endpoint(self) -> Endpoint:
        """Where to."""
        ...


Some = TypeVar("Some", bound=Connecting)


def ask_about_services(look: Look[Some], clusters: Clusters) -> Look[Some]:
    """Let a look whose service's name is unknown here ask the API server why.

    A service that is there, with an address, has a name wherever the cluster's DNS is asked: it is
    not asked here, and that says nothing about the application.
    """

    async def asking(check: Some, target: CheckTarget) -> Sighting:
        try:
            return await look(check, target)
        except PermanentError as error:
            if error.reason == UNKNOWN_NAME and check.endpoint.service:
                await _explain(check.endpoint, target, clusters)
            raise

    return asking


async def _explain(endpoint: Endpoint, target: CheckTarget, clusters: Clusters) -> None:
    """Ask for the service.

    Raises:
        TemporaryError: It is there, or nobody could say.
    """
    key = ObjectKey("", "Service", endpoint.namespace or target.namespace, endpoint.service)
    found = await find_cluster(clusters, target).get(ObjectRef(key, "v1"))
    if isinstance(found, ApiRefusal):
        raise TemporaryError(f"{key} cannot be read: {found.message}")
    if found is not None and string_at(found, "spec", "clusterIP") != _HEADLESS:
        message = (
            f"{key} is there, and its name does not resolve here: for `service:` in a check of "
            "this kind gitopsd has to run in that cluster; write an `address:` instead"
        )
        raise TemporaryError(message)
