"""Tells which jobs of a queue have no message in the work stream."""

from __future__ import annotations

from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import API_TIMEOUT, JsonObject, read_object
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.request_many import request_many
from trellis_nats._nats.jetstream.streams import consumer_info
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.binding import QueueBinding
from trellis_nats.errors import ApiError

__all__ = ["Backlog"]

_PAGE: Final = 256
_PAGE_BYTES: Final = 1024 * 1024
"""Bodies come with it, so a page is bounded in bytes too."""
_END_OF_BATCH: Final = 204
_NOT_FOUND: Final = 404


class Backlog:
    """The work messages of one queue.

    No consumer may look at them beside the queue's own, so they are read directly, a batch at a time; servers before
    2.11 know no batches and give one message for each request.
    """

    def __init__(
        self, connection: Connection, stream: str, queue: QueueBinding, rate_limit: RateLimit
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._queue = queue
        self._rate_limit = rate_limit
        self._next = 1

    async def without_message(self, job_ids: set[str]) -> set[str]:
        """Return those of the jobs that have no work message, waiting or in a worker's hand.

        Jobs are asked for oldest first, and messages lie in the same order: the search goes on where the last one
        ended, and comes around once.

        Raises:
            ApiError: the stream cannot be read directly: it has no `allow_direct`.
            RequestTimeout: no answer came, or the account may not read it.
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
        """See whether the account may read the work stream.

        Raises:
            PermissionDenied: it may not.
            RequestTimeout: no answer came.
        """
        query = b'{"seq": 1, "next_by_subj": "%b"}' % self._queue.work_subject.encode()
        await request(self._connection, self._subject, query, timeout=API_TIMEOUT)

    @property
    def _subject(self) -> str:
        return f"$JS.API.DIRECT.GET.{self._stream}"

    async def _is_empty(self) -> bool:
        info = await consumer_info(self._connection, self._stream, self._queue.consumer_name)
        return info is not None and info.get("num_pending") == 0 and info.get("num_ack_pending") == 0

    async def _search(self, missing: set[str], *, stop_at: int | None) -> bool:
        """Strike off what is found, up to the end of the stream or a sequence. Return whether all was found."""
        while missing and (stop_at is None or self._next < stop_at):
            page = await self._page()
            await self._rate_limit.spend(len(page) + 1)
            for message in page:
                missing.discard(str(read_object(message.data).get("jobId")))
                self._next = int(message.headers["Nats-Sequence"]) + 1
            if not page:
                break
        return not missing

    async def _page(self) -> list[Message]:
        body: JsonObject = {
            "seq": self._next,
            "next_by_subj": self._queue.work_subject,
            "batch": _PAGE,
            "max_bytes": _PAGE_BYTES,
        }
        answers = await request_many(self._connection, self._subject, body, _ends_batch)
        last = answers[-1]
        if last.status not in {0, _END_OF_BATCH, _NOT_FOUND}:
            what = "it has no allow_direct" if last.status == NO_RESPONDERS else last.description
            raise ApiError(request=self._subject, code=last.status, err_code=0, description=what)
        return [answer for answer in answers if answer.status == 0]


def _ends_batch(message: Message, _count: int) -> bool:
    """Say whether nothing follows: after a status, or after the only message of a server without batches."""
    return message.status != 0 or "Nats-Num-Pending" not in message.headers
