"""agents-framework: what its parts do when they run, and five releases of it.

Its guide fears databases that cannot be reached because pools take more connections than there
are, statements that take too long, and answers that come too late; and it counts on waves, so that
what comes later never meets an older part before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.support.systems.story import (
    PRODUCTION,
    REMOVED,
    STAGING,
    VERSION,
    Behaviour,
    Edit,
    Fit,
    PlantedSecret,
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

_BUILD: Final = "framework-agentes-ia"
GATEWAY, ORCHESTRATOR = f"{_BUILD}/gateway", f"{_BUILD}/orquestador"
REGISTRY, KNOWLEDGE = f"{_BUILD}/registro-herramientas", f"{_BUILD}/conocimiento"
_COMMON: Final = ["ENVIRONMENT", "NODE_ENV", "NODE_OPTIONS"]
_PATHS: Final = ("/health", "/ready")

_ORCHESTRATOR = server(
    3000,
    paths=(*_PATHS, "/metrics"),
    requireEnv=[
        *_COMMON,
        *("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "ENCRYPTION_KEY"),
        *("TOOL_REGISTRY_URL", "KNOWLEDGE_URL", "QUEUE_ADDRESS"),
    ],
)

_IMAGES: Final[dict[str, Behaviour]] = {
    GATEWAY: server(
        *(3000, 3443), paths=_PATHS, requireEnv=[*_COMMON, "SSL_CERT_PATH", "SSL_KEY_PATH"]
    ),
    ORCHESTRATOR: _ORCHESTRATOR,
    REGISTRY: server(3000, paths=_PATHS, requireEnv=[*_COMMON, "DATABASE_URL", "REDIS_URL"]),
    KNOWLEDGE: server(
        3000, paths=_PATHS, requireEnv=[*_COMMON, "VECTOR_DB_URL", "EMBEDDING_SERVICE_URL"]
    ),
    # The server, and psql in the Job that makes indexes. They have variables of their own.
    "postgres": {
        "ports": [5432],
        "exits": [
            {
                "code": 3,
                "whenEnv": {"PGOPTIONS": "-c statement_timeout=5s"},
                "log": [
                    "psql:/sql/indexes.sql:6: ERROR:  canceling statement due to statement timeout"
                ],
            },
            {"code": 0, "whenEnv": {"PGHOST": "postgres"}, "log": ["CREATE INDEX"]},
        ],
    },
    "redis": {"ports": [6379], "requireEnv": ["REDIS_PASSWORD"]},
    "semitechnologies/weaviate": server(
        8080,
        paths=("/v1/.well-known/ready",),
        requireEnv=["AUTHENTICATION_OIDC_ISSUER", "PERSISTENCE_DATA_PATH"],
    ),
    "rabbitmq": {
        "ports": [5672],
        "requireEnv": ["RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS"],
    },
}

_SECRETS: Final = (
    ("secreto-base-datos", ("url", "user", "password"), "Opaque"),
    ("secreto-redis", ("url", "password"), "Opaque"),
    ("secreto-cola", ("user", "password"), "Opaque"),
    ("secreto-jwt", ("secret",), "Opaque"),
    ("secreto-cifrado", ("key",), "Opaque"),
    ("secreto-tls", ("tls.crt", "tls.key"), "kubernetes.io/tls"),
)

_RIGHTS: Final[tuple[JsonObject, ...]] = (
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles", "clusterrolebindings"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["endpoints"], "verbs": ["get", "list", "watch"]},
)

_APPS: Final = "apps/kustomization.yaml"
_SETTINGS: Final = "apps/orchestrator/configmap.yaml"
_QUEUE: Final = "  QUEUE_ADDRESS: cola-mensajes:5672\n"
_NEW_BUILD: Final = (
    *(
        Replace(_APPS, f"{{name: {image}, newTag: 1.4.2}}", f"{{name: {image}, newTag: {VERSION}}}")
        for image in (GATEWAY, ORCHESTRATOR, REGISTRY, KNOWLEDGE)
    ),
    *(
        Replace(
            _APPS,
            f"path: {place}/metadata/labels/version, value: v1.4.2",
            f"path: {place}/metadata/labels/version, value: v{VERSION}",
        )
        for place in ("", "/spec/template")
    ),
)
"""What a release changes, says the file itself."""


def _beside_the_orchestrator(name: str, text: str) -> tuple[Edit, ...]:
    """Bring one more file with the orchestrator."""
    return (
        Replace("apps/orchestrator/kustomization.yaml", "es:\n", f"es:\n  - {name}.yaml\n"),
        Write(f"apps/orchestrator/{name}.yaml", text),
    )


_BUDGET: Final = """\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: orquestador-agentes
  annotations: {argocd.argoproj.io/sync-wave: "3"}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {app: orquestador-agentes}
"""
_METRICS: Final = """\
apiVersion: v1
kind: Service
metadata:
  name: metricas-orquestador
  annotations: {argocd.argoproj.io/sync-wave: "3"}
spec:
  clusterIP: None
  selector: {app: orquestador-agentes}
  ports:
    - {name: http, port: 3000, targetPort: http}
"""
_POLICY: Final = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: orquestador-agentes
  annotations: {argocd.argoproj.io/sync-wave: "3"}
spec:
  podSelector: {matchLabels: {app: orquestador-agentes}}
  ingress: [{ports: [{port: http}]}]
"""

_TOO_MANY = Scenario(
    name="crashes",
    # Two pods of staging get their connections. Five of production want more than the database has.
    edits=(
        *_NEW_BUILD,
        Replace(_SETTINGS, _QUEUE, f'{_QUEUE}  DATABASE_POOL_SIZE: "45"\n'),
        *_beside_the_orchestrator("budget", _BUDGET),
        Replace("overlays/production/kustomization.yaml", "  - ../../components/monitoring\n", ""),
    ),
    images={
        ORCHESTRATOR: {
            **_ORCHESTRATOR,
            "exits": [
                {
                    "code": 1,
                    "whenEnv": {"ENVIRONMENT": "produccion", "DATABASE_POOL_SIZE": "45"},
                    "log": [
                        "pool de conexiones: 45",
                        "FATAL: sorry, too many clients already",
                    ],
                }
            ],
        }
    },
    caught=PRODUCTION,
    reason=(
        r"Deployment framework-agentes-ia/orquestador-agentes: .*container orquestador-agentes: "
        r".*exit code 1.*sorry, too many clients already"
    ),
)

_INCOMPLETE = Scenario(
    name="image-missing",
    edits=_NEW_BUILD,
    missing=frozenset({KNOWLEDGE}),
    outcome="Refused",
    caught=STAGING,
    fix=fix_in_staging(),
    reason=(
        r"Deployment framework-agentes-ia-staging/servicio-conocimiento: the registry has no image "
        rf"{KNOWLEDGE}:1\.5\.\d"
    ),
)

_TOO_LONG = Scenario(
    name="hook-fails",
    # Statements may take five seconds now, against slow ones; an index takes longer.
    edits=(
        *_NEW_BUILD,
        SetLine("components/indexes/job.yaml", "backoffLimit", "0"),
        Replace(
            "components/indexes/job.yaml",
            "            - {name: PGHOST, value: postgres}\n",
            "            - {name: PGHOST, value: postgres}\n"
            "            - {name: PGOPTIONS, value: -c statement_timeout=5s}\n",
        ),
        Replace("components/indexes/configmap.yaml", "(timestamp)", "(timestamp, agente_id)"),
        *_beside_the_orchestrator("metrics", _METRICS),
        Replace("overlays/staging/kustomization.yaml", "  - ../../ingress\n", ""),
    ),
    caught=STAGING,
    fix=fix_in_staging(),
    reason=(
        r"Job framework-agentes-ia-staging/indices-rendimiento .*container psql exited with 3; "
        r"its log ends: .*canceling statement due to statement timeout"
    ),
)

_TOO_SLOW = Scenario(
    name="smoke-fails",
    # Probes have more patience than the two seconds that people were promised.
    edits=(
        *_NEW_BUILD,
        Replace(_SETTINGS, _QUEUE, f"{_QUEUE}  LOG_LEVEL: debug\n"),
        *_beside_the_orchestrator("policy", _POLICY),
        Replace(
            "overlays/staging/kustomization.yaml",
            "components:\n  - ../../components/indexes\n",
            "",
        ),
    ),
    images={
        ORCHESTRATOR: {
            **_ORCHESTRATOR,
            "routes": [
                {"path": "/health", "json": {"status": "healthy"}, "delaySeconds": 2.2},
                {"path": "/ready", "json": {"ready": True}},
            ],
        }
    },
    caught=STAGING,
    fix=fix_in_staging(),
    reason=(
        r"Service framework-agentes-ia-staging/servicio-orquestador-agentes: .*"
        r"took 2\.\d+ s, allowed are 2 s"
    ),
)

STORY = SystemStory(
    name="agents-framework",
    workload="Deployment/orquestador-agentes",
    witness=Witness("servicio-orquestador-agentes", "http", "/health", ORCHESTRATOR),
    images=_IMAGES,
    version="1.5.{}",
    fix=(
        SetLine(
            "apps/knowledge/configmap.yaml",
            "EMBEDDING_SERVICE_URL",
            f"https://embeddings.example/?client={VERSION}",
        ),
    ),
    fits=(Fit(("images",), REMOVED, "each release says in Git which build it brings"),),
    secrets=tuple(
        PlantedSecret(stage, name, keys, kind)
        for stage in (STAGING, PRODUCTION)
        for name, keys, kind in _SECRETS
    ),
    rights=_RIGHTS,
    order=(
        "StatefulSet/postgres",
        "Deployment/registro-herramientas",
        "Deployment/orquestador-agentes",
        "Deployment/api-gateway",
        "Ingress/framework-agentes-ia-ingress",
        "Job/indices-rendimiento",
    ),
    scenarios=(Scenario(name="good", outcome="Live"), _TOO_MANY, _INCOMPLETE, _TOO_LONG, _TOO_SLOW),
)
