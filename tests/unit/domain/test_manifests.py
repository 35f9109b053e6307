"""How objects are named."""

from __future__ import annotations

import pytest

from gitopsd.domain.manifests import ObjectKey, ObjectRef


@pytest.mark.parametrize("group,written", [("apps", "apps/v1"), ("", "v1")])
def test_the_api_version_is_written_as_manifests_write_it(group: str, written: str) -> None:
    """Group and version, or the version alone for the core group."""
    assert ObjectRef(ObjectKey(group, "Thing", "shop", "api"), "v1").api_version == written


@pytest.mark.parametrize("namespace,named", [("shop", "Thing shop/api"), ("", "Thing api")])
def test_an_object_is_named_as_people_say_it(namespace: str, named: str) -> None:
    """Kind, namespace and name; a cluster-wide object has no namespace."""
    assert str(ObjectKey("apps", "Thing", namespace, "api")) == named
