"""Every label and annotation key that gitopsd writes or reads, and what their values mean.

Theory: an instruction may be written with a key of ours or with the key that Argo CD or Flux
has for it. Ours wins; the others are read so that people need not rewrite their manifests.
A value that means nothing is as if it were absent; `list_bad_instructions` names those of ours.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from gitopsd.domain.config import RollbackPolicy
from gitopsd.kube.objects import annotations_of, parse_integer, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

FIELD_MANAGER = "gitopsd"
HANDOVER_MANAGER = "gitopsd-handover"
ARGO_MANAGERS = frozenset({"argocd-controller", "argocd-application-controller"})
FLUX_MANAGERS = frozenset({"kustomize-controller", "helm-controller"})

APPLICATION_LABEL = "gitopsd.io/application"
STAGE_LABEL = "gitopsd.io/stage"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "gitopsd"

INSTALLATION_ANNOTATION = "gitopsd.io/installation"
FENCE_ANNOTATION = "gitopsd.io/fence"
RELEASE_ANNOTATION = "gitopsd.io/release"
RENDERED_ANNOTATION = "gitopsd.io/rendered"
DESTINATION_ANNOTATION = "gitopsd.io/destination"
PAUSED_ANNOTATION = "gitopsd.io/paused"
RUN_ANNOTATION = "gitopsd.io/run"
VERIFICATION_ANNOTATION = "gitopsd.io/verification"

ADOPT_ANNOTATION = "gitopsd.io/adopt"
RECREATE_ANNOTATION = "gitopsd.io/recreate"
ROLLBACK_ANNOTATION = "gitopsd.io/rollback"
HOOK_ANNOTATION = "gitopsd.io/hook"
HOOK_PHASE_ANNOTATION = "gitopsd.io/hook-phase"
HOOK_ON_ROLLBACK_ANNOTATION = "gitopsd.io/hook-on-rollback"
HOOK_IDEMPOTENT_ANNOTATION = "gitopsd.io/hook-idempotent"
PRUNE_ANNOTATION = "gitopsd.io/prune"
HOLD_UNTIL_ANNOTATION = "gitopsd.io/hold-until"
SYNC_WAVE_ANNOTATION = "gitopsd.io/sync-wave"

ARGO_SYNC_WAVE = "argocd.argoproj.io/sync-wave"
ARGO_HOOK = "argocd.argoproj.io/hook"
ARGO_HOOK_DELETE_POLICY = "argocd.argoproj.io/hook-delete-policy"
ARGO_SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
ARGO_TRACKING_ID = "argocd.argoproj.io/tracking-id"
ARGO_INSTANCE_LABEL = "argocd.argoproj.io/instance"

FLUX_PRUNE = "kustomize.toolkit.fluxcd.io/prune"
FLUX_SSA = "kustomize.toolkit.fluxcd.io/ssa"
FLUX_FORCE = "kustomize.toolkit.fluxcd.io/force"
FLUX_RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"
FLUX_KUSTOMIZATION_LABEL = "kustomize.toolkit.fluxcd.io/name"
FLUX_HELM_LABEL = "helm.toolkit.fluxcd.io/name"

LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

_YES = frozenset({"true", "enabled"})
_NO = frozenset({"false", "disabled"})


class HookPhase(Enum):
    """When a hook runs: before Apply, within it, in Verify, or when a run ends Failed.

    Attributes:
        VERIFY: Whenever a check of the stage asks for it: the object is a template.
    """

    PRE_SYNC = "PreSync"
    SYNC = "Sync"
    POST_SYNC = "PostSync"
    SYNC_FAIL = "SyncFail"
    VERIFY = "Verify"
    SKIP = "Skip"


class DeletePolicy(Enum):
    """When the object of a hook is deleted."""

    BEFORE_HOOK_CREATION = "BeforeHookCreation"
    HOOK_SUCCEEDED = "HookSucceeded"
    HOOK_FAILED = "HookFailed"


class ApplyMode(Enum):
    """How an object is written; Flux's ``ssa`` and ``reconcile`` annotations.

    Attributes:
        OVERRIDE: Apply it, taking fields from everyone.
        MERGE: Apply it, leaving to others the fields they own.
        IF_NOT_PRESENT: Create it, and never touch it again.
        IGNORE: Never write it.
    """

    OVERRIDE = "Override"
    MERGE = "Merge"
    IF_NOT_PRESENT = "IfNotPresent"
    IGNORE = "Ignore"


_PHASES = {phase.value: phase for phase in HookPhase}
_POLICIES = {policy.value: policy for policy in DeletePolicy}
_MODES = {mode.value.lower(): mode for mode in ApplyMode}
_ROLLBACKS = {policy.value: policy for policy in RollbackPolicy}
_STRICTNESS = tuple(RollbackPolicy)


def parse_wave(obj: JsonObject) -> int:
    """Read the sync wave; 0 when there is none or it is no number (Argo CD's rule)."""
    annotations = annotations_of(obj)
    for key in (SYNC_WAVE_ANNOTATION, ARGO_SYNC_WAVE):
        wave = parse_integer(annotations.get(key, ""))
        if wave is not None:
            return wave
    return 0


def parse_hook_phases(obj: JsonObject) -> tuple[HookPhase, ...]:
    """Read all phases a hook runs in, in the order of a run; empty when it is no hook.

    As in Argo CD, an object with a hook annotation is never part of the ordinary set: if none of
    its phases is known here (``PostDelete``), or ``Skip`` is one of them, it is skipped.
    """
    annotations = annotations_of(obj)
    text = annotations.get(HOOK_ANNOTATION, annotations.get(ARGO_HOOK))
    if text is None:
        return ()
    words = {word.strip() for word in text.split(",")}
    phases = tuple(phase for name, phase in _PHASES.items() if name in words)
    return (HookPhase.SKIP,) if not phases or HookPhase.SKIP in phases else phases


def parse_hook(obj: JsonObject) -> HookPhase | None:
    """Read the first phase a hook runs in; None when the object is no hook."""
    return next(iter(parse_hook_phases(obj)), None)


def parse_delete_policy(obj: JsonObject) -> frozenset[DeletePolicy]:
    """Read when a hook's object is deleted; before its next creation when nothing is said."""
    text = annotations_of(obj).get(ARGO_HOOK_DELETE_POLICY, "")
    words = {word.strip() for word in text.split(",")}
    found = frozenset(policy for name, policy in _POLICIES.items() if name in words)
    return found or frozenset({DeletePolicy.BEFORE_HOOK_CREATION})


def parse_hook_idempotent(obj: JsonObject) -> bool:
    """Whether a hook may be run again when its outcome is not known."""
    return _says(annotations_of(obj), HOOK_IDEMPOTENT_ANNOTATION, _YES)


def parse_hook_on_rollback(obj: JsonObject) -> bool:
    """Whether a hook also runs when the set that has it is restored."""
    return _says(annotations_of(obj), HOOK_ON_ROLLBACK_ANNOTATION, _YES)


def parse_prune_disabled(obj: JsonObject) -> bool:
    """Whether the object stays when it leaves Git."""
    annotations = annotations_of(obj)
    if _says(annotations, PRUNE_ANNOTATION, _YES):
        return False
    return (
        _says(annotations, PRUNE_ANNOTATION, _NO)
        or _says(annotations, FLUX_PRUNE, _NO)
        or "prune=false" in _sync_options(annotations)
    )


def parse_prune_enabled(obj: JsonObject) -> bool:
    """Whether pruning is asked for in our own words; what protected kinds need to be pruned."""
    return _says(annotations_of(obj), PRUNE_ANNOTATION, _YES)


def parse_adopt(obj: JsonObject) -> bool:
    """Whether the object may be taken over from another owner."""
    return _says(annotations_of(obj), ADOPT_ANNOTATION, _YES)


def parse_recreate(obj: JsonObject) -> bool:
    """Whether the object may be deleted and made anew when an immutable field changes."""
    annotations = annotations_of(obj)
    if RECREATE_ANNOTATION in annotations:
        return _says(annotations, RECREATE_ANNOTATION, _YES)
    return _says(annotations, FLUX_FORCE, _YES) or "force=true" in _sync_options(annotations)


def parse_apply_mode(obj: JsonObject) -> ApplyMode:
    """Read how the object is written; taking every field when nothing is said."""
    annotations = annotations_of(obj)
    if _says(annotations, FLUX_RECONCILE, _NO):
        return ApplyMode.IGNORE
    return _MODES.get(annotations.get(FLUX_SSA, "").strip().lower(), ApplyMode.OVERRIDE)


def parse_paused(obj: JsonObject) -> bool:
    """Whether a person stopped every writer by annotating the inventory."""
    return _says(annotations_of(obj), PAUSED_ANNOTATION, _YES)


def parse_hold_until(obj: JsonObject) -> datetime | None:
    """Read until when drift of the object is left alone; None when nothing is said."""
    return parse_time(annotations_of(obj).get(HOLD_UNTIL_ANNOTATION, ""))


def parse_rollback_policy(obj: JsonObject) -> RollbackPolicy | None:
    """Read the rollback policy an object asks for; None when it asks for none."""
    return _ROLLBACKS.get(annotations_of(obj).get(ROLLBACK_ANNOTATION, "").strip().lower())


def strictest_rollback(objects: Iterable[JsonObject]) -> RollbackPolicy | None:
    """Find the strictest rollback policy that any object of a set asks for."""
    asked = [parse_rollback_policy(obj) for obj in objects]
    return max((policy for policy in asked if policy), key=_STRICTNESS.index, default=None)


def list_bad_instructions(obj: JsonObject) -> tuple[str, ...]:
    """Name the annotations of ours whose values mean nothing, with what can be written."""
    annotations = annotations_of(obj)
    switch = _YES | _NO
    return tuple(
        f"{key}: write {wanted}"
        for key, known, wanted in (
            (SYNC_WAVE_ANNOTATION, lambda text: parse_integer(text) is not None, "a whole number"),
            (HOLD_UNTIL_ANNOTATION, lambda text: parse_time(text) is not None, "an RFC 3339 time"),
            (HOOK_ANNOTATION, _are_phases, "PreSync, Sync, PostSync, SyncFail or Skip"),
            (ROLLBACK_ANNOTATION, _is_rollback, "automatic, manual or forbidden"),
            (PRUNE_ANNOTATION, lambda text: _word(text) in switch, "enabled or disabled"),
            (ADOPT_ANNOTATION, lambda text: _word(text) in switch, '"true" or "false"'),
            (RECREATE_ANNOTATION, lambda text: _word(text) in switch, '"true" or "false"'),
            (HOOK_IDEMPOTENT_ANNOTATION, lambda text: _word(text) in switch, '"true" or "false"'),
            (HOOK_ON_ROLLBACK_ANNOTATION, lambda text: _word(text) in switch, '"true" or "false"'),
        )
        if key in annotations and not known(annotations[key])
    )


def _are_phases(text: str) -> bool:
    return all(word.strip() in _PHASES for word in text.split(","))


def _is_rollback(text: str) -> bool:
    return _word(text) in _ROLLBACKS


def _word(text: str) -> str:
    return text.strip().lower()


def _says(annotations: dict[str, str], key: str, words: frozenset[str]) -> bool:
    return _word(annotations.get(key, "")) in words


def _sync_options(annotations: dict[str, str]) -> set[str]:
    options = annotations.get(ARGO_SYNC_OPTIONS, "")
    return {_word(option) for option in options.split(",")}
