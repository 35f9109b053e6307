"""A serving certificate for the node's log endpoint, made at each start and kept by nobody."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

VALID_FOR = timedelta(days=365)


def make_serving_context(name: str, address: str, *, now: datetime) -> ssl.SSLContext:
    """A server's TLS context with a certificate of its own for a name and an address.

    An API server without ``--kubelet-certificate-authority`` accepts any certificate of a node.
    """
    # Half of the agent's start is importing this: it is needed once, here.
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - see above

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"system:node:{name}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID_FOR)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # The ssl module reads certificates from files only; this one lives for a moment, 0600.
    with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
        pair.write(certificate.public_bytes(serialization.Encoding.PEM))
        pair.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        pair.flush()
        context.load_cert_chain(pair.name)
    return context
