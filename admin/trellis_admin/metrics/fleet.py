"""Puts the measurements of a fleet together. What the server does not answer is missing, and said to be."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from trellis_nats._nats.connection import Connection
from trellis_nats.clock import now
from trellis_nats.errors import TransportError

from trellis_admin.metrics.exposition import Measurement, to_text
from trellis_admin.metrics.families import DUTY_JOBS, IS_LEADER, SERVER_ANSWERS, STREAM_SEQUENCE
from trellis_admin.metrics.projected import measure_projection, measure_status, recent_queues
from trellis_admin.metrics.server import QueuePlace, measure_consumers, measure_pauses, measure_streams
from trellis_admin.metrics.unsourced import WaitingJob, find_waiting, measure_unsourced
from trellis_admin.projection import connect_reader

__all__ = ["FleetMetrics"]

_EVENTS: Final = ("JOBS",)


class Duties(Protocol):
    """What the duties of this process have done."""

    @property
    def is_leader(self) -> bool:
        """Whether this replica runs them now."""
        ...

    @property
    def expired(self) -> int:
        """How many jobs this replica has expired."""
        ...

    @property
    def buried(self) -> int:
        """How many jobs it has marked as dead."""
        ...


class FleetMetrics:
    """Measures a fleet each time that it is asked."""

    def __init__(self, connection: Connection, path: Path, *, duties: Duties | None = None) -> None:
        """Prepare.

        Args:
            connection: to the server.
            path: the file of the projection. What is measured is as new as it is.
            duties: those of this process.
        """
        self._connection = connection
        self._path = path
        self._duties = duties

    async def measure(self) -> list[Measurement]:
        """Return all measurements.

        Raises:
            ProjectionProblem: the file of the projection cannot be read.
        """
        at = now()
        queues, projected = await asyncio.to_thread(self._read_projection, at)
        streams, *others = await asyncio.gather(
            self._ask("streams", measure_streams(self._connection)),
            self._ask("consumers", measure_consumers(self._connection, queues)),
            self._ask("pauses", measure_pauses(self._connection, queues)),
            self._ask("work_messages", self._measure_unsourced(queues, at)),
        )
        last = next(
            (
                int(value)
                for family, labels, value in streams
                if (family, labels) == (STREAM_SEQUENCE, _EVENTS)
            ),
            None,
        )
        status = await asyncio.to_thread(self._read, lambda db: measure_status(db, at, last))
        return [*projected, *status, *streams, *(one for part in others for one in part), *self._duty()]

    async def text(self) -> str:
        """Return all measurements as Prometheus reads them. Raises as `measure`."""
        return to_text(await self.measure())

    def _read_projection(self, at: datetime) -> tuple[list[QueuePlace], list[Measurement]]:
        with closing(connect_reader(self._path)) as db:
            rows = recent_queues(db, at)
            queues = [QueuePlace(row.service, row.queue, row.prefix) for row in rows]
            return queues, measure_projection(db, at, rows)

    def _read(self, measure: Callable[[sqlite3.Connection], list[Measurement]]) -> list[Measurement]:
        with closing(connect_reader(self._path)) as db:
            return measure(db)

    async def _measure_unsourced(self, queues: Sequence[QueuePlace], at: datetime) -> list[Measurement]:
        with closing(connect_reader(self._path)) as db:
            # Each look-up reads a few rows by an index: a thread would take longer than the query.
            def find(queue: QueuePlace, after: int) -> WaitingJob | None:
                return find_waiting(db, queue, after)

            return await measure_unsourced(self._connection, queues, find, now=at)

    async def _ask(self, part: str, asking: Coroutine[None, None, list[Measurement]]) -> list[Measurement]:
        try:
            found = await asking
        except TransportError:
            return [Measurement(SERVER_ANSWERS, (part,), 0)]
        return [*found, Measurement(SERVER_ANSWERS, (part,), 1)]

    def _duty(self) -> list[Measurement]:
        duties = self._duties
        if duties is None:
            return []
        return [
            Measurement(IS_LEADER, (), int(duties.is_leader)),
            Measurement(DUTY_JOBS, ("expired",), duties.expired),
            Measurement(DUTY_JOBS, ("dead",), duties.buried),
        ]
