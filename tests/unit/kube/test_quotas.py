"""What new objects take together, and which quota has no room for it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from gitopsd.domain.manifests import Json, JsonObject, ObjectKey
from gitopsd.kube.quotas import Wish, find_exceeded, needs_of


def quota(hard: dict[str, Json], used: dict[str, Json], name: str = "few") -> JsonObject:
    """Make a quota that was counted."""
    return {
        "kind": "ResourceQuota",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"hard": hard},
        "status": {"hard": hard, "used": used},
    }


def wish(name: str = "a", namespace: str = "shop", kind: str = "ConfigMap", **needs: int) -> Wish:
    """Make what one object takes; two underscores in a name stand for a slash."""
    amounts = {key.replace("__", "/"): Fraction(amount) for key, amount in needs.items()}
    return Wish(ObjectKey("", kind, namespace, name), amounts)


@pytest.mark.parametrize(
    "group, plural, spec, needs",
    [
        ("apps", "deployments", {}, {"count/deployments.apps": 1}),
        ("", "endpoints", {}, {"count/endpoints": 1}),
        ("", "configmaps", {}, {"count/configmaps": 1, "configmaps": 1}),
        ("example.com", "services", {"type": "NodePort"}, {"count/services.example.com": 1}),
        ("", "services", {"ports": [{}]}, {"count/services": 1, "services": 1}),
        (
            "",
            "services",
            {"type": "NodePort", "ports": [{}, {}]},
            {"count/services": 1, "services": 1, "services.nodeports": 2},
        ),
        (
            "",
            "services",
            {"type": "LoadBalancer", "ports": [{}, {}]},
            {
                "count/services": 1,
                "services": 1,
                "services.loadbalancers": 1,
                "services.nodeports": 2,
            },
        ),
        (
            "",
            "services",
            {
                "type": "LoadBalancer",
                "ports": [{}, {"nodePort": 30000}],
                "allocateLoadBalancerNodePorts": False,
            },
            {
                "count/services": 1,
                "services": 1,
                "services.loadbalancers": 1,
                "services.nodeports": 1,
            },
        ),
        (
            "",
            "services",
            {"type": "LoadBalancer"},
            {"count/services": 1, "services": 1, "services.loadbalancers": 1},
        ),
        (
            "",
            "persistentvolumeclaims",
            {"resources": {"requests": {"storage": "1Ki"}}},
            {
                "count/persistentvolumeclaims": 1,
                "persistentvolumeclaims": 1,
                "requests.storage": 1024,
            },
        ),
        (
            "",
            "persistentvolumeclaims",
            {"storageClassName": "fast", "resources": {"requests": {"storage": "2"}}},
            {
                "count/persistentvolumeclaims": 1,
                "persistentvolumeclaims": 1,
                "requests.storage": 2,
                "fast.storageclass.storage.k8s.io/requests.storage": 2,
                "fast.storageclass.storage.k8s.io/persistentvolumeclaims": 1,
            },
        ),
    ],
)
def test_what_is_counted(group: str, plural: str, spec: JsonObject, needs: dict[str, int]) -> None:
    """Objects by kind, ports of services, volumes by size and class."""
    assert needs_of(group, plural, {"spec": spec}) == needs


def test_an_old_annotation_names_the_storage_class() -> None:
    """It goes before the field, as for a server."""
    marks = {"volume.beta.kubernetes.io/storage-class": "old"}
    claim: JsonObject = {
        "metadata": {"annotations": marks},
        "spec": {"storageClassName": "new", "resources": {"requests": {"storage": "no size"}}},
    }
    assert needs_of("", "persistentvolumeclaims", claim) == {
        "count/persistentvolumeclaims": 1,
        "persistentvolumeclaims": 1,
        "old.storageclass.storage.k8s.io/persistentvolumeclaims": 1,
    }


def test_what_passes_alone_is_too_much_together() -> None:
    """The sentence names an object, and has the server's words and by how much."""
    few = quota({"count/configmaps": "2", "pods": "1"}, {"count/configmaps": "1", "pods": "1"})
    wishes = [wish("a", count__configmaps=1), wish("b", count__configmaps=1)]
    (found,) = find_exceeded([few], wishes)
    assert found.message == (
        "ConfigMap shop/a and 1 more new object: exceeded quota: few, "
        "requested: count/configmaps=2, used: count/configmaps=1, limited: count/configmaps=2; "
        "too much by count/configmaps=1"
    )
    assert (found.namespace, found.objects) == ("shop", (wishes[0].key, wishes[1].key))
    assert find_exceeded([few], wishes[:1]) == ()


def test_everything_that_lacks_is_told_and_storage_in_its_unit() -> None:
    """Several amounts in one sentence; objects that take none of them are not named."""
    hard: dict[str, Json] = {"persistentvolumeclaims": "1", "requests.storage": "1Gi", "x": "0"}
    used: dict[str, Json] = {"persistentvolumeclaims": "0", "requests.storage": "0", "x": "0"}
    size = 2**30
    wishes = [
        wish("settings", count__configmaps=1),
        *(
            Wish(
                ObjectKey("", "PersistentVolumeClaim", "shop", name),
                {"persistentvolumeclaims": Fraction(1), "requests.storage": Fraction(size)},
            )
            for name in ("a", "b", "c")
        ),
    ]
    (found,) = find_exceeded([quota(hard, used)], wishes)
    assert found.message == (
        "PersistentVolumeClaim shop/a and 2 more new objects: exceeded quota: few, "
        "requested: persistentvolumeclaims=3,requests.storage=3Gi, "
        "used: persistentvolumeclaims=0,requests.storage=0, "
        "limited: persistentvolumeclaims=1,requests.storage=1Gi; "
        "too much by persistentvolumeclaims=2,requests.storage=2Gi"
    )


def test_amounts_without_a_unit_of_their_own() -> None:
    """One object, a size in bytes, and a limit that is no whole number."""
    limits: dict[str, Json] = {"count/configmaps": "1500m", "requests.storage": "1"}
    none: dict[str, Json] = {"count/configmaps": "1", "requests.storage": "0"}
    both = {"count/configmaps": Fraction(1), "requests.storage": Fraction(1001)}
    key = ObjectKey("", "ConfigMap", "shop", "a")
    (found,) = find_exceeded([quota(limits, none)], [Wish(key, both)])
    assert "ConfigMap shop/a: exceeded quota" in found.message
    assert "limited: count/configmaps=1500m,requests.storage=1;" in found.message
    assert "requested: count/configmaps=1,requests.storage=1001," in found.message


@pytest.mark.parametrize(
    "spec", [{"scopes": ["BestEffort"]}, {"scopeSelector": {"matchExpressions": []}}]
)
def test_quotas_of_certain_pods_are_left_out(spec: dict[str, Json]) -> None:
    """No object that is counted by kind is in a scope."""
    scoped = {**quota({"count/configmaps": "0"}, {"count/configmaps": "0"}), "spec": spec}
    assert find_exceeded([scoped], [wish(count__configmaps=1)]) == ()


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"hard": {"count/configmaps": "0"}},
        {"hard": {"count/configmaps": "none"}, "used": {"count/configmaps": "0"}},
    ],
)
def test_what_nobody_has_counted_is_not_in_force(status: dict[str, Json]) -> None:
    """A server lets objects pass until a controller has counted, and so does this."""
    uncounted = {**quota({"count/configmaps": "0"}, {}), "status": status}
    assert find_exceeded([uncounted], [wish(count__configmaps=1)]) == ()


def test_a_limit_that_the_release_raises_is_not_held_against_it() -> None:
    """The larger of both limits counts; a lower one may not be in force yet."""
    hard, used = {"count/configmaps": "1"}, {"count/configmaps": "1"}
    live = quota({**hard}, {**used})
    more = [wish(count__configmaps=1)]
    assert len(find_exceeded([live], more, [quota({"count/configmaps": "0"}, {})])) == 1
    assert len(find_exceeded([live], more, [quota({"pods": "9"}, {})])) == 1
    assert len(find_exceeded([live], more, [quota({"count/configmaps": "9"}, {}, "other")])) == 1
    assert find_exceeded([live], more, [quota({"count/configmaps": "2"}, {})]) == ()


def test_quotas_of_other_namespaces_do_not_count() -> None:
    """Each namespace has room of its own; a full quota that nothing is asked of is left alone."""
    full = quota({"count/configmaps": "0"}, {"count/configmaps": "3"})
    assert find_exceeded([full], [wish("a", "elsewhere", count__configmaps=1)]) == ()
    assert find_exceeded([full], [wish("a", pods=1)]) == ()
    names = [
        one.quota
        for one in find_exceeded(
            [{**full, "metadata": {"name": name, "namespace": "shop"}} for name in ("b", "a")],
            [wish(count__configmaps=1)],
        )
    ]
    assert names == ["a", "b"]
