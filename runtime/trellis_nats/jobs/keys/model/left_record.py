"""The record that the creator of a job left, named by a header of the `created` event. Pure.

Where the job has its key for itself, its entry is the only one in the record. Its worker then knows the record without a
read: the revision is what the creator's write got. If the record was changed since, the worker's write is refused, as for
any other record that is not the newest. Other runtimes neither write nor read the header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from trellis_nats.jobs.keys.model.record import KeyRecord

__all__ = ["LeftRecord", "left_line", "left_record"]

_HEADER: Final = "trellis-key-record"
_VALUE: Final = re.compile(r"([1-9][0-9]{0,18}) ([0-9]{1,9})")
_VALID_FOR: Final = timedelta(seconds=60)
"""How long after the event its header counts. A bucket that an operator restores or creates again assigns its revisions a
second time."""


class LeftRecord(NamedTuple):
    """A record with the entry of one job, and nothing else."""

    revision: int
    takeovers: int


def left_line(record: KeyRecord, revision: int, job_id: str) -> bytes:
    """Return the header that names a record, as an encoded line; empty unless the job has the record for itself."""
    if record.active or record.extra or len(record.queued) != 1:
        return b""
    entry = record.queued[0]
    if entry.job_id != job_id or entry.retry_at is not None or entry.extra:
        return b""
    return f"{_HEADER}: {revision} {record.takeovers}\r\n".encode()


def left_record(headers: Mapping[str, str], *, written: datetime, at: datetime) -> LeftRecord | None:
    """Return the record that the headers of a `created` event name. None: none, or not of the last minute.

    Args:
        headers: those of the event.
        written: when it was written, by the clock of its writer.
        at: the time now.
    """
    found = _VALUE.fullmatch(headers.get(_HEADER, ""))
    if found is None or abs(at - written) > _VALID_FOR:
        return None
    return LeftRecord(int(found[1]), int(found[2]))
