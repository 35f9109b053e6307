"""A token server for a real registry: it signs JSON web tokens that the registry verifies itself.

What is real: the registry's own check of signature, audience, scope and time. What is ours: who
gets a token (`TokenServer.users`), and the key, which is made for the test.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from tests.support.odd_registry import Asked, OddRegistry, run_odd_registry, say

if TYPE_CHECKING:
    from aiohttp import web
    from cryptography.x509 import Certificate

SERVICE, ISSUER = "tests-registry", "tests-issuer"


def _pack(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _certify(key: ec.EllipticCurvePrivateKey) -> Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)  # noqa: TID251 - the registry checks certificates by the real time
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )


@dataclass(slots=True)
class TokenServer:
    """Gives tokens to those it knows.

    Attributes:
        directory: Where the certificate is written, for the registry.
        users: User -> password; the empty user asks without a credential.
        extra: Further fields of the answer, e.g. ``expires_in``.
        server: The running server.
    """

    directory: Path
    users: dict[str, str] = field(default_factory=dict)
    extra: dict[str, object] = field(default_factory=dict)
    server: OddRegistry = field(init=False)
    _key: ec.EllipticCurvePrivateKey = field(init=False)
    _certificate: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Make key and certificate."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certify(self._key)
        self._certificate = certificate.public_bytes(serialization.Encoding.DER)
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def bundle(self) -> Path:
        """File with the certificate that the registry trusts."""
        return self.directory / "issuer.pem"

    @property
    def registry_auth(self) -> Mapping[str, object]:
        """The part ``auth`` of the registry's configuration."""
        realm = f"{self.server.url}/token"
        settings = {"realm": realm, "service": SERVICE, "issuer": ISSUER}
        return {"token": {**settings, "rootcertbundle": str(self.bundle)}}

    def answer(self, asked: Asked) -> web.Response:
        """Give a token for the scope that is asked for, or refuse."""
        user, _, password = "", "", ""
        if asked.authorization:
            packed = asked.authorization.removeprefix("Basic ")
            user, _, password = base64.b64decode(packed).decode().partition(":")
        if self.users.get(user) != password:
            return say(401, '{"details": "incorrect username or password"}', "application/json")
        query = parse_qs(urlsplit(asked.path).query)
        scope = query.get("scope", [""])[0]
        body = {"token": self.sign(scope, user), **self.extra}
        return say(200, json.dumps(body), "application/json")

    def sign(self, scope: str, user: str) -> str:
        """Make a token for ``repository:NAME:ACTIONS``."""
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        now = int(datetime.now(UTC).timestamp())  # noqa: TID251 - the registry checks it by the real time
        header = {
            "typ": "JWT",
            "alg": "ES256",
            "x5c": [base64.b64encode(self._certificate).decode()],
        }
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        signed = ".".join(_pack(json.dumps(part).encode()) for part in (header, claims))
        one, other = decode_dss_signature(
            self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        )
        signature = one.to_bytes(32, "big") + other.to_bytes(32, "big")
        return f"{signed}.{_pack(signature)}"


@contextlib.asynccontextmanager
async def run_token_server(directory: Path, **users: str) -> AsyncIterator[TokenServer]:
    """Run it on a free port of loopback."""
    tokens = TokenServer(directory, users=dict(users))
    async with run_odd_registry(tokens.answer) as server:
        tokens.server = server
        yield tokens
