"""Who is known, and who may do what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """One person in ``people.yaml``.

    Attributes:
        subject: Stable name, as in tokens.
        emails: Commit e-mail addresses.
        groups: Groups the person is in.
    """

    subject: str
    emails: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """Who holds a role.

    Attributes:
        role: ``viewer``, ``deployer``, ``approver`` or ``admin``.
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
