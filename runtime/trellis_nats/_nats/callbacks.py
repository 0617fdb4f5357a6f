"""Callbacks for the moments when a connection is lost or restored."""

from __future__ import annotations

import logging
from collections.abc import Callable

from trellis_nats._support.log_events import LogEvent, log_fields

__all__ = ["Callbacks"]

_log = logging.getLogger(__name__)


class Callbacks:
    """The callbacks for one kind of moment."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def add(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Register a callback. Return the function that removes it."""
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

    def call_all(self) -> None:
        """Call each callback, in the order of registration. An exception of one does not stop the others."""
        for callback in list(self._callbacks):
            try:
                callback()
            except Exception:  # noqa: BLE001 - one callback must not keep the others, or the supervisor, from running
                _log.exception("a connection callback raised", extra=log_fields(LogEvent.CALLBACK_RAISED))
