"""Describes the exception that failed an attempt: its class, and the frames in which it was raised.

The frames show lines of code, never values: neither variables nor the texts of the exceptions behind it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final

from trellis_nats._support.error_leaves import error_leaves
from trellis_nats.errors import JobFailed, JobRetry
from trellis_nats.jobs.model.error_detail import ErrorDetail
from trellis_nats.jobs.model.event_factory import shorten

__all__ = ["describe_failure"]

_STACK_BYTES_MAX: Final = 8 * 1024
_FRAMES_MAX: Final = 50
"""The innermost frames of one exception: more do not fit into 8 KiB."""
_MESSAGE_MAX: Final = 1024
_CAUSES_MAX: Final = 5
_RUNTIME: Final = str(Path(__file__).parents[2])
_CUT: Final = "[…]\n"


def describe_failure(error: BaseException) -> ErrorDetail | None:
    """Describe what a handler raised. None: it cannot be described, because its class misbehaves.

    Of a group, it is what decides how the attempt ended: `JobFailed` before every other error, and `JobRetry` last.
    """
    leaf = min(error_leaves(error), key=_rank)
    try:
        message = shorten(str(leaf)[:_MESSAGE_MAX])
        stack = None if isinstance(leaf, JobRetry) else _stack_of(leaf)
        return ErrorDetail(message=message, type=type(leaf).__name__, stack=stack or None)
    except Exception:  # noqa: BLE001 - it reads attributes of the exception, which may be of any class
        return None


def _rank(error: BaseException) -> int:
    if isinstance(error, JobFailed):
        return 0
    return 2 if isinstance(error, JobRetry) else 1


def _stack_of(error: BaseException) -> str:
    """Return the frames of an exception and of those that caused it, the last one raised at the end, as Python does."""
    parts: list[str] = []
    one: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if one is None:
            break
        frames = traceback.StackSummary.extract(_frames(one.__traceback__), limit=-_FRAMES_MAX)
        parts.append(f"{''.join(frames.format())}{type(one).__name__}\n" if frames else "")
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    text = "\n".join(part for part in reversed(parts) if part)
    clean = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    data = clean.encode(errors="replace")
    if len(data) <= _STACK_BYTES_MAX:
        return data.decode()
    kept = data[-(_STACK_BYTES_MAX - len(_CUT.encode())) :].decode(errors="ignore")
    return _CUT + kept.partition("\n")[2]


def _frames(found: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """Return the frames of a traceback, from the handler's first one on: those of this runtime before it say nothing."""
    is_outside = False
    for frame, line in traceback.walk_tb(found):
        is_outside = is_outside or not frame.f_code.co_filename.startswith(_RUNTIME)
        if is_outside:
            yield frame, line
