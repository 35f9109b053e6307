"""The cluster's own certificate authority: clients verify the API server with nothing switched off.

Authority and certificate are made at each start and kept in memory; only the authority's public
part leaves it, in the kubeconfig.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

VALID_FOR = timedelta(days=365)
LEEWAY = timedelta(minutes=5)
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True, slots=True)
class Authority:
    """What a server and its clients need.

    Attributes:
        context: The server's TLS context.
        certificate: The authority's certificate (PEM).
    """

    context: ssl.SSLContext
    certificate: bytes


def make_authority(addresses: tuple[str, ...], *, now: datetime) -> Authority:
    """A new authority, and a server's certificate of it for some addresses.

    Args:
        addresses: IP addresses or names that clients will use.
        now: The time of day.
    """
    # A third of the start is importing this: it is needed once, here.
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - see above
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415 - see above

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    issuer_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = name("gitopsd sandbox")
    base = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .not_valid_before(now - LEEWAY)
        .not_valid_after(now + VALID_FOR)
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(issuer_key.public_key())
    root = (
        base.subject_name(issuer)
        .public_key(issuer_key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    known = [x509.DNSName(item) for item in (*NAMES, *_names(addresses))]
    numbers = [x509.IPAddress(item) for item in _numbers(addresses)]
    certificate = (
        base.subject_name(name("kube-apiserver"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName([*known, *numbers]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # The ssl module reads certificates from files only; this one lives for a moment, 0600.
    with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
        pair.write(certificate.public_bytes(encoding))
        pair.write(
            key.private_bytes(
                encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        pair.flush()
        context.load_cert_chain(pair.name)
    return Authority(context, root.public_bytes(encoding))


def _numbers(
    addresses: tuple[str, ...],
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found = []
    for text in dict.fromkeys((*addresses, "127.0.0.1")):
        try:
            found.append(ipaddress.ip_address(text))
        except ValueError:
            continue
    return found


def _names(addresses: tuple[str, ...]) -> list[str]:
    return [text for text in addresses if not text.replace(".", "").isdigit() and ":" not in text]
