"""Finds out which jobs of a queue have no message: in the work stream, parked, or due after they were parked."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Final

from typing_extensions import override

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import parse_object
from trellis_nats._nats.jetstream.direct_batch import (
    BatchEntry,
    probe_direct,
    read_direct_batch,
    read_direct_last,
)
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats.jobs.model.parked_job import ParkedJob

__all__ = ["MessageIndex", "ParkedIndex"]


_COST: Final = 5
"""What one lookup costs, in messages of a page: about 0.2 ms (docs/decisions/0009)."""
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
            page = await self._read_page(self._next)
            if not page:
                break
            self._remove(page, missing, at)
            self._next = page[-1].sequence + 1
        return not missing

    async def _read_page(self, start: int) -> list[BatchEntry]:
        page = await read_direct_batch(self._connection, self._stream, self._subject, start=start)
        await self._rate_limit.spend(len(page) + 1)
        return page

    def _remove(self, page: list[BatchEntry], missing: set[str], at: datetime) -> int:
        """Remove the jobs of a page from `missing`. Return the sequence of the last one that was in it, 0 if none was."""
        last = 0
        for entry in page:
            job_id = self._find_job(entry.data, at)
            if job_id in missing:
                missing.remove(job_id)
                last = entry.sequence
        return last


class ParkedIndex(MessageIndex):
    """The parked jobs of one queue, each under a subject of its own.

    One that the server should have made due long ago will not reach a worker.
    """

    @override
    async def find_missing(self, job_ids: set[str], *, at: datetime) -> set[str]:
        """Return those of the jobs that are not parked. Raises as `MessageIndex.find_missing`, and `NoResponders`.

        Jobs are parked roughly in the order in which they were created. The few that are not found along the way are
        looked up one by one: to search all parked jobs for them would cost the square of their number.
        """
        missing = set(job_ids)
        if missing and not await self._follow(missing, at) and self._next > 1:
            self._next = 1
            await self._follow(missing, at)
        left = sorted(missing)
        results = await bounded_gather(left, partial(self._is_parked, at=at))
        return {job_id for job_id, is_parked in zip(left, results, strict=True) if not is_parked}

    async def _follow(self, missing: set[str], at: datetime) -> bool:
        """Remove jobs that are parked from `missing`, for as long as each page has some. Return whether any page had.

        The next search continues behind the last one that was found: what follows in its page is of later jobs.
        """
        start, has_found = self._next, False
        while missing:
            page = await self._read_page(start)
            last = self._remove(page, missing, at)
            if not last:
                break
            has_found, self._next, start = True, last + 1, page[-1].sequence + 1
        return has_found

    async def _is_parked(self, job_id: str, at: datetime) -> bool:
        await self._rate_limit.spend(_COST)
        subject = self._subject.replace("*", job_id)
        entry = await read_direct_last(self._connection, self._stream, subject)
        return entry is not None and self._find_job(entry.data, at) == job_id

    @override
    def _find_job(self, data: bytes, at: datetime) -> str | None:
        parked = ParkedJob.parse(data)
        return None if parked is None or parked.is_overdue(at - _DUE_WITHIN) else parked.job_id
