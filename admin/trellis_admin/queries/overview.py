"""What the first page of the console shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from trellis_nats.jobs.model.states import EventType, JobState

from trellis_admin.projection.codes import STATE_CODES, from_milliseconds
from trellis_admin.queries.attention import find_attention
from trellis_admin.queries.jobs import snapshot
from trellis_admin.queries.queues import read_queues
from trellis_admin.queries.rows import Overview
from trellis_admin.queries.series import BAD, Happened, Window, read_happened
from trellis_admin.queries.workers import list_workers

__all__ = ["read_overview"]

_FAILED_ATTEMPTS = (EventType.RETRY, EventType.FAILED, EventType.DEAD)


def read_overview(db: sqlite3.Connection, window: timedelta, now: datetime) -> Overview:
    """Return the numbers of all queues, now and in a window before, with their histories.

    Args:
        db: a connection of `connect_reader`.
        window: how far back rates and histories go: a minute to a week.
        now: where the window ends.
    """
    with snapshot(db):
        at, stored_at = db.execute("SELECT sequence, stored_at FROM checkpoint").fetchone()
        groups: int = db.execute(
            "SELECT count(DISTINCT fingerprint) FROM job WHERE state = ? AND fingerprint IS NOT NULL",
            (STATE_CODES[JobState.DEAD],),
        ).fetchone()[0]
        span = Window.ending(now, window)
        by_queue = read_happened(db, span)
        workers = list_workers(db, now)
        queues = read_queues(db, span, now, by_queue, workers)
        attention = find_attention(db, now, queues, workers)
    happened = Happened(span)
    for other in by_queue.values():
        happened.merge(other)
    completed, bad = happened.count(EventType.COMPLETED), happened.count(*BAD)
    waiting, running, retrying, dead = (
        sum(queue.states[state] for queue in queues)
        for state in (JobState.PENDING, JobState.ACTIVE, JobState.RETRY, JobState.DEAD)
    )
    return Overview(
        at=at,
        as_of=from_milliseconds(stored_at),
        window=window,
        waiting=waiting,
        oldest=_first([queue.oldest for queue in queues]),
        running=running,
        slots=sum(queue.slots for queue in queues),
        workers=sum(not worker.is_silent and not worker.is_stopping for worker in workers),
        retrying=retrying,
        next_retry=_first([queue.next_retry for queue in queues]),
        dead=dead,
        error_groups=groups,
        completed=completed,
        completed_per_minute=happened.rate(EventType.COMPLETED),
        ended_badly=bad,
        died=happened.count(EventType.DEAD),
        bad_share=bad / (completed + bad) if completed + bad else None,
        waiting_history=happened.history(waiting, JobState.PENDING),
        running_history=happened.history(running, JobState.ACTIVE),
        retrying_history=happened.history(retrying, JobState.RETRY),
        dead_history=happened.history(dead, JobState.DEAD),
        completed_series=happened.series(EventType.COMPLETED),
        failed_attempts_series=happened.series(*_FAILED_ATTEMPTS),
        died_series=happened.series(EventType.DEAD),
        ended_badly_series=happened.series(*BAD),
        queues=tuple(queues),
        attention=tuple(attention),
    )


def _first(instants: Sequence[datetime | None]) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)
