"""Shows the payload of one job, without what its contract calls secret."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats.codec import decode_json
from trellis_nats.jobs.model.copied_event import CopiedMembers
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.store.event_log import EventLog

from trellis_admin.payloads.contract import PayloadContract

__all__ = ["Revealed", "reveal_payload"]

_TIMEOUT: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """The payload of a job."""

    text: bytes
    """As JSON: the stored bytes, so that integers are exact; where something is hidden, the rest of it."""
    hidden: tuple[str, ...]
    """JSON pointers to what the contract calls secret, and what is therefore not in the text."""
    digest: str
    """Of the contract that wrote it; empty where that is not known."""
    is_checked: bool
    """Whether a contract said what is secret. Without one, nothing is hidden."""


async def reveal_payload(
    connection: Connection, prefix: str, job_id: str, contract: PayloadContract | None
) -> Revealed | None:
    """Read the payload of a job; None if the stream does not have it any longer.

    Args:
        connection: to the server.
        prefix: the publish prefix of the job's queue.
        job_id: the job.
        contract: says what is secret; None where it is not known.

    Raises:
        MalformedJobEvent: the event cannot be read.
        TransportError: the server did not answer.
    """
    event_log = EventLog(connection, JobSubjects(prefix), digest="", timeout=_TIMEOUT)
    stored = CopiedMembers.of(*await event_log.openings(job_id))
    if stored is None:
        return None
    if contract is None or not contract.has_queue(prefix):
        return Revealed(text=stored.payload, hidden=(), digest=stored.writer, is_checked=False)
    redacted = contract.redact(prefix, decode_json(stored.payload))
    if redacted is None or not redacted.places:
        return Revealed(text=stored.payload, hidden=(), digest=stored.writer, is_checked=True)
    text = json.dumps(redacted.value, ensure_ascii=False).encode(errors="replace")
    return Revealed(text=text, hidden=redacted.places, digest=stored.writer, is_checked=True)
