"""jewelry-invoice-bot: a Telegram bot with an API, its database, and parts that stages choose.

Everything comes with the release, the database too, so that dump, migrations and indexes run
between its waves. What breaks is what the guide's troubleshooting names: too much memory, an image
that was not pushed, migrations that fail, and a database that cannot be reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    SetLine,
    SystemStory,
    Witness,
    Write,
    fix_in_staging,
    server,
)

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

BOT = "ghcr.io/acme/jewelry-invoice-bot"
POSTGRES = "docker.io/library/postgres"
REDIS = "docker.io/library/redis"
WORKFLOWS = "docker.io/n8nio/n8n"
_ALL = ["get", "list", "watch", "create", "update", "patch", "delete"]
_IN_VAULT = {
    "TELEGRAM_BOT_TOKEN": "a-token-of-a-bot",
    "DB_PASSWORD": "sixteen-or-more-characters",
    "SECRET_KEY": "thirty-two-characters-or-even-more",
    "N8N_PASSWORD": "something-else",
}

_BUDGET = """\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: bot}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {app: bot}}
"""
_REDIS_POLICY = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: redis
spec:
  podSelector: {matchLabels: {app: redis}}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector: {matchLabels: {app: bot}}
      ports:
        - {protocol: TCP, port: 6379}
"""


def _bad() -> tuple[Edit, ...]:
    """Another image, a budget, shorter connections; the cache's policy is left out."""
    listed = "  - bot.yaml\n  - budget.yaml\n"
    return (
        SetLine("base/kustomization.yaml", "- {name: bot, newName", f"{BOT}, newTag: {VERSION}}}"),
        Write("base/budget.yaml", _BUDGET),
        Replace("base/kustomization.yaml", "  - bot.yaml\n", listed),
        Replace("base/kustomization.yaml", "POOL_RECYCLE=1800", "POOL_RECYCLE=900"),
        Replace("components/redis/redis.yaml", _REDIS_POLICY, ""),
    )


def _fix(minute: int) -> tuple[Edit, ...]:
    """The image of before; the nightly dump begins at another minute."""
    return (SetLine("base/backup.yaml", "schedule", f"{minute} 2 * * *"),)


def _bot(*exits: Behaviour, routes: tuple[Behaviour, ...] = ()) -> Behaviour:
    """The bot, in whose image Alembic is, too; `exits` and `routes` come before its own."""
    migrated = {"code": 0, "log": ["at head"], "whenEnv": {"PGAPPNAME": "migrations"}}
    healthy = {
        "path": "/health",
        "json": {
            "status": "healthy",
            "database": "connected",
            "redis": "connected",
            "version": "$(IMAGE_VERSION)",
        },
    }
    return server(
        8000,
        paths=("/health/live", "/health/ready", "/metrics"),
        log=['{"level": "INFO", "logger": "jewelry", "message": "starting"}'],
        requireEnv=["DB_PASSWORD", "DATABASE_POOL_SIZE"],
        exits=[*exits, migrated],
        routes=[*routes, healthy],
    )


def _job(name: str) -> Behaviour:
    return {"code": 0, "log": ["done"], "whenEnv": {"PGAPPNAME": name}}


def _right(group: str, *resources: str) -> JsonObject:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(_ALL)}


_TOO_LARGE: Behaviour = {"code": 137, "oomKilled": True, "whenEnv": {"DATABASE_POOL_SIZE": "30"}}
"""Production's pool does not fit; a migration has the same settings, but ends before."""
_TWO_HEADS: Behaviour = {
    "code": 255,
    "log": ["FAILED: Multiple head revisions are present for given argument 'head'"],
    "whenEnv": {"PGAPPNAME": "migrations"},
}
_DISCONNECTED: Behaviour = {
    "path": "/health",
    "json": {"status": "unhealthy", "database": "disconnected", "error": "Connection refused"},
    "whenEnv": {"ENVIRONMENT": "production"},
}

STORY = SystemStory(
    name="jewelry-invoice-bot",
    workload="Deployment/bot",
    witness=Witness("bot", "http", "/health/live", BOT),
    images={
        BOT: _bot(),
        POSTGRES: server(
            5432,
            exec={"pg_isready --username=postgres --dbname=jewelry_db": 0},
            exits=[_job("indexes"), _job("backup"), _job("backup-before-migration")],
        ),
        REDIS: server(6379, exec={"redis-cli ping": 0}),
        WORKFLOWS: server(
            5678,
            paths=("/healthz",),
            requireEnv=["N8N_BASIC_AUTH_USER", "N8N_BASIC_AUTH_PASSWORD"],
        ),
    },
    fix=_fix(1),
    version="1.0.{}",
    fits=(Fit(("images",), REMOVED, "what goes out is named in Git, one push a release"),),
    rights=(
        _right("external-secrets.io", "externalsecrets"),
        _right("cert-manager.io", "certificates"),
        _right("monitoring.coreos.com", "servicemonitors", "prometheusrules"),
    ),
    vault={f"jewelry-invoice-bot/{stage}": _IN_VAULT for stage in (STAGING, PRODUCTION)},
    order=(
        "ExternalSecret/bot-secrets",
        "StatefulSet/db",
        "Job/backup-before-migration",
        "Job/migrations",
        "Job/indexes",
        "Deployment/bot",
    ),
    scenarios=(
        Scenario(name="good", outcome="Live"),
        Scenario(
            name="crashes",
            edits=_bad(),
            caught=PRODUCTION,
            images={BOT: _bot(_job("migrations"), _TOO_LARGE)},
            reason=r"^Deployment jewelry-invoice-bot/bot: container bot: .*"
            r"OOMKilled, exit code 137",
            fix=_fix(1),
        ),
        Scenario(
            name="image-missing",
            edits=_bad(),
            outcome="Refused",
            caught=STAGING,
            missing=frozenset({BOT}),
            reason=r"^Deployment jewelry-invoice-bot-staging/bot, "
            r"Job jewelry-invoice-bot-staging/migrations: the registry has no image "
            rf"{BOT}:1\.0\.\d+; push it",
            fix=fix_in_staging(),
        ),
        Scenario(
            name="migration-fails",
            edits=_bad(),
            caught=STAGING,
            reach="Added",
            images={BOT: _bot(_TWO_HEADS)},
            reason=r"^Job jewelry-invoice-bot-staging/migrations \(Sync hook\): .*container "
            r"migrations exited with 255; its log ends: FAILED: Multiple head revisions",
            fix=fix_in_staging(),
        ),
        Scenario(
            name="smoke-fails",
            edits=_bad(),
            caught=PRODUCTION,
            images={BOT: _bot(routes=(_DISCONNECTED,))},
            reason=r"^Service jewelry-invoice-bot/bot: check bot/health failed after \d+ "
            r'attempts?: status is "unhealthy", expected "healthy"$',
            fix=_fix(4),
        ),
    ),
)
