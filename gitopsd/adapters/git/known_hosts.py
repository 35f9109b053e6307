"""What a known_hosts file says about a host, and the sentence for when that is not enough."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from fnmatch import fnmatchcase
from pathlib import Path

from gitopsd.adapters.git.addresses import DEFAULT_PORTS, Address
from gitopsd.adapters.git.credentials import Login
from gitopsd.errors import TemporaryError

REASON = "HostKey"
_HASHED_FIELDS = 3
_PLAIN_FIELDS = 3
_REVOKED_FIELDS = 4
_KEY_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
    }
)


def host_pattern(address: Address) -> str:
    """Write a host as ``known_hosts`` does: with its port only when it is unusual."""
    if address.port == DEFAULT_PORTS["ssh"]:
        return address.host
    return f"[{address.host}]:{address.port}"


def has_entry(text: str, address: Address) -> bool:
    """Whether a known_hosts file has any key for a host, plain, by pattern or hashed (sshd(8))."""
    wanted = host_pattern(address)
    for line in text.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        names = fields[1] if fields[0].startswith("@") and len(fields) > 1 else fields[0]
        if any(_matches(name, wanted) for name in names.split(",")):
            return True
    return False


def usable_lines(text: str) -> str:
    """Keep the lines of a known_hosts file that libssh2 understands; it gives up at any other.

    A key that is marked as revoked is left out wherever it stands (sshd(8)); certificate
    authorities are not supported, so that their lines accept nobody.
    """
    entries = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    revoked = {
        fields[_PLAIN_FIELDS]
        for fields in entries
        if len(fields) >= _REVOKED_FIELDS and fields[0] == "@revoked"
    }
    kept = [
        " ".join(fields[:_PLAIN_FIELDS])
        for fields in entries
        if len(fields) >= _PLAIN_FIELDS
        and fields[1] in _KEY_TYPES
        and fields[2] not in revoked
        and _is_base64(fields[2])
    ]
    return "".join(f"{line}\n" for line in kept)


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False


def _matches(name: str, wanted: str) -> bool:
    if not name.startswith("|1|"):
        return name == wanted or ("[" not in name and fnmatchcase(wanted, name))
    parts = name[1:].split("|")
    if len(parts) != _HASHED_FIELDS:
        return False
    try:
        salt, expected = (base64.b64decode(part, validate=True) for part in parts[1:])
    except binascii.Error:
        return False
    # OpenSSH chose HMAC-SHA1 to hide names, not to protect them.
    return hmac.compare_digest(hmac.new(salt, wanted.encode(), hashlib.sha1).digest(), expected)


def host_key_error(address: Address, login: Login) -> TemporaryError:
    """Say why a host was not accepted, and which file needs which line."""
    scan = f"ssh-keyscan -p {address.port} {address.host}"
    compare = "after comparing its fingerprint with the one your Git host publishes"
    if not login.known_hosts_file:
        where = f"repository {login.configured!r}" if login.configured else "config/repositories"
        message = (
            f"SSH host {host_pattern(address)} is not accepted: no host keys are configured; "
            f"put the line that `{scan}` prints into a file, {compare}, "
            f"and name it as knownHostsFile in {where}"
        )
    elif has_entry(load_known_hosts(login.known_hosts_file), address):
        message = (
            f"SSH host {host_pattern(address)} shows another key than {login.known_hosts_file} "
            f"holds: somebody may stand in between; if your Git host changed its key, replace the "
            f"line of this host by the one that `{scan}` prints, {compare}"
        )
    else:
        message = (
            f"SSH host {host_pattern(address)} is not in {login.known_hosts_file}; "
            f"add the line that `{scan}` prints, {compare}"
        )
    return TemporaryError(message, reason=REASON)


def load_known_hosts(file: str) -> str:
    """Read a known_hosts file; empty when there is none."""
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
