"""A log record with a traceback of bounded size: the text of a handler's exception may be as large as its input."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Final

__all__ = ["TRACEBACK_BYTES_MAX", "log_exception"]

TRACEBACK_BYTES_MAX: Final = 8 * 1024
_CUT: Final = "\n… ({} bytes left out) …\n"


def log_exception(
    log: logging.Logger,
    level: int,
    text: str,
    *args: object,
    error: BaseException,
    extra: Mapping[str, object],
) -> None:
    """Log an exception with its traceback. Where that is larger than 8 KiB, its middle is left out.

    A traceback within the limit is passed on as `exc_info`, so that error trackers get the exception itself.
    """
    written = "".join(traceback.format_exception(error)).encode(errors="replace")
    if len(written) <= TRACEBACK_BYTES_MAX:
        log.log(level, text, *args, exc_info=error, extra=extra, stacklevel=2)
        return
    half = TRACEBACK_BYTES_MAX // 2
    head, tail = (part.decode(errors="ignore") for part in (written[:half], written[-half:]))
    cut = head + _CUT.format(len(written) - TRACEBACK_BYTES_MAX) + tail
    with_traceback = f"{text}\n%s"
    log.log(level, with_traceback, *args, cut, extra=extra, stacklevel=2)
