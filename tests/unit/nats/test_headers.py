"""Headers survive the wire, and cannot be forged."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trellis_nats._nats.wire.headers import encode_headers, parse_headers

NAMES = st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30).map(str.strip)


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_is_written_is_read(headers: dict[str, str]) -> None:
    assert parse_headers(encode_headers(headers)) == (0, "", headers)


@pytest.mark.parametrize(
    ("block", "status", "description"),
    [
        (b"NATS/1.0\r\n\r\n", 0, ""),
        (b"NATS/1.0 503\r\n\r\n", 503, ""),
        (b"NATS/1.0 404 No Messages\r\n\r\n", 404, "No Messages"),
        (b"NATS/1.0 409 Leadership Change\r\nNats-Pending-Messages: 5\r\n\r\n", 409, "Leadership Change"),
        (b"NATS/1.0 503\r\nNats-Subject: a\r\n\r\n", 503, ""),
        (b"NATS/1.0 nonsense\r\n\r\n", 0, "nonsense"),
        (b"NATS/1.0 " + b"9" * 5000 + b"\r\n\r\n", 0, ""),
        (b"NATS/1.0 \xd9\xa3\r\n\r\n", 0, ""),
    ],
)
def test_the_status_is_read_from_the_first_line(block: bytes, status: int, description: str) -> None:
    code, words, _ = parse_headers(block)

    assert code == status
    if status:
        assert words == description


def test_a_header_called_status_does_not_set_the_status() -> None:
    assert parse_headers(encode_headers({"Status": "503"})) == (0, "", {"Status": "503"})


def test_a_value_may_contain_colons_and_bytes_that_are_not_text() -> None:
    assert parse_headers(b"NATS/1.0\r\na: b:c\r\nd:\xff\r\n\r\n")[2] == {"a": "b:c", "d": "�"}


@pytest.mark.parametrize("headers", [{"a b": "1"}, {"": "1"}, {"a:": "1"}, {"a": "1\n"}, {"a": "1\rb"}])
def test_a_header_that_could_be_read_otherwise_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"header"):
        encode_headers(headers)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(block: bytes) -> None:
    parse_headers(block)
    parse_headers(b"NATS/1.0" + block)


def test_of_thousands_of_headers_the_last_are_read() -> None:
    lines = b"".join(b"n%d: 1\r\n" % number for number in range(50_000))
    headers = parse_headers(b"NATS/1.0\r\n%bNats-Subject: a\r\n\r\n" % lines)[2]

    assert len(headers) <= 256
    assert headers["Nats-Subject"] == "a"
