"""A network of its own for a test cluster, so that its API server can reach its pods.

An API server refuses to proxy to a loopback address. Control plane and pods therefore get
addresses of their own, in a network namespace joined to the machine by a virtual cable::

    root namespace: tests, gitopsd, node agent      network namespace: control plane, pods
    10.x.y.1  host_address  ---------- veth --------- 10.x.y.2    api_address
                                                      10.x.y.128+ nodes
                                                      10.x.y+1.*  services (virtual, unrouted)
                                                      10.x.y+2.*  pods, 10.x.y+3.* too

Every address of ``nodes`` and ``pods`` is local to the namespace from the start: a process started
in it (see :attr:`ClusterNetwork.prefix`) may bind any of them without setting anything up. A server
in the root namespace that pods or the API server must reach (a registry, a webhook) listens on
``host_address``.

It needs the right to make network namespaces. Root has it, and so has an ordinary user in
``tools/own-network.sh``, with which ``make test`` runs.
"""

import fcntl
import ipaddress
import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Self

from tests.support.processes import is_mark_alive, process_mark

_NAME_PREFIX = "gitopsd-"
_CANDIDATES = IPv4Network("10.64.0.0/10")
_SIZE = 22
_NAMESPACES = Path("/run/netns")
_RIGHTS = 1 << 12 | 1 << 21
"""``CAP_NET_ADMIN`` and ``CAP_SYS_ADMIN``, as ``/proc/self/status`` counts them."""

_TRIES = 50


class NetworkError(Exception):
    """The network cannot be made here; the message says what is needed."""


def _run(*command: str) -> str:
    """Run one ``ip`` command and return what it printed.

    Raises:
        NetworkError: It failed; the message is what it said.
    """
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = f"`{' '.join(command)}` failed: {result.stderr.strip()}"
        raise NetworkError(message)
    return result.stdout


def _check_rights() -> None:
    missing = [tool for tool in ("ip", "nsenter", "setpriv") if shutil.which(tool) is None]
    if missing:
        message = (
            f"the test cluster needs the programs {', '.join(missing)}; "
            "install the packages iproute2 and util-linux"
        )
        raise NetworkError(message)
    if _effective_rights() & _RIGHTS != _RIGHTS:
        message = (
            "the test cluster needs a network namespace, which this user may not make; run it as "
            "`make test` does, with `sh tools/own-network.sh COMMAND`, or as root "
            "(in a container: with the capabilities NET_ADMIN and SYS_ADMIN)"
        )
        raise NetworkError(message)


def _effective_rights() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (rights,) = (line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return int(rights, 16)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two test runs that share a network from choosing the same addresses.

    The lock is on the directory that the namespaces are listed below: who shares it shares the
    network, and no file has to be owned by one of several users.
    """
    directory = os.open(_NAMESPACES.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _networks_in_use() -> list[IPv4Network]:
    found = []
    for route in json.loads(_run("ip", "-4", "-json", "route", "show", "table", "all")):
        destination = route["dst"]
        if destination != "default":
            found.append(IPv4Network(destination, strict=False))
    return found


def _choose_network() -> IPv4Network:
    """Return a random network of the right size that no route of this machine touches.

    Raises:
        NetworkError: None was found.
    """
    used = _networks_in_use()
    first = int(_CANDIDATES.network_address)
    step = 2 ** (32 - _SIZE)
    for _ in range(_TRIES):
        number = secrets.randbelow(2 ** (_SIZE - _CANDIDATES.prefixlen))
        network = ipaddress.IPv4Network((first + number * step, _SIZE))
        if not any(network.overlaps(other) for other in used):
            return network
    message = f"no free /{_SIZE} network was found in {_CANDIDATES}"
    raise NetworkError(message)


def _kill_processes_in(namespace: str) -> None:
    """Kill, each by its id, what still runs in a namespace that a test cluster made."""
    for line in _run("ip", "netns", "pids", namespace).split():
        with suppress(ProcessLookupError):
            os.kill(int(line), signal.SIGKILL)


def _remove_namespace(namespace: str) -> None:
    _kill_processes_in(namespace)
    _run("ip", "netns", "delete", namespace)


def remove_stale_networks() -> list[str]:
    """Remove the namespaces whose makers are gone, and return their names.

    Safe to repeat: a namespace whose maker still runs is left alone.
    """
    if not _NAMESPACES.is_dir():
        return []
    stale = [
        entry.name
        for entry in _NAMESPACES.iterdir()
        if entry.name.startswith(_NAME_PREFIX) and not is_mark_alive(entry.name)
    ]
    for name in stale:
        _remove_namespace(name)
    return stale


@dataclass(frozen=True, slots=True)
class ClusterNetwork:
    """One namespace and its addresses; close it to remove it.

    Attributes:
        namespace: Its name, as ``ip netns`` shows it.
        interface: The machine's end of the cable.
        network: Everything below is in it.
    """

    namespace: str
    interface: str
    network: IPv4Network

    @classmethod
    def create(cls) -> Self:
        """Make the namespace and the cable, after removing those of runs that crashed.

        Raises:
            NetworkError: It cannot be made here.
        """
        _check_rights()
        with _one_at_a_time():
            remove_stale_networks()
            suffix = secrets.token_hex(4)
            made = cls(
                namespace=f"{_NAME_PREFIX}{process_mark()}-{suffix}",
                interface=f"gpd{suffix}",
                network=_choose_network(),
            )
            _run("ip", "netns", "add", made.namespace)
            try:
                made._connect()
            except NetworkError:
                made.close()
                raise
        return made

    def _connect(self) -> None:
        inside = ("ip", "-n", self.namespace)
        _run(
            *("ip", "link", "add", self.interface, "type", "veth"),
            *("peer", "name", "eth0", "netns", self.namespace),
        )
        _run("ip", "addr", "add", f"{self.host_address}/{_SIZE}", "dev", self.interface)
        _run("ip", "link", "set", self.interface, "up")
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "addr", "add", f"{self.api_address}/{_SIZE}", "dev", "eth0")
        _run(*inside, "link", "set", "eth0", "up")
        for free_to_bind in (self.nodes, self.pods):
            _run(*inside, "route", "add", "local", str(free_to_bind), "dev", "lo")

    @property
    def host_address(self) -> IPv4Address:
        """The root namespace's address, as control plane and pods reach it."""
        return self.network[1]

    @property
    def api_address(self) -> IPv4Address:
        """The API server's address."""
        return self.network[2]

    @property
    def nodes(self) -> IPv4Network:
        """The addresses nodes may have: reachable from both sides, free to bind inside."""
        return list(self.network.subnets(new_prefix=25))[1]

    @property
    def services(self) -> IPv4Network:
        """The cluster IPs of services: no packet ever goes there, nothing routes them."""
        return list(self.network.subnets(new_prefix=24))[1]

    @property
    def pods(self) -> IPv4Network:
        """The addresses pods may have: reachable from both sides, free to bind inside."""
        return list(self.network.subnets(new_prefix=23))[1]

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to write before a command to run it inside; it is replaced by the command."""
        return ("nsenter", f"--net={_NAMESPACES / self.namespace}", "--")

    @property
    def is_there(self) -> bool:
        """Whether the namespace still exists."""
        return (_NAMESPACES / self.namespace).exists()

    def close(self) -> None:
        """Kill what still runs inside, each process by its id, and remove the namespace.

        Safe to repeat: a namespace that is gone is left alone.
        """
        if self.is_there:
            _remove_namespace(self.namespace)
