"""Purges the histories of jobs that ended long enough ago, and old worker heartbeats."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.stream_scan import Entry, probe_scan, scan_stream
from trellis_nats._nats.jetstream.streams import get_last_message, purge_stream
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.plural import plural
from trellis_nats.binding import JobsBinding
from trellis_nats.ids import new_id
from trellis_nats.jobs.maintenance.retention import group_by_age, is_due, job_filter
from trellis_nats.jobs.maintenance.worker_heartbeat import heartbeat_filter
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import STREAM
from trellis_nats.options import Retention

__all__ = ["JobCleaner"]

_log = logging.getLogger(__name__)

_PURGES_PER_SECOND: Final = 1_000
"""A purge costs a server 0.4 to 0.9 ms. While a consumer with filters reads the stream, a purge costs more, growing with
the stream: 20 ms at 60,000 messages (docs/decisions/0009). So a scan always ends before the first purge."""
_CHECKED_AT_ONCE: Final = 64
"""How many jobs are checked between two checks whether to continue."""
_HEARTBEATS_KEPT: Final = timedelta(days=1)
"""How long it is known that a process has run."""
_ALL_HEARTBEATS_KEPT: Final = timedelta(hours=1)
"""The stream keeps every heartbeat: 2,880 a day for each queue of each instance. Readers need only the newest, so of older ones
`_NEWEST_KEPT` stay."""
_NEWEST_KEPT: Final = 3


@dataclass(frozen=True, slots=True)
class _Criteria:
    """The jobs that may be purged."""

    events: list[EventType]
    until: datetime
    """Jobs that ended later are kept."""


@dataclass(frozen=True, slots=True)
class _EndedJob:
    """A job that may be purged."""

    filter: str
    """Matches every event of the job."""
    sequence: int
    """The sequence of its last event."""


class JobCleaner:
    """Purges the ended jobs of all queues of a service."""

    def __init__(self, connection: Connection, jobs: JobsBinding) -> None:
        self._connection = connection
        self._jobs = jobs
        self._prefixes = [queue.publish_prefix for queue in jobs.queues.values()]
        self._scan_rate = RateLimit()
        self._purge_rate = RateLimit(_PURGES_PER_SECOND)

    async def probe(self) -> None:
        """Check whether the account may scan and purge, by purging a job that does not exist.

        Raises:
            PermissionDenied: the account may not.
            TransportError: NATS did not answer.
        """
        await probe_scan(self._connection, STREAM, self._filters([EventType.COMPLETED]))
        await self._purge(f"{self._prefixes[0]}.{new_id()}.>", up_to=0)

    async def run(
        self, retention: Retention, *, limit: int, may_continue: Callable[[], bool] = lambda: True
    ) -> int:
        """Purge the jobs that are due, and return how many.

        Args:
            retention: how long a job is kept after its end.
            limit: how many jobs are purged at most.
            may_continue: the run stops early once this returns False.

        Raises:
            PermissionDenied: the account may not scan or purge.
            TransportError: NATS did not answer. Jobs that were already purged stay purged.
        """
        purged = 0
        for age, events in group_by_age(retention).items():
            purged += await self._purge_group(age, events, limit - purged, may_continue)
        if purged:
            _log.info("purged %s", plural(purged, "ended job"), extra=log_fields(LogEvent.JOBS_PURGED))
        return purged

    async def purge_heartbeats(
        self,
        *,
        kept: timedelta = _HEARTBEATS_KEPT,
        all_kept: timedelta = _ALL_HEARTBEATS_KEPT,
        may_continue: Callable[[], bool] = lambda: True,
    ) -> None:
        """Purge worker heartbeats: all that are older than a day, and of those older than an hour all but the newest of a worker.

        Args:
            kept: the age from which all are purged.
            all_kept: the age up to which none is.
            may_continue: the run stops early once this returns False.

        Raises:
            PermissionDenied: the account may not scan or purge.
            TransportError: NATS did not answer. What was already purged stays purged.
        """
        heartbeats = heartbeat_filter(self._jobs.namespace)
        too_old, old = 0, dict[str, int]()
        newest: defaultdict[str, deque[int]] = defaultdict(deque)
        # As of jobs, the scan ends before the first purge.
        async with scan_stream(self._connection, STREAM, [heartbeats], rate_limit=self._scan_rate) as scan:
            async for page in scan.pages():
                for entry in page:
                    later = newest[entry.subject]
                    if entry.time <= scan.now - kept:
                        too_old = entry.sequence
                    elif entry.time <= scan.now - all_kept:
                        later.append(entry.sequence)
                    if len(later) > _NEWEST_KEPT:
                        old[entry.subject] = later.popleft()
                if page[-1].time > scan.now - all_kept:
                    break
        if too_old:
            await self._purge(heartbeats, up_to=too_old)
        for subject, sequence in old.items():
            if not may_continue():
                return
            await self._purge_rate.spend(1)
            await self._purge(subject, up_to=sequence)

    async def _purge_group(
        self, age: timedelta, events: list[EventType], limit: int, may_continue: Callable[[], bool]
    ) -> int:
        criteria, entries = await self._find(age, events, limit)
        purged = 0
        for start in range(0, len(entries), _CHECKED_AT_ONCE):
            if not may_continue():
                break
            for job in await bounded_gather(
                entries[start : start + _CHECKED_AT_ONCE], lambda entry: self._check(entry, criteria)
            ):
                # One after another: a server processes purges one by one, and the last of many would time out.
                if job is not None:
                    await self._purge_rate.spend(1)
                    purged += await self._purge(job.filter, up_to=job.sequence) > 0
        return purged

    async def _find(
        self, age: timedelta, events: list[EventType], limit: int
    ) -> tuple[_Criteria, list[Entry]]:
        """List the final events that are old enough. The scan ends before the first purge: see `_PURGES_PER_SECOND`."""
        entries: list[Entry] = []
        async with scan_stream(
            self._connection, STREAM, self._filters(events), rate_limit=self._scan_rate
        ) as scan:
            criteria = _Criteria(events, scan.now - age)
            async for page in scan.pages():
                old = [entry for entry in page if entry.time <= criteria.until]
                entries += old[: limit - len(entries)]
                if len(old) < len(page) or len(entries) >= limit:
                    break
        return criteria, entries

    async def _check(self, entry: Entry, criteria: _Criteria) -> _EndedJob | None:
        """Read the newest event of a job. None: the job must stay, or is already purged."""
        job = job_filter(entry.subject)
        newest = None if job is None else await get_last_message(self._connection, STREAM, job)
        if job is None or newest is None:
            return None
        event = LifecycleEvent.parse(newest.data)
        due = is_due(event, stored=newest.time, until=criteria.until, events=criteria.events)
        return _EndedJob(job, newest.sequence) if due else None

    async def _purge(self, subject_filter: str, *, up_to: int) -> int:
        """Purge up to a sequence: an event stored after the check, such as an operator's retry, stays."""
        return await purge_stream(self._connection, STREAM, subject_filter, up_to=up_to)

    def _filters(self, events: list[EventType]) -> list[str]:
        return [f"{prefix}.*.{event}" for prefix in self._prefixes for event in events]
