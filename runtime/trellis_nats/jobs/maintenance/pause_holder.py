"""Extends the holds of the consumers of paused queues, as long as the queues are paused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.errors import PermissionDenied
from trellis_nats.jobs.pause.consumer_hold import HOLD_SINCE, consumers_of, hold_consumer, release_consumer
from trellis_nats.jobs.pause.control import read_pause

__all__ = ["HOLD_EVERY", "PauseHolder"]

_log = logging.getLogger(__name__)

HOLD_EVERY: Final = timedelta(minutes=10)
"""A hold lasts an hour: the service may be without a leader for most of it."""


class PauseHolder:
    """Holds the consumers of the paused queues of one service."""

    def __init__(self, connection: Connection, jobs: JobsBinding) -> None:
        self._connection = connection
        self._jobs = jobs
        self._logged: set[str] = set()

    async def run(self, may_continue: Callable[[], bool]) -> None:
        """Extend the holds of all paused queues once.

        Raises:
            TransportError: NATS did not answer.
        """
        if self._connection.server_version < HOLD_SINCE:
            return
        for queue in self._jobs.queues.values():
            if may_continue():
                await self._extend(queue)

    async def _extend(self, queue: QueueBinding) -> None:
        try:
            if await read_pause(self._connection, self._jobs.namespace, queue.queue_type) is None:
                return
        except PermissionDenied as denial:
            self._log_once(queue, str(denial))
            return
        consumers = consumers_of(self._jobs, queue)
        for consumer in consumers:
            hold = await hold_consumer(self._connection, consumer)
            if hold.problem is not None:
                self._log_once(queue, f"consumer {consumer.name} of stream {consumer.stream}: {hold.problem}")
        if await read_pause(self._connection, self._jobs.namespace, queue.queue_type) is None:
            for consumer in consumers:  # resumed meanwhile
                await release_consumer(self._connection, consumer)

    def _log_once(self, queue: QueueBinding, problem: str) -> None:
        if problem in self._logged:
            return
        self._logged.add(problem)
        fields = log_fields(LogEvent.HOLD_FAILED, queue=queue.queue_type)
        _log.info(
            "queue %s is paused, but not held at the server: %s", queue.queue_type, problem, extra=fields
        )
