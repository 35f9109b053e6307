"""The chart under ``helm/gitopsd`` as the real helm renders it: what it holds, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # comes with another package, without types

from tests.support.helm import CHART, Helm
from tests.support.product_image import read_environment
from tests.support.projects import REPOSITORY

CASES = Path(__file__).parents[1] / "fixtures" / "chart"
POD_KINDS = ("Deployment", "Job")
FIRST_OF_ITS_OWN = 10_000


def render(helm: Helm, case: str) -> list[dict[str, Any]]:
    """Render a case and read its objects."""
    text = helm.template("--values", str(CASES / f"{case}.values.yaml"))
    return [item for item in yaml.safe_load_all(text) if item]


def pods_of(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Find the pod specs: part -> spec."""
    return {
        item["metadata"]["labels"].get("app.kubernetes.io/component", "server"): item["spec"][
            "template"
        ]["spec"]
        for item in objects
        if item["kind"] in POD_KINDS
    }


@pytest.mark.parametrize("case", ["single", "parts"])
def test_it_is_well_formed(helm: Helm, case: str) -> None:
    """Helm has nothing to object to, in either shape."""
    helm.succeed("lint", "--strict", str(CHART), "--values", str(CASES / f"{case}.values.yaml"))


@pytest.mark.parametrize("case", ["single", "parts"])
def test_it_renders_what_was_reviewed(helm: Helm, case: str) -> None:
    """What a change of the chart does is seen in review: the objects are files of the tests.

    To accept a change: ``helm template gitopsd helm/gitopsd -n gitopsd --values FILE.values.yaml``.
    """
    rendered = helm.template("--values", str(CASES / f"{case}.values.yaml"))
    assert rendered == (CASES / f"{case}.yaml").read_text()


def test_it_needs_no_value_at_all(helm: Helm) -> None:
    """What a chart is without values is a working installation that may touch nothing."""
    helm.succeed("lint", "--strict", str(CHART))
    roles = [item for item in yaml.safe_load_all(helm.template()) if item["kind"] == "Role"]

    assert [role["metadata"]["name"] for role in roles] == ["gitopsd-inventories"]


PARTS = ["--set", "mode=parts", "--set", "parts.database.existingSecret=postgresql"]
TARGET = "targets[0].namespace=shop,targets[0].serviceAccount=deployer"


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--set", "mode=cluster"], "at '/mode': value must be one of 'single', 'parts'"),
        (["--set", "mode=parts"], "parts.database.existingSecret must name a Secret whose key"),
        (PARTS, "firstToken.existingSecret must name a Secret whose key `token` holds what"),
        (["--set", "image.digest=latest"], "at '/image/digest'"),
        (["--set", "replicas=2"], "additional properties 'replicas' not allowed"),
        ([*PARTS, "--set", "parts.server.replicas=two"], "got string, want integer"),
        ([*PARTS, "--set", "parts.server.replicas=0"], "at '/parts/server/replicas'"),
        (["--set", "settings.LISTEN=:1"], "settings: LISTEN is set by the chart"),
        (["--set", "settings.poll=1s"], "at '/settings': additional properties 'poll' not allowed"),
        (["--set", "settings.POLL_INTERVAL=60"], "at '/settings/POLL_INTERVAL'"),
        (["--set", "ingress.enabled=true"], "ingress.enabled needs ingress.host"),
        (["--set", "ingress.paths={hooks}"], "at '/ingress/paths/0'"),
        (["--set", "targets[0].namespace=shop"], "missing property 'serviceAccount'"),
        (["--set", "targets[0].namespace=a.b,targets[0].serviceAccount=x"], "'/targets/0/namesp"),
        (
            [
                "--set",
                TARGET,
                "--set",
                "targets[1].namespace=shop,targets[1].serviceAccount=deployer",
            ],
            "service account deployer in namespace shop is there twice",
        ),
        (
            ["--set", "targets[0].namespace=gitopsd,targets[0].serviceAccount=gitopsd"],
            "gitopsd is where gitopsd itself and its secrets are",
        ),
        (["--set", TARGET, "--set", "targets[0].resources.core={*}"], "resources/core/0"),
        (["--set", TARGET, "--set", "targets[0].resources.core={pods/exec}"], "resources/core/0"),
        (["--set", TARGET, "--set", "targets[0].resources.*={pods}"], "/targets/0/resources"),
        (["--set", "configuration.files.passwd=x"], "at '/configuration/files'"),
        (["--set-json", 'configuration.files={"../x.yaml":""}'], "at '/configuration/files'"),
        (["--set-json", 'secrets=["../etc"]'], "at '/secrets/0'"),
        (["--set-json", 'secrets=["a","a"]'], "at '/secrets'"),
    ],
)
def test_values_that_cannot_work_are_refused(
    helm: Helm, arguments: list[str], sentence: str
) -> None:
    """One sentence names the place before anything is sent to a cluster."""
    said = helm.refuse(*arguments)
    assert sentence in said
    assert len(said.splitlines()) <= 6, said


def test_namespaces_may_have_several_accounts(helm: Helm) -> None:
    """Two targets in one namespace make it once."""
    second = "targets[1].namespace=shop,targets[1].serviceAccount=other"
    wanted = "targets[0].createNamespace=true,targets[1].createNamespace=true"
    text = helm.template("--set", TARGET, "--set", second, "--set", wanted)
    kinds = [item["kind"] for item in yaml.safe_load_all(text)]

    assert kinds.count("Namespace") == 1
    assert kinds.count("ServiceAccount") == 3


def test_files_arrive_as_they_were_written(helm: Helm, tmp_path: Path) -> None:
    """Indented, with quotes, braces or templates of others: what is in the values is in the key."""
    files = {
        "applications/a.yaml": '  indented: {{ .Values.image }}\nb: "\'"\n\n\n',
        "people.yaml": "no newline: at the end",
        "receivers/b__c.yaml": "\ttab: |\n  x\n",
    }
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"configuration": {"files": files}}))
    objects = list(yaml.safe_load_all(helm.template("--values", str(values))))
    found = next(item for item in objects if item["metadata"]["name"] == "gitopsd-config")

    assert found["data"] == {name.replace("/", "__"): text for name, text in files.items()}


@pytest.mark.parametrize("case", ["single", "parts"])
def test_its_pods_can_do_little(helm: Helm, case: str) -> None:
    """Nobody's user, nothing to gain, nothing to write but its own volumes, limits on all of it."""
    for part, spec in pods_of(render(helm, case)).items():
        pod = spec["securityContext"]
        (container,) = spec["containers"]
        own = container["securityContext"]
        assert pod["runAsNonRoot"]
        assert pod["runAsUser"] > FIRST_OF_ITS_OWN
        assert pod["runAsGroup"] > FIRST_OF_ITS_OWN
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert not spec["enableServiceLinks"]
        assert {"requests", "limits"} == set(container["resources"])
        assert "memory" in container["resources"]["limits"]
        kinds = {kind for volume in spec["volumes"] for kind in volume} - {"name"}
        assert kinds <= {"emptyDir", "projected", "secret", "persistentVolumeClaim"}
        assert all("sizeLimit" in v["emptyDir"] for v in spec["volumes"] if "emptyDir" in v)
        written = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
        assert written == {"/data", "/tmp"}, part  # noqa: S108 - a path inside a container


def test_only_what_works_on_releases_has_a_credential(helm: Helm) -> None:
    """Servers, which the outside reaches, and migrations have no token of the cluster."""
    parts = pods_of(render(helm, "parts"))
    (single,) = pods_of(render(helm, "single")).values()

    assert single["automountServiceAccountToken"]
    assert {part: spec["automountServiceAccountToken"] for part, spec in parts.items()} == {
        "server": False,
        "worker": True,
        "migration": False,
    }
    assert parts["server"]["serviceAccountName"] != parts["worker"]["serviceAccountName"]
    accounts = [item for item in render(helm, "parts") if item["kind"] == "ServiceAccount"]
    assert accounts
    assert not any(account["automountServiceAccountToken"] for account in accounts)


@pytest.mark.parametrize("case", ["single", "parts"])
def test_its_rights_end_at_namespaces(helm: Helm, case: str) -> None:
    """Roles alone, bound to accounts by name; no wildcard, no rights over rights."""
    objects = render(helm, case)
    kinds = {item["kind"] for item in objects}
    roles = [item for item in objects if item["kind"] == "Role"]
    bindings = [item for item in objects if item["kind"] == "RoleBinding"]

    assert not {kind for kind in kinds if kind.startswith("Cluster")}
    assert "*" not in json.dumps([role["rules"] for role in roles])
    assert not {"escalate", "bind"} & {
        v for r in roles for rule in r["rules"] for v in rule["verbs"]
    }
    for role in roles:
        for rule in role["rules"]:
            if "impersonate" in rule["verbs"]:
                assert rule["verbs"] == ["impersonate"]
                assert rule["resources"] == ["serviceaccounts"]
                assert len(rule["resourceNames"]) == 1
    made = {(role["metadata"]["namespace"], role["metadata"]["name"]) for role in roles}
    assert {(b["metadata"]["namespace"], b["roleRef"]["name"]) for b in bindings} == made
    assert {b["roleRef"]["kind"] for b in bindings} == {"Role"}
    assert {s["kind"] for b in bindings for s in b["subjects"]} == {"ServiceAccount"}


def test_every_pod_has_its_network_policy(helm: Helm) -> None:
    """Each part is closed in both directions but for what it needs; a worker takes no requests."""
    objects = render(helm, "parts")
    policies = {
        item["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: item["spec"]
        for item in objects
        if item["kind"] == "NetworkPolicy"
    }
    opened = {
        part: [port["port"] for rule in spec["ingress"] for port in rule["ports"]]
        for part, spec in policies.items()
    }

    assert set(policies) == set(pods_of(objects))
    assert opened == {"server": ["http", "metrics"], "worker": ["metrics"], "migration": []}
    assert all(spec["policyTypes"] == ["Ingress", "Egress"] for spec in policies.values())


@pytest.mark.parametrize("case", ["single", "parts"])
def test_it_fits_the_image(helm: Helm, case: str) -> None:
    """What the image sets is where the chart mounts and probes; its user is the pods'."""
    environment = read_environment()
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    for part, spec in pods_of(render(helm, case)).items():
        (container,) = spec["containers"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        ports = {str(port["containerPort"]) for port in container.get("ports", [])}
        assert environment["GITOPSD_DATA_DIR"] in mounts
        assert (environment["GITOPSD_CONFIG_DIR"] in mounts) is (part != "migration")
        named = {
            environment[f"GITOPSD_{name}LISTEN"].rpartition(":")[2] for name in ("", "METRICS_")
        }
        assert ports <= named
        user = spec["securityContext"]
        assert f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in dockerfile
