"""Random sequences of writes to one object, for two servers that must answer the same.

Two managers and kubectl apply, replace, patch and delete one object of a kind with keyed lists,
sets, atomic parts and free fields: forced and not, in earnest and dry, with versions that are
current or stale, with items that come, go and change places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tests.support.api_talk import APPLY, MERGE, PLAIN, STRATEGIC

Body: TypeAlias = dict[str, Any]
LENGTH = 8


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind to write.

    Attributes:
        path: Its collection, with ``NS`` for the namespace.
        bodies: Objects without a name.
        strategic: Whether it takes strategic merge patches.
    """

    path: str
    bodies: st.SearchStrategy[Body]
    strategic: bool = True


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of a sequence.

    Attributes:
        method: HTTP method.
        type: The body's media type.
        query: The query.
        body: The object or patch, without its name; None for requests without a body.
        version: ``current`` or ``stale``: the version that the body names; empty: none.
        named: Whether the path names the object.
    """

    method: str
    type: str = PLAIN
    query: str = ""
    body: Body | None = None
    version: str = ""
    named: bool = True


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Body]:
    """An object with some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def some(keys: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Body]:
    """A map of a few keys."""
    return st.dictionaries(st.sampled_from(keys), values, max_size=3)


def _keyed(items: st.SearchStrategy[Body], key: str, most: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=most, unique_by=lambda item: item[key])


_DIGIT = st.sampled_from("12")

_VARIABLE = st.fixed_dictionaries({"name": st.sampled_from("ABC")}, optional={"value": _DIGIT})
_PORT = st.fixed_dictionaries(
    {"containerPort": st.sampled_from([53, 80, 81])},
    optional={"protocol": st.sampled_from(["TCP", "UDP"]), "name": st.sampled_from(["p", "q"])},
)
_CONTAINER = st.fixed_dictionaries(
    {"name": st.sampled_from("cde")},
    optional={
        "image": st.sampled_from(["i:1", "i:2", "j"]),
        "env": _keyed(_VARIABLE, "name"),
        "ports": st.lists(
            _PORT,
            max_size=3,
            unique_by=(
                lambda item: (item["containerPort"], item.get("protocol", "TCP")),
                lambda item: item.get("name", item["containerPort"]),
            ),
        ),
        "resources": st.sampled_from(
            [
                {},
                {"limits": {"cpu": "1"}},
                {"limits": {"cpu": "1000m", "memory": "1Gi"}},
                {"requests": {"cpu": 0.5}},
            ]
        ),
        "args": st.lists(st.sampled_from("ab"), max_size=2),
        "command": st.none(),
        "readinessProbe": st.sampled_from(
            [{"httpGet": {"port": 80}}, {"tcpSocket": {"port": 1}, "periodSeconds": 5}]
        ),
    },
)
_VOLUME: st.SearchStrategy[Body] = st.fixed_dictionaries(
    {"name": st.sampled_from("vw")},
    optional={"emptyDir": st.just({})},
)
_POD = st.fixed_dictionaries(
    {"containers": st.lists(_CONTAINER, min_size=1, max_size=3, unique_by=lambda c: c["name"])},
    optional={
        "volumes": _keyed(_VOLUME, "name", 2),
        "nodeSelector": some("kl", _DIGIT),
        "tolerations": st.just([{"key": "k", "operator": "Exists"}]),
        "imagePullSecrets": st.permutations([{"name": "a"}, {"name": "b"}]),
    },
)
_LABELS = st.fixed_dictionaries({"a": st.just("b")}, optional={"x": _DIGIT})
_DEPLOYMENT = st.fixed_dictionaries(
    {
        "selector": st.just({"matchLabels": {"a": "b"}}),
        "template": st.fixed_dictionaries(
            {"metadata": st.fixed_dictionaries({"labels": _LABELS}), "spec": _POD}
        ),
    },
    optional={
        "replicas": st.sampled_from([1, 2, 3]),
        "strategy": st.sampled_from(
            [
                {"type": "Recreate"},
                {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                {"rollingUpdate": {"maxUnavailable": "10%"}},
            ]
        ),
        "minReadySeconds": st.sampled_from([0, 5]),
        "paused": st.sampled_from([True, False, None]),
    },
)
_SERVICE_PORT = st.fixed_dictionaries(
    {"port": st.sampled_from([80, 81, 82])},
    optional={
        "protocol": st.sampled_from(["TCP", "UDP"]),
        "targetPort": st.sampled_from([8080, "http"]),
    },
).map(lambda port: {**port, "name": f"p{port['port']}"})
_SERVICE = st.fixed_dictionaries(
    {"ports": st.lists(_SERVICE_PORT, min_size=1, max_size=3, unique_by=lambda p: p["port"])},
    optional={
        "selector": some("ab", _DIGIT),
        "sessionAffinity": st.sampled_from(["None", "ClientIP"]),
    },
)
_ITEM = st.fixed_dictionaries(
    {"id": st.sampled_from("abc")}, optional={"v": st.sampled_from([1, 2])}
)
_WIDGET = st.fixed_dictionaries(
    {"size": st.sampled_from([1, 2, 3])},
    optional={
        "items": _keyed(_ITEM, "id"),
        "tags": st.lists(st.sampled_from("abc"), max_size=3, unique=True),
        "free": st.sampled_from(
            [
                {},
                {"x": 1},
                {"x": {"y": 1, "z": [1, 2]}},
                {"x": {"y": 2}, "known": True},
                {"l": [1]},
                {"x": None},
            ]
        ),
        "map": some("abc", st.sampled_from([1, 2])),
        "whole": maybe(a=_DIGIT, b=_DIGIT),
        "share": st.sampled_from([5, "5%"]),
        "maybe": st.sampled_from([None, "x"]),
        "nested": st.sampled_from([{}, {"d": False}, {"d": True}]),
        "list": st.lists(st.sampled_from("ab"), max_size=2),
        "color": st.sampled_from(["red", "blue"]),
    },
)
_METADATA = maybe(
    labels=some("lmn", _DIGIT),
    annotations=some("pq", _DIGIT),
    finalizers=st.sampled_from([[], ["a.b/c"], ["a.b/c", "a.b/d"]]),
)


def _objects(api_version: str, kind: str, **parts: st.SearchStrategy[Any]) -> Any:  # noqa: ANN401 - a strategy
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(api_version),
            "kind": st.just(kind),
            "metadata": _METADATA,
            **parts,
        }
    )


def _without_empty(metadata: Body) -> Body:
    return {name: item for name, item in metadata.items() if item}


_CONFIG = st.builds(
    lambda head, parts: {**head, **parts},
    _objects("v1", "ConfigMap"),
    maybe(data=some("abcd", _DIGIT), binaryData=st.just({"z": "AA=="})),
)
_WIDGETS = st.builds(
    # Empty labels and the like are kept by a real server where nobody sees them: in what it
    # stores of a custom object, so that a later write without them counts a version.
    lambda head, parts: {**head, **parts, "metadata": _without_empty(head["metadata"])},
    _objects("recorded.example.com/v1", "Widget", spec=_WIDGET),
    maybe(status=st.just({"ready": True})),
)
KINDS = (
    Kind(
        "/apis/apps/v1/namespaces/NS/deployments",
        _objects("apps/v1", "Deployment", spec=_DEPLOYMENT),
    ),
    Kind("/api/v1/namespaces/NS/configmaps", _CONFIG),
    Kind("/api/v1/namespaces/NS/services", _objects("v1", "Service", spec=_SERVICE)),
    Kind("/apis/recorded.example.com/v1/namespaces/NS/widgets", _WIDGETS, strategic=False),
)


@st.composite
def sequences(draw: st.DrawFn) -> tuple[Kind, list[Ask]]:
    """A kind and requests for one object of it, the first of which makes it."""
    kind = draw(st.sampled_from(KINDS))
    first = Ask("PATCH", APPLY, "?fieldManager=m1", draw(kind.bodies))
    others = st.lists(_asks(kind), min_size=LENGTH - 1, max_size=LENGTH - 1)
    return kind, [first, *draw(others)]


def _asks(kind: Kind) -> st.SearchStrategy[Ask]:
    def patch(body: Body) -> Body:
        return {name: item for name, item in body.items() if name not in {"apiVersion", "kind"}}

    managers = st.sampled_from(["m1", "m1", "m2", "kubectl"])
    dry = st.sampled_from(["", "", "", "", "&dryRun=All"])
    queries = st.builds("?fieldManager={}{}".format, managers, dry)
    forced = st.builds("{}{}".format, queries, st.sampled_from(["", "&force=true"]))
    stale = st.sampled_from(["", "", "", "", "", "stale", "current"])
    applies = st.builds(Ask, st.just("PATCH"), st.just(APPLY), forced, kind.bodies, stale)
    replaces = st.builds(
        Ask,
        st.just("PUT"),
        st.just(PLAIN),
        queries,
        kind.bodies,
        st.sampled_from(["current", "current", "", "stale"]),
    )
    patches = [MERGE, STRATEGIC] if kind.strategic else [MERGE]
    patched = st.builds(
        Ask, st.just("PATCH"), st.sampled_from(patches), queries, kind.bodies.map(patch)
    )
    creates = st.builds(
        Ask, st.just("POST"), st.just(PLAIN), queries, kind.bodies, st.just(""), st.just(False)
    )
    plain = st.sampled_from([Ask("GET"), Ask("DELETE"), Ask("GET")])
    return st.one_of(applies, applies, applies, applies, replaces, patched, patched, creates, plain)
