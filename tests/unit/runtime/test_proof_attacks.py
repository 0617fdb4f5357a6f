"""Proofs that an attacker writes: each changed bit, each other text of the same value, and random bytes in every part."""

from __future__ import annotations

import string
from time import perf_counter
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from trellis_nats import AuthError
from trellis_nats.auth import Signer
from trellis_nats.auth.base64url import decode_base64url, encode_base64url
from trellis_nats.auth.ed25519 import is_public_key, is_signed
from trellis_nats.auth.request_proof import read_proof

from tests.support.callers import SHOP

SUBJECT: Final = "rpc.v1.Vault.Read"
BODY: Final = b'{"name":"a"}'
REQUEST_ID: Final = "01M8KT1SQRNQ61FVVWXTVD0ATW"
HEADERS: Final = {"request-id": REQUEST_ID, **Signer(SHOP).headers(SUBJECT, BODY, REQUEST_ID)}
ALPHABET: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""Of the group of Ed25519."""
SMALL_ORDER: Final = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def is_admitted(headers: dict[str, str], subject: str = SUBJECT, body: bytes = BODY) -> bool:
    try:
        return read_proof(headers, subject, body).is_valid()
    except AuthError:
        return False


def test_each_bit_of_each_part_counts() -> None:
    assert is_admitted(HEADERS)
    for name, text in HEADERS.items():
        for at in range(len(text)):
            for bit in range(7):
                changed = text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]
                assert not is_admitted({**HEADERS, name: changed}), (name, at, bit)
    for at in range(len(BODY)):
        changed_body = bytearray(BODY)
        changed_body[at] ^= 1
        assert not is_admitted(HEADERS, body=bytes(changed_body))
    for subject in (
        "rpc.v1.Vault.Reae",
        "rpc.v1.Vault.*",
        "rpc.v1.>",
        "operations.v1.Vault.Read.control",
        "",
    ):
        assert not is_admitted(HEADERS, subject)


@pytest.mark.parametrize("missing", HEADERS)
def test_each_header_is_needed_under_its_exact_name(missing: str) -> None:
    others = {name: text for name, text in HEADERS.items() if name != missing}
    assert not is_admitted(others)
    assert not is_admitted({**others, missing.title(): HEADERS[missing]})


@pytest.mark.parametrize(
    "change", ["0{}", "+{}", "-{}", " {}", "{}.0", "{}e0", "{}_0", "\u0661{}", "{}" + "0" * 9, ""]
)
def test_there_is_one_text_for_each_time(change: str) -> None:
    assert not is_admitted({**HEADERS, "iat": change.format(HEADERS["iat"])})


@pytest.mark.parametrize("name", ["session-key", "proof"])
def test_there_is_one_text_for_each_value(name: str) -> None:
    text = HEADERS[name]
    last = ALPHABET.index(text[-1])
    same_bytes = [
        text[:-1] + ALPHABET[last ^ unused] for unused in range(1, 4 if name == "session-key" else 16)
    ]
    for other in (*same_bytes, text + "=", text + "==", text + "A", text + "\n", text[:-1], f" {text}"):
        assert not is_admitted({**HEADERS, name: other}), other


def test_a_signature_cannot_be_written_in_another_way() -> None:
    signature = decode_base64url(HEADERS["proof"], size=64)
    scalar = int.from_bytes(signature[32:], "little")
    for times in range(1, 9):
        other = signature[:32] + (scalar + times * ORDER).to_bytes(32, "little")
        assert not is_admitted({**HEADERS, "proof": encode_base64url(other)})


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_keys_for_which_anyone_can_sign_are_refused(point: str) -> None:
    key = bytes.fromhex(point)
    assert not is_public_key(key)
    for first in map(bytes.fromhex, SMALL_ORDER):
        for number in range(16):
            assert not is_signed(key, first + bytes(32), bytes([number]) * 32)


def test_what_is_longer_than_a_key_is_not_repeated_in_the_error() -> None:
    for headers in (
        {**HEADERS, "session-key": "A" * 10_000_000},
        {**HEADERS, "session-key": "A" * 44, "iat": "x"},
    ):
        with pytest.raises(AuthError, match="invalid_signature") as refused:
            read_proof(headers, SUBJECT, BODY)
        assert "sessionKey" not in refused.value.context


@given(
    st.dictionaries(
        st.sampled_from([*HEADERS, "Session-Key", "other"]),
        st.one_of(st.text(), st.text(ALPHABET, min_size=43, max_size=86), st.integers().map(str), st.sampled_from(list(HEADERS.values()))),
    ),
    st.text(),
    st.binary(),
)  # fmt: skip
@example({**HEADERS, "request-id": "\ufffd" * 256}, SUBJECT, BODY)
def test_any_headers_are_refused_with_an_error_of_the_wire(
    headers: dict[str, str], subject: str, body: bytes
) -> None:
    if all(HEADERS[name] == headers.get(name) for name in HEADERS) and (subject, body) == (SUBJECT, BODY):
        return
    assert not is_admitted(headers, subject, body)


@given(st.text(), st.integers(0, 100))
def test_any_text_of_base64url_is_read_or_is_a_value_error(text: str, size: int) -> None:
    try:
        data = decode_base64url(text, size=size)
    except ValueError:
        return
    assert encode_base64url(data) == text


def test_ten_megabytes_of_headers_take_no_time() -> None:
    began = perf_counter()
    for name in HEADERS:
        assert not is_admitted({**HEADERS, name: "1" * 10_000_000})
    assert perf_counter() - began < 1
