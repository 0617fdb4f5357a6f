"""The history of jobs in stream JOBS: read the newest event, append the next one, one writer at a time."""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Final, Protocol

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import (
    ExpectedLast,
    PubAck,
    begin_publish,
    publish_acked,
    supports_fence,
)
from trellis_nats._nats.jetstream.repeat_write import RepeatRefused, repeat_write
from trellis_nats._nats.jetstream.streams import (
    StoredMessage,
    get_last_message,
    get_last_message_from_leader,
)
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats._nats.wire.outgoing import encode_publish
from trellis_nats._versions import digest_line, digest_of
from trellis_nats.errors import (
    JobError,
    MalformedJobEvent,
    NoResponders,
    TransportError,
    WriteUnknown,
    WrongLastSequence,
)
from trellis_nats.jobs.model.copied_event import StoredText
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects
from trellis_nats.jobs.store.write_fate import WriteFate

__all__ = ["REPLICA_PAUSES", "EventLog", "Writable", "WriteConflict"]

_MESSAGE_ID = "Nats-Msg-Id"
_TOKEN_BYTES = 12
"""96 random bits distinguish two writers of one event, and a counter the writes of one: random bits for each write would
take longer than the write."""
_CONTROLS_BYTES = 512
"""What the headers of a fenced write and the facts of a keyed job add to an event."""
REPLICA_PAUSES: Final = (0.0, 0.01, 0.05, 0.2, 1.0)
"""Seconds before each read of an event that is stored. In a cluster, the replica that answers may receive it a moment later."""


_WITH_VALUE: Final = frozenset(
    {EventType.CREATED, EventType.RETRIED, EventType.COMPLETED, EventType.CHECKPOINT}
)
"""The events that hold a payload, a result or a checkpoint."""


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
        """Return its text."""
        ...

    def header_lines(self) -> bytes:
        """Return its headers, a line each."""
        ...


class WriteConflict(JobError):
    """Another writer was first; `newest` is the newest event now, None if there is none or it cannot be read.

    `same_type` is the newest one of the type that was to be written, likewise.
    """

    def __init__(self, job_id: str, newest: StoredEvent | None, same_type: StoredEvent | None = None) -> None:
        said = "nothing" if newest is None else newest.event.event_type
        super().__init__(f"job {job_id}: another writer was first; its newest event is {said}")
        self.newest = newest
        self.same_type = same_type


class EventLog:
    """Reads and writes the events of one queue's jobs."""

    def __init__(
        self, connection: Connection, subjects: JobSubjects, *, digest: str, timeout: timedelta
    ) -> None:
        """Prepare. `digest` is that of the contract by which this process writes."""
        self.subjects = subjects
        """Those of the queue."""
        self.digest = digest
        self.writes = WriteFate()
        """How the last write of an event ended."""
        self._connection = connection
        self._timeout = timeout
        self._digest_line = digest_line(digest)
        self._tokens = map(f"{secrets.token_urlsafe(_TOKEN_BYTES)}-{{}}".format, count(1))

    @property
    def is_fenced(self) -> bool:
        """Whether the server refuses a write that does not name the newest event of its job."""
        return supports_fence(self._connection)

    async def newest(self, job_id: str) -> StoredEvent | None:
        """Return the newest event of a job; None when there is none.

        Raises:
            MalformedJobEvent: the stored message is not a lifecycle event.
            TransportError: NATS did not answer.
        """
        return _parse_or_raise(await self._read(self.subjects.job(job_id)))

    @property
    def is_replicated(self) -> bool:
        """Whether a replica may answer a read, which may lag behind the leader."""
        return self._connection.server_count > 1

    async def newest_from_leader(self, job_id: str) -> StoredEvent | None:
        """Return the newest event of a job as the stream's leader has it; None when there is none. Raises as `newest`."""
        subject = self.subjects.job(job_id)
        return _parse_or_raise(
            await get_last_message_from_leader(self._connection, STREAM, subject, timeout=self._timeout)
        )

    async def openings(self, job_id: str) -> tuple[StoredText | None, StoredText | None]:
        """Return the newest `created` and the newest `retried` event of a job, with their texts. Raises as `newest`."""
        created, retried = await asyncio.gather(
            *(
                self._read(self.subjects.event(job_id, event))
                for event in (EventType.CREATED, EventType.RETRIED)
            )
        )
        return _with_text(created), _with_text(retried)

    async def newest_of(self, job_id: str, event: str) -> StoredEvent | None:
        """Return the newest event of one type of a job; None when there is none. Raises as `newest`."""
        return _parse_or_raise(await self._read(self.subjects.event(job_id, event), _answer_size(event)))

    async def latest_by_type(self, job_id: str, events: tuple[str, ...]) -> list[StoredEvent]:
        """Return the newest event of each of the given types, oldest first. Events that cannot be read are left out.

        Raises:
            MalformedJobEvent: there are such events, and none of them can be read.
            TransportError: NATS did not answer.
        """
        found = await asyncio.gather(
            *(self._read(self.subjects.event(job_id, event), _answer_size(event)) for event in events)
        )
        messages = [message for message in found if message is not None]
        readable = [event for event in map(_parse, messages) if event is not None]
        if messages and not readable:
            raise _malformed(messages[0])
        return sorted(readable, key=lambda event: event.sequence)

    async def create(self, event: Writable, *, writer: str | None = None) -> StoredEvent | None:
        """Store the event that creates a job, if it is the first of its job. Return only after it is stored.

        Returns the event that is stored, where the stream had one with its id already: maybe this one, written twice.

        `writer` is the digest of the contract that wrote the payload; None: that of this process.

        Raises:
            WriteConflict: the job exists.
            WriteUnknown: no write was answered, or what is stored cannot be read; the job may be stored.
            TransportError: NATS did not store it.
        """
        subject = self.subjects.event(event.job_id, event.event_type)
        expected = ExpectedLast(sequence=0, subject=subject)
        message_id = f"{event.job_id}.created"
        _, is_repeated = await self._publish(event, subject, message_id, expected=expected, writer=writer)
        earlier = await self.find_stored(event) if is_repeated else None
        if is_repeated and earlier is None:
            # A job with this idempotency key was created and purged a moment ago: the stream remembers only its id.
            message_id = f"{event.job_id}.created.{next(self._tokens)}"
            await self._publish(event, subject, message_id, expected=expected, writer=writer)
        return earlier

    def check_size(self, event: Writable) -> None:
        """Check that an event is not too large for the server, before anything else is done for it.

        Raises:
            PayloadTooLarge: it is.
        """
        data, lines = event.encode(), event.header_lines() + self._digest_line
        limit_bytes = self._connection.max_payload - _CONTROLS_BYTES
        # Almost every event is far below the limit: those need no exact measure.
        if 2 * (len(data) + len(lines)) > limit_bytes:
            encode_publish(self.subjects.event(event.job_id, event.event_type), data, lines, "", limit_bytes)

    def new_message_id(self, event: Writable) -> str:
        """Return an id for the message of an event. The stream stores one message for each id."""
        return f"{event.job_id}.{event.event_type}.{next(self._tokens)}"

    async def append(
        self, event: Writable, *, after: int, message_id: str | None = None, writer: str | None = None
    ) -> int:
        """Store the next event of a job, if `after` is still the sequence of its newest one. Return the new sequence.

        After an unanswered write, call it again with the same `message_id`: the event is not stored twice. `writer` is the
        digest of the contract that wrote the payload of an event which is stored again; None: that of this process.

        Raises:
            WriteConflict: another writer was first.
            WriteUnknown: neither a write nor a read was answered; the event may be stored.
            TransportError: NATS did not store it.
        """
        message_id = message_id or self.new_message_id(event)
        expected = None
        if self.is_fenced:
            expected = ExpectedLast(sequence=after, subject=self.subjects.job(event.job_id))
        else:
            newest = await self.newest(event.job_id)
            if newest is not None and newest.sequence != after:
                return await self._find_own(event, message_id, after)
        subject = self.subjects.event(event.job_id, event.event_type)
        sequence, _ = await self._publish(event, subject, message_id, expected=expected, writer=writer)
        return sequence

    async def _publish(
        self,
        event: Writable,
        subject: str,
        message_id: str,
        *,
        expected: ExpectedLast | None,
        writer: str | None = None,
    ) -> tuple[int, bool]:
        """Return the event's sequence, and whether the stream had a message with this id already."""
        body = event.encode()
        headers = event.header_lines() + (self._digest_line if writer is None else digest_line(writer))
        unknown: WriteUnknown | None = None
        ack: PubAck | None = None
        try:
            if self._connection.is_ready:
                # Almost every write ends here, and each coroutine on the way would cost as much as encoding the event.
                try:
                    ack = await begin_publish(
                        self._connection,
                        subject,
                        body,
                        headers=headers,
                        message_id=message_id,
                        expected_last=expected,
                        timeout=self._timeout,
                    )
                except WriteUnknown as error:
                    unknown = error
                except NoResponders:
                    pass  # nothing was stored; `publish_acked` waits while a cluster elects a leader
            if ack is None:
                write = partial(
                    publish_acked,
                    self._connection,
                    subject,
                    body,
                    headers=headers,
                    message_id=message_id,
                    expected_last=expected,
                    timeout=self._timeout,
                )
                ack = await repeat_write(write, what=subject, job_id=event.job_id, unknown=unknown)
        except (WrongLastSequence, RepeatRefused) as refused:
            after = 0 if expected is None else expected.sequence
            try:
                return await self._find_own(event, message_id, after), True
            except (TransportError, WriteConflict) as error:
                is_certain = isinstance(refused, WrongLastSequence)
                if is_certain or (isinstance(error, WriteConflict) and error.newest is not None):
                    raise
                raise WriteUnknown(f'"{subject}" may have been stored: {error}') from error
        except TransportError as error:
            self.writes.fail(error)
            raise
        self.writes.succeed()
        return ack.sequence, ack.duplicate

    async def _find_own(self, event: Writable, message_id: str, after: int) -> int:
        """After a refusal, look for an earlier, unanswered write of this event. Return its sequence.

        Raises:
            WriteConflict: the stream does not have it.
        """
        newest: StoredEvent | None = None
        own: StoredMessage | None = None
        for pause in REPLICA_PAUSES:
            await asyncio.sleep(pause)
            own = await self._read(self.subjects.event(event.job_id, event.event_type))
            if own is not None and own.headers.get(_MESSAGE_ID) == message_id:
                return own.sequence
            found = await self._read(self.subjects.job(event.job_id))
            newest = None if found is None else _parse(found)
            if found is not None and found.sequence > after:
                break
        raise WriteConflict(event.job_id, newest, None if own is None else _parse(own))

    async def find_stored(self, event: Writable) -> StoredEvent | None:
        """After a write that may be stored, return the newest event of its type, if one is stored.

        Raises:
            MalformedJobEvent: the stored message is not a lifecycle event.
            WriteUnknown: it cannot be read.
        """
        for pause in REPLICA_PAUSES if self.is_replicated else (0.0,):
            await asyncio.sleep(pause)
            try:
                found = await self.newest_of(event.job_id, event.event_type)
            except MalformedJobEvent:
                raise
            except TransportError as error:
                raise WriteUnknown(f"job {event.job_id} may have been stored: {error}") from error
            if found is not None:
                return found
        return None

    async def _read(self, subject: str, answer: AnswerSize = AnswerSize.LARGE) -> StoredMessage | None:
        return await get_last_message(self._connection, STREAM, subject, timeout=self._timeout, answer=answer)


def _answer_size(event: str) -> AnswerSize:
    return AnswerSize.LARGE if event in _WITH_VALUE else AnswerSize.SMALL


def _parse(message: StoredMessage) -> StoredEvent | None:
    event = LifecycleEvent.parse(message.data)
    if event is None:
        return None
    digest = digest_of(message.headers)
    return StoredEvent(event, message.sequence, message.headers.get(_MESSAGE_ID), message.time, digest)


def _with_text(message: StoredMessage | None) -> StoredText | None:
    stored = _parse_or_raise(message)
    return None if message is None or stored is None else StoredText(stored, message.data)


def _parse_or_raise(message: StoredMessage | None) -> StoredEvent | None:
    if message is None:
        return None
    stored = _parse(message)
    if stored is None:
        raise _malformed(message)
    return stored


def _malformed(message: StoredMessage) -> MalformedJobEvent:
    return MalformedJobEvent(message.subject, stream=STREAM, sequence=message.sequence)
