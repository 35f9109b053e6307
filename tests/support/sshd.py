"""A real OpenSSH server on loopback that serves Git repositories, with keys made for one test."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tests.support.processes import ServerProcess, wait_until

_START_DEADLINE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class SshHost:
    """A running SSH server.

    Attributes:
        port: Port on 127.0.0.1.
        user: Login that the key admits.
        key_file: Private key that is admitted.
        host_key: Public host key as ``known_hosts`` writes it: type and base64.
    """

    port: int
    user: str
    key_file: Path
    host_key: str

    @property
    def known_hosts_line(self) -> str:
        """The line that makes a client accept this server."""
        return f"[127.0.0.1]:{self.port} {self.host_key}"

    def address(self, path: Path) -> str:
        """Address of a repository on this machine."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"


def make_key(path: Path) -> str:
    """Make an Ed25519 key pair without a passphrase; returns type and base64 of the public one."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True)
    kind, blob = path.with_suffix(".pub").read_text(encoding="ascii").split()[:2]
    return f"{kind} {blob}"


@contextlib.asynccontextmanager
async def run_sshd(directory: Path) -> AsyncIterator[SshHost]:
    """Run an SSH server for as long as the block lasts.

    Args:
        directory: Where its keys and its configuration are written.

    Raises:
        RuntimeError: There is no sshd on this machine.
    """
    program = shutil.which("sshd", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")
    if program is None:
        message = "no sshd in PATH: run `sudo sh tools/install-servers.sh`"
        raise RuntimeError(message)
    port, host_key = _prepare(directory)
    server = ServerProcess.start(
        "sshd", [program, "-D", "-e", "-f", str(directory / "sshd_config")], directory / "sshd.log"
    )
    try:
        await asyncio.to_thread(
            wait_until,
            lambda: b"Server listening" in (directory / "sshd.log").read_bytes(),
            what="sshd to listen",
            within=_START_DEADLINE,
            servers=[server],
        )
        yield SshHost(port, getpass.getuser(), directory / "client_key", host_key)
    finally:
        await asyncio.to_thread(server.stop)


def _prepare(directory: Path) -> tuple[int, str]:
    """Write keys and configuration; returns a free port and the public host key."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    host_key = make_key(directory / "host_key")
    client_key = make_key(directory / "client_key")
    (directory / "authorized_keys").write_text(f"{client_key}\n", encoding="ascii")
    # Privilege separation wants this directory; a package makes it when its service first starts.
    with contextlib.suppress(PermissionError):
        Path("/run/sshd").mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (directory / "sshd_config").write_text(_config(directory, port), encoding="utf-8")
    return port, host_key


def _config(directory: Path, port: int) -> str:
    return "\n".join(
        (
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {directory / 'host_key'}",
            f"AuthorizedKeysFile {directory / 'authorized_keys'}",
            f"PidFile {directory / 'sshd.pid'}",
            "StrictModes no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "",
        )
    )
