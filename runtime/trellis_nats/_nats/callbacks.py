"""Callbacks that are told about the connection."""

from __future__ import annotations

import logging
from collections.abc import Callable

__all__ = ["Callbacks"]

_log = logging.getLogger(__name__)


class Callbacks:
    """Who wants to know about one kind of moment."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def add(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Register a callback, and return what removes it again."""
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

    def tell(self) -> None:
        """Call all of them, in the order of their registration."""
        for callback in list(self._callbacks):
            try:
                callback()
            except Exception:  # noqa: BLE001 - one listener must not keep the others, or the supervisor, from going on
                _log.exception("a connection callback failed")
