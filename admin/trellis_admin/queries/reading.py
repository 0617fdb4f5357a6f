"""Reads rows of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError
from trellis_nats.jobs.model.event import JobProgress

from trellis_admin.projection.codes import STATES, from_milliseconds
from trellis_admin.queries.rows import JobRow

__all__ = ["COLUMNS", "read_row"]

COLUMNS: Final = (
    "id, prefix, service, name, state, created_seq, state_seq, last_seq, created_at, updated_at, state_at, started_at, "
    "ended_at, next_at, deadline, tries, max_tries, error, error_types.text, fingerprint, key, key_hash, workers.text, "
    "digests.text, trace_id, request_id, triggers.text, parent_id, root_id, progress, bulk, actors.text, payload_bytes "
    "FROM job JOIN queue ON queue.number = job.queue "
    "LEFT JOIN word AS error_types ON error_types.number = error_type LEFT JOIN word AS workers ON workers.number = worker "
    "LEFT JOIN word AS digests ON digests.number = digest LEFT JOIN word AS triggers ON triggers.number = trigger "
    "LEFT JOIN word AS actors ON actors.number = actor"
)
"""What `read_row` reads, and from where: the middle of a SELECT."""


def read_row(row: tuple[Any, ...]) -> JobRow:
    """Return the job of a row of `COLUMNS`. Any: SQLite gives rows without types."""
    (
        job_id, prefix, service, queue, state, created_seq, state_seq, last_seq, created_at, updated_at, state_at,
        started_at, ended_at, next_at, deadline, tries, max_tries, error, error_type, fingerprint, key, key_hash,
        worker, digest, trace_id, request_id, trigger, parent_id, root_id, progress, bulk, actor, payload_bytes,
    ) = row  # fmt: skip
    return JobRow(
        id=job_id,
        prefix=prefix,
        service=service,
        queue=queue,
        state=STATES[int(state)],
        created_sequence=created_seq,
        state_sequence=state_seq,
        last_sequence=last_seq,
        created_at=from_milliseconds(created_at),
        updated_at=from_milliseconds(updated_at),
        state_at=from_milliseconds(state_at),
        started_at=_instant(started_at),
        ended_at=_instant(ended_at),
        next_at=_instant(next_at),
        deadline=_instant(deadline),
        tries=tries,
        max_tries=max_tries,
        error=error,
        error_type=error_type,
        fingerprint=None if fingerprint is None else f"{fingerprint:08x}",
        key=key,
        key_hash=key_hash,
        worker=worker,
        digest=digest,
        trace_id=trace_id,
        request_id=request_id,
        trigger=trigger,
        parent_id=parent_id,
        root_id=root_id,
        progress=_progress(progress),
        bulk=bulk,
        actor=actor,
        payload_bytes=payload_bytes,
    )


def _instant(stored: int | None) -> datetime | None:
    return None if stored is None else from_milliseconds(stored)


def _progress(stored: str | None) -> JobProgress | None:
    if stored is None:
        return None
    try:
        return JobProgress.model_validate_json(stored)
    except ValidationError:
        return None
