"""Who may do what, from tokens and people.yaml."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gitopsd.domain.people import People, Person, RoleBinding
from gitopsd.domain.work import Token
from gitopsd.entrypoints.http.permissions import Access, compute_principal

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


def token(role: str = "", *applications: str, groups: tuple[str, ...] = ()) -> Token:
    """A token of kim."""
    return Token("t-1", "hash", "kim", groups, role, applications, NOON)


@pytest.mark.parametrize(
    "role,allowed",
    [
        ("viewer", {Access.READ}),
        ("deployer", {Access.READ, Access.DEPLOY}),
        ("approver", {Access.READ, Access.APPROVE}),
        ("skip-gate", {Access.READ, Access.SKIP_GATE}),
        ("admin", {Access.READ, Access.DEPLOY, Access.APPROVE, Access.SKIP_GATE, Access.ADMIN}),
        ("", set()),
        ("emperor", set()),
    ],
)
def test_what_each_role_allows(role: str, allowed: set[Access]) -> None:
    """A role allows its part, everywhere; none, or one nobody knows, allows nothing."""
    principal = compute_principal(token(role), People())

    for access in Access:
        expected = access in allowed
        assert principal.may(access, "shop") is expected
        assert principal.may_anywhere(access) is expected
        assert principal.may_everywhere(access) is expected


def test_a_token_narrows_what_its_bearer_may() -> None:
    """A token for one application is worth nothing elsewhere, whatever its role."""
    principal = compute_principal(token("admin", "shop"), People())

    assert principal.may(Access.DEPLOY, "shop")
    assert not principal.may(Access.DEPLOY, "other")
    assert principal.may_anywhere(Access.DEPLOY)
    assert not principal.may_everywhere(Access.READ)


def test_roles_come_from_subjects_and_groups() -> None:
    """Bindings name users or groups; groups come from the token and from people.yaml."""
    people = People(
        persons=(Person("kim", groups=("ops",)), Person("sam", groups=("cooks",))),
        bindings=(
            RoleBinding("viewer", ("user:kim",)),
            RoleBinding("deployer", ("group:ops",), ("shop",)),
            RoleBinding("approver", ("group:bots",), ("shop",)),
            RoleBinding("admin", ("group:cooks", "user:sam")),
        ),
    )
    plain = compute_principal(token(), people)
    bot = compute_principal(token(groups=("bots",)), people)

    assert plain.groups == ("ops",)
    assert bot.groups == ("bots", "ops")
    assert plain.may(Access.READ, "other")
    assert plain.may(Access.DEPLOY, "shop")
    assert not plain.may(Access.DEPLOY, "other")
    assert not plain.may_everywhere(Access.DEPLOY)
    assert not plain.may(Access.APPROVE, "shop")
    assert bot.may(Access.APPROVE, "shop")
    assert not plain.may_anywhere(Access.ADMIN)


def test_a_role_elsewhere_and_a_narrow_token_do_not_add_up() -> None:
    """A role for one application and a token for another allow nothing anywhere."""
    people = People(bindings=(RoleBinding("deployer", ("user:kim",), ("shop",)),))
    apart = compute_principal(token("", "other"), people)
    together = compute_principal(token("", "shop", "other"), people)

    assert not apart.may_anywhere(Access.DEPLOY)
    assert not apart.may(Access.DEPLOY, "shop")
    assert together.may_anywhere(Access.DEPLOY)
    assert together.may(Access.DEPLOY, "shop")
    assert not together.may(Access.DEPLOY, "other")
