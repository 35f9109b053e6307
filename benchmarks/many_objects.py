"""One overlay with very many objects, as an application that grew for years has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

OBJECTS = 2000
KINDS = 4
CHANGED = 0.05
_SCALED = 0
"""Deployments have no pods: what is measured is the apply, not how a node starts containers."""

_PART = """\
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
  annotations: {{bench.example/release: "{release}"}}
automountServiceAccountToken: false
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}}}
data:
  LOG_LEVEL: info
  RELEASE: "{release}"
  UPSTREAM: http://{name}.example:8080/api
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  annotations: {{bench.example/release: "{release}"}}
spec:
  clusterIP: None
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  annotations: {{bench.example/release: "{release}"}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      serviceAccountName: {name}
      nodeSelector: {{bench.example/node: none}}
      securityContext: {{runAsNonRoot: true, runAsUser: 65532}}
      containers:
        - name: api
          image: {image}
          ports: [{{name: http, containerPort: 8080}}]
          envFrom: [{{configMapRef: {{name: {name}}}}}]
          env: [{{name: RELEASE, value: "{release}"}}]
          readinessProbe: {{httpGet: {{path: /ready, port: http}}, periodSeconds: 5}}
          livenessProbe: {{httpGet: {{path: /live, port: http}}, periodSeconds: 10}}
          resources:
            requests: {{cpu: 10m, memory: 16Mi}}
            limits: {{memory: 64Mi}}
"""


@dataclass(frozen=True, slots=True)
class ManyObjects:
    """An overlay of parts of four objects each: account, settings, service and workload.

    Attributes:
        image: Image of every workload.
        objects: How many objects there are; a multiple of `KINDS`.
        folder: Where the overlay is.
    """

    image: str
    objects: int = OBJECTS
    folder: str = "overlay"

    @property
    def parts(self) -> range:
        """Numbers of the parts."""
        return range(self.objects // KINDS)

    @property
    def changed_parts(self) -> range:
        """Parts that the second release changes: `CHANGED` of them, and one at least."""
        return range(max(1, round(CHANGED * len(self.parts))))

    @property
    def changing(self) -> int:
        """How many objects the second release changes."""
        return KINDS * len(self.changed_parts)

    def files(self) -> dict[str, str]:
        """Write the first release."""
        names = "".join(f"  - {self._file(number)}\n" for number in self.parts)
        found = {f"{self.folder}/kustomization.yaml": f"resources:\n{names}"}
        return found | self._write(self.parts, "1")

    def change(self) -> dict[str, str]:
        """Write what the second release changes: every object of some parts."""
        return self._write(self.changed_parts, "2")

    def touch(self) -> dict[str, str]:
        """Write a file in another way that says the same."""
        (path, text), *_ = self.change().items()
        return {path: f"# The first part.\n{text}"}

    def _write(self, parts: Collection[int], release: str) -> dict[str, str]:
        return {
            f"{self.folder}/{self._file(number)}": _PART.format(
                name=f"part-{number:03d}",
                image=self.image,
                release=release,
                # One workload wants a pod that no node takes, so that the set is never healthy.
                replicas=_SCALED if number else 1,
            )
            for number in parts
        }

    def _file(self, number: int) -> str:
        return f"part-{number:03d}.yaml"
