"""What the sandbox knows of Kubernetes' kinds is what the real API server says of them."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tests.support.sandbox_facts import collect_server_facts

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

_AGAIN = "record them again: .venv/bin/python -m tools.sandbox_schemas"


def _packaged() -> dict[str, Any]:
    packed = files("gitopsd.sandbox.objects").joinpath("schemas.json.gz").read_bytes()
    content: dict[str, Any] = json.loads(gzip.decompress(packed))
    return content


def test_packaged_facts_are_those_of_the_pinned_server(control_plane: ControlPlane) -> None:
    """Definitions and resources of the package equal what the server's documents say now."""
    packaged, found = _packaged(), collect_server_facts(control_plane.client)

    assert packaged["version"] == found["version"], _AGAIN
    assert packaged["resources"] == found["resources"], _AGAIN
    assert packaged["definitions"] == found["definitions"], _AGAIN


def test_every_definition_tells_how_its_zero_values_are_written() -> None:
    """Each struct among the definitions has its fields' rules, from the Go types."""
    content = _packaged()
    unknown = {
        f"{name}.{field}"
        for name, definition in content["definitions"].items()
        for field in definition.get("properties", {})
        if name in content["zeros"] and field not in {"apiVersion", "kind"}
        if field not in content["zeros"][name]
    }

    assert not unknown
