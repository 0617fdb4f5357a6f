"""Everything that a queue with a concurrency key has beside its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from trellis_nats._nats.connection import Connection
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.jobs.keys.create import KeyedCreation
from trellis_nats.jobs.keys.key_store import KeyStore, KeyStores
from trellis_nats.jobs.keys.model.policy import KeyPolicy, policy_of
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.reservations import Reservations
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.liveness import Liveness

__all__ = ["QueueKeys", "queue_keys"]


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys of one queue."""

    policy: KeyPolicy
    stores: KeyStores
    reservations: Reservations
    creation: KeyedCreation
    event_log: EventLog

    async def withdraw(self, job_id: str) -> None:
        """Take a job that will not begin out of the record of its key.

        Raises:
            InvalidPayload: the stored payload has no key.
            TransportError: NATS did not take it; whoever needs its place takes it out later.
        """
        key = await self._key_of(job_id)
        if key is not None:
            await self.reservations.withdraw(key, job_id)

    async def remove(self, job_id: str) -> bool:
        """Take a job out of the record of its key, whether it waits or is active. Return whether it was there.

        Raises:
            InvalidPayload: the stored payload has no key.
            TransportError: NATS did not take it.
        """
        key = await self._key_of(job_id)
        return key is not None and await self.reservations.remove(key, job_id)

    async def _key_of(self, job_id: str) -> JobKey | None:
        for event in (EventType.RETRIED, EventType.CREATED):
            stored = await self.event_log.newest_of(job_id, event)
            if stored is not None and stored.event.has_payload:
                return self.creation.key_of(stored.event.payload)
        return None


def queue_keys(
    connection: Connection,
    jobs: JobsBinding,
    queue: QueueBinding,
    event_log: EventLog,
    *,
    instance_id: str,
    timeout: timedelta,
) -> QueueKeys | None:
    """Build what a queue needs for its keys; None when it has none."""
    policy = policy_of(queue)
    if policy is None:
        return None

    def store(through: Connection) -> KeyStore:
        return KeyStore(
            through,
            bucket=jobs.keys_bucket,
            namespace=jobs.namespace,
            queue=queue.queue_type,
            policy=policy,
            timeout=timeout,
        )

    stores = KeyStores(store, connection)
    claims = Liveness(connection, namespace=jobs.namespace, instance_id=instance_id)
    reservations = Reservations(stores.main, event_log, claims, policy)
    return QueueKeys(
        policy,
        stores,
        reservations,
        KeyedCreation(reservations, event_log, queue=queue.queue_type),
        event_log,
    )
