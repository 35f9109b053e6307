"""The files that gates of an application name, and what they need from other files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from gitopsd.adapters.config_files.problems import suggest
from gitopsd.domain.asked_gates import ChecksGate, ExternalGate, PrometheusGate
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.checks import PrometheusCheck
from gitopsd.domain.config import ApplicationSpec, ClusterSpec, StageSpec
from gitopsd.domain.gate_specs import GateSpec
from gitopsd.errors import ConfigError


def name_gate_files(application: ApplicationSpec) -> Iterator[tuple[str, str]]:
    """List (place in the document, file name) of every file that a gate names."""
    for number, stage in enumerate(application.stages):
        for index, gate in enumerate(stage.gates):
            if isinstance(gate, ExternalGate):
                place = f"spec.stages[{number}].gates[{index}].external.secretFile"
                yield place, gate.secret_file


def resolve_gate_files(
    application: ApplicationSpec, resolve: Callable[[str], str]
) -> ApplicationSpec:
    """Let relative file names of gates begin where ``resolve`` says."""

    def resolve_gate(gate: GateSpec) -> GateSpec:
        if isinstance(gate, ExternalGate):
            return replace(gate, secret_file=resolve(gate.secret_file))
        return gate

    def resolve_stage(stage: StageSpec) -> StageSpec:
        return replace(stage, gates=tuple(resolve_gate(gate) for gate in stage.gates))

    return replace(application, stages=tuple(map(resolve_stage, application.stages)))


def find_metric_problems(
    file: str, application: ApplicationSpec, clusters: Mapping[str, ClusterSpec]
) -> Iterator[ConfigError]:
    """Find gates and checks on metrics of clusters that have none.

    That a stage's own cluster is not there at all is told elsewhere.

    Args:
        file: The application's file.
        application: The application.
        clusters: The configured clusters.
    """
    known = sorted(name for name, one in clusters.items() if one.metrics is not None)
    for place, own, named in _list_measured(application):
        name = named or own
        if name in known or (not named and name not in clusters):
            continue
        offer = f", or write `cluster:` with one of {', '.join(known)}" if known else ""
        yield ConfigError(
            file=file,
            path=place + (".cluster" if named else ""),
            problem=f"cluster {name} has no `metrics`",
            remedy=f"Write `metrics: {{url: ...}}` in clusters/{name}.yaml{offer}",
        )


def _list_measured(application: ApplicationSpec) -> Iterator[tuple[str, str, str]]:
    """List (place, the stage's cluster, the cluster that is named) of what is measured."""
    for number, stage in enumerate(application.stages):
        place = f"spec.stages[{number}]"
        monitored = stage.monitor.verify if stage.monitor is not None else ()
        lists = (
            ("gates", stage.gates),
            ("verify", stage.verify),
            ("monitor.verify", monitored),
        )
        for key, entries in lists:
            for index, one in enumerate(entries):
                if isinstance(one, PrometheusGate | PrometheusCheck):
                    yield f"{place}.{key}[{index}].prometheus", stage.cluster, one.cluster


def find_channel_problems(
    file: str, application: ApplicationSpec, channels: Mapping[str, ChannelSpec]
) -> Iterator[ConfigError]:
    """Find gates on checks for which it is not clear who signs in at GitHub.

    Args:
        file: The application's file.
        application: The application.
        channels: The configured channels.
    """
    known = sorted(one.name for one in channels.values() if one.type is ChannelType.GITHUB)
    for number, stage in enumerate(application.stages):
        for index, gate in enumerate(stage.gates):
            if not isinstance(gate, ChecksGate):
                continue
            place = f"spec.stages[{number}].gates[{index}].checks"
            if not known:
                problem = "there is no channel of type `github` that could sign in"
                remedy = "Write one in channels/; its credential reads the checks"
            elif gate.channel and gate.channel not in known:
                place += ".channel"
                problem = f"there is no channel {gate.channel!r} of type `github`"
                remedy = suggest(gate.channel, set(known))
            elif not gate.channel and len(known) > 1:
                problem = "there are several channels of type `github`"
                remedy = f"Write `channel:` with one of {', '.join(known)}"
            else:
                continue
            yield ConfigError(file=file, path=place, problem=problem, remedy=remedy)
