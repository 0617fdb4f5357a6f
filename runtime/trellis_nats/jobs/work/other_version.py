"""Decides about payloads that this version of the contract cannot read: another version may have written them.

A rolling deploy has workers of both versions. So such a job goes back to the queue, without an attempt, until a worker of its
version takes it. How long it has waited so is counted in deliveries, which the server keeps: no worker need remember it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats._versions import ContractVersion, version_delay, waited_for
from trellis_nats.clock import describe_duration
from trellis_nats.jobs.model.event import instant
from trellis_nats.jobs.work.redelivery import spread
from trellis_nats.jobs.work.work_item import WorkItem
from trellis_nats.metrics.registry import Number

__all__ = ["VersionPatience"]

_log = logging.getLogger(__name__)

_SOONEST: Final = timedelta(milliseconds=1)
_JITTER: Final = 0.5
"""By which part a delay varies: jobs that return in the order in which they were given back go to the same workers again."""


class VersionPatience:
    """How long jobs of one queue wait for a worker that can read their payloads."""

    def __init__(self, digest: str, patience: timedelta, *, queue: str, postponed: Number) -> None:
        """Prepare.

        Args:
            digest: that of this process's contract.
            patience: `Options.version_patience`.
            queue: the queue's name, for the log.
            postponed: counts what is postponed.
        """
        self._version = ContractVersion(digest)
        self._patience = patience
        self._queue = queue
        self._postponed = postponed
        self._log_throttle = LogThrottle(_log)

    def is_foreign(self, item: WorkItem) -> bool:
        """Return whether another version of the contract wrote the payload of a job."""
        return self._version.is_other(item.digest)

    async def postpone(self, item: WorkItem, problem: str) -> bool:
        """Give a job back that this version cannot read. Return False when it has waited long enough, and fails."""
        delivered, redelivery = item.message.delivered, item.redelivery
        is_last = 0 < redelivery.max_deliver <= delivered
        if is_last or min(waited_for(delivered), _age(item)) >= self._patience:
            return False
        (delay,) = spread((version_delay(delivered),), _JITTER)
        deadline = instant(item.event.deadline)
        if deadline is not None:
            delay = max(min(delay, deadline - item.parking.clock.now()), _SOONEST)
        self._log_throttle.write(
            logging.INFO,
            LogEvent.JOB_OF_OTHER_VERSION,
            "job %s of queue %s waits for a worker of contract version %s, which wrote it; this worker has version %s and "
            "cannot read it: %s",
            item.job_id,
            self._queue,
            item.digest,
            self._version.digest,
            problem,
            extra=log_fields(LogEvent.JOB_OF_OTHER_VERSION, queue=self._queue, job_id=item.job_id),
        )
        self._postponed.add()
        await item.message.nak(redelivery.nak_delay(delay, delivered=delivered))
        return True

    def reason(self, item: WorkItem, problem: str) -> str:
        """Return why a job fails that this version cannot read."""
        if not self.is_foreign(item):
            return problem
        return (
            f"{problem}; contract version {item.digest} wrote it, this worker has version {self._version.digest}, and no "
            f"worker that can read it took it within {describe_duration(self._patience)}"
        )


def _age(item: WorkItem) -> timedelta:
    """Return how long the server has had the message.

    Deliveries may be many within no time, for other reasons: processes that stop, for example.
    """
    return max(item.parking.server_clock.now() - item.message.stored_at, timedelta(0))
