"""A traceback in the log has a bounded size."""

import logging
import sys
from typing import Any

import pytest
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_exception import TRACEBACK_BYTES_MAX, log_exception

LOG = logging.getLogger("test")
EXTRA = log_fields(LogEvent.HANDLER_RAISED)


def raised(text: str) -> ValueError:
    def handler() -> None:
        raise ValueError(text)

    with pytest.raises(ValueError, match=text[:5]) as caught:
        handler()
    return caught.value


def test_a_short_traceback_is_the_exception_itself(caplog: pytest.LogCaptureFixture) -> None:
    error = raised("short")

    log_exception(LOG, logging.ERROR, "handler of %s", "pack", error=error, extra=EXTRA)

    (record,) = caplog.records
    assert record.getMessage() == "handler of pack"
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert record.funcName == "test_a_short_traceback_is_the_exception_itself"


def test_a_long_traceback_keeps_its_beginning_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    error = raised("ü" * 100_000 + "the end")

    log_exception(LOG, logging.ERROR, "handler of %s", "pack", error=error, extra=EXTRA)

    (record,) = caplog.records
    message = record.getMessage()
    assert record.exc_info is None
    assert message.startswith("handler of pack\nTraceback (most recent call last):")
    assert message.endswith("the end\n")
    logged = message.removeprefix("handler of pack\n").encode()
    assert TRACEBACK_BYTES_MAX - 8 <= len(logged) <= TRACEBACK_BYTES_MAX


class OddError(Exception):
    """An exception that cannot be shown."""

    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        raise ValueError("no cause")


# Any: a parser that is not Python's may put anything there.
ODD_PLACE: Any = ("file.py", 1, "a column that is not a number", "text")


PRINTED = pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python 3.14 prints it")


@pytest.mark.parametrize(
    "error", [OddError("odd"), pytest.param(SyntaxError("odd", ODD_PLACE), marks=PRINTED)]
)
def test_an_exception_without_a_printable_traceback_is_logged_by_its_class(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    log_exception(LOG, logging.ERROR, "handler of %s", "pack", error=error, extra=EXTRA)

    (record,) = caplog.records
    assert record.getMessage() == f"handler of pack\n{type(error).__name__}: its traceback cannot be printed"
    assert record.exc_info is None
