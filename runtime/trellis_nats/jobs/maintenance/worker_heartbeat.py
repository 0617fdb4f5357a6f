"""The heartbeats of the workers of this process (reference, sections 7.2 and 16; ours: docs/reference/heartbeats.md)."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.progress_thread import Hold, ProgressThread
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.loop_lag import LoopLag
from trellis_nats._support.memory import read_memory
from trellis_nats.clock import later, now, timestamp
from trellis_nats.codec import encode_json
from trellis_nats.contract import Contract
from trellis_nats.errors import TransportError
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.subjects import WORKERS_PREFIX, worker_heartbeat_subject
from trellis_nats.jobs.pause.intake import Intake
from trellis_nats.metrics.registry import Number

__all__ = ["WorkedQueue", "WorkerHeartbeats", "WorkerProcess", "heartbeat_filter"]

_log = logging.getLogger(__name__)


class WorkerProcess:
    """What the heartbeats of all queues say about this process."""

    def __init__(self, contract: Contract, loop_lag: LoopLag) -> None:
        self.loop_lag: Final = loop_lag
        """How late the event loop of the service is."""
        self._contract = contract
        self._host = socket.gethostname()
        self._started_at = now()
        self._grace_ends_at: datetime | None = None
        self._has_stopped = False

    def note_stopping(self, grace: timedelta) -> None:
        """Say from now on that the process stops, and when its handlers must have ended."""
        self._grace_ends_at = later(now(), grace)

    def note_stopped(self) -> None:
        """Say from now on that the workers have stopped."""
        self._has_stopped = True

    def describe(self) -> dict[str, JsonValue]:
        """Return the members of a heartbeat that are about the process. Callable from any thread."""
        members: dict[str, JsonValue] = {
            "contract": self._contract.id,
            "contractDigest": self._contract.digest,
            "host": self._host,
            "pid": os.getpid(),
            "startedAt": timestamp(self._started_at),
            "threads": threading.active_count(),
            "loopLagMs": round(self.loop_lag.read() * 1000),
        }
        memory, runtime = read_memory(), _runtime_version()
        if memory is not None:
            members["memoryBytes"] = memory
        if runtime is not None:
            members["version"] = runtime
        if self._grace_ends_at is not None:
            members |= {"stopping": True, "graceEndsAt": timestamp(self._grace_ends_at)}
        if self._has_stopped:
            members["stopped"] = True
        return members


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedQueue:
    """A queue that this process works."""

    namespace: str
    service: str
    queue: str
    instance_id: str
    concurrency: int
    process: WorkerProcess
    intake: Intake
    """Whether the queue is paused."""
    running: Number
    """How many handlers run."""

    @property
    def subject(self) -> str | None:
        """The subject of its heartbeats. None: a name in the binding is not a valid subject token."""
        tokens = (self.namespace, self.queue, self.instance_id)
        return worker_heartbeat_subject(*tokens) if all(map(is_token, tokens)) else None

    def encode_heartbeat(self, at: datetime) -> bytes:
        """Encode the heartbeat of an instant. Callable from any thread."""
        body: dict[str, JsonValue] = {
            "service": self.service,
            "jobType": self.queue,
            "instanceId": self.instance_id,
            "concurrency": self.concurrency,
            "timestamp": timestamp(at),
            "running": self.running.value,
            "paused": self.intake.pause is not None,
        }
        return encode_json(body | self.process.describe())


def heartbeat_filter(namespace: str) -> str:
    """Return the filter that matches the heartbeats of all workers of a service."""
    return f"{WORKERS_PREFIX}.{namespace}.>"


class WorkerHeartbeats:
    """Publishes the heartbeats of all queues of this process: from the heartbeat thread, also while a handler blocks the loop.

    A heartbeat that cannot be sent is skipped.
    """

    def __init__(
        self,
        connection: Connection,
        thread: ProgressThread,
        queues: Iterable[WorkedQueue],
        *,
        every: timedelta,
    ) -> None:
        self._connection = connection
        self._thread = thread
        self._queues = tuple(queues)
        self._every = every
        self._hold: Hold | None = None

    def start(self) -> None:
        """Publish one heartbeat for each queue now, and after every interval."""
        for queue in self._queues:
            if queue.subject is None:
                _log.warning(
                    'queue "%s": no heartbeats: a name in the binding is not a valid subject token',
                    queue.queue,
                    extra=log_fields(LogEvent.HEARTBEAT_NOT_SENT, queue=queue.queue),
                )
        self._hold = self._thread.repeat(self._repeat, self._every)
        self.publish()

    def publish(self, name: str | None = None) -> None:
        """Publish the heartbeat of a queue now, or of all: something has changed. Before `start`, none is."""
        if self._hold is not None:
            self._send(self._connection, name)

    def stop(self) -> None:
        """Publish the last heartbeats. Safe to call twice."""
        if self._hold is not None:
            self._hold.release()
            self.publish()
            self._hold = None

    async def _repeat(self, connection: Connection) -> None:
        self._send(connection, None)

    def _send(self, connection: Connection, name: str | None) -> None:
        for queue in self._queues:
            if queue.subject is None or name not in {None, queue.queue}:
                continue
            try:
                connection.send(queue.subject, queue.encode_heartbeat(now()))
            except TransportError as error:
                fields = log_fields(LogEvent.HEARTBEAT_NOT_SENT, queue=queue.queue)
                _log.info('queue "%s": a heartbeat was skipped: %s', queue.queue, error, extra=fields)


@cache
def _runtime_version() -> str | None:
    try:
        return version("trellis-nats")
    except PackageNotFoundError:  # running from a checkout or a bundle
        return None
