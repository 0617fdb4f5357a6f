"""Checks that what workers write to exists and accepts writes: without it they consume, and nothing gets done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import kv_stream, kv_subject
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats._nats.jetstream.unstored_request import REFUSED, UNSTORED
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now
from trellis_nats.errors import (
    ApiError,
    NoResponders,
    NotConnected,
    PermissionDenied,
    RequestTimeout,
    TransportError,
)
from trellis_nats.jobs.maintenance.stream_edits import StreamEdits
from trellis_nats.jobs.maintenance.worker_heartbeat import WorkedQueue
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects
from trellis_nats.jobs.store.write_fate import WriteFate

__all__ = ["WriteHealth"]

_log = logging.getLogger(__name__)

_FRESH: Final = 4.0
"""Seconds for which a stored write counts: a failure must show within 10 s to a probe that asks every 5 s."""
_REMEMBERED: Final = 10.0
"""Seconds for which a failed write counts. A worker that has work writes again sooner."""
_PROBE_WITHIN: Final = timedelta(seconds=2)
"""How long a check may take: probes wait for it."""


class WriteHealth:
    """Whether the jobs of this process can be written: one check for all of its queues.

    It looks at the streams, where the account may, and at the fate of the last writes. When they are old, it writes a
    heartbeat and waits until that is stored; an account that may not write heartbeats sends a message that the stream
    refuses, which proves less: that it is there.
    """

    def __init__(
        self,
        connection: Connection,
        queue: WorkedQueue,
        subjects: JobSubjects,
        *,
        fates: Sequence[WriteFate],
        edits: StreamEdits,
        keys_bucket: str | None,
    ) -> None:
        """Prepare.

        Args:
            connection: where the streams are.
            queue: the queue whose heartbeats are written.
            subjects: those of the same queue.
            fates: of the writes of all queues.
            edits: notices streams that were edited, which acknowledge what they store elsewhere.
            keys_bucket: the bucket of the keys; None without keyed queues.
        """
        self._connection = connection
        self._queue = queue
        self._subjects = subjects
        self._fates = fates
        self._edits = edits
        self._keys_bucket = keys_bucket
        self._checking = asyncio.Lock()
        self._checked_at = monotonic()
        self._problem: str | None = None

    async def find_problem(self) -> str | None:
        """Return why jobs cannot be written now, as far as is known; None when they can."""
        async with self._checking:
            at = monotonic()
            failed = [fate for fate in self._fates if fate.failure and at - fate.failed_at < _REMEMBERED]
            if failed:
                self._report(max(failed, key=lambda fate: fate.failed_at).failure)
            elif self._problem is not None or at - self._checked_at >= _FRESH:
                self._report(await self._probe(at))
                self._checked_at = at
            return self._problem

    async def _probe(self, at: float) -> str | None:
        is_written = any(at - fate.succeeded_at < _FRESH for fate in self._fates)
        try:
            if not is_written or self._problem is not None:
                await self._write_heartbeat()
        except NoResponders:
            return f"stream {STREAM} does not exist, or has no leader"
        except PermissionDenied:
            pass
        except (NotConnected, RequestTimeout):
            return None  # other checks report that there is no connection
        except TransportError as error:
            return f"stream {STREAM} does not accept writes: {error}"
        if (edited := await self._edits.find_problem()) is not None:
            return edited
        return None if self._keys_bucket is None else await self._find_missing_bucket(self._keys_bucket)

    async def _write_heartbeat(self) -> None:
        subject = self._queue.subject
        try:
            if subject is None:
                await self._knock()
            else:
                body = self._queue.encode_heartbeat(now())
                await publish_acked(self._connection, subject, body, timeout=_PROBE_WITHIN)
        except PermissionDenied:
            await self._knock()

    async def _knock(self) -> None:
        """Send a message that the stream refuses."""
        subject = self._subjects.question("probe")
        try:
            await publish_acked(self._connection, subject, b"", headers=UNSTORED, timeout=_PROBE_WITHIN)
        except ApiError as error:
            if error.err_code != REFUSED:
                raise

    async def _find_missing_bucket(self, bucket: str) -> str | None:
        try:
            await get_last_message(
                self._connection, kv_stream(bucket), kv_subject(bucket), timeout=_PROBE_WITHIN
            )
        except NoResponders:
            return f"bucket {bucket}, which holds the keys, does not exist, has no leader, or has no direct reads (allow_direct)"
        except TransportError:
            return None
        return None

    def _report(self, problem: str | None) -> None:
        """Log when the first problem appears, and when the last one is gone."""
        before, self._problem = self._problem, problem
        if before is None and problem is not None:
            _log.warning("jobs cannot be written: %s", problem, extra=log_fields(LogEvent.WRITES_FAIL))
        elif before is not None and problem is None:
            _log.info("jobs can be written again", extra=log_fields(LogEvent.WRITES_RECOVERED))
