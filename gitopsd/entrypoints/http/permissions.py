"""Who may do what: roles from the token and from ``people.yaml``, limited by the token's scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gitopsd.domain.people import People
from gitopsd.domain.work import Token


class Access(Enum):
    """What a route asks of its caller."""

    PUBLIC = "Public"
    READ = "Read"
    DEPLOY = "Deploy"
    APPROVE = "Approve"
    SKIP_GATE = "SkipGate"
    ADMIN = "Admin"

    @property
    def words(self) -> str:
        """What the caller wants to do, before the name of what it is done to."""
        return _WORDS.get(self.value, self.value.lower())


_WORDS: Mapping[str, str] = {"SkipGate": "skip gates of"}


ROLES: Mapping[str, frozenset[Access]] = {
    "viewer": frozenset({Access.READ}),
    "deployer": frozenset({Access.READ, Access.DEPLOY}),
    "approver": frozenset({Access.READ, Access.APPROVE}),
    "skip-gate": frozenset({Access.READ, Access.SKIP_GATE}),
    "admin": frozenset(Access) - {Access.PUBLIC},
}
"""What each role allows."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role, and the applications it counts for.

    Attributes:
        role: Name of the role.
        applications: Applications; empty for all.
    """

    role: str
    applications: frozenset[str] = frozenset()

    def allows(self, access: Access, application: str | None) -> bool:
        """Tell whether it allows something to an application; to all of them when None."""
        if access not in ROLES.get(self.role, frozenset()):
            return False
        return not self.applications or application in self.applications


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, as the credential says.

    Attributes:
        token: Id of the token.
        subject: Stable name.
        groups: Groups, from the token and from ``people.yaml``.
        grants: Roles that were found.
        applications: Applications that the token is limited to; empty for all.
    """

    token: str
    subject: str
    groups: tuple[str, ...]
    grants: tuple[Grant, ...]
    applications: frozenset[str] = frozenset()

    def may(self, access: Access, application: str) -> bool:
        """Tell whether the caller may do something to an application."""
        if self.applications and application not in self.applications:
            return False
        return any(grant.allows(access, application) for grant in self.grants)

    def may_anywhere(self, access: Access) -> bool:
        """Tell whether the caller may do it to some application, known or not yet known."""
        return any(self._reaches(grant) for grant in self._granting(access))

    def may_everywhere(self, access: Access) -> bool:
        """Tell whether the caller may do it to every application, and to what belongs to none."""
        return not self.applications and any(
            grant.allows(access, None) for grant in self._granting(access)
        )

    def _granting(self, access: Access) -> tuple[Grant, ...]:
        return tuple(grant for grant in self.grants if access in ROLES.get(grant.role, frozenset()))

    def _reaches(self, grant: Grant) -> bool:
        both = bool(grant.applications) and bool(self.applications)
        return not both or bool(grant.applications & self.applications)


def compute_principal(token: Token, people: People) -> Principal:
    """Work out who a valid token's bearer is and what the bearer may do."""
    groups = set(token.groups)
    for person in people.persons:
        if person.subject == token.subject:
            groups |= set(person.groups)
    mine = {f"user:{token.subject}", *(f"group:{group}" for group in groups)}
    grants = [
        Grant(binding.role, frozenset(binding.applications))
        for binding in people.bindings
        if mine & set(binding.subjects)
    ]
    if token.role:
        grants.append(Grant(token.role))
    return Principal(
        token=token.id,
        subject=token.subject,
        groups=tuple(sorted(groups)),
        grants=tuple(grants),
        applications=frozenset(token.applications),
    )
