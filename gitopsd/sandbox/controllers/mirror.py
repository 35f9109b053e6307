"""Everything the store holds, indexed for controllers: by owner, by uid, by who has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from gitopsd.sandbox.api.history import Action
from gitopsd.sandbox.controllers.facts import POD
from gitopsd.sandbox.controllers.node_loads import NodeLoad, NodeLoads
from gitopsd.sandbox.controllers.ownership import controller_of
from gitopsd.sandbox.controllers.reading import name_of, namespace_of, uid_of
from gitopsd.sandbox.fields import objects_at, text_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.history import Change
    from gitopsd.sandbox.controllers.facts import Resource

    Place: TypeAlias = tuple[Resource, str, str]
    Objects: TypeAlias = dict[str, JsonObject]


class Mirror:
    """The facts of :class:`~gitopsd.sandbox.controllers.facts.Facts`, kept by what `follow` says.

    Objects are kept by reference; nobody changes one in place. What is iterated is the order in
    which objects were made.
    """

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[str, Objects]] = {}
        self._orphans: dict[tuple[Resource, str], Objects] = {}
        self._by_uid: dict[str, Place] = {}
        self._dependents: dict[str, dict[str, Place]] = {}
        self._loads = NodeLoads()

    def follow(self, change: Change) -> None:
        """Take over one write."""
        if change.action is Action.DELETED:
            self.remove(change.key.kind, change.object)
        else:
            self.put(change.key.kind, change.object)

    def put(self, resource: Resource, item: JsonObject) -> None:
        """Take over an object as it is now."""
        namespace, name, uid = namespace_of(item), name_of(item), uid_of(item)
        before = self.find(resource, namespace, name)
        if before is not None and uid_of(before) != uid:
            self.remove(resource, before)
            before = None
        self._objects.setdefault(resource, {}).setdefault(namespace, {})[name] = item
        if resource == POD.resource:
            self._loads.put(item)
        place = (resource, namespace, name)
        self._by_uid[uid] = place
        owners = _owners(item)
        if before is not None:
            for owner in _owners(before) - owners:
                self._forget_dependent(owner, uid)
        for owner in owners:
            self._dependents.setdefault(owner, {})[uid] = place
        if controller_of(item) is None:
            self._orphans.setdefault((resource, namespace), {})[name] = item
        else:
            self._orphans.get((resource, namespace), {}).pop(name, None)

    def remove(self, resource: Resource, item: JsonObject) -> None:
        """Forget an object that is gone."""
        namespace, name, uid = namespace_of(item), name_of(item), uid_of(item)
        known = self.find(resource, namespace, name)
        if known is None or uid_of(known) != uid:
            return
        del self._objects[resource][namespace][name]
        if not self._objects[resource][namespace]:
            del self._objects[resource][namespace]
        self._orphans.get((resource, namespace), {}).pop(name, None)
        self._by_uid.pop(uid, None)
        if resource == POD.resource:
            self._loads.remove(known)
        for owner in _owners(known):
            self._forget_dependent(owner, uid)

    def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        """The object of that name; None when there is none."""
        return self._objects.get(resource, {}).get(namespace, {}).get(name)

    def among(self, resource: Resource, namespace: str = "") -> list[JsonObject]:
        """The objects of a collection, oldest first; of all namespaces when none is given."""
        places = self._objects.get(resource, {})
        if namespace:
            return list(places.get(namespace, {}).values())
        return [item for objects in places.values() for item in objects.values()]

    def orphans(self, resource: Resource, namespace: str) -> list[JsonObject]:
        """The objects of a collection that no controller manages, oldest first."""
        return list(self._orphans.get((resource, namespace), {}).values())

    def dependents(self, uid: str) -> list[tuple[Resource, JsonObject]]:
        """The objects whose ownerReferences name `uid`, with their collections."""
        return [
            (resource, self._objects[resource][namespace][name])
            for resource, namespace, name in self._dependents.get(uid, {}).values()
        ]

    def by_uid(self, uid: str) -> tuple[Resource, JsonObject] | None:
        """The object with that uid; None when there is none."""
        place = self._by_uid.get(uid)
        if place is None:
            return None
        resource, namespace, name = place
        return resource, self._objects[resource][namespace][name]

    def load(self, node: str) -> NodeLoad:
        """What runs on a node."""
        return self._loads.of(node)

    def resources(self) -> list[Resource]:
        """The collections that hold anything now."""
        return [resource for resource, places in self._objects.items() if places]

    def _forget_dependent(self, owner: str, uid: str) -> None:
        dependents = self._dependents.get(owner, {})
        dependents.pop(uid, None)
        if not dependents:
            self._dependents.pop(owner, None)


def _owners(item: JsonObject) -> set[str]:
    references = objects_at(item, "metadata", "ownerReferences")
    return {text_at(reference, "uid") for reference in references}
