"""Expires jobs whose deadline has passed and that no worker has seen since."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now, parse_timestamp
from trellis_nats.errors import MalformedJobEvent, PermissionDenied
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import STREAM

from trellis_admin.duties.any_jobs import AnyJobs
from trellis_admin.duties.overdue import OverdueDecision, judge_overdue

__all__ = ["EXPIRE_GRACE", "ExpiryReport", "FindOverdue", "JobPlace", "OverdueExpirer", "OverdueResult"]

_log = logging.getLogger(__name__)

EXPIRE_GRACE: Final = timedelta(seconds=30)
"""How long after a deadline the workers of the queue may still write `expired` themselves."""
_ERROR: Final = "job exceeded deadline"
"""As the reference writes it (17.5), and the workers of this runtime."""
_CHECKED_MAX: Final = 10_000
"""How many jobs one run checks at most."""


class JobPlace(NamedTuple):
    """Where the events of a job are."""

    prefix: str
    id: str


FindOverdue = Callable[[datetime, int], Awaitable[Sequence[JobPlace]]]
"""Returns open jobs whose deadline is before an instant, at most so many, the earliest deadline first."""


class OverdueResult(Enum):
    """What happened to a job that looked overdue."""

    EXPIRED = auto()
    """This run has stored `expired`."""
    ENDED = auto()
    NOT_DUE = auto()
    RUNNING = auto()
    """Its worker lives and works on it: a running handler is not stopped by a deadline."""
    CHANGED = auto()
    """Another writer was faster. The next run looks again."""
    UNREADABLE = auto()
    """Its events cannot be read, or its worker may not be asked."""


@dataclass(frozen=True, slots=True)
class ExpiryReport:
    """The result of one run."""

    results: Counter[OverdueResult] = field(default_factory=Counter[OverdueResult])

    @property
    def expired(self) -> int:
        """How many jobs the run has expired."""
        return self.results[OverdueResult.EXPIRED]


class OverdueExpirer:
    """Writes `expired` for overdue jobs of every queue. Several may run: each job has one winner."""

    def __init__(
        self,
        connection: Connection,
        find_overdue: FindOverdue,
        *,
        grace: timedelta = EXPIRE_GRACE,
    ) -> None:
        self._connection = connection
        self._find_overdue = find_overdue
        self._grace = grace
        self._jobs = AnyJobs(connection)

    async def run(self, may_continue: Callable[[], bool] = lambda: True) -> ExpiryReport:
        """Expire the jobs that are overdue now. Stops early once `may_continue` returns False.

        Raises:
            PermissionDenied: the account may not read or write the events of a queue.
            TransportError: NATS did not answer. The next run looks again.
        """
        at = await self._server_time()
        found = await self._find_overdue(at - self._grace, _CHECKED_MAX)

        async def expire(place: JobPlace) -> OverdueResult | None:
            return await self._expire(place, at) if may_continue() else None

        results = await bounded_gather(found, expire)
        return ExpiryReport(Counter(result for result in results if result is not None))

    async def _expire(self, place: JobPlace, at: datetime) -> OverdueResult:
        prefix, job_id = place
        try:
            life = await self._jobs.read(prefix, job_id)
        except MalformedJobEvent as error:
            fields = log_fields(LogEvent.JOB_UNREADABLE, job_id=job_id)
            _log.warning("job %s may be overdue, but cannot be read: %s", job_id, error, extra=fields)
            return OverdueResult.UNREADABLE
        if life is None:  # purged since it was found
            return OverdueResult.ENDED
        match judge_overdue(life, at=at, grace=self._grace):
            case OverdueDecision.ENDED:
                return OverdueResult.ENDED
            case OverdueDecision.NOT_DUE:
                return OverdueResult.NOT_DUE
            case OverdueDecision.ASK_WORKER:
                try:
                    if await self._jobs.is_running(prefix, job_id, life):
                        return OverdueResult.RUNNING
                except PermissionDenied:  # its worker may be alive, and would lose its result
                    return OverdueResult.UNREADABLE
            case OverdueDecision.EXPIRE:
                pass
        is_stored = await self._jobs.end(
            prefix, life, EventType.EXPIRED, tries=life.tries, error=_ERROR, at=at
        )
        return OverdueResult.EXPIRED if is_stored else OverdueResult.CHANGED

    async def _server_time(self) -> datetime:
        """Return the server's time: the clock of this machine may be wrong by more than the grace."""
        info = await get_stream_info(self._connection, STREAM)
        text = None if info is None else info.get("ts")
        try:
            return parse_timestamp(text) if isinstance(text, str) else now()
        except ValueError:
            return now()
