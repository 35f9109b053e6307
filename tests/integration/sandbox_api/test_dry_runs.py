"""Dry runs of what is not there, simulated and real."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.cluster_objects import config_map
from tests.support.raw_requests import send

if TYPE_CHECKING:
    from tests.support.cluster_site import Site

APPLY = "application/apply-patch+yaml"


def test_an_apply_in_a_dry_run_says_the_version_it_was_sent_with(cluster: Site) -> None:
    """Whoever applies an object that is gone meanwhile hears of no version but their own."""
    client = cluster.cluster.client
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/gone"
    wanted = config_map("gone", cluster.namespace)
    wanted["metadata"]["resourceVersion"] = "7"

    tried = send(client, "PATCH", f"{path}?fieldManager=me&dryRun=All", wanted, Content_Type=APPLY)
    made = send(client, "PATCH", f"{path}?fieldManager=me", wanted, Content_Type=APPLY)

    assert (tried.status, tried.body["metadata"]["resourceVersion"]) == (201, "7")
    assert made.status == 201
    assert int(made.body["metadata"]["resourceVersion"]) > 7


def test_a_put_in_a_dry_run_says_the_version_it_was_sent_with(cluster: Site) -> None:
    """So it is for kinds that a PUT makes."""
    client = cluster.cluster.client
    path = f"/api/v1/namespaces/{cluster.namespace}/services/gone"
    wanted = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "gone", "resourceVersion": "7"},
        "spec": {"ports": [{"port": 80}]},
    }

    tried = send(client, "PUT", f"{path}?dryRun=All", wanted)
    made = send(client, "PUT", path, wanted)

    assert (tried.status, tried.body["metadata"]["resourceVersion"]) == (201, "7")
    assert made.status == 201
    assert int(made.body["metadata"]["resourceVersion"]) > 7
