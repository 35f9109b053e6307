"""How often containers have restarted; what Certify compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.kube.objects import name_of, number_at
from gitopsd.kube.pod_signals import container_statuses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitopsd.domain.manifests import JsonObject


def restarts_of(pods: Iterable[JsonObject]) -> dict[str, int]:
    """Count the restarts of each container: ``pod NAME container NAME`` -> restarts.

    Certify compares two of these; comparing sums would miss a restart beside a vanished pod.
    """
    return {
        f"pod {name_of(pod)} {label}": number_at(status, "restartCount")
        for pod in pods
        for status, label in container_statuses(pod)
    }


def count_restarts(pods: Iterable[JsonObject]) -> int:
    """Count the restarts of all containers of all pods."""
    return sum(restarts_of(pods).values())
