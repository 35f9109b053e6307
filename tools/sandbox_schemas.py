"""Regenerates the sandbox's schemas from a real API server and the Go types it was built from.

Run it after the pinned Kubernetes changed: ``.venv/bin/python -m tools.sandbox_schemas``
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.support.control_plane import ControlPlane
from tests.support.sandbox_facts import collect_go_facts, collect_server_facts

_REPOSITORY = Path(__file__).resolve().parents[1]
_OUTPUT = _REPOSITORY / "gitopsd" / "sandbox" / "objects" / "schemas.json.gz"


def main() -> None:
    """Write the file."""
    with ControlPlane.start("schemas") as cluster:
        facts = collect_server_facts(cluster.client)
    envtest = _REPOSITORY / "tests" / "envtest" / "kubernetes"
    facts["zeros"] = collect_go_facts(facts["definitions"], envtest)
    text = json.dumps(facts, separators=(",", ":"), sort_keys=True)
    packed = gzip.compress(text.encode(), compresslevel=9, mtime=0)
    _OUTPUT.write_bytes(packed)
    print(f"{_OUTPUT.relative_to(_REPOSITORY)}: {len(packed)} bytes, {facts['version']}")


if __name__ == "__main__":
    main()
