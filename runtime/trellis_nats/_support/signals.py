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

    Services that run in one event loop all stop at the first one. A second one that arrives after `end` of the last of them
    has no effect: the process ends on its own, with its own exit code.
    """

    def __init__(self, on_second: Callable[[], None]) -> None:
        """Prepare; no signal is caught before `install`.

        Args:
            on_second: called at the second signal.
        """
        self.requested = asyncio.Event()
        """Set by the first signal."""
        self._on_second = on_second
        self._caught: _CaughtSignals | None = None

    def install(self) -> None:
        """Catch both signals. In a thread other than the main one, where Python cannot, do nothing."""
        self._caught = caught = _signals_of_loop()
        are_others_stopping = any(other.requested.is_set() for other in caught.services)
        caught.services.append(self)
        caught.catch(_SIGNALS, self._on_signal)
        if are_others_stopping:
            self.requested.set()

    def remove(self) -> None:
        """Let go of the signals; the last one restores the handlers that they had before. Safe to call twice."""
        caught, self._caught = self._caught, None
        if caught is not None:
            caught.services.remove(self)
            caught.release(self._on_signal)

    def end(self) -> None:
        """Stop handling signals. After a stop request, one more signal is caught and ignored.

        That lasts to the end of the process, beyond its event loop. Handlers of the program are restored at once.
        """
        caught = self._caught
        before = {} if caught is None else caught.defaults
        self.remove()
        if self.requested.is_set() and before and caught is not None and not caught.services:
            _LateSignal(before).begin()

    def _on_signal(self) -> None:
        if not self.requested.is_set():
            self.requested.set()
            tell_group("stopping")
            return
        self.remove()
        self._on_second()


class _CaughtSignals:
    """The signals that the services of one event loop catch: it keeps one handler for each signal."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: Final = loop
        self.services: Final[list[StopSignals]] = []
        self._before: dict[signal.Signals, _Handler] = {}
        self._callbacks: list[tuple[signal.Signals, Callable[[], None]]] = []

    @property
    def defaults(self) -> dict[signal.Signals, _Handler]:
        """The handlers before, as far as they are not those of the program."""
        return {number: handler for number, handler in self._before.items() if _is_default(handler)}

    def catch(self, numbers: Iterable[signal.Signals], callback: Callable[[], None]) -> None:
        """Call back at each of these signals. In a thread other than the main one, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        detach_children()
        for number in numbers:
            if number not in self._before:
                self._before[number] = signal.getsignal(number)
                self.loop.add_signal_handler(number, self._call, number)
            self._callbacks.append((number, callback))

    def release(self, callback: Callable[[], None]) -> None:
        """Do not call back any more. A signal that none waits for gets the handler that it had before."""
        self._callbacks = [caught for caught in self._callbacks if caught[1] != callback]
        for number in set(self._before) - {number for number, _ in self._callbacks}:
            handler = self._before.pop(number)
            self.loop.remove_signal_handler(number)
            if handler is not None:
                signal.signal(number, handler)

    def _call(self, received: signal.Signals) -> None:
        for number, callback in self._callbacks.copy():
            if number == received:
                callback()


_newest: _CaughtSignals | None = None
"""Those of the newest event loop in the main thread, the only one in which Python handles signals."""


def _signals_of_loop() -> _CaughtSignals:
    global _newest  # noqa: PLW0603 - a property of the process
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        return _CaughtSignals(loop)
    if _newest is None or _newest.loop is not loop:
        _newest = _CaughtSignals(loop)
    return _newest


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

    caught = _signals_of_loop()
    caught.catch([number for number in _SIGNALS if _is_default(signal.getsignal(number))], on_signal)
    try:
        yield
    except BaseException:
        if cancelling is None:
            raise
    finally:
        caught.release(on_signal)
        if cancelling is not None:
            cancelling.cancel()
    if cancelling is not None:
        raise SystemExit(0)


def _is_default(handler: _Handler) -> bool:
    """Return whether the program has not set the handler itself; asyncio's runner sets one for SIGINT."""
    if isinstance(handler, functools.partial):
        return isinstance(getattr(handler.func, "__self__", None), asyncio.Runner)
    return handler in (signal.SIG_DFL, signal.default_int_handler)
