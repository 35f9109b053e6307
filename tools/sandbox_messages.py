"""Regenerates the sandbox's protobuf fields from the Go modules that Kubernetes was built from.

Run it after the pinned Kubernetes changed: ``.venv/bin/python -m tools.sandbox_messages``
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path
from typing import TypeAlias

from tests.support.processes import inherited_environment

Fields: TypeAlias = "dict[str, list[str]]"
"""Field number -> [JSON name, type]; an inlined message has no name."""

_REPOSITORY = Path(__file__).resolve().parents[1]
_ENVTEST = _REPOSITORY / "tests" / "envtest" / "kubernetes"
_OUTPUT = _REPOSITORY / "gitopsd" / "sandbox" / "api" / "messages.json.gz"
_MODULES = ("k8s.io/api", "k8s.io/apimachinery")
# What kubectl creates by typed clients, and so sends as protobuf.
_ROOTS = {
    "apps/v1": ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"),
    "authentication.k8s.io/v1": ("SelfSubjectReview", "TokenRequest", "TokenReview"),
    "authorization.k8s.io/v1": (
        "LocalSubjectAccessReview",
        "SelfSubjectAccessReview",
        "SelfSubjectRulesReview",
        "SubjectAccessReview",
    ),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "batch/v1": ("CronJob", "Job"),
    "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
    "policy/v1": ("Eviction", "PodDisruptionBudget"),
    "rbac.authorization.k8s.io/v1": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    "scheduling.k8s.io/v1": ("PriorityClass",),
    "v1": (
        "Binding",
        "ConfigMap",
        "Namespace",
        "Node",
        "PersistentVolumeClaim",
        "Pod",
        "ResourceQuota",
        "Secret",
        "Service",
        "ServiceAccount",
    ),
}
_FOLDERS = {
    "authentication.k8s.io/v1": "authentication/v1",
    "authorization.k8s.io/v1": "authorization/v1",
    "networking.k8s.io/v1": "networking/v1",
    "rbac.authorization.k8s.io/v1": "rbac/v1",
    "scheduling.k8s.io/v1": "scheduling/v1",
    "v1": "core/v1",
}
_MESSAGE = re.compile(r"^message (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(
    r"^\s+(optional|repeated)?\s*(map<string, [.\w]+>|[.\w]+) (\w+) = (\d+)", re.MULTILINE
)
_STRUCT = re.compile(r"^type (\w+) struct \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r'json:"(?:,inline)?" protobuf:"[^"]*name=(\w+)"')


def main() -> None:
    """Write the file."""
    known: dict[str, Fields] = {}
    for module in _MODULES:
        folder = _module_folder(module)
        for file in folder.rglob("generated.proto"):
            package = f"{module}/{file.parent.relative_to(folder)}".replace("/", ".")
            known |= _read_package(file, package)
    roots = {
        f"{version} {kind}": f"k8s.io.api.{_FOLDERS.get(version, version).replace('/', '.')}.{kind}"
        for version, kinds in _ROOTS.items()
        for kind in kinds
    }
    messages: dict[str, Fields] = {}
    wanted = [*roots.values(), "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions"]
    while wanted:
        name = wanted.pop()
        if name in messages or name not in known:
            continue
        messages[name] = known[name]
        wanted += [kind.rpartition(" ")[2] for _, kind in known[name].values()]
    facts = {"kinds": roots, "messages": messages}
    text = json.dumps(facts, separators=(",", ":"), sort_keys=True)
    packed = gzip.compress(text.encode(), compresslevel=9, mtime=0)
    _OUTPUT.write_bytes(packed)
    print(f"{_OUTPUT.relative_to(_REPOSITORY)}: {len(packed)} bytes, {len(messages)} messages")


def _module_folder(module: str) -> Path:
    done = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", module],
        cwd=_ENVTEST,
        env=inherited_environment("HOME", "PATH", "GOPATH", "GOMODCACHE"),
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip())


def _read_package(file: Path, package: str) -> dict[str, Fields]:
    text = re.sub(r"^\s*//.*$", "", file.read_text(), flags=re.MULTILINE)
    inlined = {
        (struct, name)
        for source in file.parent.glob("*.go")
        for struct, body in _STRUCT.findall(source.read_text())
        for name in _INLINE.findall(body)
    }
    found: dict[str, Fields] = {}
    for message, body in _MESSAGE.findall(text):
        found[f"{package}.{message}"] = {
            number: ["" if (message, name) in inlined else name, _type(how, kind, package)]
            for how, kind, name, number in _FIELD.findall(body)
        }
    return found


def _type(how: str, kind: str, package: str) -> str:
    """``string``, ``repeated string``, ``map string`` or the same with a message's full name."""
    word = "repeated " if how == "repeated" else ""
    if kind.startswith("map<"):
        word, kind = "map ", kind.removeprefix("map<string, ").removesuffix(">")
    if kind.startswith("."):
        return word + kind.removeprefix(".")
    return word + (f"{package}.{kind}" if kind[0].isupper() else kind)


if __name__ == "__main__":
    main()
