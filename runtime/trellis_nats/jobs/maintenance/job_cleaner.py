"""Clears the histories of jobs away that ended long enough ago, and old signs of life of workers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.stream_scan import Entry, probe_scan, scan_stream
from trellis_nats._nats.jetstream.streams import last_message, purge_stream
from trellis_nats.binding import JobsBinding
from trellis_nats.ids import new_id
from trellis_nats.jobs.maintenance.bounded_gather import bounded_gather
from trellis_nats.jobs.maintenance.retention import ages, is_due, job_filter
from trellis_nats.jobs.maintenance.worker_heartbeat import heartbeat_filter
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import STREAM
from trellis_nats.options import Retention

__all__ = ["JobCleaner"]

_log = logging.getLogger(__name__)

_PER_SECOND: Final = 1_000
"""A purge costs a server 0.4 to 0.9 ms. While a consumer with filters reads the stream it costs more, the more the
stream holds: 20 ms at 60,000 messages (docs/decisions/0009). So nothing is listed while something is purged."""
_CHECKED: Final = 64
"""How many are looked at between two looks at the lease."""
_PRESENCE_KEPT: Final = timedelta(days=1)
"""The stream keeps every sign of life: 2,880 a day for each queue of each instance. Readers want the newest."""


@dataclass(frozen=True, slots=True)
class _Due:
    """What is looked for."""

    events: list[EventType]
    until: datetime
    """Jobs that ended later are kept."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """A job that may go."""

    filter: str
    """Every event of it."""
    sequence: int
    """Of its end."""


class JobCleaner:
    """Purges the ended jobs of every queue of a service."""

    def __init__(self, connection: Connection, jobs: JobsBinding) -> None:
        self._connection = connection
        self._jobs = jobs
        self._prefixes = [queue.publish_prefix for queue in jobs.queues.values()]
        self._listing_pace = RateLimit()
        self._rate_limit = RateLimit(_PER_SECOND)

    async def probe(self) -> None:
        """See whether the account may do this: purge a job that does not exist.

        Raises:
            PermissionDenied: it may not.
            TransportError: NATS did not answer.
        """
        await probe_scan(self._connection, STREAM, self._filters([EventType.COMPLETED]))
        await self._purge(f"{self._prefixes[0]}.{new_id()}.>", up_to=0)

    async def run(
        self, retention: Retention, *, limit: int, may_go_on: Callable[[], bool] = lambda: True
    ) -> int:
        """Purge what is due, `limit` jobs at most; stop early when `may_go_on` says no. Return how many jobs it was.

        Raises:
            PermissionDenied: the account may not do this.
            TransportError: NATS did not answer. What was purged until then stays purged.
        """
        purged = 0
        for age, events in ages(retention).items():
            purged += await self._run(age, events, limit - purged, may_go_on)
        if purged:
            _log.info("purged %d ended jobs", purged)
        return purged

    async def clear_presence(self, *, kept: timedelta = _PRESENCE_KEPT) -> None:
        """Purge the signs of life that are older than a day. Raises as `run`."""
        signs = heartbeat_filter(self._jobs.namespace)
        async with scan_stream(self._connection, STREAM, [signs], rate_limit=self._listing_pace) as found:
            async for page in found.pages():
                old = [entry for entry in page if entry.time <= found.now - kept]
                if old:
                    await self._purge(signs, up_to=old[-1].sequence)
                if len(old) < len(page):
                    break

    async def _run(
        self, age: timedelta, events: list[EventType], limit: int, may_go_on: Callable[[], bool]
    ) -> int:
        due, entries = await self._find(age, events, limit)
        purged = 0
        for start in range(0, len(entries), _CHECKED):
            if not may_go_on():
                break
            for ended in await bounded_gather(
                entries[start : start + _CHECKED], lambda entry: self._ended(entry, due)
            ):
                # One after the other: a server works them off so anyway, and the last of many would time out.
                if ended is not None:
                    await self._rate_limit.spend(1)
                    purged += await self._purge(ended.filter, up_to=ended.sequence) > 0
        return purged

    async def _find(self, age: timedelta, events: list[EventType], limit: int) -> tuple[_Due, list[Entry]]:
        """List the ends that are old enough. The listing is over before anything is purged: see `_PER_SECOND`."""
        entries: list[Entry] = []
        async with scan_stream(
            self._connection, STREAM, self._filters(events), rate_limit=self._listing_pace
        ) as found:
            due = _Due(events, found.now - age)
            async for page in found.pages():
                old = [entry for entry in page if entry.time <= due.until]
                entries += old[: limit - len(entries)]
                if len(old) < len(page) or len(entries) >= limit:
                    break
        return due, entries

    async def _ended(self, entry: Entry, due: _Due) -> _Ended | None:
        job = job_filter(entry.subject)
        newest = None if job is None else await last_message(self._connection, STREAM, job)
        if job is None or newest is None:
            return None
        event = LifecycleEvent.parse(newest.data)
        is_over = is_due(event, stored=newest.time, until=due.until, events=due.events)
        return _Ended(job, newest.sequence) if is_over else None

    async def _purge(self, subject_filter: str, *, up_to: int) -> int:
        """Purge up to a sequence: what was written after the decision, such as an operator's retry, stays."""
        return await purge_stream(self._connection, STREAM, subject_filter, up_to=up_to)

    def _filters(self, events: list[EventType]) -> list[str]:
        return [f"{prefix}.*.{event}" for prefix in self._prefixes for event in events]
