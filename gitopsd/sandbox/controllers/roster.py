"""Which controllers there are, and what each follows."""

from __future__ import annotations

from gitopsd.sandbox.controllers import (
    autoscaling,
    claims,
    cron_job,
    daemon_set,
    deployment,
    disruption,
    endpoint_slices,
    endpoints,
    garbage,
    job,
    namespaces,
    nodes,
    quota,
    replica_set,
    scheduling,
    stateful_set,
)
from gitopsd.sandbox.controllers import interests as on
from gitopsd.sandbox.controllers.facts import (
    CLAIM,
    CONFIG_MAP,
    CONTROLLER_REVISION,
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    JOB,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    POD_AUTOSCALER,
    REPLICA_SET,
    RESOURCE_QUOTA,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    STORAGE_CLASS,
    VOLUME,
)
from gitopsd.sandbox.controllers.runner import Controller

SCHEDULER_MANAGER = "kube-scheduler"


WORKLOADS = (
    Controller(
        "deployment-controller",
        deployment.reconcile,
        {
            DEPLOYMENT.resource: on.itself,
            REPLICA_SET.resource: on.owner(DEPLOYMENT),
            POD.resource: on.recreated,
        },
    ),
    Controller(
        "replicaset-controller",
        replica_set.reconcile,
        {REPLICA_SET.resource: on.itself, POD.resource: on.owner(REPLICA_SET)},
    ),
    Controller(
        "statefulset-controller",
        stateful_set.reconcile,
        {
            STATEFUL_SET.resource: on.itself,
            POD.resource: on.owner(STATEFUL_SET),
            CONTROLLER_REVISION.resource: on.owner(STATEFUL_SET),
        },
    ),
    Controller(
        "daemonset-controller",
        daemon_set.reconcile,
        {
            DAEMON_SET.resource: on.itself,
            POD.resource: on.owner(DAEMON_SET),
            CONTROLLER_REVISION.resource: on.owner(DAEMON_SET),
            NODE.resource: on.all_of(DAEMON_SET),
        },
    ),
    Controller(
        "job-controller",
        job.reconcile,
        {JOB.resource: on.itself, POD.resource: on.owner(JOB)},
    ),
    Controller(
        "job-controller",
        job.release,
        {JOB.resource: on.jobs_pods, POD.resource: on.orphaned_pod},
    ),
    Controller("ttl-after-finished-controller", job.expire, {JOB.resource: on.itself}),
    Controller(
        "cronjob-controller",
        cron_job.reconcile,
        {CRON_JOB.resource: on.itself, JOB.resource: on.owner(CRON_JOB)},
    ),
)

SCHEDULER = Controller(
    scheduling.NAME,
    scheduling.reconcile,
    {POD.resource: on.schedulable, NODE.resource: on.all_waiting, CLAIM.resource: on.all_waiting},
    manager=SCHEDULER_MANAGER,
)

NETWORK = (
    Controller(
        "endpoint-controller",
        endpoints.reconcile,
        {SERVICE.resource: on.itself, POD.resource: on.served, ENDPOINTS.resource: on.same_name},
    ),
    Controller(
        "endpoint-slice-controller",
        endpoint_slices.reconcile,
        {
            SERVICE.resource: on.itself,
            POD.resource: on.served,
            ENDPOINT_SLICE.resource: on.owner(SERVICE),
        },
    ),
)

POLICIES = (
    Controller(
        "disruption-controller",
        disruption.reconcile,
        {
            DISRUPTION_BUDGET.resource: on.itself,
            POD.resource: on.budgets,
            DEPLOYMENT.resource: on.budgets_nearby,
            REPLICA_SET.resource: on.budgets_nearby,
            STATEFUL_SET.resource: on.budgets_nearby,
        },
    ),
    Controller(
        "horizontal-pod-autoscaler",
        autoscaling.reconcile,
        {
            POD_AUTOSCALER.resource: on.itself,
            DEPLOYMENT.resource: on.scalers,
            REPLICA_SET.resource: on.scalers,
            STATEFUL_SET.resource: on.scalers,
        },
    ),
    Controller(
        "resourcequota-controller",
        quota.reconcile,
        {RESOURCE_QUOTA.resource: on.itself, EVENT.resource: on.nothing},
        rest=on.quotas,
    ),
)

STORAGE = (
    Controller(
        "persistentvolume-controller",
        claims.bind,
        {
            CLAIM.resource: on.itself,
            VOLUME.resource: on.claim_of_volume,
            STORAGE_CLASS.resource: on.waiting_claims,
            POD.resource: on.mounted,
        },
    ),
    Controller(
        "persistentvolume-controller",
        claims.reclaim,
        {VOLUME.resource: on.itself, CLAIM.resource: on.volume_of_claim},
    ),
)

NODES = (
    Controller(
        "node-controller",
        nodes.watch,
        {NODE.resource: on.itself, LEASE.resource: on.node_named},
    ),
    Controller(
        "taint-eviction-controller",
        nodes.evict,
        {NODE.resource: on.pods_of_node, POD.resource: on.itself},
    ),
)

GARBAGE = Controller(
    "garbage-collector", garbage.reconcile, {EVENT.resource: on.nothing}, rest=on.relatives
)


def keepers(certificate: str) -> tuple[Controller, ...]:
    """The controllers of namespaces.

    Args:
        certificate: The authority's certificate (PEM), which each namespace gets.
    """
    return (
        Controller(
            "namespace-controller",
            namespaces.end,
            {NAMESPACE.resource: on.namespace_itself},
            rest=on.ending_namespace,
        ),
        Controller(
            "service-account-controller",
            namespaces.give_account,
            {
                NAMESPACE.resource: on.namespace_itself,
                SERVICE_ACCOUNT.resource: on.namespace_of_named("default"),
            },
        ),
        Controller(
            "root-ca-certificate-publisher-controller",
            namespaces.publish_root_ca(certificate),
            {
                NAMESPACE.resource: on.namespace_itself,
                CONFIG_MAP.resource: on.namespace_of_named(namespaces.ROOT_CA),
            },
        ),
    )


def every_controller(certificate: str) -> tuple[Controller, ...]:
    """All that a cluster has.

    Args:
        certificate: The authority's certificate (PEM).
    """
    return (
        *WORKLOADS,
        SCHEDULER,
        *NETWORK,
        *POLICIES,
        *STORAGE,
        *NODES,
        GARBAGE,
        *keepers(certificate),
    )
