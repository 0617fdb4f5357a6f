"""Waits in a test for what the runtime logs, by event name and fields instead of text."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from trellis_nats._support.log_events import LogEvent
from trellis_nats.clock import describe_duration

__all__ = ["LogSignals"]

_TIMEOUT: Final = timedelta(seconds=20)


class LogSignals(logging.Handler):
    """Collects the records of the runtime's loggers within a `with` block.

    ```python
    with LogSignals() as signals:
        ...
        record = await signals.wait_for(LogEvent.JOB_RETRIED, job_id=ref.id)
    ```
    """

    def __init__(self, level: int = logging.DEBUG) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []
        """Every record that names an event, oldest first."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._logger: Final = logging.getLogger("trellis_nats")
        self._level_before = self._logger.level

    def __enter__(self) -> Self:
        """Begin to collect."""
        self._level_before = self._logger.level
        self._logger.setLevel(min(self.level, self._logger.getEffectiveLevel()))
        self._logger.addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop collecting."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level_before)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; called from any thread."""
        if hasattr(record, "event_name"):
            self.records.append(record)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._changed.set)

    def of(self, event: LogEvent, **fields: object) -> list[logging.LogRecord]:
        """Return the records of an event whose fields have these values."""
        wanted = {"event_name": str(event), **fields}
        return [record for record in self.records if wanted.items() <= vars(record).items()]

    async def wait_for(
        self, event: LogEvent, *, count: int = 1, timeout: timedelta = _TIMEOUT, **fields: object
    ) -> logging.LogRecord:
        """Wait until an event was logged `count` times, and return the last of these records.

        Raises:
            TimeoutError: it was not; the names of the events that were logged are in the message.
        """
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                while len(found := self.of(event, **fields)) < count:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = [f"{vars(record)['event_name']} {record.getMessage()!r}" for record in self.records]
            raise TimeoutError(
                f"{event} {fields} was not logged within {describe_duration(timeout)}; logged: {seen}"
            ) from None
        return found[count - 1]
