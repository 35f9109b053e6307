"""Volumes for claims: a default StorageClass and who makes a volume for each claim of it.

    with VolumeProvisioner.start(cluster.client, tmp_path):
        ...                             # claims that name no class are bound

The class is the cluster's default while this runs, and is gone afterwards with every volume that
was made, claims or not. A node agent mounts an empty directory for any claim: the volumes only
make claims bind, pods schedule and Kubernetes' own controllers work as on a cluster that people
use.
"""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from tests.support.cluster_client import ApiError
from tests.support.following import Follower

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from gitopsd.domain.manifests import JsonObject
    from tests.support.cluster_client import ClusterClient

Binding: TypeAlias = Literal["Immediate", "WaitForFirstConsumer"]

PROVISIONER = "volumes.gitopsd.test"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
VOLUMES = "/api/v1/persistentvolumes"
_CLAIMS = "/api/v1/persistentvolumeclaims"
_ASKED = "volume.kubernetes.io/storage-provisioner"
_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_NOT_FOUND = 404


class VolumeProvisioner:
    """One StorageClass and its volumes.

    Attributes:
        storage_class: The name of the class.
    """

    def __init__(self, client: ClusterClient, folder: Path) -> None:
        """Use :meth:`start`."""
        self.storage_class = f"test-{secrets.token_hex(4)}"
        self._client = client
        self._folder = folder
        self._followers = (
            Follower(client, _CLAIMS, self._provide),
            Follower(client, VOLUMES, self._reclaim),
        )

    @classmethod
    def start(cls, client: ClusterClient, folder: Path, *, binding: Binding = "Immediate") -> Self:
        """Make the class the cluster's default and serve its claims.

        Args:
            client: Of the cluster, as an administrator.
            folder: For the volumes' directories.
            binding: Whether a claim gets its volume at once or with the first pod that mounts it.
        """
        made = cls(client, folder)
        body: JsonObject = {
            "metadata": {"name": made.storage_class, "annotations": {_DEFAULT: "true"}},
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": binding,
        }
        client.create(CLASSES, body)
        for follower in made._followers:
            follower.start()
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def volumes(self) -> list[dict[str, Any]]:
        """The class's volumes as they are now."""
        found = self._client.get(VOLUMES)["items"]
        return [
            item for item in found if item["spec"].get("storageClassName") == self.storage_class
        ]

    def close(self) -> None:
        """Remove the class and its volumes, whatever still claims them.

        Safe to repeat: what is gone counts as removed.

        Raises:
            FollowingError: A volume could not be made or removed while this ran.
        """
        self._client.delete(f"{CLASSES}/{self.storage_class}")
        for follower in self._followers:
            follower.stop()
        for volume in self.volumes():
            self._remove(str(volume["metadata"]["name"]))
        for follower in self._followers:
            follower.close()

    def _provide(self, claim: dict[str, Any]) -> None:
        """Make the volume of a claim that asks for one.

        Safe to repeat: the volume's name is the claim's uid.
        """
        metadata, spec = claim["metadata"], claim["spec"]
        asked = metadata.get("annotations", {}).get(_ASKED) == PROVISIONER
        if not asked or spec.get("storageClassName") != self.storage_class or "volumeName" in spec:
            return
        name = f"pvc-{metadata['uid']}"
        directory = self._folder / name
        directory.mkdir(parents=True, exist_ok=True)
        reference = {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}
        body: JsonObject = {
            "metadata": {
                "name": name,
                "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
            },
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "volumeMode": spec.get("volumeMode", "Filesystem"),
                "storageClassName": self.storage_class,
                "persistentVolumeReclaimPolicy": "Delete",
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
                "hostPath": {"path": str(directory)},
            },
        }
        self._client.create(VOLUMES, body)

    def _reclaim(self, volume: dict[str, Any]) -> None:
        """Delete a volume whose claim is gone.

        Safe to repeat: one that is gone counts as deleted.
        """
        ours = volume["spec"].get("storageClassName") == self.storage_class
        if ours and volume.get("status", {}).get("phase") == "Released":
            self._delete(str(volume["metadata"]["name"]))

    def _delete(self, name: str) -> None:
        self._client.delete(f"{VOLUMES}/{name}")
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _remove(self, name: str) -> None:
        """Delete a volume that may still be bound: what keeps it from going is taken off."""
        self._delete(name)
        try:
            self._client.request(
                "PATCH",
                f"{VOLUMES}/{name}",
                {"metadata": {"finalizers": None}},
                content_type="application/merge-patch+json",
            )
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
