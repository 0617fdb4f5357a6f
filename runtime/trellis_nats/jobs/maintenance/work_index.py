"""Finds out which jobs of a queue have no message in the work stream."""

from __future__ import annotations

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import parse_object
from trellis_nats._nats.jetstream.direct_batch import probe_direct, read_direct_batch
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.binding import QueueBinding

__all__ = ["WorkIndex"]


class WorkIndex:
    """The work messages of one queue.

    A work stream allows no second consumer, so the messages are read directly, in batches. Servers before 2.11 have no
    batches and return one message for each request.
    """

    def __init__(
        self, connection: Connection, stream: str, queue: QueueBinding, rate_limit: RateLimit
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._queue = queue
        self._rate_limit = rate_limit
        self._next = 1

    async def find_missing(self, job_ids: set[str]) -> set[str]:
        """Return those of the jobs that have no work message, neither waiting nor delivered to a worker.

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
        if not await self._search(missing, stop_at=None) and started_at > 1:
            self._next = 1
            await self._search(missing, stop_at=started_at)
        return missing

    async def probe(self) -> None:
        """Check whether the account may read the work stream.

        Raises:
            PermissionDenied: the account may not.
            RequestTimeout: no answer came in time.
        """
        await probe_direct(self._connection, self._stream, self._queue.work_subject)

    async def _is_empty(self) -> bool:
        info = await get_consumer_info(self._connection, self._stream, self._queue.consumer_name)
        return info is not None and info.pending == info.ack_pending == 0

    async def _search(self, missing: set[str], *, stop_at: int | None) -> bool:
        """Remove jobs that have a message from `missing`, up to a sequence or the end. Return whether none is left."""
        while missing and (stop_at is None or self._next < stop_at):
            page = await read_direct_batch(
                self._connection, self._stream, self._queue.work_subject, start=self._next
            )
            await self._rate_limit.spend(len(page) + 1)
            for entry in page:
                missing.discard(str(parse_object(entry.data).get("jobId")))
                self._next = entry.sequence + 1
            if not page:
                break
        return not missing
