"""What a server fills in where an object says nothing, by type.

Source: the defaulting functions of Kubernetes (``pkg/apis/*/*/defaults.go``) as seen in the
answers of a real server. Each completes one struct of this request; what the schema itself tells
is filled in before (`decoding`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import TypeAlias

from gitopsd.domain.manifests import Json
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.objects.image_tags import has_latest_tag

Struct: TypeAlias = "dict[str, Json]"
Default: TypeAlias = Callable[[Struct], None]

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_DEFAULT_MODE = 0o644
_SESSION_SECONDS = 10800
_MOST_RETRIES = 2**31 - 1
_RBAC = "rbac.authorization.k8s.io"


def part(struct: Struct, name: str) -> Struct:
    """A struct inside another one, made when it is missing, safe to change."""
    struct[name] = made = dict(value) if isinstance(value := struct.get(name), Mapping) else {}
    return made


def parts(struct: Struct, name: str) -> list[Struct]:
    """The structs in a list, safe to change."""
    value = struct.get(name)
    if not isinstance(value, list):
        return []
    struct[name] = made = [dict(item) if isinstance(item, Mapping) else {} for item in value]
    return made


def filled(**values: Json) -> Default:
    """Fill in fields that are missing or empty."""

    def default(struct: Struct) -> None:
        for name, value in values.items():
            if struct.get(name) in (None, ""):
                struct[name] = value

    return default


def _probe(probe: Struct) -> None:
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(name):
            probe[name] = value


def _container(container: Struct) -> None:
    if not container.get("imagePullPolicy"):
        latest = has_latest_tag(text_at(container, "image"))
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")


def _volume(volume: Struct) -> None:
    if len(volume) == (1 if "name" in volume else 0):
        volume["emptyDir"] = {}


def _image_volume(source: Struct) -> None:
    if not source.get("pullPolicy"):
        latest = has_latest_tag(text_at(source, "reference"))
        source["pullPolicy"] = "Always" if latest else "IfNotPresent"


def _pod_spec(spec: Struct) -> None:
    name = text_at(spec, "serviceAccountName") or text_at(spec, "serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name
    else:
        spec.pop("serviceAccount", None)
    for key, value in (
        ("dnsPolicy", "ClusterFirst"),
        ("restartPolicy", "Always"),
        ("schedulerName", "default-scheduler"),
        ("terminationGracePeriodSeconds", 30),
    ):
        if spec.get(key) in (None, ""):
            spec[key] = value
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}


def _pod(pod: Struct) -> None:
    spec = part(pod, "spec")
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        spec["terminationGracePeriodSeconds"] = 1
    spec.setdefault("enableServiceLinks", True)
    for kind in ("containers", "initContainers"):
        for container in parts(spec, kind):
            resources = part(container, "resources")
            limits = resources.get("limits")
            if isinstance(limits, Mapping):
                requests = part(resources, "requests")
                resources["requests"] = {**limits, **requests}
            if spec.get("hostNetwork") is True:
                for port in parts(container, "ports"):
                    port.setdefault("hostPort", port.get("containerPort"))


def _pod_status(status: Struct) -> None:
    address, addresses = text_at(status, "podIP"), status.get("podIPs")
    first = addresses[0] if isinstance(addresses, list) and addresses else None
    if address and text_at(first, "ip") != address:
        status["podIPs"] = [{"ip": address}]
    elif not address and first is not None:
        status["podIP"] = text_at(first, "ip")


def _rolling_deployment(strategy: Struct) -> None:
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = part(strategy, "rollingUpdate")
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def _rolling_daemon_set(strategy: Struct) -> None:
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = part(strategy, "rollingUpdate")
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def _rolling_stateful_set(strategy: Struct) -> None:
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        rolling = part(strategy, "rollingUpdate")
        rolling.setdefault("partition", 0)
        rolling.setdefault("maxUnavailable", 1)


def _stateful_set(spec: Struct) -> None:
    filled(podManagementPolicy="OrderedReady", replicas=1, revisionHistoryLimit=10)(spec)
    filled(whenDeleted="Retain", whenScaled="Retain")(
        part(spec, "persistentVolumeClaimRetentionPolicy")
    )

    for claim in parts(spec, "volumeClaimTemplates"):
        claim.update(apiVersion="v1", kind="PersistentVolumeClaim")


def _daemon_set(daemon_set: Struct) -> None:
    part(part(daemon_set, "metadata"), "annotations").setdefault(TEMPLATE_GENERATION, "0")


def _job(job: Struct) -> None:
    spec = part(job, "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    indexed = spec.get("backoffLimitPerIndex") is not None
    failing = spec.get("podFailurePolicy") is not None
    filled(
        parallelism=1,
        backoffLimit=_MOST_RETRIES if indexed else 6,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="Failed" if failing else "TerminatingOrFailed",
        manualSelector=False,
    )(spec)
    metadata = part(job, "metadata")
    labels = part(part(spec, "template"), "metadata").get("labels")
    if labels and not metadata.get("labels"):
        metadata["labels"] = labels


def _service(service: Struct) -> None:
    spec = part(service, "spec")
    filled(sessionAffinity="None", type="ClusterIP")(spec)
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.get("sessionAffinityConfig")
        client = config.get("clientIP") if isinstance(config, Mapping) else None
        if not isinstance(client, Mapping) or client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _SESSION_SECONDS}}
    for port in parts(spec, "ports"):
        if port.get("targetPort") in (0, "", None):
            port["targetPort"] = port.get("port")
    type_ = spec["type"]
    outside = type_ in {"NodePort", "LoadBalancer"} or (
        type_ == "ClusterIP" and bool(spec.get("externalIPs"))
    )
    if outside:
        filled(externalTrafficPolicy="Cluster")(spec)
    if type_ in {"NodePort", "LoadBalancer", "ClusterIP"}:
        filled(internalTrafficPolicy="Cluster")(spec)
    if type_ == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _secret(secret: Struct) -> None:
    if not secret.get("type"):
        secret["type"] = "Opaque"
    texts = secret.pop("stringData", None)
    if isinstance(texts, Mapping) and texts:
        data = part(secret, "data")
        for name, text in texts.items():
            data[name] = base64.b64encode(str(text).encode()).decode("ascii")


def _namespace(namespace: Struct) -> None:
    metadata = part(namespace, "metadata")
    name = text_at(metadata, "name")
    if name:
        part(metadata, "labels")["kubernetes.io/metadata.name"] = name


def _limit_range_item(item: Struct) -> None:
    if item.get("type") != "Container":
        return
    known = {name: dict(part(item, name)) for name in ("max", "min", "default", "defaultRequest")}
    limits = {**known["max"], **known["default"]}
    requests = {**known["min"], **limits, **known["defaultRequest"]}
    for name, value in (("default", limits), ("defaultRequest", requests), *known.items()):
        if name not in item or not item[name]:
            item.pop(name, None)
        if value and name in {"default", "defaultRequest"}:
            item[name] = value


def _node_status(status: Struct) -> None:
    if status.get("allocatable") is None and status.get("capacity") is not None:
        status["allocatable"] = status["capacity"]


def _network_policy(spec: Struct) -> None:
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _ingress_class(spec: Struct) -> None:
    if spec.get("parameters") is not None:
        part(spec, "parameters").setdefault("scope", "Cluster")


def _autoscaler(spec: Struct) -> None:
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if not spec.get("metrics"):
        target: Struct = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if spec.get("behavior") is not None:
        behavior = part(spec, "behavior")
        up, down = part(behavior, "scaleUp"), part(behavior, "scaleDown")
        filled(
            stabilizationWindowSeconds=0,
            selectPolicy="Max",
            policies=[
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ],
        )(up)
        filled(
            selectPolicy="Max", policies=[{"type": "Percent", "value": 100, "periodSeconds": 15}]
        )(down)


def _role_binding(binding: Struct) -> None:
    filled(apiGroup=_RBAC)(part(binding, "roleRef"))


def _subject(subject: Struct) -> None:
    if subject.get("kind") in {"User", "Group"}:
        filled(apiGroup=_RBAC)(subject)


def _custom_definition(definition: Struct) -> None:
    spec, status = part(definition, "spec"), part(definition, "status")
    if not status.get("storedVersions"):
        stored = [
            text_at(version, "name")
            for version in parts(spec, "versions")
            if version.get("storage") is True
        ]
        if stored:
            status["storedVersions"] = stored[:1]
    names = part(spec, "names")
    kind = text_at(names, "kind")
    if kind:
        filled(singular=kind.lower(), listKind=f"{kind}List")(names)
    if spec.get("conversion") is None:
        spec["conversion"] = {"strategy": "None"}


_webhook = filled(
    failurePolicy="Fail",
    matchPolicy="Equivalent",
    namespaceSelector={},
    objectSelector={},
    timeoutSeconds=10,
)


def _mutating_webhook(webhook: Struct) -> None:
    _webhook(webhook)
    filled(reinvocationPolicy="Never")(webhook)


_CORE = "io.k8s.api.core.v1."
_APPS = "io.k8s.api.apps.v1."
_BATCH = "io.k8s.api.batch.v1."
_NETWORK = "io.k8s.api.networking.v1."
_ADMISSION = "io.k8s.api.admissionregistration.v1."
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_mode = filled(defaultMode=_DEFAULT_MODE)
_tcp = filled(protocol="TCP")

DEFAULTS: Mapping[str, Default] = {
    f"{_CORE}Container": _container,
    f"{_CORE}EphemeralContainer": _container,
    f"{_CORE}ConfigMapVolumeSource": _mode,
    f"{_CORE}DownwardAPIVolumeSource": _mode,
    f"{_CORE}ProjectedVolumeSource": _mode,
    f"{_CORE}SecretVolumeSource": _mode,
    f"{_CORE}HostPathVolumeSource": filled(type=""),
    f"{_CORE}ImageVolumeSource": _image_volume,
    f"{_CORE}ServiceAccountTokenProjection": filled(expirationSeconds=3600),
    f"{_CORE}ObjectFieldSelector": filled(apiVersion="v1"),
    f"{_CORE}HTTPGetAction": filled(path="/", scheme="HTTP"),
    f"{_CORE}Probe": _probe,
    f"{_CORE}Volume": _volume,
    f"{_CORE}PodSpec": _pod_spec,
    f"{_CORE}Pod": _pod,
    f"{_CORE}PodStatus": _pod_status,
    f"{_CORE}Service": _service,
    f"{_CORE}EndpointPort": _tcp,
    f"{_CORE}Secret": _secret,
    f"{_CORE}PersistentVolumeSpec": filled(
        persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem"
    ),
    f"{_CORE}PersistentVolumeStatus": filled(phase="Pending"),
    f"{_CORE}PersistentVolumeClaimSpec": filled(volumeMode="Filesystem"),
    f"{_CORE}PersistentVolumeClaimStatus": filled(phase="Pending"),
    f"{_CORE}Namespace": _namespace,
    f"{_CORE}NamespaceStatus": filled(phase="Active"),
    f"{_CORE}NodeStatus": _node_status,
    f"{_CORE}LimitRangeItem": _limit_range_item,
    f"{_APPS}DeploymentSpec": filled(
        replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600
    ),
    f"{_APPS}DeploymentStrategy": _rolling_deployment,
    f"{_APPS}DaemonSet": _daemon_set,
    f"{_APPS}DaemonSetSpec": filled(revisionHistoryLimit=10),
    f"{_APPS}DaemonSetUpdateStrategy": _rolling_daemon_set,
    f"{_APPS}StatefulSetSpec": _stateful_set,
    f"{_APPS}StatefulSetUpdateStrategy": _rolling_stateful_set,
    f"{_APPS}ReplicaSetSpec": filled(replicas=1),
    f"{_BATCH}Job": _job,
    f"{_BATCH}CronJobSpec": filled(
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    ),
    f"{_BATCH}PodFailurePolicyOnPodConditionsPattern": filled(status="True"),
    f"{_NETWORK}NetworkPolicyPort": _tcp,
    f"{_NETWORK}NetworkPolicySpec": _network_policy,
    f"{_NETWORK}IngressClassSpec": _ingress_class,
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec": _autoscaler,
    "io.k8s.api.rbac.v1.RoleBinding": _role_binding,
    "io.k8s.api.rbac.v1.ClusterRoleBinding": _role_binding,
    "io.k8s.api.rbac.v1.Subject": _subject,
    "io.k8s.api.discovery.v1.EndpointPort": filled(name="", protocol="TCP"),
    "io.k8s.api.storage.v1.StorageClass": filled(
        reclaimPolicy="Delete", volumeBindingMode="Immediate"
    ),
    "io.k8s.api.scheduling.v1.PriorityClass": filled(preemptionPolicy="PreemptLowerPriority"),
    f"{_EXTENSIONS}CustomResourceDefinition": _custom_definition,
    f"{_EXTENSIONS}ServiceReference": filled(port=443),
    f"{_ADMISSION}ValidatingWebhook": _webhook,
    f"{_ADMISSION}MutatingWebhook": _mutating_webhook,
    f"{_ADMISSION}RuleWithOperations": filled(scope="*"),
    f"{_ADMISSION}ServiceReference": filled(port=443),
}
"""By definition: what completes a struct of that type."""
