"""What a repository must not do: one row each, with the place that is told.

Each row is a whole repository whose overlay is ``overlay``.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.overlays import BASE, CONFIG, DEPLOYMENT, SERVICE
from tests.support.repositories import Files, Gitlink, Symlink

REMOTE = "http://127.0.0.1:9/x.yaml"


@dataclass(frozen=True, slots=True)
class Hostile:
    """One row.

    Attributes:
        files: What is committed; the overlay is ``overlay``.
        reason: Reason of the rejection.
        place: ``path:line`` that its message begins with.
    """

    files: Files
    reason: str
    place: str


def _one(kustomization: str, reason: str, line: int, **more: str) -> Hostile:
    """A row whose overlay is one kustomization with good files beside it."""
    files = {
        "overlay/kustomization.yaml": kustomization,
        "overlay/deployment.yaml": DEPLOYMENT,
        "overlay/service.yaml": SERVICE,
        **{name.replace("__", "/"): content for name, content in more.items()},
    }
    return Hostile(files, reason, f"overlay/kustomization.yaml:{line}")


def _remote(kustomization: str, line: int) -> Hostile:
    return _one(kustomization, "RemoteBase", line)


REMOTE_FIELDS = {
    "resources": _remote(f"resources:\n- deployment.yaml\n- {REMOTE}\n", 3),
    "resources in brackets": _remote(
        f"namespace: a\nresources: [deployment.yaml, '{REMOTE}']\n", 2
    ),
    "bases": _remote(f"bases:\n  - {REMOTE}\n", 2),
    "components": _remote(f"resources: [deployment.yaml]\ncomponents: [{REMOTE}]\n", 2),
    "patches": _remote(
        f"resources: [service.yaml]\npatches:\n- target: {{kind: Service}}\n  path: {REMOTE}\n", 4
    ),
    "patchesStrategicMerge": _remote(
        f"resources: [deployment.yaml]\npatchesStrategicMerge: ['{REMOTE}']\n", 2
    ),
    "patchesJson6902": _remote(
        f"resources: [deployment.yaml]\npatchesJson6902:\n- {{path: '{REMOTE}'}}\n", 3
    ),
    "configMapGenerator files": _remote(
        f"configMapGenerator:\n- name: a\n  files:\n  - key={REMOTE}\n", 4
    ),
    "configMapGenerator envs": _remote(f"configMapGenerator:\n- name: a\n  envs: [{REMOTE}]\n", 3),
    "configMapGenerator env": _remote(f"configMapGenerator:\n- name: a\n  env: {REMOTE}\n", 3),
    "secretGenerator files": _remote(f"secretGenerator:\n- {{name: a, files: ['{REMOTE}']}}\n", 2),
    "secretGenerator envs": _remote(f"secretGenerator:\n- name: a\n  envs:\n  - {REMOTE}\n", 4),
    "openapi": _remote(f"resources: [deployment.yaml]\nopenapi:\n  path: {REMOTE}\n", 3),
    "crds": _remote(f"resources: [deployment.yaml]\n\ncrds:\n# comment\n- {REMOTE}\n", 5),
    "configurations": _remote(f"resources: [deployment.yaml]\nconfigurations: [{REMOTE}]\n", 2),
    "replacements": _remote(f"resources: [deployment.yaml]\nreplacements:\n- path: {REMOTE}\n", 3),
    "transformers": _one(f"resources: [deployment.yaml]\ntransformers:\n- {REMOTE}\n", "Plugin", 2),
    "generators": _one(f"resources: [deployment.yaml]\n\ngenerators: [{REMOTE}]\n", "Plugin", 3),
    "validators": _one(f"validators: [{REMOTE}]\nresources: [deployment.yaml]\n", "Plugin", 1),
    "https": _remote("resources: [https://example.test/x.yaml]\n", 1),
    "https without slashes": _remote("resources: ['https:example.test/x.yaml']\n", 1),
    "upper case": _remote("resources: ['HTTPS://example.test/x.yaml']\n", 1),
    "ssh": _remote("resources: ['ssh://git@example.test/x.git']\n", 1),
    "scp-like": _remote("resources: ['git@example.test:acme/x.git']\n", 1),
    "user before a path": _remote("resources: ['me@example.test/acme/x']\n", 1),
    "local repository": _remote("resources: ['file:///srv/git/other.git']\n", 1),
    "GitHub": _remote("resources: [github.com/acme/x?ref=main]\n", 1),
    "GitHub with a colon": _remote("resources: ['GitHub.com:acme/x']\n", 1),
    "forced Git": _remote("resources: ['git::https://example.test/x.git//base']\n", 1),
    "in a base": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [../base]\n",
            "base/kustomization.yaml": f"resources:\n- {REMOTE}\n",
        },
        "RemoteBase",
        "base/kustomization.yaml:2",
    ),
    "in a component": Hostile(
        {
            **BASE,
            "overlay/kustomization.yaml": "resources: [../base]\ncomponents: [../component]\n",
            "component/kustomization.yaml": (
                "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
                f"patches:\n  - path: {REMOTE}\n"
            ),
        },
        "RemoteBase",
        "component/kustomization.yaml:4",
    ),
}
"""Every field that names a path, and every shape of what is remote."""

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

ROWS = {
    **{f"remote: {name}": row for name, row in REMOTE_FIELDS.items()},
    "absolute resource": _one("resources:\n- /etc/passwd\n", "AbsolutePath", 2),
    "absolute base": _one("resources:\n- deployment.yaml\n- /etc\n", "AbsolutePath", 3),
    "absolute file": _one(
        "configMapGenerator: [{name: a, files: ['k=/etc/passwd']}]\n", "AbsolutePath", 1
    ),
    "base outside the repository": _one("resources: [../../other]\n", "OutsideRepository", 1),
    "file outside the repository": _one(
        "secretGenerator:\n- name: a\n  files: [../../../etc/passwd]\n", "OutsideRepository", 3
    ),
    "file of a sibling": _one(
        "resources:\n- ../base/x.yaml\n", "OutsideRoot", 2, base__x="", **{"base__x.yaml": CONFIG}
    ),
    "symbolic link to a file": Hostile(
        {
            "overlay/kustomization.yaml": "resources:\n- link.yaml\n",
            "overlay/link.yaml": Symlink("/etc/passwd"),
        },
        "Symlink",
        "overlay/kustomization.yaml:2",
    ),
    "symbolic link inside the repository": Hostile(
        {
            **BASE,
            "overlay/kustomization.yaml": "configMapGenerator:\n- name: a\n  files: [k=link]\n",
            "overlay/link": Symlink("../base/config.yaml"),
        },
        "Symlink",
        "overlay/kustomization.yaml:3",
    ),
    "symbolic link to a directory": Hostile(
        {"overlay/kustomization.yaml": "resources: [up]\n", "overlay/up": Symlink("..")},
        "Symlink",
        "overlay/kustomization.yaml:1",
    ),
    "file through a linked directory": Hostile(
        {
            "overlay/kustomization.yaml": "namespace: a\nresources: [up/etc/x.yaml]\n",
            "overlay/up": Symlink("/"),
        },
        "Symlink",
        "overlay/kustomization.yaml:2",
    ),
    "linked kustomization": Hostile(
        {"overlay/kustomization.yaml": Symlink("../base/kustomization.yaml")},
        "Symlink",
        "overlay/kustomization.yaml:1",
    ),
    "submodule": Hostile(
        {"overlay/kustomization.yaml": "resources: [vendor]\n", "overlay/vendor": Gitlink()},
        "Submodule",
        "overlay/kustomization.yaml:1",
    ),
    "generators": _one("resources: [deployment.yaml]\ngenerators: [service.yaml]\n", "Plugin", 2),
    "transformers": _one("resources: [deployment.yaml]\ntransformers:\n- x.yaml\n", "Plugin", 2),
    "validators": _one("validators: [service.yaml]\n", "Plugin", 1),
    "exec function": _one(
        "resources: [deployment.yaml]\ntransformers:\n- |-\n  apiVersion: v1\n  kind: Run\n"
        "  metadata:\n    name: run\n    annotations:\n      config.kubernetes.io/function: |\n"
        "        exec: {path: /bin/sh}\n",
        "Plugin",
        2,
    ),
    "container function": _one(
        "generators:\n- function.yaml\n",
        "Plugin",
        1,
        **{
            "overlay__function.yaml": (
                "apiVersion: v1\nkind: Run\nmetadata:\n  name: run\n  annotations:\n"
                "    config.kubernetes.io/function: 'container: {image: evil}'\n"
            )
        },
    ),
    "built-in transformer that fetches": _one(
        "resources: [deployment.yaml]\ntransformers:\n- patch.yaml\n",
        "Plugin",
        2,
        **{
            "overlay__patch.yaml": (
                "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\n"
                f"path: {REMOTE}\n"
            )
        },
    ),
    "helmCharts": _one("helmCharts:\n- name: x\n", "HelmChart", 1),
    "helmGlobals": _one("\n\nhelmGlobals: {chartHome: /}\n", "HelmChart", 3),
    "helmChartInflationGenerator": _one(
        "helmChartInflationGenerator: [{chartName: x}]\n", "HelmChart", 1
    ),
    "unknown field": _one("resources: [deployment.yaml]\nressources: [x]\n", "UnknownField", 2),
    "known field in another case": _one(f"Resources: [{REMOTE}]\n", "UnknownField", 1),
    "nested field in another case": _one(
        f"resources: [deployment.yaml]\npatches:\n- Path: {REMOTE}\n", "UnknownField", 3
    ),
    "merged field": _one(
        f"resources: [deployment.yaml]\n<<: {{crds: [{REMOTE}]}}\n", "UnknownField", 2
    ),
    "number for a path": _one("resources:\n- 7\n", "BadKustomization", 1),
    "text for a list": _one("resources: deployment.yaml\n", "BadKustomization", 1),
    "second document": _one(
        f"resources: [deployment.yaml]\n---\nresources: [{REMOTE}]\n", "BadKustomization", 1
    ),
    "empty kustomization": _one("# nothing\n", "BadKustomization", 1),
    "kustomization of no bytes": _one("", "BadKustomization", 1),
    "bad YAML in the kustomization": _one(
        "resources:\n- deployment.yaml\npatches: [\n", "BadYaml", 4
    ),
    "missing file": _one("resources:\n- deployment.yaml\n- nowhere.yaml\n", "MissingInput", 3),
    "directory for a file": Hostile(
        {**BASE, "overlay/kustomization.yaml": "crds: [.]\n"},
        "NotAFile",
        "overlay/kustomization.yaml:1",
    ),
    "file for a component": _one("components: [service.yaml]\n", "NotADirectory", 1),
    "base without a kustomization": _one(
        "resources:\n- deployment.yaml\n- ../empty\n", "NoKustomization", 3, empty__x="x"
    ),
    "two kustomizations": _one(
        "resources: [deployment.yaml]\n",
        "TwoKustomizations",
        1,
        overlay__Kustomization="resources: [service.yaml]\n",
    ),
    "base that uses itself": _one("resources: [deployment.yaml, .]\n", "BaseCycle", 1),
    "bases in a circle": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [../one]\n",
            "one/kustomization.yaml": "resources: [../two]\n",
            "two/kustomization.yaml": "namespace: a\nresources:\n- ../one\n",
        },
        "BaseCycle",
        "two/kustomization.yaml:3",
    ),
    "base above what uses it": Hostile(
        {"overlay/kustomization.yaml": "resources: [..]\n", "kustomization.yaml": "namespace: a\n"},
        "BaseCycle",
        "overlay/kustomization.yaml:1",
    ),
    "alias bomb in the kustomization": _one(f"namespace: a\n{BOMB}", "AliasBomb", 3),
    "alias bomb in a resource": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [bomb.yaml]\n",
            "overlay/bomb.yaml": f"kind: ConfigMap\n{BOMB}",
        },
        "AliasBomb",
        "overlay/bomb.yaml:3",
    ),
    "25,600 brackets in the kustomization": _one(f"a: b\nc: {'[' * 25_600}", "TooDeep", 2),
    "25,600 brackets in a resource": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [deep.yaml]\n",
            "overlay/deep.yaml": f"kind: ConfigMap\ndata:\n  a: {'[' * 25_600}\n",
        },
        "TooDeep",
        "overlay/deep.yaml:3",
    ),
    "a million brackets": _one("[" * 999_999, "TooDeep", 1),
    "brackets line by line": _one("resources:\n" + " [\n" * 25_600, "TooDeep", 129),
    "bad YAML in a resource": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [bad.yaml]\n",
            "overlay/bad.yaml": f"{CONFIG} bad: [\n",
        },
        "BadYaml",
        "overlay/bad.yaml:7",
    ),
    "tab in a resource": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [bad.yaml]\n",
            "overlay/bad.yaml": "apiVersion: v1\nkind: ConfigMap\n\tmetadata: {}\n",
        },
        "BadYaml",
        "overlay/bad.yaml:3",
    ),
    "bad YAML in a base": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [../base]\n",
            "base/kustomization.yaml": "resources: [bad.yaml]\n",
            "base/bad.yaml": "a: b: c\n",
        },
        "BadYaml",
        "base/bad.yaml:1",
    ),
    "bad YAML in a patch": Hostile(
        {
            "overlay/kustomization.yaml": (
                "resources: [deployment.yaml]\npatches: [{path: patch.yaml}]\n"
            ),
            "overlay/deployment.yaml": DEPLOYMENT,
            "overlay/patch.yaml": "a: 'open\n",
        },
        "BadYaml",
        "overlay/patch.yaml:2",
    ),
    "object without a kind": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [odd.yaml]\n",
            "overlay/odd.yaml": "metadata: {name: a}\n",
        },
        "BuildFailed",
        "overlay/odd.yaml:1",
    ),
    "object without a name": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [odd.yaml]\n",
            "overlay/odd.yaml": "apiVersion: v1\nkind: ConfigMap\n",
        },
        "BuildFailed",
        "overlay/odd.yaml:1",
    ),
    "key that is no text": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [service.yaml, odd.yaml]\n",
            "overlay/service.yaml": SERVICE,
            "overlay/odd.yaml": f"{CONFIG}  7: x\n",
        },
        "BuildFailed",
        "overlay/odd.yaml:1",
    ),
    "patch without a target": Hostile(
        {
            "overlay/kustomization.yaml": (
                "resources: [service.yaml]\npatches: [{path: patch.yaml}]\n"
            ),
            "overlay/service.yaml": SERVICE,
            "overlay/patch.yaml": f"# a comment\n{DEPLOYMENT}",
        },
        "BuildFailed",
        "overlay/patch.yaml:1",
    ),
    "field of the wrong type": _one(
        "resources: [deployment.yaml]\nnamespace: [a]\n", "BuildFailed", 2
    ),
    "duplicate object in one file": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [twice.yaml]\n",
            "overlay/twice.yaml": f"{CONFIG}---\n{SERVICE}---\n{CONFIG}",
        },
        "DuplicateObject",
        "overlay/twice.yaml:16",
    ),
    "duplicate object in two files": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [service.yaml, again.yaml]\n",
            "overlay/service.yaml": SERVICE,
            "overlay/again.yaml": f"---\n{SERVICE}",
        },
        "DuplicateObject",
        "overlay/again.yaml:2",
    ),
    "duplicate object in two versions": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [one.yaml, two.yaml]\n",
            "overlay/one.yaml": DEPLOYMENT,
            "overlay/two.yaml": DEPLOYMENT.replace("apps/v1", "apps/v1beta1"),
        },
        "DuplicateObject",
        "overlay/two.yaml:1",
    ),
    "Git LFS pointer": Hostile(
        {
            "overlay/kustomization.yaml": "configMapGenerator: [{name: a, files: [model.bin]}]\n",
            "overlay/model.bin": (
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
            ),
        },
        "LargeFilePointer",
        "overlay/model.bin:1",
    ),
    "kustomization above 1 MB": _one(
        "resources: [deployment.yaml]\n" + "# more words\n" * 80_000, "KustomizationTooLarge", 1
    ),
    "more than 2,000 files": Hostile(
        {
            "overlay/kustomization.yaml": (
                "configMapGenerator:\n- name: a\n  files:\n"
                + "".join(f"  - f/{number}\n" for number in range(2_001))
            ),
            **{f"overlay/f/{number}": "x" for number in range(2_001)},
        },
        "TooManyInputs",
        "overlay/kustomization.yaml:2003",
    ),
    "more than 20 MB": _one(
        "configMapGenerator:\n- name: a\n  files:\n  - one\n  - two\n",
        "InputsTooLarge",
        5,
        overlay__one="1" * 11_000_000,
        overlay__two="2" * 11_000_000,
    ),
    "output above 10 MB": Hostile(
        {
            "overlay/kustomization.yaml": (
                "configMapGenerator:\n"
                + "".join(f"- {{name: a{number}, files: [text]}}\n" for number in range(12))
            ),
            "overlay/text": "a line of text\n" * 65_000,
        },
        "OutputTooLarge",
        "overlay/kustomization.yaml:1",
    ),
    "more than 5,000 objects": Hostile(
        {
            "overlay/kustomization.yaml": "resources: [many.yaml]\n",
            "overlay/many.yaml": "---\n".join(
                f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number}}}\n"
                for number in range(5_001)
            ),
        },
        "OutputTooLarge",
        "overlay/kustomization.yaml:1",
    ),
    "more than 5,000 generated objects": _one(
        "configMapGenerator:\n"
        + "".join(f"- {{name: c{number}, literals: [a=b]}}\n" for number in range(5_001)),
        "OutputTooLarge",
        1,
    ),
}
"""Name -> row."""
