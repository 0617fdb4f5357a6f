"""Notices that an idempotency key is used again for another payload, which is nearly always a mistake of the caller."""

from __future__ import annotations

import logging
from typing import Final

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.codec import decode_json
from trellis_nats.jobs.model.event import NewEvent, StoredEvent

__all__ = ["warn_of_other_payload"]

_log_throttle: Final = LogThrottle(logging.getLogger(__name__))


def warn_of_other_payload(
    event: NewEvent, earlier: StoredEvent | None, idempotency_key: str | None, *, digest: str
) -> None:
    """Log that a creation with a used idempotency key has another payload than the stored job, which stays as it is.

    `digest` is that of this process's contract. Payloads of another version of the contract are not compared: the same
    order may look different in them.
    """
    if earlier is None or event.payload is None or earlier.digest != digest:
        return
    queue = earlier.event.job_type
    if earlier.event.payload != decode_json(event.payload):
        _log_throttle.write(
            logging.WARNING,
            queue,
            "queue %s: idempotency key %r was used with another payload at %s: job %s keeps its payload, and the new one is "
            "not stored",
            queue,
            idempotency_key,
            earlier.event.timestamp,
            event.job_id,
            extra=log_fields(LogEvent.IDEMPOTENCY_KEY_REUSED, queue=queue, job_id=event.job_id),
        )
