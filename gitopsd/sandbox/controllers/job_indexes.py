"""Indexed Jobs: which indexes are done, which pods to make next. Pure.

Rules: ``pkg/controller/job/indexed_job_utils.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.pods import phase_of
from gitopsd.sandbox.controllers.reading import annotations_of, labels_of, name_of, with_metadata
from gitopsd.sandbox.fields import object_at, objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitopsd.domain.manifests import Json, JsonObject

INDEX = "batch.kubernetes.io/job-completion-index"
_VARIABLE = "JOB_COMPLETION_INDEX"


def is_indexed(job: JsonObject) -> bool:
    """Whether each completion has a number of its own."""
    return text_at(job, "spec", "completionMode") == "Indexed"


def index_of(pod: JsonObject) -> int | None:
    """A pod's index; None when it has none."""
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdecimal() else None


def parse_indexes(text: str) -> set[int]:
    """The indexes of a text such as ``1,3-5``."""
    found = set[int]()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def say_indexes(indexes: Iterable[int]) -> str:
    """Indexes as text: runs of three and more as ``3-5``, two as ``3,4``."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run))  # noqa: PLR2004 - as said
        for run in runs
    )


def done_indexes(job: JsonObject, pods: Sequence[JsonObject], completions: int) -> set[int]:
    """The indexes that have succeeded, by the status and by the pods."""
    known = parse_indexes(text_at(job, "status", "completedIndexes"))
    succeeded = (index_of(pod) for pod in pods if phase_of(pod) == "Succeeded")
    return {index for index in {*known, *succeeded} if index is not None and index < completions}


def next_indexes(done: set[int], active: Sequence[JsonObject], completions: int) -> list[int]:
    """The indexes without a pod, lowest first."""
    busy = {index_of(pod) for pod in active}
    return [index for index in range(completions) if index not in done and index not in busy]


def with_index(pod: JsonObject, job: JsonObject, index: int) -> JsonObject:
    """A new pod with its index: in its names, its labels and its containers' environment."""
    spec = object_at(pod, "spec")
    changed: dict[str, Json] = {
        **spec,
        "hostname": f"{name_of(job)}-{index}",
        "containers": [_told(item) for item in objects_at(spec, "containers")],
    }
    if "initContainers" in spec:
        changed["initContainers"] = [_told(item) for item in objects_at(spec, "initContainers")]
    metadata: dict[str, Json] = {
        "generateName": f"{name_of(job)}-{index}-",
        "annotations": {**annotations_of(pod), INDEX: str(index)},
        "labels": {**labels_of(pod), INDEX: str(index)},
    }
    return {**with_metadata(pod, metadata), "spec": changed}


def _told(container: JsonObject) -> JsonObject:
    variables = objects_at(container, "env")
    if any(text_at(item, "name") == _VARIABLE for item in variables):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
    return {**container, "env": [*variables, {"name": _VARIABLE, "valueFrom": source}]}
