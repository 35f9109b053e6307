"""Failed connections in the words that Go programs, and so everything around Kubernetes, use."""

from __future__ import annotations

import os

import aiohttp


def say_dial(error: OSError, address: str, port: int) -> str:
    """Why a connection was not made: ``dial tcp 10.1.2.3:8080: connect: connection refused``."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    # asyncio writes its own sentence into strerror; the number says what the system said.
    why = os.strerror(cause.errno).lower() if cause.errno else str(cause)
    return f"dial tcp {address}:{port}: connect: {why}"
