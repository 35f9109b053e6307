"""Overlays that use every part of kustomize people use, as files of a repository.

Each lies in ``overlay`` unless `OVERLAY_PATHS` says otherwise.
"""

from __future__ import annotations

import json

from tests.support.repositories import Files

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {tier: front}
spec:
  replicas: 1
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      initContainers:
        - name: prepare
          image: ghcr.io/acme/tools:2.1
      containers:
        - name: web
          image: ghcr.io/acme/web:1.0
          envFrom:
            - configMapRef: {name: settings}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  GREETING: hello
"""
BASE: Files = {
    "base/kustomization.yaml": "resources: [deployment.yaml, service.yaml, config.yaml]\n",
    "base/deployment.yaml": DEPLOYMENT,
    "base/service.yaml": SERVICE,
    "base/config.yaml": CONFIG,
}

_COMPONENT_HEAD = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"

_ODD_SCALARS = """\
apiVersion: odd.example.test/v1
kind: Odd
metadata:
  name: odd
  annotations:
    text: "yes"
spec:
  a: on
  b: yes
  c: 0644
  d: 0o644
  e: 1e3
  f: 1:20
  g: 007
  h: 2024-01-02
  i: !!binary aGk=
  j: .5
  k: =
  l: ~
  m: null
  n: 0x1F
  o: 1_000
  p: "0644"
  q: +1
  r: 1.
  s: 'x'
  t: NO
  u: 1.0
  v: -0
  w: 2024-01-02T00:00:00Z
  x: 18446744073709551615
  y: -9223372036854775808
  z: 1e-7
"""


def _many() -> Files:
    """Sixty services of five objects each, patched and configured: 300 objects."""
    files: dict[str, str] = {}
    names = [f"service-{number:02}" for number in range(60)]
    for name in names:
        files[f"apps/{name}/kustomization.yaml"] = (
            f"resources: [objects.yaml]\nnamePrefix: {name}-\n"
            "configMapGenerator: [{name: settings, literals: [level=info]}]\n"
        )
        parts = (DEPLOYMENT, SERVICE, *(_account(kind) for kind in ("reader", "writer")))
        files[f"apps/{name}/objects.yaml"] = "---\n".join(parts)
    bases = "".join(f"  - ../apps/{name}\n" for name in names)
    patches = "".join(
        f"  - target: {{kind: Deployment, name: {name}-web}}\n"
        f'    patch: \'[{{"op": "replace", "path": "/spec/replicas", "value": {number}}}]\'\n'
        for number, name in enumerate(names, 1)
    )
    images = "images: [{name: ghcr.io/acme/web, newTag: '2.0'}]\n"
    files["overlay/kustomization.yaml"] = (
        f"resources:\n{bases}namespace: many\n{images}patches:\n{patches}"
    )
    return files


def _account(name: str) -> str:
    return f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}\n"


OVERLAYS: dict[str, Files] = {
    "plain": {
        "overlay/kustomization.yaml": "resources:\n- deployment.yaml\n- service.yaml\n",
        "overlay/deployment.yaml": DEPLOYMENT,
        "overlay/service.yaml": SERVICE,
    },
    "base, namespace, prefix and suffix": {
        **BASE,
        "overlay/kustomization.yml": (
            "resources: [../base]\nnamespace: shop\nnamePrefix: eu-\nnameSuffix: -v2\n"
        ),
    },
    "components": {
        **BASE,
        "components/tls/kustomization.yaml": (
            f"{_COMPONENT_HEAD}resources: [certificate.yaml]\n"
            "patches: [{path: mount.yaml, target: {kind: Deployment}}]\n"
        ),
        "components/tls/certificate.yaml": CONFIG.replace("settings", "certificate"),
        "components/tls/mount.yaml": (
            '[{"op": "add", "path": "/spec/template/spec/dnsPolicy", "value": "Default"}]\n'
        ),
        "components/more/Kustomization": (
            f"{_COMPONENT_HEAD}replicas: [{{name: web, count: 4}}]\n"
        ),
        "overlay/kustomization.yaml": (
            "resources: [../base]\ncomponents: [../components/tls, ../components/more/]\n"
        ),
    },
    "generators with merge": {
        "base/kustomization.yaml": (
            "resources: [deployment.yaml]\n"
            "configMapGenerator: [{name: settings, literals: [GREETING=hello, NAME=base]}]\n"
            "secretGenerator: [{name: login, type: Opaque, files: [token=secret.txt]}]\n"
        ),
        "base/deployment.yaml": DEPLOYMENT,
        "base/secret.txt": "not a secret\n",
        "overlay/kustomization.yaml": (
            "resources: [../base]\n"
            "generatorOptions: {labels: {made: generated}}\n"
            "configMapGenerator:\n"
            "  - name: settings\n    behavior: merge\n    envs: [more.env]\n"
            "    files: [page.html, greeting=files/greeting.txt]\n"
            "  - name: fixed\n    options: {disableNameSuffixHash: true, immutable: true}\n"
            "    literals: ['a=b=c']\n"
        ),
        "overlay/more.env": "NAME=overlay\n# a comment\nEMPTY=\n",
        "overlay/page.html": "<p>page</p>\n",
        "overlay/files/greeting.txt": "good morning\n",
    },
    "replacements": {
        **BASE,
        "overlay/kustomization.yaml": (
            "resources: [../base]\nreplacements:\n  - path: replacement.yaml\n"
            "  - source: {kind: Service, name: web, fieldPath: spec.ports.0.port}\n"
            "    targets:\n      - select: {kind: ConfigMap}\n"
            "        fieldPaths: [data.PORT]\n        options: {create: true}\n"
        ),
        "overlay/replacement.yaml": (
            "source: {kind: ConfigMap, name: settings, fieldPath: data.GREETING}\n"
            "targets:\n  - select: {kind: Deployment}\n"
            "    fieldPaths: [metadata.annotations.greeting]\n    options: {create: true}\n"
        ),
    },
    "targeted patches": {
        **BASE,
        "overlay/kustomization.yaml": (
            "resources: [../base]\npatches:\n"
            "  - path: strategic.yaml\n"
            "  - path: operations.json\n    target: {kind: Service, labelSelector: '!none'}\n"
            "  - target: {kind: Deployment, name: we.*}\n    patch: |-\n"
            "      - op: add\n        path: /spec/paused\n        value: true\n"
            "  - patch: |-\n      apiVersion: v1\n      kind: ConfigMap\n"
            "      metadata: {name: settings}\n      $patch: delete\n"
        ),
        "overlay/strategic.yaml": (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
            "spec: {template: {spec: {containers: [{name: web, args: [--fast]}]}}}\n"
        ),
        "overlay/operations.json": (
            '[{"op": "replace", "path": "/spec/ports/0/port", "value": 8080}]\n'
        ),
    },
    "images": {
        **BASE,
        "overlay/kustomization.yaml": (
            "resources: [../base]\nimages:\n"
            "  - {name: ghcr.io/acme/web, newTag: '1.7'}\n"
            "  - {name: ghcr.io/acme/tools, newName: registry.example.test:5000/tools}\n"
        ),
    },
    "custom resources": {
        "overlay/kustomization.yaml": (
            "resources: [definition.yaml, backup.yaml, settings.yaml]\ncrds: [schema.json]\n"
            "namePrefix: eu-\n"
        ),
        "overlay/definition.yaml": (
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
            "metadata: {name: backups.example.test}\nspec:\n  group: example.test\n"
            "  names: {kind: Backup, plural: backups}\n  scope: Namespaced\n"
            "  versions:\n    - name: v1\n      served: true\n      storage: true\n"
            "      schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object,"
            " properties: {containers: {type: array, items: {type: object}}}}}}}\n"
        ),
        "overlay/backup.yaml": (
            "apiVersion: example.test/v1\nkind: Backup\nmetadata: {name: nightly}\n"
            "spec: {settingsRef: {name: settings}, template: {containers: [{name: run,"
            " image: ghcr.io/acme/backup}]}}\n"
        ),
        "overlay/settings.yaml": CONFIG,
        "overlay/schema.json": json.dumps(
            {
                "test.example.v1.Backup": {
                    "Schema": {
                        "properties": {
                            "spec": {"$ref": "test.example.v1.BackupSpec"},
                        },
                        "x-kubernetes-group-version-kind": [
                            {"group": "example.test", "kind": "Backup", "version": "v1"}
                        ],
                    }
                }
            }
        ),
    },
    "openapi": {
        "overlay/kustomization.yaml": (
            "resources: [machine.yaml]\nopenapi: {path: schema.json}\npatches: [{path: p.yaml}]\n"
        ),
        "overlay/machine.yaml": (
            "apiVersion: example.test/v1\nkind: Machine\nmetadata: {name: one}\n"
            "spec: {parts: [{name: wheel, size: 1}, {name: belt, size: 2}]}\n"
        ),
        "overlay/p.yaml": (
            "apiVersion: example.test/v1\nkind: Machine\nmetadata: {name: one}\n"
            "spec: {parts: [{name: belt, size: 3}]}\n"
        ),
        "overlay/schema.json": json.dumps(
            {
                "definitions": {
                    "test.example.v1.Machine": {
                        "properties": {
                            "spec": {
                                "properties": {
                                    "parts": {
                                        "items": {"type": "object"},
                                        "type": "array",
                                        "x-kubernetes-patch-merge-key": "name",
                                        "x-kubernetes-patch-strategy": "merge",
                                    }
                                },
                                "type": "object",
                            }
                        },
                        "type": "object",
                        "x-kubernetes-group-version-kind": [
                            {"group": "example.test", "kind": "Machine", "version": "v1"}
                        ],
                    }
                }
            }
        ),
    },
    "300 objects": _many(),
    "unicode": {
        "overlay/kustomization.yaml": (
            "resources: [größe.yaml]\nconfigMapGenerator:\n"
            "  - {name: words, files: [挨拶.txt], literals: ['emoji=🚀']}\n"
        ),
        "overlay/größe.yaml": (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sizes}\n"
            'data: {text: "Größe: 3 µm\\n\\u2028 end", "long": "'
            + "wörter " * 40
            + '", tab: "a\\tb", blank: "  x  "}\n'
        ),
        "overlay/挨拶.txt": "こんにちは\n世界\n",
    },
    "odd scalars": {
        "overlay/kustomization.yaml": "resources: [odd.yaml]\n",
        "overlay/odd.yaml": _ODD_SCALARS,
    },
    "labels and annotations": {
        **BASE,
        "overlay/kustomization.yaml": (
            "resources: [../base]\ncommonAnnotations: {team: platform}\nlabels:\n"
            "  - pairs: {app.kubernetes.io/managed-by: somebody-else, color: red}\n"
            "  - {pairs: {track: stable}, includeSelectors: true}\n"
        ),
    },
    "old fields": {
        **BASE,
        "overlay/kustomization.yaml": (
            "bases: [../base]\ncommonLabels: {old: 'yes'}\n"
            "patchesStrategicMerge:\n  - merge.yaml\n  - |-\n    apiVersion: v1\n"
            "    kind: Service\n    metadata: {name: web}\n    spec: {type: NodePort}\n"
            "patchesJson6902:\n  - target: {version: v1, kind: ConfigMap, name: settings}\n"
            "    path: operations.yaml\n"
            "imageTags: [{name: ghcr.io/acme/web, newTag: '9'}]\n"
            "vars: [{name: HOST, objref: {kind: Service, name: web, apiVersion: v1}}]\n"
            "configurations: [more.yaml]\n"
        ),
        "overlay/merge.yaml": (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
            "spec: {template: {spec: {containers: [{name: web, args: [$(HOST)]}]}}}\n"
        ),
        "overlay/operations.yaml": "- {op: add, path: /data/MORE, value: 'true'}\n",
        "overlay/more.yaml": "commonAnnotations:\n  - {path: metadata/annotations, create: true}\n",
    },
    "lists": {
        "overlay/kustomization.yaml": "resources: [list.yaml]\n",
        "overlay/list.yaml": (
            "apiVersion: v1\nkind: List\nitems:\n"
            "  - {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}\n"
            "  - {apiVersion: v1, kind: ConfigMap, metadata: {name: two}}\n"
        ),
    },
    "one base used twice": {
        **BASE,
        "eu/kustomization.yaml": "resources: [../base]\nnamePrefix: eu-\n",
        "us/kustomization.yaml": "resources: [../base]\nnamePrefix: us-\n",
        "overlay/kustomization.yaml": "resources: [../eu, ../us]\nsortOptions: {order: fifo}\n",
    },
    "jobs and image volumes": {
        "overlay/kustomization.yaml": "resources: [jobs.yaml]\n",
        "overlay/jobs.yaml": (
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly}\n"
            "spec:\n  schedule: '0 3 * * *'\n  jobTemplate:\n    spec:\n      template:\n"
            "        spec:\n          restartPolicy: Never\n"
            "          containers: [{name: run, image: busybox}]\n"
            "---\napiVersion: v1\nkind: Pod\nmetadata: {name: reader}\nspec:\n"
            "  containers: [{name: read, image: 'registry.example.test:5000/reader:3'}]\n"
            "  volumes: [{name: model, image: {reference: 'ghcr.io/acme/model:7'}}]\n"
            "---\n---\n# nothing but a comment\n"
        ),
    },
    "anchors": {
        "overlay/kustomization.yaml": "resources: [anchored.yaml]\n---\n",
        "overlay/anchored.yaml": (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: &name anchored}\n"
            "data: &data {name: *name, other: value}\n---\n"
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: copy}\n"
            "data: {<<: {a: b}, c: d}\n"
        ),
    },
    "the repository itself": {
        "kustomization.yaml": "resources: [deployment.yaml, nested]\n",
        "deployment.yaml": DEPLOYMENT,
        "nested/kustomization.yaml": "resources: [service.yaml]\n",
        "nested/service.yaml": SERVICE,
    },
    "nothing": {"overlay/kustomization.yaml": "namespace: shop\n"},
}
"""Name -> files."""

OVERLAY_PATHS = {"the repository itself": "."}
"""Where an overlay lies that does not lie in ``overlay``."""
