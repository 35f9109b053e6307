"""Makes TLS contexts that trust one authority and may carry a client certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from gitopsd.adapters.cluster.local_files import clause_of
from gitopsd.errors import PermanentError


def make_context(
    authority: Path | None, *, certificate: str = "", key: str = "", verify: bool = True
) -> ssl.SSLContext:
    """Make a context.

    Args:
        authority: File with the CA certificates; None for the system's.
        certificate: File with a client certificate; empty for none.
        key: File with its key.
        verify: Whether the server's certificate is checked.

    Raises:
        PermanentError: A file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
    except (OSError, ssl.SSLError) as error:
        raise PermanentError(f"CA file {authority} cannot be used: {clause_of(error)}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        try:
            context.load_cert_chain(certificate, keyfile=key or None)
        except (OSError, ssl.SSLError) as error:
            message = f"the client certificate and its key cannot be used: {clause_of(error)}"
            raise PermanentError(message) from error
    return context
