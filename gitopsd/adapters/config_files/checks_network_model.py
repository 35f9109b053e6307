"""Checks over the network that are no HTTP: ``tcp:``, ``tls:``, ``grpc:`` and ``dns:``."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gitopsd.adapters.config_files.check_kind_model import CheckKindSection
from gitopsd.adapters.config_files.fields import FileName, Name, refuse
from gitopsd.domain.checks import DnsCheck, Endpoint, GrpcCheck, TcpCheck, TlsCheck

_LAST_PORT = 65_535
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/@]+)):([0-9]{1,5})")
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[-A-Za-z0-9_.]*[A-Za-z0-9_])?\.?")
_GRPC_SERVICE = re.compile(r"[A-Za-z0-9_.\-/]{0,253}")


def _split_address(value: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(value)
    host, port = (found[1] or found[2], int(found[3])) if found is not None else ("", 0)
    if not (_is_host(host) and 1 <= port <= _LAST_PORT):
        raise refuse(
            f"{value[:60]!r} is no address with a port",
            "Write `HOST:PORT`, such as `db.example:5432`",
        )
    return host, port


def _is_host(value: str) -> bool:
    name = _HOST.fullmatch(value) is not None and not value.replace(".", "").isdigit()
    return name or _is_ip_address(value)


def _is_ip_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _check_address(value: str) -> str:
    _split_address(value)
    return value


def _check_host(value: str) -> str:
    if _HOST.fullmatch(value) is None:
        raise refuse(f"{value[:60]!r} is no host name", "Write a name such as `shop.example`")
    return value


def _check_nameserver(value: str) -> str:
    found = _ADDRESS.fullmatch(value)
    port = int(found[3]) if found is not None else 1
    address = (found[1] or found[2]) if found is not None else value
    if not (_is_ip_address(address) and 1 <= port <= _LAST_PORT):
        raise refuse(
            f"{value[:60]!r} is no address of a name server",
            "Write an IP address, with a port if need be, such as `10.0.0.10:53`",
        )
    return value


def _check_ca_file(value: str) -> str:
    if not value.startswith("/"):
        raise refuse(
            f"{value[:60]!r} is no absolute path",
            "Write where the file is for gitopsd, such as `/etc/gitopsd/ca.crt`",
        )
    return value


def _check_service(value: str) -> str:
    if _GRPC_SERVICE.fullmatch(value) is None:
        raise refuse(f"{value[:60]!r} is no gRPC service", "Write a name such as `shop.v1.Cart`")
    return value


Address = Annotated[str, AfterValidator(_check_address)]
HostName = Annotated[str, AfterValidator(_check_host)]
Nameserver = Annotated[str, AfterValidator(_check_nameserver)]
CaFile = Annotated[FileName, AfterValidator(_check_ca_file)]
GrpcService = Annotated[str, AfterValidator(_check_service)]
PortNumber = Annotated[int, Field(ge=1, le=_LAST_PORT)]


class EndpointSection(CheckKindSection):
    """Where a connection is made to."""

    address: Address | None = Field(
        default=None, description="Host and port", examples=["db.example:5432"]
    )
    service: Name | None = Field(
        default=None,
        description="Service, by its name in the cluster's DNS: gitopsd must run in that cluster",
    )
    namespace: Name | None = Field(
        default=None, description="Namespace of the service; the stage's if unset"
    )
    port: PortNumber | None = Field(default=None, description="Port number of the service")

    @model_validator(mode="after")
    def _check_endpoint(self) -> Self:
        if (self.service is None) == (self.address is None):
            raise refuse(
                "a check asks either a service or an address",
                "Write `service: NAME` with `port:`, or `address: HOST:PORT`",
            )
        given = self.model_fields_set & {"namespace", "port"}
        if self.address is not None and given:
            raise refuse(
                f"`{min(given)}` does not go with `address`", "Write `address: HOST:PORT` alone"
            )
        if self.service is not None and self.port is None:
            raise refuse("`port` is missing", "Write the service's port, such as `port: 5432`")
        return self

    @property
    def _endpoint(self) -> Endpoint:
        if self.address is not None:
            host, port = _split_address(self.address)
            return Endpoint(port, host=host)
        return Endpoint(self.port or 0, service=self.service or "", namespace=self.namespace or "")


class TcpSection(EndpointSection):
    """``tcp:`` of a check."""

    send: str = Field(default="", max_length=4096, description="Text sent once connected")
    expect: str = Field(default="", max_length=4096, description="Text that the answer must hold")

    def to_domain(self) -> TcpCheck:
        """Make the frozen value."""
        return TcpCheck(
            name=self.name or f"tcp {self._endpoint.say()}",
            endpoint=self._endpoint,
            send=self.send,
            expect=self.expect,
            within=self.within,
            timeout=self.timeout,
            successes=self.successes,
        )


class TlsSection(EndpointSection):
    """``tls:`` of a check."""

    server_name: HostName | None = Field(
        default=None, description="Name that must be in the certificate; the host's if unset"
    )
    ca_file: CaFile | None = Field(
        default=None, description="File with the authorities trusted; the system's if unset"
    )
    min_days_left: Annotated[int, Field(ge=0, le=3650)] = Field(
        default=14, description="Days that the certificate must still be valid"
    )

    def to_domain(self) -> TlsCheck:
        """Make the frozen value."""
        return TlsCheck(
            name=self.name or f"tls {self._endpoint.say()}",
            endpoint=self._endpoint,
            server_name=self.server_name or "",
            ca_file=self.ca_file or "",
            min_days_left=self.min_days_left,
            within=self.within,
            timeout=self.timeout,
            successes=self.successes,
        )


class GrpcSection(EndpointSection):
    """``grpc:`` of a check."""

    health_of: GrpcService = Field(
        default="", description="gRPC service asked about; the whole server if unset"
    )
    tls: bool = Field(default=False, description="Whether the connection is encrypted")
    server_name: HostName | None = Field(
        default=None, description="Name that must be in the certificate; the host's if unset"
    )
    ca_file: CaFile | None = Field(
        default=None, description="File with the authorities trusted; the system's if unset"
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        given = self.model_fields_set & {"server_name", "ca_file"}
        if given and not self.tls:
            spelled = {"server_name": "serverName", "ca_file": "caFile"}[min(given)]
            raise refuse(f"`{spelled}` goes with `tls`", "Write `tls: true` too")
        return self

    def to_domain(self) -> GrpcCheck:
        """Make the frozen value."""
        return GrpcCheck(
            name=self.name or f"grpc {self._endpoint.say()} {self.health_of}".rstrip(),
            endpoint=self._endpoint,
            health_of=self.health_of,
            tls=self.tls,
            server_name=self.server_name or "",
            ca_file=self.ca_file or "",
            within=self.within,
            timeout=self.timeout,
            successes=self.successes,
        )


class DnsSection(CheckKindSection):
    """``dns:`` of a check."""

    host: HostName = Field(description="Name that is looked up", examples=["shop.example"])
    record: Literal["A", "AAAA", "CNAME", "MX", "SRV", "TXT"] = Field(
        default="A", description="Type of record"
    )
    expect: list[str] = Field(
        default=[], max_length=50, description="Values that must all be there; any if unset"
    )
    nameservers: list[Nameserver] = Field(
        default=[], max_length=5, description="Addresses of name servers; the system's if unset"
    )

    def to_domain(self) -> DnsCheck:
        """Make the frozen value."""
        return DnsCheck(
            name=self.name or f"dns {self.host} {self.record}",
            host=self.host,
            record=self.record,
            expect=tuple(self.expect),
            nameservers=tuple(self.nameservers),
            within=self.within,
            timeout=self.timeout,
            successes=self.successes,
        )
