"""Checks that need more than one mapping: inside an application, and across files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gitopsd.adapters.config_files.dependency_checks import find_dependency_problems
from gitopsd.adapters.config_files.documents import Parsed
from gitopsd.adapters.config_files.gate_files import (
    find_channel_problems,
    find_metric_problems,
    name_gate_files,
)
from gitopsd.adapters.config_files.group_checks import (
    find_group_problems,
    find_promotion_problems,
    find_waves_before,
)
from gitopsd.adapters.config_files.problems import suggest
from gitopsd.adapters.config_files.push_checks import find_push_problems, name_push_files
from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.config import ApplicationSpec, ClusterSpec, ProjectSpec, StageSpec
from gitopsd.domain.gate_specs import SoakGate
from gitopsd.domain.images import RegistrySpec
from gitopsd.domain.releases import StageName
from gitopsd.domain.sources import (
    ReceiverSpec,
    RepositorySpec,
)
from gitopsd.errors import ConfigError, PermanentError
from gitopsd.pipeline.tag_choice import TAGS


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong between files.

    Attributes:
        error: The sentence, at the file that is to be changed.
        missing_cluster: Name of the cluster that an application uses and no file defines.
    """

    error: ConfigError
    missing_cluster: str = ""


def find_problems(parsed: Iterable[Parsed], broken: Iterable[str] = ()) -> list[Finding]:
    """Check files against each other, and applications in themselves.

    Args:
        parsed: What the files say; of two that define one object, the later is in the wrong.
        broken: Files that are not valid in themselves: what they would define is missed elsewhere.
    """
    files = list(parsed)
    broken = tuple(broken)
    mend = next((file for file in sorted(broken) if file.startswith("clusters/")), "")
    clusters = {one.name: one.value for one in files if isinstance(one.value, ClusterSpec)}
    channels = {one.name: one.value for one in files if isinstance(one.value, ChannelSpec)}
    projects = [one.value for one in files if isinstance(one.value, ProjectSpec)]
    repositories = tuple(one.value for one in files if isinstance(one.value, RepositorySpec))
    applications = {
        one.value.name: one.value for one in files if isinstance(one.value, ApplicationSpec)
    }
    complete = not any(file.startswith("applications") for file in broken)
    findings = [Finding(error) for error in _find_duplicates(files)]
    findings += map(Finding, _find_same_hosts(files))
    for one in files:
        if isinstance(one.value, ApplicationSpec):
            findings += _find_unknown_clusters(one.file, one.value, set(clusters), mend)
            findings += map(Finding, _find_stage_problems(one.file, one.value))
            findings += map(Finding, find_group_problems(one.file, one.value))
            findings += map(
                Finding,
                find_dependency_problems(one.file, one.value, applications, complete=complete),
            )
            findings += map(Finding, find_metric_problems(one.file, one.value, clusters))
            findings += map(Finding, find_channel_problems(one.file, one.value, channels))
            findings += map(Finding, find_push_problems(one.file, one.value, repositories))
            findings += map(Finding, _find_image_problems(one.file, one.value))
            findings += map(Finding, _find_limits(one.file, one.value, projects))
    return findings


def find_secret_problems(one: Parsed, load: Callable[[str], bytes]) -> list[ConfigError]:
    """Check that the files a value names can be read.

    Args:
        one: What a file says, with resolved file names.
        load: Reads a secret file or raises PermanentError.
    """
    problems = []
    for path, name in name_secret_files(one):
        try:
            load(name)
        except PermanentError as error:
            problems.append(
                ConfigError(
                    file=one.file,
                    path=path,
                    problem=error.message,
                    remedy="Write that file so that gitopsd can read it, or correct its name",
                )
            )
    return problems


def name_secret_files(one: Parsed) -> list[tuple[str, str]]:
    """List (place in the document, file name) of every file that a value names."""
    value = one.value
    named: list[tuple[str, str]] = []
    if isinstance(value, ApplicationSpec):
        named = list(name_gate_files(value))
    elif isinstance(value, ReceiverSpec):
        named = [(f"spec.secretFiles[{i}]", name) for i, name in enumerate(value.secret_files)]
    elif isinstance(value, ChannelSpec):
        named = [
            ("spec.secretFile", value.secret_file),
            ("spec.tokenFile", value.token_file),
            ("spec.app.keyFile", value.key_file),
        ]
    elif isinstance(value, ClusterSpec):
        named = [
            ("spec.kubeconfig", value.kubeconfig),
            ("spec.tokenFile", value.token_file),
            ("spec.caFile", value.ca_file),
            *_name_metric_files(value),
        ]
    elif isinstance(value, RepositorySpec):
        named = [
            ("spec.usernameFile", value.username_file),
            ("spec.passwordFile", value.password_file),
            ("spec.sshKeyFile", value.ssh_key_file),
            ("spec.knownHostsFile", value.known_hosts_file),
            ("spec.caFile", value.ca_file),
            *name_push_files(value),
        ]
    elif isinstance(value, RegistrySpec):
        named = [("spec.credentialFile", value.credential_file), ("spec.caFile", value.ca_file)]
    return [(path, name) for path, name in named if name]


def _name_metric_files(cluster: ClusterSpec) -> list[tuple[str, str]]:
    metrics = cluster.metrics
    if metrics is None:
        return []
    return [
        ("spec.metrics.tokenFile", metrics.token_file),
        ("spec.metrics.passwordFile", metrics.password_file),
        ("spec.metrics.caFile", metrics.ca_file),
    ]


def _find_duplicates(files: Sequence[Parsed]) -> Iterator[ConfigError]:
    first: dict[tuple[str, str], str] = {}
    for one in files:
        other = first.setdefault(one.identity, one.file)
        if other != one.file:
            yield ConfigError(
                file=one.file,
                path="metadata.name",
                problem=f"{one.kind} {one.name} is defined in {other} already",
                remedy="Give it another name, or remove one of the two files",
            )


def _find_same_hosts(files: Sequence[Parsed]) -> Iterator[ConfigError]:
    first: dict[str, str] = {}
    for one in files:
        if isinstance(one.value, RegistrySpec):
            other = first.setdefault(one.value.host, one.file)
            if other != one.file:
                yield ConfigError(
                    file=one.file,
                    path="spec.host",
                    problem=f"{other} says already how {one.value.host} is reached",
                    remedy="Write one file for each host",
                )


def _find_image_problems(file: str, application: ApplicationSpec) -> Iterator[ConfigError]:
    names = [image.name for image in application.images]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield ConfigError(
                file=file,
                path=f"spec.images[{number}].name",
                problem=f"{name} is there already",
                remedy="Write each image once, with one policy",
            )


def _find_unknown_clusters(
    file: str, application: ApplicationSpec, clusters: set[str], mend: str
) -> Iterator[Finding]:
    for number, stage in enumerate(application.stages):
        if stage.cluster not in clusters:
            error = ConfigError(
                file=file,
                path=f"spec.stages[{number}].cluster",
                problem=f"there is no cluster {stage.cluster!r}",
                remedy=f"Mend {mend} first" if mend else suggest(stage.cluster, clusters),
            )
            yield Finding(error, missing_cluster=stage.cluster)


def _find_stage_problems(file: str, application: ApplicationSpec) -> Iterator[ConfigError]:
    names = [stage.name for stage in application.stages]
    before = _find_before(application)
    for number, stage in enumerate(application.stages):
        place = f"spec.stages[{number}]"
        if stage.name in names[:number]:
            yield ConfigError(
                file=file,
                path=f"{place}.name",
                problem=f"stage {stage.name} is there already",
                remedy="Give each stage a name of its own",
            )
        if stage.ref is not None and stage.after:
            tags = stage.ref.startswith(TAGS)
            what, fed = ("tags", "those tags") if tags else ("branch", "that branch")
            yield ConfigError(
                file=file,
                path=f"{place}.{what}",
                problem=f"a stage with its own {what} is fed by {fed}, not by promotion",
                remedy=f"Remove either `{what}` or `after`",
            )
        yield from _find_unknown_stages(file, place, stage, set(names))
        yield from find_promotion_problems(file, place, stage)
        if stage.name in before[stage.name]:
            yield _refuse_circle(file, place, stage)
        yield from _find_soak_problems(file, place, stage, before[stage.name])


def _refuse_circle(file: str, place: str, stage: StageSpec) -> ConfigError:
    """Make the error of a stage that waits for itself, by whichever way."""
    path, remedy = f"{place}.group", "Put it behind those in the group's order that it waits for"
    if stage.after:
        path = f"{place}.after"
        remedy = "Let the first stage have no `after`, and each other name an earlier one"
        if stage.group:
            remedy += "; the order of its group counts, too"
    elif stage.upstream is not None:
        path, remedy = f"{place}.upstream.stage", "Name a stage that does not wait for this one"
    return ConfigError(
        file=file, path=path, problem=f"stage {stage.name} waits for itself", remedy=remedy
    )


def _find_unknown_stages(
    file: str, place: str, stage: StageSpec, names: set[StageName]
) -> Iterator[ConfigError]:
    after = f"{place}.after.any" if stage.after_any else f"{place}.after"
    named = [(f"{after}[{index}]", before) for index, before in enumerate(stage.after)]
    if stage.upstream is not None:
        named.append((f"{place}.upstream.stage", stage.upstream.stage))
        if stage.after:
            yield ConfigError(
                file=file,
                path=f"{place}.upstream",
                problem="`after` asks for whole releases, images included",
                remedy="Remove either `upstream` or `after`",
            )
    for path, before in named:
        if before not in names:
            yield ConfigError(
                file=file,
                path=path,
                problem=f"there is no stage {before!r}",
                remedy=suggest(before, names - {stage.name}),
            )


def _find_soak_problems(
    file: str, place: str, stage: StageSpec, before: frozenset[StageName]
) -> Iterator[ConfigError]:
    # Of what stands before an upstream stage, nothing is asked: only its own images are.
    known = before if stage.upstream is None else frozenset({stage.upstream.stage})
    for index, gate in enumerate(stage.gates):
        if isinstance(gate, SoakGate) and gate.stage not in known - {stage.name}:
            yield ConfigError(
                file=file,
                path=f"{place}.gates[{index}].soak.stage",
                problem=f"{gate.stage!r} is not upstream of {stage.name}",
                remedy=suggest(gate.stage, known - {stage.name}),
            )


def _find_before(application: ApplicationSpec) -> Mapping[StageName, frozenset[StageName]]:
    """Find all stages that each stage waits for; in a cycle, the stage itself too."""
    waves = find_waves_before(application)
    direct = {
        stage.name: {
            *stage.after,
            *((stage.upstream.stage,) if stage.upstream else ()),
            *waves.get(stage.name, ()),
        }
        for stage in application.stages
    }
    reached: dict[StageName, frozenset[StageName]] = {}
    for name, before in direct.items():
        seen: set[StageName] = set()
        waiting = list(before)
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                waiting += direct.get(current, ())
        reached[name] = frozenset(seen)
    return reached


def _find_limits(
    file: str, application: ApplicationSpec, projects: Sequence[ProjectSpec]
) -> Iterator[ConfigError]:
    for project in projects:
        if not project.labels.items() <= application.labels.items():
            continue
        for number, stage in enumerate(application.stages):
            yield from _find_beyond(file, f"spec.stages[{number}]", stage, project)


def _find_beyond(
    file: str, place: str, stage: StageSpec, project: ProjectSpec
) -> Iterator[ConfigError]:
    wanted = [
        (f"{place}.cluster", "cluster", stage.cluster, project.clusters),
        (f"{place}.namespace", "namespace", stage.namespace, project.namespaces),
        *(
            (f"{place}.namespaces[{i}]", "namespace", name, project.namespaces)
            for i, name in enumerate(stage.namespaces)
        ),
        *(
            (f"{place}.clusterScoped[{i}]", "kind", name.partition("/")[0], project.kinds)
            for i, name in enumerate(stage.cluster_scoped)
        ),
    ]
    for path, what, name, allowed in wanted:
        if allowed and name not in allowed:
            yield ConfigError(
                file=file,
                path=path,
                problem=f"project {project.name} does not allow {what} {name}",
                remedy=f"Use one of {', '.join(allowed)}, or let the project allow it",
            )
