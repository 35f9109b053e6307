"""Where a result was measured, and where it is kept."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from gitopsd import __version__
from gitopsd.domain.manifests import Json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
KUBECTL = Path(sys.prefix) / "bin" / "kubectl"


def find_commit() -> str:
    """Tell the commit that is measured, with ``+`` when the tree differs from it."""
    commit = _say("git", "-C", str(ROOT), "rev-parse", "HEAD")
    changed = _say("git", "-C", str(ROOT), "status", "--porcelain", "--", "gitopsd")
    return f"{commit}+" if changed else commit


def find_versions() -> dict[str, Json]:
    """Tell what the figures depend on."""
    kubectl = json.loads(_say(str(KUBECTL), "version", "--client", "-o", "json") or "{}")
    return {
        "gitopsd": __version__,
        "python": platform.python_version(),
        "kubectl": kubectl.get("clientVersion", {}).get("gitVersion", ""),
        "git": _say("git", "--version").removeprefix("git version "),
        "linux": platform.release(),
        "cpus": os.cpu_count() or 0,
    }


def save_result(name: str, result: Mapping[str, Json], folder: Path = RESULTS) -> Path:
    """Write a result to its file, in one piece."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    draft.replace(path)
    return path


def _say(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return result.stdout.strip()
