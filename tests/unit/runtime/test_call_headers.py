"""The headers of calls and replies."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats._calls.headers import is_error, is_reply_subject, read_timeout, timeout_line
from trellis_nats._nats.wire.headers import encode_headers, parse_headers


@given(st.integers(min_value=1, max_value=10**9))
def test_a_timeout_survives_the_wire(milliseconds: int) -> None:
    timeout = timedelta(milliseconds=milliseconds)

    _, _, headers = parse_headers(encode_headers(timeout_line(timeout)))

    assert read_timeout(headers) == timeout


def test_a_timeout_that_has_passed_is_still_a_timeout() -> None:
    assert timeout_line(timedelta(seconds=-1)) == b"trellis-timeout-ms: 1\r\n"


@pytest.mark.parametrize("text", ["", "-1", "1.5", "soon", " 1", "٣", "9" * 11])
def test_a_timeout_that_makes_no_sense_is_none(text: str) -> None:
    assert read_timeout({"trellis-timeout-ms": text}) is None
    assert read_timeout({}) is None


@pytest.mark.parametrize("subject", ["_INBOX.x.1", "_INBOX_orders-service.x.1", "_R_.abc.1", "somewhere"])
def test_a_reply_goes_where_the_caller_waits(subject: str) -> None:
    assert is_reply_subject(subject)


@pytest.mark.parametrize(
    "subject",
    ["", "$JS.API.STREAM.DELETE.JOBS", "$KV.a.b", "events.v1.X", "rpc.v1.X", "trellis.jobs.a.b.c.created"],
)
def test_a_caller_cannot_have_the_service_publish_elsewhere(subject: str) -> None:
    assert not is_reply_subject(subject)


@pytest.mark.parametrize(
    "subject",
    ["_INBOX." + "x" * 1024, "_INBOX.\x01", "_INBOX.\x0b", "_INBOX.\ufffd", "_INBOX.*", "_INBOX.>", ">"],
)
def test_a_subject_that_cannot_be_published_to_gets_no_reply(subject: str) -> None:
    assert not is_reply_subject(subject)


def test_only_the_status_error_marks_an_error() -> None:
    assert is_error({"status": "error"})
    assert not is_error({"Status": "200"})
    assert not is_error({})
