"""One spelling for each JSON value."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Json
from gitopsd.errors import PermanentError
from gitopsd.kube.canonical import canonical_json, digest_of, digest_of_bytes, digest_of_set

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
NESTED = st.lists(LEAVES, max_size=4) | st.dictionaries(st.text(max_size=9), LEAVES, max_size=4)
FINITE = LEAVES | st.lists(NESTED, max_size=3) | st.dictionaries(st.text(max_size=9), NESTED)


def test_the_spelling_is_fixed() -> None:
    """Sorted keys, no spaces, ASCII; digests depend on exactly this."""
    value: Json = {"b": [1, 2.5, None, True], "a": "é\n", "ä": {}}
    assert canonical_json(value) == b'{"a":"\\u00e9\\n","b":[1,2.5,null,true],"\\u00e4":{}}'


@given(FINITE)
def test_spelling_and_parsing_again_gives_the_value(value: Json) -> None:
    """Nothing is lost, and the spelling of what comes back is the same."""
    spelled = canonical_json(value)
    again = json.loads(spelled)
    assert again == value
    assert canonical_json(again) == spelled
    assert b"\n" not in spelled


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_have_are_refused(odd: float) -> None:
    """NaN and infinities are no JSON."""
    with pytest.raises(PermanentError, match=r"^a value is not JSON: ") as caught:
        canonical_json({"a": odd})
    assert caught.value.reason == "InvalidObject"


def test_keys_of_mixed_types_are_refused() -> None:
    """Keys that cannot be sorted have no canonical order."""
    mixed: dict[object, int] = {"a": 1, 2: 3}
    with pytest.raises(PermanentError, match=r"^a value is not JSON: ") as caught:
        canonical_json(mixed)  # type: ignore[arg-type] # what a YAML parser may give all the same
    assert caught.value.reason == "InvalidObject"


def test_bottomless_nesting_is_refused() -> None:
    """Nesting deeper than the interpreter can follow is refused, not a crash."""
    deep: Json = []
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(PermanentError, match=r"^a value is nested too deeply$") as caught:
        canonical_json(deep)
    assert caught.value.reason == "InvalidObject"


def test_a_digest_is_the_sha256_of_the_spelling() -> None:
    """Anyone can compute the address with two lines of their own."""
    expected = "sha256:" + hashlib.sha256(b'{"a":1}').hexdigest()
    assert digest_of({"a": 1}) == expected
    assert digest_of_bytes(b'{"a":1}') == expected


def test_a_set_is_addressed_whatever_its_order() -> None:
    """Order does not count, content and number do."""
    one, two = {"kind": "A"}, {"kind": "B"}
    expected = "sha256:" + hashlib.sha256(b'{"kind":"A"}\n{"kind":"B"}\n').hexdigest()
    assert digest_of_set([two, one]) == expected
    assert digest_of_set([one, two]) == expected
    assert digest_of_set([one]) != expected
    assert digest_of_set([one, two, two]) != expected
    assert digest_of_set([]) == "sha256:" + hashlib.sha256(b"").hexdigest()
