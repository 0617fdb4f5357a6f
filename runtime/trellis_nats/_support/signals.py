"""SIGTERM and SIGINT as requests to stop: the first one starts a stop, the second one ends its grace period."""

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

from trellis_nats._support.forked_child import detach_children
from trellis_nats._support.process_group import tell_group

__all__ = ["StopSignals", "end_process_on_signal"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_CANCEL_EVERY: Final = 0.5
"""Seconds between cancellations. Python 3.11's `wait_for` loses one that arrives just when its awaitable is done."""

_Handler = (
    Callable[[int, FrameType | None], Any] | int | signal.Handlers | None
)  # Any: as in the standard library


class StopSignals:
    """A stop request, sent as a signal. A third signal has its default effect on the process.

    A second one that arrives after `end` has no effect: the process ends on its own, with its own exit code.
    """

    def __init__(self, on_second: Callable[[], None]) -> None:
        """Prepare; no signal is caught before `install`.

        Args:
            on_second: called at the second signal.
        """
        self.requested = asyncio.Event()
        """Set by the first signal."""
        self._on_second = on_second
        self._caught: dict[signal.Signals, _Handler] = {}

    def install(self) -> None:
        """Catch both signals. In a thread other than the main one, where Python cannot, do nothing."""
        self._caught = _catch(_SIGNALS, self._on_signal)

    def remove(self) -> None:
        """Restore the handlers that the signals had before. Safe to call twice."""
        caught, self._caught = self._caught, {}
        _restore(caught)

    def end(self) -> None:
        """Stop handling signals. After a stop request, one more signal is caught and ignored.

        That lasts to the end of the process, beyond its event loop. Handlers of the program are restored at once.
        """
        before = {number: handler for number, handler in self._caught.items() if _is_default(handler)}
        self.remove()
        if self.requested.is_set() and before:
            _LateSignal(before).begin()

    def _on_signal(self) -> None:
        if not self.requested.is_set():
            self.requested.set()
            tell_group("stopping")
            return
        self.remove()
        self._on_second()


class _LateSignal:
    """Ignores one signal while the process runs its last lines, then lets the next one end it."""

    def __init__(self, before: dict[signal.Signals, _Handler]) -> None:
        self._before = before

    def begin(self) -> None:
        for number in self._before:
            signal.signal(number, self._take)
        # The interpreter restores handlers some milliseconds before the process ends, but not those of ignored signals.
        atexit.register(self._ignore)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._take:
                signal.signal(number, handler)

    def _ignore(self) -> None:
        for number in self._before:
            if signal.getsignal(number) == self._take:
                signal.signal(number, signal.SIG_IGN)


@contextmanager
def end_process_on_signal() -> Generator[None]:
    """Let SIGTERM and SIGINT cancel what the block awaits, and then end the process with code 0.

    Signals that the program handles itself are not caught.

    Raises:
        SystemExit: a signal arrived.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    cancelling: asyncio.TimerHandle | None = None

    def on_signal() -> None:
        nonlocal cancelling
        if cancelling is None:
            tell_group("stopping")
            cancel()

    def cancel() -> None:
        nonlocal cancelling
        if task is not None:
            task.cancel()
        cancelling = loop.call_later(_CANCEL_EVERY, cancel)

    caught = _catch([number for number in _SIGNALS if _is_default(signal.getsignal(number))], on_signal)
    try:
        yield
    except BaseException:
        if cancelling is None:
            raise
    finally:
        _restore(caught)
        if cancelling is not None:
            cancelling.cancel()
    if cancelling is not None:
        raise SystemExit(0)


def _is_default(handler: _Handler) -> bool:
    """Return whether the program has not set the handler itself; asyncio's runner sets one for SIGINT."""
    if isinstance(handler, functools.partial):
        return isinstance(getattr(handler.func, "__self__", None), asyncio.Runner)
    return handler in (signal.SIG_DFL, signal.default_int_handler)


def _catch(signals: Iterable[signal.Signals], callback: Callable[[], None]) -> dict[signal.Signals, _Handler]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    detach_children()
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, _Handler] = {}
    for number in signals:
        before[number] = signal.getsignal(number)
        loop.add_signal_handler(number, callback)
    return before


def _restore(caught: dict[signal.Signals, _Handler]) -> None:
    loop = asyncio.get_running_loop()
    for number, handler in caught.items():
        loop.remove_signal_handler(number)
        if handler is not None:
            signal.signal(number, handler)
