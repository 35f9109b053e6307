"""What a remote's refusals mean, in the words of `gitopsd.errors`."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.adapters.git.addresses import Address, without_password
from gitopsd.adapters.git.credentials import Login
from gitopsd.adapters.git.known_hosts import host_key_error
from gitopsd.domain.sources import RefName
from gitopsd.errors import GitopsdError, PermanentError, TemporaryError

REFUSED_RETRY = timedelta(seconds=60)
"""How long a remote that refused is left alone: hosts lock out who keeps trying."""

DAMAGED = "Damaged"
"""Word for a mirror that does not hold what it should; it is made anew."""


def transfer_error(
    address: Address, ref: RefName, login: Login, reason: str, detail: str
) -> GitopsdError:
    """Turn the reason of a failed transfer into the error that says what to do.

    Args:
        address: The remote.
        ref: What was asked for.
        login: Who asked.
        reason: ``Credential``, ``HostKey``, ``Redirected``, ``NotFound`` or something else.
        detail: What the remote or libgit2 said.
    """
    failed = _push_error(address, ref, login, reason, detail) if login.writes else None
    if failed is not None:
        return failed
    place = without_password(address.url)
    name = f"repository {login.configured!r}" if login.configured else "no entry"
    if reason == "Credential":
        return TemporaryError(
            f"{place} refuses the credentials ({name} of config/repositories is used); "
            "check that they are right and may read this repository",
            retry_after=REFUSED_RETRY,
            reason="Credential",
        )
    if reason == "HostKey" and address.scheme == "ssh":
        return host_key_error(address, login)
    if reason == "HostKey":
        return TemporaryError(
            f"{place} shows a TLS certificate that is not trusted ({detail}); "
            "name the file with its CA as caFile in config/repositories, or renew it",
            reason="Certificate",
        )
    if reason == "Redirected":
        return PermanentError(
            f"{place} answers with a redirect, which is not followed because it would be sent "
            f"the credentials ({detail}); configure the address it leads to, if that is right",
            reason="Redirected",
        )
    if reason == "NotFound":
        return TemporaryError(
            f"{place} has no repository for {name} of config/repositories (404); check the "
            "address, and that the credentials may read it",
            retry_after=REFUSED_RETRY,
            reason="RepositoryNotFound",
        )
    return TemporaryError(f"fetching {ref} from {place}: {detail}", reason="Unavailable")


def _push_error(
    address: Address, ref: RefName, login: Login, reason: str, detail: str
) -> GitopsdError | None:
    """Say what to do about a failed push; None where it is the same as for a fetch."""
    place = without_password(address.url)
    if reason in ("Credential", "NotFound"):
        name = f"repository {login.configured!r}" if login.configured else "no entry"
        return TemporaryError(
            f"{place} takes no push with the credentials under `push:` ({name} of "
            "config/repositories is used); check that they are right and may write there",
            retry_after=REFUSED_RETRY,
            reason="Credential",
        )
    if reason in ("HostKey", "Redirected"):
        return None
    return TemporaryError(f"pushing to {ref} of {place}: {detail}", reason="Unavailable")


def deadline_error(
    address: Address, ref: RefName, seconds: float, doing: str = "fetching"
) -> TemporaryError:
    """Say that a transfer was ended because it took too long."""
    way = "to" if doing == "pushing" else "from"
    return TemporaryError(
        f"{doing} {ref} {way} {without_password(address.url)} took longer than {seconds:g} s and "
        "was ended",
        reason="Timeout",
    )


def damage_error(address: Address, detail: object) -> TemporaryError:
    """Say that a mirror is damaged and is made anew."""
    return TemporaryError(
        f"the mirror of {without_password(address.url)} is damaged ({detail}); it is made anew "
        "at the next fetch",
        reason="MirrorDamaged",
    )


def storage_error(address: Address, error: OSError) -> TemporaryError:
    """Say that the mirror cannot be written to."""
    return TemporaryError(
        f"the mirror of {without_password(address.url)} cannot be written "
        f"({error.strerror or error}); make room in the data directory, or give it to this user",
        reason="MirrorStorage",
    )
