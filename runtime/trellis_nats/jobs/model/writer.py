"""The version of the contract that wrote the payload of a job. Pure."""

from __future__ import annotations

from trellis_nats.jobs.model.event import StoredEvent

__all__ = ["payload_writer"]


def payload_writer(opened: StoredEvent, created: StoredEvent) -> str:
    """Return the digest of the contract that wrote the payload of a job; empty where that is not known.

    An operator of another runtime who retries a job repeats its payload in an event without a digest.

    Args:
        opened: the `created` or `retried` event with the payload.
        created: the event that created the job.
    """
    is_repeated = not opened.digest and opened.event.payload == created.event.payload
    return created.digest if is_repeated else opened.digest
