"""A registry of the user's own: stand-ins are pushed there as images that any node can run.

Nodes of the tests run a stand-in from what its config says. Those of other clusters need a program:
the image is a base image with Python, which the user has put into the same registry, and one more
layer with the program of the tests' process images (`tests.support.image_app`).
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.support.images import CONFIG_TYPE, Blob, Image, build_image
from tests.support.registry import ACCEPT_MANIFESTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.systems.story import Behaviour

_SECONDS = 60
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a pod, where kubelets and Services must reach it
_PROGRAM = ("python3", "/app/app.py")
_LAYERS = (".v1.tar", ".v1.tar+gzip", ".diff.tar.gzip")


class UserRegistryError(Exception):
    """The registry did not do what was asked; says what, and what to do."""


@dataclass(frozen=True, slots=True)
class _Base:
    """What stand-ins are built on.

    Attributes:
        path: Its repository in the registry.
        layers: Descriptors of its layers.
        config: Its config.
    """

    path: str
    layers: tuple[dict[str, Any], ...]
    config: dict[str, Any]


class UserRegistry:
    """One registry, by the distribution protocol with Basic login or none.

    Args:
        url: Its base URL.
        prefix: What repositories begin with there; may be empty.
        base: ``path:tag`` of an image with Python in it.
        login: ``user:password``; empty for none.
    """

    def __init__(self, url: str, prefix: str, base: str, login: str = "") -> None:
        self.url = url
        self._parts = urlsplit(url)
        self._prefix = prefix.strip("/")
        self._login = login
        self._base = self._read_base(base)

    @property
    def host(self) -> str:
        """How image names begin that are in it."""
        return "/".join(filter(None, (self._parts.netloc, self._prefix)))

    def build(self, *, version: str, behaviour: Behaviour) -> Image:
        """Build a stand-in that is a program."""
        env = {"BIND_ADDRESS": _EVERYWHERE}
        own = build_image(version=version, behaviour=behaviour, runtime="process", env=env)
        manifest = json.loads(own.manifest.content)
        config = json.loads(own.blobs[0].content)
        base = self._base.config
        both = [*base["config"].get("Env", []), *config["config"]["Env"]]
        config["config"] |= {"Env": both, "Entrypoint": list(_PROGRAM)}
        config["rootfs"]["diff_ids"] = [
            *base["rootfs"]["diff_ids"],
            *config["rootfs"]["diff_ids"],
        ]
        config |= {key: base[key] for key in ("architecture", "os", "variant") if key in base}
        config.pop("history")
        config_blob = Blob(json.dumps(config, sort_keys=True).encode(), CONFIG_TYPE)
        manifest["config"] = config_blob.descriptor
        manifest["layers"] = [*self._base.layers, *manifest["layers"]]
        described = Blob(json.dumps(manifest, sort_keys=True).encode(), own.manifest.media_type)
        return Image(described, (config_blob, *own.blobs[1:]))

    def push(self, image: Image, name: str) -> None:
        """Push a stand-in under ``path:tag``; its base's layers are mounted, not sent.

        Safe to repeat: what is there stays.
        """
        path, _, tag = name.partition(":")
        for layer in self._base.layers:
            query = f"mount={layer['digest']}&from={self._base.path}"
            status, _, _ = self._send("POST", f"/v2/{path}/blobs/uploads/?{query}")
            if status != HTTPStatus.CREATED:
                message = f"{self.url} mounts no layers of {self._base.path} into {path}: {status}"
                raise UserRegistryError(message)
        for blob in image.blobs:
            self._push_blob(path, blob)
        self._expect(
            "PUT",
            f"/v2/{path}/manifests/{tag}",
            {"Content-Type": image.manifest.media_type},
            image.manifest.content,
        )

    def _push_blob(self, path: str, blob: Blob) -> None:
        headers, _ = self._expect("POST", f"/v2/{path}/blobs/uploads/")
        place = urlsplit(headers["location"])
        query = f"{place.query}&digest={blob.digest}".lstrip("&")
        kind = {"Content-Type": "application/octet-stream"}
        self._expect("PUT", f"{place.path}?{query}", kind, blob.content)

    def _read_base(self, name: str) -> _Base:
        path, _, tag = name.partition(":")
        path = "/".join(filter(None, (self._prefix, path)))
        manifest = self._read_manifest(path, tag or "latest")
        _, config = self._expect("GET", f"/v2/{path}/blobs/{manifest['config']['digest']}")
        return _Base(path, tuple(manifest["layers"]), json.loads(config))

    def _read_manifest(self, path: str, target: str) -> dict[str, Any]:
        """Read an image's manifest; of an index, that of Linux on the usual machine."""
        accept = {"Accept": ACCEPT_MANIFESTS}
        _, content = self._expect("GET", f"/v2/{path}/manifests/{target}", accept)
        found: dict[str, Any] = json.loads(content)
        for entry in found.get("manifests", []):
            platform = entry.get("platform", {})
            if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
                return self._read_manifest(path, entry["digest"])
        if "layers" not in found:
            message = f"{self.url}: {path}:{target} has no image for linux/amd64"
            raise UserRegistryError(message)
        return found

    def _expect(
        self, verb: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[Mapping[str, str], bytes]:
        status, found, content = self._send(verb, path, headers, body)
        if status >= HTTPStatus.BAD_REQUEST:
            said = content[:300].decode(errors="replace")
            message = f"{verb} {self.url}{path.partition('?')[0]} answered {status}: {said}"
            raise UserRegistryError(message)
        return found, content

    def _send(
        self, verb: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = dict(headers or {})
        if self._login:
            sent["Authorization"] = f"Basic {base64.b64encode(self._login.encode()).decode()}"
        with closing(self._connect()) as connection:
            connection.request(verb, path, body=body, headers=sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()

    def _connect(self) -> http.client.HTTPConnection:
        if self._parts.scheme == "https":
            tls = ssl.create_default_context()
            return http.client.HTTPSConnection(self._parts.netloc, timeout=_SECONDS, context=tls)
        return http.client.HTTPConnection(self._parts.netloc, timeout=_SECONDS)
