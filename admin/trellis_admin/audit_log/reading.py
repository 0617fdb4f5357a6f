"""Reads the audit log newest first, page by page: windows of sequences from its end backwards."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.bulk_reader import BulkReader
from trellis_nats._nats.jetstream.streams import count_subjects, get_last_message

from trellis_admin.audit_log.filters import AuditFilter
from trellis_admin.audit_log.records import AUDIT_STREAM, AuditEntry, AuditRecord, Kind, Phase, subject_filter
from trellis_admin.audit_log.resources import explain_missing, stream_bounds

__all__ = ["AuditCounts", "AuditPage", "count_audit", "read_audit"]

_WINDOW: Final = 500
"""How many sequences the first window has; each next one has twice as many, for a filter that matches little."""
_WINDOW_MAX: Final = 16_000
_TOGETHER: Final = 64
"""How many outcomes are read at the same time."""
_SKEW: Final = timedelta(minutes=10)
"""How far the clocks of actors may be apart: reading goes back so much further than `since`."""
_ALL: Final = AuditFilter()


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first."""

    entries: tuple[AuditEntry, ...]
    older: int | None
    """Pass it as `before` for the next page; None: there are no older entries."""


@dataclass(frozen=True, slots=True)
class AuditCounts:
    """How many entries the log has."""

    total: int
    kinds: Mapping[Kind, int]
    refused: int
    """Those that were refused, or denied by a role; they count under their kinds too."""


async def read_audit(
    connection: Connection, wanted: AuditFilter = _ALL, *, before: int | None = None, limit: int = 50
) -> AuditPage:
    """Return the newest entries that match, of those before a sequence.

    Raises:
        CannotRead: the account may not read the log.
        TransportError: the server did not answer.
    """
    with explain_missing("the audit log", AUDIT_STREAM):
        bounds = await stream_bounds(connection, AUDIT_STREAM)
        if bounds is None:
            return AuditPage((), None)
        first, last = bounds
        upper = last if before is None else min(last, before - 1)
        found: list[AuditEntry] = []
        window = _WINDOW
        while upper >= first and len(found) <= limit:
            lower = max(first, upper - window + 1)
            records = await _read_window(connection, wanted, lower, upper)
            found += await _fold_wanted(connection, wanted, records, limit + 1 - len(found))
            if wanted.since is not None and records and records[-1].record.at < wanted.since - _SKEW:
                break
            upper, window = lower - 1, min(2 * window, _WINDOW_MAX)
    page = found[:limit]
    return AuditPage(tuple(page), page[-1].sequence if len(found) > limit else None)


async def count_audit(connection: Connection) -> AuditCounts:
    """Count the entries of the log. The server counts: nothing is read.

    Raises:
        CannotRead: the account may not read the log.
        TransportError: the server did not answer.
    """

    async def count(kind: str, *phases: Phase) -> int:
        filters = (subject_filter(kind, phase=phase) for phase in phases)
        return sum([await count_subjects(connection, AUDIT_STREAM, one) for one in filters])

    with explain_missing("the audit log", AUDIT_STREAM):
        kinds = {kind: await count(kind, Phase.BEGAN, Phase.DENIED) for kind in Kind}
        refused = await count("*", Phase.REFUSED, Phase.DENIED)
    return AuditCounts(sum(kinds.values()), kinds, refused)


async def _read_window(
    connection: Connection, wanted: AuditFilter, lower: int, upper: int
) -> list[AuditEntry]:
    """Return the records of a window under the subjects that are wanted, newest first."""
    found: list[AuditEntry] = []
    reader = BulkReader(connection, AUDIT_STREAM, wanted.subjects, after=lower - 1, until=upper)
    async with reader:
        while page := await reader.read():
            found += [
                AuditEntry(record, stored.sequence, record.outcome)
                for stored in page
                if stored.sequence <= upper and (record := AuditRecord.parse(stored.message.data)) is not None
            ]
    return found[::-1]


async def _fold_wanted(
    connection: Connection, wanted: AuditFilter, entries: list[AuditEntry], most: int
) -> list[AuditEntry]:
    """Return the first entries that match, with their outcomes."""
    likely = [entry for entry in entries if wanted.matches(entry.record)]
    found: list[AuditEntry] = []
    for start in range(0, len(likely), _TOGETHER):
        chunk = likely[start : start + _TOGETHER]
        folded = await asyncio.gather(*(_fold(connection, entry) for entry in chunk))
        found += [entry for entry in folded if wanted.wants(entry.outcome)]
        if len(found) >= most:
            break
    return found[:most]


async def _fold(connection: Connection, entry: AuditEntry) -> AuditEntry:
    """Return an entry with the outcome of its action, which is the newest record of its id."""
    record = entry.record
    if entry.outcome is not None:
        return entry
    filter_subject = subject_filter(record.kind, record.action, record.id)
    newest = await get_last_message(connection, AUDIT_STREAM, filter_subject)
    ended = None if newest is None else AuditRecord.parse(newest.data)
    return entry if ended is None else replace(entry, outcome=ended.outcome)
