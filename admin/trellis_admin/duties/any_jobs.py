"""Reads and ends jobs of any queue, without its contract: by the subject under which their events are."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.ids import new_id
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, JobSubjects
from trellis_nats.jobs.store.event_log import EventLog, WriteConflict
from trellis_nats.jobs.store.liveness import Liveness

from trellis_admin.duties.job_life import JobLife, read_life

__all__ = ["AnyJobs"]

_log = logging.getLogger(__name__)

_TIMEOUT: Final = timedelta(seconds=5)
_UNKNOWN_DIGEST: Final = ""
"""A duty writes by no contract, so its events do not name one."""


class AnyJobs:
    """The jobs of every queue."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._event_logs: dict[str, EventLog] = {}
        self._liveness: dict[str, Liveness] = {}

    async def read(self, prefix: str, job_id: str) -> JobLife | None:
        """Read a job; None where nothing of it is stored.

        Raises:
            MalformedJobEvent: its newest event cannot be read.
            TransportError: NATS did not answer.
        """
        return await read_life(self._event_log(prefix), job_id)

    async def is_running(self, prefix: str, job_id: str, life: JobLife) -> bool:
        """Ask the process that began a job whether it still works on it. One of another runtime does not answer: False.

        Raises:
            PermissionDenied: the account may not ask.
            TransportError: the question could not be sent.
        """
        namespace = prefix.removeprefix(f"{EVENTS_PREFIX}.").partition(".")[0]
        liveness = self._liveness.get(namespace)
        if liveness is None:
            liveness = Liveness(
                self._connection, namespace=namespace, instance_id=new_id(), peers_may_differ=True
            )
            self._liveness[namespace] = liveness
        return await liveness.is_held(job_id, life.started_by, JobSubjects(prefix))

    async def end(
        self, prefix: str, life: JobLife, kind: EventType, *, tries: int, error: str, at: datetime
    ) -> bool:
        """Store the event that ends a job, unless it has changed since it was read. Return whether it is stored.

        Raises:
            WriteUnknown: no answer came; the event may be stored.
            TransportError: NATS did not store it.
        """
        event = life.newest.event
        identity = JobIdentity(
            job_id=event.job_id, service=event.service, queue=event.job_type, context=event.job_context()
        )
        ended = identity.ended(kind, previous=life.state, tries=tries, error=error, at=at)
        try:
            await self._event_log(prefix).append(ended, after=life.newest.sequence)
        except WriteConflict:
            return False
        fields = log_fields(LogEvent.JOB_FAILED, queue=event.job_type, job_id=event.job_id, attempt=tries)
        _log.warning(
            'job %s of queue "%s" is %s: %s', event.job_id, event.job_type, kind, error, extra=fields
        )
        return True

    def _event_log(self, prefix: str) -> EventLog:
        found = self._event_logs.get(prefix)
        if found is None:
            found = EventLog(self._connection, JobSubjects(prefix), digest=_UNKNOWN_DIGEST, timeout=_TIMEOUT)
            self._event_logs[prefix] = found
        return found
