"""Marks jobs as dead whose message a consumer of another runtime does not deliver any more (reference, 17.6)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import split_ack_subject
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.bulk_reader import BulkReader, Stored
from trellis_nats._nats.jetstream.streams import StoredMessage, get_next_message_from_leader
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import from_unix_nanoseconds, parse_timestamp
from trellis_nats.errors import ApiError, MalformedJobEvent, PermissionDenied
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.subjects import ADVISORIES_STREAM, WORK_STREAM

from trellis_admin.duties.advisory import (
    Advisory,
    Spared,
    judge_advisory,
    lifecycle_prefix,
    parse_advisory,
)
from trellis_admin.duties.any_jobs import AnyJobs

__all__ = ["AdvisoryResult", "BurialReport", "UndeliveredBurier"]

_log = logging.getLogger(__name__)

_FILTER: Final = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"
_NOT_FOUND: Final = 404
_FULL_READ_EVERY: Final = timedelta(hours=1)
"""How often all advisories are read again, which also happens after every reconnect: the stream may have been rolled back,
and what could not be decided then may be decided now. An advisory that was acted on finds a job that has ended."""


class AdvisoryResult(Enum):
    """What became of one advisory."""

    DEAD = auto()
    """This run has stored `dead`."""
    SPARED = auto()
    """It does not end a job: the job has ended, was retried, or its message is gone."""
    RUNNING = auto()
    """The job's worker lives and works on it."""
    CHANGED = auto()
    """Another writer was faster."""
    UNREADABLE = auto()
    """It is malformed, or the job's events cannot be read."""


@dataclass(frozen=True, slots=True)
class BurialReport:
    """The result of one run."""

    results: Counter[AdvisoryResult] = field(default_factory=Counter[AdvisoryResult])

    @property
    def dead(self) -> int:
        """How many jobs the run has marked as dead."""
        return self.results[AdvisoryResult.DEAD]


class UndeliveredBurier:
    """Reads the advisories of every stream. Several may run: each job has one winner."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs = AnyJobs(connection)
        self._position = 0
        """The sequence of the last advisory that was read."""
        self._full_read_at = float("-inf")
        self._link = connection.link

    async def run(self, may_continue: Callable[[], bool] = lambda: True) -> BurialReport:
        """Act on the advisories since the last run. Stops early once `may_continue` returns False.

        Without the stream JOBS_ADVISORIES there are none.

        Raises:
            PermissionDenied: the account may not read the advisories, or the events of a queue, or write them.
            TransportError: NATS did not answer. The next run continues.
        """
        link = self._connection.link
        if link is not self._link or monotonic() - self._full_read_at >= _FULL_READ_EVERY.total_seconds():
            self._position, self._full_read_at, self._link = 0, monotonic(), link
        results = Counter[AdvisoryResult]()
        consumers: dict[tuple[str, str], datetime | None] = {}

        async def act(stored: Stored) -> AdvisoryResult | None:
            return await self._act(stored, consumers) if may_continue() else None

        try:
            async with BulkReader(
                self._connection, ADVISORIES_STREAM, [_FILTER], after=self._position
            ) as reader:
                while may_continue() and (page := await reader.read()):
                    done = await bounded_gather(page, act)
                    results.update(result for result in done if result is not None)
                    if None in done:
                        break
                    self._position = page[-1].sequence
        except ApiError as error:
            if error.code != _NOT_FOUND:
                raise
        return BurialReport(results)

    async def _act(self, stored: Stored, consumers: dict[tuple[str, str], datetime | None]) -> AdvisoryResult:
        _, _, _, stored_ns, _ = split_ack_subject(stored.message.reply)
        stored_at = from_unix_nanoseconds(int(stored_ns))
        advisory = parse_advisory(stored.message.data, stored_at=stored_at)
        if advisory is None:
            return AdvisoryResult.UNREADABLE
        message = await self._read_message(advisory)
        prefix = None if message is None else lifecycle_prefix(message.subject)
        work = None if message is None else LifecycleEvent.parse(message.data)
        if prefix is None or work is None or not is_token(work.job_id):
            return AdvisoryResult.SPARED
        try:
            life = await self._jobs.read(prefix, work.job_id)
        except MalformedJobEvent as error:
            fields = log_fields(LogEvent.JOB_UNREADABLE, job_id=work.job_id)
            _log.warning("job %s is not delivered any more: %s", work.job_id, error, extra=fields)
            return AdvisoryResult.UNREADABLE
        if life is None:
            return AdvisoryResult.SPARED
        place = advisory.stream, advisory.consumer
        if place not in consumers:
            consumers[place] = await self._created_at(advisory)
        decision = judge_advisory(advisory, work, life, consumer_created=consumers[place])
        if isinstance(decision, Spared):
            return AdvisoryResult.SPARED
        if life.state is JobState.ACTIVE and life.started_by is not None:
            try:
                if await self._jobs.is_running(prefix, work.job_id, life):
                    return AdvisoryResult.RUNNING
            except PermissionDenied:  # its worker may be alive, and would lose its result
                return AdvisoryResult.UNREADABLE
        is_stored = await self._jobs.end(
            prefix, life, EventType.DEAD, tries=decision.tries, error=decision.error, at=advisory.at
        )
        return AdvisoryResult.DEAD if is_stored else AdvisoryResult.CHANGED

    async def _read_message(self, advisory: Advisory) -> StoredMessage | None:
        """Return the message that is not delivered any more; None if it is gone: its worker has acknowledged it."""
        try:
            found = await get_next_message_from_leader(
                self._connection, advisory.stream, ">", advisory.sequence
            )
        except PermissionDenied:
            if advisory.stream == WORK_STREAM:
                raise
            return None  # a stream of something else: this account has nothing to do there
        return found if found is not None and found.sequence == advisory.sequence else None

    async def _created_at(self, advisory: Advisory) -> datetime | None:
        try:
            answer = await call(self._connection, f"CONSUMER.INFO.{advisory.stream}.{advisory.consumer}")
        except ApiError as error:
            if error.code == _NOT_FOUND:
                return None
            raise
        created = answer.get("created")
        return parse_timestamp(created) if isinstance(created, str) else None
