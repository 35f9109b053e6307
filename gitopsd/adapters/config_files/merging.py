"""New files against what was valid before: an invalid file never replaces a valid one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gitopsd.adapters.config_files.cross_checks import Finding, find_problems
from gitopsd.adapters.config_files.documents import Parsed
from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.config import ApplicationSpec, ClusterSpec, Configuration, ProjectSpec
from gitopsd.domain.images import RegistrySpec
from gitopsd.domain.people import People
from gitopsd.domain.sources import (
    ReceiverSpec,
    RepositorySpec,
)
from gitopsd.errors import ConfigError

MASS_REMOVAL_FILES = 3
"""Fewer files that vanish at once are taken for what they look like."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What counts after a look at the folder.

    Attributes:
        accepted: File -> what it says, or what it said when it was last valid.
        errors: Everything that is wrong, in the order of the files.
    """

    accepted: dict[str, Parsed]
    errors: tuple[ConfigError, ...]


def select_vanished(
    previous: Mapping[str, Parsed], present: Iterable[str], parsed: Iterable[Parsed]
) -> frozenset[str]:
    """Find the files whose object is nowhere any more; a renamed file has not vanished."""
    there = set(present)
    defined = {one.identity for one in parsed}
    return frozenset(
        file for file, one in previous.items() if file not in there and one.identity not in defined
    )


def is_mass_removal(previous: Iterable[str], vanished: Iterable[str], *, empty: bool) -> bool:
    """Tell whether so much vanished at once that it looks like an accident.

    Args:
        previous: Files that were valid.
        vanished: Those of them that are gone.
        empty: Whether nothing at all is left, or nothing can be read.

    Returns:
        True when more than half of all files, or of one folder's, and at least three are gone, or
        when nothing is left.
    """
    gone = list(vanished)
    if empty and gone:
        return True
    before = Counter(file.partition("/")[0] for file in previous)
    after = Counter(file.partition("/")[0] for file in gone)
    groups = [(sum(before.values()), len(gone)), *((before[one], after[one]) for one in after)]
    return any(lost >= MASS_REMOVAL_FILES and lost * 2 > had for had, lost in groups)


def merge(
    parsed: Iterable[Parsed],
    broken: Mapping[str, list[ConfigError]],
    previous: Mapping[str, Parsed],
    held: Iterable[str],
) -> Merged:
    """Decide what counts.

    Args:
        parsed: Files that are valid in themselves.
        broken: Files that are not, with what is wrong.
        previous: File -> what it said when it was last valid.
        held: Files that are gone but whose removal is not believed yet.
    """
    accepted = {one.file: one for one in parsed}
    for file in (*broken, *held):
        if file in previous:
            accepted.setdefault(file, previous[file])
    errors = [error for problems in broken.values() for error in problems]
    offered = tuple(accepted)
    findings: list[Finding] = []
    # Each turn takes back one change or restores one file, so the turns are bounded.
    for _ in range(2 * (len(accepted) + len(previous)) + 1):
        # What was taken back altogether is missed by nobody else: it may be mended.
        lost = {*broken, *(file for file in offered if file not in accepted)}
        findings = find_problems(_select_order(accepted.values(), previous), lost)
        caused = next(filter(None, (_take_back(one, accepted, previous) for one in findings)), None)
        if caused is None:
            break
        errors += caused.errors(findings)
    errors += [finding.error for finding in findings]
    unique = {str(error): error for error in errors}
    return Merged(
        accepted, tuple(sorted(unique.values(), key=lambda error: (error.file, error.path)))
    )


def _select_order(accepted: Iterable[Parsed], previous: Mapping[str, Parsed]) -> list[Parsed]:
    """Order files so that a name belongs to the file that had it before."""
    had = {(file, one.identity) for file, one in previous.items()}
    return sorted(accepted, key=lambda one: ((one.file, one.identity) not in had, one.file))


@dataclass(frozen=True, slots=True)
class _Undone:
    """One change that was taken back.

    Attributes:
        file: File whose change it was.
        instead: What to say when the fault lies elsewhere than the findings say.
    """

    file: str
    instead: ConfigError | None = None

    def errors(self, findings: Iterable[Finding]) -> list[ConfigError]:
        """Say why: everything that was found in the file, unless the fault lies elsewhere."""
        if self.instead is not None:
            return [self.instead]
        return [finding.error for finding in findings if finding.error.file == self.file]


def _take_back(
    finding: Finding, accepted: dict[str, Parsed], previous: Mapping[str, Parsed]
) -> _Undone | None:
    """Undo the change that caused a finding; None when nothing changed there."""
    file = finding.error.file
    cluster = _find_former_cluster(finding.missing_cluster, accepted, previous)
    if cluster is not None and file in previous:
        accepted[cluster.file] = cluster
        return _Undone(cluster.file, instead=_explain_lost_cluster(cluster, finding))
    if accepted[file] is previous.get(file):
        return None
    if file in previous:
        accepted[file] = previous[file]
    else:
        del accepted[file]
    return _Undone(file)


def _find_former_cluster(
    name: str, accepted: Mapping[str, Parsed], previous: Mapping[str, Parsed]
) -> Parsed | None:
    for file, one in previous.items():
        if name and one.identity == ("Cluster", name) and accepted.get(file) is not one:
            return one
    return None


def _explain_lost_cluster(cluster: Parsed, finding: Finding) -> ConfigError:
    user = finding.error
    return ConfigError(
        file=cluster.file,
        path="",
        problem=f"cluster {cluster.name} is gone, but {user.file} uses it at {user.path}",
        remedy="It is kept as it was. Put the file back, or remove what uses it first",
    )


def build_configuration(accepted: Iterable[Parsed]) -> Configuration:
    """Put what counts together."""
    values = [one.value for one in sorted(accepted, key=lambda one: one.file)]
    applications = [value for value in values if isinstance(value, ApplicationSpec)]
    clusters = [value for value in values if isinstance(value, ClusterSpec)]
    receivers = [value for value in values if isinstance(value, ReceiverSpec)]
    channels = [value for value in values if isinstance(value, ChannelSpec)]
    people = [value for value in values if isinstance(value, People)]
    return Configuration(
        applications={application.name: application for application in applications},
        clusters={cluster.name: cluster for cluster in clusters},
        repositories=tuple(value for value in values if isinstance(value, RepositorySpec)),
        receivers={receiver.name: receiver for receiver in receivers},
        channels={channel.name: channel for channel in channels},
        people=people[0] if people else People(),
        projects=tuple(value for value in values if isinstance(value, ProjectSpec)),
        registries=tuple(value for value in values if isinstance(value, RegistrySpec)),
    )
