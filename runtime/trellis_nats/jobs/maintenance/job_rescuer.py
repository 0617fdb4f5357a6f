"""Finds accepted jobs that no worker will ever get, and enqueues them again.

A server can lose a message between JOBS and JOBS_WORK, and an operator can purge the latter (faults.md, fact 4).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum, auto
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.stream_scan import probe_scan, scan_stream
from trellis_nats._nats.jetstream.streams import StoredMessage, last_message
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.errors import ApiError
from trellis_nats.ids import is_token
from trellis_nats.jobs.maintenance.bounded_gather import bounded_gather
from trellis_nats.jobs.maintenance.lost_job import LostJobVerdict, judge
from trellis_nats.jobs.maintenance.open_jobs import SCANNED, OpenJobs, Seed
from trellis_nats.jobs.maintenance.report import ReconcileReport
from trellis_nats.jobs.maintenance.work_index import Backlog
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects
from trellis_nats.jobs.store.liveness import Liveness

__all__ = ["JobRescuer"]

_log = logging.getLogger(__name__)

_OPEN_MAX: Final = 10_000
"""How many open jobs of a queue are held in memory, about 3 MB."""
_LOGGED_MAX: Final = 20
"""How many lost jobs get a log line of their own; the rest are counted in one."""
_COST: Final = 5
"""What a look at a job costs, in messages of a listing: about 0.2 ms (docs/decisions/0009)."""
_FROM_THE_START: Final = timedelta(hours=1)
"""How often everything is read again, as after every reconnect: a power cut may have rolled back what was read. New jobs
then lie before the place where the last reading ended, and a work stream that was not rolled back sources none of them."""


class _Fate(Enum):
    """What became of a job that has no work message."""

    LEFT = auto()
    """It has ended, or has had no time to come to a worker."""
    RUNNING = auto()
    ENQUEUED = auto()
    UNDECIDED = auto()


class JobRescuer:
    """Reconciles every queue of a service. It remembers how far it has read, so a second round is cheap."""

    def __init__(
        self, connection: Connection, jobs: JobsBinding, claims: Liveness, *, lost_after: timedelta
    ) -> None:
        rate_limit = RateLimit()
        self._connection = connection
        self._queues = [
            _QueueReconciler(connection, jobs, queue, claims, rate_limit=rate_limit, lost_after=lost_after)
            for queue in jobs.queues.values()
        ]

    async def probe(self) -> None:
        """See whether the account may do this, as far as that can be seen without doing it.

        Raises:
            PermissionDenied: it may not.
            TransportError: NATS did not answer.
        """
        for queue in self._queues:
            await queue.probe()

    async def run(self, may_go_on: Callable[[], bool] = lambda: True) -> ReconcileReport:
        """Look at every open job once; stop early when `may_go_on` says no. Return what was found.

        Raises:
            PermissionDenied: the account may not do this.
            TransportError: NATS did not answer. The next round begins where this one ended.
        """
        report = ReconcileReport()
        for queue in self._queues:
            report += await queue.run(may_go_on)
        return report


class _QueueReconciler:
    """Reconciles one queue."""

    def __init__(
        self,
        connection: Connection,
        jobs: JobsBinding,
        queue: QueueBinding,
        claims: Liveness,
        *,
        rate_limit: RateLimit,
        lost_after: timedelta,
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._subjects = JobSubjects(queue.publish_prefix)
        self._filters = [f"{queue.publish_prefix}.*.{event}" for event in SCANNED]
        self._backlog = Backlog(connection, jobs.work_stream, queue, rate_limit)
        self._claims = claims
        self._rate_limit = rate_limit
        self._lost_after = lost_after
        self._open = OpenJobs(_OPEN_MAX)
        self._began_at = float("-inf")
        self._link = connection.link

    async def probe(self) -> None:
        await probe_scan(self._connection, STREAM, self._filters)
        await self._backlog.probe()

    async def run(self, may_go_on: Callable[[], bool]) -> ReconcileReport:
        link = self._connection.link
        if link is not self._link or monotonic() - self._began_at >= _FROM_THE_START.total_seconds():
            self._open, self._began_at, self._link = OpenJobs(_OPEN_MAX), monotonic(), link
        report = ReconcileReport()
        after = self._open.position
        async with scan_stream(
            self._connection, STREAM, self._filters, rate_limit=self._rate_limit, after=after
        ) as found:
            async for page in found.pages():
                for entry in page:
                    parsed = self._subjects.parse(entry.subject)
                    if parsed is not None and is_token(parsed[0]):
                        self._open.see(Seed(*parsed, entry.sequence, entry.time))
                if self._open.is_full:
                    report += await self._settle(found.now, may_go_on)
                    self._open.make_room()
                if not may_go_on():
                    break
        report += await self._settle(found.now, may_go_on)
        self._open.rewind()
        return report

    async def _settle(self, at: datetime, may_go_on: Callable[[], bool]) -> ReconcileReport:
        """Deal with the open jobs that are in memory."""
        old = self._open.older_than(at - self._lost_after)
        try:
            missing = await self._backlog.without_message({seed.job_id for seed in old})
        except ApiError as error:
            _log.warning("queue %s cannot be reconciled: %s", self._queue.queue_type, error)
            return ReconcileReport(examined=len(old), undecided=len(old))
        without = [seed for seed in old if seed.job_id in missing]

        async def rescue(seed: Seed) -> _Fate:
            return await self._rescue(seed, at) if may_go_on() else _Fate.LEFT

        fates = await bounded_gather(without, rescue)
        enqueued = [seed.job_id for seed, fate in zip(without, fates, strict=True) if fate is _Fate.ENQUEUED]
        self._tell(enqueued)
        return ReconcileReport(
            examined=len(old),
            waiting=len(old) - len(without),
            running=fates.count(_Fate.RUNNING),
            enqueued=len(enqueued),
            undecided=fates.count(_Fate.UNDECIDED),
        )

    async def _rescue(self, seed: Seed, at: datetime) -> _Fate:
        """Enqueue a job again that has no work message, if nothing but that explains its history.

        Its newest event is read after its message was missed: had a worker taken the message away, it would show.
        """
        job_id = seed.job_id
        await self._rate_limit.spend(_COST)
        newest = await self._read(self._subjects.job(job_id))
        event = None if newest is None else LifecycleEvent.parse(newest.data)
        if newest is None:
            self._open.drop(job_id)  # purged since
            return _Fate.LEFT
        if event is None:  # of a newer version, for example: it may be readable later
            _log.warning("job %s: message %d of its history cannot be read", job_id, newest.sequence)
            return _Fate.UNDECIDED
        judgement = judge(
            event,
            age=at - newest.time,
            ack_wait=self._queue.ack_wait,
            backoff=self._queue.backoff,
            lost_after=self._lost_after,
        )
        match judgement:
            case LostJobVerdict.ENDED:
                self._open.drop(job_id)
                return _Fate.LEFT
            case LostJobVerdict.YOUNG:
                return _Fate.LEFT
            case LostJobVerdict.LOST_WITHOUT_WORKER if await self._is_running(job_id):
                return _Fate.RUNNING
            case _:
                return await self._enqueue(seed)

    async def _enqueue(self, seed: Seed) -> _Fate:
        """Publish the event that made the job work, as it is stored. Workers drop it if it comes too often."""
        stored = await self._read(self._subjects.event(seed.job_id, seed.event))
        event = None if stored is None else LifecycleEvent.parse(stored.data)
        if stored is None or event is None or stored.sequence != seed.sequence or event.job_id != seed.job_id:
            return _Fate.LEFT
        ack = await publish_acked(
            self._connection,
            self._queue.work_subject,
            stored.data,
            headers=event.job_context().headers(),
            message_id=f"{seed.job_id}.reconciled.{seed.sequence}",
        )
        # A duplicate was enqueued a moment ago, and lost again: the stream takes the id again a little later.
        return _Fate.UNDECIDED if ack.duplicate else _Fate.ENQUEUED

    def _tell(self, enqueued: list[str]) -> None:
        for job_id in enqueued[:_LOGGED_MAX]:
            _log.warning("job %s of queue %s was lost and is enqueued again", job_id, self._queue.queue_type)
        if len(enqueued) > _LOGGED_MAX:
            _log.warning("queue %s: so were %d others", self._queue.queue_type, len(enqueued) - _LOGGED_MAX)

    async def _is_running(self, job_id: str) -> bool:
        started = await self._read(self._subjects.event(job_id, EventType.STARTED))
        event = None if started is None else LifecycleEvent.parse(started.data)
        return event is not None and await self._claims.is_held(job_id, event.instance_id)

    async def _read(self, subject: str) -> StoredMessage | None:
        return await last_message(self._connection, STREAM, subject)
