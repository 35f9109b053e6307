"""eterna-rules: a rules engine; staging brings its database, production's is somebody else's.

Staging follows ``develop`` and runs its dump and migration inside the rollout, where the database
comes first; production follows ``main`` and runs them before anything is applied. What breaks is
what the guide's troubleshooting names: a Secret without a key, an image that was not pushed, a
migration that cannot be made, rules that do not answer while ``/health`` does, and the health
watch that pages.
"""

from __future__ import annotations

from tests.support.systems.story import (
    PRODUCTION,
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

BACKEND = "ghcr.io/eterna/rules-engine"
SERVICE = "eterna-rules-backend-service"
_IN_PRODUCTION = {"APP_ENV": "production"}
_ALL = ["get", "list", "watch", "create", "update", "patch", "delete"]

_BUDGET = """\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: eterna-rules-backend, namespace: eterna-rules}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {app: eterna-rules-backend}}
"""
_LOCK_TIMEOUT = """\
patches:
  # The tables are in use here: better no migration than one that holds everybody up.
  - target: {kind: Job, name: eterna-rules-migration}
    patch: |
      - op: add
        path: /spec/template/spec/containers/0/env/-
        value: {name: PGOPTIONS, value: -c lock_timeout=5s}
replacements: #"""


def _bad(*more: Edit) -> tuple[Edit, ...]:
    """Another image, a budget, another limit; an Ingress and a Fluentd that are left out."""
    listed = "  - service.yaml\n  - budget.yaml\n"
    return (
        SetLine("components/version/kustomization.yaml", "newTag", VERSION),
        Write("base/budget.yaml", _BUDGET),
        Replace("base/kustomization.yaml", "  - service.yaml\n  - ingress.yaml\n", listed),
        Replace("overlays/production/kustomization.yaml", "  - ../../components/logging\n", ""),
        SetLine("base/configmap.yaml", "MAX_RECS_PER_DAY", '"50"'),
        *more,
    )


def _fix(days: int) -> tuple[Edit, ...]:
    """The image of before, and another setting."""
    return (SetLine("base/configmap.yaml", "ANTI_REPEAT_DAYS", f'"{days}"'),)


def _backend(*exits: Behaviour, routes: tuple[Behaviour, ...] = ()) -> Behaviour:
    """The backend, in whose image Alembic is, too; `exits` and `routes` come before its own."""
    migrated = {
        "code": 0,
        "log": ["INFO  [alembic.runtime.migration] Running upgrade  -> 001, Initial schema"],
        "whenEnv": {"ALEMBIC_CONFIG": "alembic.ini"},
    }
    return server(
        8000,
        paths=("/health", "/rules", "/metrics"),
        log=["ETERNA DX Rules Engine $(IMAGE_VERSION)"],
        requireEnv=["DATABASE_URL"],
        exits=[*exits, migrated],
        routes=list(routes),
    )


def _secrets(stage: str, *keys: str) -> tuple[PlantedSecret, ...]:
    """What the README has people make before the first release."""
    return (
        PlantedSecret(stage, "eterna-rules-secrets", ("DATABASE_URL", "REDIS_URL", *keys)),
        PlantedSecret(stage, "registry-secret", (), "kubernetes.io/dockerconfigjson"),
    )


_UNSET: Behaviour = {
    "code": 1,
    "log": ["pydantic_core.ValidationError: JWT_SECRET_KEY: Field required"],
    "whenEnv": {"AUTH_ENABLED": "true"},
}
_LOCKED: Behaviour = {
    "code": 1,
    "log": ["sqlalchemy.exc.OperationalError: canceling statement due to lock timeout"],
    "whenEnv": {"PGOPTIONS": "-c lock_timeout=5s"},
}
_NO_RULES: Behaviour = {
    "path": "/rules",
    "statuses": [500],
    "json": {"detail": "column rules.tenant_id does not exist"},
    "whenEnv": _IN_PRODUCTION,
}
_SOON_NO_RULES: Behaviour = {**_NO_RULES, "statuses": [200, 200, 200, 200, 500]}
"""Each pod answers more often than a release is checked in Verify and Certify."""

STORY = SystemStory(
    name="eterna-rules",
    workload="Deployment/eterna-rules-backend",
    witness=Witness(SERVICE, "http", "/health", BACKEND),
    images={
        BACKEND: _backend(),
        "postgres": server(
            5432,
            exec={"pg_isready -U eterna_user -d eterna_rules_staging": 0},
            exits=[{"code": 0, "log": ["dumped"], "whenEnv": {"PGUSER": "eterna_user"}}],
        ),
        "redis": server(6379, requireEnv=["REDISCLI_AUTH"], exec={"redis-cli ping": 0}),
        "amazon/aws-cli": {"requireEnv": ["BACKUP_TARGET"], "exits": [{"code": 0}]},
    },
    fix=_fix(15),
    version="v0.1.{}",
    fits=(Fit(("stages", 1, "monitor", "every"), "1s", "a person waits five minutes"),),
    branches={STAGING: "develop"},
    secrets=(
        *_secrets(STAGING, "DB_PASSWORD", "REDIS_PASSWORD"),
        PlantedSecret(STAGING, "eterna-rules-tls", (), "kubernetes.io/tls"),
        *_secrets(PRODUCTION, "DB_PASSWORD"),
    ),
    rights=(
        {
            "apiGroups": ["cert-manager.io", "secrets-store.csi.x-k8s.io"],
            "resources": ["clusterissuers", "secretproviderclasses"],
            "verbs": _ALL,
        },
    ),
    order=(
        "StatefulSet/postgres",
        "Job/eterna-rules-backup",
        "Job/eterna-rules-migration",
        "Deployment/eterna-rules-backend",
    ),
    scenarios=(
        Scenario(name="good", outcome="Live"),
        Scenario(
            name="crashes",
            edits=_bad(),
            caught=STAGING,
            images={BACKEND: _backend(_UNSET)},
            reason=r"^Deployment eterna-rules-staging/eterna-rules-backend: container backend: .*"
            r"exit code 1.*; its log ends: .*JWT_SECRET_KEY: Field required$",
            fix=fix_in_staging(),
        ),
        Scenario(
            name="image-missing",
            edits=_bad(),
            outcome="Refused",
            caught=STAGING,
            missing=frozenset({BACKEND}),
            reason=r"^Deployment eterna-rules-staging/eterna-rules-backend, "
            r"Job eterna-rules-staging/eterna-rules-migration: the registry has no image "
            rf"{BACKEND}:v0\.1\.\d+; push it",
            fix=fix_in_staging(),
        ),
        Scenario(
            name="migration-fails",
            edits=_bad(
                Replace("overlays/production/kustomization.yaml", "replacements: #", _LOCK_TIMEOUT)
            ),
            caught=PRODUCTION,
            reach="Hooks",
            images={BACKEND: _backend(_LOCKED)},
            reason=r"^Job eterna-rules/eterna-rules-migration \(PreSync hook\): .*"
            r"container migrate exited with 1; its log ends: .*lock timeout$",
            fix=_fix(17),
        ),
        Scenario(
            name="smoke-fails",
            edits=_bad(),
            caught=PRODUCTION,
            images={BACKEND: _backend(routes=(_NO_RULES,))},
            reason=rf"^Service eterna-rules/{SERVICE}: check {SERVICE}/rules\?limit=1 failed "
            r"after \d+ attempts?: answered 500; expected 200$",
            fix=_fix(18),
        ),
        Scenario(
            name="degrades",
            edits=_bad(),
            caught=PRODUCTION,
            reach="Pruned",
            late=True,
            images={BACKEND: _backend(routes=(_SOON_NO_RULES,))},
            reason=rf"^Service eterna-rules/{SERVICE}: check {SERVICE}/rules\?limit=1 failed: "
            r"answered 500; expected 200$",
            fix=_fix(19),
        ),
    ),
)
