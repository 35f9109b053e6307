"""Imports the configuration half of kubernetes_asyncio without its thousand generated models.

``import kubernetes_asyncio`` costs 40 MB and a fifth of a second, of which the kubeconfig loader
needs almost nothing. Its package ``__init__`` files are therefore replaced, before the first
import, by empty packages that find the real submodules on the same paths.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any

_PACKAGE = "kubernetes_asyncio"


def load_kube_config_module() -> Any:
    """Import ``kubernetes_asyncio.config.kube_config`` narrowly. Safe to repeat."""
    _stand_in(_PACKAGE)
    client = _stand_in(f"{_PACKAGE}.client")
    if not hasattr(client, "Configuration"):
        configuration = importlib.import_module(f"{_PACKAGE}.client.configuration")
        client.Configuration = configuration.Configuration  # type: ignore[attr-defined] # stand-in
        client.ApiClient = object  # type: ignore[attr-defined] # only named in annotations there
    _stand_in(f"{_PACKAGE}.config")
    from kubernetes_asyncio.config import kube_config

    return kube_config


def _stand_in(name: str) -> types.ModuleType:
    found = sys.modules.get(name)
    if found is not None:
        return found
    spec = importlib.util.find_spec(name)
    module = types.ModuleType(name)
    if spec is not None and spec.submodule_search_locations is not None:
        module.__path__ = list(spec.submodule_search_locations)
    module.__spec__ = spec
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module
