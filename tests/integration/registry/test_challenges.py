"""How registries say that they want to be logged in to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.adapters.registry.challenges import Challenge, parse_challenges


@pytest.mark.parametrize(
    "header, challenges",
    [
        ("", ()),
        ("Basic", (Challenge("basic"),)),
        ('Basic realm="x"', (Challenge("basic", {"realm": "x"}),)),
        (
            (
                'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
                'scope="repository:library/nginx:pull"'
            ),
            (
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/nginx:pull",
                    },
                ),
            ),
        ),
        (
            'Bearer realm="a", Basic realm="b"',
            (Challenge("bearer", {"realm": "a"}), Challenge("basic", {"realm": "b"})),
        ),
        ("Negotiate, Basic realm=b", (Challenge("negotiate"), Challenge("basic", {"realm": "b"}))),
        (
            'BEARER Realm = "a" , service = b',
            (Challenge("bearer", {"realm": "a", "service": "b"}),),
        ),
        (r'Bearer realm="a\"b\\c,d"', (Challenge("bearer", {"realm": 'a"b\\c,d'}),)),
        ('Bearer realm="a",realm="b"', (Challenge("bearer", {"realm": "a"}),)),
        ('"odd"', ()),
    ],
)
def test_challenges_are_read(header: str, challenges: tuple[Challenge, ...]) -> None:
    """Schemes and parameters are read in any of their spellings (RFC 9110, 11.6.1)."""
    assert parse_challenges(header) == challenges


@given(st.text(max_size=300))
def test_any_header_is_read_or_not(header: str) -> None:
    """Whatever a registry says, reading it ends and never fails."""
    assert isinstance(parse_challenges(header), tuple)


def test_a_long_header_is_read_as_far_as_it_goes() -> None:
    """Only so much of it is looked at."""
    assert len(parse_challenges("Basic, " * 100_000)) < 2000
