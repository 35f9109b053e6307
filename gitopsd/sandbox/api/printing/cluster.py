"""Rows of what a cluster is made of: namespaces, nodes, events, rights, settings, storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.printing.cells import (
    NONE,
    UNSET,
    Cells,
    Printer,
    age_of,
    columns,
    count_at,
    name_of,
)
from gitopsd.sandbox.api.printing.spans import UNKNOWN, say_since
from gitopsd.sandbox.fields import (
    field_at,
    flag_at,
    object_at,
    objects_at,
    text_at,
    text_map_at,
    texts_at,
)

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

_ROLE_LABEL = "node-role.kubernetes.io/"
_OLD_ROLE_LABEL = "kubernetes.io/role"
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)


def _named(obj: JsonObject, now: datetime) -> Cells:
    return [name_of(obj), age_of(obj, now)]


def _made(obj: JsonObject, _: datetime) -> Cells:
    return [name_of(obj), text_at(obj, "metadata", "creationTimestamp")]


def _namespace(obj: JsonObject, now: datetime) -> Cells:
    return [name_of(obj), text_at(obj, "status", "phase"), age_of(obj, now)]


def _config_map(obj: JsonObject, now: datetime) -> Cells:
    keys = len(object_at(obj, "data")) + len(object_at(obj, "binaryData"))
    return [name_of(obj), keys, age_of(obj, now)]


def _secret(obj: JsonObject, now: datetime) -> Cells:
    return [name_of(obj), text_at(obj, "type"), len(object_at(obj, "data")), age_of(obj, now)]


def _lease(obj: JsonObject, now: datetime) -> Cells:
    return [name_of(obj), text_at(obj, "spec", "holderIdentity"), age_of(obj, now)]


def _node(obj: JsonObject, now: datetime) -> Cells:
    info = object_at(obj, "status", "nodeInfo")
    kernel = text_at(info, "kernelVersion") or UNKNOWN
    if text_at(info, "architecture"):
        kernel = f"{kernel} ({text_at(info, 'architecture')})"
    return [
        name_of(obj),
        ",".join(_node_states(obj)),
        ",".join(_node_roles(obj)) or NONE,
        age_of(obj, now),
        text_at(info, "kubeletVersion"),
        _node_address(obj, "InternalIP"),
        _node_address(obj, "ExternalIP"),
        text_at(info, "osImage") or UNKNOWN,
        kernel,
        text_at(info, "containerRuntimeVersion") or UNKNOWN,
    ]


def _node_states(obj: JsonObject) -> list[str]:
    said = [
        "Ready" if text_at(item, "status") == "True" else "NotReady"
        for item in objects_at(obj, "status", "conditions")
        if text_at(item, "type") == "Ready"
    ] or ["Unknown"]
    return [*said, "SchedulingDisabled"] if flag_at(obj, "spec", "unschedulable") else said


def _node_roles(obj: JsonObject) -> list[str]:
    roles: set[str] = set()
    for name, value in text_map_at(obj, "metadata", "labels").items():
        if name.startswith(_ROLE_LABEL):
            roles.add(name.removeprefix(_ROLE_LABEL))
        elif name == _OLD_ROLE_LABEL:
            roles.add(value)
    return sorted(roles - {""})


def _node_address(obj: JsonObject, kind: str) -> str:
    found = objects_at(obj, "status", "addresses")
    return next((text_at(item, "address") for item in found if item.get("type") == kind), NONE)


def _event(obj: JsonObject, now: datetime) -> Cells:
    began = text_at(obj, "firstTimestamp") or text_at(obj, "eventTime")
    last = text_at(obj, "series", "lastObservedTime") or text_at(obj, "lastTimestamp") or began
    count = count_at(obj, "series", "count") or count_at(obj, "count") or 1
    about = object_at(obj, "involvedObject")
    kind, name = text_at(about, "kind").lower(), text_at(about, "name")
    source = [
        text_at(obj, "source", "component") or text_at(obj, "reportingComponent"),
        text_at(obj, "source", "host") or text_at(obj, "reportingInstance"),
    ]
    return [
        say_since(last, now),
        text_at(obj, "type"),
        text_at(obj, "reason"),
        f"{kind}/{name}" if name else kind,
        text_at(about, "fieldPath"),
        ", ".join(source) if source[1] else source[0],
        text_at(obj, "message").strip(),
        say_since(began, now),
        count,
        name_of(obj),
    ]


def _binding(obj: JsonObject, now: datetime) -> Cells:
    subjects = objects_at(obj, "subjects")
    accounts = [
        f"{text_at(item, 'namespace')}/{text_at(item, 'name')}"
        for item in subjects
        if text_at(item, "kind") == "ServiceAccount"
    ]

    def names(kind: str) -> str:
        return ", ".join(text_at(item, "name") for item in subjects if item.get("kind") == kind)

    role = f"{text_at(obj, 'roleRef', 'kind')}/{text_at(obj, 'roleRef', 'name')}"
    return [
        name_of(obj),
        role,
        age_of(obj, now),
        names("User"),
        names("Group"),
        ", ".join(accounts),
    ]


def _quota(obj: JsonObject, now: datetime) -> Cells:
    used = object_at(obj, "status", "used")
    said: dict[bool, list[str]] = {True: [], False: []}
    for name, hard in sorted(text_map_at(obj, "status", "hard").items()):
        part = f"{name}: {text_at(used, name, default='0')}/{hard}"
        said[name.startswith("limits.")].append(part)
    return [name_of(obj), ", ".join(said[False]), ", ".join(said[True]), age_of(obj, now)]


def _claim(obj: JsonObject, now: datetime) -> Cells:
    deleted = field_at(obj, "metadata", "deletionTimestamp") is not None
    volume = text_at(obj, "spec", "volumeName")
    return [
        name_of(obj),
        "Terminating" if deleted else text_at(obj, "status", "phase"),
        volume,
        text_at(obj, "status", "capacity", "storage") if volume else "",
        _say_modes(texts_at(obj, "status", "accessModes")) if volume else "",
        _class_of(obj),
        text_at(obj, "spec", "volumeAttributesClassName") or UNSET,
        age_of(obj, now),
        text_at(obj, "spec", "volumeMode") or UNSET,
    ]


def _volume(obj: JsonObject, now: datetime) -> Cells:
    deleted = field_at(obj, "metadata", "deletionTimestamp") is not None
    claim = object_at(obj, "spec", "claimRef")
    return [
        name_of(obj),
        text_at(obj, "spec", "capacity", "storage"),
        _say_modes(texts_at(obj, "spec", "accessModes")),
        text_at(obj, "spec", "persistentVolumeReclaimPolicy"),
        "Terminating" if deleted else text_at(obj, "status", "phase"),
        f"{text_at(claim, 'namespace')}/{text_at(claim, 'name')}" if claim else "",
        _class_of(obj),
        text_at(obj, "spec", "volumeAttributesClassName") or UNSET,
        text_at(obj, "status", "reason"),
        age_of(obj, now),
        text_at(obj, "spec", "volumeMode") or UNSET,
    ]


def _class_of(obj: JsonObject) -> str:
    marked = text_at(obj, "metadata", "annotations", _CLASS_ANNOTATION)
    return marked or text_at(obj, "spec", "storageClassName")


def _say_modes(modes: tuple[str, ...]) -> str:
    return ",".join(short for name, short in _MODES if name in modes)


def _storage_class(obj: JsonObject, now: datetime) -> Cells:
    return [
        name_of(obj),
        text_at(obj, "provisioner"),
        text_at(obj, "reclaimPolicy", default="Delete"),
        text_at(obj, "volumeBindingMode", default="Immediate"),
        flag_at(obj, "allowVolumeExpansion"),
        age_of(obj, now),
    ]


def _priority_class(obj: JsonObject, now: datetime) -> Cells:
    return [
        name_of(obj),
        count_at(obj, "value"),
        flag_at(obj, "globalDefault"),
        age_of(obj, now),
        text_at(obj, "preemptionPolicy"),
    ]


def _runtime_class(obj: JsonObject, now: datetime) -> Cells:
    return [name_of(obj), text_at(obj, "handler"), age_of(obj, now)]


NAMED = Printer(columns("Name,Age"), _named)
MADE = Printer(columns("Name,Created At:date"), _made)
NAMESPACES = Printer(columns("Name,Status,Age"), _namespace)
CONFIG_MAPS = Printer(columns("Name,Data,Age"), _config_map)
SECRETS = Printer(columns("Name,Type,Data,Age"), _secret)
LEASES = Printer(columns("Name,Holder,Age"), _lease)
NODES = Printer(
    columns(
        "Name,Status,Roles,Age,Version"
        "|Internal-IP,External-IP,OS-Image,Kernel-Version,Container-Runtime"
    ),
    _node,
)
# Two columns in the middle are for -o wide, so that these are not simply split by a bar.
_WIDE_EVENTS = ("Subobject", "Source", "First Seen", "Count", "Name")
_EVENT_COLUMNS = columns(
    "Last Seen,Type,Reason,Object,Subobject,Source,Message,First Seen,Count,Name"
)
EVENTS = Printer(
    tuple(
        type(item)(item.name, item.type, item.format, int(item.name in _WIDE_EVENTS))
        for item in _EVENT_COLUMNS
    ),
    _event,
)
BINDINGS = Printer(columns("Name,Role,Age|Users,Groups,ServiceAccounts"), _binding)
QUOTAS = Printer(columns("Name,Request,Limit,Age"), _quota)
CLAIMS = Printer(
    columns(
        "Name,Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age|VolumeMode"
    ),
    _claim,
)
VOLUMES = Printer(
    columns(
        "Name,Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,"
        "VolumeAttributesClass,Reason,Age|VolumeMode"
    ),
    _volume,
)
STORAGE_CLASSES = Printer(
    columns("Name,Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age"),
    _storage_class,
)
PRIORITY_CLASSES = Printer(
    columns("Name,Value:integer,Global-Default:boolean,Age,PreemptionPolicy"), _priority_class
)
RUNTIME_CLASSES = Printer(columns("Name,Handler,Age"), _runtime_class)
