"""Finds out which job a message is about: a work message carries the job's event, one of a parked job names it."""

from __future__ import annotations

import logging
from typing import Generic, NamedTuple

from trellis_nats._nats.jetstream.pull import Delivery
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.codec import Codec
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.malformed import malformed_reason
from trellis_nats.jobs.model.parked_job import ParkedJob
from trellis_nats.jobs.model.type_vars import PayloadT
from trellis_nats.jobs.model.work_event import WorkEventReader
from trellis_nats.jobs.model.writer import digest_of
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.work.finish import reject_unknown

__all__ = ["Work", "WorkMessageReader"]

_log = logging.getLogger(__name__)


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
        self, payload: Codec[PayloadT], event_log: EventLog, *, queue: str, due_subject: str
    ) -> None:
        """Prepare.

        Args:
            payload: the codec of the queue's payloads.
            event_log: the events of the queue's jobs.
            queue: the queue's name in the contract.
            due_subject: the subject of messages about parked jobs that are due.
        """
        self.events = WorkEventReader(payload)
        """Reads the events in work messages."""
        self._event_log = event_log
        self._queue = queue
        self._due_subject = due_subject
        self._log_throttle = LogThrottle(_log)

    def is_due(self, message: Delivery) -> bool:
        """Return whether a message is about a parked job that is due."""
        return message.subject == self._due_subject

    async def read(self, message: Delivery) -> Work | None:
        """Return what a message asks to work on. None: nothing, and the message is answered.

        Raises:
            MalformedJobEvent: the stored event cannot be read; the message is still unanswered.
            TransportError: NATS failed; the message is still unanswered.
        """
        if self.is_due(message):
            return await self._read_parked(message)
        event = self.events.read(message.data)
        problem = malformed_reason(event, self._queue)
        if event is None or problem is not None:
            await self._remove(message, problem or "not a job")
            return None
        if message.source_sequence is not None:
            return Work(event, message.source_sequence, digest_of(message.headers))
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
        return Work(stored.event, stored.sequence, stored.digest)

    async def _remove(self, message: Delivery, problem: str) -> None:
        fields = log_fields(LogEvent.WORK_MESSAGE_REMOVED, queue=self._queue)
        text = "queue %s: removed a malformed work message: %s"
        self._log_throttle.write(
            logging.ERROR, LogEvent.WORK_MESSAGE_REMOVED, text, self._queue, problem, extra=fields
        )
        await message.term(problem)
