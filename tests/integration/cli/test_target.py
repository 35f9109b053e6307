"""Where the server is and who asks: flags, variables, the local data directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitopsd.cli.client import Target, find_target
from gitopsd.errors import PermanentError


def local(directory: Path) -> str:
    """A data directory with a running process and its first token."""
    (directory / "info.json").write_text(json.dumps({"api": "http://127.0.0.1:8080"}))
    (directory / "admin.token").write_text("local\n")
    return str(directory)


def test_the_local_process_is_found_without_a_word(tmp_path: Path) -> None:
    """Address and token come from the data directory."""
    environment = {"GITOPSD_DATA_DIR": local(tmp_path)}

    assert find_target("", "", environment) == Target("http://127.0.0.1:8080", "local")


def test_flags_win_over_variables_and_both_over_the_data_directory(tmp_path: Path) -> None:
    """Server and token are found independently of each other."""
    named = tmp_path / "named"
    named.write_text("of the file\n")
    environment = {
        "GITOPSD_DATA_DIR": local(tmp_path),
        "GITOPSD_SERVER": "https://gitopsd.example/",
        "GITOPSD_TOKEN": "of the variable",
    }

    assert find_target("", "", environment) == Target("https://gitopsd.example", "of the variable")
    assert find_target("http://other:1", str(named), environment) == Target(
        "http://other:1", "of the file"
    )
    assert find_target(
        "", "", {**environment, "GITOPSD_TOKEN": "", "GITOPSD_TOKEN_FILE": str(named)}
    ) == Target("https://gitopsd.example", "of the file")


def test_the_local_token_is_never_sent_elsewhere(tmp_path: Path) -> None:
    """Another server needs a token of its own."""
    environment = {"GITOPSD_DATA_DIR": local(tmp_path), "GITOPSD_SERVER": "https://other.example"}

    with pytest.raises(PermanentError, match="no token: set GITOPSD_TOKEN or GITOPSD_TOKEN_FILE"):
        find_target("", "", environment)


@pytest.mark.parametrize(
    "info,message",
    [
        (None, r"no server: .*info.json cannot be read. Give --server or set GITOPSD_SERVER"),
        ("{", "no server"),
        ("{}", "no server"),
        ('{"api": ""}', "'' is no server; write http://HOST:PORT or https://HOST"),
    ],
)
def test_no_server_says_what_to_give(tmp_path: Path, info: str | None, message: str) -> None:
    """Nothing here, or nothing readable: the sentence says what to do."""
    local(tmp_path)
    (tmp_path / "info.json").unlink()
    if info is not None:
        (tmp_path / "info.json").write_text(info)

    with pytest.raises(PermanentError, match=message):
        find_target("", "", {"GITOPSD_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize("server", ["gitopsd.example", "ftp://gitopsd.example", "http://"])
def test_what_is_no_address_of_a_server(server: str) -> None:
    """Only HTTP and HTTPS addresses are servers."""
    with pytest.raises(PermanentError, match="is no server"):
        find_target(server, "", {"GITOPSD_TOKEN": "x"})


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(PermanentError, match=r"token file .*none cannot be read: No such file"):
        find_target("http://x", str(tmp_path / "none"), {})


def test_a_first_token_that_was_given_is_found_too(tmp_path: Path) -> None:
    """Where the service's own setting names its file, that is the one; a hash is none."""
    given = tmp_path / "given"
    given.write_text("given\n")
    environment = {"GITOPSD_DATA_DIR": local(tmp_path), "GITOPSD_FIRST_TOKEN_FILE": str(given)}
    elsewhere = {**environment, "GITOPSD_SERVER": "https://other.example"}

    assert find_target("", "", environment).token == "given"
    with pytest.raises(PermanentError, match="no token: set GITOPSD_TOKEN"):
        find_target("", "", elsewhere)
    given.write_text("sha256:0123")
    with pytest.raises(PermanentError, match="holds only the hash"):
        find_target("", "", environment)
