"""Keeps a forked child from acting on what it shares with its parent: signals, event loops and sockets.

A child inherits the file descriptor that wakes its parent's event loop at a signal, and signal handlers that only work in
that loop: a signal to the child would not end the child, but stop the service (CPython issues 66285 and 94454). It also
inherits the sockets: while it lives, the server would not notice that its parent has died.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

__all__ = ["count_forks", "detach_children", "drop_descriptor", "in_forked_children"]

_LOOP_PACKAGES: Final = frozenset({"asyncio", "uvloop", "trellis_nats"})
"""The packages whose signal handlers need the event loop of the parent."""

_actions: Final[list[Callable[[], None]]] = []
_saved = threading.local()
_forks = 0


def in_forked_children(action: Callable[[], None]) -> Callable[[], None]:
    """Call `action` in each child that this process forks. Return the function that removes the action."""
    detach_children()
    _actions.append(action)

    def remove() -> None:
        with suppress(ValueError):
            _actions.remove(action)

    return remove


@functools.cache
def detach_children() -> None:
    """From now on, give forked children the default handlers of the signals that an event loop handles.

    What is started with `exec` (`subprocess`, multiprocessing's `spawn`) inherits nothing that has to be undone.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_detach)


def count_forks() -> int:
    """Return how many forks lie between this process and the one that imported this module."""
    return _forks


def drop_descriptor(descriptor: int) -> None:
    """Replace a descriptor by the null device, in this process only.

    Closing it would free its number, which the object that owns it would close a second time.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def _block() -> None:
    """Block all signals in this thread: one that reaches the child before `_detach` would wake the parent."""
    _saved.mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _saved.mask)


def _detach() -> None:
    global _forks  # noqa: PLW0603 - a property of the process
    _forks += 1
    signal.set_wakeup_fd(-1)
    of_loop = [number for number in signal.valid_signals() if _needs_loop(signal.getsignal(number))]
    for number in of_loop:
        signal.signal(number, signal.SIG_DFL)
    actions = _actions.copy()
    _actions.clear()
    for action in actions:
        action()
    _unblock()
    if signal.SIGINT in of_loop:
        # Not earlier: a SIGINT that waits would raise KeyboardInterrupt here, where Python drops it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _needs_loop(handler: object) -> bool:
    if isinstance(handler, functools.partial):  # asyncio's runner has one for SIGINT
        handler = handler.func
    module = getattr(handler, "__module__", None)
    return isinstance(module, str) and module.partition(".")[0] in _LOOP_PACKAGES
