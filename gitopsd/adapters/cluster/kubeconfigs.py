"""Reads a kubeconfig; a user whose credential comes from running a program is refused."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ryaml import loads  # type: ignore[attr-defined] # re-exported without saying so

from gitopsd.adapters.cluster.local_files import clause_of, read_text
from gitopsd.adapters.cluster.narrow_import import load_kube_config_module
from gitopsd.adapters.cluster.tls import make_context
from gitopsd.errors import PermanentError

_PLUG_INS = ("exec", "auth-provider")
_TEMPORARY_FILES = threading.Lock()
"""The loader writes keys to temporary files and knows them by module; one load at a time."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """What one context of a kubeconfig says.

    Attributes:
        server: Address of the API server without a slash at its end.
        tls: TLS context; None for plain HTTP.
        credential: Value of the Authorization header; empty for a client certificate.
        token_file: File that the bearer token is read from; None when it is fixed or there is none.
        server_name: Name in the server's certificate; empty for the address itself.
        proxy: Proxy that requests go through; empty for none.
        files: Files that it names.
    """

    server: str
    tls: ssl.SSLContext | None
    credential: str = field(default="", repr=False)
    token_file: Path | None = None
    server_name: str = ""
    proxy: str = field(default="", repr=False)
    files: tuple[Path, ...] = ()


def load_kubeconfig(cluster: str, path: Path, context: str) -> Kubeconfig:
    """Read a kubeconfig.

    Args:
        cluster: Name of the cluster, for messages.
        path: The file.
        context: Context in it; empty for its current one.

    Raises:
        PermanentError: It cannot be used; ``PlugInRefused`` when it would start a plug-in.
    """
    document = _parse(path)
    chosen = context or str(document.get("current-context") or "")
    names = _mapping(_named(document, "contexts", chosen).get("context"))
    server = _mapping(_named(document, "clusters", str(names.get("cluster"))).get("cluster"))
    user = _mapping(_named(document, "users", str(names.get("user"))).get("user"))
    _refuse_plug_ins(f"user {names.get('user')} of kubeconfig {path}", cluster, user)
    if not server.get("server"):
        raise PermanentError(
            f"cluster {cluster}: context {chosen or '(none)'} of kubeconfig {path} names no "
            f"server; choose one of its contexts with context: in clusters/{cluster}.yaml"
        )
    try:
        return _load(document, path, chosen, server, user)
    except PermanentError as error:
        message = f"cluster {cluster}: kubeconfig {path}: {error.message}"
        raise PermanentError(message, reason=error.reason) from error
    except Exception as error:  # the loader raises whatever it meets
        raise PermanentError(
            f"cluster {cluster}: kubeconfig {path} cannot be used: {clause_of(error)}. "
            f"Check it with: kubectl --kubeconfig {path} version"
        ) from error


def _load(
    document: dict[str, Any],
    path: Path,
    context: str,
    server: Mapping[str, Any],
    user: Mapping[str, Any],
) -> Kubeconfig:
    module = load_kube_config_module()
    configuration = module.Configuration()
    loader = module.KubeConfigLoader(
        config_dict=document, active_context=context, config_base_path=str(path.parent)
    )
    with _TEMPORARY_FILES:
        try:
            asyncio.run(loader.load_and_set(configuration))  # in a thread; starts nothing here
            tls = _context(configuration)
        finally:
            module._cleanup_temp_files()  # noqa: SLF001 - else private keys stay until a clean exit
    token_file = _relative(path, user.get("tokenFile"))  # wins over `token`, as in client-go
    named = [
        _relative(path, section.get(key))
        for section, key in (
            (server, "certificate-authority"),
            (user, "client-certificate"),
            (user, "client-key"),
        )
    ]
    return Kubeconfig(
        server=str(configuration.host).rstrip("/"),
        tls=tls,
        credential=str((configuration.api_key or {}).get("BearerToken", "")),
        token_file=token_file,
        server_name=str(configuration.tls_server_name or ""),
        proxy=str(configuration.proxy or ""),
        files=tuple(file for file in named if file is not None),
    )


def _context(configuration: Any) -> ssl.SSLContext | None:
    if not str(configuration.host).startswith("https:"):
        return None
    authority = configuration.ssl_ca_cert
    return make_context(
        Path(authority) if authority else None,
        certificate=str(configuration.cert_file or ""),
        key=str(configuration.key_file or ""),
        verify=bool(configuration.verify_ssl),
    )


def _relative(path: Path, named: object) -> Path | None:
    return path.parent / str(named) if named else None


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = loads(read_text(path))
    except PermanentError:
        raise
    except Exception as error:  # the parser raises its own exception class
        raise PermanentError(f"kubeconfig {path} is not valid YAML: {clause_of(error)}") from error
    if not isinstance(document, dict):
        raise PermanentError(f"kubeconfig {path} does not hold a mapping")
    return document


def _refuse_plug_ins(whose: str, cluster: str, user: Mapping[str, Any]) -> None:
    """Refuse credentials that come from running a program: a kubeconfig could start anything."""
    for plug_in in _PLUG_INS:
        found = user.get(plug_in)
        if found is None:
            continue
        details = _mapping(found)
        program = details.get("command") or details.get("name") or "unnamed"
        raise PermanentError(
            f"cluster {cluster}: {whose} gets its credential from the {plug_in} plug-in "
            f"{program}, and plug-ins are never started. Use a service account token: server, "
            f"tokenFile and caFile in clusters/{cluster}.yaml",
            reason="PlugInRefused",
        )


def _named(document: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    entries = document.get(section)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and entry.get("name") == name:
            return entry
    return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
