"""The tests' cluster for people: ``python -m tests.support.cluster --info FILE``.

It stays in the foreground until Ctrl-C or SIGTERM and leaves nothing running. FILE is written when
the cluster is ready, all at once, and removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.control_plane import ControlPlane, NotBuiltError
from tests.support.netns import NetworkError
from tests.support.node_agent import Node, start_node
from tests.support.processes import ServerEndedError, ServerProcess, WaitTimeoutError
from tests.support.registry import RegistryError, RegistryServer

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CANNOT_RUN = (NotBuiltError, NetworkError, RegistryError, ServerEndedError, WaitTimeoutError)
_WELCOME = """\
A Kubernetes cluster is ready ({api}). Ctrl-C ends it.

  export KUBECONFIG={kubeconfig}
  {kubectl} get namespaces
  {kubectl} --kubeconfig {gitopsdKubeconfig} auth whoami

  registry   {registry} (plain HTTP; pods get every image from it, whatever host they name)
  audit log  {audit}
  all of it  {info}
"""


class _EndRequestedError(BaseException):
    """A signal asked for the end; no handler of ordinary errors may swallow it."""


def _request_end(_number: int, _frame: FrameType | None) -> None:
    """Begin an orderly end; more signals do not disturb it."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise _EndRequestedError


def describe(cluster: ControlPlane, node: Node, registry: RegistryServer) -> dict[str, Any]:
    """Return what FILE holds."""
    network = cluster.network
    return {
        "pid": os.getpid(),
        "api": cluster.url,
        "kubeconfig": str(cluster.admin_kubeconfig),
        "gitopsdKubeconfig": str(cluster.gitopsd_kubeconfig()),
        "registry": registry.host,
        "audit": str(cluster.paths.audit),
        "logs": str(cluster.paths.records),
        "node": node.name,
        "pids": {
            **{name: server.pid for name, server in cluster.servers.items()},
            node.name: node.process.pid,
        },
        "network": {
            "namespace": network.namespace,
            "host": str(network.host_address),
            "nodes": str(network.nodes),
            "pods": str(network.pods),
        },
    }


def save_info(path: Path, document: dict[str, Any]) -> None:
    """Write ``document`` so that a reader sees all of it or no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _wait_for_an_end(servers: Sequence[ServerProcess]) -> None:
    """Block until a signal comes; raise when a server ends by itself.

    Raises:
        ServerEndedError: One of ``servers`` ended.
    """
    ended = select.poll()
    for server in servers:
        ended.register(server.pidfd, select.POLLIN)
    ended.poll()
    for server in servers:
        server.check()


@contextmanager
def _removed_at_the_end(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _run(info: Path, name: str) -> None:
    with ExitStack() as at_the_end:
        cluster = at_the_end.enter_context(ControlPlane.start(name))
        listen = f"{cluster.network.host_address}:0"
        content = cluster.paths.private / "registry"
        registry = at_the_end.enter_context(RegistryServer(content, listen))
        node = start_node(cluster, registry.url, cluster.paths.records)
        at_the_end.callback(node.stop)
        document = describe(cluster, node, registry)
        at_the_end.enter_context(_removed_at_the_end(info))
        save_info(info, document)
        kubectl = Path(sys.prefix) / "bin" / "kubectl"
        sys.stdout.write(_WELCOME.format(**document, info=info, kubectl=kubectl))
        sys.stdout.flush()
        _wait_for_an_end((*cluster.servers.values(), node.process))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cluster until asked to end; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.support.cluster", description=__doc__)
    parser.add_argument("--info", type=Path, required=True, help="where to say what runs where")
    parser.add_argument("--name", default="cluster", help="what its logs are filed under")
    options = parser.parse_args(arguments)
    for number in _SIGNALS:
        signal.signal(number, _request_end)
    try:
        _run(options.info, options.name)
    except _EndRequestedError:
        return 0
    except _CANNOT_RUN as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
