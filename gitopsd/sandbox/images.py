"""Gets images from an OCI registry: manifest and config to know what to run, layers to run it.

Refusals are told in the registry's own words, as a kubelet does.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import orjson

from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.sandbox.behaviour import SERVE_LABEL, Behaviour, parse_behaviour
from gitopsd.sandbox.dialing import say_dial
from gitopsd.sandbox.fields import number_at, object_at, objects_at, text_at, text_map_at, texts_at
from gitopsd.sandbox.layers import unpack_layer

if TYPE_CHECKING:
    from pathlib import Path

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.image_reference import ImageReference

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
DOCUMENT_LIMIT_BYTES = 4 * 1024 * 1024
LAYER_LIMIT_BYTES = 64 * 1024 * 1024
KNOWN_IMAGES = 256
SUCCESS = 200


class PullFailed(TemporaryError):  # noqa: N818 - the kubelet's word
    """The image cannot be had now; the message is what the pod's status shows."""

    reason = "ErrImagePull"


@dataclass(frozen=True, slots=True)
class RunnableImage:
    """What an image's config says about running it.

    Attributes:
        repository: Host and path.
        digest: What the registry calls the manifest that was asked for.
        entrypoint: Program and first arguments.
        command: More arguments, replaced by a pod's ``args``.
        env: Environment.
        working_directory: Where the program starts.
        ports: Ports the image says it listens on.
        behaviour: How to run it inside the agent; None: as a child process.
        layers: Digests of its layers, in order.
        size_bytes: Sum of its layers.
    """

    repository: str
    digest: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    ports: tuple[int, ...] = ()
    behaviour: Behaviour | None = None
    layers: tuple[str, ...] = ()
    size_bytes: int = 0

    @property
    def image_id(self) -> str:
        """The image by digest, as pod statuses name it."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Obtained:
    """An image and whether the registry had to be asked for it."""

    image: RunnableImage
    pulled: bool


class ImageStore:
    """The images of one node.

    Args:
        registry: Base URL every image comes from, whatever host its reference names: the test
            registry stands in for all of them. Empty: each reference's own host, by plain HTTP on
            loopback and by HTTPS elsewhere.
        session: For requests to the registry.
        directory: Private directory for layers.
        mirrors: Base URL that images of a host come from, by host; before `registry`.
    """

    def __init__(
        self,
        *,
        registry: str,
        session: aiohttp.ClientSession,
        directory: Path,
        mirrors: Mapping[str, str] | None = None,
    ) -> None:
        self._registry = registry.rstrip("/")
        self._mirrors = mirrors or {}
        self._session = session
        self._directory = directory
        self._images: dict[str, RunnableImage] = {}
        self._tags: dict[str, str] = {}

    async def fetch_image(self, reference: ImageReference, *, pull_policy: str) -> Obtained:
        """Find the image on the node or in the registry.

        Args:
            reference: Which image.
            pull_policy: ``Always``, ``IfNotPresent`` or ``Never``.

        Raises:
            PullFailed: It cannot be had.
            PermanentError: It is not there and must not be pulled (``ErrImageNeverPull``), or it
                is no image that this node can run.
        """
        kept = reference.digest or self._tags.get(reference.text, "")
        # One digest may be in several repositories: each is an image of its own to a node.
        present = self._images.get(f"{reference.repository}@{kept}")
        if present is not None and pull_policy != "Always":
            return Obtained(present, pulled=False)
        if pull_policy == "Never":
            raise PermanentError(
                f'Container image "{reference.text}" is not present with pull policy of Never',
                reason="ErrImageNeverPull",
            )
        digest, manifest = await self._fetch_manifest(reference, reference.target)
        known = self._images.get(f"{reference.repository}@{digest}")
        if known is None:
            known = await self._fetch_config(reference, digest, manifest)
            while len(self._images) >= KNOWN_IMAGES:
                self._images.pop(next(iter(self._images)))
            self._images[known.image_id] = known
        self._tags[reference.text] = digest
        return Obtained(known, pulled=True)

    async def fetch_root(self, image: RunnableImage, root: Path) -> None:
        """Unpack the image's layers into `root`, a directory of the caller's.

        Raises:
            PullFailed: A layer cannot be had.
        """
        host, _, path = image.repository.partition("/")
        for digest in image.layers:
            content = await self._fetch_layer(f"{self._base(host)}/v2/{path}", digest)
            await asyncio.to_thread(unpack_layer, content, root)

    async def _fetch_manifest(
        self, reference: ImageReference, target: str
    ) -> tuple[str, JsonObject]:
        base = f"{self._base(reference.host)}/v2/{reference.path}"
        what = f"reading manifest {target} in {reference.repository}"
        payload = await self._get(f"{base}/manifests/{target}", what, DOCUMENT_LIMIT_BYTES)
        digest = f"sha256:{hashlib.sha256(payload).hexdigest()}"
        manifest = _document(payload, what)
        if text_at(manifest, "mediaType") in INDEX_TYPES or "manifests" in manifest:
            chosen = _platform(objects_at(manifest, "manifests"))
            if not chosen:
                raise PullFailed(f"{what}: no image found in manifest list for linux/amd64")
            _, manifest = await self._fetch_manifest(reference, chosen)
        return digest, manifest

    async def _fetch_config(
        self, reference: ImageReference, digest: str, manifest: JsonObject
    ) -> RunnableImage:
        wanted = text_at(manifest, "config", "digest")
        what = f"reading config {wanted} of {reference.repository}"
        url = f"{self._base(reference.host)}/v2/{reference.path}/blobs/{wanted}"
        config = object_at(
            _document(await self._get(url, what, DOCUMENT_LIMIT_BYTES), what), "config"
        )
        label = text_at(config, "Labels", SERVE_LABEL)
        layers = objects_at(manifest, "layers")
        return RunnableImage(
            repository=reference.repository,
            digest=digest,
            entrypoint=texts_at(config, "Entrypoint"),
            command=texts_at(config, "Cmd"),
            env=dict(entry.split("=", 1) for entry in texts_at(config, "Env") if "=" in entry),
            working_directory=text_at(config, "WorkingDir") or "/",
            ports=tuple(
                int(port.removesuffix("/tcp"))
                for port in object_at(config, "ExposedPorts")
                if port.removesuffix("/tcp").isdigit()
            ),
            behaviour=parse_behaviour(label) if label else None,
            layers=tuple(text_at(layer, "digest") for layer in layers),
            size_bytes=int(sum(number_at(layer, "size") for layer in layers)),
        )

    async def _fetch_layer(self, repository_url: str, digest: str) -> bytes:
        kept = self._directory / digest.replace(":", "-")
        if await asyncio.to_thread(kept.exists):
            return await asyncio.to_thread(kept.read_bytes)
        what = f"reading layer {digest}"
        content = await self._get(f"{repository_url}/blobs/{digest}", what, LAYER_LIMIT_BYTES)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise PullFailed(f"{what}: the content does not match the digest")
        await asyncio.to_thread(_keep, kept, content)
        return content

    async def _get(self, url: str, what: str, limit_bytes: int) -> bytes:
        try:
            async with self._session.get(
                url, headers={"Accept": ACCEPT}, timeout=REQUEST_TIMEOUT
            ) as response:
                payload = await response.content.read(limit_bytes + 1)
                while len(payload) <= limit_bytes and not response.content.at_eof():
                    payload += await response.content.read(limit_bytes + 1 - len(payload))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PullFailed(f'{what}: Get "{url}": {_say_trouble(error)}') from error
        if response.status != SUCCESS:
            raise PullFailed(f"{what}: {_registry_words(response.status, payload)}")
        if len(payload) > limit_bytes:
            raise PullFailed(f"{what}: larger than {limit_bytes} bytes")
        return payload

    def _base(self, host: str) -> str:
        if host in self._mirrors:
            return self._mirrors[host].rstrip("/")
        if self._registry:
            return self._registry
        plain = host.startswith(("127.", "localhost"))
        return f"http://{host}" if plain else f"https://{host}"


def _registry_words(status: int, payload: bytes) -> str:
    """The errors of a registry's answer, as its clients print them."""
    try:
        document: Json = orjson.loads(payload)
    except orjson.JSONDecodeError:
        document = None
    errors = [
        f"{text_at(error, 'code').lower().replace('_', ' ')}: {text_at(error, 'message')}"
        for error in objects_at(document, "errors")
    ]
    return "; ".join(errors) or f"received unexpected HTTP status: {status}"


def _say_trouble(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "context deadline exceeded"
    if isinstance(error, aiohttp.ClientConnectorError):
        return say_dial(error, error.host, error.port or 0)
    return str(error) or type(error).__name__


def _document(payload: bytes, what: str) -> JsonObject:
    try:
        document: Json = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise PullFailed(f"{what}: invalid JSON: {error}") from error
    if not isinstance(document, Mapping):
        raise PullFailed(f"{what}: not a JSON object")
    return document


def _platform(manifests: tuple[JsonObject, ...]) -> str:
    for manifest in manifests:
        if text_map_at(manifest, "platform").get("architecture") == "amd64":
            return text_at(manifest, "digest")
    return ""


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: another pod may read the same layer at the same time.
    partial = path.with_name(f"{path.name}.{id(content):x}")
    partial.write_bytes(content)
    partial.replace(path)
