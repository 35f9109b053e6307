"""Which addresses mean the same repository."""

from __future__ import annotations

import pytest

from gitopsd.webhooks.urls import (
    RepositoryAddress,
    covers,
    drop_user,
    parse_repository_url,
    same_repository,
)


def _web(host: str, port: int | None, path: str) -> RepositoryAddress:
    return RepositoryAddress("web", host, port, path)


@pytest.mark.parametrize(
    "text, address",
    [
        ("https://git.example/team/app.git", _web("git.example", None, "team/app")),
        ("HTTPS://Git.Example./Team/App/", _web("git.example", None, "team/app")),
        ("http://git.example:80/app", _web("git.example", None, "app")),
        ("https://git.example:443/app", _web("git.example", None, "app")),
        ("https://git.example:80/app", _web("git.example", 80, "app")),
        ("https://bot:pw@git.example:8443//a//b", _web("git.example", 8443, "a/b")),
        ("https://git.example/a%20b?x=1#y", None),
        ("https://git.example/a%7Eb?x=1#y", _web("git.example", None, "a~b")),
        ("ssh://git@git.example:22/app", RepositoryAddress("ssh", "git.example", None, "app")),
        ("git+ssh://git.example:2222/app", RepositoryAddress("ssh", "git.example", 2222, "app")),
        ("git://git.example:9418/app", RepositoryAddress("git", "git.example", None, "app")),
        ("ssh://[::1]:2222/app", RepositoryAddress("ssh", "::1", 2222, "app")),
        ("git@git.example:team/app.git", RepositoryAddress("ssh", "git.example", None, "team/app")),
        ("git.example:/team/app", RepositoryAddress("ssh", "git.example", None, "team/app")),
        ("git@[::1]:app", RepositoryAddress("ssh", "::1", None, "app")),
        ("file:///srv/app.git", RepositoryAddress("file", "", None, "srv/app")),
        ("/srv/app.git", RepositoryAddress("file", "", None, "srv/app")),
        ("X.exampleX:Xa/bX", RepositoryAddress("ssh", "x.examplex", None, "xa/bx")),
        (" team/app ", RepositoryAddress("", "", None, "team/app")),
        ("https://git.example", _web("git.example", None, "")),
        ("app.git/", RepositoryAddress("", "", None, "app")),
        ("app/.git", RepositoryAddress("", "", None, "app")),
    ],
)
def test_addresses_are_normalised(text: str, address: RepositoryAddress | None) -> None:
    """Scheme, case, usual ports, ``.git``, slashes and user names do not matter."""
    assert parse_repository_url(text) == address


@pytest.mark.parametrize(
    "text",
    ["", " ", "/", ".git", "file:///", "https:///app", "https://[::1/app", "https://h:99999/app",
     "https://h:x/app", "ftp://h/app", "javascript://h/app", "a b", "a\x00b", "a\x7fb", "\udcff",
     "https://h/%0a", "https://h/a?b c", "https://h/%00x", "a" * 2049],
)  # fmt: skip
def test_other_texts_are_no_addresses(text: str) -> None:
    """What cannot be an address is None, never an error."""
    assert parse_repository_url(text) is None


def test_the_longest_address_is_read() -> None:
    """2048 characters are an address still."""
    assert parse_repository_url("a" * 2048) is not None


@pytest.mark.parametrize(
    "text, shown",
    [
        ("https://bot:pw@git.example:8443/Team/App.git", "git.example:8443/team/app"),
        ("git@git.example:team/app", "git.example/team/app"),
        ("team/app", "team/app"),
        ("/srv/app", "srv/app"),
    ],
)
def test_addresses_are_shown_without_users(text: str, shown: str) -> None:
    """A password in an address never reaches a message."""
    assert str(parse_repository_url(text)) == shown


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("https://git.example/team/app.git", "git@git.example:team/app.git", True),
        ("https://git.example:8443/a", "ssh://git@git.example:2222/a", True),
        ("https://git.example:8443/a", "https://git.example/a", False),
        ("ssh://git.example:2222/a", "git@git.example:a", False),
        ("http://git.example/a", "https://git.example/a", True),
        ("https://git.example/a", "https://other.example/a", False),
        ("https://git.example/a", "https://git.example/b", False),
        ("https://git.example/Team/A", "https://git.example/team/a", True),
        ("https://git.example/team/a", "team/a", True),
        ("team/a", "https://git.example/team/a", True),
        ("a", "https://git.example/team/a", False),
        ("/srv/a", "file:///srv/a", True),
        ("/srv/a", "https://git.example/srv/a", False),
        ("", "", False),
        ("https://git.example/a", "", False),
        ("", "https://git.example/a", False),
    ],
)
def test_the_same_repository_is_recognised(one: str, other: str, same: bool) -> None:
    """Transport does not matter; host, path, and ports of one transport do."""
    assert same_repository(one, other) is same


@pytest.mark.parametrize(
    "prefix, address, covered",
    [
        ("https://git.example/team", "git@git.example:team/app.git", True),
        ("https://git.example/team", "https://git.example/team", True),
        ("https://git.example/team", "https://git.example/teams/app", False),
        ("https://git.example/team/app", "https://git.example/team", False),
        ("https://git.example", "https://git.example/team/app", True),
        ("https://git.example", "https://other.example/team/app", False),
        ("https://git.example:1/team", "https://git.example:2/team/app", False),
        ("https://git.example/team", "team/app", True),
        ("ghcr.io/acme", "ghcr.io/acme/api", True),
        ("ghcr.io/acme", "ghcr.io/acmes", False),
        ("r.example:5000/acme", "r.example:5000/acme/api", True),
        ("", "https://git.example/team/app", False),
        ("https://git.example", "", False),
    ],
)
def test_prefixes_cover_what_lies_under_them(prefix: str, address: str, covered: bool) -> None:
    """A prefix ends at a slash, so a team does not cover its namesakes."""
    assert covers(prefix, address) is covered


@pytest.mark.parametrize(
    "url, shown",
    [
        ("https://bot:pw@git.example/a", "https://git.example/a"),
        ("https://bot:p@w@git.example/a", "https://git.example/a"),
        ("https://git.example/a@b", "https://git.example/a@b"),
        ("https://git.example?a=b@c", "https://git.example?a=b@c"),
        ("https://a@b@c", "https://c"),
        ("git@git.example:a", "git@git.example:a"),
    ],
)
def test_users_are_dropped(url: str, shown: str) -> None:
    """A password in a payload is neither stored nor shown."""
    assert drop_user(url) == shown
