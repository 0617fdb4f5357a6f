"""Removes a job that will not begin from the record of its key, for a caller that does not have the queue's contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from trellis_nats._nats.connection import Connection
from trellis_nats.binding import keys_bucket_of
from trellis_nats.jobs.keys.key_store import KeyStore
from trellis_nats.jobs.keys.model.admission import withdraw
from trellis_nats.jobs.keys.model.event_fields import stored_key
from trellis_nats.jobs.model.event import StoredEvent

__all__ = ["leave_stored_key"]


async def leave_stored_key(
    connection: Connection, prefix: str, openings: Sequence[StoredEvent], *, timeout: timedelta
) -> None:
    """Remove a waiting job from the record of the key that its events name. Does nothing if they name none.

    A job of another runtime may have a key that its events do not name: its entry is removed by the worker that receives its
    work message, or by the next job that needs room.

    Args:
        connection: to the server.
        prefix: the queue's `publishPrefix`.
        openings: the events by which the job began, oldest first.
        timeout: how long a request waits for its answer.

    Raises:
        MalformedKeyRecord: the stored record cannot be read.
        TransportError: NATS did not answer or refused the write.
    """
    named = [(stored.event, key) for stored in openings if (key := stored_key(stored.event)) is not None]
    if not named:
        return
    event, key = named[-1]
    namespace = prefix.split(".")[2]
    store = KeyStore(
        connection,
        bucket=keys_bucket_of(namespace),
        namespace=namespace,
        queue=event.job_type,
        policy=None,
        timeout=timeout,
    )
    await store.change(key, lambda record: (withdraw(record, event.job_id), None))
