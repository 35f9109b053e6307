"""Layers are unpacked into one directory, whatever they hold."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from gitopsd.errors import PermanentError
from gitopsd.sandbox.layers import unpack_layer


def _tar(*members: tuple[str, bytes, str], content: bytes = b"words") -> bytes:
    """An archive of (name, type, link)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, 0o4755
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(content) if member.size else None)
    return packed.getvalue()


def test_files_directories_and_links_are_unpacked(tmp_path: Path) -> None:
    """A later layer replaces what is there; rights of others and special bits are dropped."""
    first = _tar(
        ("./app", tarfile.DIRTYPE, ""),
        ("./app/run", tarfile.REGTYPE, ""),
        ("bin/run", tarfile.SYMTYPE, "/app/run"),
        ("bin/near", tarfile.SYMTYPE, "../app/run"),
        ("app/same", tarfile.LNKTYPE, "app/run"),
        ("dev/null", tarfile.CHRTYPE, ""),
    )
    unpack_layer(first, tmp_path)
    unpack_layer(_tar(("app/run", tarfile.REGTYPE, ""), content=b"newer"), tmp_path)

    assert (tmp_path / "app" / "run").read_bytes() == b"newer"
    assert (tmp_path / "bin" / "run").read_bytes() == b"newer"
    assert (tmp_path / "bin" / "near").read_bytes() == b"newer"
    assert (tmp_path / "app" / "same").read_bytes() == b"words"
    assert (tmp_path / "app" / "run").stat().st_mode & 0o7777 == 0o755
    assert not (tmp_path / "dev" / "null").exists()


@pytest.mark.parametrize(
    "members",
    [
        [("../out", tarfile.REGTYPE, "")],
        [("a/../../out", tarfile.REGTYPE, "")],
        [("..", tarfile.DIRTYPE, "")],
        [("link", tarfile.SYMTYPE, "../out")],
        [("a/link", tarfile.SYMTYPE, "../../out")],
        [("same", tarfile.LNKTYPE, "../out")],
        [("a", tarfile.DIRTYPE, ""), ("a/b", tarfile.SYMTYPE, "."), ("a/b/../../../out", b"0", "")],
    ],
)
def test_nothing_leads_out(members: list[tuple[str, bytes, str]], tmp_path: Path) -> None:
    """An entry or a link that leads out of the directory is refused."""
    (tmp_path / "out").write_text("kept")
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(PermanentError, match="leads out of it"):
        unpack_layer(_tar(*members), root)

    assert (tmp_path / "out").read_text() == "kept"


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    """Other bytes are no layer."""
    with pytest.raises(PermanentError, match="no archive"):
        unpack_layer(b"nothing of the kind" * 100, tmp_path)
