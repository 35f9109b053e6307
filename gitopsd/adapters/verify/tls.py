"""Checks of a certificate: trusted, for this name, and for long enough."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gitopsd.adapters.verify.attempts import Sighting, fine, wrong
from gitopsd.adapters.verify.dialing import Dialer, say
from gitopsd.domain.checks import TlsCheck
from gitopsd.domain.manifests import Json
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import CheckTarget, Clock

if TYPE_CHECKING:
    from cryptography import x509

_MOST_NAMES = 10
# What OpenSSL says of a chain; source: openssl/x509_vfy.h.
_NOT_YET, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_ROOT, _OTHER_NAME, _OTHER_ADDRESS = (
    9,
    10,
    18,
    19,
    62,
    64,
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is worth knowing of a server's own certificate.

    Attributes:
        subject: Whose it is.
        issuer: Who signed it.
        names: Names and addresses it is for.
        begins: From when it is valid.
        ends: Until when.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    def describe(self) -> dict[str, Json]:
        """Write it as evidence."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "names": [*self.names[:_MOST_NAMES]],
            "notBefore": self.begins.isoformat(),
            "notAfter": self.ends.isoformat(),
        }


class TlsLooker:
    """Shakes hands and judges the certificate.

    Args:
        dialer: Opens connections.
        clock: Tells how long a certificate is still valid.
    """

    def __init__(self, dialer: Dialer, clock: Clock) -> None:
        self._dialer = dialer
        self._clock = clock

    async def look(self, check: TlsCheck, target: CheckTarget) -> Sighting:
        """Shake hands as any client would; a refused certificate is fetched again to be shown.

        Raises:
            PermanentError: The connection was not taken, or there is no TLS.
            TemporaryError: This side could not ask, or the file of authorities cannot be read.
        """
        host = check.endpoint.find_host(target.namespace)
        name = check.server_name or host
        trusting = await asyncio.to_thread(make_context, check.ca_file)
        try:
            certificate = await self._fetch(host, check.endpoint.port, name, trusting)
        except ssl.SSLCertVerificationError as error:
            shown = await self._fetch_untrusted(host, check.endpoint.port, name)
            said = say_refusal(error.verify_code, error.verify_message, name, shown)
            return wrong(said, shown.describe() if shown is not None else {})
        except ssl.SSLError as error:
            raise PermanentError(f"the TLS handshake failed: {say(error)}") from error
        return judge_certificate(certificate, self._clock.now(), check.min_days_left)

    async def _fetch_untrusted(self, host: str, port: int, name: str) -> Certificate | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # only to show what was refused; nothing is sent
        try:
            return await self._fetch(host, port, name, context)
        except (ssl.SSLError, PermanentError, TemporaryError):
            return None

    async def _fetch(self, host: str, port: int, name: str, context: ssl.SSLContext) -> Certificate:
        async with self._dialer.open(host, port, tls=context, server_name=name) as (_, writer):
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return parse_certificate(der)


def make_context(ca_file: str) -> ssl.SSLContext:
    """Make a client's context that trusts the given authorities, else the system's.

    Raises:
        TemporaryError: The file cannot be read; that says nothing about the application.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        message = f"the CA file {ca_file} cannot be used: {say(error)}"
        raise TemporaryError(message, reason="CaFile") from error


def parse_certificate(der: bytes) -> Certificate:
    """Read a certificate.

    Raises:
        PermanentError: It is none.
    """
    from cryptography import x509

    try:
        found = x509.load_der_x509_certificate(der)
        return Certificate(
            subject=redact_clause(found.subject.rfc4514_string()),
            issuer=redact_clause(found.issuer.rfc4514_string()),
            names=_names(found),
            begins=found.not_valid_before_utc,
            ends=found.not_valid_after_utc,
        )
    except ValueError as error:
        raise PermanentError(f"the certificate cannot be read: {say(error)}") from error


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def judge_certificate(certificate: Certificate, now: datetime, min_days_left: int) -> Sighting:
    """Judge a certificate that is trusted and names the server by the time it has left. Pure."""
    left = certificate.ends - now
    until = f"until {certificate.ends.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    answer = {**certificate.describe(), "daysLeft": left // timedelta(days=1)}
    if left < timedelta(days=min_days_left):
        said = (
            f"the certificate is valid for {_say_days(left)} more, {until}; "
            f"expected at least {min_days_left} days"
        )
        return wrong(said, answer)
    return fine(f"the certificate is valid for {_say_days(left)} more, {until}", answer)


def _say_days(left: timedelta) -> str:
    days = left // timedelta(days=1)
    return f"{days} day{'s' if days != 1 else ''}"


def say_refusal(code: int, message: str, name: str, shown: Certificate | None) -> str:
    """Say why a certificate is not accepted. Pure.

    Args:
        code: OpenSSL's number of the trouble.
        message: OpenSSL's words for it.
        name: The name that was asked for.
        shown: The certificate, if it could be fetched.
    """
    if code in (_OTHER_NAME, _OTHER_ADDRESS):
        names = ", ".join(shown.names[:_MOST_NAMES]) if shown is not None else ""
        return f"the certificate is not for {name}{f' but for {names}' if names else ''}"
    if code == _EXPIRED:
        ended = f" at {shown.ends:%Y-%m-%d %H:%M} UTC" if shown is not None else ""
        return f"the certificate, or one that signed it, expired{ended}"
    if code == _NOT_YET:
        begins = f" before {shown.begins:%Y-%m-%d %H:%M} UTC" if shown is not None else ""
        return f"the certificate, or one that signed it, is not valid{begins}"
    if code == _SELF_SIGNED:
        return "the certificate is signed by itself, and it is no authority that is trusted here"
    by = f" of {shown.issuer}" if shown is not None else ""
    if code == _SELF_SIGNED_ROOT:
        return f"the authority{by} is not trusted here"
    return f"the certificate{by} is not trusted: {redact_clause(message)}"
