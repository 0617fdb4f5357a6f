"""The history of jobs in stream JOBS: read the newest event, append the next one, one writer at a time."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from typing import NamedTuple, Protocol

from trellis_nats._nats.batch import BATCH_MAX, BatchMessage, publish_batch, supports_batch
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.outgoing import encode_publish
from trellis_nats._nats.publish import ExpectedLast, publish_acked, supports_fence
from trellis_nats._nats.streams import StoredMessage, last_message
from trellis_nats.errors import JobError, WriteUnknown, WrongLastSequence
from trellis_nats.jobs.event import LifecycleEvent
from trellis_nats.jobs.subjects import STREAM, JobSubjects

__all__ = ["JobHistory", "Overtaken", "StoredEvent", "Writable"]

_log = logging.getLogger(__name__)

_MESSAGE_ID = "Nats-Msg-Id"
_TOKEN_BYTES = 12
"""96 random bits tell two writers of one event apart, and a number the writes of one: random bits for each would take longer than to write the event."""
_CONTROLS_BYTES = 512
"""What the headers of a fenced write and the facts of a keyed job add to an event."""
_REPEATS_DEFAULT = 3
"""How often a write is repeated whose answer was lost. Each one waits for a full request timeout first."""


class StoredEvent(NamedTuple):
    """An event and its place in the stream."""

    event: LifecycleEvent
    sequence: int
    message_id: str | None


class Writable(Protocol):
    """An event that can be written: a new one, or one that was read and changed."""

    @property
    def job_id(self) -> str:
        """Whose event it is."""
        ...

    @property
    def event_type(self) -> str:
        """Its type, the last token of its subject."""
        ...

    def encode(self) -> bytes:
        """Write its text."""
        ...

    def header_lines(self) -> bytes:
        """Write its headers, a line each."""
        ...


class Overtaken(JobError):
    """Somebody else wrote to the job first; `newest` is what the history says now."""

    def __init__(self, job_id: str, newest: StoredEvent | None) -> None:
        said = "nothing" if newest is None else newest.event.event_type
        super().__init__(f"job {job_id}: another writer was faster; its newest event is {said}")
        self.newest = newest


class JobHistory:
    """Reads and writes the events of one queue's jobs."""

    def __init__(self, connection: Connection, subjects: JobSubjects, *, timeout: timedelta) -> None:
        self._connection = connection
        self._subjects = subjects
        self._timeout = timeout
        self._tokens = map(f"{secrets.token_urlsafe(_TOKEN_BYTES)}-{{}}".format, count(1))

    @property
    def is_fenced(self) -> bool:
        """Whether the server refuses a write that does not know the newest event."""
        return supports_fence(self._connection)

    async def newest(self, job_id: str) -> StoredEvent | None:
        """Return the newest event of a job; None when there is none."""
        return await self._read(self._subjects.job(job_id))

    async def newest_of(self, job_id: str, event: str) -> StoredEvent | None:
        """Return the newest event of one type of a job; None when there is none."""
        return await self._read(self._subjects.event(job_id, event))

    async def latest_by_type(self, job_id: str, events: tuple[str, ...]) -> list[StoredEvent]:
        """Return the newest event of each of the given types that the job has, oldest first."""
        found = await asyncio.gather(*(self.newest_of(job_id, event) for event in events))
        return sorted((each for each in found if each is not None), key=lambda each: each.sequence)

    async def create(self, event: Writable) -> None:
        """Store the event that creates a job, if it is the first of its job. Return only after it is stored.

        Raises:
            Overtaken: the job exists.
            WriteUnknown: no answer came to any of the repeated writes; the job may exist.
        """
        subject = self._subjects.event(event.job_id, event.event_type)
        expected = ExpectedLast(sequence=0, subject=subject)
        _, is_repeated = await self._publish(event, f"{event.job_id}.created", expected=expected)
        if is_repeated and await self.newest_of(event.job_id, event.event_type) is None:
            # The job was created and purged a moment ago, under the same idempotency key: the id alone is still known.
            await self._publish(event, f"{event.job_id}.created.{next(self._tokens)}", expected=expected)

    def check_size(self, event: Writable) -> None:
        """See that the server would take an event, before anything else is done for it.

        Raises:
            PayloadTooLarge: it would not.
        """
        data, lines = event.encode(), event.header_lines()
        limit_bytes = self._connection.max_payload - _CONTROLS_BYTES
        if (
            2 * (len(data) + len(lines)) > limit_bytes
        ):  # else it is far from the limit, as almost every event is
            encode_publish(self._subjects.event(event.job_id, event.event_type), data, lines, "", limit_bytes)

    async def create_many(self, events: Sequence[Writable]) -> None:
        """Store the events that create jobs, all of a thousand or none where the server has atomic batches.

        Raises:
            WriteUnknown: no answer came to any of the repeated writes; the thousand may be stored.
        """
        for start in range(0, len(events), BATCH_MAX):
            chunk = events[start : start + BATCH_MAX]
            if supports_batch(self._connection):
                await self._create_batch(chunk)
            else:
                stored = await asyncio.gather(*map(self.create, chunk), return_exceptions=True)
                failed = next((each for each in stored if isinstance(each, BaseException)), None)
                if failed is not None:
                    raise failed

    async def _create_batch(self, events: Sequence[Writable]) -> None:
        messages = [
            BatchMessage(
                self._subjects.event(event.job_id, event.event_type),
                event.encode(),
                event.header_lines(),
            )
            for event in events
        ]
        for attempt in range(1, _REPEATS_DEFAULT + 1):
            try:
                await publish_batch(self._connection, messages, timeout=self._timeout)
            except WriteUnknown as error:
                if attempt == _REPEATS_DEFAULT:
                    raise
                _log.warning("a batch of %s jobs is written again: %s", len(events), error)
            except WrongLastSequence:
                return  # an earlier, unanswered batch of ours was stored: the ids are new, so nobody else wrote them
            else:
                return

    async def append(self, event: Writable, *, after: int) -> int:
        """Store the next event of a job, if `after` is still the sequence of its newest one. Return its own.

        Raises:
            Overtaken: somebody else wrote first.
            WriteUnknown: no answer came to any of the repeated writes, nor to a read.
        """
        message_id = f"{event.job_id}.{event.event_type}.{next(self._tokens)}"
        expected = None
        if self.is_fenced:
            expected = ExpectedLast(sequence=after, subject=self._subjects.job(event.job_id))
        else:
            newest = await self.newest(event.job_id)
            if newest is not None and newest.sequence != after:
                raise Overtaken(event.job_id, newest)
        sequence, _ = await self._publish(event, message_id, expected=expected)
        return sequence

    async def _publish(
        self, event: Writable, message_id: str, *, expected: ExpectedLast | None
    ) -> tuple[int, bool]:
        """Return the event's sequence, and whether the stream knew the message's id before."""
        subject = self._subjects.event(event.job_id, event.event_type)
        body = event.encode()
        headers = event.header_lines()
        for attempt in range(1, _REPEATS_DEFAULT + 1):
            try:
                ack = await publish_acked(
                    self._connection,
                    subject,
                    body,
                    headers=headers,
                    message_id=message_id,
                    expected_last=expected,
                    timeout=self._timeout,
                )
            except WriteUnknown as error:
                if attempt == _REPEATS_DEFAULT:
                    raise
                _log.warning("job %s: %s is written again: %s", event.job_id, event.event_type, error)
            except WrongLastSequence:
                return await self._whose(event, message_id), False
            else:
                return ack.sequence, ack.duplicate
        raise WriteUnknown(f'"{subject}": no answer to {_REPEATS_DEFAULT} writes')

    async def _whose(self, event: Writable, message_id: str) -> int:
        """Find out after a refusal whether an earlier, unanswered write of ours had succeeded. Return its sequence."""
        own = await self.newest_of(event.job_id, event.event_type)
        if own is not None and own.message_id == message_id:
            return own.sequence
        raise Overtaken(event.job_id, await self.newest(event.job_id))

    async def _read(self, subject: str) -> StoredEvent | None:
        message = await last_message(self._connection, STREAM, subject, timeout=self._timeout)
        return None if message is None else _stored(message)


def _stored(message: StoredMessage) -> StoredEvent | None:
    event = LifecycleEvent.parse(message.data)
    if event is None:
        return None
    return StoredEvent(event, message.sequence, message.headers.get(_MESSAGE_ID))
