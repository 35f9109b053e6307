"""How to reach a cluster: address, TLS, credential, and the files all of it came from."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from gitopsd.adapters.cluster.kubeconfigs import load_kubeconfig
from gitopsd.adapters.cluster.local_files import read_text, stamp_of
from gitopsd.adapters.cluster.tls import make_context
from gitopsd.domain.config import ClusterSpec
from gitopsd.errors import TemporaryError

_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_IN_CLUSTER_SERVER = "https://kubernetes.default.svc"
_CREDENTIAL = "Credential"
CREDENTIAL_RETRY = timedelta(seconds=60)
"""How long to leave a server alone that does not take our credential, or has not been given one."""

Stamps: TypeAlias = tuple[tuple[Path, tuple[int, int, int]], ...]
"""Files, each as it was when it was looked at."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything a request to a cluster needs.

    Attributes:
        server: Base address without a slash at its end.
        tls: TLS context; None for plain HTTP.
        trust: What the server's certificate is checked against, for messages.
        credential: Value of the Authorization header; empty when a client certificate is used.
        token_file: File that the bearer token is read from for each request; None when fixed.
        server_name: Name in the server's certificate; empty for the address itself.
        proxy: Proxy that requests go through; empty for none.
        stamps: The files it was made from, as they were; a change of one makes a new connection.
    """

    server: str
    tls: ssl.SSLContext | None
    trust: str = "the system's CA certificates"
    credential: str = field(default="", repr=False)
    token_file: Path | None = None
    server_name: str = ""
    proxy: str = field(default="", repr=False)
    stamps: Stamps = ()

    def authorization(self) -> dict[str, str]:
        """Make the header that carries the credential.

        Raises:
            PermanentError: The token file cannot be read.
            TemporaryError: It is empty, as for a moment while it is being replaced. A request
                without it would be an anonymous one, and its refusal would read like a verdict.
        """
        if self.token_file is None:
            return {"Authorization": self.credential} if self.credential else {}
        token = read_text(self.token_file).strip()
        if not token:
            message = f"token file {self.token_file} is empty; write the cluster's token into it"
            raise TemporaryError(message, retry_after=CREDENTIAL_RETRY, reason=_CREDENTIAL)
        return {"Authorization": f"Bearer {token}"}

    def is_current(self) -> bool:
        """Whether no file that it was made from has changed since."""
        return are_current(self.stamps)

    def credential_stamps(self) -> Stamps:
        """Tell which files the next request comes from: those, and the token as it is now."""
        if self.token_file is None:
            return self.stamps
        return (*self.stamps, (self.token_file, stamp_of(self.token_file)))


def are_current(stamps: Stamps) -> bool:
    """Whether no file has changed since it was looked at."""
    return all(stamp_of(path) == stamp for path, stamp in stamps)


async def load_connection(spec: ClusterSpec) -> Connection:
    """Read a cluster's connection.

    Raises:
        PermanentError: A file cannot be read or used, or the kubeconfig wants a plug-in to run.
    """
    if spec.kubeconfig and not spec.in_cluster:
        return await asyncio.to_thread(_from_kubeconfig, spec)
    return await asyncio.to_thread(_in_cluster if spec.in_cluster else _from_files, spec)


def _in_cluster(_spec: ClusterSpec) -> Connection:
    return _with_authority(_IN_CLUSTER_SERVER, _IN_CLUSTER / "ca.crt", _IN_CLUSTER / "token")


def _from_files(spec: ClusterSpec) -> Connection:
    authority = Path(spec.ca_file) if spec.ca_file else None
    token = Path(spec.token_file) if spec.token_file else None
    return _with_authority(spec.server.rstrip("/"), authority, token)


def _with_authority(server: str, authority: Path | None, token: Path | None) -> Connection:
    files = (authority,) if authority is not None else ()
    stamps = tuple((path, stamp_of(path)) for path in files)  # before reading: a later change shows
    return Connection(
        server=server,
        tls=make_context(authority) if server.startswith("https:") else None,
        trust=f"CA file {authority}" if authority else "the system's CA certificates",
        token_file=token,
        stamps=stamps,
    )


def _from_kubeconfig(spec: ClusterSpec) -> Connection:
    path = Path(spec.kubeconfig)
    first = (path, stamp_of(path))
    read = load_kubeconfig(spec.name, path, spec.context)
    return Connection(
        server=read.server,
        tls=read.tls,
        trust=f"the CA of kubeconfig {path}",
        credential=read.credential,
        token_file=read.token_file,
        server_name=read.server_name,
        proxy=read.proxy,
        stamps=(first, *((file, stamp_of(file)) for file in read.files)),
    )
