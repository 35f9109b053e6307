"""Loopback addresses for a simulated cluster's pods: each cluster on a machine gets its own.

Linux binds every address of 127.0.0.0/8 without being asked, so that pods need no network
namespaces and no rights. A network is claimed by a socket, which goes with the process.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from ipaddress import IPv4Network

from gitopsd.errors import PermanentError

# Programs behind a front listen at the same address with the second byte flipped (`front`), so
# that only the lower half is given out; 127.0 and 127.1 are what people use themselves.
SECOND_BYTES = range(2, 0x7F)
PREFIX = 22
CLAIM_PORT = 59_731
ATTEMPTS = 64


@dataclass(slots=True)
class PodNetwork:
    """A network that this process alone uses.

    Attributes:
        network: Its addresses.
    """

    network: IPv4Network
    _claim: socket.socket

    def close(self) -> None:
        """Give it back. Safe to repeat."""
        self._claim.close()


def claim_network() -> PodNetwork:
    """A network that no other cluster on this machine has.

    Raises:
        PermanentError: None could be had.
    """
    for _ in range(ATTEMPTS):
        second = secrets.choice(SECOND_BYTES)
        third = secrets.randbelow(64) * 4
        network = IPv4Network(f"127.{second}.{third}.0/{PREFIX}")
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind((str(network[0]), CLAIM_PORT))
            claim.listen(1)
        except OSError:
            claim.close()
            continue
        return PodNetwork(network, claim)
    message = (
        "no addresses for pods could be had on the loopback network 127.0.0.0/8: "
        "end other sandboxes, or run this on Linux"
    )
    raise PermanentError(message)
