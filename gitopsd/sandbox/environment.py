"""The environment and arguments of a container, from literals, ConfigMaps, Secrets and the pod."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gitopsd.errors import PermanentError
from gitopsd.sandbox.behaviour import expand
from gitopsd.sandbox.fields import flag_at, object_at, objects_at, text_at, text_map_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

Lookup: TypeAlias = Callable[[str, str], Awaitable["JsonObject | None"]]
"""Fetches an object of the pod's namespace: plural (``configmaps``, ``secrets``), name."""

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
WORDS = {"configmaps": ("configmap", "ConfigMap"), "secrets": ("secret", "Secret")}


class ConfigMissing(PermanentError):  # noqa: N818 - the kubelet's word is CreateContainerConfigError
    """A ConfigMap, a Secret or a key that a container needs is not there; may come later."""

    reason = "CreateContainerConfigError"


@dataclass(frozen=True, slots=True)
class PodAddress:
    """What a pod may learn about itself beside its own object."""

    pod_ip: str
    host_ip: str


async def fetch_environment(
    pod: JsonObject, container: JsonObject, address: PodAddress, lookup: Lookup
) -> dict[str, str]:
    """What ``envFrom`` and ``env`` of a container say, in the order Kubernetes resolves them.

    Raises:
        ConfigMissing: Something that is not optional is not there, in the kubelet's words.
    """
    env: dict[str, str] = {}
    lookup = _remembering(lookup)
    for source in objects_at(container, "envFrom"):
        prefix = text_at(source, "prefix")
        for plural, key in (("configmaps", "configMapRef"), ("secrets", "secretRef")):
            reference = object_at(source, key)
            if reference:
                entries = await fetch_entries(plural, reference, lookup)
                env.update({f"{prefix}{name}": value for name, value in entries.items()})
    for entry in objects_at(container, "env"):
        value = await _value(pod, entry, env, address, lookup)
        if value is not None:
            env[text_at(entry, "name")] = value
    return env


async def fetch_entries(plural: str, reference: JsonObject, lookup: Lookup) -> dict[str, str]:
    """The decoded data of a ConfigMap or Secret; empty when it is optional and missing.

    Raises:
        ConfigMissing: It is needed and not there.
    """
    name = text_at(reference, "name")
    found = await lookup(plural, name)
    if found is None:
        if flag_at(reference, "optional"):
            return {}
        message = f'{WORDS[plural][0]} "{name}" not found'
        raise ConfigMissing(message)
    data = text_map_at(found, "data")
    if plural == "secrets":
        return {
            key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()
        }
    return data


def pod_field(pod: JsonObject, path: str, address: PodAddress) -> str:
    """A field of the downward API."""
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return text_at(pod, "metadata", subscript[1], subscript[2])
    if path in {"metadata.labels", "metadata.annotations"}:
        entries = text_map_at(pod, *path.split("."))
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    addresses = {
        "status.podIP": address.pod_ip,
        "status.podIPs": address.pod_ip,
        "status.hostIP": address.host_ip,
        "status.hostIPs": address.host_ip,
    }
    return addresses[path] if path in addresses else text_at(pod, *path.split("."))


def command_line(
    container: JsonObject,
    entrypoint: tuple[str, ...],
    command: tuple[str, ...],
    env: Mapping[str, str],
) -> list[str]:
    """Program and arguments: a pod's ``command`` replaces both of the image's, ``args`` one."""
    own_command = _texts(container, "command")
    own_args = _texts(container, "args")
    image_words = [*entrypoint, *(own_args or command)]
    words = [*own_command, *own_args] if own_command else image_words
    return [expand(word, env) for word in words]


def _remembering(lookup: Lookup) -> Lookup:
    """Ask for each object once, however many keys of it are wanted."""
    found: dict[tuple[str, str], JsonObject | None] = {}

    async def look_once(plural: str, name: str) -> JsonObject | None:
        if (plural, name) not in found:
            found[plural, name] = await lookup(plural, name)
        return found[plural, name]

    return look_once


def _texts(container: JsonObject, key: str) -> list[str]:
    value = container.get(key)
    return [str(word) for word in value] if isinstance(value, list) else []


async def _value(
    pod: JsonObject,
    entry: JsonObject,
    env: Mapping[str, str],
    address: PodAddress,
    lookup: Lookup,
) -> str | None:
    source = object_at(entry, "valueFrom")
    if not source:
        return expand(text_at(entry, "value"), env)
    if "fieldRef" in source:
        return pod_field(pod, text_at(source, "fieldRef", "fieldPath"), address)
    if "resourceFieldRef" in source:
        return "0"
    for plural, kind in (("configmaps", "configMapKeyRef"), ("secrets", "secretKeyRef")):
        reference = object_at(source, kind)
        if reference:
            return await _keyed(pod, plural, reference, lookup)
    return None


async def _keyed(pod: JsonObject, plural: str, reference: JsonObject, lookup: Lookup) -> str | None:
    entries = await fetch_entries(plural, reference, lookup)
    key = text_at(reference, "key")
    if key in entries or flag_at(reference, "optional"):
        return entries.get(key)
    place = f"{text_at(pod, 'metadata', 'namespace')}/{text_at(reference, 'name')}"
    message = f"couldn't find key {key} in {WORDS[plural][1]} {place}"
    raise ConfigMissing(message)
