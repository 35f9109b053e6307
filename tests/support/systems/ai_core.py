"""ai-core: an API and a web front end, with a vault, cert-manager and the Prometheus operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.systems.story import (
    PRODUCTION,
    REMOVED,
    STAGING,
    VERSION,
    Edit,
    Fit,
    Replace,
    Scenario,
    SetLine,
    SystemStory,
    Witness,
    Write,
    fix_in_staging,
    server,
)

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

API, WEB = "ghcr.io/acme/ai-core-api", "ghcr.io/acme/ai-core-web"
DEPLOYER = "ai-core-deployer"
PORT = 3000
_RBAC = "rbac.authorization.k8s.io"
_ALL = ["get", "list", "watch", "create", "update", "patch", "delete"]

_POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ai-core-api}
spec:
  podSelector: {matchLabels: {app: ai-core-api}}
  ingress: [{ports: [{port: http}]}]
"""
_WARM_UP = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: ai-core-warm-up
  annotations: {argocd.argoproj.io/hook: PostSync}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, runAsUser: 1001}
      containers:
        - name: warm-up
          image: ghcr.io/acme/ai-core-api
          env: [{name: TASK, value: warm-up}]
"""
_CERTIFICATE = """\
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: ai-core-inside}
spec:
  secretName: ai-core-inside
  issuerRef: {group: cert-manager.io, kind: ClusterIssuer, name: inside}
  dnsNames: [ai-core-api.ai-core.svc]
"""
_INGRESS = "  - ../../ingress\n"
_NO_SERVICE = f"""\
{_INGRESS}patches:
  # The ingress sends to pods directly, somebody thought.
  - target: {{kind: Service, name: ai-core-api}}
    patch: |
      $patch: delete
      apiVersion: v1
      kind: Service
      metadata: {{name: ai-core-api}}
"""


def _bad(*more: str) -> tuple[Edit, ...]:
    """Another image, a policy instead of the budget, another limit, and more resources."""
    listed = "".join(f"  - {name}\n" for name in ("policy.yaml", *more))
    return (
        SetLine("apps/api/kustomization.yaml", "newTag", VERSION),
        Write("apps/api/policy.yaml", _POLICY),
        Replace("apps/api/kustomization.yaml", "  - pdb.yaml\n", listed),
        SetLine("base/configmap.yaml", "RATE_LIMIT_MAX", '"500"'),
    )


def _api(**more: object) -> dict[str, object]:
    return server(PORT, paths=("/health", "/health/live", "/health/ready"), **more)


def _bind(namespace: str, role: str) -> JsonObject:
    """Let the deployer do in a namespace what a ClusterRole allows."""
    account = {"kind": "ServiceAccount", "name": DEPLOYER, "namespace": "ai-core"}
    return _binding(namespace, f"{DEPLOYER}-{role}", role, account)


def _binding(namespace: str, name: str, role: str, account: JsonObject) -> JsonObject:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [account],
    }


_ACCOUNT: JsonObject = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": DEPLOYER, "namespace": "ai-core"},
}
_GITOPSD = {"kind": "ServiceAccount", "name": "gitopsd", "namespace": "gitopsd"}
_CRASH = {"code": 1, "log": ["fatal: cannot read the model index"]}
_COLD = {"code": 3, "log": ["the cache stays cold"], "whenEnv": {"TASK": "warm-up"}}

STORY = SystemStory(
    name="ai-core",
    workload="Deployment/ai-core-api",
    witness=Witness("ai-core-api", "http", "/health/live", API),
    images={
        API: _api(),
        WEB: server(8080, paths=("/", "/health/ready")),
        "pgvector/pgvector": server(
            5432,
            requireEnv=["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"],
            exec={'sh -c pg_isready -U "$POSTGRES_USER" -d "$POSTGRES_DB"': 0},
        ),
        "redis": server(6379, exec={"redis-cli ping": 0}),
    },
    fix=(SetLine("base/configmap.yaml", "RATE_LIMIT_WINDOW", f'"{VERSION}"'),),
    version="1.4.{}",
    fits=(
        Fit(("images",), REMOVED, "what goes out is named in Git, one tag a release"),
        Fit(
            ("stages", 0, "health", "timeout"),
            "12s",
            "one scenario waits until it is over",
            hurries=True,
        ),
    ),
    owned_by_admins=(
        _ACCOUNT,
        _bind("ai-core", "gitopsd"),
        _bind("ai-core", "gitopsd-ai-core"),
        _bind("monitoring", "gitopsd"),
        _bind("monitoring", "gitopsd-ai-core"),
        _binding("ai-core", "gitopsd-deployer", "gitopsd-impersonate", _GITOPSD),
    ),
    rights=(
        {
            "apiGroups": ["external-secrets.io", "cert-manager.io", "monitoring.coreos.com"],
            "resources": ["externalsecrets", "certificates", "servicemonitors"],
            "verbs": _ALL,
        },
    ),
    order=("ExternalSecret/ai-core-postgres", "StatefulSet/postgres", "Deployment/ai-core-api"),
    scenarios=(
        Scenario(name="good", outcome="Live"),
        Scenario(
            name="crashes",
            edits=_bad(),
            caught=STAGING,
            fix=fix_in_staging(),
            images={API: _api(exits=[_CRASH])},
            reason=r"^Deployment ai-core-staging/ai-core-api: .*CrashLoopBackOff.*model index",
        ),
        Scenario(
            name="image-missing",
            edits=_bad(),
            outcome="Refused",
            caught=STAGING,
            fix=fix_in_staging(),
            missing=frozenset({API}),
            reason=r"^Deployment ai-core-staging/ai-core-api: .* no image .*ai-core-api:1\.4\.\d+",
        ),
        Scenario(
            name="hook-fails",
            edits=(*_bad("warm-up.yaml"), Write("apps/api/warm-up.yaml", _WARM_UP)),
            caught=STAGING,
            fix=fix_in_staging(),
            images={API: _api(exits=[_COLD])},
            reason=r"^Job ai-core-staging/ai-core-warm-up.*exited with 3.*the cache stays cold",
        ),
        Scenario(
            name="smoke-fails",
            # All is well until what left Git is deleted; the check is repeated after that.
            edits=(
                *_bad(),
                Replace("overlays/production/kustomization.yaml", _INGRESS, _NO_SERVICE),
            ),
            caught=PRODUCTION,
            reach="Pruned",
            reason=r"^Service ai-core/ai-core-api: check ai-core-api/health failed when repeated: "
            r'.*(no endpoints available for service|services) "ai-core-api"',
        ),
        Scenario(
            name="certificate-unready",
            edits=(*_bad("inside.yaml"), Write("apps/api/inside.yaml", _CERTIFICATE)),
            caught=STAGING,
            fix=fix_in_staging(),
            unready=("Certificate/ai-core-inside",),
            reason=r"^its time is over and the last look was not healthy: Certificate "
            r"ai-core-staging/ai-core-inside: DoesNotExist: Issuing certificate as Secret does not "
            r"exist$",
        ),
    ),
)
