"""Live updates: what a running handler sends to the processes that listen now. They are not stored (reference, 15)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Generic

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now, timestamp
from trellis_nats.codec import Codec, encode_json
from trellis_nats.context import Context
from trellis_nats.errors import ConfigurationError, InvalidPayload, NotConnected
from trellis_nats.jobs.model.type_vars import UpdateT

__all__ = ["LiveUpdates", "UpdateInbox"]

_log = logging.getLogger(__name__)

_WAITING_MAX: Final = 1_000
"""How many updates wait for a slow reader; then the oldest are dropped."""


class UpdateFrame(BaseModel):
    """One update on the wire."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    job_id: str
    attempt: int = Field(ge=1)
    sequence: int = Field(ge=1)
    timestamp: str
    update: JsonValue


class LiveUpdates(Generic[UpdateT]):
    """Sends and reads the updates of one queue. `codec` is None where the queue declares no update."""

    def __init__(
        self, connection: Connection, *, queue: str, prefix: str | None, codec: Codec[UpdateT] | None
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._prefix = prefix
        self._codec = codec

    def subject(self, job_id: str) -> str:
        """Return the subject of a job's updates.

        Raises:
            ConfigurationError: the queue declares no update, or the binding gives it no subject.
        """
        if self._codec is None:
            raise ConfigurationError(f'queue "{self._queue}" declares no `update` in its contract')
        if self._prefix is None:
            raise ConfigurationError(f'the binding gives queue "{self._queue}" no updatesPrefix')
        return f"{self._prefix}.{job_id}"

    async def emit(
        self, value: UpdateT, *, job_id: str, attempt: int, sequence: int, context: Context
    ) -> None:
        """Send an update to the processes that listen. While there is no connection, it is dropped.

        Raises:
            ConfigurationError: the queue declares no update.
            InvalidPayload: the value does not match its schema.
        """
        subject = self.subject(job_id)
        update = b"null" if self._codec is None else self._codec.encode(value)
        frame = encode_json(
            {"jobId": job_id, "attempt": attempt, "sequence": sequence, "timestamp": timestamp(now())}
        )
        data = b'%b,"update":%b}' % (frame[:-1], update)  # encoded once, and not again with the frame
        try:
            await self._connection.publish(subject, data, headers=context.headers())
        except NotConnected:
            fields = log_fields(LogEvent.REPORT_DROPPED, queue=self._queue, job_id=job_id, attempt=attempt)
            _log.debug("job %s: an update was dropped: not connected", job_id, extra=fields)

    def decode(self, frames: Iterable[UpdateFrame]) -> Iterator[UpdateT]:
        """Yield the values of frames. One that does not match its schema is logged, and left out."""
        for frame in frames:
            try:
                if self._codec is not None:
                    yield self._codec.from_json(frame.update)
            except InvalidPayload as error:
                fields = log_fields(
                    LogEvent.UPDATE_IGNORED, queue=self._queue, job_id=frame.job_id, attempt=frame.attempt
                )
                _log.warning("job %s: an update was ignored: %s", frame.job_id, error, extra=fields)


class UpdateInbox:
    """Orders the frames of one job: a newer attempt replaces an older one; repeats and older attempts are dropped."""

    def __init__(self, job_id: str) -> None:
        self.arrived = asyncio.Event()
        self._job_id = job_id
        self._attempt = 0
        self._sequence = 0
        self._waiting: deque[UpdateFrame] = deque(maxlen=_WAITING_MAX)

    def receive(self, message: Message) -> None:
        """Take a message; drop it unless it is an update of this job."""
        try:
            frame = UpdateFrame.model_validate_json(message.data)
        except ValidationError:
            return
        if frame.job_id == self._job_id and (frame.attempt, frame.sequence) > (self._attempt, self._sequence):
            self._attempt, self._sequence = frame.attempt, frame.sequence
            self._waiting.append(frame)
            self.arrived.set()

    def begin(self, attempt: int) -> None:
        """Drop the updates of attempts before this one, which the history says is the newest."""
        if attempt > self._attempt:
            self._attempt, self._sequence = attempt, 0
            self._waiting = deque(
                (frame for frame in self._waiting if frame.attempt >= attempt), maxlen=_WAITING_MAX
            )

    def take(self) -> list[UpdateFrame]:
        """Return the frames that have arrived, in order, and forget them."""
        taken = list(self._waiting)
        self._waiting.clear()
        self.arrived.clear()
        return taken
