"""Whether every fault can be seen in the log of a worker, by the names of the events. Pure, except for `Trail`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import JsonValue

from tests.faults.harness.history import Entry, HistoryFile, What

__all__ = ["Trail", "silent"]

_SECOND: Final = 1_000_000_000


class Trail(logging.Handler):
    """Writes every record of the runtime's log into the history, with the name of its event, from INFO on."""

    def __init__(self, history: HistoryFile) -> None:
        super().__init__(logging.INFO)
        self._history = history

    def follow(self) -> None:
        """Begin."""
        runtime = logging.getLogger("trellis_nats")
        runtime.setLevel(logging.INFO)
        runtime.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, without its traceback."""
        self._history.write(
            What.LOGGED,
            logger=record.name,
            level=record.levelname,
            event_name=getattr(record, "event_name", ""),
            text=record.getMessage(),
        )


def silent(history: Sequence[Entry]) -> list[str]:
    """Name each fault that should be seen, and after which no worker logged one of its events in time."""
    records = [entry for entry in history if entry.what is What.LOGGED]
    return [
        f"{fault.text('fault')} at {fault.at}"
        for fault in history
        if fault.what is What.NEMESIS and (events := _events(fault.facts.get("seen")))
        if not _is_seen(fault, events, records)
    ]


def _is_seen(fault: Entry, events: frozenset[str], records: Iterable[Entry]) -> bool:
    within = fault.facts.get("within")
    until = fault.at + (within if isinstance(within, int) else 0) * _SECOND
    return any(fault.at <= record.at <= until and record.text("event_name") in events for record in records)


def _events(seen: JsonValue) -> frozenset[str]:
    """Read the events of a fault as the history has them."""
    return frozenset(str(name) for name in seen) if isinstance(seen, list) else frozenset()
