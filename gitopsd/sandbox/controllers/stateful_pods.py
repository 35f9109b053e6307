"""The pods of StatefulSets: their numbers, their names, their claims. Pure.

Rules: ``pkg/controller/statefulset/{stateful_set_utils,stateful_pod_control}.go``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.facts import (
    CLAIM,
    POD,
    STATEFUL_SET,
    Announcement,
    Create,
    Delete,
    Facts,
    Replace,
)
from gitopsd.sandbox.controllers.ownership import controller_reference
from gitopsd.sandbox.controllers.pods import pod_from_template
from gitopsd.sandbox.controllers.reading import (
    count_at,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    with_metadata,
)
from gitopsd.sandbox.controllers.revisions import POD_LABEL
from gitopsd.sandbox.fields import object_at, objects_at, text_at, text_map_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject

_NUMBERED = re.compile(r"(.*)-([0-9]+)")
_POD_NAME = "statefulset.kubernetes.io/pod-name"
_POD_INDEX = "apps.kubernetes.io/pod-index"


def ordinal_of(pod: JsonObject, owner: JsonObject) -> int | None:
    """The number at the end of a pod's name; None when it is none of the owner's names."""
    found = _NUMBERED.fullmatch(name_of(pod))
    if found is None or found[1] != name_of(owner):
        return None
    return int(found[2])


def first_ordinal(owner: JsonObject) -> int:
    """The number of the first pod."""
    return count_at(owner, "spec", "ordinals", "start")


def revision_label(pod: JsonObject) -> str:
    """The revision that a pod was made from."""
    return labels_of(pod).get(POD_LABEL, "")


def make_pod(owner: JsonObject, template: JsonObject, revision: str, ordinal: int) -> Create:
    """The write that makes one pod.

    Args:
        owner: The StatefulSet.
        template: The pod template of the revision.
        revision: The revision's name.
        ordinal: The pod's number.
    """
    name = f"{name_of(owner)}-{ordinal}"
    pod = pod_from_template(template, owner, STATEFUL_SET)
    labels = {
        **labels_of(pod),
        _POD_NAME: name,
        _POD_INDEX: str(ordinal),
        POD_LABEL: revision,
    }
    named = with_metadata(pod, {"name": name, "namespace": namespace_of(owner), "labels": labels})
    spec: dict[str, Json] = {
        **object_at(pod, "spec"),
        "hostname": name,
        "subdomain": text_at(owner, "spec", "serviceName"),
    }
    volumes = _volumes(owner, template, ordinal)
    if volumes:
        spec["volumes"] = volumes
    said = f"Pod {name} in StatefulSet {name_of(owner)}"
    return Create(
        POD,
        {**named, "spec": {field: value for field, value in spec.items() if value != ""}},
        done=Announcement(owner, "SuccessfulCreate", f"Create {said} successful"),
        refused=Announcement(
            owner, "FailedCreate", f"Create {said} failed error: {{problem}}", warning=True
        ),
    )


def delete_pod(owner: JsonObject, pod: JsonObject) -> Delete:
    """The write that deletes one pod."""
    said = f"Pod {name_of(pod)} in StatefulSet {name_of(owner)}"
    return Delete(
        POD.resource,
        pod,
        done=Announcement(owner, "SuccessfulDelete", f"Delete {said} successful"),
        refused=Announcement(
            owner, "FailedDelete", f"Delete {said} failed error: {{problem}}", warning=True
        ),
    )


def missing_claims(owner: JsonObject, ordinal: int, facts: Facts) -> list[Create]:
    """The writes that make the claims which a pod needs and which are not there."""
    writes: list[Create] = []
    for template in objects_at(owner, "spec", "volumeClaimTemplates"):
        name = claim_name(owner, template, ordinal)
        if facts.find(CLAIM.resource, namespace_of(owner), name) is not None:
            continue
        metadata: dict[str, Json] = {
            **object_at(template, "metadata"),
            "name": name,
            "namespace": namespace_of(owner),
            "labels": {
                **text_map_at(template, "metadata", "labels"),
                **text_map_at(owner, "spec", "selector", "matchLabels"),
            },
        }
        if _policy(owner, "whenDeleted") == "Delete":
            metadata["ownerReferences"] = [controller_reference(owner, STATEFUL_SET)]
        said = f"Pod {name_of(owner)}-{ordinal} in StatefulSet {name_of(owner)}"
        writes.append(
            Create(
                CLAIM,
                {"metadata": metadata, "spec": object_at(template, "spec")},
                done=Announcement(owner, "SuccessfulCreate", f"Create Claim {name} {said} success"),
                refused=Announcement(
                    owner,
                    "FailedCreate",
                    f"Create Claim {name} for {said} failed error: {{problem}}",
                    warning=True,
                ),
            )
        )
    return writes


def leave_claims(owner: JsonObject, pod: JsonObject, ordinal: int, facts: Facts) -> list[Replace]:
    """The writes that let a pod's claims go with it, where scaling down shall delete them."""
    if _policy(owner, "whenScaled") != "Delete":
        return []
    writes: list[Replace] = []
    for template in objects_at(owner, "spec", "volumeClaimTemplates"):
        name = claim_name(owner, template, ordinal)
        found = facts.find(CLAIM.resource, namespace_of(owner), name)
        references = [controller_reference(pod, POD)]
        if found is None or objects_at(found, "metadata", "ownerReferences") == tuple(references):
            continue
        others = [
            reference
            for reference in objects_at(found, "metadata", "ownerReferences")
            if text_at(reference, "uid") not in {uid_of(owner), uid_of(pod)}
        ]
        changed = with_metadata(found, {"ownerReferences": [*others, *references]})
        writes.append(Replace(CLAIM.resource, changed))
    return writes


def claim_name(owner: JsonObject, template: JsonObject, ordinal: int) -> str:
    """The name of a pod's claim for one template."""
    return f"{name_of(template)}-{name_of(owner)}-{ordinal}"


def _policy(owner: JsonObject, when: str) -> str:
    path = ("spec", "persistentVolumeClaimRetentionPolicy", when)
    return text_at(owner, *path, default="Retain")


def _volumes(owner: JsonObject, template: JsonObject, ordinal: int) -> list[JsonObject]:
    claims = objects_at(owner, "spec", "volumeClaimTemplates")
    named = {name_of(item) for item in claims}
    made: list[JsonObject] = [
        {
            "name": name_of(item),
            "persistentVolumeClaim": {"claimName": claim_name(owner, item, ordinal)},
        }
        for item in claims
    ]
    others = [
        volume
        for volume in objects_at(template, "spec", "volumes")
        if text_at(volume, "name") not in named
    ]
    return [*made, *others]
