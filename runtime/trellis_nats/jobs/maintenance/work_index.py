"""Finds out which jobs of a queue have no message: in the work stream, parked, or due after they were parked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from typing_extensions import override

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import parse_object
from trellis_nats._nats.jetstream.direct_batch import probe_direct, read_direct_batch
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.jobs.model.parked_job import ParkedJob

__all__ = ["MessageIndex", "ParkedIndex"]


_DUE_WITHIN: Final = timedelta(minutes=5)
"""How late a server may make a parked job due: 100,000 at once took it 3 s, and a restart 5 s. A server that was replaced by
one without schedules never does."""


class MessageIndex:
    """The messages of one queue under one subject. Each has a `jobId`.

    A work stream allows no second consumer, so the messages are read directly, in batches. Servers before 2.11 have no
    batches and return one message for each request.
    """

    def __init__(
        self,
        connection: Connection,
        rate_limit: RateLimit,
        *,
        stream: str,
        subject: str,
        consumer: str | None = None,
    ) -> None:
        """Prepare; `consumer` is the one whose report says at once whether there is no message at all."""
        self._connection = connection
        self._stream = stream
        self._subject = subject
        self._consumer = consumer
        self._rate_limit = rate_limit
        self._next = 1

    async def find_missing(self, job_ids: set[str], *, at: datetime) -> set[str]:
        """Return those of the jobs that have no message, neither waiting nor delivered to a worker.

        Callers ask for the oldest jobs first, and the messages are in the same order: the search continues where the
        last one ended, and wraps around once.

        Raises:
            ApiError: the stream cannot be read directly, because it has no `allow_direct`.
            RequestTimeout: no answer came in time, or the account may not read the stream.
            NotConnected: there was no connection.
        """
        missing = set(job_ids)
        if not missing or await self._is_empty():
            return missing
        started_at = self._next
        if not await self._search(missing, at, stop_at=None) and started_at > 1:
            self._next = 1
            await self._search(missing, at, stop_at=started_at)
        return missing

    async def probe(self) -> None:
        """Check whether the account may read the stream.

        Raises:
            PermissionDenied: the account may not.
            RequestTimeout: no answer came in time.
        """
        await probe_direct(self._connection, self._stream, self._subject)

    def _find_job(self, data: bytes, at: datetime) -> str | None:
        """Return the job that a message will bring to a worker."""
        del at
        return str(parse_object(data).get("jobId"))

    async def _is_empty(self) -> bool:
        if self._consumer is None:
            return False
        info = await get_consumer_info(self._connection, self._stream, self._consumer)
        return info is not None and info.pending == info.ack_pending == 0

    async def _search(self, missing: set[str], at: datetime, *, stop_at: int | None) -> bool:
        """Remove jobs that have a message from `missing`, up to a sequence or the end. Return whether none is left."""
        while missing and (stop_at is None or self._next < stop_at):
            page = await read_direct_batch(self._connection, self._stream, self._subject, start=self._next)
            await self._rate_limit.spend(len(page) + 1)
            for entry in page:
                missing.discard(self._find_job(entry.data, at) or "")
                self._next = entry.sequence + 1
            if not page:
                break
        return not missing


class ParkedIndex(MessageIndex):
    """The parked jobs of one queue. One that the server should have made due long ago will not reach a worker."""

    @override
    def _find_job(self, data: bytes, at: datetime) -> str | None:
        parked = ParkedJob.parse(data)
        return None if parked is None or parked.is_overdue(at - _DUE_WITHIN) else parked.job_id
