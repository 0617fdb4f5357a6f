"""Outgoing commands follow the protocol and its size limits."""

from __future__ import annotations

import pytest
from trellis_nats._nats.wire.outgoing import encode_publish
from trellis_nats.errors import PayloadTooLarge

LIMIT_BYTES = 2048


def test_a_message_is_written_with_its_sizes() -> None:
    assert encode_publish("a.b", b"data", None, "", LIMIT_BYTES) == b"PUB a.b  4\r\ndata\r\n"
    assert encode_publish("a", b"", None, "inbox", LIMIT_BYTES) == b"PUB a inbox 0\r\n\r\n"
    assert (
        encode_publish("a", b"data", {"k": "v"}, "inbox", LIMIT_BYTES)
        == b"HPUB a inbox 18 22\r\nNATS/1.0\r\nk: v\r\n\r\ndata\r\n"
    )


def test_headers_count_against_the_limit() -> None:
    fits = b"x" * (LIMIT_BYTES - 512)

    encode_publish("a", fits, None, "", LIMIT_BYTES)
    with pytest.raises(PayloadTooLarge):
        encode_publish("a", fits, {"k": "v"}, "", LIMIT_BYTES)
    with pytest.raises(PayloadTooLarge):
        encode_publish("a", fits + b"x", None, "", LIMIT_BYTES)


def test_acknowledgements_fit_whatever_the_limit_is() -> None:
    assert encode_publish("a", b"+WPI", None, "", 64)
