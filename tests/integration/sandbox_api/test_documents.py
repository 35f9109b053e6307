"""The sandbox's document is true: its commands work, and what it lists is what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from gitopsd.sandbox.api.dispatch import NEVER_DONE, say_kind
from gitopsd.sandbox.api.plain_paths import NEVER_PATHS
from gitopsd.sandbox.api.served import NEVER_KINDS, NEVER_SERVED
from tests.support.documents import read_document
from tests.support.processes import ServerProcess, wait_until

BIN = Path(sys.prefix) / "bin"


def test_its_commands_work(tmp_path: Path) -> None:
    """The first block starts it; the others work beside it, in a shell, without an error."""
    text = read_document("docs/sandbox.md")
    blocks = re.findall(r"(?:^ {4}\S.*\n)+", text, re.MULTILINE)
    start, *others = (re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in blocks)
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(tmp_path)}
    info = tmp_path / "sandbox.json"
    server = ServerProcess.start(
        "gitopsd sandbox",
        ["env", "--chdir", str(tmp_path), *start.split()],
        tmp_path / "log",
        environment=environment,
    )
    try:
        wait_until(info.exists, what="the sandbox", within=timedelta(seconds=30), servers=(server,))
        done = subprocess.run(
            ["sh", "-eu", "-c", "\n".join(others)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=40,
        )
    finally:
        server.stop()

    assert (done.returncode, done.stderr) == (0, "")
    assert "deployment.apps/web created" in done.stdout
    assert re.search(r"^web +0/1", done.stdout, re.MULTILINE)
    assert '"seq":1,' in done.stdout


def test_it_lists_everything_that_is_never_done() -> None:
    """Each part and each group that answers 501 has its row, and no row is for anything else."""
    _, _, after = read_document("docs/sandbox.md").partition("## What it never does\n")
    rows = re.findall(r"^\| (`.*?) \|", after, re.MULTILINE)
    listed = {code for row in rows for code in re.findall(r"`([^`]+)`", row)}

    parts = {f"{resource}/{part}" for resource, part in NEVER_DONE}
    kinds = {say_kind(*kind) for kind in NEVER_KINDS}
    assert listed == {*NEVER_SERVED, *parts, *kinds, *NEVER_PATHS}
