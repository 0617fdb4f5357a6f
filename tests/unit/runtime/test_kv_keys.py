"""The keys that NATS allows."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats import InvalidKey
from trellis_nats.kv.keys import is_key, require_key


@pytest.mark.parametrize("key", ["a", "orders.2026.o-1", "a/b", "a=b", "_x", "9", "x" * 512])
def test_a_key_of_nats_is_allowed(key: str) -> None:
    assert require_key("orders", key) == key


@pytest.mark.parametrize(
    "key", ["", ".", ".a", "a.", "a..b", "a b", "a*", ">", "a.>", "ä", "a~b", "a\n", "a\x00", "x" * 513]
)
def test_another_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(InvalidKey, match='of bucket "orders"') as caught:
        require_key("orders", key)

    assert (caught.value.key, caught.value.bucket) == (key, "orders")


@given(st.text(alphabet="ab.*> ~/=-_\n", max_size=8))
def test_an_allowed_key_is_tokens_between_single_dots(key: str) -> None:
    assert is_key(key) == bool(re.fullmatch(r"[-/_=A-Za-z0-9]+(\.[-/_=A-Za-z0-9]+)*", key))
