"""Finds out which job a message is about: a work message carries the job's event, one of a parked job names it."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Generic, NamedTuple

from trellis_nats._nats.jetstream.pull import Delivery
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats._versions import digest_of
from trellis_nats.errors import InvalidPayload, MalformedJobEvent, UpcastFailed
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.malformed import malformed_reason
from trellis_nats.jobs.model.parked_job import ParkedJob
from trellis_nats.jobs.model.payload_reader import PayloadReader
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.type_vars import PayloadT
from trellis_nats.jobs.model.work_event import WorkEventReader
from trellis_nats.jobs.model.writer import payload_writer
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.work.finish import reject_unknown
from trellis_nats.jobs.work.work_item import WorkItem

__all__ = ["BodyMissing", "Work", "WorkMessageReader"]

_log = logging.getLogger(__name__)


class BodyMissing(Exception):
    """A message arrived without its body: someone set `headers_only` on the consumer. It is still unanswered."""


class Work(NamedTuple):
    """What a message asks to work on."""

    event: LifecycleEvent
    """The event that opened the job: `created` or `retried`."""
    sequence: int
    """Its sequence in stream JOBS."""
    digest: str
    """The digest of the contract by which its payload was written; empty where that is not known."""


class WorkMessageReader(Generic[PayloadT]):
    """Reads the messages of one queue."""

    def __init__(
        self, payloads: PayloadReader[PayloadT], event_log: EventLog, *, queue: str, due_subject: str
    ) -> None:
        """Prepare.

        Args:
            payloads: reads the queue's payloads.
            event_log: the events of the queue's jobs.
            queue: the queue's name in the contract.
            due_subject: the subject of messages about parked jobs that are due.
        """
        self.events = WorkEventReader(payloads)
        """Reads the events in work messages."""
        self._event_log = event_log
        self._queue = queue
        self._due_subject = due_subject
        self._log_throttle = LogThrottle(_log)

    def payload(self, item: WorkItem) -> PayloadT | InvalidPayload:
        """Return the payload of a job, or why this version cannot work it."""
        try:
            payload = self.events.payload(item.event, item.digest)
        except UpcastFailed as error:
            self._log_throttle.write(
                logging.WARNING,
                LogEvent.UPCAST_FAILED,
                "job %s of queue %s, which contract version %s wrote: %s",
                item.job_id,
                self._queue,
                item.digest or "(unknown)",
                error,
                extra=log_fields(LogEvent.UPCAST_FAILED, queue=self._queue, job_id=item.job_id),
            )
            return error
        except InvalidPayload as error:
            return error
        if payload.upcaster is not None:
            _log.debug(
                "job %s of queue %s, which contract version %s wrote, was upcast by %s",
                item.job_id,
                self._queue,
                item.digest or "(unknown)",
                payload.upcaster,
                extra=log_fields(LogEvent.PAYLOAD_UPCAST, queue=self._queue, job_id=item.job_id),
            )
        return item.key if isinstance(item.key, InvalidPayload) else payload.value

    def is_due(self, message: Delivery) -> bool:
        """Return whether a message is about a parked job that is due."""
        return message.subject == self._due_subject

    async def read(self, message: Delivery) -> Work | None:
        """Return what a message asks to work on. None: nothing, and the message is answered.

        Raises:
            BodyMissing: the message lacks its body; it is still unanswered.
            MalformedJobEvent: the stored event cannot be read; the message is still unanswered.
            TransportError: NATS failed; the message is still unanswered.
        """
        if self.is_due(message):
            return await self._read_parked(message)
        digest = digest_of(message.headers)
        event = self.events.read(message.data, digest)
        problem = malformed_reason(event, self._queue)
        if event is None or problem is not None:
            await self._remove(message, problem or "not a job")
            return None
        if message.source_sequence is not None:
            return await self._with_writer(Work(event, message.source_sequence, digest), message.data)
        # The server did not copy this message from stream JOBS, so any client may have written it: only what the
        # stream holds counts.
        return await self._read_stored(message, event.job_id, event.event_type)

    async def _read_parked(self, message: Delivery) -> Work | None:
        parked = ParkedJob.parse(message.data)
        if parked is None:
            await self._remove(message, "not a parked job")
            return None
        work = await self._read_stored(message, parked.job_id, parked.event_type)
        if work is not None and work.sequence > parked.sequence:
            await message.ack()  # the event was stored again, and has a work message of its own
            return None
        return work

    async def _read_stored(self, message: Delivery, job_id: str, event_type: str) -> Work | None:
        stored = await self._event_log.newest_of(job_id, event_type)
        if stored is None:
            await reject_unknown(message, self._queue, job_id)
            return None
        return await self._with_writer(Work(stored.event, stored.sequence, stored.digest))

    async def _with_writer(self, work: Work, data: bytes | None = None) -> Work:
        """Look for the writer of the payload of a job that was retried by an operator of another runtime.

        `data` is the text of the event, where its payload may be decoded already.
        """
        event, sequence, digest = work
        if digest or event.event_type != EventType.RETRIED:
            return work
        created: StoredEvent | None = None
        with suppress(MalformedJobEvent):  # then the writer is not known
            created = await self._event_log.newest_of(event.job_id, EventType.CREATED)
        as_stored = event if data is None else LifecycleEvent.parse(data)
        if created is None or as_stored is None:
            return work
        digest = payload_writer(StoredEvent(as_stored, sequence, None), created)
        return Work(as_stored, sequence, digest) if digest else work

    async def _remove(self, message: Delivery, problem: str) -> None:
        if await message.lacks_body():
            raise BodyMissing
        fields = log_fields(LogEvent.WORK_MESSAGE_REMOVED, queue=self._queue)
        text = "queue %s: removed a malformed work message: %s"
        self._log_throttle.write(
            logging.ERROR, LogEvent.WORK_MESSAGE_REMOVED, text, self._queue, problem, extra=fields
        )
        await message.term(problem)
