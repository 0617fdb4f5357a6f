"""SIGTERM and SIGINT, as a service understands them: once means stop, twice means now."""

from __future__ import annotations

import asyncio
import atexit
import functools
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

__all__ = ["StopSignals", "end_process_on_signal"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_CANCEL_EVERY: Final = 0.5
"""Seconds. Python 3.11's `wait_for` swallows a cancellation that comes when what it waits for is just done."""

_Handler = (
    Callable[[int, FrameType | None], Any] | int | signal.Handlers | None
)  # Any: what the standard library says


class StopSignals:
    """The wish to stop, from outside. A third signal does to the process what it does by default.

    A second one that comes after the end has nothing to hurry: the process may end by itself, with its own code.
    """

    def __init__(self, on_second: Callable[[], None]) -> None:
        """Prepare; nothing is caught before `install`.

        Args:
            on_second: called at the second signal.
        """
        self.asked = asyncio.Event()
        """Set by the first signal."""
        self._on_second = on_second
        self._caught: dict[signal.Signals, _Handler] = {}

    def install(self) -> None:
        """Catch both signals. In a thread other than the main one, where Python cannot, do nothing."""
        self._caught = _caught(_SIGNALS, self._hear)

    def remove(self) -> None:
        """Give the signals back to who had them. Safe to call twice."""
        caught, self._caught = self._caught, {}
        _give_back(caught)

    def end(self) -> None:
        """Need no signal any more. After a stop was asked for, one more is still taken, and nothing done about it.

        That holds to the end of the process, past its event loop. A program's own handlers are given back at once.
        """
        before = {each: handler for each, handler in self._caught.items() if _is_free(handler)}
        self.remove()
        if self.asked.is_set() and before:
            _Farewell(before).begin()

    def _hear(self) -> None:
        if not self.asked.is_set():
            self.asked.set()
            return
        self.remove()
        self._on_second()


class _Farewell:
    """Takes one signal of a process that has only its own last lines to run, then lets the next one end it."""

    def __init__(self, before: dict[signal.Signals, _Handler]) -> None:
        self._before = before

    def begin(self) -> None:
        for each in self._before:
            signal.signal(each, self._take)
        # The interpreter gives handlers back some milliseconds before the process is gone, ignored signals it does not.
        atexit.register(self._ignore)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        for each, handler in self._before.items():
            if signal.getsignal(each) == self._take:
                signal.signal(each, handler)

    def _ignore(self) -> None:
        for each in self._before:
            if signal.getsignal(each) == self._take:
                signal.signal(each, signal.SIG_IGN)


@contextmanager
def end_process_on_signal() -> Generator[None]:
    """Let SIGTERM and SIGINT cancel what is awaited in the block, and then end the process with code 0.

    Only signals that the program does not handle itself are caught.

    Raises:
        SystemExit: a signal came.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    cancelling: asyncio.TimerHandle | None = None

    def hear() -> None:
        nonlocal cancelling
        if cancelling is None:
            cancel()

    def cancel() -> None:
        nonlocal cancelling
        if task is not None:
            task.cancel()
        cancelling = loop.call_later(_CANCEL_EVERY, cancel)

    caught = _caught([each for each in _SIGNALS if _is_free(signal.getsignal(each))], hear)
    try:
        yield
    except BaseException:
        if cancelling is None:
            raise
    finally:
        _give_back(caught)
        if cancelling is not None:
            cancelling.cancel()
    if cancelling is not None:
        raise SystemExit(0)


def _is_free(handler: _Handler) -> bool:
    """Say whether a signal does what it does without the program's doing; asyncio's runner takes SIGINT by itself."""
    if isinstance(handler, functools.partial):
        return isinstance(getattr(handler.func, "__self__", None), asyncio.Runner)
    return handler in (signal.SIG_DFL, signal.default_int_handler)


def _caught(
    signals: Iterable[signal.Signals], callback: Callable[[], None]
) -> dict[signal.Signals, _Handler]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, _Handler] = {}
    for each in signals:
        before[each] = signal.getsignal(each)
        loop.add_signal_handler(each, callback)
    return before


def _give_back(caught: dict[signal.Signals, _Handler]) -> None:
    loop = asyncio.get_running_loop()
    for each, handler in caught.items():
        loop.remove_signal_handler(each)
        if handler is not None:
            signal.signal(each, handler)
