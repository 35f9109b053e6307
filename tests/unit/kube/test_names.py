"""What labels and annotations mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gitopsd.domain.config import RollbackPolicy
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.kube import names
from gitopsd.kube.names import ApplyMode, DeletePolicy, HookPhase


def annotated(**annotations: Json) -> JsonObject:
    """Make an object; ``argo__x`` is Argo CD's key, ``flux__x`` Flux's, ``x`` ours."""
    prefixes = {"argo": "argocd.argoproj.io/", "flux": "kustomize.toolkit.fluxcd.io/"}
    spelled = {}
    for name, value in annotations.items():
        tool, found, rest = name.partition("__")
        key = prefixes[tool] + rest if found else "gitopsd.io/" + name
        spelled[key.replace("_", "-")] = value
    return {"metadata": {"annotations": spelled}}


def test_the_keys_are_stable() -> None:
    """People's manifests and other programs rely on these spellings."""
    assert names.APPLICATION_LABEL == "gitopsd.io/application"
    assert names.STAGE_LABEL == "gitopsd.io/stage"
    assert names.RUN_ANNOTATION == "gitopsd.io/run"
    assert names.MANAGED_BY_LABEL == "app.kubernetes.io/managed-by"
    assert names.MANAGED_BY == "gitopsd"
    assert names.FIELD_MANAGER == "gitopsd"
    assert names.HANDOVER_MANAGER == "gitopsd-handover"
    assert names.PAUSED_ANNOTATION == "gitopsd.io/paused"
    assert names.INSTALLATION_ANNOTATION == "gitopsd.io/installation"
    assert names.FENCE_ANNOTATION == "gitopsd.io/fence"
    assert names.RELEASE_ANNOTATION == "gitopsd.io/release"
    assert names.RENDERED_ANNOTATION == "gitopsd.io/rendered"
    assert names.LAST_APPLIED_ANNOTATION == "kubectl.kubernetes.io/last-applied-configuration"


@pytest.mark.parametrize(
    "obj, wave",
    [
        ({}, 0),
        (annotated(sync_wave="3"), 3),
        (annotated(argo__sync_wave="-2"), -2),
        (annotated(sync_wave="3", argo__sync_wave="-2"), 3),
        (annotated(sync_wave="soon", argo__sync_wave="-2"), -2),
        (annotated(sync_wave="0", argo__sync_wave="5"), 0),
        (annotated(argo__sync_wave="soon"), 0),
        (annotated(sync_wave=3), 0),
        (annotated(sync_wave="9" * 5000), 0),
    ],
)
def test_waves(obj: JsonObject, wave: int) -> None:
    """Ours wins over Argo CD's; what is no number is no wave."""
    assert names.parse_wave(obj) == wave


@pytest.mark.parametrize(
    "obj, phases",
    [
        ({}, ()),
        (annotated(hook="PreSync"), (HookPhase.PRE_SYNC,)),
        (annotated(argo__hook="Sync"), (HookPhase.SYNC,)),
        (
            annotated(argo__hook="PostSync, PreSync"),
            (HookPhase.PRE_SYNC, HookPhase.POST_SYNC),
        ),
        (annotated(hook="SyncFail", argo__hook="PreSync"), (HookPhase.SYNC_FAIL,)),
        (annotated(argo__hook="Skip,PreSync"), (HookPhase.SKIP,)),
        (annotated(argo__hook="PostDelete"), (HookPhase.SKIP,)),
        (annotated(argo__hook=""), (HookPhase.SKIP,)),
    ],
)
def test_hooks(obj: JsonObject, phases: tuple[HookPhase, ...]) -> None:
    """An object with a hook annotation is never ordinary; unknown phases mean Skip."""
    assert names.parse_hook_phases(obj) == phases
    assert names.parse_hook(obj) == (phases[0] if phases else None)


@pytest.mark.parametrize(
    "obj, policy",
    [
        ({}, {DeletePolicy.BEFORE_HOOK_CREATION}),
        (annotated(argo__hook_delete_policy="HookSucceeded"), {DeletePolicy.HOOK_SUCCEEDED}),
        (
            annotated(argo__hook_delete_policy="HookSucceeded, HookFailed"),
            {DeletePolicy.HOOK_SUCCEEDED, DeletePolicy.HOOK_FAILED},
        ),
        (
            annotated(argo__hook_delete_policy="BeforeHookCreation"),
            {DeletePolicy.BEFORE_HOOK_CREATION},
        ),
        (annotated(argo__hook_delete_policy="Never"), {DeletePolicy.BEFORE_HOOK_CREATION}),
    ],
)
def test_delete_policies(obj: JsonObject, policy: set[DeletePolicy]) -> None:
    """Argo CD's words; before the next creation when nothing is said."""
    assert names.parse_delete_policy(obj) == policy


@pytest.mark.parametrize(
    "obj, disabled, enabled",
    [
        ({}, False, False),
        (annotated(prune="disabled"), True, False),
        (annotated(prune="false"), True, False),
        (annotated(prune=" Disabled "), True, False),
        (annotated(prune="enabled"), False, True),
        (annotated(prune="true"), False, True),
        (annotated(prune="maybe"), False, False),
        (annotated(flux__prune="disabled"), True, False),
        (annotated(flux__prune="enabled"), False, False),
        (annotated(argo__sync_options="Validate=false, Prune=false"), True, False),
        (annotated(argo__sync_options="Prune=true"), False, False),
        (annotated(prune="enabled", flux__prune="disabled"), False, True),
        (annotated(prune="enabled", argo__sync_options="Prune=false"), False, True),
    ],
)
def test_pruning(obj: JsonObject, *, disabled: bool, enabled: bool) -> None:
    """Argo CD and Flux can forbid it; only our own words can ask for it."""
    assert names.parse_prune_disabled(obj) is disabled
    assert names.parse_prune_enabled(obj) is enabled


@pytest.mark.parametrize(
    "obj, recreate",
    [
        ({}, False),
        (annotated(recreate="true"), True),
        (annotated(recreate="false"), False),
        (annotated(flux__force="Enabled"), True),
        (annotated(argo__sync_options="Force=true,Replace=true"), True),
        (annotated(argo__sync_options="Replace=true"), False),
        (annotated(recreate="false", flux__force="enabled"), False),
    ],
)
def test_recreation(obj: JsonObject, *, recreate: bool) -> None:
    """Ours wins, Flux's force and Argo CD's Force=true are read."""
    assert names.parse_recreate(obj) is recreate


@pytest.mark.parametrize(
    "obj, mode",
    [
        ({}, ApplyMode.OVERRIDE),
        (annotated(flux__ssa="Merge"), ApplyMode.MERGE),
        (annotated(flux__ssa="IfNotPresent"), ApplyMode.IF_NOT_PRESENT),
        (annotated(flux__ssa="ignore"), ApplyMode.IGNORE),
        (annotated(flux__ssa="Override"), ApplyMode.OVERRIDE),
        (annotated(flux__ssa="what"), ApplyMode.OVERRIDE),
        (annotated(flux__reconcile="disabled"), ApplyMode.IGNORE),
        (annotated(flux__reconcile="disabled", flux__ssa="Merge"), ApplyMode.IGNORE),
        (annotated(flux__reconcile="enabled"), ApplyMode.OVERRIDE),
    ],
)
def test_apply_modes(obj: JsonObject, mode: ApplyMode) -> None:
    """Flux's ``ssa`` and ``reconcile``."""
    assert names.parse_apply_mode(obj) is mode


def test_switches_are_on_only_when_they_say_so() -> None:
    """``true`` and ``enabled`` switch on; everything else does not."""
    for parse, key in (
        (names.parse_adopt, "adopt"),
        (names.parse_hook_idempotent, "hook_idempotent"),
        (names.parse_paused, "paused"),
    ):
        assert parse(annotated(**{key: "true"})) is True
        assert parse(annotated(**{key: "Enabled"})) is True
        assert parse(annotated(**{key: "false"})) is False
        assert parse(annotated(**{key: True})) is False
        assert parse({}) is False


def test_a_hold_ends_at_its_time() -> None:
    """``hold-until`` is a time, or nothing."""
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert names.parse_hold_until(annotated(hold_until="2026-05-01T12:00:00Z")) == moment
    assert names.parse_hold_until(annotated(hold_until="tomorrow")) is None
    assert names.parse_hold_until({}) is None


def test_the_strictest_rollback_policy_of_a_set_counts() -> None:
    """A release can only make the policy stricter; nothing said is None."""
    automatic, manual = annotated(rollback="automatic"), annotated(rollback="Manual")
    forbidden, odd = annotated(rollback="forbidden"), annotated(rollback="often")
    assert names.parse_rollback_policy(manual) is RollbackPolicy.MANUAL
    assert names.parse_rollback_policy(odd) is None
    assert names.strictest_rollback([automatic, manual, odd]) is RollbackPolicy.MANUAL
    assert names.strictest_rollback([forbidden, manual]) is RollbackPolicy.FORBIDDEN
    assert names.strictest_rollback([automatic]) is RollbackPolicy.AUTOMATIC
    assert names.strictest_rollback([odd, {}]) is None
    assert names.strictest_rollback([]) is None


@pytest.mark.parametrize(
    "key, good, bad, wanted",
    [
        ("sync_wave", "-1", "first", "a whole number"),
        ("hold_until", "2026-05-01", "soon", "an RFC 3339 time"),
        ("hook", "PreSync, SyncFail", "PreSync,Later", "PreSync, Sync, PostSync, SyncFail or Skip"),
        ("rollback", "manual", "often", "automatic, manual or forbidden"),
        ("prune", "disabled", "keep", "enabled or disabled"),
        ("adopt", "true", "yes", '"true" or "false"'),
        ("recreate", "false", "1", '"true" or "false"'),
        ("hook_idempotent", "true", "", '"true" or "false"'),
    ],
)
def test_meaningless_values_of_ours_are_named(key: str, good: str, bad: str, wanted: str) -> None:
    """A value that would be ignored is said, with what can be written."""
    spelled = "gitopsd.io/" + key.replace("_", "-")
    assert names.list_bad_instructions(annotated(**{key: good})) == ()
    assert names.list_bad_instructions(annotated(**{key: bad})) == (f"{spelled}: write {wanted}",)
    assert names.list_bad_instructions({}) == ()


def test_meaningless_values_of_others_are_their_matter() -> None:
    """Only annotations of ours are judged, and all of them."""
    assert names.list_bad_instructions(annotated(argo__sync_wave="first")) == ()
    both = names.list_bad_instructions(annotated(sync_wave="first", adopt="maybe"))
    assert both == (
        "gitopsd.io/sync-wave: write a whole number",
        'gitopsd.io/adopt: write "true" or "false"',
    )
