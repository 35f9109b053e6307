"""What people do from their own machines: ``git push``, and pushing an image."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.sandbox.hosts.image_making import Blob, Image

GIT_SECONDS = 30
REGISTRY_SECONDS = 20
_AUTHOR = ("-c", "user.name=Author", "-c", "user.email=author@example.test")
_TAG_LINE = re.compile(r"(newTag: ).*")


@dataclass(frozen=True, slots=True)
class WorkTree:
    """A developer's clone of the deploy repository.

    Attributes:
        directory: Where it lies.
        address: What it pushes to.
    """

    directory: Path
    address: str

    def make(self) -> None:
        """Fill it with the manifests that come with gitopsd."""
        shutil.copytree(find_manifests(), self.directory)
        self._git("init", "--quiet", "--initial-branch=main")

    def release(self, version: str) -> str:
        """Write the API's version, commit, push; returns the commit."""
        file = self.directory / "apps" / "api" / "kustomization.yaml"
        file.write_text(_TAG_LINE.sub(rf"\g<1>{version}", file.read_text()))
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", f"Release the API {version}")
        self._git("push", "--quiet", self.address, "HEAD:main")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *words: str) -> str:
        command = [shutil.which("git") or "git", *_AUTHOR, *words]
        try:
            done = subprocess.run(
                command,
                cwd=self.directory,
                env={
                    "PATH": os.pathsep.join(os.get_exec_path()),
                    "HOME": str(self.directory),
                    "GIT_CONFIG_NOSYSTEM": "1",
                    "GIT_TERMINAL_PROMPT": "0",
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=GIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TemporaryError(f"git {words[0]} had not ended after {GIT_SECONDS} s") from error
        if done.returncode:
            raise PermanentError(f"git {words[0]} failed: {done.stderr.strip()}")
        return done.stdout


def find_manifests() -> Path:
    """Find the folder ``ai-core``: in ``manifests/`` of a clone, or where a package put it.

    Raises:
        PermanentError: It is in neither place.
    """
    clone = Path(__file__).resolve().parents[3]
    installed = Path(sysconfig.get_path("data"))
    places = (clone / "manifests" / "ai-core", installed / "share" / "gitopsd" / "ai-core")
    found = next((place for place in places if (place / "kustomization.yaml").exists()), None)
    if found is None:
        raise PermanentError(f"the manifests of the demo are missing: {places[1]}. Install again")
    return found


def push_image(registry: str, image: Image, name: str) -> str:
    """Push an image under ``path:tag``; returns its digest.

    Raises:
        PermanentError: The registry refuses it, or does not answer.
    """
    path, _, tag = name.partition(":")
    for blob in image.blobs:
        _push_blob(registry, path, blob)
    kind = {"Content-Type": image.manifest.media_type}
    _send(registry, "PUT", f"/v2/{path}/manifests/{tag}", kind, image.manifest.content)
    return image.digest


def _push_blob(registry: str, path: str, blob: Blob) -> None:
    place = _send(registry, "POST", f"/v2/{path}/blobs/uploads/", {}, b"")["location"]
    kind = {"Content-Type": "application/octet-stream"}
    _send(registry, "PUT", f"{place}?digest={blob.digest}", kind, blob.content)


def _send(
    registry: str, verb: str, path: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    connection = http.client.HTTPConnection(urlsplit(registry).netloc, timeout=REGISTRY_SECONDS)
    try:
        with closing(connection):
            connection.request(verb, path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            said = answer.read().decode(errors="replace")
            found = {name.lower(): value for name, value in answer.getheaders()}
    except (OSError, http.client.HTTPException) as error:
        raise PermanentError(f"the registry {registry} does not answer: {error}") from error
    if answer.status >= http.client.BAD_REQUEST:
        raise PermanentError(f"the registry {registry} answered {answer.status}: {said}")
    return found
