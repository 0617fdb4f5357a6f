"""The parts that a queue with a concurrency key has in addition to its event log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.jobs.keys.create import KeyedCreator
from trellis_nats.jobs.keys.key_store import KeyStore, KeyStores
from trellis_nats.jobs.keys.model.policy import KeyPolicy, policy_of
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.reservations import Reservations
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.liveness import Liveness

__all__ = ["QueueKeys", "build_queue_keys"]

UpcastJson = Callable[[JsonValue, str], JsonValue]
"""Returns the payload that a contract with a digest wrote as JSON of this version."""


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The parts of one queue's keys."""

    policy: KeyPolicy
    stores: KeyStores
    reservations: Reservations
    creator: KeyedCreator
    event_log: EventLog
    upcast_json: UpcastJson

    async def withdraw(self, job_id: str) -> None:
        """Remove a job that will not start from the record of its key.

        Raises:
            InvalidPayload: the stored payload has no key.
            TransportError: NATS did not answer or refused the write; the next caller that needs the entry evicts it.
        """
        key = await self._key_of(job_id)
        if key is not None:
            await self.reservations.withdraw(key, job_id)

    async def remove(self, job_id: str) -> bool:
        """Remove a job from the record of its key, whether it waits or is active. Return whether it was there.

        Raises:
            InvalidPayload: the stored payload has no key.
            TransportError: NATS did not answer or refused the write.
        """
        key = await self._key_of(job_id)
        return key is not None and await self.reservations.remove(key, job_id)

    async def _key_of(self, job_id: str) -> JobKey | None:
        for event in (EventType.RETRIED, EventType.CREATED):
            stored = await self.event_log.newest_of(job_id, event)
            if stored is not None and stored.event.has_payload:
                payload = partial(self.upcast_json, stored.event.payload, stored.digest)
                return self.creator.key_of_stored(stored.event, digest=stored.digest, payload=payload)
        return None


def build_queue_keys(
    connection: Connection,
    jobs: JobsBinding,
    queue: QueueBinding,
    event_log: EventLog,
    liveness: Liveness,
    *,
    timeout: timedelta,
    upcast_json: UpcastJson,
) -> QueueKeys | None:
    """Build the parts of a queue's keys. None: the queue has no concurrency key."""
    policy = policy_of(queue)
    if policy is None:
        return None

    def make_store(through: Connection) -> KeyStore:
        return KeyStore(
            through,
            bucket=jobs.keys_bucket,
            namespace=jobs.namespace,
            queue=queue.queue_type,
            policy=policy,
            timeout=timeout,
        )

    stores = KeyStores(make_store, connection)
    reservations = Reservations(stores.main, event_log, liveness, policy)
    return QueueKeys(
        policy,
        stores,
        reservations,
        KeyedCreator(reservations, event_log, queue=queue.queue_type),
        event_log,
        upcast_json,
    )
