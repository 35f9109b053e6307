"""Secrets to plant: made up at test time, in the forms that real ones have."""

from __future__ import annotations

import base64
import secrets
import string
from dataclasses import dataclass

_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Planted:
    """One secret in the text around it.

    Attributes:
        secret: What nobody may see.
        text: A text that holds it, as programs write such texts.
    """

    secret: str
    text: str


def _word(length: int) -> str:
    # A digit and capitals, as random tokens have.
    return "A7" + "".join(secrets.choice(_LETTERS) for _ in range(length - 2))


def plant() -> list[Planted]:
    """Make fifty secrets, each in a text of another kind."""
    made: list[Planted] = []

    def add(template: str, secret: str) -> None:
        made.append(Planted(secret, template.replace("SECRET", secret)))

    for template in (
        "cloning https://bot:SECRET@git.example/team/app.git failed",
        "https://SECRET@git.example/team/app.git",
        "postgresql://gitopsd:SECRET@db.example:5432/gitopsd?sslmode=require",
        "redis://:SECRET@cache.example:6379/0",
        "amqps://user:SECRET@queue.example//",
        "fatal: unable to access 'https://x-access-token:SECRET@git.example/a/': 403",
        "Authorization: Bearer SECRET",
        "authorization: token SECRET",
        '{"Authorization": "Bearer SECRET"}',
        "curl -H 'Authorization: Bearer SECRET' https://api.example",
        "proxy said: bearer SECRET is expired",
        "PASSWORD=SECRET make deploy",
        "password=SECRET&user=a",
        "password: SECRET",
        '{"password": "SECRET"}',
        "{'password': 'SECRET'}",
        "db_password='SECRET'",
        'export API_KEY="SECRET"',
        "api-key=SECRET",
        '"secret": "SECRET"',
        "client_secret=SECRET",
        "access_key=SECRET",
        '{"token":"SECRET"}',
        "token=SECRET",
        "passphrase: SECRET",
        "signing_key=SECRET",
        "private_key='SECRET'",
        "encryption-key=SECRET",
        "credentials=SECRET",
        "MYSQL_PWD=SECRET mysql",
    ):
        add(template, _word(24))
    for prefix in (
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "gldt-",
        "glrt-",
    ):
        add("the token SECRET was refused", prefix + _word(36))
    for prefix in ("xoxb-", "xoxp-", "xapp-"):
        add("slack: SECRET", f"{prefix}123456789012-{_word(24)}")
    add(
        "key id SECRET", "AKIA" + "".join(secrets.choice(string.ascii_uppercase) for _ in range(16))
    )
    body = base64.urlsafe_b64encode(secrets.token_bytes(30)).decode().rstrip("=")
    add("jwt SECRET", f"eyJhbGciOiJIUzI1NiJ9.{body}.{_word(43)}")
    packed = base64.b64encode(secrets.token_bytes(30)).decode().replace("/", "a").replace("+", "b")
    add("-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----", packed)
    add("-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET", packed[::-1])
    for template in (
        "apiVersion: v1\nkind: Secret\ndata:\n  key: SECRET\n",
        '{"kind": "Secret", "apiVersion": "v1", "data": {"key": "SECRET"}}',
    ):
        add(template, base64.b64encode(secrets.token_bytes(20)).decode())
    add("apiVersion: v1\nkind: Secret\nstringData:\n  key: SECRET\n", _word(20))
    add("Basic SECRET", base64.b64encode(f"bot:{_word(16)}".encode()).decode())
    return made
