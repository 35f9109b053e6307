"""Gives pods addresses out of one network."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from gitopsd.errors import TemporaryError

if TYPE_CHECKING:
    from ipaddress import IPv4Network

# The network's own address and the node's come first.
RESERVED = 2


class AddressPool:
    """The addresses of one network; one that was given back is used again as late as possible."""

    def __init__(self, network: IPv4Network) -> None:
        self._network = network
        self._given: set[str] = set()
        self._next = RESERVED

    def take(self, wanted: str = "") -> str:
        """A free address; `wanted` if that is one, which keeps pods' addresses over a restart.

        Raises:
            TemporaryError: All are taken.
        """
        if wanted and wanted not in self._given and ip_address(wanted) in self._network:
            self._given.add(wanted)
            return wanted
        last = self._network.num_addresses - 1
        for _ in range(last - RESERVED):
            address = str(self._network[self._next])
            self._next = self._next + 1 if self._next + 1 < last else RESERVED
            if address not in self._given:
                self._given.add(address)
                return address
        message = f"every address of {self._network} is taken: give the agent a wider --pod-cidr"
        raise TemporaryError(message)

    def give_back(self, address: str) -> None:
        """Free an address. Safe to repeat: free is free."""
        self._given.discard(address)
