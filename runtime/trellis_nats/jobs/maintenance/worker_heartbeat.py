"""Publishes the heartbeats of a worker (reference, sections 7.2 and 16)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now, timestamp
from trellis_nats.codec import encode_json
from trellis_nats.errors import TransportError
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.subjects import WORKERS_PREFIX, worker_heartbeat_subject

__all__ = ["WorkedQueue", "WorkerHeartbeat", "heartbeat_filter"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedQueue:
    """A queue that this process works."""

    namespace: str
    service: str
    queue: str
    instance_id: str
    concurrency: int

    @property
    def subject(self) -> str | None:
        """The subject of its heartbeats. None: a name in the binding is not a valid subject token."""
        tokens = (self.namespace, self.queue, self.instance_id)
        return worker_heartbeat_subject(*tokens) if all(map(is_token, tokens)) else None

    def encode_heartbeat(self, at: datetime) -> bytes:
        """Encode the heartbeat of an instant."""
        body: dict[str, JsonValue] = {
            "service": self.service,
            "jobType": self.queue,
            "instanceId": self.instance_id,
            "concurrency": self.concurrency,
            "timestamp": timestamp(at),
        }
        runtime = _runtime_version()
        if runtime is not None:
            body["version"] = runtime
        return encode_json(body)


def heartbeat_filter(namespace: str) -> str:
    """Return the filter that matches the heartbeats of all workers of a service."""
    return f"{WORKERS_PREFIX}.{namespace}.>"


class WorkerHeartbeat:
    """Publishes the heartbeats of one queue."""

    def __init__(self, connection: Connection, queue: WorkedQueue, *, every: timedelta) -> None:
        self._connection = connection
        self._queue = queue
        self._every = every

    async def run(self) -> None:
        """Publish a heartbeat now and after every interval, until cancelled. A heartbeat that fails is skipped."""
        subject, queue = self._queue.subject, self._queue.queue
        fields = log_fields(LogEvent.HEARTBEAT_NOT_SENT, queue=queue)
        if subject is None:
            _log.warning(
                'queue "%s": no heartbeats: a name in the binding is not a valid subject token',
                queue,
                extra=fields,
            )
            return
        while True:
            try:
                await self._connection.publish(subject, self._queue.encode_heartbeat(now()))
            except TransportError as error:
                _log.info('queue "%s": a heartbeat was skipped: %s', queue, error, extra=fields)
            await asyncio.sleep(self._every.total_seconds())


@cache
def _runtime_version() -> str | None:
    try:
        return version("trellis-nats")
    except PackageNotFoundError:  # running from a checkout or a bundle
        return None
