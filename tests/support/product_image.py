"""The product as an image that the node agent runs: the checkout's own code, as the image says.

The Dockerfile cannot be built where no engine is. Its environment is taken from its text; code and
interpreter are those of the tests. A container of the node agent shares the node's files, so what
the pod sees as ``/etc/gitopsd`` and ``/data`` is found below the container's own root, and the
image's start rewrites those paths in settings and configuration. It has no token of a service
account either: ``inCluster`` becomes a kubeconfig of that account, made by the test.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.images import Image, build_image
from tests.support.projects import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENVIRONMENT = re.compile(r"^ENV (PATH=(?:.*\\\n)*.*)$", re.MULTILINE)

_START = """
import json, os, pathlib, sys
root = pathlib.Path(os.environ["CONTAINER_ROOT"])
facts = json.loads((root / "opt/gitopsd/facts.json").read_text())
if facts["fails"] and sys.argv[1:] == ["migrate"]:
    sys.exit("the tables cannot be migrated")
mounts = ("/etc/gitopsd/", "/data")
def inside(text):
    for mount in mounts:
        text = text.replace(mount, f"{root}{mount}")
    return text
given = {name: inside(text) for name, text in os.environ.items() if name.startswith("GITOPSD_")}
config = root / "rewritten"
for file in pathlib.Path(given["GITOPSD_CONFIG_DIR"]).glob("*.yaml"):
    config.mkdir(exist_ok=True)
    text = inside(file.read_text()).replace("inCluster: true", "kubeconfig: " + facts["kubeconfig"])
    (config / file.name).write_text(text)
config.mkdir(exist_ok=True)
for name in ("LISTEN", "METRICS_LISTEN"):
    port = given[f"GITOPSD_{name}"].rpartition(":")[2]
    given[f"GITOPSD_{name}"] = os.environ["BIND_ADDRESS"] + ":" + port
given |= {"GITOPSD_CONFIG_DIR": str(config), "GITOPSD_GIT__ALLOW_LOCAL": "true"}
del given["GITOPSD_RENDERER"]
environment = {"PATH": os.defpath, "PYTHONPATH": facts["code"], "HOSTNAME": os.environ["HOSTNAME"]}
os.execve(sys.executable, [sys.executable, "-m", "gitopsd", *sys.argv[1:]], environment | given)
"""


def read_environment() -> dict[str, str]:
    """Read the environment that the Dockerfile's last stage sets."""
    found = _ENVIRONMENT.findall((REPOSITORY / "Dockerfile").read_text())
    words = found[-1].replace("\\\n", " ").split()
    return dict(word.split("=", 1) for word in words)


def product_image(
    version: str, kubeconfig: Path | str = "", *, migrations_fail: bool = False
) -> Image:
    """Make the image.

    Args:
        version: Makes one differ from another.
        kubeconfig: What the cluster it runs in is reached with, for ``inCluster``.
        migrations_fail: Whether ``migrate`` fails, as with a broken database.
    """
    facts: Mapping[str, object] = {
        "code": str(REPOSITORY),
        "kubeconfig": str(kubeconfig),
        "fails": migrations_fail,
    }
    return build_image(
        version=version,
        behaviour={},
        runtime="process",
        entrypoint=["python3", "/opt/gitopsd/start.py"],
        files={
            "/opt/gitopsd/start.py": _START.encode(),
            "/opt/gitopsd/facts.json": json.dumps(facts).encode(),
        },
        env={
            name: text for name, text in read_environment().items() if name.startswith("GITOPSD_")
        },
    )
