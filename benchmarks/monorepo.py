"""A repository with many applications in it, as large teams have."""

from __future__ import annotations

from dataclasses import dataclass

OVERLAYS = 500
OBJECTS = 4

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: api}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: api}}}}
  template:
    metadata: {{labels: {{app: api}}}}
    spec:
      serviceAccountName: api
      terminationGracePeriodSeconds: 1
      containers:
        - name: api
          image: {image}
          ports: [{{name: http, containerPort: 8080}}]
          envFrom: [{{configMapRef: {{name: settings}}}}]
          readinessProbe: {{httpGet: {{path: /ready, port: http}}, periodSeconds: 1}}
          resources:
            requests: {{cpu: 10m, memory: 16Mi}}
            limits: {{memory: 64Mi}}
"""
_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: api}
spec:
  selector: {app: api}
  ports: [{name: http, port: 80, targetPort: http}]
"""
_ACCOUNT = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: api}
automountServiceAccountToken: false
"""
_BASE = """\
resources: [deployment.yaml, service.yaml, account.yaml]
"""
_PATCH = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  template:
    metadata:
      annotations: {team: platform}
"""


@dataclass(frozen=True, slots=True)
class Monorepo:
    """What is written where; overlay 0 is that of the measured application.

    Attributes:
        image: Image that every Deployment runs.
        overlays: How many overlays there are.
    """

    image: str
    overlays: int = OVERLAYS

    def folder(self, number: int) -> str:
        """Name the folder of an application."""
        return f"apps/app-{number:03d}"

    def overlay(self, number: int, stage: str = "production") -> str:
        """Name an overlay."""
        return f"{self.folder(number)}/overlays/{stage}"

    def files(self) -> dict[str, str]:
        """Write everything."""
        found = {"README.md": "# All applications\n"}
        for number in range(self.overlays):
            folder = self.folder(number)
            found |= {
                f"{folder}/README.md": f"# Application {number}\n",
                f"{folder}/OWNERS": "platform\n",
                f"{folder}/base/kustomization.yaml": _BASE,
                f"{folder}/base/deployment.yaml": _DEPLOYMENT.format(image=self.image),
                f"{folder}/base/service.yaml": _SERVICE,
                f"{folder}/base/account.yaml": _ACCOUNT,
                f"{self.overlay(number)}/patch.yaml": _PATCH,
                **self.change(number, "0"),
            }
        return found

    def change(self, number: int, literal: str, stage: str = "production") -> dict[str, str]:
        """Write an overlay with another literal."""
        overlay = self.overlay(number, stage)
        return {
            f"{overlay}/kustomization.yaml": (
                "resources: [../../base]\n"
                "patches: [{path: patch.yaml}]\n"
                "generatorOptions: {disableNameSuffixHash: true}\n"
                "configMapGenerator:\n"
                "  - name: settings\n"
                f"    literals: [NUMBER={number}, LITERAL={literal}]\n"
            )
        }
