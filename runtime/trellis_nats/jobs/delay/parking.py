"""Parks jobs that wait for long: the server publishes them again when they are due.

A delayed redelivery is a delivery that is not acknowledged, and a consumer has a limited number of those. So a job that
waits for minutes is stored in a stream of its own, as a schedule of the server (nats-facts.md, section 1), and its work
message is acknowledged. At every step another message or the job's history still holds it:

1. The history says first how long the job waits: `created` or `retry` with `notBefore`.
2. The schedule is stored. One subject holds one schedule, so that storing it again replaces it.
3. The work message is acknowledged. If that is lost, the message is redelivered, and the steps are repeated.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.repeat_write import repeat_write
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.clock import Clock, later, timestamp
from trellis_nats.errors import ApiError, NoResponders, PermissionDenied
from trellis_nats.jobs.delay.server_clock import ServerClock
from trellis_nats.jobs.model.job_streams import SCHEDULES_SINCE
from trellis_nats.jobs.model.parked_job import ParkedJob
from trellis_nats.jobs.model.subjects import DELAYED_STREAM, JobSubjects

__all__ = ["Parking"]

_log = logging.getLogger(__name__)

_LONGEST: Final = timedelta(days=30)
"""A longer wait is parked again in between: a server counts to the year 2262, and the history of a job that has not begun
is stored again then (`executor`)."""
_AT_ONCE: Final = 256
"""How many jobs are parked at the same time."""
_PAUSE: Final = 30.0
"""Seconds without an attempt to park after the stream refused."""


class Parking:
    """Parks the jobs of one queue, while this process also pulls those that are due."""

    def __init__(
        self,
        connection: Connection,
        subjects: JobSubjects,
        server_clock: ServerClock,
        *,
        queue: str,
        timeout: timedelta,
        clock: Clock,
        stopping: asyncio.Event,
    ) -> None:
        """Prepare; nothing is parked before `is_open` is set.

        Args:
            connection: the service's connection.
            subjects: the subjects of the queue.
            server_clock: the server's clock.
            queue: the queue's name, for the log.
            timeout: how long one write may take.
            clock: the clock by which jobs wait.
            stopping: set when the worker stops.
        """
        self.is_open = False
        """Whether this process pulls the jobs that are due. Only then it parks."""
        self.room = asyncio.Semaphore(_AT_ONCE)
        """Limits how many jobs are parked at the same time, or wait here because they came a little early."""
        self.server_clock = server_clock
        """The server's clock."""
        self.clock = clock
        """The clock by which jobs wait."""
        self._stopping = stopping
        self._connection = connection
        self._subjects = subjects
        self._queue = queue
        self._timeout = timeout
        self._refused_until = float("-inf")
        self._log_throttle = LogThrottle(_log)

    def is_possible(self) -> bool:
        """Return whether a job can be parked now. If not, its message is redelivered later."""
        # A cluster may have servers of several versions; an older one would store the schedule as a plain message.
        is_known = self._connection.server_version >= SCHEDULES_SINCE
        return self.is_open and is_known and monotonic() >= self._refused_until

    async def wait_here(self, delay: timedelta, job_id: str) -> None:
        """Let a job wait in this process, until the worker stops."""
        await self.clock.wait(self._stopping, delay, what=job_id)

    async def park(self, job_id: str, *, event: str, sequence: int, delay: timedelta) -> bool:
        """Store the schedule of a job that waits for a delay. Return False when the stream does not take it.

        Args:
            job_id: the job.
            event: the event that made it work: `created` or `retried`.
            sequence: the sequence of that event.
            delay: how long it waits.

        Raises:
            TransportError: NATS did not answer; the job may be parked. Parking it again does no harm.
        """
        until = later(self.server_clock.now(), min(delay, _LONGEST))
        subject = self._subjects.parked(job_id)
        try:
            await repeat_write(
                partial(
                    publish_acked,
                    self._connection,
                    subject,
                    ParkedJob.of(job_id, event, sequence, until).encode(),
                    headers={
                        "Nats-Schedule": f"@at {timestamp(until)}",
                        "Nats-Schedule-Target": self._subjects.due,
                        "Nats-Expected-Stream": DELAYED_STREAM,
                    },
                    timeout=self._timeout,
                ),
                what=subject,
                queue=self._queue,
                job_id=job_id,
            )
        except (ApiError, NoResponders, PermissionDenied) as error:
            self._refused_until = monotonic() + _PAUSE
            self._log_throttle.write(
                logging.WARNING,
                type(error).__name__,
                "queue %s: jobs that wait are not parked for %d s, and hold deliveries: %s",
                self._queue,
                int(_PAUSE),
                error,
                extra=log_fields(LogEvent.PARKING_REFUSED, queue=self._queue, job_id=job_id),
            )
            return False
        return True
