"""Decides whether a redelivered job still runs in another worker, or may begin here."""

from __future__ import annotations

import logging

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import PermissionDenied
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.jobs.work.work_item import WorkItem

__all__ = ["Takeover", "log_still_running"]

_log = logging.getLogger(__name__)


class Takeover:
    """Asks the workers of one queue which jobs they run."""

    def __init__(self, event_log: EventLog, liveness: Liveness, *, queue: str) -> None:
        self._event_log = event_log
        self._liveness = liveness
        self._queue = queue

    async def runs_elsewhere(self, item: WorkItem) -> bool:
        """Ask the process that began the newest attempt whether it still works on the job.

        If it does, the message is left unanswered: that process keeps it from being redelivered.
        """
        started = await self._event_log.newest_of(item.job_id, EventType.STARTED)
        try:
            is_held = started is not None and await self._liveness.is_held(
                item.job_id, started.event.instance_id, self._event_log.subjects
            )
        except PermissionDenied as denial:
            if self._must_wait(item, denial):
                return True
            is_held = False
        if is_held:
            log_still_running(item, "in another worker")
            return True
        # Once for each delivery: the history is read again every few seconds while the job waits for its key.
        _log.log(
            logging.DEBUG if item.is_reported_lost else logging.WARNING,
            "job %s of queue %s was redelivered: its worker no longer holds it",
            item.job_id,
            self._queue,
            extra=log_fields(LogEvent.JOB_REDELIVERED_LOST, queue=self._queue, job_id=item.job_id),
        )
        item.is_reported_lost = True
        return False

    def _must_wait(self, item: WorkItem, denial: PermissionDenied) -> bool:
        """Return whether to leave the message unanswered for an ack wait, where no worker can be asked.

        If the worker is alive, its progress acks keep the server from delivering the message again.
        """
        delivered, connected_for = item.message.delivered, self._liveness.connected_for
        if item.redelivery.is_silence_proven(delivered, connected_for=connected_for):
            return False
        _log.info(
            "job %s of queue %s may still run in another worker: it waits until the server delivers it again: %s",
            item.job_id,
            self._queue,
            denial,
            extra=log_fields(LogEvent.JOB_POSTPONED, queue=self._queue, job_id=item.job_id),
        )
        return True


def log_still_running(item: WorkItem, where: str) -> None:
    """Log that a job was redelivered while it runs."""
    _log.info(
        "job %s of queue %s was redelivered while it runs %s",
        item.job_id,
        item.queue,
        where,
        extra=log_fields(LogEvent.JOB_REDELIVERED_LIVE, queue=item.queue, job_id=item.job_id),
    )
