"""Captures what a handler does, from another thread: files, lines and functions, and no values."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import dropwhile
from pathlib import Path
from types import CoroutineType, FrameType, GeneratorType
from typing import Any, Final, NamedTuple, cast

from trellis_nats.jobs.stacks.job_stack import FRAMES_MAX, StackFrame, StackPlace

__all__ = ["CapturedStack", "capture_stack"]

_RUNTIME: Final = str(Path(__file__).parents[2])
_AROUND: Final = (_RUNTIME, str(Path(asyncio.__file__).parent), threading.__file__)
"""Where the frames around a handler are: this runtime, asyncio, and the start of a thread."""
_DEPTH_MAX: Final = 10_000
"""Frames that are walked at most: a thread may change them meanwhile."""


class CapturedStack(NamedTuple):
    """The frames of a handler, outermost first."""

    place: StackPlace
    frames: tuple[StackFrame, ...]
    is_cut: bool


def capture_stack(task: asyncio.Task[Any] | None, name: str, *, loop_thread: int) -> CapturedStack:
    """Capture the stack of a handler. Callable from any thread, also while the event loop is blocked.

    Args:
        task: runs the handler; None while none does.
        name: that of the task, and of the handler's thread if it is a plain `def`.
        loop_thread: the id of the thread that runs the event loop.
    """
    thread = next((thread.ident for thread in threading.enumerate() if thread.name == name), None)
    if thread is not None:
        return _cut("thread", _running_frames(thread, outermost=None))
    if task is None or task.done():
        return CapturedStack("not in the handler", (), is_cut=False)
    coroutine = task.get_coro()
    if isinstance(coroutine, CoroutineType) and coroutine.cr_running:
        running = _running_frames(loop_thread, outermost=coroutine.cr_frame)
        if running and running[0][0] is coroutine.cr_frame:  # else it has begun to wait meanwhile
            return _cut("event loop", running)
    return _cut("waiting", _suspended_frames(coroutine))


def _cut(place: StackPlace, frames: Iterable[tuple[FrameType, int]]) -> CapturedStack:
    """Leave out the frames around the handler, and keep the innermost ones."""
    inside = list(dropwhile(lambda found: found[0].f_code.co_filename.startswith(_AROUND), frames))
    kept = tuple(
        StackFrame(frame.f_code.co_filename, line, frame.f_code.co_qualname)
        for frame, line in inside[-FRAMES_MAX:]
    )
    return CapturedStack(place, kept, is_cut=len(inside) > FRAMES_MAX)


def _running_frames(thread: int, *, outermost: FrameType | None) -> list[tuple[FrameType, int]]:
    """Return the frames of a thread, outermost first: all of them, or from a given one on if it is there."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - documented
    innermost_first: list[tuple[FrameType, int]] = []
    while frame is not None and len(innermost_first) < _DEPTH_MAX:
        innermost_first.append((frame, frame.f_lineno))
        if frame is outermost:
            break
        frame = frame.f_back
    return innermost_first[::-1]


def _suspended_frames(coroutine: object) -> Iterator[tuple[FrameType, int]]:
    """Return the frames of a coroutine and of those that it awaits, outermost first."""
    awaited: object = coroutine
    for _ in range(_DEPTH_MAX):
        if isinstance(awaited, CoroutineType):
            frame, inner = awaited.cr_frame, cast("object", awaited.cr_await)
        elif isinstance(awaited, GeneratorType):
            frame, inner = awaited.gi_frame, cast("object", awaited.gi_yieldfrom)
        else:
            return
        if frame is not None:  # pyright: ignore[reportUnnecessaryComparison] - it has none once it has ended
            yield frame, frame.f_lineno
        awaited = inner
