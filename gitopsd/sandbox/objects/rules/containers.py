"""Rules of containers: names, images, ports, environment, resources, mounts and probes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import flag_at, number_at, object_at, text_at
from gitopsd.sandbox.objects.amounts import canonical_quantity, parse_quantity
from gitopsd.sandbox.objects.rules.complaints import Complaints, items
from gitopsd.sandbox.objects.rules.names import (
    config_key_problems,
    env_name_problems,
    label_problems,
    port_name_problems,
    qualified_problems,
    subdomain_problems,
)

MOST_PORTS = 65535
PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_STANDARD_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_QUOTA_RESOURCES = frozenset({"storage", "pods", "services", "configmaps", "secrets"})
_FIELD_PATHS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
# How Kubernetes' own type is printed, field by field.
_SECURITY_FIELDS = (
    "capabilities",
    "privileged",
    "seLinuxOptions",
    "windowsOptions",
    "runAsUser",
    "runAsGroup",
    "runAsNonRoot",
    "readOnlyRootFilesystem",
    "allowPrivilegeEscalation",
    "procMount",
    "seccompProfile",
    "appArmorProfile",
)


def check_containers(
    spec: JsonObject, path: str, volumes: Collection[str], told: Complaints
) -> None:
    """Every container of a pod."""
    names: set[str] = set()
    containers = items(spec.get("containers"), f"{path}.containers")
    if not containers:
        told.required(f"{path}.containers")
    for where, container in containers:
        _check_container(container, where, names, volumes, told)
        if flag_at(spec, "hostNetwork"):
            _check_host_ports(container, where, told)
    for where, container in items(spec.get("initContainers"), f"{path}.initContainers"):
        _check_container(container, where, names, volumes, told)


def _check_host_ports(container: JsonObject, path: str, told: Complaints) -> None:
    for where, port in items(container.get("ports"), f"{path}.ports"):
        if port.get("hostPort") and port["hostPort"] != port.get("containerPort"):
            told.invalid(
                f"{where}.hostPort",
                port.get("hostPort"),
                "must match `containerPort` when `hostNetwork` is true",
            )


def _check_container(
    container: JsonObject, path: str, names: set[str], volumes: Collection[str], told: Complaints
) -> None:
    _check_name(text_at(container, "name"), f"{path}.name", names, told)
    if not text_at(container, "image"):
        told.required(f"{path}.image")
    policy = text_at(container, "terminationMessagePolicy")
    if policy not in {"File", "FallbackToLogsOnError"}:
        told.unsupported(
            f"{path}.terminationMessagePolicy", policy, ("File", "FallbackToLogsOnError")
        )
    _check_ports(container.get("ports"), f"{path}.ports", told)
    _check_environment(container, path, told)
    _check_mounts(container.get("volumeMounts"), f"{path}.volumeMounts", volumes, told)
    pull = text_at(container, "imagePullPolicy")
    if pull not in _PULL_POLICIES:
        told.unsupported(f"{path}.imagePullPolicy", pull, _PULL_POLICIES)
    _check_resources(object_at(container, "resources"), f"{path}.resources", told)
    _check_security(container.get("securityContext"), f"{path}.securityContext", told)
    for hook in ("postStart", "preStop"):
        handler = object_at(container, "lifecycle").get(hook)
        if handler is not None:
            _check_handler(handler, f"{path}.lifecycle.{hook}", told)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe) is not None:
            _check_probe(container[probe], f"{path}.{probe}", probe, told)


def _check_name(name: str, path: str, names: set[str], told: Complaints) -> None:
    if not name:
        told.required(path)
    for problem in label_problems(name) if name else ():
        told.invalid(path, name, problem)
    if name in names:
        told.duplicate(path, name)
    names.add(name)


def _check_ports(ports: Json, path: str, told: Complaints) -> None:
    names: set[str] = set()
    for where, port in items(ports, path):
        name = text_at(port, "name")
        problems = port_name_problems(name) if name else ()
        for problem in problems:
            told.invalid(f"{where}.name", name, problem)
        if name and not problems:
            if name in names:
                told.duplicate(f"{where}.name", name)
            names.add(name)
        number = number_at(port, "containerPort")
        if not number:
            told.required(f"{where}.containerPort")
        else:
            check_port_number(number, f"{where}.containerPort", told)
        if port.get("hostPort"):
            check_port_number(number_at(port, "hostPort"), f"{where}.hostPort", told)
        if port.get("protocol") not in PROTOCOLS:
            told.unsupported(f"{where}.protocol", port.get("protocol"), PROTOCOLS)


def check_port_number(number: Json, path: str, told: Complaints) -> None:
    """A port's number."""
    if not isinstance(number, int | float) or not 1 <= number <= MOST_PORTS:
        told.invalid(path, number, f"must be between 1 and {MOST_PORTS}, inclusive")


def check_port(port: Json, path: str, told: Complaints) -> None:
    """A port by number or by name."""
    if isinstance(port, str):
        for problem in port_name_problems(port):
            told.invalid(path, port, problem)
    else:
        check_port_number(port, path, told)


def _check_environment(container: JsonObject, path: str, told: Complaints) -> None:
    for where, variable in items(container.get("env"), f"{path}.env"):
        name = text_at(variable, "name")
        if not name:
            told.required(f"{where}.name")
        for problem in env_name_problems(name) if name else ():
            told.invalid(f"{where}.name", name, problem)
        source = variable.get("valueFrom")
        if source is not None:
            _check_source(object_at(source), text_at(variable, "value"), where, told)
    for where, source in items(container.get("envFrom"), f"{path}.envFrom"):
        kinds = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        if not kinds:
            told.invalid(
                f"{path}.envFrom", "", "must specify one of: `configMapRef` or `secretRef`"
            )
        for kind in kinds:
            _check_reference(object_at(source, kind), f"{where}.{kind}", told)


def _check_reference(reference: JsonObject, path: str, told: Complaints) -> None:
    name = text_at(reference, "name")
    if not name:
        told.required(f"{path}.name")
    for problem in subdomain_problems(name) if name else ():
        told.invalid(f"{path}.name", name, problem)


def _check_source(source: JsonObject, value: str, path: str, told: Complaints) -> None:
    path = f"{path}.valueFrom"
    kinds = [kind for kind in _SOURCES if source.get(kind) is not None]
    for kind in kinds:
        inner, where = object_at(source, kind), f"{path}.{kind}"
        if kind == "fieldRef":
            _check_field_path(text_at(inner, "fieldPath"), f"{where}.fieldPath", told)
        elif kind in {"configMapKeyRef", "secretKeyRef"}:
            for problem in subdomain_problems(text_at(inner, "name")):
                told.invalid(f"{where}.name", text_at(inner, "name"), problem)
            key = text_at(inner, "key")
            if not key:
                told.required(f"{where}.key")
            for problem in config_key_problems(key) if key else ():
                told.invalid(f"{where}.key", key, problem)
    if not kinds:
        told.invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
            "`secretKeyRef` or `fileKeyRef`",
        )
    elif value:
        told.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(kinds) > 1:
        told.invalid(path, "", "may not have more than one field specified at a time")


def _check_field_path(field_path: str, path: str, told: Complaints) -> None:
    base = field_path.partition("[")[0]
    subscript = base in {"metadata.annotations", "metadata.labels"} and base != field_path
    if not field_path:
        told.required(path)
    elif field_path not in _FIELD_PATHS and not subscript:
        why = f"error converting fieldPath: field label not supported: {field_path}"
        told.invalid(path, field_path, why)


def _check_mounts(mounts: Json, path: str, volumes: Collection[str], told: Complaints) -> None:
    seen: set[str] = set()
    for where, mount in items(mounts, path):
        name, target = text_at(mount, "name"), text_at(mount, "mountPath")
        if not name:
            told.required(f"{where}.name")
        if name not in volumes:
            told.not_found(f"{where}.name", name)
        if not target:
            told.required(f"{where}.mountPath")
        elif target in seen:
            told.invalid(f"{where}.mountPath", target, "must be unique")
        seen.add(target)
        inner = text_at(mount, "subPath")
        if inner.startswith("/"):
            told.invalid(f"{path}.subPath", inner, "must be a relative path")
        if ".." in inner.split("/"):
            told.invalid(f"{path}.subPath", inner, "must not contain '..'")


def _check_resources(resources: JsonObject, path: str, told: Complaints) -> None:
    limits, requests = object_at(resources, "limits"), object_at(resources, "requests")
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            where = f"{path}.{kind}[{name}]"
            _check_resource_name(name, where, told)
            number = parse_quantity(str(amount))
            if number < 0:
                told.invalid(where, str(amount), "must be greater than or equal to 0")
            limit = limits.get(name)
            if kind == "requests" and isinstance(limit, str) and number > parse_quantity(limit):
                words = f"must be less than or equal to {name} limit of {canonical_quantity(limit)}"
                told.invalid(f"{path}.requests", str(amount), words)


def _check_resource_name(name: str, path: str, told: Complaints) -> None:
    for problem in qualified_problems(name):
        told.invalid(path, name, problem)
    if "/" in name or name in _STANDARD_RESOURCES or name.startswith("hugepages-"):
        return
    if name not in _QUOTA_RESOURCES:
        told.invalid(path, name, "must be a standard resource type or fully qualified")
    told.invalid(path, name, "must be a standard resource for containers")


def _check_security(context: Json, path: str, told: Complaints) -> None:
    if not isinstance(context, Mapping):
        return
    check_user(context, path, told)
    if context.get("privileged") is True and context.get("allowPrivilegeEscalation") is False:
        printed = {
            f"{name[0].upper()}{name[1:]}".replace("SeLinux", "SELinux"): context.get(name)
            for name in _SECURITY_FIELDS
        }
        told.invalid(
            path, printed, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        )


def check_user(context: JsonObject, path: str, told: Complaints) -> None:
    """Numbers of users and groups."""
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        number = context.get(name)
        if isinstance(number, int) and not 0 <= number < 2**31:
            told.invalid(f"{path}.{name}", number, "must be between 0 and 2147483647, inclusive")


def _check_probe(probe: Json, path: str, kind: str, told: Complaints) -> None:
    _check_handler(probe, path, told)
    for name in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        number = number_at(probe, name)
        if number < 0:
            told.invalid(f"{path}.{name}", number, "must be greater than or equal to 0")
    successes = number_at(probe, "successThreshold", default=1)
    if kind != "readinessProbe" and successes != 1:
        told.invalid(f"{path}.successThreshold", successes, "must be 1")


def _check_handler(handler: Json, path: str, told: Complaints) -> None:
    kinds = [kind for kind in _HANDLERS if object_at(handler).get(kind) is not None]
    if not kinds:
        if object_at(handler).get("sleep") is None:
            told.required(path, "must specify a handler type")
        return
    for other in kinds[1:]:
        told.forbidden(f"{path}.{other}", "may not specify more than 1 handler type")
    kind, inner = kinds[0], object_at(handler, kinds[0])
    if kind == "exec":
        if not inner.get("command"):
            told.required(f"{path}.exec.command")
    elif kind == "httpGet":
        if not text_at(inner, "path"):
            told.required(f"{path}.httpGet.path")
        check_port(inner.get("port"), f"{path}.httpGet.port", told)
        scheme = text_at(inner, "scheme")
        if scheme not in {"HTTP", "HTTPS"}:
            told.unsupported(f"{path}.httpGet.scheme", scheme, ("HTTP", "HTTPS"))
    else:
        check_port(inner.get("port"), f"{path}.{kind}.port", told)
