"""What the five systems render to fits together, and to their application files."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pytest

from gitopsd.kube.images import parse_image
from gitopsd.kube.names import HookPhase, parse_hook_phases
from tests.support.guide_facts import MANIFESTS, list_systems, read_application, render
from tests.support.kustomize_oracle import find_images

Rendered = Sequence[Mapping[str, Any]]

_SHELLS = {"#!/bin/sh": "sh", "#!/bin/bash": "bash"}
_CLUSTER_WIDE = {"ClusterIssuer", "ClusterRole", "ClusterRoleBinding", "Namespace"}
_WITH_PROMETHEUS = {"PrometheusRule", "ServiceMonitor"}  # may live in the namespace that it reads


def _overlays() -> list[tuple[str, str]]:
    return [
        (system, path.parent.name)
        for system in list_systems()
        for path in sorted((MANIFESTS / system / "overlays").glob("*/kustomization.yaml"))
    ]


@pytest.fixture(params=_overlays(), ids="/".join)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    """Each overlay of each system in turn."""
    return render(*request.param)


def _named(rendered: Rendered) -> set[tuple[str, str, str]]:
    return {
        (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"])
        for one in rendered
    }


def _pods(rendered: Rendered) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Who has a pod template: what it is, its metadata, the template."""
    for one in rendered:
        spec = one.get("spec", {})
        template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get(
            "template"
        )
        if isinstance(template, Mapping) and "spec" in template:
            yield f"{one['kind']} {one['metadata']['name']}", one["metadata"], template


def _containers(template: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from chain(template["spec"].get("initContainers", []), template["spec"]["containers"])


def _wanted(template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind and name of whatever has to be there for the pods to start."""
    spec = template["spec"]
    if "serviceAccountName" in spec:
        yield "ServiceAccount", spec["serviceAccountName"]
    sources = [
        *chain.from_iterable(one.get("envFrom", []) for one in _containers(template)),
        *(
            variable["valueFrom"]
            for one in _containers(template)
            for variable in one.get("env", [])
            if "valueFrom" in variable
        ),
        *spec.get("volumes", []),
    ]
    for source in sources:
        for key in ("configMapRef", "configMapKeyRef", "configMap"):
            if key in source and not source[key].get("optional"):
                yield "ConfigMap", source[key]["name"]
        if "persistentVolumeClaim" in source:
            yield "PersistentVolumeClaim", source["persistentVolumeClaim"]["claimName"]


def test_what_pods_need_is_rendered_with_them(rendered: Rendered) -> None:
    """ConfigMaps, claims and accounts have the names by which pods ask for them."""
    there = _named(rendered)
    missing = [
        f"{owner} wants {kind} {name}"
        for owner, metadata, template in _pods(rendered)
        for kind, name in _wanted(template)
        if (kind, metadata.get("namespace", ""), name) not in there
    ]
    assert missing == []


def test_every_image_has_a_version(rendered: Rendered) -> None:
    """A tag that is not `latest`, or a digest."""
    images = {one["image"] for _, _, template in _pods(rendered) for one in _containers(template)}
    bare = [
        image
        for image in sorted(images)
        if "@sha256:" not in image and image.rpartition("/")[2].partition(":")[2] in {"", "latest"}
    ]
    assert bare == []


def test_services_find_their_pods(rendered: Rendered) -> None:
    """Each selector is among the labels of a template in its namespace, each port is one of it."""
    lost = []
    for one in rendered:
        if one["kind"] != "Service":
            continue
        metadata, spec = one["metadata"], one["spec"]
        wanted = {
            key: value
            for key, value in spec["selector"].items()
            if not key.startswith("statefulset.kubernetes.io/")
        }
        found = [
            template
            for _, owner, template in _pods(rendered)
            if owner.get("namespace") == metadata.get("namespace")
            and wanted.items() <= template["metadata"]["labels"].items()
        ]
        ports = {
            name
            for template in found
            for container in _containers(template)
            for port in container.get("ports", [])
            for name in (port.get("name"), port["containerPort"])
        }
        lost += [
            f"{metadata['name']}: {port['port']}"
            for port in spec["ports"]
            if port.get("targetPort", port["port"]) not in ports
        ]
    assert lost == []


def test_what_is_scaled_and_reached_is_rendered(rendered: Rendered) -> None:
    """Autoscalers name a workload, Ingresses a Service and a port that it has."""
    there = _named(rendered)
    ports = {
        (one["metadata"].get("namespace", ""), one["metadata"]["name"], port.get(key))
        for one in rendered
        if one["kind"] == "Service"
        for port in one["spec"]["ports"]
        for key in ("port", "name")
    }
    wrong = []
    for one in rendered:
        namespace, name = one["metadata"].get("namespace", ""), one["metadata"]["name"]
        if one["kind"] == "HorizontalPodAutoscaler":
            target = one["spec"]["scaleTargetRef"]
            if (target["kind"], namespace, target["name"]) not in there:
                wrong.append(f"{name} scales {target['name']}")
        if one["kind"] == "Ingress":
            for rule in one["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    service = path["backend"]["service"]
                    asked = service["port"].get("number", service["port"].get("name"))
                    if (namespace, service["name"], asked) not in ports:
                        wrong.append(f"{name} sends {path['path']} to {service['name']}:{asked}")
    assert wrong == []


def test_objects_are_in_a_namespace_that_comes_with_them(rendered: Rendered) -> None:
    """So that a release into an empty cluster finds its place."""
    there = _named(rendered)
    outside = [
        f"{kind} {name} in {namespace or 'none'}"
        for kind, namespace, name in sorted(there)
        if kind not in _CLUSTER_WIDE | _WITH_PROMETHEUS
        and ("Namespace", "", namespace) not in there
    ]
    assert outside == []


def test_hooks_are_jobs_that_run_once(rendered: Rendered) -> None:
    """A known phase, no second try behind gitopsd's back, nothing that clears the result away."""
    hooks = [one for one in rendered if parse_hook_phases(one)]
    odd = [
        one["metadata"]["name"]
        for one in hooks
        if one["kind"] != "Job"
        or HookPhase.SKIP in parse_hook_phases(one)
        or "ttlSecondsAfterFinished" in one["spec"]
        or "activeDeadlineSeconds" not in one["spec"]
        or one["spec"]["template"]["spec"]["restartPolicy"] != "Never"
    ]
    assert odd == []


def test_files_in_config_maps_can_be_read(rendered: Rendered) -> None:
    """Scripts are accepted by their shell, JSON is JSON."""
    texts = {
        (f"{one['metadata']['name']}: {key}", text)
        for one in rendered
        if one["kind"] == "ConfigMap"
        for key, text in one.get("data", {}).items()
    }
    refused = []
    for name, text in sorted(texts):
        shell = _SHELLS.get(text.partition("\n")[0])
        if shell:
            done = subprocess.run(
                [shell, "-n"], input=text.encode(), capture_output=True, check=False
            )
            refused += [f"{name}: {done.stderr.decode()}"] if done.returncode else []
        if text.startswith("{"):
            try:
                json.loads(text)
            except ValueError as error:
                refused.append(f"{name}: {error}")
    assert refused == []


Stage = tuple[Mapping[str, Any], Rendered]


def _stages(system: str) -> list[Stage]:
    """The stages of a system's application file, each with what its path renders to."""
    stages = read_application(system)["spec"]["stages"]
    return [(stage, render(system, stage["path"].removeprefix("overlays/"))) for stage in stages]


@pytest.fixture(params=list_systems())
def system(request: pytest.FixtureRequest) -> str:
    """Each system in turn."""
    return str(request.param)


def test_followed_images_are_rendered_in_every_stage(system: str) -> None:
    """A group waits for all its images: one that no stage has would hold back every release."""
    followed = {parse_image(one["name"]).name for one in _followed(system)}
    for stage, rendered in _stages(system):
        there = {parse_image(image).name for image in find_images(list(rendered))}
        assert followed - there == set(), stage["name"]


def test_images_of_one_build_are_followed_together(system: str) -> None:
    """Images that manifests give one version are one group, and nobody is left out of it."""
    groups = defaultdict(set)
    for one in _followed(system):
        groups[one.get("group", one["name"])].add(parse_image(one["name"]).name)
    for stage, rendered in _stages(system):
        builds = defaultdict(set)
        for image in map(parse_image, find_images(list(rendered))):
            builds[image.tag].add(image.name)
        for members in groups.values():
            assert [build for build in builds.values() if members & build] == [members], (
                f"{stage['name']}: images of one version, and those of a group"
            )


def _followed(system: str) -> list[Mapping[str, Any]]:
    return list(read_application(system)["spec"].get("images", []))


def test_a_stage_may_write_what_its_overlay_has_and_no_more(system: str) -> None:
    """Namespaces, and cluster-scoped objects by name; of Namespaces a stage has its own."""
    for stage, rendered in _stages(system):
        namespaces = {stage["namespace"], *stage.get("namespaces", [])}
        wide = {(one["kind"], one["metadata"]["name"]) for one in rendered if _is_wide(one)}
        used = {one["metadata"]["namespace"] for one in rendered if not _is_wide(one)}
        assert used == namespaces, stage["name"]
        assert {name for kind, name in wide if kind == "Namespace"} <= namespaces
        others = {f"{kind}/{name}" for kind, name in wide if kind != "Namespace"}
        assert set(stage["clusterScoped"]) == {"Namespace", *others}, stage["name"]


def _is_wide(one: Mapping[str, Any]) -> bool:
    return one["kind"] in _CLUSTER_WIDE


def test_checks_ask_services_that_are_rendered(system: str) -> None:
    """By name and port, in Verify and in the watch after it."""
    for stage, rendered in _stages(system):
        ports = {
            (one["metadata"]["name"], port["name"])
            for one in rendered
            if one["kind"] == "Service"
            for port in one["spec"]["ports"]
        }
        checks = [*stage["verify"], *stage.get("monitor", {}).get("verify", [])]
        asked = {(check["http"]["service"], check["http"]["port"]) for check in checks}
        assert asked <= ports, stage["name"]
