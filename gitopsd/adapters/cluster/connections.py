"""How to reach a cluster: address, TLS, credential; read again when a file changes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ryaml import loads  # type: ignore[attr-defined] # re-exported without saying so

from gitopsd.adapters.cluster.narrow_import import load_kube_config_module
from gitopsd.domain.config import ClusterSpec
from gitopsd.errors import PermanentError

_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_IN_CLUSTER_SERVER = "https://kubernetes.default.svc"
_LARGEST_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything a request to a cluster needs.

    Attributes:
        server: Base address without a slash at its end.
        tls: TLS context; None for plain HTTP.
        token: Bearer token; empty when a client certificate is used.
        token_file: File that the token is read from anew; None when it is fixed.
        files: Files it was made from; a change of one makes a new connection.
    """

    server: str
    tls: ssl.SSLContext | None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    files: tuple[Path, ...] = ()

    def authorization(self) -> dict[str, str]:
        """Make the header that carries the credential.

        Raises:
            PermanentError: The token file cannot be read.
        """
        token = _read(self.token_file).strip() if self.token_file is not None else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def signature(self) -> tuple[tuple[int, int], ...]:
        """Tell changed files apart by time and size; missing ones count as changed."""
        return tuple(_stat(path) for path in self.files)


async def load_connection(spec: ClusterSpec) -> Connection:
    """Read a cluster's connection.

    Raises:
        PermanentError: A file cannot be read or used, or the kubeconfig wants a plug-in to run.
    """
    if spec.in_cluster:
        return await asyncio.to_thread(_in_cluster)
    if spec.kubeconfig:
        return await _from_kubeconfig(spec)
    return await asyncio.to_thread(_from_files, spec)


def _in_cluster() -> Connection:
    authority = _IN_CLUSTER / "ca.crt"
    tls = _tls_context(authority)
    return Connection(_IN_CLUSTER_SERVER, tls, token_file=_IN_CLUSTER / "token", files=(authority,))


def _from_files(spec: ClusterSpec) -> Connection:
    authority = Path(spec.ca_file) if spec.ca_file else None
    tls = _tls_context(authority) if spec.server.startswith("https:") else None
    files = (authority,) if authority is not None else ()
    token = Path(spec.token_file) if spec.token_file else None
    return Connection(spec.server.rstrip("/"), tls, token_file=token, files=files)


async def _from_kubeconfig(spec: ClusterSpec) -> Connection:
    path = Path(spec.kubeconfig)
    document = await asyncio.to_thread(_parse_kubeconfig, path)
    _refuse_plug_ins(spec, document)
    module = load_kube_config_module()
    configuration = _configuration()
    try:
        loader = module.KubeConfigLoader(
            config_dict=document,
            active_context=spec.context or None,
            config_base_path=str(path.parent),
        )
        await loader.load_and_set(configuration)
    except Exception as error:  # the loader raises whatever it meets
        raise PermanentError(
            f"cluster {spec.name}: kubeconfig {path} cannot be used: {_said(error)}. "
            f"Check it with: kubectl --kubeconfig {path} version"
        ) from error
    token = str((configuration.api_key or {}).get("BearerToken", ""))
    return Connection(
        str(configuration.host).rstrip("/"),
        await asyncio.to_thread(_context_of, configuration),
        token=token.removeprefix("Bearer "),
        files=(path,),
    )


def _configuration() -> Any:
    module = load_kube_config_module()
    return module.Configuration()


def _context_of(configuration: Any) -> ssl.SSLContext | None:
    if not str(configuration.host).startswith("https:"):
        return None
    authority = configuration.ssl_ca_cert
    context = _tls_context(Path(authority) if authority else None)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    return context


def _tls_context(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(authority) if authority else None)
    except (OSError, ssl.SSLError) as error:
        raise PermanentError(f"CA file {authority} cannot be used: {_said(error)}") from error


def _parse_kubeconfig(path: Path) -> dict[str, Any]:
    text = _read(path)
    if len(text) > _LARGEST_FILE:
        raise PermanentError(f"kubeconfig {path} is longer than {_LARGEST_FILE} bytes")
    try:
        document = loads(text)
    except Exception as error:  # the parser raises its own exception class
        raise PermanentError(f"kubeconfig {path} is not valid YAML: {_said(error)}") from error
    if not isinstance(document, dict):
        raise PermanentError(f"kubeconfig {path} does not hold a mapping")
    return document


def _refuse_plug_ins(spec: ClusterSpec, document: Mapping[str, Any]) -> None:
    """Refuse credentials that come from running a program: a kubeconfig could start anything."""
    context = _named(document, "contexts", spec.context or str(document.get("current-context")))
    wanted = _mapping(context.get("context")).get("user")
    user = _mapping(_named(document, "users", str(wanted)).get("user"))
    for plug_in in ("exec", "auth-provider"):
        found = user.get(plug_in)
        if found is None:
            continue
        details = _mapping(found)
        program = details.get("command") or details.get("name") or "unnamed"
        raise PermanentError(
            f"cluster {spec.name}: user {wanted} of kubeconfig {spec.kubeconfig} gets its "
            f"credential from the {plug_in} plug-in {program}, and plug-ins are never started. "
            "Use a service account token: server, tokenFile and caFile in the cluster's file",
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


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise PermanentError(f"file {path} cannot be read: {_said(error)}") from error


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, -1)
    return (found.st_mtime_ns, found.st_size)


def _said(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
