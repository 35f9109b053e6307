"""ai-companion: what its parts do when they run, and five releases of it.

Its guide fears a supervisor whose memory grows until pods have to be restarted with a tighter
limit, a build of which one image is missing, smoke tests that fail after the rollout, and answers
that are not what people get who are not signed in.
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
    Replace,
    Scenario,
    SystemStory,
    Witness,
    Write,
    fix_in_staging,
    server,
)

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

_BASE: Final = "base/kustomization.yaml"
_COMMIT: Final = "sha-4c1f0a9b7d2e6835a1c94f7be0d3528610fa9c47"
_BUILD: Final = "ghcr.io/acme/ai-companion"
SUPERVISOR, USERBOT, DASHBOARD = f"{_BUILD}-supervisor", f"{_BUILD}-userbot", f"{_BUILD}-dashboard"

_NEW_BUILD: Final = tuple(
    Replace(_BASE, f"{image}, newTag: {_COMMIT}", f"{image}, newTag: {VERSION}")
    for image in (SUPERVISOR, USERBOT, DASHBOARD)
)
"""What CI does after a build: one tag for all three."""

_SUPERVISOR = server(
    8080,
    paths=("/health", "/ready", "/metrics"),
    requireEnv=["REDIS_URL", "NEO4J_URI", "NEO4J_PASSWORD", "GEMINI_API_KEY", "MESSAGE_BATCH_SIZE"],
)
_DASHBOARD_NEEDS: Final = ["DASHBOARD_SECRET", "REDIS_URL", "NEO4J_URI", "NEO4J_PASSWORD"]


_IMAGES: Final[dict[str, Behaviour]] = {
    SUPERVISOR: _SUPERVISOR,
    USERBOT: server(
        8080,
        paths=("/health", "/ready", "/metrics"),
        requireEnv=["TELEGRAM_TOKEN", "REDIS_URL", "SUPERVISOR_URL", "MESSAGE_BATCH_SIZE"],
    ),
    DASHBOARD: server(3000, paths=("/health", "/metrics"), requireEnv=_DASHBOARD_NEEDS),
    "ghcr.io/acme/backup-tool": {
        "requireEnv": ["S3_BUCKET", "REDIS_URL", "NEO4J_URI", "KEEP_DAYS"],
        "exits": [{"code": 0}],
    },
    # The smoke tests are a script around it; it asks for one more address when it is told to.
    "docker.io/curlimages/curl": {
        "exits": [
            {
                "code": 1,
                "whenEnv": {"ALSO": "supervisor:8080/webhook"},
                "log": [
                    "http://dashboard:3000/health answers",
                    "curl: (22) The requested URL returned error: 404",
                    "no good answer from http://supervisor:8080/webhook",
                ],
            },
            {"code": 0, "log": ["http://dashboard:3000/health answers"]},
        ]
    },
    "docker.io/library/redis": {
        "ports": [6379],
        "requireEnv": ["REDIS_MAXMEMORY", "REDIS_PASSWORD", "REDISCLI_AUTH"],
        "exec": {"redis-cli ping": 0},
    },
    "docker.io/library/neo4j": {
        "ports": [7687, 5000, 6000, 7000, 6362],
        "requireEnv": ["NEO4J_AUTH", "NEO4J_ACCEPT_LICENSE_AGREEMENT", "NEO4J_dbms_mode"],
    },
    "docker.io/prom/prometheus": server(9090, paths=("/-/ready",)),
    "docker.io/prom/alertmanager": server(9093, paths=("/-/ready",)),
    "docker.io/prom/node-exporter": server(9100, paths=("/",)),
    "docker.io/grafana/grafana": server(
        3000, paths=("/api/health",), requireEnv=["GF_SECURITY_ADMIN_PASSWORD"]
    ),
}

_RIGHTS: Final[tuple[JsonObject, ...]] = (
    {
        "apiGroups": ["external-secrets.io"],
        "resources": ["externalsecrets"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
    },
    {
        "apiGroups": ["cert-manager.io"],
        "resources": ["certificates"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
    },
)


def _instead_of(old: str, new: str, text: str) -> tuple[Edit, ...]:
    """Bring one file of the base instead of another one."""
    return (
        Replace(_BASE, f"  - {old}.yaml\n", f"  - {new}.yaml\n"),
        Write(f"base/{new}.yaml", text),
    )


_BUDGET: Final = """\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: supervisor
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {app: supervisor}
"""
_WEBHOOK: Final = """\
apiVersion: v1
kind: Service
metadata:
  name: webhook
spec:
  selector: {app: supervisor}
  ports:
    - {name: http, port: 80, targetPort: http}
"""
_LOGIN: Final = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: dashboard-login
data:
  path: /dashboard/login
"""

_GROWN = Scenario(
    name="crashes",
    # Ten times the batch needs 3 GiB. That fits into the usual limit, and not into the one that
    # production has at the moment, because people think that the supervisor leaks.
    edits=(
        *_NEW_BUILD,
        Replace(_BASE, "MESSAGE_BATCH_SIZE=50\n", "MESSAGE_BATCH_SIZE=500\n"),
        *_instead_of("firewall", "availability", _BUDGET),
        Replace(
            "overlays/production/kustomization.yaml",
            "components: []",
            "components: [../../components/memory-leak]",
        ),
    ),
    images={SUPERVISOR: {**_SUPERVISOR, "memoryMebibytes": 3000}},
    caught=PRODUCTION,
    reason=(
        r"Deployment ai-companion/supervisor: container supervisor: .*OOMKilled, exit code 137, "
        r"memory limit 2Gi"
    ),
)

_INCOMPLETE = Scenario(
    name="image-missing",
    edits=_NEW_BUILD,
    missing=frozenset({DASHBOARD}),
    outcome="Refused",
    caught=STAGING,
    fix=fix_in_staging(),
    reason=(
        r"Deployment ai-companion-staging/dashboard: the registry has no image "
        rf"{DASHBOARD}:sha-[0-9a-f]{{40}}"
    ),
)

_NO_WEBHOOK = Scenario(
    name="hook-fails",
    # The smoke tests ask for one address more, and this build does not answer there.
    edits=(
        *_NEW_BUILD,
        Replace("base/scripts/smoke-tests.sh", "3000/health; do", "3000/health $ALSO; do"),
        Replace(
            "base/smoke-tests.yaml",
            "          resources:\n",
            "          env:\n"
            "            - {name: ALSO, value: supervisor:8080/webhook}\n"
            "          resources:\n",
        ),
        *_instead_of("ingress", "webhook", _WEBHOOK),
    ),
    caught=STAGING,
    fix=fix_in_staging(),
    reason=(
        r"Job ai-companion-staging/smoke-tests .*container smoke-tests exited with 1; "
        r"its log ends: no good answer from http://supervisor:8080/webhook"
    ),
)

_SIGN_IN = Scenario(
    name="smoke-fails",
    # Whoever is not signed in is sent to a form now, and so is whoever asks how it is. Probes and
    # `curl --fail` are content with that.
    edits=(
        *_NEW_BUILD,
        Replace(_BASE, "REDIS_DEFAULT_TTL_SECONDS=3600", "REDIS_DEFAULT_TTL_SECONDS=60"),
        *_instead_of("autoscaling", "login", _LOGIN),
    ),
    images={
        DASHBOARD: server(
            3000,
            paths=("/dashboard/login",),
            requireEnv=_DASHBOARD_NEEDS,
            routes=[
                {
                    "path": "/health",
                    "statuses": [302],
                    "headers": {"Location": "/dashboard/login"},
                }
            ],
        )
    },
    caught=STAGING,
    fix=fix_in_staging(),
    reason=(
        r"Service ai-companion-staging/dashboard: check dashboard/health failed .*"
        r"answered 302, which sends on to /dashboard/login; expected 200"
    ),
)

STORY = SystemStory(
    name="ai-companion",
    workload="Deployment/supervisor",
    witness=Witness("supervisor", "http", "/health", SUPERVISOR),
    images=_IMAGES,
    version=_COMMIT[:-4] + "{:04x}",
    fix=(
        Write("base/prompts/companion.md", "Be kind, and say so when you do not know. @VERSION@\n"),
    ),
    fits=(
        Fit(
            ("images",),
            REMOVED,
            "each release says in Git which build it brings, as its CI does without a policy",
        ),
    ),
    rights=_RIGHTS,
    order=(
        "ExternalSecret/ai-companion-secrets",
        "StatefulSet/neo4j",
        "Deployment/supervisor",
        "Job/smoke-tests",
    ),
    scenarios=(Scenario(name="good", outcome="Live"), _GROWN, _INCOMPLETE, _NO_WEBHOOK, _SIGN_IN),
)
