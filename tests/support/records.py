"""The record of a key, as a test reads it."""

from __future__ import annotations

from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats.jobs.keys.model.record import KeyRecord
from trellis_nats.jobs.keys.model.template import JobKey, resolve

from tests.support.ferry import Cargo, CargoQueue, Ferry


def key_of(queue: CargoQueue, cargo: Cargo) -> JobKey:
    """Return the key of a payload."""
    assert queue.spec.key is not None
    return resolve(queue.spec.key.template, cargo.model_dump(mode="json"), what="cargo")


def bucket_of(ferry: Ferry) -> KvBucket:
    """Return the bucket of the records."""
    return KvBucket(ferry.jobs.runtime.connection, "JOBS_KEYS_ferry")


def name_of(queue: CargoQueue, cargo: Cargo) -> str:
    """Return the name of a record in the bucket."""
    return f"ferry.{queue.spec.name}.{key_of(queue, cargo).hash}"


async def record_of(ferry: Ferry, queue: CargoQueue, cargo: Cargo) -> KeyRecord:
    """Read the record of a payload's key.

    Raises:
        AssertionError: there is none.
    """
    key = key_of(queue, cargo)
    found = await bucket_of(ferry).get(name_of(queue, cargo), leader=True)
    assert found is not None, "the key has no record"
    return KeyRecord.parse(found.value, service="ferry", queue=queue.spec.name, key_hash=key.hash)


async def holders(ferry: Ferry, queue: CargoQueue, cargo: Cargo) -> tuple[list[str], list[str]]:
    """Return the jobs that are active and those that wait, as the record has them."""
    record = await record_of(ferry, queue, cargo)
    return [slot.job_id for slot in record.active], [entry.job_id for entry in record.queued]
