"""The reference: what a careful person would put into a loop of a shell."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.records import KUBECTL

_DONE = "round done"


class ReferenceFailedError(Exception):
    """A command of the shell failed; the message is what it said."""


@dataclass(slots=True)
class ReferenceShell:
    """One warm shell in a clone of the repository.

    Attributes:
        clone: The work tree.
        overlay: Overlay that it applies.
        namespace: Where it applies it.
        kubeconfig: Who it is to the API server.
        home: Holds kubectl's cache of what the server serves.
    """

    clone: Path
    overlay: str
    namespace: str
    kubeconfig: Path
    home: Path
    _shell: subprocess.Popen[str] | None = None

    def start(self, address: str) -> Self:
        """Clone, and start the shell."""
        self.home.mkdir(parents=True, exist_ok=True)
        environment = {"HOME": str(self.home), "PATH": f"{KUBECTL.parent}:/usr/bin:/bin"}
        subprocess.run(
            ["git", "clone", "--quiet", address, str(self.clone)], check=True, env=environment
        )
        self._shell = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=self.clone,
        )
        return self

    def run(self) -> None:
        """Fetch, reset, render and apply, as one line of shell.

        Raises:
            ReferenceFailedError: A command failed.
        """
        shell = self._shell
        if shell is None or shell.stdin is None or shell.stdout is None:
            raise ReferenceFailedError("the shell was not started")
        kubectl = f"kubectl --kubeconfig={self.kubeconfig} --namespace={self.namespace}"
        shell.stdin.write(
            "set -o pipefail; git fetch --quiet origin main && git reset --quiet --hard FETCH_HEAD "
            f"&& kubectl kustomize {self.overlay} "
            f"| {kubectl} apply --server-side --force-conflicts -f - ; echo '{_DONE}' $?\n"
        )
        shell.stdin.flush()
        said: list[str] = []
        for line in shell.stdout:
            if line.startswith(_DONE):
                if line.split()[-1] != "0":
                    raise ReferenceFailedError("".join(said))
                return
            said.append(line)
        raise ReferenceFailedError("the shell ended: " + "".join(said))

    def stop(self) -> None:
        """End the shell."""
        if self._shell is not None:
            self._shell.communicate()
