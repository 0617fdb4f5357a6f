"""Finds accepted jobs that no worker will receive, and enqueues them again.

A server can lose a message between JOBS and JOBS_WORK, and an operator can purge JOBS_WORK (faults.md, fact 4).
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
from trellis_nats._nats.jetstream.streams import StoredMessage, get_last_message
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.plural import plural
from trellis_nats._versions import DIGEST_HEADER, digest_of
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.errors import ApiError, NoResponders, PermissionDenied
from trellis_nats.ids import is_token
from trellis_nats.jobs.maintenance.lost_job import LostJobDecision, decide
from trellis_nats.jobs.maintenance.open_jobs import SCANNED_EVENTS, OpenJobs, ScannedEvent
from trellis_nats.jobs.maintenance.rescue_report import RescueReport
from trellis_nats.jobs.maintenance.work_index import MessageIndex, ParkedIndex
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import DELAYED_STREAM, STREAM, JobSubjects
from trellis_nats.jobs.store.liveness import Liveness

__all__ = ["JobRescuer"]

_log = logging.getLogger(__name__)

_OPEN_MAX: Final = 10_000
"""How many open jobs of a queue are held in memory: about 3 MB."""
_LOGGED_MAX: Final = 20
"""How many lost jobs get their own log record; the rest are counted in one."""
_COST: Final = 5
"""What checking one job costs, in messages of a scan: about 0.2 ms (docs/decisions/0009)."""
_FULL_SCAN_EVERY: Final = timedelta(hours=1)
"""How often the stream is scanned from its start, which also happens after every reconnect: a power cut may have rolled
the stream back. New jobs then lie before the position where the last scan ended, and a work stream that was not rolled
back does not source them."""


class _Result(Enum):
    """What happened to a job that has no work message."""

    NOT_LOST = auto()
    """It has ended, or its work message may still be on its way."""
    RUNNING = auto()
    ENQUEUED = auto()
    UNDECIDED = auto()


class JobRescuer:
    """Finds the lost jobs of all queues of a service. It remembers how far it has scanned, so later runs are cheap."""

    def __init__(
        self, connection: Connection, jobs: JobsBinding, liveness: Liveness, *, lost_after: timedelta
    ) -> None:
        rate_limit = RateLimit()
        self._queues = [
            _QueueRescuer(connection, jobs, queue, liveness, rate_limit=rate_limit, lost_after=lost_after)
            for queue in jobs.queues.values()
        ]

    async def probe(self) -> None:
        """Check whether the account may read what a run reads. It does not write.

        Raises:
            PermissionDenied: the account may not.
            TransportError: NATS did not answer.
        """
        for queue in self._queues:
            await queue.probe()

    async def run(self, may_continue: Callable[[], bool] = lambda: True) -> RescueReport:
        """Check every open job once, and return the counts. Stops early once `may_continue` returns False.

        Raises:
            PermissionDenied: the account may not scan JOBS or publish work.
            TransportError: NATS did not answer. The next run continues where this one ended.
        """
        report = RescueReport()
        for queue in self._queues:
            report += await queue.run(may_continue)
        _log.debug("searched for lost jobs: %s", report, extra=log_fields(LogEvent.LOST_JOBS_SEARCHED))
        return report


class _QueueRescuer:
    """Finds the lost jobs of one queue."""

    def __init__(
        self,
        connection: Connection,
        jobs: JobsBinding,
        queue: QueueBinding,
        liveness: Liveness,
        *,
        rate_limit: RateLimit,
        lost_after: timedelta,
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._subjects = JobSubjects(queue.publish_prefix)
        self._filters = [f"{queue.publish_prefix}.*.{event}" for event in SCANNED_EVENTS]
        self._work_index = MessageIndex(
            connection,
            rate_limit,
            stream=jobs.work_stream,
            subject=queue.work_subject,
            consumer=queue.consumer_name,
        )
        # In this order: a job moves from the work stream to where it is parked, and from there to where it is due.
        self._delayed_indexes: list[MessageIndex] = [
            ParkedIndex(connection, rate_limit, stream=DELAYED_STREAM, subject=self._subjects.parked("*")),
            MessageIndex(
                connection,
                rate_limit,
                stream=DELAYED_STREAM,
                subject=self._subjects.due,
                consumer=queue.consumer_name,
            ),
        ]
        self._has_probed_delayed = False
        self._liveness = liveness
        self._rate_limit = rate_limit
        self._lost_after = lost_after
        self._open = OpenJobs(_OPEN_MAX)
        self._full_scan_at = float("-inf")
        self._link = connection.link

    async def probe(self) -> None:
        await probe_scan(self._connection, STREAM, self._filters)
        await self._work_index.probe()

    async def run(self, may_continue: Callable[[], bool]) -> RescueReport:
        link = self._connection.link
        if link is not self._link or monotonic() - self._full_scan_at >= _FULL_SCAN_EVERY.total_seconds():
            self._open, self._full_scan_at, self._link = OpenJobs(_OPEN_MAX), monotonic(), link
        report = RescueReport()
        after = self._open.position
        async with scan_stream(
            self._connection, STREAM, self._filters, rate_limit=self._rate_limit, after=after
        ) as scan:
            async for page in scan.pages():
                for entry in page:
                    parsed = self._subjects.parse(entry.subject)
                    if parsed is not None and is_token(parsed[0]):
                        self._open.add(ScannedEvent(*parsed, entry.sequence, entry.time))
                if self._open.is_full:
                    report += await self._check_open_jobs(scan.now, may_continue)
                    self._open.clear()
                if not may_continue():
                    break
        report += await self._check_open_jobs(scan.now, may_continue)
        self._open.rewind()
        return report

    async def _check_open_jobs(self, at: datetime, may_continue: Callable[[], bool]) -> RescueReport:
        """Check the open jobs that are in memory, and enqueue the lost ones."""
        opened = self._open.opened_before(at - self._lost_after)
        try:
            missing = await self._work_index.find_missing({event.job_id for event in opened}, at=at)
        except ApiError as error:
            fields = log_fields(LogEvent.MAINTENANCE_FAILED, queue=self._queue.queue_type)
            _log.warning(
                'queue "%s": the search for lost jobs failed: the work stream cannot be read: %s',
                self._queue.queue_type,
                error,
                extra=fields,
            )
            return RescueReport(examined=len(opened), undecided=len(opened))
        missing = await self._find_not_parked(missing, at)
        without_message = [event for event in opened if event.job_id in missing]

        async def rescue(event: ScannedEvent) -> _Result:
            return await self._rescue(event, at) if may_continue() else _Result.NOT_LOST

        results = await bounded_gather(without_message, rescue)
        enqueued = [
            event.job_id
            for event, result in zip(without_message, results, strict=True)
            if result is _Result.ENQUEUED
        ]
        self._log_rescued(enqueued)
        return RescueReport(
            examined=len(opened),
            waiting=len(opened) - len(without_message),
            running=results.count(_Result.RUNNING),
            enqueued=len(enqueued),
            undecided=results.count(_Result.UNDECIDED),
        )

    async def _find_not_parked(self, job_ids: set[str], at: datetime) -> set[str]:
        """Return those of the jobs that are neither parked nor due after they were parked.

        Where that cannot be read, or no stream parks jobs, all of them: their events say how long they wait.
        """
        try:
            if job_ids and not self._has_probed_delayed:
                await self._delayed_indexes[0].probe()
                self._has_probed_delayed = True
            for index in self._delayed_indexes:
                job_ids = await index.find_missing(job_ids, at=at)
        except PermissionDenied as denial:
            self._delayed_indexes = []
            queue = self._queue.queue_type
            fields = log_fields(LogEvent.PERMISSIONS_LIMITED, queue=queue)
            _log.info('queue "%s": cannot read which jobs are parked: %s', queue, denial, extra=fields)
        except (ApiError, NoResponders) as error:
            fields = log_fields(LogEvent.PARKING_OFF, queue=self._queue.queue_type)
            _log.debug("no jobs are parked: %s", error, extra=fields)
        return job_ids

    async def _rescue(self, opened: ScannedEvent, at: datetime) -> _Result:
        """Enqueue a job that has no work message, unless its history explains why.

        Its newest event is read after its message was found missing: if a worker took the message, the event shows it.
        """
        job_id = opened.job_id
        await self._rate_limit.spend(_COST)
        newest = await self._read(self._subjects.job(job_id))
        event = None if newest is None else LifecycleEvent.parse(newest.data)
        if newest is None:
            self._open.remove(job_id)  # purged since the scan
            return _Result.NOT_LOST
        if event is None:  # written by a newer version, for example: it may be readable later
            fields = log_fields(
                LogEvent.JOB_UNREADABLE, queue=self._queue.queue_type, job_id=job_id, subject=newest.subject
            )
            _log.warning(
                "job %s: message %d of its history cannot be read", job_id, newest.sequence, extra=fields
            )
            return _Result.UNDECIDED
        decision = decide(
            event,
            age=at - newest.time,
            ack_wait=self._queue.ack_wait,
            backoff=self._queue.backoff,
            lost_after=self._lost_after,
        )
        match decision:
            case LostJobDecision.ENDED:
                self._open.remove(job_id)
                return _Result.NOT_LOST
            case LostJobDecision.YOUNG:
                return _Result.NOT_LOST
            case LostJobDecision.LOST_WITHOUT_WORKER:
                try:
                    is_running = await self._is_running(job_id)
                except PermissionDenied:  # its worker may be alive, and the job would run twice at a time
                    return _Result.UNDECIDED
                return _Result.RUNNING if is_running else await self._enqueue(opened)
            case _:
                return await self._enqueue(opened)

    async def _enqueue(self, opened: ScannedEvent) -> _Result:
        """Publish the stored event that opened the job to the work stream. Workers drop duplicates."""
        stored = await self._read(self._subjects.event(opened.job_id, opened.event))
        event = None if stored is None else LifecycleEvent.parse(stored.data)
        if (
            stored is None
            or event is None
            or stored.sequence != opened.sequence
            or event.job_id != opened.job_id
        ):
            return _Result.NOT_LOST
        ack = await publish_acked(
            self._connection,
            self._queue.work_subject,
            stored.data,
            headers=event.job_context().headers() | _written_by(stored),
            message_id=f"{opened.job_id}.reconciled.{opened.sequence}",
        )
        # A duplicate: the job was enqueued a moment ago and its message was lost again. The stream accepts the same
        # message id once its duplicate window is over.
        return _Result.UNDECIDED if ack.duplicate else _Result.ENQUEUED

    def _log_rescued(self, enqueued: list[str]) -> None:
        queue = self._queue.queue_type
        for job_id in enqueued[:_LOGGED_MAX]:
            fields = log_fields(LogEvent.JOB_RESCUED, queue=queue, job_id=job_id)
            _log.warning(
                'job %s of queue "%s" had lost its work message and is enqueued again',
                job_id,
                queue,
                extra=fields,
            )
        if len(enqueued) > _LOGGED_MAX:
            fields = log_fields(LogEvent.JOB_RESCUED, queue=queue)
            _log.warning(
                'queue "%s": %s enqueued again',
                queue,
                plural(len(enqueued) - _LOGGED_MAX, "more lost job is", "more lost jobs are"),
                extra=fields,
            )

    async def _is_running(self, job_id: str) -> bool:
        started = await self._read(self._subjects.event(job_id, EventType.STARTED))
        event = None if started is None else LifecycleEvent.parse(started.data)
        return event is not None and await self._liveness.is_held(job_id, event.instance_id, self._subjects)

    async def _read(self, subject: str) -> StoredMessage | None:
        return await get_last_message(self._connection, STREAM, subject)


def _written_by(stored: StoredMessage) -> dict[str, str]:
    digest = digest_of(stored.headers)
    return {DIGEST_HEADER: digest} if digest else {}
