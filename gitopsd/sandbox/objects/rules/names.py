"""Names, labels and the like: what each kind of text may look like, and what is said otherwise.

Source: k8s.io/apimachinery ``pkg/util/validation`` and ``pkg/api/validation``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_RFC_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_PORT_NAME_LENGTH = 15

_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    f"for validation is '{_LABEL}')"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    f"for validation is '{_SUBDOMAIN}')"
)
_RFC_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    f"regex used for validation is '{_RFC_1035}')"
)
_QUALIFIED_WORDS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    f"validation is '{_QUALIFIED}')"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    f"or '12345', regex used for validation is '{_VALUE}')"
)
_CONFIG_KEY_WORDS = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
    "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
    f"'{_CONFIG_KEY}')"
)
_ENV_NAME_WORDS = (
    "a valid environment variable name must consist only of printable ASCII characters other than "
    "'='"
)


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def _longest(limit: int, unit: str = "characters") -> str:
    return f"must be no more than {limit} {unit}"


@lru_cache(maxsize=4096)
def label_problems(text: str) -> tuple[str, ...]:
    """What is wrong with a DNS label."""
    found = []
    if len(text) > LABEL_LENGTH:
        found.append(_longest(LABEL_LENGTH))
    if not _fits(_LABEL, text):
        found.append("must not contain dots" if _fits(_SUBDOMAIN, text) else _LABEL_WORDS)
    return tuple(found)


@lru_cache(maxsize=4096)
def subdomain_problems(text: str) -> tuple[str, ...]:
    """What is wrong with a DNS subdomain: what most objects are named."""
    found = []
    if len(text) > SUBDOMAIN_LENGTH:
        found.append(_longest(SUBDOMAIN_LENGTH))
    if not _fits(_SUBDOMAIN, text):
        found.append(_SUBDOMAIN_WORDS)
    return tuple(found)


@lru_cache(maxsize=4096)
def rfc_1035_problems(text: str) -> tuple[str, ...]:
    """What is wrong with a DNS label that begins with a letter."""
    found = [_longest(LABEL_LENGTH)] if len(text) > LABEL_LENGTH else []
    if not _fits(_RFC_1035, text):
        found.append(_RFC_1035_WORDS)
    return tuple(found)


def path_segment_problems(text: str) -> tuple[str, ...]:
    """What is wrong with a name that only has to fit into a path: roles and their bindings."""
    if text in {".", ".."}:
        return (f"may not be '{text}'",)
    return tuple(f"may not contain '{mark}'" for mark in "/%" if mark in text)


@lru_cache(maxsize=4096)
def qualified_problems(text: str) -> tuple[str, ...]:
    """What is wrong with a label's key: a name with an optional domain before it."""
    return tuple(_qualified_problems(text))


def _qualified_problems(text: str) -> Iterator[str]:
    prefix, slash, name = text.partition("/")
    if not slash:
        prefix, name = "", text
    elif "/" in name:
        yield (
            f"a valid label key {_QUALIFIED_WORDS} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        )
        return
    elif not prefix:
        yield "prefix part must be non-empty"
    else:
        for problem in subdomain_problems(prefix):
            yield f"prefix part {problem}"
    if not name:
        yield "name part must be non-empty"
    elif len(name) > LABEL_LENGTH:
        yield f"name part {_longest(LABEL_LENGTH, 'bytes')}"
    if not _fits(_QUALIFIED, name):
        yield f"name part {_QUALIFIED_WORDS}"


@lru_cache(maxsize=4096)
def label_value_problems(text: str) -> tuple[str, ...]:
    """What is wrong with a label's value."""
    found = [_longest(LABEL_LENGTH, "bytes")] if len(text) > LABEL_LENGTH else []
    if not _fits(_VALUE, text):
        found.append(_VALUE_WORDS)
    return tuple(found)


@lru_cache(maxsize=4096)
def config_key_problems(text: str) -> tuple[str, ...]:
    """What is wrong with a key of a ConfigMap or a Secret."""
    found = [_longest(SUBDOMAIN_LENGTH)] if len(text) > SUBDOMAIN_LENGTH else []
    if not _fits(_CONFIG_KEY, text):
        found.append(_CONFIG_KEY_WORDS)
    elif text in {".", ".."}:
        found.append(f"must not be '{text}'")
    elif text.startswith(".."):
        found.append("must not start with '..'")
    return tuple(found)


@lru_cache(maxsize=4096)
def port_name_problems(text: str) -> tuple[str, ...]:
    """What is wrong with the name of a port (an IANA service name)."""
    found = []
    if len(text) > _PORT_NAME_LENGTH:
        found.append(_longest(_PORT_NAME_LENGTH))
    if not _fits("[-a-z0-9]+", text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        found.append("must not begin or end with a hyphen")
    if text and not _fits("[-a-z0-9]+", text):
        return tuple(found[:1] if len(text) <= _PORT_NAME_LENGTH else found[:2])
    return tuple(found)


def env_name_problems(text: str) -> tuple[str, ...]:
    """What is wrong with the name of an environment variable."""
    if not text or not all(" " <= character <= "~" for character in text) or "=" in text:
        return (_ENV_NAME_WORDS,)
    return ()


def address_problems(text: str) -> tuple[str, ...]:
    """What is wrong with an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    return ()
