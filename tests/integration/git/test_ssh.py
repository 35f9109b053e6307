"""Git over SSH from a real sshd: the right host key, the wrong one, and none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.domain.sources import PushSpec, RepositorySpec, RepoURL
from gitopsd.errors import TemporaryError
from gitopsd.source_ports import CommitDraft
from tests.integration.git.conftest import Bench, Open
from tests.support.repositories import MAIN, BareRepository
from tests.support.sshd import SshHost, make_key, run_sshd


@dataclass
class SshBench:
    """A host with one repository, and what the configuration says about it.

    Attributes:
        host: The server.
        repository: A repository on it.
        known_hosts: The configured file.
        bench: Holds the configured credentials.
    """

    host: SshHost
    repository: BareRepository
    known_hosts: Path
    bench: Bench

    @property
    def url(self) -> RepoURL:
        """Address of the repository."""
        return RepoURL(self.host.address(self.repository.path))

    def configure(self, **more: str) -> None:
        """Configure the host."""
        fields: dict[str, Any] = {
            "ssh_key_file": str(self.host.key_file),
            "known_hosts_file": str(self.known_hosts),
            **more,
        }
        prefix = f"ssh://{self.host.user}@127.0.0.1:{self.host.port}"
        self.bench.specs[:] = [RepositorySpec("ssh", prefix, **fields)]

    def allow_pushes(self, key: Path) -> None:
        """Configure a key for pushes."""
        spec = self.bench.specs[0]
        self.bench.specs[:] = [replace(spec, push=PushSpec(ssh_key_file=str(key)))]


@pytest.fixture
async def ssh(bench: Bench, tmp_path: Path) -> AsyncIterator[SshBench]:
    """A running server whose key is known."""
    async with run_sshd(tmp_path / "sshd") as host:
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(f"# a comment\n{host.known_hosts_line}\n", encoding="ascii")
        ssh = SshBench(host, bench.host.create("over-ssh.git"), known_hosts, bench)
        ssh.configure()
        yield ssh


@pytest.fixture
def git(open_git: Open) -> GitRepositories:
    """The adapter."""
    return open_git()


async def _fail(git: GitRepositories, ssh: SshBench) -> TemporaryError:
    with pytest.raises(TemporaryError) as caught:
        await git.fetch_head(ssh.url, MAIN)
    return caught.value


async def test_known_host_is_fetched_from(ssh: SshBench, git: GitRepositories) -> None:
    """With the right host key and the right client key, pushes are followed."""
    first = ssh.repository.commit({"a.txt": "1"})
    head = await git.fetch_head(ssh.url, MAIN)
    second = ssh.repository.commit({"a.txt": "2"})
    next_head = await git.fetch_head(ssh.url, MAIN, previous=first)

    assert head is not None
    assert next_head is not None
    assert (head.commit.sha, next_head.commit.sha) == (first, second)


async def test_unknown_host_is_refused_with_the_line_to_add(
    ssh: SshBench, git: GitRepositories
) -> None:
    """A host whose key is not in the file is refused; the error names file and command."""
    ssh.repository.commit({"a.txt": "1"})
    key = ssh.host.host_key
    ssh.known_hosts.write_text(f"other.example.test {key}\n", encoding="ascii")

    error = await _fail(git, ssh)

    assert error.reason == "HostKey"
    assert f"[127.0.0.1]:{ssh.host.port} is not in {ssh.known_hosts}" in error.message
    assert f"`ssh-keyscan -p {ssh.host.port} 127.0.0.1`" in error.message


async def test_wrong_host_key_is_refused_as_such(
    ssh: SshBench, git: GitRepositories, tmp_path: Path
) -> None:
    """A host that shows another key than the known one is refused, and the error says so."""
    ssh.repository.commit({"a.txt": "1"})
    other = make_key(tmp_path / "other")
    ssh.known_hosts.write_text(f"[127.0.0.1]:{ssh.host.port} {other}\n", encoding="ascii")

    error = await _fail(git, ssh)

    assert error.reason == "HostKey"
    assert f"shows another key than {ssh.known_hosts} holds" in error.message


async def test_known_hosts_are_read_at_each_fetch(ssh: SshBench, git: GitRepositories) -> None:
    """Adding the line to the file is enough; removing it counts too."""
    ssh.repository.commit({"a.txt": "1"})
    ssh.known_hosts.write_text("", encoding="ascii")
    assert (await _fail(git, ssh)).reason == "HostKey"
    ssh.known_hosts.write_text(f"{ssh.host.known_hosts_line}\n", encoding="ascii")
    assert await git.fetch_head(ssh.url, MAIN) is not None
    ssh.known_hosts.write_text("", encoding="ascii")

    assert (await _fail(git, ssh)).reason == "HostKey"


async def test_lines_that_mean_nothing_here_are_passed_over(
    ssh: SshBench, git: GitRepositories
) -> None:
    """Comments, unknown key types and broken lines beside the right one do no harm."""
    ssh.repository.commit({"a.txt": "1"})
    odd = "# words\n\nhost ssh-dss AAAA\nhost ssh-rsa !!\n@cert-authority * ssh-rsa AAAA\nhost\n"
    ssh.known_hosts.write_text(f"{odd}{ssh.host.known_hosts_line} a comment\n", encoding="ascii")

    assert await git.fetch_head(ssh.url, MAIN) is not None


async def test_revoked_key_is_refused(ssh: SshBench, git: GitRepositories) -> None:
    """A host key that is marked as revoked is not accepted, though it is listed too."""
    ssh.repository.commit({"a.txt": "1"})
    text = f"{ssh.host.known_hosts_line}\n@revoked * {ssh.host.host_key}\n"
    ssh.known_hosts.write_text(text, encoding="ascii")

    assert (await _fail(git, ssh)).reason == "HostKey"


async def test_hashed_host_name_is_recognised(ssh: SshBench, git: GitRepositories) -> None:
    """A line whose host name is hashed, as ssh-keygen -H writes it, accepts the host."""
    ssh.repository.commit({"a.txt": "1"})
    hashing = await asyncio.create_subprocess_exec(
        "ssh-keygen", "-q", "-H", "-f", str(ssh.known_hosts)
    )
    assert await hashing.wait() == 0
    assert "127.0.0.1" not in ssh.known_hosts.read_text(encoding="ascii")

    assert await git.fetch_head(ssh.url, MAIN) is not None


async def test_without_known_hosts_no_host_is_accepted(ssh: SshBench, git: GitRepositories) -> None:
    """Without a file of host keys nobody is even spoken to."""
    ssh.repository.commit({"a.txt": "1"})
    ssh.configure(known_hosts_file="")

    error = await _fail(git, ssh)

    assert error.reason == "HostKey"
    assert "knownHostsFile in repository 'ssh'" in error.message


async def test_unconfigured_host_is_not_accepted(ssh: SshBench, git: GitRepositories) -> None:
    """A host that no configuration covers is refused, with where to configure it."""
    ssh.bench.specs.clear()

    error = await _fail(git, ssh)

    assert error.reason == "HostKey"
    assert "knownHostsFile in config/repositories" in error.message


async def test_developer_s_own_known_hosts_do_not_count(
    ssh: SshBench, git: GitRepositories, tmp_path: Path
) -> None:
    """Host keys in somebody's home directory accept nobody."""
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True)
    (home / "known_hosts").write_text(f"{ssh.host.known_hosts_line}\n", encoding="ascii")
    ssh.known_hosts.write_text("", encoding="ascii")

    assert (await _fail(git, ssh)).reason == "HostKey"


async def test_refused_client_key_is_a_credential_problem(
    ssh: SshBench, git: GitRepositories, tmp_path: Path
) -> None:
    """A key that the server does not admit is trouble with the credential."""
    ssh.repository.commit({"a.txt": "1"})
    make_key(tmp_path / "stranger")
    ssh.configure(ssh_key_file=str(tmp_path / "stranger"))

    assert (await _fail(git, ssh)).reason == "Credential"


async def test_a_commit_is_pushed_with_the_key_that_may_write(
    ssh: SshBench, git: GitRepositories, tmp_path: Path
) -> None:
    """Known hosts count as for fetching; the key that reads is not tried in the other's place."""
    first = ssh.repository.commit({"a.txt": "1"})
    await git.fetch_head(ssh.url, MAIN)
    ssh.allow_pushes(ssh.host.key_file)
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    sha = await git.write_commit(ssh.url, CommitDraft(first, {"a.txt": b"2"}, "Again", at))

    ssh.known_hosts.write_text("", encoding="ascii")
    with pytest.raises(TemporaryError) as unknown:
        await git.push_commit(ssh.url, MAIN, sha, onto=first)
    ssh.known_hosts.write_text(f"{ssh.host.known_hosts_line}\n", encoding="ascii")
    make_key(tmp_path / "stranger")
    ssh.allow_pushes(tmp_path / "stranger")
    with pytest.raises(TemporaryError) as refused:
        await git.push_commit(ssh.url, MAIN, sha, onto=first)
    assert (unknown.value.reason, refused.value.reason) == ("HostKey", "Credential")
    assert ssh.repository.head() == first

    ssh.allow_pushes(ssh.host.key_file)
    assert await git.push_commit(ssh.url, MAIN, sha, onto=first) is None
    assert ssh.repository.head() == sha
