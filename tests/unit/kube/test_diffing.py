"""What an apply changes, in lines."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given

from gitopsd.domain.manifests import ChangeAction, Digest, Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.errors import PermanentError
from gitopsd.kube import diffing
from gitopsd.kube.canonical import digest_of
from tests.support.hostile import HOSTILE, HOSTILE_OBJECTS, named_objects

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def deployment(**spec: Json) -> dict[str, Json]:
    """Make a live Deployment."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "uid": "u", "resourceVersion": "7"},
        "spec": {"replicas": 2, **spec},
        "status": {"replicas": 2},
    }


def diff(old: Json, new: Json) -> list[str]:
    """Diff two specs."""
    return diffing.diff_objects({"spec": old}, {"spec": new}).splitlines()


def test_what_only_the_server_writes_is_dropped() -> None:
    """Server fields, status and kubectl's copy of the manifest; nothing of the argument changes."""
    obj = deployment()
    obj["metadata"] = {"name": "api", "uid": "u", "annotations": {LAST_APPLIED: "{}", "a": "b"}}
    before = copy.deepcopy(obj)
    assert diffing.normalise_for_diff(obj) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "annotations": {"a": "b"}},
        "spec": {"replicas": 2},
    }
    assert obj == before


def test_annotations_that_become_empty_go() -> None:
    """An object whose only annotation was kubectl's has none."""
    obj: JsonObject = {"metadata": {"name": "x", "annotations": {LAST_APPLIED: "{}"}}}
    assert diffing.normalise_for_diff(obj) == {"metadata": {"name": "x"}}
    kept: JsonObject = {"metadata": {"name": "x", "annotations": {}}}
    assert diffing.normalise_for_diff(kept) == kept


def test_equality_ignores_what_nobody_asked_for() -> None:
    """Versions, managers and status may differ; labels and annotations may not."""
    live, answer = deployment(), deployment()
    answer["metadata"] = {"name": "api", "namespace": "shop", "managedFields": [1]}
    answer["status"] = {}
    assert diffing.equal_for_apply(live, answer) is True
    assert diffing.equal_for_apply(live, deployment(replicas=3)) is False
    assert diffing.equal_for_apply(live, deployment(replicas=2.0)) is False
    labelled = deployment()
    labelled["metadata"] = {"name": "api", "namespace": "shop", "labels": {"a": "b"}}
    assert diffing.equal_for_apply(live, labelled) is False


def test_a_change_is_two_lines() -> None:
    """The path, and the value before and after."""
    assert diffing.diff_objects(deployment(), deployment(replicas=3)) == (
        "- spec.replicas: 2\n+ spec.replicas: 3"
    )
    assert diffing.diff_objects(deployment(), deployment()) == ""


def test_a_created_object_is_all_plus_and_a_deleted_one_all_minus() -> None:
    """Fields in the order of their paths."""
    lines = ["apiVersion: v1", "kind: ConfigMap", "metadata.name: c"]
    obj: JsonObject = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    assert diffing.diff_objects(None, obj) == "\n".join(f"+ {line}" for line in lines)
    assert diffing.diff_objects(obj, None) == "\n".join(f"- {line}" for line in lines)
    assert diffing.diff_objects(None, None) == ""


@pytest.mark.parametrize(
    "old, new, lines",
    [
        ({"a": 1}, {"b": 1}, ["- spec.a: 1", "+ spec.b: 1"]),
        ({"a": {}}, {"a": {"b": 1}}, ["- spec.a: {}", "+ spec.a.b: 1"]),
        ({}, {"a": []}, ["- spec: {}", "+ spec.a: []"]),
        ({"a": ["x", "y"]}, {"a": ["x"]}, ['- spec.a: ["x", "y"]', '+ spec.a: ["x"]']),
        ({"a": [{"p": 1}]}, {"a": [{"p": 3}]}, ["- spec.a[0].p: 1", "+ spec.a[0].p: 3"]),
        ({"a": [[1], [2]]}, {"a": [[1], [3]]}, ["- spec.a[1]: [2]", "+ spec.a[1]: [3]"]),
        ({"a": True}, {"a": 1}, ["- spec.a: true", "+ spec.a: 1"]),
        ({"a": 1}, {"a": "1"}, ["- spec.a: 1", '+ spec.a: "1"']),
        ({"a": None}, {"a": "null"}, ["- spec.a: null", '+ spec.a: "null"']),
        ({"a": ""}, {"a": " x"}, ['- spec.a: ""', '+ spec.a: " x"']),
        ({"a": "x "}, {"a": "x"}, ['- spec.a: "x "', "+ spec.a: x"]),
        ({"a": "x\ty"}, {"a": "ü"}, ['- spec.a: "x\\ty"', '+ spec.a: "ü"']),
        ({"a": "a b: c"}, {"a": "/x"}, ["- spec.a: a b: c", "+ spec.a: /x"]),
        ({"a.b/c": 1}, {"a.b/c": 2}, ['- spec["a.b/c"]: 1', '+ spec["a.b/c"]: 2']),
        ({"a-b/c": 1}, {"a-b/c": 2}, ["- spec.a-b/c: 1", "+ spec.a-b/c: 2"]),
        ({"": 1}, {"": 2}, ['- spec[""]: 1', '+ spec[""]: 2']),
        ([1], [2], ["- spec: [1]", "+ spec: [2]"]),
    ],
)  # fmt: skip
def test_values_and_paths_are_said_plainly(old: Json, new: Json, lines: list[str]) -> None:
    """Strings are quoted only where they would read as something else."""
    assert diff(old, new) == lines


def test_the_keys_of_the_root_are_said_plainly_or_quoted() -> None:
    """A path begins without a dot."""
    assert diffing.diff_objects({"a.b": 1}, {"a": 1}) == '+ a: 1\n- ["a.b"]: 1'
    assert diffing.diff_objects({}, {"a": 1}) == "- : {}\n+ a: 1"


def test_named_items_are_addressed_by_name() -> None:
    """An inserted container is one insertion, wherever it stands."""
    old: Json = {"containers": [{"name": "api", "image": "a:1"}]}
    new: Json = {"containers": [{"name": "proxy", "image": "p"}, {"name": "api", "image": "a:2"}]}
    assert diff(old, new) == [
        "- spec.containers[api].image: a:1",
        "+ spec.containers[api].image: a:2",
        "+ spec.containers[proxy].image: p",
        "+ spec.containers[proxy].name: proxy",
    ]


def test_named_items_in_another_order_are_a_change() -> None:
    """Variables refer to earlier ones, so their order means something."""
    one, two = {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}
    assert diff({"env": [one, two]}, {"env": [two, one]}) == [
        '- spec.env (order): ["A", "B"]',
        '+ spec.env (order): ["B", "A"]',
    ]


@pytest.mark.parametrize(
    "items",
    [
        [{"name": "a", "p": 1}, {"name": "a", "p": 2}],
        [{"name": "a", "p": 1}, {"p": 2}],
        [{"name": "", "p": 1}, {"name": "a", "p": 2}],
        [{"name": 1, "p": 1}, {"name": 2, "p": 2}],
        [{"name": "a", "p": 1}, ["p"]],
    ],
)
def test_items_without_a_name_of_their_own_are_addressed_by_place(items: list[Json]) -> None:
    """Every item needs a name, and no two the same one."""
    assert diff({"l": items}, {"l": [*items, {"p": 3}]}) == ["+ spec.l[2].p: 3"]


def test_long_texts_are_diffed_by_line() -> None:
    """With one line around what changes."""
    old = "one\ntwo\nthree\nfour\nfive"
    new = "one\ntwo\nTHREE\nfour\nfive"
    assert diffing.diff_objects(
        {"kind": "ConfigMap", "data": {"app.conf": old}},
        {"kind": "ConfigMap", "data": {"app.conf": new}},
    ).splitlines() == [
        '~ data["app.conf"]:',
        "  @@ -2,3 +2,3 @@",
        "   two",
        "  -three",
        "  +THREE",
        "   four",
    ]


def test_a_text_that_becomes_long_is_diffed_by_line() -> None:
    """Either side may have several lines."""
    assert diff({"a": "x"}, {"a": "x\ny"}) == ["~ spec.a:", "  @@ -1 +1,2 @@", "   x", "  +y"]
    assert diff({"a": "x\ny"}, {"a": "x"}) == ["~ spec.a:", "  @@ -1,2 +1 @@", "   x", "  -y"]
    assert diff({"a": "x\ny"}, {"a": 3}) == ['- spec.a: "x\\ny"', "+ spec.a: 3"]
    assert diff({"a": 3}, {"a": "x\ny"}) == ["- spec.a: 3", '+ spec.a: "x\\ny"']


def test_huge_texts_are_only_counted() -> None:
    """More than 400 lines on either side are not compared."""
    many = "\n".join(["l"] * 400)
    assert diff({"a": many}, {"a": "l\nm"})[0] == "~ spec.a:"
    assert diff({"a": many + "\nl"}, {"a": "l\nm"}) == ["~ spec.a: 401 lines become 2"]
    assert diff({"a": "l\nm"}, {"a": many + "\nl"}) == ["~ spec.a: 2 lines become 401"]


def test_a_text_in_which_only_a_secret_changes_says_that_it_changes() -> None:
    """Masked on both sides it would look equal."""
    assert diff({"a": "x\npassword=a"}, {"a": "x\npassword=b"}) == ["~ spec.a: *** (after)"]


def test_long_lines_and_long_diffs_are_cut() -> None:
    """200 characters a line, 200 lines, and how many are not shown."""
    long = diff({"a": "x"}, {"a": "y" * 300})
    assert long[1] == "+ spec.a: " + "y" * 187 + "..."
    assert len(long[1]) == 200
    fits = diff({"a": "x"}, {"a": "y" * 190})
    assert fits[1] == "+ spec.a: " + "y" * 190
    many: dict[str, Json] = {f"k{number:03}": number for number in range(200)}
    assert len(diffing.diff_objects(None, many).splitlines()) == 200
    many["k200"] = 200
    lines = diffing.diff_objects(None, many).splitlines()
    assert (len(lines), lines[-1]) == (201, "... and 1 more lines")


def test_secrets_show_which_keys_change_and_no_value() -> None:
    """Of Secrets, of sensitive kinds, and of telling variables and keys."""
    old: JsonObject = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "1", "b": "2", "c": "3"}}
    new: JsonObject = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "1", "b": "9", "d": "4"}}
    assert diffing.diff_objects(old, new).splitlines() == [
        "- data.b: *** (before)",
        "+ data.b: *** (after)",
        "- data.c: ***",
        "+ data.d: ***",
    ]
    vault: JsonObject = {"kind": "Vault", "spec": {"x": [{"name": "n", "v": "1"}]}}
    changed: JsonObject = {"kind": "Vault", "spec": {"x": [{"name": "n", "v": "2"}]}}
    assert diffing.diff_objects(vault, changed, ["Vault"]).splitlines() == [
        "- spec.x[n].v: *** (before)",
        "+ spec.x[n].v: *** (after)",
    ]
    assert "1" not in diffing.diff_objects(vault, None, ["Vault"])
    env = [{"name": "DB_PASSWORD", "value": "one"}]
    other = [{"name": "DB_PASSWORD", "value": "two"}]
    assert diff({"env": env}, {"env": other}) == [
        "- spec.env[DB_PASSWORD].value: *** (before)",
        "+ spec.env[DB_PASSWORD].value: *** (after)",
    ]


def test_secrets_inside_plain_values_are_masked() -> None:
    """Every line passes the redaction of text."""
    assert diff({"a": "x"}, {"a": "https://u:p@host/"}) == [
        "- spec.a: x",
        "+ spec.a: https://***@host/",
    ]


def nest(levels: int, end: Json) -> Json:
    """Nest a value a number of levels deep."""
    for _ in range(levels):
        end = {"x": end}
    return end


def test_deep_nesting_is_compared_by_digest() -> None:
    """Deeper than 64 levels a difference is shown as one."""
    shallow = diff(nest(63, 1), nest(63, 2))
    assert shallow == ["- spec" + ".x" * 63 + ": 1", "+ spec" + ".x" * 63 + ": 2"]
    deep = diff(nest(80, 1), nest(80, 2))
    assert len(deep) == 2
    assert deep[0].startswith("- spec" + ".x" * 64 + ": (nested deeper) sha256:")
    assert diff(nest(80, 1), nest(80, 1)) == []


def test_changes_say_what_happens_to_an_object() -> None:
    """Created, configured or unchanged, with the diff, the note and whether the server said so."""
    ref = ObjectRef(ObjectKey("apps", "Deployment", "shop", "api"), "v1")
    created = diffing.change_of(None, deployment(), note="n", checked=False)
    assert (created.ref, created.action, created.note, created.checked) == (
        ref,
        ChangeAction.CREATED,
        "n",
        False,
    )
    assert created.diff == diffing.diff_objects(None, deployment())
    configured = diffing.change_of(deployment(), deployment(replicas=3))
    assert configured.action is ChangeAction.CONFIGURED
    assert configured.diff == "- spec.replicas: 2\n+ spec.replicas: 3"
    assert (configured.note, configured.checked) == ("", True)
    same = diffing.change_of(deployment(), deployment(), note="n", checked=False)
    assert (same.action, same.diff, same.note, same.checked) == (
        ChangeAction.UNCHANGED,
        "",
        "n",
        False,
    )


def test_changes_of_sensitive_kinds_are_masked() -> None:
    """The configured kinds are passed on."""
    change = diffing.change_of(deployment(), deployment(replicas=3), sensitive_kinds=["Deployment"])
    assert change.diff == "- spec.replicas: *** (before)\n+ spec.replicas: *** (after)"


def test_an_object_without_identity_has_no_change() -> None:
    """It is refused, as everywhere."""
    with pytest.raises(PermanentError):
        diffing.change_of(None, {"kind": "X"})


KEY = ObjectKey("", "ConfigMap", "shop", "a")
REF = ObjectRef(KEY, "v1")
OTHER = ObjectRef(ObjectKey("", "ConfigMap", "shop", "b"), "v1")
RENDERED = Digest("sha256:" + "a" * 64)
APPLIED = Digest("sha256:" + "b" * 64)


def test_a_plan_is_addressed_by_everything_an_approval_is_bound_to() -> None:
    """Each part counts, the order of deletions and hooks does not."""
    plan = diffing.compute_plan_digest(RENDERED, APPLIED, [REF, OTHER], [OTHER, REF])
    assert plan == diffing.compute_plan_digest(RENDERED, APPLIED, [OTHER, REF], [REF, OTHER])
    assert plan == digest_of(
        {
            "rendered": RENDERED,
            "applied": APPLIED,
            "deletions": [["", "ConfigMap", "shop", "a"], ["", "ConfigMap", "shop", "b"]],
            "hooks": [["", "ConfigMap", "shop", "a"], ["", "ConfigMap", "shop", "b"]],
        }
    )
    others = {
        diffing.compute_plan_digest(APPLIED, APPLIED, [REF, OTHER], [OTHER, REF]),
        diffing.compute_plan_digest(RENDERED, RENDERED, [REF, OTHER], [OTHER, REF]),
        diffing.compute_plan_digest(RENDERED, None, [REF, OTHER], [OTHER, REF]),
        diffing.compute_plan_digest(RENDERED, APPLIED, [REF], [OTHER, REF]),
        diffing.compute_plan_digest(RENDERED, APPLIED, [REF, OTHER], [OTHER]),
    }
    assert len(others) == 5
    assert plan not in others


def test_the_version_of_an_object_is_no_part_of_the_plan() -> None:
    """The same object under a newer API version is the same object."""
    newer = ObjectRef(KEY, "v2")
    assert diffing.compute_plan_digest(RENDERED, None, [REF], []) == (
        diffing.compute_plan_digest(RENDERED, None, [newer], [])
    )


@given(named_objects(), named_objects())
def test_equality_and_an_empty_diff_agree(one: JsonObject, two: JsonObject) -> None:
    """A diff is empty exactly when an apply would change nothing."""
    assert (diffing.diff_objects(one, two) == "") == diffing.equal_for_apply(one, two)
    assert diffing.diff_objects(one, one) == ""


@given(HOSTILE_OBJECTS, HOSTILE)
def test_a_value_is_never_lost(obj: JsonObject, value: Json) -> None:
    """Adding a key shows; every line is short."""
    text = diffing.diff_objects(obj, {**obj, "added": {"here": value}})
    assert "added" in text
    assert all(len(line) <= 200 for line in text.splitlines())
