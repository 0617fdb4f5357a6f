"""Shows that a queue is worked here (reference, sections 7.2 and 16)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
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
        """Where its signs of life go; None where a name of a given binding may not stand in a subject."""
        tokens = (self.namespace, self.queue, self.instance_id)
        return worker_heartbeat_subject(*tokens) if all(map(is_token, tokens)) else None

    def sign_of_life(self, at: datetime) -> bytes:
        """Write one."""
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
    """Return the filter for the signs of life of every worker of a service."""
    return f"{WORKERS_PREFIX}.{namespace}.>"


class WorkerHeartbeat:
    """Publishes a sign of life for one queue, at once and then every so often, until cancelled."""

    def __init__(self, connection: Connection, queue: WorkedQueue, *, every: timedelta) -> None:
        self._connection = connection
        self._queue = queue
        self._every = every

    async def show(self) -> None:
        """Do it. What cannot be published is left out: nobody waits for it, and the next one follows."""
        subject = self._queue.subject
        if subject is None:
            _log.warning(
                "queue %s: its workers are not shown: no subject can hold its name", self._queue.queue
            )
            return
        while True:
            try:
                await self._connection.publish(subject, self._queue.sign_of_life(now()))
            except TransportError as error:
                _log.info("queue %s: a sign of life was left out: %s", self._queue.queue, error)
            await asyncio.sleep(self._every.total_seconds())


@cache
def _runtime_version() -> str | None:
    try:
        return version("trellis-nats")
    except PackageNotFoundError:  # it runs from a checkout or a bundle
        return None
