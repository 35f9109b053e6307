"""Credentials of a remote, read from their files at each fetch: rotation needs no restart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from gitopsd.adapters.git.addresses import Address, without_password
from gitopsd.domain.sources import PushSpec, RepositorySpec
from gitopsd.errors import PermanentError

_MAX_SECRET_BYTES = 65_536
DEFAULT_USER = "git"


@dataclass(frozen=True, slots=True)
class Login:
    """What a remote is told about who asks.

    Attributes:
        user: User name; empty when the remote is asked anonymously.
        password: Password or token; never shown.
        ssh_key_file: Private key; empty when not used.
        known_hosts_file: Accepted SSH host keys; empty when there are none.
        ca_file: CA certificates for HTTPS; empty for the system's.
        configured: Name of the configuration it comes from; empty when there is none.
        writes: Whether it is for pushes.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    ssh_key_file: str = ""
    known_hosts_file: str = ""
    ca_file: str = ""
    configured: str = ""
    writes: bool = False


def load_login(address: Address, spec: RepositorySpec | None) -> Login:
    """Read the credentials of an address.

    Raises:
        PermanentError: ``CredentialFile``, when a file cannot be read or is empty.
    """
    if spec is None:
        return Login(user=address.user)
    user = _load(spec, "usernameFile", spec.username_file)
    password = _load(spec, "passwordFile", spec.password_file)
    if password and not user:
        user = DEFAULT_USER
    return Login(
        user=address.user or user,
        password=password,
        ssh_key_file=_find(spec, "sshKeyFile", spec.ssh_key_file),
        known_hosts_file=_find(spec, "knownHostsFile", spec.known_hosts_file),
        ca_file=_find(spec, "caFile", spec.ca_file),
        configured=spec.name,
    )


def load_push_login(address: Address, spec: RepositorySpec | None) -> Login:
    """Read the credentials that commits are pushed with: they never take the place of others.

    Raises:
        PermanentError: ``NoPushCredential``, when there are none; ``CredentialFile``, when a file
            cannot be read or is empty.
    """
    push = push_spec_of(address, spec)
    if spec is None:
        return Login(user=address.user, writes=True)
    writing = replace(
        spec,
        username_file=push.username_file,
        password_file=push.password_file,
        ssh_key_file=push.ssh_key_file,
    )
    return replace(load_login(address, writing), writes=True)


def push_spec_of(address: Address, spec: RepositorySpec | None) -> PushSpec:
    """Tell how commits are pushed; to a path on this machine, without credentials too.

    Raises:
        PermanentError: ``NoPushCredential``, when nothing says so.
    """
    if spec is not None and spec.push is not None:
        return spec.push
    if address.scheme == "file":
        return PushSpec()
    raise PermanentError(
        f"nothing says how commits are pushed to {without_password(address.url)}; write `push:` "
        "into the file of config/repositories that covers it",
        reason="NoPushCredential",
    )


def _load(spec: RepositorySpec, field_name: str, file: str) -> str:
    if not file:
        return ""
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(_MAX_SECRET_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise _unusable(spec, field_name, file, f"cannot be read ({why})") from error
    secret = text.strip("\r\n")
    if not secret:
        raise _unusable(spec, field_name, file, "is empty")
    return secret


def _find(spec: RepositorySpec, field_name: str, file: str) -> str:
    if file and not Path(file).is_file():
        raise _unusable(spec, field_name, file, "does not exist")
    return file


def _unusable(spec: RepositorySpec, field_name: str, file: str, problem: str) -> PermanentError:
    return PermanentError(
        f"repository {spec.name!r}: {field_name} {file} {problem}; "
        "mount the file there, or name the right one",
        reason="CredentialFile",
    )
