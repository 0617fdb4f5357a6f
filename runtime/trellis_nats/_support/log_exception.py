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
        parts = traceback.TracebackException.from_exception(error)
        _cut_texts(parts)
        written = "".join(parts.format()).encode(errors="replace")
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


def _cut_texts(shown: traceback.TracebackException) -> None:
    """Cut the texts of an exception and of those that it contains: to format millions of lines takes seconds."""
    waiting: list[traceback.TracebackException | None] = [shown]
    while waiting:
        one = waiting.pop()
        if one is None:
            continue
        text: object = vars(one).get("_str")
        if isinstance(text, str):
            vars(one)["_str"] = _cut(text)
        if one.__notes__:
            one.__notes__ = [_cut(note) for note in one.__notes__]
        waiting += (one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ()))


def _cut(text: str) -> str:
    if len(text) <= 2 * TRACEBACK_BYTES_MAX:
        return text
    return text[:TRACEBACK_BYTES_MAX] + _CUT + text[-TRACEBACK_BYTES_MAX:]
