"""Who is told the password: the configured place, and nobody else, in no log and no list."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from gitopsd.adapters.git.credentials import Login
from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.domain.sources import RepoURL
from gitopsd.errors import GitopsdError, PermanentError, TemporaryError
from tests.integration.git.conftest import LOGIN, Bench, Open
from tests.support.git_http import GitHost, run_git_http
from tests.support.git_processes import list_git_children, read_process_file
from tests.support.odd_servers import run_black_hole, run_recorder
from tests.support.repositories import MAIN


async def _fail(git: GitRepositories, url: RepoURL) -> GitopsdError:
    with pytest.raises(GitopsdError) as caught:
        await git.fetch_head(url, MAIN)
    return caught.value


async def test_wrong_password_waits_a_minute(bench: Bench, git: GitRepositories) -> None:
    """A refused password is trouble with the credential, to be tried again after a minute."""
    bench.host.create("shop.git").commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    bench.host.login = ("bot", "another")

    error = await _fail(git, bench.url())

    assert isinstance(error, TemporaryError)
    assert (error.reason, error.retry_after) == ("Credential", timedelta(seconds=60))
    assert "repository 'host' of config/repositories" in error.message
    assert LOGIN[1] not in error.message


async def test_missing_password_is_a_credential_problem(bench: Bench, git: GitRepositories) -> None:
    """A host that wants a password where none is configured is trouble with the credential."""
    bench.host.create("shop.git").commit({"a.txt": "1"})
    bench.specs.clear()

    assert (await _fail(git, bench.url())).reason == "Credential"
    assert {authorization for _, _, authorization in bench.host.requests} == {""}


async def test_rotated_password_is_used_at_the_next_fetch(
    bench: Bench, git: GitRepositories
) -> None:
    """The file is read at each fetch, so that a new password needs no restart."""
    sha = bench.host.create("shop.git").commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    bench.host.login = ("bot", "rotated")
    bench.write_password("rotated")

    head = await git.fetch_head(bench.url(), MAIN)

    assert head is not None
    assert head.commit.sha == sha


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect_target_hears_nothing(
    status: int, bench: Bench, git: GitRepositories
) -> None:
    """A host that redirects elsewhere is refused; the other host gets no request at all."""
    bench.host.create("shop.git").commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    async with run_recorder() as other:
        bench.host.answer = lambda request: web.Response(
            status=status, headers={"Location": f"{other.url}{request.path_qs}"}
        )

        error = await _fail(git, bench.url())

    assert isinstance(error, PermanentError)
    assert error.reason == "Redirected"
    assert other.received == []


async def test_redirect_of_a_first_fetch_hears_nothing(bench: Bench, git: GitRepositories) -> None:
    """The clone of a new mirror follows no redirect either."""
    async with run_recorder() as other:
        bench.host.answer = lambda request: web.Response(
            status=302, headers={"Location": f"{other.url}{request.path_qs}"}
        )

        error = await _fail(git, bench.url())

    assert error.reason == "Redirected"
    assert other.received == []


async def test_other_hosts_are_asked_without_the_password(
    git: GitRepositories, tmp_path: Path
) -> None:
    """Credentials go to addresses under their prefix alone, not to another port of the host."""
    async with run_git_http(tmp_path / "others", login=LOGIN) as other:
        other.create("shop.git").commit({"a.txt": "1"})

        error = await _fail(git, RepoURL(other.address("shop.git")))

        assert error.reason == "Credential"
        assert {authorization for _, _, authorization in other.requests} == {""}


async def test_longest_prefix_wins(bench: Bench, git: GitRepositories) -> None:
    """Of two configured prefixes the longer one's credentials are used, by whole segments."""
    bench.host.create("team/shop.git").commit({"a.txt": "1"})
    bench.configure(f"{bench.host.url}/te", password="wrong")
    head = await git.fetch_head(bench.url("team/shop.git"), MAIN)
    bench.configure(f"{bench.host.url}/team", password="wrong")

    assert head is not None
    assert (await _fail(git, bench.url("team/shop.git"))).reason == "Credential"


@pytest.mark.parametrize(
    "content,problem", [(None, "cannot be read"), ("", "is empty"), ("\n", "is empty")]
)
async def test_unusable_password_file_is_named(
    content: str | None, problem: str, bench: Bench, git: GitRepositories
) -> None:
    """A password file that is missing or empty is an error that names it."""
    file = bench.write_password(content)

    error = await _fail(git, bench.url())

    assert isinstance(error, PermanentError)
    assert f"passwordFile {file} {problem}" in error.message


async def test_password_is_in_no_list_of_processes(bench: Bench, open_git: Open) -> None:
    """While a child fetches, neither its arguments nor its environment hold the password."""
    git = open_git(quick=False)
    async with run_black_hole(b"libgit2") as silent:
        bench.configure(silent.url)
        fetching = asyncio.create_task(git.fetch_head(RepoURL(f"{silent.url}/shop.git"), MAIN))
        await silent.connected.wait()

        (child,) = list_git_children()
        facts = [read_process_file(child, name) for name in ("cmdline", "environ")]
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching

    assert all(LOGIN[1].encode() not in fact for fact in facts)
    assert b"gitopsd.adapters.git.child" in facts[0]


async def test_password_is_on_no_disk(bench: Bench, git: GitRepositories) -> None:
    """A mirror's files hold neither the password nor the user name."""
    bench.host.create("shop.git").commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)

    files = [path for path in (bench.directory / "mirrors").rglob("*") if path.is_file()]

    assert files
    assert [path for path in files if LOGIN[1].encode() in path.read_bytes()] == []


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[GitHost, Path]]:
    """A host over HTTPS, and the file with its authority's certificate."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    async with run_git_http(tmp_path / "secure", login=LOGIN, tls=context) as host:
        host.create("shop.git").commit({"a.txt": "1"})
        yield host, ca_file


async def test_certificate_of_a_configured_authority_is_accepted(
    bench: Bench, git: GitRepositories, secure: tuple[GitHost, Path]
) -> None:
    """A host whose certificate the configured CA signed is fetched from."""
    host, ca_file = secure
    bench.configure(host.url, ca_file=str(ca_file))

    for _ in range(2):
        assert await git.fetch_head(RepoURL(host.address("shop.git")), MAIN) is not None


async def test_unknown_certificate_gets_no_password(
    bench: Bench, git: GitRepositories, secure: tuple[GitHost, Path]
) -> None:
    """A host whose certificate nobody known signed is sent nothing, and the error says caFile."""
    host, ca_file = secure
    url = RepoURL(host.address("shop.git"))
    spec = bench.configure(host.url, ca_file=str(ca_file))
    await git.fetch_head(url, MAIN)
    await git.close()
    host.requests.clear()
    bench.specs.remove(spec)
    bench.configure(host.url)

    error = await _fail(git, url)

    assert error.reason == "Certificate"
    assert "caFile" in error.message
    assert host.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "/srv/git/shop.git",
        "file:///srv/git/shop.git",
        "../shop.git",
        "git://git.example.test/shop.git",
        "ext::sh -c whoami",
        "ftp://git.example.test/shop.git",
        "https://",
        "https://git.example.test",
        "https://git.example.test/../etc/x.git",
        "https://git.example.test/shop.git?x=y",
        "https://git.example.test/shop.git\n",
        "https://git.example.test:port/shop.git",
        "ssh://bot:secret@git.example.test/shop.git",
        "-u./payload",
        "",
    ],
)
async def test_addresses_of_other_kinds_are_refused(url: str, open_git: Open) -> None:
    """Paths, programs and unprotected protocols are refused with what to write instead."""
    error = await _fail(open_git(), RepoURL(url))

    assert isinstance(error, PermanentError)
    assert error.reason == "RepositoryAddress"
    assert "; write " in error.message
    assert "secret" not in error.message


async def test_credentials_in_an_address_are_refused_and_not_told(open_git: Open) -> None:
    """A password in the configuration file is refused, and the refusal does not repeat it."""
    error = await _fail(open_git(), RepoURL("https://bot:hunter2@git.example.test/shop.git"))

    assert isinstance(error, PermanentError)
    assert "hunter2" not in error.message
    assert "config/repositories" in error.message


def test_login_is_not_shown_with_its_password() -> None:
    """What ends in a traceback or a log shows no password."""
    assert "hunter2" not in repr(Login("bot", "hunter2"))
