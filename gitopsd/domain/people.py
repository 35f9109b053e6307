"""Who is known, and who may do what."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NOREPLY = re.compile(r"(?:[0-9]+\+)?([^@+]+)@users\.noreply\.github\.com")


@dataclass(frozen=True, slots=True)
class Person:
    """One person in ``people.yaml``.

    Attributes:
        subject: Stable name, as in tokens.
        emails: Commit e-mail addresses.
        groups: Groups the person is in.
        github: Login at GitHub; empty when not said.
    """

    subject: str
    emails: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    github: str = ""

    @property
    def signs_as(self) -> frozenset[str]:
        """What the person's commits and pushes are signed with, as `normalise_signature` does."""
        names = (self.subject, *self.emails, self.github)
        return frozenset(normalise_signature(name) for name in names if name)


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """Who holds a role.

    Attributes:
        role: ``viewer``, ``deployer``, ``approver``, ``skip-gate`` or ``admin``.
        subjects: ``group:NAME`` or ``user:SUBJECT``.
        applications: Applications it counts for; empty for all.
    """

    role: str
    subjects: tuple[str, ...]
    applications: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class People:
    """``people.yaml``: persons and role bindings."""

    persons: tuple[Person, ...] = ()
    bindings: tuple[RoleBinding, ...] = ()

    def knows(self, subject: str) -> bool:
        """Tell whether somebody is written down here."""
        return any(one.subject == subject for one in self.persons)

    def groups_of(self, subject: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
        """List the groups that count for somebody's vote.

        Args:
            subject: Who.
            otherwise: Groups that the token says; they count only for somebody unknown here.
        """
        if not self.knows(subject):
            return otherwise
        entries = (one for one in self.persons if one.subject == subject)
        return tuple(sorted({group for one in entries for group in one.groups}))

    def signs_as(self, subject: str) -> frozenset[str]:
        """List what somebody's commits and pushes are signed with, as `normalise_signature` does.

        The subject itself, the e-mails, and the login; GitHub's own addresses come to the login.
        """
        entries = (one.signs_as for one in self.persons if one.subject == subject)
        return frozenset({normalise_signature(subject)}).union(*entries)


def normalise_signature(signature: str) -> str:
    """Write an e-mail or login so that the same person's are equal.

    Upper and lower case are alike, and what GitHub writes for somebody who keeps the e-mail
    private (``1234+LOGIN@users.noreply.github.com``) is the login.
    """
    plain = signature.strip().casefold()
    found = _NOREPLY.fullmatch(plain)
    return found.group(1) if found is not None else plain
