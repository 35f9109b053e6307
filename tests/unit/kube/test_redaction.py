"""One redaction for every sink."""

from __future__ import annotations

import base64
import json
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.kube import redaction
from tests.support.hostile import HOSTILE_OBJECTS

JWT = ".".join(
    base64.urlsafe_b64encode(part).rstrip(b"=").decode()
    for part in (b'{"alg":"HS256"}', b'{"sub":"someone"}', b"signature-bytes")
)


@pytest.mark.parametrize(
    "text, redacted",
    [
        ("https://bot:hunter2@git.example/x", "https://***@git.example/x"),
        ("https://token@git.example/x", "https://***@git.example/x"),
        ("ssh://git@git.example/x", "ssh://git@git.example/x"),
        ("redis://:pa:ss@host:6379/0 and more", "redis://***@host:6379/0 and more"),
        ("https://ghcr.io/acme/api@sha256:ab", "https://ghcr.io/acme/api@sha256:ab"),
        ("mail a@b.example", "mail a@b.example"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("authorization=Basic dXNlcjpwYXNz", "authorization=***"),
        ('"Authorization": "token abc"', '"Authorization": "***"'),
        ("Authorization: odd,next", "Authorization: ***,next"),
        ("failed authorization, no header", "failed authorization, no header"),
        ("Bearer abc.def-ghi", "Bearer ***"),
        ("bearer  abc", "bearer  ***"),
        ("forbearer abc", "forbearer abc"),
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        ("Basic dXNlcjpwYXNzdw==", "Basic ***"),
        ("Basic authentication failed", "Basic authentication failed"),
        ("Basic short1", "Basic short1"),
        ("ghp_0123456789abcdef", "***"),
        ("x gho_abcdefgh y", "x *** y"),
        ("ghu_abcdefgh ghs_abcdefgh ghr_abcdefgh", "*** *** ***"),
        ("ghp_short", "ghp_short"),
        ("github_pat_11ABC_def", "***"),
        ("glpat-abcdefgh_ij", "***"),
        ("gldt-abcdefgh glrt-abcdefgh glcbt-abcdefgh", "*** *** ***"),
        ("xoxb-123-abcde", "***"),
        ("xoxa-12345678 xoxp-12345678 xoxe.xoxp-1-Mi0yLT", "*** *** ***"),
        ("xapp-1-A012345", "***"),
        ("key AKIAIOSFODNN7EXAMPLE.", "key ***."),
        ("ASIAIOSFODNN7EXAMPLE", "***"),
        ("XAKIAIOSFODNN7EXAMPLE", "XAKIAIOSFODNN7EXAMPLE"),
        ("AKIAIOSFODNN7EXAMPLEX", "AKIAIOSFODNN7EXAMPLEX"),
        (f"token is {JWT}", "token is ***"),
        (f"x-{JWT}, y", "x-***, y"),
        (f"a.b.{JWT}", "a.b.***"),
        ("eyJhbGciOiJI.short", "eyJhbGciOiJI.short"),
        ("eyJhbGci.payload.of.a.name", "***"),
        ("eyJ12345678.901234567", "***"),
        ("eyJ1234567.8901234567", "eyJ1234567.8901234567"),
        ("eyJhbGciOiJIUzI1NiJ9aaaa", "eyJhbGciOiJIUzI1NiJ9aaaa"),
        ("a-very-long-host-name.example.com", "a-very-long-host-name.example.com"),
        ("password=hunter2&x=1", "password=***&x=1"),
        ("DB_PASSWORD = hunter2", "DB_PASSWORD = ***"),
        ('PASSWD="two words" next', "PASSWD=*** next"),
        (r'password="with \" quote" next', "password=*** next"),
        ("pwd='two words' next", "pwd=*** next"),
        (r"password=\"esc aped\" next", "password=*** next"),
        ('password="no end', 'password="no end'),
        ("passphrase=x;y", "passphrase=***;y"),
        ("client_secret=abc,next", "client_secret=***,next"),
        ("?token=abc", "?token=***"),
        ("api_key=abc apikey=def api-key=ghi", "api_key=*** apikey=*** api-key=***"),
        ("aws_secret_access_key=abc/def+", "aws_secret_access_key=***"),
        ("private_key=a encryption-key=b", "private_key=*** encryption-key=***"),
        ("signing_key=c", "signing_key=***"),
        ("credentials=abc credential=d", "credentials=*** credential=***"),
        ("password: hunter2", "password: ***"),
        ('{"password": "hunter2", "a": 1}', '{"password": ***, "a": 1}'),
        ('{"token":"abc"}', '{"token":***}'),
        (r'{\"token\": \"abc\"}', r"{\"token\": ***}"),
        ("failed to fetch token: unexpected 401", "failed to fetch token: unexpected 401"),
        ('secret "db" not found', 'secret "db" not found'),
        ("Secret shop/db: not found", "Secret shop/db: not found"),
        ("secretName: db", "secretName: db"),
        ("cert: aHVudGVyMjEyMzQ1Ng==.", "cert: ***."),
        ("aHVudGVyMjEyMzQ1Ng== b", "*** b"),
        ("environment= production", "environment= production"),
        ("abcdefghijk=", "abcdefghijk="),
        ("Abcdefghij=", "Abcdefghij="),
        ("Abcdefghijk=", "***"),
        ("1bcdefghijk=", "***"),
        ("AbcdefghijkL===", "AbcdefghijkL==="),
        ("_Abcdefghijk=", "_Abcdefghijk="),
        ("sha256:" + "a1" * 32, "sha256:" + "a1" * 32),
        ("plain words stay", "plain words stay"),
        ("", ""),
        ("lone \ud800 surrogate", "lone ? surrogate"),
        ("späße 日本", "späße 日本"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_masked_in_text(text: str, redacted: str) -> None:
    """Each shape of secret is masked, and what only resembles one stays readable."""
    assert redaction.redact_text(text) == redacted


@pytest.mark.parametrize("kind", ["", "RSA ", "OPENSSH ", "EC "])
def test_private_keys_are_masked_whole(kind: str) -> None:
    """From BEGIN to END, with what is around them kept."""
    key = f"-----BEGIN {kind}PRIVATE KEY-----\nabc\ndef\n-----END {kind}PRIVATE KEY-----"
    assert redaction.redact_text(f"a\n{key}\nb") == "a\n***\nb"
    assert redaction.redact_text(f"a {key} b {key} c") == "a *** b *** c"


def test_a_private_key_that_was_cut_off_is_masked_to_the_end() -> None:
    """A missing END hides nothing less."""
    assert redaction.redact_text("x -----BEGIN PRIVATE KEY-----\nabc\ndef") == "x ***"


def test_certificates_are_public() -> None:
    """A certificate is no secret, but for its padded base64 nobody needs it either."""
    text = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"
    assert redaction.redact_text(text) == text


def test_a_secret_quoted_as_yaml_is_masked_value_by_value() -> None:
    """Every line below data and stringData loses its value; the rest stays."""
    lines = [
        "kind: Secret",
        "metadata:",
        "  name: db",
        "data:",
        "  user: YWRtaW4",
        '  "pass": aHVudGVy',
        "",
        "  key: |",
        "    line one",
        "type: Opaque",
        "  stringData:",
        "    plain: word",
        "    - item",
        "  other: kept",
    ]
    assert redaction.redact_text("\n".join(lines)).split("\n") == [
        "kind: Secret",
        "metadata:",
        "  name: db",
        "data:",
        "  user: ***",
        '  "pass": ***',
        "",
        "  key: ***",
        "    ***",
        "type: Opaque",
        "  stringData:",
        "    plain: ***",
        "    ***",
        "  other: kept",
    ]


@pytest.mark.parametrize(
    "text, redacted",
    [
        (
            '{"kind":"Secret","data":{"a":"b","c":"d"},"type":"Opaque"}',
            '{"kind":"Secret","data":{***},"type":"Opaque"}',
        ),
        (
            r"{\"kind\": \"Secret\", \"stringData\": {\"a\": \"b\"}}",
            r"{\"kind\": \"Secret\", \"stringData\": {***}}",
        ),
        (
            '{"kind":"ConfigMap","data":{"a":"b"}}',
            '{"kind":"ConfigMap","data":{"a":"b"}}',
        ),
        (
            "kind: SecretStore\ndata:\n  a: b",
            "kind: SecretStore\ndata:\n  a: b",
        ),
        ("kind: Secret\ndata: {}\nx: y", "kind: Secret\ndata: {}\nx: y"),
    ],
)
def test_a_secret_quoted_as_json_is_masked(text: str, redacted: str) -> None:
    """In JSON, also escaped inside other JSON; other kinds are left alone."""
    assert redaction.redact_text(text) == redacted


def test_very_long_text_is_cut() -> None:
    """What is beyond the bound is cut off, and how much is said."""
    assert redaction.MAX_TEXT == 262_144
    exact = " " * redaction.MAX_TEXT
    assert redaction.redact_text(exact) == exact
    assert redaction.redact_text(exact + "xyz") == exact + "... (3 more characters cut)"


@pytest.mark.parametrize(
    "unit",
    [
        "://a",
        "://",
        "password=",
        'password="',
        r"password=\"",
        'password="\\',
        "password='",
        "password: ",
        "Authorization: ",
        "Bearer ",
        "Basic A",
        "eyJ",
        "eyJaaaaaaaa.",
        "-eyJ",
        "eyJ.",
        "A",
        "Aa1/",
        "=",
        "AKIA",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN " + "A" * 40,
        "ghp_",
        "xox",
        " ",
        "\n",
        'kind: Secret\ndata:\n  a: "',
        '"data":{',
        'kind: Secret "data": {',
        "data:\n",
        "secret\\",
    ],
)
def test_hostile_text_costs_linear_time(unit: str) -> None:
    """Eight times the text of any shape costs about eight times as much, not sixty-four times."""
    little = min(_cost_of(unit, redaction.MAX_TEXT // 128) for _ in range(5))
    much = min(_cost_of(unit, redaction.MAX_TEXT // 16) for _ in range(2))
    assert much < 32 * little


def _cost_of(unit: str, length: int) -> float:
    text = "kind: Secret " + unit * (length // len(unit))
    began = time.process_time()
    redaction.redact_text(text)
    return time.process_time() - began


@given(st.text(alphabet=string.printable, max_size=300))
def test_redaction_can_be_repeated(text: str) -> None:
    """Text that was redacted has nothing more to redact, and is always encodable."""
    once = redaction.redact_text(text)
    assert redaction.redact_text(once) == once
    once.encode()


def test_a_clause_is_one_short_redacted_line() -> None:
    """Line breaks become spaces, secrets go, and of more than 300 characters the middle goes."""
    assert redaction.redact_clause("a\n  b\tpassword=x ") == "a b password=***"
    assert redaction.redact_clause("w" * 300) == "w" * 300
    cut = redaction.redact_clause("a" * 200 + "b" * 4 + "c" * 97)
    assert cut == "a" * 200 + "..." + "c" * 97


@pytest.mark.parametrize(
    "name, sensitive",
    [
        ("DB_PASSWORD", True),
        ("passwd", True),
        ("passphrase", True),
        ("API_TOKEN", True),
        ("client-secret", True),
        ("credentials", True),
        ("apikey", True),
        ("API-KEY", True),
        ("access_key", True),
        ("privateKey", True),
        ("encryption_key", True),
        ("signing-key", True),
        ("SENTRY_DSN", True),
        ("dsn", True),
        ("dsn.main", True),
        ("bedsnack", False),
        ("KEY", False),
        ("LOG_LEVEL", False),
        ("", False),
    ],
)
def test_names_that_say_their_value_is_secret(name: str, *, sensitive: bool) -> None:
    """Of variables and keys."""
    assert redaction.is_sensitive_name(name) is sensitive


def secret(**fields: Json) -> dict[str, Json]:
    """Make a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, **fields}


def test_a_secrets_values_are_masked() -> None:
    """Keys stay, values go, whatever their shape; the argument is not changed."""
    obj = secret(data={"a": "b", "n": None, "o": {"x": "y"}}, stringData={"c": "d"}, type="T")
    before = json.dumps(obj)
    assert redaction.redact_object(obj) == secret(
        data={"a": "***", "n": "***", "o": {"x": "***"}}, stringData={"c": "***"}, type="T"
    )
    assert json.dumps(obj) == before
    assert redaction.redact_object(secret(data="odd")) == secret(data="***")
    assert redaction.redact_object(secret(data=["a", ["b"]])) == secret(data=["***", ["***"]])
    assert redaction.redact_object(secret(data=("a",))) == secret(data=["***"])


def test_a_secret_of_another_group_is_no_secret() -> None:
    """Only the core group's; others are configured as sensitive kinds."""
    other = {**secret(data={"a": "b"}), "apiVersion": "example.com/v1"}
    assert redaction.is_sensitive_kind(other) is False
    assert redaction.is_sensitive_kind(secret()) is True
    assert redaction.redact_object(other) == other
    assert redaction.redact_object(other, ["Secret"])["data"] == {"a": "***"}


def test_a_sensitive_kind_is_masked_whole() -> None:
    """Everything outside identity and metadata."""
    obj: JsonObject = {
        "apiVersion": "x/v1",
        "kind": "Vault",
        "metadata": {"name": "v"},
        "spec": {"a": [1, "b"]},
        "data": 3,
    }
    assert redaction.is_sensitive_kind(obj, ["Vault"]) is True
    assert redaction.is_sensitive_kind(obj, ["Other"]) is False
    assert redaction.redact_object(obj, ["Vault"]) == {
        "apiVersion": "x/v1",
        "kind": "Vault",
        "metadata": {"name": "v"},
        "spec": {"a": ["***", "***"]},
        "data": "***",
    }


def test_telling_variables_are_masked() -> None:
    """Anywhere in any object, by their name; references and other values stay."""
    env: list[Json] = [
        {"name": "DB_PASSWORD", "value": "x"},
        {"name": "LOG_LEVEL", "value": "debug"},
        {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "db-secret", "key": "t"}}},
        {"name": 3, "value": "y"},
        {"name": "SOME_SECRET", "value": 3},
    ]
    spec = {"spec": {"containers": [{"name": "api", "env": env}]}}
    masked = redaction.redact_object({"kind": "Pod", **spec})
    assert masked == {
        "kind": "Pod",
        "spec": {
            "containers": [
                {"name": "api", "env": [{"name": "DB_PASSWORD", "value": "***"}, *env[1:]]}
            ]
        },
    }


def test_telling_keys_of_config_maps_are_masked() -> None:
    """A ConfigMap should hold no secrets, and often does."""
    obj: JsonObject = {
        "kind": "ConfigMap",
        "data": {"DB_PASSWORD": "x", "LEVEL": "y"},
        "binaryData": {"token": "eA=="},
        "spec": {"token": "kept"},
    }
    assert redaction.redact_object(obj) == {
        "kind": "ConfigMap",
        "data": {"DB_PASSWORD": "***", "LEVEL": "y"},
        "binaryData": {"token": "***"},
        "spec": {"token": "kept"},
    }
    odd: JsonObject = {"kind": "ConfigMap", "data": "odd"}
    assert redaction.redact_object(odd) == odd


def test_kubectls_copy_of_the_manifest_is_masked() -> None:
    """On every kind; other annotations stay."""
    key = "kubectl.kubernetes.io/last-applied-configuration"
    obj: JsonObject = {"kind": "X", "metadata": {"name": "x", "annotations": {key: "{}", "a": "b"}}}
    assert redaction.redact_object(obj) == {
        "kind": "X",
        "metadata": {"name": "x", "annotations": {key: "***", "a": "b"}},
    }


def nest(levels: int) -> JsonObject:
    """Make an object that is nested a number of levels deep, through objects and lists."""
    value: Json = "end"
    for level in range(levels):
        value = {"x": value} if level % 2 else [value]
    return {"kind": "Secret", "apiVersion": "v1", "data": value, "spec": value}


def test_nesting_is_masked_beyond_a_depth() -> None:
    """A hundred levels are kept; what is deeper is masked rather than followed."""
    kept = json.dumps(redaction.redact_object(nest(100)))
    assert '"end"' in kept
    cut = json.dumps(redaction.redact_object(nest(101)))
    assert '"end"' not in cut
    redaction.redact_object(nest(20_000))
    whole = redaction.redact_object({"kind": "V", "spec": nest(20_000)["spec"]}, ["V"])
    assert json.dumps(whole).count("***") == 1


def test_a_pair_of_secrets_shows_which_keys_change() -> None:
    """Equal, changed, added and removed keys, and never a value."""
    before = secret(data={"same": "a", "changed": "b", "removed": "c"}, stringData={"s": "1"})
    after = secret(data={"same": "a", "changed": "x", "added": "d"}, stringData={"s": "2"})
    assert redaction.redact_secret_pair(before, after) == (
        secret(
            data={"same": "***", "changed": "*** (before)", "removed": "***"},
            stringData={"s": "*** (before)"},
        ),
        secret(
            data={"same": "***", "changed": "*** (after)", "added": "***"},
            stringData={"s": "*** (after)"},
        ),
    )


def test_a_pair_with_one_side_is_masked_too() -> None:
    """A Secret that comes or goes; odd data are masked whole."""
    one = secret(data={"a": "b"})
    masked = secret(data={"a": "***"})
    assert redaction.redact_secret_pair(None, one) == (None, masked)
    assert redaction.redact_secret_pair(one, None) == (masked, None)
    assert redaction.redact_secret_pair(None, None) == (None, None)
    assert redaction.redact_secret_pair(secret(data="odd"), one) == (secret(data="***"), masked)


@given(HOSTILE_OBJECTS)
def test_no_object_makes_redaction_raise(obj: JsonObject) -> None:
    """Whatever an object holds, its masked copy has the same keys."""
    assert redaction.redact_object(obj).keys() == obj.keys()
    redaction.redact_object(obj, ["Pod", "Job"])
    redaction.redact_secret_pair(obj, {})
    redaction.redact_secret_pair({}, obj)
