"""A log record with a traceback of bounded size: the text of a handler's exception may be as large as its input."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Final

__all__ = ["TRACEBACK_BYTES_MAX", "log_exception"]

TRACEBACK_BYTES_MAX: Final = 8 * 1024
"""A longer traceback keeps its first lines and, for the larger part, its last ones."""
_HEAD_BYTES: Final = 2 * 1024
_CUT: Final = "\n[…]\n"


def log_exception(
    log: logging.Logger,
    level: int,
    text: str,
    *args: object,
    error: BaseException,
    extra: Mapping[str, object],
) -> None:
    """Log an exception with its traceback. Where that is larger than 8 KiB, its middle is left out.

    A traceback within the limit is passed on as `exc_info`, so that error trackers get the exception itself. Where it
    cannot be printed, the class of the exception is logged: to log an error must never raise another one.
    """
    with_traceback = f"{text}\n%s"
    try:
        written = "".join(traceback.format_exception(error)).encode(errors="replace")
    except Exception:  # noqa: BLE001 - it reads attributes of the exception, which may be of any class
        shown = f"{type(error).__name__}: its traceback cannot be printed"
        log.log(level, with_traceback, *args, shown, extra=extra, stacklevel=2)
        return
    if len(written) <= TRACEBACK_BYTES_MAX:
        log.log(level, text, *args, exc_info=error, extra=extra, stacklevel=2)
        return
    tail_bytes = TRACEBACK_BYTES_MAX - _HEAD_BYTES - len(_CUT.encode())
    head, tail = (part.decode(errors="ignore") for part in (written[:_HEAD_BYTES], written[-tail_bytes:]))
    log.log(level, with_traceback, *args, f"{head}{_CUT}{tail}", extra=extra, stacklevel=2)
