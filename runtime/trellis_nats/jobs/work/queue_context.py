"""What the refs and the workers of one queue share: its event log, its codecs, its names on the server."""

from __future__ import annotations

from typing import Generic

from trellis_nats._nats.connection import Connection
from trellis_nats.binding import QueueBinding
from trellis_nats.clock import Clock
from trellis_nats.codec import Codec
from trellis_nats.jobs.keys.queue_keys import QueueKeys
from trellis_nats.jobs.model.payload_reader import PayloadReader
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.store.event_batches import EventBatches
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.job_reader import JobReader
from trellis_nats.jobs.store.live_updates import LiveUpdates

__all__ = ["QueueContext"]


class QueueContext(Generic[PayloadT, ResultT, UpdateT]):
    """Everything that is needed to read and write the jobs of one queue."""

    def __init__(
        self,
        connection: Connection,
        subjects: JobSubjects,
        *,
        queue: str,
        binding: QueueBinding,
        payload: Codec[PayloadT],
        payloads: PayloadReader[PayloadT],
        result: Codec[ResultT] | None,
        updates: LiveUpdates[UpdateT],
        event_log: EventLog,
        batches: EventBatches,
        reader: JobReader,
        keys: QueueKeys | None,
        clock: Clock,
    ) -> None:
        self.connection = connection
        self.subjects = subjects
        self.queue = queue
        """The queue's name in the contract."""
        self.binding = binding
        """Its names and numbers on the server."""
        self.payload = payload
        """Writes payloads."""
        self.payloads = payloads
        """Reads those that are stored, of every version."""
        self.result = result
        """None where the queue declares no result."""
        self.updates = updates
        self.event_log = event_log
        self.batches = batches
        self.reader = reader
        self.keys = keys
        """None for a queue without a concurrency key."""
        self.clock = clock
        """The clock by which the jobs wait and expire."""
