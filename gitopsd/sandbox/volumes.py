"""Volumes of a pod as directories: ConfigMaps, Secrets, downward API, empty and host directories.

Not offered: storage that outlives a pod, live updates of mounted ConfigMaps, and the projected
service account token (programs inside test images do not talk to the API server).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from gitopsd.sandbox.environment import PodAddress, fetch_entries, pod_field
from gitopsd.sandbox.fields import flag_at, object_at, objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.environment import Lookup

TOKEN_VOLUME_PREFIX = "kube-api-access-"  # noqa: S105 - the name of a volume, no secret


async def fetch_volume(
    pod: JsonObject, volume: JsonObject, address: PodAddress, lookup: Lookup, directory: Path
) -> Path:
    """Make one volume of the pod below `directory` and return where it is.

    Safe to repeat: the files are written again with the same content.

    Raises:
        ConfigMissing: A ConfigMap or Secret that is not optional is not there.
    """
    name = text_at(volume, "name")
    host_path = text_at(volume, "hostPath", "path")
    if host_path:
        return Path(host_path)
    files: dict[str, str] = {}
    if not name.startswith(TOKEN_VOLUME_PREFIX):
        for source in (volume, *objects_at(volume, "projected", "sources")):
            files.update(await _files_of(pod, source, address, lookup))
    target = directory / name
    await asyncio.to_thread(_write, target, files)
    return target


def mounts_of(container: JsonObject, volumes: Mapping[str, Path]) -> dict[str, Path]:
    """Where a container wants its volumes: absolute mount path to the directory on the node."""
    mounts: dict[str, Path] = {}
    for mount in objects_at(container, "volumeMounts"):
        source = volumes.get(text_at(mount, "name"))
        if source is not None:
            mounts[text_at(mount, "mountPath")] = source / text_at(mount, "subPath")
    return mounts


async def _files_of(
    pod: JsonObject, source: JsonObject, address: PodAddress, lookup: Lookup
) -> dict[str, str]:
    files: dict[str, str] = {}
    for plural, key, name in (
        ("configmaps", "configMap", "name"),
        ("secrets", "secret", "secretName"),
    ):
        wanted = object_at(source, key)
        if wanted:
            reference: JsonObject = {
                "name": text_at(wanted, name) or text_at(wanted, "name"),
                "optional": flag_at(wanted, "optional"),
            }
            entries = await fetch_entries(plural, reference, lookup)
            files.update(_chosen(entries, objects_at(wanted, "items")))
    for item in objects_at(source, "downwardAPI", "items"):
        path = text_at(item, "fieldRef", "fieldPath")
        files[text_at(item, "path")] = pod_field(pod, path, address)
    return files


def _chosen(entries: Mapping[str, str], items: tuple[JsonObject, ...]) -> dict[str, str]:
    if not items:
        return dict(entries)
    return {
        text_at(item, "path"): entries[text_at(item, "key")]
        for item in items
        if text_at(item, "key") in entries
    }


def _write(directory: Path, files: Mapping[str, str]) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        target = directory / name
        # The API server refuses such paths; what it let through is not followed outside either.
        if ".." in Path(name).parts or (target.is_absolute() and directory not in target.parents):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(0o600)
